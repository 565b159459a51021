use millrace_connect_api::decode::{CsvSpec, DecodeSpec, DecodeSpecError, RegexSpec, TimeFormat};
use millrace_connect_api::{Column, DataType, Schema};

use super::names::known;
use super::pattern::{Fault, fault};
use super::sinks::{CsvMarks, csv_marks};
use super::source::CheckedSource;
use crate::code;
use crate::keys;
use crate::parse;
use crate::read::{Chosen, Entry, Fields, Reader};
use crate::suggest::nearest;
use crate::table::list_or;
use crate::text::{Place, Span};
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
    let CheckedDecode { spec: mut decode, columns, mut untyped, .. } = match source {
        Some(source) => source.decode.clone(),
        None => CheckedDecode::json(),
    };
    let declared = schema.map(|entry| (entry, declared_columns(reader, entry, &mut untyped)));
    let schema = match (&decode, declared) {
        (None, Some((_, declared))) => columns.or(declared),
        (None, None) => columns,
        (Some(DecodeSpec::Json | DecodeSpec::Csv(_)), Some((_, declared))) => declared,
        (Some(which @ (DecodeSpec::Json | DecodeSpec::Csv(_))), None) => {
            let what = if *which == DecodeSpec::Json { "JSON" } else { "CSV" };
            let message = format!("bodies are {what}, so their columns must be given");
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
                    DecodeSpec::Json | DecodeSpec::Csv(_) | DecodeSpec::Regex(_) => (
                        "the groups of the pattern are the columns, so there is no `schema`",
                        "delete it, and give the types of groups under `regex: {types: …}`",
                    ),
                };
                reader.error(code::SCHEMA, &entry.at.span, message, help);
            }
            columns
        }
    };
    if let (Some(DecodeSpec::Csv(lines)), Some(schema)) = (&mut decode, &schema) {
        lines.columns.clone_from(&schema.columns);
    }
    Bodies { decode, schema, untyped }
}

/// Paths reported of one schema.
const ERRORS_MAX: usize = 20;

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
    if entry.node.has_more() {
        return None;
    }
    if columns.is_empty() {
        let help = "add a line such as `amount: double` for each column";
        reader.error(code::SCHEMA, &entry.at.span, "`schema` has no column", help);
        return None;
    }
    let mut paths = columns.clone();
    for _ in 0..ERRORS_MAX {
        let Err(error) = DecodeSpec::Json.decoder(&paths) else { break };
        let (name, help) = match &error {
            DecodeSpecError::EmptyPath { name } => (name, "a path is `user`, or `user.id`"),
            DecodeSpecError::Nested { inner, .. } => (inner, "delete one of the two"),
            _ => (&entry.at.name, "a column is the path of a field, once"),
        };
        let key = map.iter().map(|(key, _)| key).find(|key| key.text == *name);
        let span = key.map_or(&entry.at.span, |key| &key.span);
        reader.error(code::SCHEMA, span, error.to_string(), help);
        // The others may be wrong, too.
        paths.retain(|column| column.name != *name);
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
    let (Some(made), Some(DecodeSpec::Json), Some(schema)) =
        (&source.made, &bodies.decode, &bodies.schema)
    else {
        return;
    };
    let Value::Map(map) = &entry.node.value else { return };
    for ((key, node), column) in map.iter().zip(&schema.columns) {
        let names = || made.iter().map(|(name, _)| name.as_str());
        match made.iter().find(|(name, _)| *name == column.name) {
            None => {
                let message = format!("the source makes no field `{}`", column.name);
                let help = known(nearest(&column.name, names()).map(str::to_owned), names());
                reader.error(code::COLUMN_UNKNOWN, &key.span, message, help);
            }
            Some((_, Some(types)))
                if !types.contains(&column.data_type) && !bodies.untyped.contains(&column.name) =>
            {
                let fitting: Vec<&str> = DataType::NAMES
                    .iter()
                    .filter(|(_, data_type)| types.contains(data_type))
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

/// How bodies are decoded, as far as it could be read.
#[derive(Clone, Default)]
pub(super) struct CheckedDecode {
    /// `None` if a mistake hides which way it is.
    spec: Option<DecodeSpec>,
    /// The columns, even if there is a mistake: what other parts of the file say of them can still
    /// be checked.
    columns: Option<Schema>,
    /// Columns whose type is hidden by a mistake.
    untyped: Vec<String>,
    /// Whether the first line of each file is the header of the others.
    pub(super) header: bool,
}

impl CheckedDecode {
    pub(super) fn json() -> Self {
        DecodeSpec::Json.into()
    }

    /// One of two, and it is not known which.
    pub(super) fn or(self, other: Self) -> Self {
        let (Some(mut schema), Some(others)) = (self.columns, other.columns) else {
            return Self::default();
        };
        let mut untyped = self.untyped;
        untyped.extend(other.untyped);
        for column in others.columns {
            match schema.column(&column.name) {
                None => schema.columns.push(column),
                Some(known) if known.data_type != column.data_type => untyped.push(column.name),
                Some(_) => {}
            }
        }
        Self { columns: Some(schema), untyped, ..Self::default() }
    }
}

impl From<DecodeSpec> for CheckedDecode {
    fn from(spec: DecodeSpec) -> Self {
        Self { columns: spec.known_schema(), spec: Some(spec), ..Self::default() }
    }
}

pub(super) fn decode(reader: &mut Reader<'_>, entry: &Entry<'_>) -> CheckedDecode {
    let chosen = reader.choose(&keys::DECODES, &entry.at, entry.node).unwrap_or_default();
    let checked = chosen.iter().map(|Chosen { name, entry }| match (*name, reader.table(entry)) {
        ("json", _) => CheckedDecode::json(),
        ("lines", _) => DecodeSpec::Lines.into(),
        ("csv", Some(fields)) => csv(reader, &fields),
        (_, Some(fields)) => regex(reader, &fields),
        (_, None) => CheckedDecode::default(),
    });
    checked.reduce(CheckedDecode::or).unwrap_or_default()
}

/// The columns are those of `schema`, which is not known yet.
fn csv(reader: &mut Reader<'_>, fields: &Fields<'_>) -> CheckedDecode {
    let header = reader.value(fields, "header", parse::bool);
    let marks = csv_marks(reader, fields);
    // Whatever is wrong with them, it is CSV.
    let marks = marks.unwrap_or(CsvMarks { delimiter: b',', quote: b'"', null: String::new() });
    let CsvMarks { delimiter, quote, null } = marks;
    let spec = CsvSpec { columns: Vec::new(), delimiter, quote, null };
    CheckedDecode {
        spec: Some(DecodeSpec::Csv(spec)),
        header: header.unwrap_or_default(),
        ..CheckedDecode::default()
    }
}

fn regex(reader: &mut Reader<'_>, fields: &Fields<'_>) -> CheckedDecode {
    let pattern = reader.value(fields, "pattern", parse::text);
    let null = reader.value(fields, "null", parse::text);
    let types = fields.get("types").map(|entry| reader.map(entry));
    let declared = types.iter().flatten().flatten();
    let declared: Vec<_> = declared.map(|(key, entry)| (*key, data_type(reader, entry))).collect();
    let time = fields.get("time").map(|entry| reader.table(entry));
    let time_fields = time.as_ref().and_then(Option::as_ref);
    let field = time_fields.and_then(|time| reader.value(time, "field", parse::text));
    let format = time_fields.and_then(|time| time_format(reader, time));

    let mut spec = RegexSpec {
        pattern: pattern.clone().unwrap_or_default(),
        types: Vec::new(),
        time: field.clone().zip(format),
        null,
    };
    let bare = RegexSpec { time: None, ..spec.clone() };
    let columns = pattern.and_then(|_| group_columns(reader, fields, bare));
    let Some(mut columns) = columns else {
        return CheckedDecode { spec: Some(DecodeSpec::Regex(spec)), ..CheckedDecode::default() };
    };
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut groups = Groups { names: &names, untyped: Vec::new() };
    for (key, data_type) in &declared {
        match (columns.iter_mut().find(|column| column.name == key.text), data_type) {
            (Some(column), Some(data_type)) => {
                column.data_type = *data_type;
                spec.types.push(column.clone());
            }
            (Some(column), None) => groups.untyped.push(column.name.clone()),
            (None, _) => groups.unknown(reader, &key.span, &key.text),
        }
    }
    let mut at_odds = None;
    if let (Some(field), Some(at)) = (&field, time_fields.and_then(|time| time.get("field"))) {
        let is_declared = spec.types.iter().any(|column| column.name == *field);
        match columns.iter_mut().find(|column| column.name == *field) {
            Some(column) if is_declared && column.data_type != DataType::Timestamp => {
                let error = DecodeSpecError::NotATime { name: field.clone() };
                let help = "delete it from `types`, or from `time`";
                reader.error(code::KEY_CONFLICT, &at.node.span, error.to_string(), help);
                at_odds = Some(field.clone());
            }
            Some(column) => column.data_type = DataType::Timestamp,
            None => groups.unknown(reader, &at.node.span, field),
        }
    }
    if matches!(types, Some(None))
        || fields.get("types").is_some_and(|entry| entry.node.has_more())
        || (time.is_some() && field.is_none())
        || fields.is_misspelled("types")
        || fields.is_misspelled("time")
    {
        groups.untyped.extend(names.iter().cloned());
    }
    let mut untyped = groups.untyped;
    untyped.retain(|name| spec.types.iter().all(|column| column.name != *name));
    untyped.extend(at_odds);
    let schema = Schema { columns };
    CheckedDecode {
        spec: Some(DecodeSpec::Regex(spec)),
        columns: Some(schema),
        untyped,
        header: false,
    }
}

fn time_format(reader: &mut Reader<'_>, time: &Fields<'_>) -> Option<String> {
    let format = reader.value(time, "format", parse::text)?;
    if let (Err(error), Some(entry)) = (TimeFormat::parse(&format), time.get("format")) {
        let message = format!("this time format cannot be used: {error}");
        let help = "for example `%Y-%m-%dT%H:%M:%S%z`, or `%d/%b/%Y:%H:%M:%S %z`";
        reader.error(code::REGEX, &entry.node.span, message, help);
    }
    Some(format)
}

/// The groups of a pattern as columns of texts.
fn group_columns(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    spec: RegexSpec,
) -> Option<Vec<Column>> {
    let spec = DecodeSpec::Regex(spec);
    if let (Err(error), Some(entry)) = (spec.decoder(&[]), fields.get("pattern")) {
        pattern_error(reader, entry, &error);
    }
    Some(spec.known_schema()?.columns)
}

/// The groups of a pattern, and those whose type a mistake hides.
struct Groups<'n> {
    names: &'n [String],
    untyped: Vec<String>,
}

impl Groups<'_> {
    /// Something is said of a group that there is not. It was meant for one of the others.
    fn unknown(&mut self, reader: &mut Reader<'_>, span: &Span, name: &str) {
        let names = || self.names.iter().map(String::as_str);
        let near = nearest(name, names()).map(str::to_owned);
        let help = known(near.clone(), names());
        let groups = self.names.to_vec();
        let error = DecodeSpecError::UnknownGroup { name: name.to_owned(), known: groups };
        reader.error(code::COLUMN_UNKNOWN, span, error.to_string(), help);
        match near {
            Some(near) => self.untyped.push(near),
            None => self.untyped.extend(self.names.iter().cloned()),
        }
    }
}

fn pattern_error(reader: &mut Reader<'_>, entry: &Entry<'_>, error: &DecodeSpecError) {
    let DecodeSpecError::Pattern(_) = error else {
        let help = "each named group is a column";
        return reader.error(code::REGEX, &entry.node.span, error.to_string(), help);
    };
    let Some(pattern) = reader.interpolated_text(entry) else { return };
    let Fault { at, mut message, mut help, first } = fault(&pattern.text);
    if entry.node.is_double_quoted() && !pattern.is_value(at.start) {
        // There each `\` of a pattern is written twice.
        for text in [&mut message, &mut help] {
            *text = text.replace('\\', "\\\\");
        }
    }
    if let Some(first) = first {
        let span = entry.node.span_of(reader.source, &pattern.written(&first));
        let Place { line, column } = reader.source.place(span.start);
        help = format!("the first is on line {line}, column {column}; {help}");
    }
    let span = entry.node.span_of(reader.source, &pattern.written(&at));
    reader.error(code::REGEX, &span, message, help);
}
