use std::ops::Range;

use tantivy::query::QueryParserError;
use tantivy::query_grammar::parse_query_lenient;

use crate::error::IndexError;
use crate::mapping::{FieldKind, MappedField, Mapping, OFFSET, QUEUE, STORE_TIME};

/// A question cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is wrong.
    #[error("{message}")]
    Wrong {
        /// Which bytes of the query are at fault, if it is in the query.
        at: Option<Range<usize>>,
        /// What is wrong, lowercase, no full stop.
        message: String,
        /// What to write instead.
        help: String,
    },
    /// The index cannot be read.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What a parser's error is about, and where.
pub(super) fn in_query(mapping: &Mapping, query: &str, error: &QueryParserError) -> QueryError {
    let whole = 0..query.len();
    let wrong = |at: Range<usize>, message: String, help: String| QueryError::Wrong {
        at: Some(at),
        message,
        help,
    };
    let typed = |kind: FieldKind, parses: fn(&str) -> bool, help: &str| {
        let (at, name) = wrong_value(mapping, query, kind, parses);
        let message = match name {
            Some(name) => format!("`{name}` is {}", described(kind)),
            None => format!("this is not {}", described(kind)),
        };
        wrong(at, message, help.to_owned())
    };
    match error {
        QueryParserError::FieldDoesNotExist(path) => {
            let name = path.split('.').next().unwrap_or(path);
            let at = place_of(query, path).unwrap_or(whole);
            wrong(at, no_field(name), names(mapping))
        }
        QueryParserError::SyntaxError(_) => {
            let (_, mistakes) = parse_query_lenient(query);
            let first = mistakes.first();
            let at = first.map_or(0, |mistake| floor(query, mistake.pos));
            let message = first.map_or("this is no query".to_owned(), |mistake| {
                format!("this is no query: {}", mistake.message)
            });
            let help = "quote what is not a word, as in `path:\"/a b\"`; brackets come in pairs";
            wrong(at..query.len().max(at), message, help.to_owned())
        }
        QueryParserError::ExpectedInt(_) => {
            let parses = |text: &str| text.parse::<i64>().is_ok();
            typed(FieldKind::Int, parses, "for example `status:404` or `status:[400 TO 499]`")
        }
        QueryParserError::ExpectedFloat(_) => {
            let parses = |text: &str| text.parse::<f64>().is_ok();
            typed(FieldKind::Double, parses, "for example `price:[1.5 TO 2]`")
        }
        QueryParserError::ExpectedBool(_) => {
            typed(FieldKind::Bool, |text| text.parse::<bool>().is_ok(), "write `true` or `false`")
        }
        QueryParserError::DateFormatError(_) => typed(
            FieldKind::Timestamp,
            |text| text.len() >= 20 && text.contains('T'),
            "for example `time:[2026-01-02T03:00:00Z TO 2026-01-02T04:00:00Z}`, or `--from` and \
             `--to`",
        ),
        QueryParserError::AllButQueryForbidden => {
            let help = "put `*` before it: `* -status:200`".to_owned();
            wrong(whole, "the query says only what is not wanted".to_owned(), help)
        }
        QueryParserError::NoDefaultFieldDeclared => {
            let help = format!("say which field, as in `{}:…`", mapping.fields[0].name);
            wrong(whole, "the index has no field of text or keywords".to_owned(), help)
        }
        QueryParserError::FieldNotIndexed(name) => {
            let at = place_of(query, name).unwrap_or(whole);
            wrong(at, format!("`{name}` cannot be asked for by a word"), names(mapping))
        }
        QueryParserError::FieldDoesNotHavePositionsIndexed(name) => {
            let at = place_of(query, name).unwrap_or(whole);
            let message = format!("`{name}` is not of kind `text`, so it has no phrases");
            wrong(at, message, "quote the whole value".to_owned())
        }
        other => {
            let message = other.to_string();
            let message = message.trim_end_matches('.').to_owned();
            wrong(whole, message, "the language is in sinks/index/README.md".to_owned())
        }
    }
}

/// Brackets within brackets: the parser calls itself for each.
const DEPTH_MAX: usize = 100;

/// Refuses a query with so many brackets within each other that the parser would run out of stack.
pub(super) fn check_depth(query: &str) -> Result<(), QueryError> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (at, char) in query.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return Err(QueryError::Wrong {
                at: Some(at..at + 1),
                message: format!("more than {DEPTH_MAX} brackets within each other"),
                help: "ask for less at a time".to_owned(),
            });
        }
    }
    Ok(())
}

/// `field:*` of a field of which nothing says where it has a value, if there is one in the query.
pub(super) fn of_any_value(mapping: &Mapping, query: &str) -> Option<QueryError> {
    let has_none = |kind| matches!(kind, FieldKind::Text | FieldKind::Json);
    for field in mapping.fields.iter().filter(|field| has_none(field.kind)) {
        for (at, name) in query.match_indices(&field.name) {
            let Some((path, value)) = query[at + name.len()..].split_once(':') else {
                continue;
            };
            let is_path = path.is_empty() || path.starts_with('.') && !path.contains(' ');
            if is_path && value.trim_start().starts_with('*') {
                let (name, kind) = (&field.name, field.kind.name());
                return Some(QueryError::Wrong {
                    at: Some(at..at + name.len() + path.len()),
                    message: format!("of `{name}`, which is of kind `{kind}`, `*` finds nothing"),
                    help: "`*` finds any value in fields of other kinds than `text` and `json`"
                        .to_owned(),
                });
            }
        }
    }
    None
}

/// A range within a field that is indexed by single values only.
pub(super) fn json_range(query: &str, path: &str) -> QueryError {
    QueryError::Wrong {
        at: place_of(query, path).or(Some(0..query.len())),
        message: format!("`{path}` is within a field of kind `json`, which has no ranges"),
        help:
            "ask for its single values, as in `extra.id:7 OR extra.id:8`, or give it a column and \
               a field of its own: `number`, `double` and `timestamp` have ranges"
                .to_owned(),
    }
}

/// A word that ends in `*`, of which only what stands before would be looked for.
pub(super) fn beginning(query: &str, field: &MappedField, word: &str) -> QueryError {
    let (start, next) = following(word.trim_end_matches('*')).unwrap_or(("word", "wore".into()));
    let (start, next) = match field.kind {
        FieldKind::Text => (start.to_lowercase(), next.to_lowercase()),
        _ => (start.to_owned(), next),
    };
    QueryError::Wrong {
        at: query.find(word).map_or(Some(0..query.len()), |at| Some(at..at + word.len())),
        message: "`*` does not stand for the rest of a word".to_owned(),
        help: format!(
            "a range finds what begins so, as in `{}:[{start} TO {next}}}`; in quotes `*` is a \
             character",
            field.name
        ),
    }
}

/// A beginning, and the least text after all that begin so, if a range can be written with them.
fn following(start: &str) -> Option<(&str, String)> {
    let last = start.chars().next_back()?;
    let next = char::from(u8::try_from(last).ok()? + 1);
    let is_plain = start.chars().chain([next]).all(|char| char.is_ascii_alphanumeric());
    is_plain.then(|| (start, format!("{}{next}", &start[..start.len() - 1])))
}

/// The kind of a field that an option names.
pub(super) fn known(mapping: &Mapping, name: &str, what: &str) -> Result<FieldKind, QueryError> {
    mapping.kind(name).ok_or_else(|| QueryError::Wrong {
        at: None,
        message: format!("cannot {what} `{name}`: {}", no_field(name)),
        help: names(mapping),
    })
}

/// The field is there, and of a kind that cannot be used so.
pub(super) fn unsuited(
    mapping: &Mapping,
    name: &str,
    what: &str,
    suits: impl Fn(FieldKind) -> bool,
) -> QueryError {
    let kind = mapping.kind(name).map_or("unknown", FieldKind::name);
    let suited = mapping.fields.iter().filter(|field| suits(field.kind));
    let suited: Vec<String> = suited.map(|field| format!("`{}`", field.name)).collect();
    let help = match suited.is_empty() {
        true => "no field of this index can be used so".to_owned(),
        false => format!("these can be used so: {}", suited.join(", ")),
    };
    let message = format!("cannot {what} `{name}`, which is of kind `{kind}`");
    QueryError::Wrong { at: None, message, help }
}

fn no_field(name: &str) -> String {
    format!("no field is called `{name}`")
}

fn names(mapping: &Mapping) -> String {
    let told = |field: &MappedField| format!("`{}` ({})", field.name, field.kind.name());
    let mut fields: Vec<String> = mapping.fields.iter().map(told).collect();
    fields.extend([QUEUE, OFFSET, STORE_TIME].map(|name| format!("`{name}`")));
    format!("there are {}", fields.join(", "))
}

fn described(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Keyword => "a text",
        FieldKind::Int => "a whole number",
        FieldKind::Double => "a number",
        FieldKind::Bool => "`true` or `false`",
        FieldKind::Timestamp => "an instant in RFC 3339",
        FieldKind::Json => "JSON",
    }
}

/// Where a query names a field.
fn place_of(query: &str, name: &str) -> Option<Range<usize>> {
    let at = places(query, name).next()?;
    Some(at..at + name.len())
}

fn places<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = usize> + 'q {
    let begins = |at: usize| {
        let before = query[..at].chars().next_back();
        before.is_none_or(|char| char.is_whitespace() || "(+-".contains(char))
    };
    let named = query.match_indices(name).map(|(at, _)| at);
    named.filter(move |at| begins(*at) && query[at + name.len()..].trim_start().starts_with(':'))
}

/// The first value of a field of this kind that does not parse, and the field.
fn wrong_value<'m>(
    mapping: &'m Mapping,
    query: &str,
    kind: FieldKind,
    parses: fn(&str) -> bool,
) -> (Range<usize>, Option<&'m str>) {
    let mapped = mapping.fields.iter().map(|field| (field.name.as_str(), field.kind));
    let all = mapped.chain([(OFFSET, FieldKind::Int), (STORE_TIME, FieldKind::Timestamp)]);
    for (name, _) in all.filter(|(_, known)| *known == kind) {
        for at in places(query, name) {
            let colon = at + query[at..].find(':').unwrap_or_default() + 1;
            let begin = colon + (query[colon..].len() - query[colon..].trim_start().len());
            let value = &query[begin..];
            let end = match value.chars().next() {
                Some('[' | '{') => value.find([']', '}']).map(|end| end + 1),
                Some('"') => value[1..].find('"').map(|end| end + 2),
                _ => value.find(|char: char| char.is_whitespace() || char == ')'),
            };
            let value = &value[..end.unwrap_or(value.len())];
            let inner = value.trim_matches(['[', ']', '{', '}', '"', '<', '>', '=']);
            let mut ends = inner.split(" TO ").map(str::trim).filter(|end| *end != "*");
            if !ends.all(parses) {
                return (begin..begin + value.len(), Some(name));
            }
        }
    }
    (0..query.len(), None)
}

/// The place itself, or the one before it at which a character begins. Positions count characters.
fn floor(query: &str, chars: usize) -> usize {
    query.char_indices().nth(chars).map_or(query.len(), |(at, _)| at)
}
