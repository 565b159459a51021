use std::ops::Range;

use tantivy::query::QueryParserError;

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

/// `field:*` of a field of which nothing says where it has a value.
pub(super) fn any_value(field: &MappedField, at: Range<usize>) -> QueryError {
    let (name, kind) = (&field.name, field.kind.name());
    QueryError::Wrong {
        at: Some(at),
        message: format!("of `{name}`, which is of kind `{kind}`, `*` finds nothing"),
        help: "`*` finds any value in fields of other kinds than `text` and `json`".to_owned(),
    }
}

/// A field that is not there.
pub(super) fn unknown(mapping: &Mapping, path: &str, at: Range<usize>) -> QueryError {
    let name = path.split('.').next().unwrap_or(path);
    QueryError::Wrong { at: Some(at), message: no_field(name), help: names(mapping) }
}

/// A range within a field that is indexed by single values only.
pub(super) fn json_range(path: &str, at: Range<usize>) -> QueryError {
    QueryError::Wrong {
        at: Some(at),
        message: format!("`{path}` is within a field of kind `json`, which has no ranges"),
        help:
            "ask for its single values, as in `extra.id:7 OR extra.id:8`, or give it a column and \
               a field of its own: `number`, `double` and `timestamp` have ranges"
                .to_owned(),
    }
}

/// A word with `*` or `?`, which would be looked for as characters, or not at all.
pub(super) fn wildcard(field: &MappedField, word: &str, at: Range<usize>) -> QueryError {
    let beginning = word.trim_end_matches('*');
    let is_beginning = beginning.len() < word.len() && !beginning.contains(['*', '?']);
    let (start, next) = following(beginning).unwrap_or(("word", "wore".into()));
    let (start, next) = match field.kind {
        FieldKind::Text => (start.to_lowercase(), next.to_lowercase()),
        _ => (start.to_owned(), next),
    };
    let message = match is_beginning {
        true => "`*` does not stand for the rest of a word",
        false => "`*` and `?` do not stand for other characters",
    };
    let quoted = "in quotes `*` and `?` are characters";
    let help = match field.kind {
        FieldKind::Json => quoted.to_owned(),
        _ => {
            let name = &field.name;
            format!("a range finds what begins so, as in `{name}:[{start} TO {next}}}`; {quoted}")
        }
    };
    QueryError::Wrong { at: Some(at), message: message.to_owned(), help }
}

/// A word that looks like an operator and would be looked for.
pub(super) fn operator(word: &str, at: Range<usize>) -> QueryError {
    QueryError::Wrong {
        at: Some(at),
        message: format!("`{word}` is no operator here"),
        help:
            "`AND`, `OR` and `NOT` are written in capitals, `&&` and `||` between blanks; to look \
               for it as a word, quote it"
                .to_owned(),
    }
}

/// Signs and nothing else, asked of a field of words.
pub(super) fn no_word(at: Range<usize>) -> QueryError {
    QueryError::Wrong {
        at: Some(at),
        message: "there is no word in it that a text could have".to_owned(),
        help: "words are letters and digits, at most 40 bytes of them".to_owned(),
    }
}

/// A pattern between two `/`.
pub(super) fn pattern(at: Range<usize>) -> QueryError {
    QueryError::Wrong {
        at: Some(at),
        message: "between two `/` stands a pattern, and patterns are not looked for".to_owned(),
        help: "quote what is no pattern, as in `path:\"/static/\"`".to_owned(),
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
        before.is_none_or(|char| char.is_whitespace() || "(+-!".contains(char))
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
