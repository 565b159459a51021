//! Text to tokens, by the longest match as RocketMQ's generated tokenizer finds it.

use std::ops::Range;

use crate::SyntaxError;
use crate::error::code;
use crate::limits;
use crate::operator::Operator;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name,
    Keyword(Keyword),
    Whole,
    Fraction,
    Text,
    Compare(Operator),
    Plus,
    Minus,
    Open,
    Close,
    Comma,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
}

const KEYWORDS: [(&str, Keyword); 12] = [
    ("NOT", Keyword::Not),
    ("AND", Keyword::And),
    ("OR", Keyword::Or),
    ("BETWEEN", Keyword::Between),
    ("IN", Keyword::In),
    ("TRUE", Keyword::True),
    ("FALSE", Keyword::False),
    ("NULL", Keyword::Null),
    ("IS", Keyword::Is),
    ("CONTAINS", Keyword::Contains),
    ("STARTSWITH", Keyword::StartsWith),
    ("ENDSWITH", Keyword::EndsWith),
];

pub(super) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, tokens: 0 }
    }

    /// The next token and where it stands; `End` for ever after the last.
    pub(super) fn next(&mut self) -> Result<(Token, Range<usize>), SyntaxError> {
        self.skip_blanks();
        let start = self.at;
        self.tokens += 1;
        if self.tokens > limits::TOKENS_MAX {
            return Err(limits::too_many_tokens(start..self.text.len()));
        }
        let rest = &self.text[start..];
        let Some((token, length)) = token(rest) else {
            return Err(self.misfit(rest));
        };
        self.at += length;
        Ok((token, start..self.at))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let blanks =
                rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
            if blanks > 0 {
                self.at += blanks;
            } else if let Some(length) = comment(rest) {
                self.at += length;
            } else {
                return;
            }
        }
    }

    fn misfit(&self, rest: &str) -> SyntaxError {
        let char = rest.chars().next().unwrap_or_default();
        let span = self.at..self.at + char.len_utf8();
        if char == '\'' {
            let message = "this text has no end".to_owned();
            let span = self.at..self.text.len();
            return SyntaxError::new(code::UNCLOSED, span, message, "it ends with `'`");
        }
        let (code, message, help) = match rest.as_bytes() {
            [b'!', b'=', ..] => (code::OPERATOR, "`!=` is not an operator", "did you mean `<>`?"),
            [b'&', b'&', ..] => (code::OPERATOR, "`&&` is not an operator", "did you mean `AND`?"),
            [b'|', b'|', ..] => (code::OPERATOR, "`||` is not an operator", "did you mean `OR`?"),
            [b'"', ..] => (code::CHARACTER, "texts stand in single quotes", "write `'...'`"),
            _ => {
                let message = format!("`{}` does not belong in an expression", char.escape_debug());
                let help = "delete it, or put it into single quotes if it is part of a text";
                return SyntaxError::new(code::CHARACTER, span, message, help);
            }
        };
        let end = if code == code::OPERATOR { self.at + 2 } else { span.end };
        SyntaxError::new(code, self.at..end, message.to_owned(), help)
    }
}

/// The length of a comment. One that does not end, at a line end or at `*/`, is none, so `--5`
/// at the end of a text is 5.
fn comment(rest: &str) -> Option<usize> {
    if let Some(line) = rest.strip_prefix("--") {
        let end = line.find(['\n', '\r'])?;
        let line_end = if line[end..].starts_with("\r\n") { 2 } else { 1 };
        return Some(2 + end + line_end);
    }
    let block = rest.strip_prefix("/*")?;
    Some(2 + block.find("*/")? + 2)
}

/// Whether a property of this name can be spoken of.
pub(crate) fn is_name(name: &str) -> bool {
    token(name) == Some((Token::Name, name.len()))
}

fn token(rest: &str) -> Option<(Token, usize)> {
    let bytes = rest.as_bytes();
    let Some(&first) = bytes.first() else {
        return Some((Token::End, 0));
    };
    Some(match first {
        b'0'..=b'9' | b'.' => return number(bytes),
        b'\'' => (Token::Text, text_length(bytes)?),
        b'<' if bytes.starts_with(b"<>") => (Token::Compare(Operator::NotEqual), 2),
        b'<' if bytes.starts_with(b"<=") => (Token::Compare(Operator::LessOrEqual), 2),
        b'<' => (Token::Compare(Operator::Less), 1),
        b'>' if bytes.starts_with(b">=") => (Token::Compare(Operator::GreaterOrEqual), 2),
        b'>' => (Token::Compare(Operator::Greater), 1),
        b'=' => (Token::Compare(Operator::Equal), 1),
        b'+' => (Token::Plus, 1),
        b'-' => (Token::Minus, 1),
        b'(' => (Token::Open, 1),
        b')' => (Token::Close, 1),
        b',' => (Token::Comma, 1),
        b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'$' => {
            let continues =
                |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$');
            let length = bytes.iter().take_while(continues).count();
            let word = &rest[..length];
            let keyword = KEYWORDS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name));
            (keyword.map_or(Token::Name, |(_, keyword)| Token::Keyword(*keyword)), length)
        }
        _ => return None,
    })
}

/// `0`, `12`, `12L`, `5.`, `.5`, `5e3`. The digits behind a leading zero are another token.
fn number(bytes: &[u8]) -> Option<(Token, usize)> {
    let digits =
        |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let exponent = |from: usize| {
        let sign = match bytes.get(from..from + 2) {
            Some([b'e' | b'E', b'+' | b'-']) => 1,
            Some([b'e' | b'E', _]) => 0,
            _ => return 0,
        };
        match digits(from + 1 + sign) {
            0 => 0,
            count => 1 + sign + count,
        }
    };
    let whole = digits(0);
    if bytes.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        if whole + fraction == 0 {
            return None;
        }
        let end = whole + 1 + fraction;
        return Some((Token::Fraction, end + exponent(end)));
    }
    match exponent(whole) {
        0 if bytes[0] == b'0' => Some((Token::Whole, 1)),
        0 => {
            Some((Token::Whole, whole + usize::from(matches!(bytes.get(whole), Some(b'l' | b'L')))))
        }
        exponent => Some((Token::Fraction, whole + exponent)),
    }
}

/// The longest text from the start, quotes included: `''` may end one text and begin another, but
/// belongs to one if that closes.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut closed = None;
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] != b'\'' {
            at += 1;
            continue;
        }
        closed = Some(at + 1);
        if bytes.get(at + 1) != Some(&b'\'') {
            return closed;
        }
        at += 2;
    }
    closed
}
