//! `${env:NAME}` and `${env:NAME:-default}` inside a text.

use crate::code;
use crate::text::Span;

/// How the environment is asked for a variable. Nothing in this crate reads it by itself.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a `${…}` cannot be replaced, and which bytes of the text it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EnvError {
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Errors reported of one text.
const ERRORS_MAX: usize = 10;

/// The text with every `${…}` replaced; `$${` stands for `${`.
pub(crate) fn interpolate(text: &str, env: Env<'_>) -> Result<String, Vec<EnvError>> {
    let mut out = String::new();
    pieces(text, env, &mut |piece| out.push_str(piece.text()))?;
    Ok(out)
}

/// A piece of an interpolated text.
pub(crate) enum Piece<'a> {
    /// As the file has it, from this byte of the text on.
    Written(usize, &'a str),
    /// The value of a variable, or its default, for these bytes of the text.
    Value(Span, &'a str),
}

impl Piece<'_> {
    fn text(&self) -> &str {
        let (Piece::Written(_, text) | Piece::Value(_, text)) = self;
        text
    }
}

/// A text with its values put in, which knows where its parts were written.
#[derive(Default)]
pub(crate) struct Interpolated {
    pub(crate) text: String,
    /// Where each piece begins in `text`, and what it is.
    pieces: Vec<(usize, Origin)>,
}

enum Origin {
    /// From this byte of the text as written.
    Written(usize),
    /// For these bytes of it.
    Value(Span),
}

impl Interpolated {
    pub(crate) fn add(&mut self, piece: Piece<'_>) {
        let origin = match piece {
            Piece::Written(at, _) => Origin::Written(at),
            Piece::Value(ref span, _) => Origin::Value(span.clone()),
        };
        self.pieces.push((self.text.len(), origin));
        self.text.push_str(piece.text());
    }

    /// Whether this byte of the text comes out of a `${…}`.
    pub(crate) fn is_value(&self, at: usize) -> bool {
        matches!(self.piece_of(at), Some((_, Origin::Value(_))))
    }

    /// Where a part of this text stands in the text as written. Of a value that is its whole
    /// `${…}`.
    pub(crate) fn written(&self, part: &Span) -> Span {
        let start = match self.piece_of(part.start) {
            Some((begin, Origin::Written(at))) => at + (part.start - begin),
            Some((_, Origin::Value(span))) => span.start,
            None => part.start,
        };
        let last = part.end.saturating_sub(1).max(part.start);
        let end = match self.piece_of(last) {
            Some((begin, Origin::Written(at))) => at + (part.end - begin),
            Some((_, Origin::Value(span))) => span.end,
            None => part.end,
        };
        start..end
    }

    /// The last piece that begins at or before this byte.
    fn piece_of(&self, at: usize) -> Option<&(usize, Origin)> {
        let behind = self.pieces.partition_point(|(begin, _)| *begin <= at);
        self.pieces.get(behind.checked_sub(1)?)
    }
}

/// The same in pieces, for whoever has to tell what the file says from what the environment says.
pub(crate) fn pieces(
    text: &str,
    env: Env<'_>,
    each: &mut dyn FnMut(Piece<'_>),
) -> Result<(), Vec<EnvError>> {
    let mut errors = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${")
        && errors.len() < ERRORS_MAX
    {
        let start = at + found;
        if text[at..start].ends_with('$') {
            each(Piece::Written(at, &text[at..start - 1]));
            each(Piece::Value(start - 1..start + 2, "${"));
            at = start + 2;
            continue;
        }
        each(Piece::Written(at, &text[at..start]));
        let end = text[start..].find('}').map(|end| start + end + 1);
        let inner = &text[start + 2..end.map_or(text.len(), |end| end - 1)];
        let result = match end {
            Some(_) => value(inner, env),
            None => {
                let help = "add it, or write `$${` for the characters themselves".to_owned();
                Err((code::ENV_FORM, "this `${` has no `}`".into(), help))
            }
        };
        at = end.unwrap_or(text.len());
        match result {
            Ok(value) => each(Piece::Value(start..at, &value)),
            Err((code, message, help)) => {
                errors.push(EnvError { code, span: start..at, message, help });
            }
        }
    }
    each(Piece::Written(at, &text[at..]));
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

type Refusal = (&'static str, String, String);

fn value(inner: &str, env: Env<'_>) -> Result<String, Refusal> {
    if inner.starts_with("secret:") {
        let help = "take it from the environment for now: `${env:NAME}`".to_owned();
        let message = "secrets are not available in this version".to_owned();
        return Err((code::SECRET, message, help));
    }
    let Some(variable) = inner.strip_prefix("env:") else {
        let help = if is_name(inner) {
            format!("write `${{env:{inner}}}`, or `$${{` for the characters themselves")
        } else {
            "write `${env:NAME}` or `${env:NAME:-default}`, or `$${` for the characters themselves"
                .to_owned()
        };
        return Err((code::ENV_FORM, format!("`${{{inner}}}` says nothing"), help));
    };
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        let message = format!("`{name}` is not the name of an environment variable");
        return Err((code::ENV_FORM, message, "letters, digits and `_`".to_owned()));
    }
    match (env(name), default) {
        // As in a shell, `:-` takes its default also where the variable is empty.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => {
            let message = format!("the environment variable `{name}` is not set");
            let help = format!("set it, or give a default: `${{env:{name}:-…}}`");
            Err((code::ENV_UNSET, message, help))
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|char: char| char.is_ascii_digit())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "LAKE" => Some("/lake".into()),
            "EMPTY" => Some(String::new()),
            "EVIL" => Some("x\nsinks: {evil: {stdout: {}}} ${env:LAKE}".into()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(interpolate(text, &env).as_deref(), Ok(expected));
    }

    #[track_caller]
    fn check_error(text: &str, code: &str, part: &str) {
        let errors = interpolate(text, &env).unwrap_err();
        let found: Vec<_> = errors.iter().map(|e| (e.code, &text[e.span.clone()])).collect();
        assert_eq!(found, [(code, part)]);
    }

    #[test]
    fn variables_and_defaults() {
        check("${env:LAKE}/orders", "/lake/orders");
        check("a${env:NO:-b}c", "abc");
        check("${env:LAKE:-x}", "/lake");
        check("${env:NO:-}", "");
        check("${env:EMPTY}", "");
        check("${env:EMPTY:-x}", "x");
        check("no dollar", "no dollar");
        check("5$ and {}", "5$ and {}");
    }

    /// Each `«…»` of `marked`, which is as written, has to be where `part` of the text came from.
    #[track_caller]
    fn check_written(marked: &str, part: &str) {
        let written = marked.replace(['«', '»'], "");
        let mut text = Interpolated::default();
        pieces(&written, &env, &mut |piece| text.add(piece)).unwrap();
        assert_eq!(Ok(&text.text), interpolate(&written, &env).as_ref());
        let start = text.text.find(part).expect("the part");
        let found = text.written(&(start..start + part.len()));
        let before = marked.find('«').unwrap();
        let expected = before..marked.find('»').unwrap() - '«'.len_utf8();
        assert_eq!(found, expected, "{}", &written[found.clone()]);
    }

    #[test]
    fn a_part_is_found_where_it_was_written() {
        check_written("«ab»c", "ab");
        check_written("a${env:LAKE}«bc»d", "bc");
        check_written("a«${env:LAKE}»b", "lak");
        check_written("«${env:LAKE}»", "/lake");
        check_written("${env:EMPTY}${env:EMPTY}«a»", "a");
        check_written("${env:LAKE}«${env:NO:-x}»b", "x");
        check_written("a«b${env:LAKE}»c", "b/l");
        check_written("«${env:LAKE}b»c", "eb");
        check_written("a«$${»b", "{");
        check_written("$${«b»", "b");
        check_written("é${env:LAKE}«è»", "è");
    }

    #[test]
    fn a_value_is_not_looked_into_again() {
        check("${env:EVIL}", "x\nsinks: {evil: {stdout: {}}} ${env:LAKE}");
    }

    #[test]
    fn two_dollars_are_one() {
        check("$${env:LAKE}", "${env:LAKE}");
        check("$$", "$$");
    }

    #[test]
    fn what_cannot_be_replaced_is_an_error() {
        check_error("a ${env:NO} b", "E-ENV-01", "${env:NO}");
        check_error("${HOME}", "E-ENV-02", "${HOME}");
        check_error("${env:9}", "E-ENV-02", "${env:9}");
        check_error("x${env:LAKE", "E-ENV-02", "${env:LAKE");
        check_error("${secret:key}", "E-SECRET-01", "${secret:key}");
    }
}
