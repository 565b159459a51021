//! What can be wrong with a text, with the types of its columns, and with a row.

use std::ops::Range;

use crate::Type;

/// The codes of [`SyntaxError`].
pub(crate) mod code {
    /// A token that does not continue the expression, or an end too early.
    pub(crate) const UNEXPECTED: &str = "E-SQL-01";
    /// Characters that look like an operator of another language.
    pub(crate) const OPERATOR: &str = "E-SQL-02";
    /// A text, a quoted name or a comment without its end.
    pub(crate) const UNCLOSED: &str = "E-SQL-03";
    /// A character that belongs to no token.
    pub(crate) const CHARACTER: &str = "E-SQL-04";
    /// A number that cannot be read or does not fit.
    pub(crate) const NUMBER: &str = "E-SQL-05";
    /// Too long or too deep.
    pub(crate) const LIMIT: &str = "E-SQL-06";
    /// Operands whose types do not go together.
    pub(crate) const TYPE: &str = "E-SQL-07";
    /// A function or a type that does not exist.
    pub(crate) const NAME: &str = "E-SQL-08";
    /// A search text or an escape character that makes no sense.
    pub(crate) const PATTERN: &str = "E-SQL-09";
    /// `NULL` beside a comparison operator.
    pub(crate) const NULL: &str = "E-SQL-10";
}

/// The codes of [`Difference`](crate::Difference).
pub(crate) mod warning {
    /// What RocketMQ's dialect has no word for.
    pub(crate) const UNSAID: &str = "W-SQL-01";
    /// NOT before a comparison.
    pub(crate) const NOT: &str = "W-SQL-02";
    /// Another verdict on some value.
    pub(crate) const VALUE: &str = "W-SQL-03";
    /// Another verdict where a property is missing.
    pub(crate) const MISSING: &str = "W-SQL-04";
}

/// Why a text is not an expression, or does not fit the types of its columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// `E-SQL-01` and on; `README.md` lists them.
    pub code: &'static str,
    /// The part of the text that is wrong, in bytes. It is empty where something is missing.
    pub span: Range<usize>,
    /// One line, lowercase, no full stop.
    pub message: String,
    /// What to write instead, or what belongs there.
    pub help: String,
}

impl SyntaxError {
    pub(crate) fn new(
        code: &'static str,
        span: Range<usize>,
        message: String,
        help: impl Into<String>,
    ) -> Self {
        Self { code, span, message, help: help.into() }
    }

    /// Operands that do not go together.
    pub(crate) fn of_types(span: Range<usize>, message: String, help: &str) -> Self {
        Self::new(code::TYPE, span, message, help)
    }

    /// Something is missing between the tokens; `found` is what stands there, if not the end.
    pub(crate) fn expected(wanted: &str, span: Range<usize>, found: Option<&str>) -> Self {
        let message = match found {
            None => format!("expected {wanted}, but the expression ends"),
            Some(found) => format!("expected {wanted}, found {}", crate::value::quoted(found)),
        };
        let help = match wanted {
            "a value" => "a value is a column, a number or a text in single quotes".to_owned(),
            wanted => format!("write {wanted} here"),
        };
        Self::new(code::UNEXPECTED, span, message, help)
    }
}

/// Why a row has no value under an expression. It is the row's fault, not the expression's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// A result outside the range of its type.
    #[error("the result of `{operation}` is out of range")]
    OutOfRange {
        /// The operator.
        operation: &'static str,
    },

    /// `/ 0` or `% 0`.
    #[error("division by zero")]
    DivisionByZero,

    /// Something other than a number where one is calculated with.
    #[error("`{operation}` needs numbers, found {found}")]
    NotANumber {
        /// The operator.
        operation: &'static str,
        /// What stood there.
        found: String,
    },

    /// A function that has no answer for a value of this type.
    #[error("{function} cannot take {found}")]
    Unsuitable {
        /// The function.
        function: &'static str,
        /// What it was given.
        found: String,
    },

    /// `CAST` or `DATE` of a value that the type cannot hold.
    #[error("{found} is not {}: {reason}", .to.with_article())]
    Cast {
        /// The value, shortened.
        found: String,
        /// The type asked for.
        to: Type,
        /// Why not.
        reason: &'static str,
    },

    /// RocketMQ's dialect only: a text that the literal beside it forces to be a number.
    #[error("{found} cannot be read as {wanted}")]
    Unreadable {
        /// The text, shortened.
        found: String,
        /// The kind of number the literal asks for.
        wanted: &'static str,
    },

    /// RocketMQ's dialect only: a Boolean left of a text.
    #[error("a Boolean on the left cannot be compared with a text")]
    BooleanBesideText,
}
