use crate::strict::lexer::{Keyword, Token};

/// What stands around an expression, and so what may follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    Nothing,
    Parentheses,
    List,
    Cast,
    /// The operand of CASE.
    Case,
    When,
    /// The result of a branch of CASE, or of its ELSE.
    Then,
}

impl Around {
    /// What is missing if something else follows.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Nothing => "the end",
            Self::Parentheses => "`)`",
            Self::List => "`,` or `)`",
            Self::Cast => "`AS` and a type",
            Self::Case => "`WHEN`",
            Self::When => "`THEN`",
            Self::Then => "`WHEN`, `ELSE` or `END`",
        }
    }

    pub(super) fn ends_at(self, token: &Token) -> bool {
        match token {
            Token::Close => matches!(self, Self::Parentheses | Self::List),
            Token::Comma => self == Self::List,
            Token::Name(name) => self == Self::Cast && name.eq_ignore_ascii_case("AS"),
            Token::Keyword(Keyword::When) => matches!(self, Self::Case | Self::Then),
            Token::Keyword(Keyword::Then) => self == Self::When,
            Token::Keyword(Keyword::Else | Keyword::End) => self == Self::Then,
            _ => false,
        }
    }
}
