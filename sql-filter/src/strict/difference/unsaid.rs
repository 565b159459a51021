use std::ops::Range;

use crate::error::warning;
use crate::{SyntaxError, rocketmq};

use super::{Difference, Names, Property, short, tokens};
use crate::strict::lexer::{Keyword, Token};
use crate::strict::tree::Node;

/// Why RocketMQ does not read a part of a condition, or not to its end; `said` is the part with the
/// names of properties, and `read` what came of it.
pub(super) fn part(
    text: &str,
    said: &str,
    names: &Names,
    read: Result<rocketmq::Parsed, SyntaxError>,
) -> Difference {
    if let Some((span, what, help)) = first_unsaid(text, names) {
        let message = format!("a subscription knows no {what}");
        return Difference { code: warning::UNSAID, span, message, help };
    }
    unread(said, text.len(), read)
}

/// What still stands in the way where every part can be read.
pub(super) fn as_a_whole(said: &str, node: &Node) -> Option<Difference> {
    let read = rocketmq::parse(said);
    let end = node.span().end;
    let is_whole = |parsed: &rocketmq::Parsed| {
        parsed.ignored.as_ref().is_none_or(|ignored| ignored.start >= end)
    };
    (!read.as_ref().is_ok_and(is_whole)).then(|| unread(said, end, read))
}

/// A part with more properties than can be looked through.
pub(super) fn too_much(text: &str) -> Difference {
    Difference {
        code: warning::VALUE,
        span: 0..text.len(),
        message: "a subscription may decide otherwise".to_owned(),
        help: "take it apart with AND and OR".to_owned(),
    }
}

fn unread(said: &str, end: usize, read: Result<rocketmq::Parsed, SyntaxError>) -> Difference {
    let code = warning::UNSAID;
    match read {
        Ok(parsed) => {
            let span = parsed.ignored.map_or(0..end, |ignored| ignored.start..end);
            let help = format!("a broker ignores `{}`", short(&said[span.clone()]));
            let message = "a subscription ends before this".to_owned();
            Difference { code, span, message, help }
        }
        Err(SyntaxError { span, message, help, .. }) => {
            let message = format!("a subscription cannot say this: {message}");
            Difference { code, span, message, help }
        }
    }
}

/// The first word, sign, name or number that RocketMQ does not have.
fn first_unsaid(text: &str, names: &Names) -> Option<(Range<usize>, String, String)> {
    let tokens = tokens(text);
    let mut is_behind_value = false;
    for (at, (token, span)) in tokens.iter().enumerate() {
        let written = &text[span.clone()];
        let unsaid = match token {
            Token::Keyword(Keyword::Like) => {
                Some(("`LIKE`".to_owned(), "it has CONTAINS, STARTSWITH and ENDSWITH".to_owned()))
            }
            Token::Keyword(Keyword::Case) => Some(("`CASE`".to_owned(), conditions_only())),
            Token::Star | Token::Slash | Token::Percent => {
                Some(("arithmetic".to_owned(), promote()))
            }
            Token::Plus | Token::Minus if is_behind_value => {
                Some(("arithmetic".to_owned(), promote()))
            }
            Token::Name(_) if matches!(tokens.get(at + 1), Some((Token::Open, _))) => {
                Some((format!("function `{}`", short(written)), promote()))
            }
            Token::Name(name) => names.property(name).and_then(unsayable),
            Token::Number(_) => number(written),
            _ => None,
        };
        if let Some((what, help)) = unsaid {
            return Some((span.clone(), what, help));
        }
        is_behind_value = matches!(
            token,
            Token::Name(_)
                | Token::Number(_)
                | Token::Text(_)
                | Token::Close
                | Token::Keyword(Keyword::True | Keyword::False | Keyword::Null | Keyword::End)
        );
    }
    None
}

fn promote() -> String {
    "let `topic` promote the result as a property".to_owned()
}

fn conditions_only() -> String {
    "write it with AND and OR, or let `topic` promote the result as a property".to_owned()
}

fn unsayable(property: &Property) -> Option<(String, String)> {
    let name = &property.name;
    (!rocketmq::is_name(name)).then(|| {
        let help = "its names are letters, digits, `_` and `$`, and no words of its own";
        (format!("name such as `{}`", short(name)), help.to_owned())
    })
}

/// RocketMQ's numbers with a point are from 4.9E-324 on.
pub(super) const ZERO: &str =
    "it knows no zero with a point; compare with a number beside it, such as `0.5`";

fn number(written: &str) -> Option<(String, String)> {
    let is_alike = |sql: &str| rocketmq::parse(sql).is_ok_and(|parsed| parsed.ignored.is_none());
    (!is_alike(&format!("a = {written}"))).then(|| {
        let help = match written.parse() {
            Ok(0.0) => ZERO,
            _ => "whole numbers begin with no 0, and others have a point or an exponent",
        };
        (format!("number such as `{}`", short(written)), help.to_owned())
    })
}
