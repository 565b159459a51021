//! What the YAML parser complains about, in words that help.

use crate::code;
use crate::diagnostic::Diagnostic;
use crate::text::{SourceText, Span};

/// Turns a complaint of the parser at `byte` into a mistake of the file.
pub(super) fn explain(source: &SourceText<'_>, byte: usize, info: &str) -> Diagnostic {
    if let Some(span) = bare_interpolation(source, byte) {
        return quote_it(source, span);
    }
    let byte = on_text(source, byte);
    let line = source.line(source.place(byte).line);
    let help = help_for(info, line);
    let message = format!("this is not YAML: {}", info.trim_end_matches('.'));
    Diagnostic::new(source, code::YAML_SYNTAX, &(byte..byte), message, help.map(str::to_owned))
}

/// A list or a map stands where a key is expected.
pub(super) fn key_is_no_text(source: &SourceText<'_>, span: Span) -> Diagnostic {
    if let Some(span) = bare_interpolation(source, span.end) {
        return quote_it(source, span);
    }
    let message = "a key must be a plain text, found a list or a map".into();
    let help = Some("if this is meant as a text, put it between quotes".into());
    Diagnostic::new(source, code::YAML_SYNTAX, &span, message, help)
}

fn quote_it(source: &SourceText<'_>, span: Span) -> Diagnostic {
    let text = source.slice(&span);
    Diagnostic::new(
        source,
        code::YAML_SYNTAX,
        &span,
        "inside `{…}` and `[…]`, a value with `${…}` must be quoted".into(),
        Some(format!("write `\"{text}\"`")),
    )
}

/// A `${…}` without quotes on the line of `byte`, not later than that, inside a flow map or list.
/// In such a place YAML reads its braces as another map.
fn bare_interpolation(source: &SourceText<'_>, byte: usize) -> Option<Span> {
    let line_number = source.place(byte).line;
    let line = source.line(line_number);
    let start = source.text[..source.text.floor_char_boundary(byte)]
        .rfind(['\n', '\r'])
        .map_or(0, |end| end + 1);
    let mut quote = None;
    let mut nested = 0usize;
    let mut chars = line.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match (quote, char) {
            (Some('"'), '\\') => drop(chars.next()),
            (Some(open), _) if char == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(char),
            (None, '#') if at == 0 || line[..at].ends_with([' ', '\t']) => return None,
            (None, '$') if nested > 0 && line[at..].starts_with("${") => {
                let value = line[..at].rfind([' ', ',', '[', '{']).map_or(0, |before| before + 1);
                let end = line[at..].find('}').map_or(line.len(), |end| at + end + 1);
                let more = line[end..].find([',', '}', ']', ' ']).unwrap_or(line.len() - end);
                return (start + at <= byte).then_some(start + value..start + end + more);
            }
            (None, '{' | '[') => nested += 1,
            (None, '}' | ']') => nested = nested.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// The parser often stops where the next token would begin, lines below what is wrong.
fn on_text(source: &SourceText<'_>, byte: usize) -> usize {
    let before = source.text.get(..byte).unwrap_or(source.text);
    if byte < source.text.len() {
        return byte;
    }
    before.trim_end().len()
}

fn help_for(info: &str, line: &str) -> Option<&'static str> {
    let tab = line.trim_start_matches(' ').starts_with('\t');
    if tab || info.contains("tab") {
        return Some("indent with spaces; YAML does not allow tabs there");
    }
    if info.contains("mapping values are not allowed") {
        return Some("if the text itself has `: ` in it, put it between quotes");
    }
    if info.contains("cannot start any token") {
        return Some("a text that begins with this character needs quotes");
    }
    if info.contains("did not find expected") || info.contains("simple key") {
        return Some("look at the indentation here and at brackets and quotes before it");
    }
    None
}
