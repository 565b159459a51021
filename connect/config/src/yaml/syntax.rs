//! What the YAML parser complains about, in words that help.

use crate::code;
use crate::mistake::Mistake;
use crate::text::{SourceText, Span};

/// Turns a complaint of the parser at `byte` into a mistake of the file.
pub(super) fn explain(source: &SourceText<'_>, byte: usize, info: &str) -> Mistake {
    if let Some(span) = bare_interpolation(source, byte) {
        return quote_it(source, span);
    }
    let before = source.text.get(..byte).unwrap_or(source.text);
    let line_before = before.rsplit(['\n', '\r']).next().unwrap_or("");
    let known = KNOWN.iter().find(|complaint| info.contains(complaint.info));
    let (message, help) = match known {
        // A colon too many is either in a text or on a line that is indented too far.
        Some(Complaint { info: VALUES, .. }) if !line_before.contains(": ") => (
            "this line is indented further than the one before, which has a value already".into(),
            "move it to the left",
        ),
        Some(Complaint { message: "", help, .. }) => (format!("this is not YAML: {info}"), *help),
        Some(Complaint { message, help, .. }) => ((*message).to_owned(), *help),
        None => (format!("this is not YAML: {info}"), NEXT_LINE),
    };
    let byte = match info.contains("tab").then(|| source.text[before.len()..].find('\t')).flatten()
    {
        Some(tab) => before.len() + tab,
        // At the end of the file there is nothing to see; the last text is nearer to the mistake.
        None if byte >= source.text.len() => before.trim_end().len(),
        None => byte,
    };
    Mistake::new(code::YAML_SYNTAX, byte..byte, message, help)
}

/// What the parser says, and what to say instead.
struct Complaint {
    info: &'static str,
    /// Empty: its own words are good enough.
    message: &'static str,
    help: &'static str,
}

const fn complaint(info: &'static str, message: &'static str, help: &'static str) -> Complaint {
    Complaint { info, message, help }
}

const VALUES: &str = "mapping values are not allowed";
const NEXT_LINE: &str = "look at the indentation, and for a bracket or a quote left open above";

/// The complaints of `saphyr-parser` 0.3 that people meet.
const KNOWN: &[Complaint] = &[
    complaint("tab", "a tab cannot be used to indent", "use spaces"),
    complaint(
        VALUES,
        "a second `: ` on this line cannot be a key",
        "put the text that contains it between quotes",
    ),
    complaint(
        "unexpected character",
        "",
        "a text that begins with this character must be between quotes",
    ),
    complaint(
        "invalid indentation in quoted scalar",
        "a quoted text goes on here without being indented",
        "is its closing quote missing?",
    ),
    complaint(
        "found unexpected end of stream",
        "the file ends inside a quoted text",
        "is the closing quote missing?",
    ),
    complaint(
        "invalid trailing content after",
        "text follows a quoted text",
        "put the whole text between quotes, of the other kind if it has quotes in it",
    ),
    complaint("illegal placement of ':'", "this colon cannot stand here", NEXT_LINE),
    complaint(
        "did not find expected ',' or '}'",
        "a `{` has no `}`, or a comma is missing before this",
        "if `{` belongs to a text, put the text between quotes",
    ),
    complaint(
        "expected ',' or ']'",
        "a `[` has no `]`, or a comma is missing before this",
        "if `[` belongs to a text, put the text between quotes",
    ),
    complaint("did not find expected key", "there is no key here", NEXT_LINE),
    complaint("did not find expected '-'", "there is no `-` here", NEXT_LINE),
    complaint("simple key", "there is no `: ` behind this key", NEXT_LINE),
    complaint(
        "block sequence entries are not allowed",
        "a list cannot begin here",
        "begin it on a line of its own, or write it as `[a, b]`",
    ),
    complaint(
        "unknown escape character",
        "",
        "between double quotes `\\` begins an escape; between single quotes it is itself",
    ),
    complaint("invalid indentation", "this line is not indented like those around it", NEXT_LINE),
    complaint("recursion limit", "lists and maps are nested too deeply", "at most 64 levels"),
];

/// A list or a map stands where a key is expected.
pub(super) fn key_is_no_text(source: &SourceText<'_>, span: Span) -> Mistake {
    if let Some(span) = bare_interpolation(source, span.end) {
        return quote_it(source, span);
    }
    let message = "a key must be a plain text, found a list or a map";
    let help = "if this is meant as a text, put it between quotes";
    Mistake::new(code::YAML_SYNTAX, span, message, help)
}

/// Where the alias at `byte` stands, if the parser complains that it knows no anchor of its name.
pub(super) fn unknown_alias(source: &SourceText<'_>, byte: usize, info: &str) -> Option<Span> {
    let rest = source.text.get(byte..)?;
    let ends = |char: char| char.is_whitespace() || matches!(char, ',' | '[' | ']' | '{' | '}');
    let len = rest.find(ends).unwrap_or(rest.len());
    info.contains("unknown anchor").then_some(byte..byte + len)
}

pub(super) fn no_anchors(span: Span) -> Mistake {
    let message = "pipeline files have no anchors (`&…`) and no aliases (`*…`)";
    let help = "write the value out; a text that begins with `&` or `*` needs quotes";
    Mistake::new(code::YAML_FEATURE, span, message, help)
}

fn quote_it(source: &SourceText<'_>, span: Span) -> Mistake {
    let help = format!("write `\"{}\"`", source.slice(&span));
    let message = "inside `{…}` and `[…]`, a value with `${…}` must be quoted";
    Mistake::new(code::YAML_SYNTAX, span, message, help)
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
