//! Values, their types, verdicts, and the rows that values come from.

use std::borrow::Cow;
use std::fmt;

use crate::{EvalError, time};

/// Where an expression finds the values of its columns.
pub trait Row<'a> {
    /// The value of the column at `slot` of [`columns`](crate::Expr::columns); `Null` if it is
    /// missing. Asked for only when the verdict depends on it, and possibly more than once.
    fn value(&self, slot: usize) -> Value<'a>;
}

/// A value of a column or of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// Missing or unknown.
    Null,
    /// TRUE or FALSE.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A text; every property of a message is one.
    Text(Cow<'a, str>),
    /// Microseconds since the Unix epoch, UTC.
    Timestamp(i64),
    /// Days since the Unix epoch.
    Date(i32),
}

impl<'a> Value<'a> {
    /// What `CAST` makes of it in the dialect of pipeline files.
    ///
    /// # Errors
    /// If the type cannot hold it.
    pub fn cast(self, to: Type) -> Result<Self, EvalError> {
        crate::strict::cast(self, to)
    }
}

impl Value<'_> {
    /// A borrowed text.
    pub fn text(text: &str) -> Value<'_> {
        Value::Text(Cow::Borrowed(text))
    }

    /// The type, which NULL does not have.
    pub fn type_of(&self) -> Option<Type> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(Type::Bool),
            Self::Int(_) => Some(Type::Int),
            Self::Double(_) => Some(Type::Double),
            Self::Text(_) => Some(Type::Text),
            Self::Timestamp(_) => Some(Type::Timestamp),
            Self::Date(_) => Some(Type::Date),
        }
    }

    /// The same value, borrowing nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Double(value) => Value::Double(value),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Timestamp(micros) => Value::Timestamp(micros),
            Self::Date(days) => Value::Date(days),
        }
    }

    /// How error messages speak of it: the kind, and the value if it is short.
    pub(crate) fn described(&self) -> String {
        match self {
            Self::Text(text) => format!("the text {}", quoted(text)),
            Self::Null => "NULL".to_owned(),
            Self::Bool(_) => format!("the Boolean {self}"),
            Self::Int(_) | Self::Double(_) => format!("the number {self}"),
            Self::Timestamp(_) => format!("the timestamp {self}"),
            Self::Date(_) => format!("the date {self}"),
        }
    }
}

/// A text between backquotes, shortened so that an error never carries a whole message.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 32;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}

/// The text that `CAST(... AS STRING)` gives: `true`, `12`, `1.5`, `2026-01-02T03:04:05Z`,
/// `2026-01-02`. NULL has none and shows as `NULL`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value:?}"),
            Self::Text(text) => f.write_str(text),
            Self::Timestamp(micros) => f.write_str(&time::format_timestamp(*micros)),
            Self::Date(days) => f.write_str(&time::format_date(*days)),
        }
    }
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// TRUE or FALSE.
    Bool,
    /// 64-bit whole numbers.
    Int,
    /// 64-bit floating-point numbers.
    Double,
    /// Texts.
    Text,
    /// Instants, to the microsecond.
    Timestamp,
    /// Days of the calendar.
    Date,
}

impl Type {
    /// Whether `CAST` takes values of this type to another one: some of them, if not all.
    pub fn casts_to(self, to: Type) -> bool {
        crate::strict::casts(self, to)
    }

    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Bool => "a Boolean",
            Self::Int => "a whole number",
            Self::Double => "a number",
            Self::Text => "a text",
            Self::Timestamp => "a timestamp",
            Self::Date => "a date",
        }
    }

    pub(crate) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }
}

/// The verdict of a condition in three-valued logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// A value that decides is missing or cannot be compared.
    Unknown,
}

impl Truth {
    /// NOT.
    pub fn negated(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    pub(crate) fn negated_if(self, negated: bool) -> Self {
        if negated { self.negated() } else { self }
    }

    pub(crate) fn into_value(self) -> Value<'static> {
        match self {
            Self::True => Value::Bool(true),
            Self::False => Value::Bool(false),
            Self::Unknown => Value::Null,
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}
