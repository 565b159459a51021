//! Text to tokens.

use std::ops::Range;

use crate::SyntaxError;
use crate::error::code;
use crate::limits;
use crate::operator::Operator;

use super::literal::{self, Literal};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, dotted or quoted, without its quotes.
    Name(String),
    Keyword(Keyword),
    Number(Literal),
    Text(String),
    Compare(Operator),
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Open,
    Close,
    Comma,
    End,
    /// Something that is no token, which is among the mistakes.
    Wrong,
}

macro_rules! keywords {
    ($($variant:ident $word:literal)*) => {
        /// The words that cannot be names unless they are quoted or follow a dot.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Keyword { $($variant),* }

        impl Keyword {
            fn read(word: &str) -> Option<Self> {
                $(if word.eq_ignore_ascii_case($word) { return Some(Self::$variant); })*
                None
            }
        }
    };
}

keywords! {
    Not "NOT" And "AND" Or "OR" Between "BETWEEN" In "IN" Is "IS"
    Null "NULL" True "TRUE" False "FALSE"
    Like "LIKE" Escape "ESCAPE" Contains "CONTAINS" StartsWith "STARTSWITH" EndsWith "ENDSWITH"
    Case "CASE" When "WHEN" Then "THEN" Else "ELSE" End "END"
}

/// Operators of other languages, longest first, what stands for them here, and what they are read
/// as if that is clear.
const FOREIGN: [(&str, &str, Token); 14] = [
    ("<=>", "did you mean `=`?", Token::Compare(Operator::Equal)),
    ("!==", "did you mean `<>`?", Token::Compare(Operator::NotEqual)),
    ("===", "did you mean `=`?", Token::Compare(Operator::Equal)),
    ("=>", "did you mean `>=`?", Token::Compare(Operator::GreaterOrEqual)),
    ("=<", "did you mean `<=`?", Token::Compare(Operator::LessOrEqual)),
    ("!=", "did you mean `<>`?", Token::Compare(Operator::NotEqual)),
    ("==", "did you mean `=`?", Token::Compare(Operator::Equal)),
    ("><", "did you mean `<>`?", Token::Compare(Operator::NotEqual)),
    ("&&", "did you mean `AND`?", Token::Keyword(Keyword::And)),
    ("||", "did you mean `OR`? `+` joins texts", Token::Wrong),
    ("!~", "did you mean `NOT LIKE`?", Token::Wrong),
    ("~", "did you mean `LIKE`?", Token::Wrong),
    ("!", "did you mean `NOT`?", Token::Wrong),
    ("^", "there is no operator for powers", Token::Wrong),
];

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: usize,
    /// Of the text so far, in the order in which they were found.
    pub(super) mistakes: Vec<SyntaxError>,
}

/// Where a token starts.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) at: usize,
    /// How many tokens there were up to it.
    tokens: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, tokens: 0, mistakes: Vec::new() }
    }

    /// The next token and where it stands; `End` for ever after the last. Only what is beyond a
    /// limit is an error.
    pub(super) fn next(&mut self) -> Result<(Token, Range<usize>), SyntaxError> {
        match self.read() {
            Err(mistake) if mistake.code != code::LIMIT => {
                let span = mistake.span.clone();
                self.at = self.at.max(span.end);
                self.mistakes.push(mistake);
                Ok((Token::Wrong, span))
            }
            read => read,
        }
    }

    /// The place of the latest token.
    pub(super) fn place_of(&self, span: &Range<usize>) -> Place {
        Place { at: span.start, tokens: self.tokens - 1 }
    }

    /// The token at `place` comes again.
    pub(super) fn go_back(&mut self, place: Place) {
        (self.at, self.tokens) = (place.at, place.tokens);
    }

    fn read(&mut self) -> Result<(Token, Range<usize>), SyntaxError> {
        self.tokens += 1;
        self.skip_blanks()?;
        let start = self.at;
        if self.tokens > limits::TOKENS_MAX {
            return Err(limits::too_many_tokens(start..self.text.len()));
        }
        let rest = &self.text[start..];
        let token = match rest.as_bytes() {
            [] => Token::End,
            [b'\'', ..] => Token::Text(self.enclosed('\'', "text")?),
            [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => self.number()?,
            [b'"', ..] => self.name()?,
            _ if rest.starts_with(begins_name) => self.name()?,
            _ => self.sign()?,
        };
        Ok((token, start..self.at))
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) -> Result<(), SyntaxError> {
        loop {
            self.at += self.rest().len() - self.rest().trim_ascii_start().len();
            if self.rest().starts_with("--") {
                self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
            } else if let Some(comment) = self.rest().strip_prefix("/*") {
                let Some(end) = comment.find("*/") else {
                    return Err(self.unclosed("comment", "it ends with `*/`"));
                };
                self.at += end + "/**/".len();
            } else {
                return Ok(());
            }
        }
    }

    /// What stands between two quotes, of which a doubled one means itself.
    fn enclosed(&mut self, quote: char, what: &str) -> Result<String, SyntaxError> {
        let mut content = String::new();
        let mut from = self.at + quote.len_utf8();
        loop {
            let Some(length) = self.text[from..].find(quote) else {
                return Err(self.unclosed(what, &format!("it ends with `{quote}`")));
            };
            content.push_str(&self.text[from..from + length]);
            from += length + quote.len_utf8();
            if !self.text[from..].starts_with(quote) {
                self.at = from;
                return Ok(content);
            }
            content.push(quote);
            from += quote.len_utf8();
        }
    }

    fn unclosed(&self, what: &str, help: &str) -> SyntaxError {
        let message = format!("this {what} has no end");
        SyntaxError::new(code::UNCLOSED, self.at..self.text.len(), message, help)
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        self.at += literal::length(self.rest());
        let written = &self.text[start..self.at];
        let number = literal::read(written).map_err(|reason| {
            let message = format!("{} is not a number", crate::value::quoted(written));
            SyntaxError::new(code::NUMBER, start..self.at, message, reason)
        })?;
        Ok(Token::Number(number))
    }

    /// A name: parts with dots between them, each part plain or in double quotes.
    fn name(&mut self) -> Result<Token, SyntaxError> {
        let start = self.at;
        let mut name = String::new();
        loop {
            if self.rest().starts_with('"') {
                name.push_str(&self.enclosed('"', "quoted name")?);
            } else {
                let end = self.rest().find(|char| !continues_name(char));
                let part = &self.rest()[..end.unwrap_or(self.rest().len())];
                name.push_str(part);
                self.at += part.len();
            }
            let next = self.rest().strip_prefix('.');
            match next.filter(|next| next.starts_with(|char| char == '"' || begins_name(char))) {
                Some(_) => {
                    name.push('.');
                    self.at += 1;
                }
                None => break,
            }
        }
        let keyword = Keyword::read(&self.text[start..self.at]);
        Ok(keyword.map_or(Token::Name(name), Token::Keyword))
    }

    fn sign(&mut self) -> Result<Token, SyntaxError> {
        let rest = self.rest();
        if let Some((sign, help, token)) = FOREIGN.iter().find(|(sign, ..)| rest.starts_with(sign))
        {
            let message = format!("`{sign}` is not an operator");
            let span = self.at..self.at + sign.len();
            self.at = span.end;
            self.mistakes.push(SyntaxError::new(code::OPERATOR, span, message, *help));
            return Ok(token.clone());
        }
        let (token, length) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Token::Compare(Operator::LessOrEqual), 2),
            [b'<', b'>', ..] => (Token::Compare(Operator::NotEqual), 2),
            [b'<', ..] => (Token::Compare(Operator::Less), 1),
            [b'>', b'=', ..] => (Token::Compare(Operator::GreaterOrEqual), 2),
            [b'>', ..] => (Token::Compare(Operator::Greater), 1),
            [b'=', ..] => (Token::Compare(Operator::Equal), 1),
            [b'+', ..] => (Token::Plus, 1),
            [b'-', ..] => (Token::Minus, 1),
            [b'*', ..] => (Token::Star, 1),
            [b'/', ..] => (Token::Slash, 1),
            [b'%', ..] => (Token::Percent, 1),
            [b'(', ..] => (Token::Open, 1),
            [b')', ..] => (Token::Close, 1),
            [b',', ..] => (Token::Comma, 1),
            _ => return Err(self.stray()),
        };
        self.at += length;
        Ok(token)
    }

    fn stray(&self) -> SyntaxError {
        let char = self.rest().chars().next().unwrap_or_default();
        let message = format!("`{}` does not belong in an expression", char.escape_debug());
        let span = self.at..self.at + char.len_utf8();
        let help = "delete it, or put it into single quotes if it is part of a text";
        SyntaxError::new(code::CHARACTER, span, message, help)
    }
}

fn begins_name(char: char) -> bool {
    char.is_alphabetic() || char == '_' || char == '$'
}

fn continues_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '$'
}
