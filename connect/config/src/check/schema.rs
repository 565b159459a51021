use millrace_connect_api::decode::{DecodeSpec, DecodeSpecError, RegexSpec};
use millrace_connect_api::{Column, DataType, Schema};

use super::names::known;
use super::source::CheckedSource;
use crate::code;
use crate::keys;
use crate::model::{Generator, SourceSpec};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::suggest::nearest;
use crate::table::list_or;
use crate::text::Span;
use crate::yaml::Value;

/// What bodies are and which columns they have, as far as that is known.
pub(super) struct Bodies {
    pub(super) decode: Option<DecodeSpec>,
    /// `None` if a mistake hides the columns: then none of them is reported as unknown.
    pub(super) schema: Option<Schema>,
    /// Columns of the schema whose type is a mistake.
    pub(super) untyped: Vec<String>,
}

impl Bodies {
    /// A mistake hides everything.
    pub(super) fn unknown() -> Self {
        Self { decode: None, schema: None, untyped: Vec::new() }
    }
}

/// Puts together what the source says about decoding and what `schema` says about columns.
pub(super) fn bodies(
    reader: &mut Reader<'_>,
    schema: Option<&Entry<'_>>,
    source: Option<&CheckedSource>,
    topic_at: Option<Span>,
) -> Bodies {
    let CheckedDecode { spec: decode, columns, mut untyped } = match source {
        Some(source) => source.decode.clone(),
        None => CheckedDecode::json(),
    };
    let declared = schema.map(|entry| (entry, declared_columns(reader, entry, &mut untyped)));
    let schema = match (&decode, declared) {
        (None, Some((_, declared))) => columns.or(declared),
        (None, None) => columns,
        (Some(DecodeSpec::Json), Some((_, declared))) => declared,
        (Some(DecodeSpec::Json), None) => {
            let message = "bodies are JSON, so their columns must be given";
            let help = "add `schema:` with a line such as `amount: double` for each column";
            // With neither a source nor a topic there is nothing yet that has columns.
            if let Some(at) = source.map(|source| source.decode_at.clone()).or(topic_at) {
                reader.error(code::SCHEMA, &at, message, help);
            }
            None
        }
        (Some(other), declared) => {
            if let Some((entry, _)) = declared {
                let (message, help) = match other {
                    DecodeSpec::Lines => (
                        "lines have one column, `line`, so there is no `schema`",
                        "delete it and write `body.line`",
                    ),
                    DecodeSpec::Json | DecodeSpec::Regex(_) => (
                        "the groups of the pattern are the columns, so there is no `schema`",
                        "delete it, and give the types of groups under `regex: {types: …}`",
                    ),
                };
                reader.error(code::SCHEMA, &entry.at.span, message, help);
            }
            columns
        }
    };
    Bodies { decode, schema, untyped }
}

/// Columns of the body, and columns of all `set` steps together.
pub(super) const COLUMNS_MAX: usize = 10_000;

fn declared_columns(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    untyped: &mut Vec<String>,
) -> Option<Schema> {
    let map = reader.map(entry)?;
    if map.len() > COLUMNS_MAX {
        let message = format!("`schema` has {} columns, the limit is {COLUMNS_MAX}", map.len());
        reader.error(code::RANGE, &entry.at.span, message, "leave columns out");
        return None;
    }
    let mut columns = Vec::new();
    for (key, value) in &map {
        // A column whose type is wrong is still a column.
        let data_type = data_type(reader, value).unwrap_or_else(|| {
            untyped.push(key.text.clone());
            DataType::String
        });
        columns.push(Column { name: key.text.clone(), data_type });
    }
    if columns.is_empty() {
        let help = "add a line such as `amount: double` for each column";
        reader.error(code::SCHEMA, &entry.at.span, "`schema` has no column", help);
        return None;
    }
    if let Err(error) = DecodeSpec::Json.decoder(&columns) {
        let at = |name: &str| map.iter().find(|(key, _)| key.text == name).map(|(key, _)| key);
        let (name, help) = match &error {
            DecodeSpecError::EmptyPath { name } => (name, "a path is `user`, or `user.id`"),
            DecodeSpecError::Nested { inner, .. } => (inner, "delete one of the two"),
            _ => (&entry.at.name, "a column is the path of a field, once"),
        };
        let span = at(name).map_or(&entry.at.span, |key| &key.span).clone();
        reader.error(code::SCHEMA, &span, error.to_string(), help);
    }
    Some(Schema { columns })
}

fn data_type(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<DataType> {
    Some(DataType::NAMES[reader.scalar(entry, parse::choice)?].1)
}

/// Finds columns that made-up records can never fill.
pub(super) fn against_generator(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    bodies: &Bodies,
    source: &CheckedSource,
) {
    let (Some(SourceSpec::Generate(generate)), Some(DecodeSpec::Json), Some(schema)) =
        (&source.spec, &bodies.decode, &bodies.schema)
    else {
        return;
    };
    let Value::Map(map) = &entry.node.value else { return };
    for ((key, node), column) in map.iter().zip(&schema.columns) {
        let names = || generate.fields.iter().map(|(name, _)| name.as_str());
        let made = generate.fields.iter().find(|(name, _)| *name == column.name);
        match made {
            None => {
                let message = format!("the source makes no field `{}`", column.name);
                let help = known(nearest(&column.name, names()).map(str::to_owned), names());
                reader.error(code::COLUMN_UNKNOWN, &key.span, message, help);
            }
            Some((_, generator)) if !types_of(generator).contains(&column.data_type) => {
                let fitting: Vec<&str> = DataType::NAMES
                    .iter()
                    .filter(|(_, data_type)| types_of(generator).contains(data_type))
                    .map(|(name, _)| *name)
                    .collect();
                let message = format!("what the source makes for `{}` does not fit", column.name);
                let help = format!("it fits {}", list_or(&fitting));
                reader.error(code::SCHEMA, &node.span, message, help);
            }
            Some(_) => {}
        }
    }
}

/// The types of columns that can hold what is made.
fn types_of(generator: &Generator) -> &'static [DataType] {
    match generator {
        Generator::Sequence { .. } | Generator::Int { .. } | Generator::Zipf { .. } => {
            &[DataType::Int, DataType::Double]
        }
        Generator::Double { decimals: 0, .. } => &[DataType::Int, DataType::Double],
        Generator::Double { .. } => &[DataType::Double],
        Generator::Uuid | Generator::Text { .. } => &[DataType::String],
        Generator::Time { .. } => &[DataType::String, DataType::Timestamp],
        Generator::Choice(_) => &[DataType::String, DataType::Timestamp, DataType::Date],
    }
}

/// How bodies are decoded, as far as it could be read.
#[derive(Clone, Default)]
pub(super) struct CheckedDecode {
    /// `None` if there is a mistake in it.
    spec: Option<DecodeSpec>,
    /// The columns, even if there is a mistake: what other parts of the file say of them can still
    /// be checked.
    columns: Option<Schema>,
    /// Columns whose type is hidden by a mistake.
    untyped: Vec<String>,
}

impl CheckedDecode {
    pub(super) fn json() -> Self {
        DecodeSpec::Json.into()
    }
}

impl From<DecodeSpec> for CheckedDecode {
    fn from(spec: DecodeSpec) -> Self {
        Self { columns: spec.known_schema(), spec: Some(spec), untyped: Vec::new() }
    }
}

pub(super) fn decode(reader: &mut Reader<'_>, entry: &Entry<'_>) -> CheckedDecode {
    let chosen = reader.choose(&keys::DECODES, &entry.at, entry.node);
    let fields = chosen.as_ref().and_then(|chosen| reader.table(&chosen.entry));
    let (Some(chosen), Some(fields)) = (chosen, fields) else {
        return CheckedDecode::default();
    };
    match chosen.name {
        "json" => CheckedDecode::json(),
        "lines" => DecodeSpec::Lines.into(),
        _ => regex(reader, &fields).unwrap_or_default(),
    }
}

/// `None` if not even the names of the groups are known.
fn regex(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<CheckedDecode> {
    let pattern = reader.value(fields, "pattern", parse::text);
    let null = reader.value(fields, "null", parse::text);
    let mut types = Vec::new();
    let declared = fields.get("types").and_then(|entry| reader.map(entry)).unwrap_or_default();
    for (key, value) in &declared {
        let data_type = data_type(reader, value);
        types.extend(data_type.map(|data_type| Column { name: key.text.clone(), data_type }));
    }
    let mut broken = types.len() < declared.len()
        || fields.is_misspelled("types")
        || fields.is_misspelled("time");
    let time_fields = fields.get("time").map(|entry| (entry, reader.table(entry)));
    let time = time_fields.as_ref().and_then(|(_, time)| {
        let field = reader.value(time.as_ref()?, "field", parse::text);
        let format = reader.value(time.as_ref()?, "format", parse::text);
        field.zip(format)
    });
    broken |= time_fields.is_some() && time.is_none();

    // One after the other: each mistake is found by asking for a decoder without the others.
    let bare = RegexSpec { pattern: pattern?, types: Vec::new(), time: None, null };
    if let Err(error) = DecodeSpec::Regex(bare.clone()).decoder(&[]) {
        pattern_error(reader, fields.get("pattern")?, &error);
        return None;
    }
    types.retain(|column| {
        let one = RegexSpec { types: vec![column.clone()], ..bare.clone() };
        let key = declared.iter().find(|(key, _)| key.text == column.name);
        let (Err(error), Some((key, _))) = (DecodeSpec::Regex(one).decoder(&[]), key) else {
            return true;
        };
        group_error(reader, &key.span, &error);
        broken = true;
        false
    });
    if let (Some((field, _)), Some((_, Some(time_fields)))) = (&time, &time_fields) {
        let types = types.iter().filter(|column| column.name == *field).cloned().collect();
        let one = RegexSpec { types, time: time.clone(), ..bare.clone() };
        if let Err(error) = DecodeSpec::Regex(one).decoder(&[]) {
            let format = matches!(error, DecodeSpecError::TimeFormat { .. });
            let at = time_fields.get(if format { "format" } else { "field" })?;
            group_error(reader, &at.node.span, &error);
            broken = true;
        }
    }
    if !broken {
        return Some(DecodeSpec::Regex(RegexSpec { types, time, ..bare }).into());
    }
    let columns = DecodeSpec::Regex(RegexSpec { types: types.clone(), ..bare }).known_schema()?;
    // One of the others may be what a mistake was meant for.
    let names = columns.columns.iter().map(|column| &column.name);
    let untyped = names.filter(|name| types.iter().all(|column| column.name != **name));
    let untyped = untyped.cloned().collect();
    Some(CheckedDecode { spec: None, columns: Some(columns), untyped })
}

fn pattern_error(reader: &mut Reader<'_>, entry: &Entry<'_>, error: &DecodeSpecError) {
    let (message, help) = match error {
        DecodeSpecError::Pattern(error) => {
            // The last line says what is wrong, those before draw where.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
            let message = format!("the pattern is not a regular expression: {reason}");
            (message, "`\\` before a character takes its meaning away, as in `\\[` and `\\(`")
        }
        other => (other.to_string(), "each named group is a column"),
    };
    reader.error(code::REGEX, &entry.node.span, message, help);
}

fn group_error(reader: &mut Reader<'_>, span: &Span, error: &DecodeSpecError) {
    match error {
        DecodeSpecError::UnknownGroup { name, known: groups } => {
            let names = || groups.iter().map(String::as_str);
            let help = known(nearest(name, names()).map(str::to_owned), names());
            reader.error(code::COLUMN_UNKNOWN, span, error.to_string(), help);
        }
        DecodeSpecError::TimeFormat { source, .. } => {
            let message = format!("this time format cannot be used: {source}");
            let help = "for example `%Y-%m-%dT%H:%M:%S%z`, or `%d/%b/%Y:%H:%M:%S %z`";
            reader.error(code::REGEX, span, message, help);
        }
        other => {
            let help = "delete it from `types`, or from `time`";
            reader.error(code::KEY_CONFLICT, span, other.to_string(), help);
        }
    }
}
