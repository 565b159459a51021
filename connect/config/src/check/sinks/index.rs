use std::path::{Component, Path, PathBuf};

use millrace_connect_api::DataType;

use super::directory;
use crate::check::columns::{Available, named};
use crate::check::names::Scope;
use crate::code;
use crate::model::{FieldKind, IndexField, IndexSpec};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::table::{Kind, list_or};

const KINDS: [FieldKind; 6] = [
    FieldKind::Text,
    FieldKind::Keyword,
    FieldKind::Number,
    FieldKind::Timestamp,
    FieldKind::Bool,
    FieldKind::Json,
];

/// The directories of the indexes so far, and whose they are.
#[derive(Default)]
pub(super) struct Indexes(Vec<(PathBuf, String)>);

impl Indexes {
    /// Adds that of one more sink, which must be its own: a document is known by the place of its
    /// message alone, so the rows of two sinks would replace each other.
    fn add(&mut self, reader: &mut Reader<'_>, entry: &Entry<'_>, to: &Path, sink: &str) {
        // `x`, `./x`, `x/` and `x//.` are one.
        let to = to.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
        if let Some((_, other)) = self.0.iter().find(|(taken, _)| *taken == to) {
            let message = format!("the sink `{other}` has its index in this directory");
            let help = "an index is one sink's alone: choose another directory";
            reader.error(code::KEY_CONFLICT, &entry.node.span, message, help);
        }
        self.0.push((to, sink.to_owned()));
    }
}

/// What every document has beside its columns.
const RESERVED: [&str; 3] = ["_queue", "_offset", "_store_time"];

pub(super) fn index(
    reader: &mut Reader<'_>,
    own: &Fields<'_>,
    scope: &Scope,
    sink: &str,
    indexes: &mut Indexes,
) -> Option<IndexSpec> {
    let to = own.get("to").and_then(|entry| {
        let to = directory(reader, entry)?;
        indexes.add(reader, entry, &to, sink);
        Some(to)
    });
    let available = Available::of(scope);
    let fields = match own.get("mapping") {
        Some(entry) => mapping(reader, entry, &available),
        None => {
            let all = available.all().into_iter();
            Some(all.map(|column| IndexField { kind: usual(column.data_type), column }).collect())
        }
    };
    if let Some(fields) = &fields {
        let at = own.get("mapping").or(own.get("to"));
        let reserved = fields.iter().find(|field| RESERVED.contains(&&*field.column.name));
        if let (Some(at), Some(field)) = (at, reserved) {
            let message = format!("every document has a `{}` of its own", field.column.name);
            let help = "leave the column out of `mapping`, or give it another name with `rename`";
            reader.error(code::COLUMN_TWICE, &at.at.span, message, help);
        }
    }
    let time = time(reader, own.get("time"), fields.as_deref());
    let duration = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::duration);
    let keep = reader.value(own, "keep", duration);
    let rotate = reader.nested(own, "rotate").and_then(|own| {
        let int = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::int);
        let rows = reader.value(&own, "rows", int);
        let every = reader.value(&own, "every", duration);
        Some((rows?.map(i64::unsigned_abs), every?))
    });
    let (rotate_rows, rotate_every) = rotate?;
    Some(IndexSpec {
        to: to?,
        fields: fields?,
        time: time?,
        keep: keep?,
        rotate_rows,
        rotate_every,
    })
}

fn mapping(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    available: &Available,
) -> Option<Vec<IndexField>> {
    let map = reader.map(entry)?;
    if map.is_empty() && !entry.node.has_more() {
        let help = "name one, or delete `mapping`: then all columns are there";
        reader.error(code::RANGE, &entry.node.span, "a document needs a field", help);
    }
    let mut fields: Vec<IndexField> = Vec::new();
    for (key, value) in &map {
        let kind = reader.scalar(value, parse::choice).map(|choice| KINDS[choice]);
        let Some(column) = named(reader, &key.text, &key.span, available) else { continue };
        if fields.iter().any(|field| field.column.name == column.name) {
            let message = format!("`{}` is mapped twice", key.text);
            reader.error(code::COLUMN_TWICE, &key.span, message, "delete one of the two");
            continue;
        }
        let known = available.find(&key.text).and_then(|(_, data_type)| *data_type);
        // Whichever was meant, whether it is a time follows from the type.
        let Some(kind) = kind.or(known.map(usual)) else { continue };
        match known.filter(|data_type| !kinds(*data_type).contains(&kind)) {
            None => fields.push(IndexField { column, kind }),
            Some(data_type) => {
                let message = format!("`{}` is of type `{}`", column.name, type_name(data_type));
                let names: Vec<&str> = kinds(data_type).iter().map(|kind| name(*kind)).collect();
                let help = format!("it can be {}", list_or(&names));
                reader.error(code::TYPE_CHOICE, &value.node.span, message, help);
            }
        }
    }
    (fields.len() == map.len()).then_some(fields)
}

/// The field of the time; `None` for a mistake.
fn time(
    reader: &mut Reader<'_>,
    entry: Option<&Entry<'_>>,
    fields: Option<&[IndexField]>,
) -> Option<Option<String>> {
    let is_time = |field: &&IndexField| field.kind == FieldKind::Timestamp;
    let Some(entry) = entry else {
        let first = fields?.iter().find(is_time);
        return Some(first.map(|field| field.column.name.clone()));
    };
    let written = reader.scalar(entry, parse::text)?;
    let name = written.strip_prefix("body.").unwrap_or(&written);
    let mut times = fields?.iter().filter(is_time).map(|field| &*field.column.name);
    if times.clone().any(|time| time == name) {
        return Some(Some(name.to_owned()));
    }
    let message = format!("no field of timestamps is called `{written}`");
    let help = match times.next() {
        Some(_) => {
            let times = fields?.iter().filter(is_time).map(|field| &*field.column.name);
            format!("there is {}", list_or(&times.collect::<Vec<_>>()))
        }
        None => "without `time`, documents are as old as their messages".to_owned(),
    };
    reader.error(code::COLUMN_UNKNOWN, &entry.node.span, message, help);
    None
}

/// What a column can be; the first is what it is if nothing is said.
fn kinds(data_type: DataType) -> &'static [FieldKind] {
    match data_type {
        DataType::String => &[FieldKind::Text, FieldKind::Keyword, FieldKind::Json],
        DataType::Json => &[FieldKind::Json, FieldKind::Text, FieldKind::Keyword],
        DataType::Int | DataType::Double => &[FieldKind::Number],
        DataType::Bool => &[FieldKind::Bool],
        DataType::Timestamp | DataType::Date => &[FieldKind::Timestamp],
    }
}

fn usual(data_type: DataType) -> FieldKind {
    kinds(data_type)[0]
}

fn name(kind: FieldKind) -> &'static str {
    let index = KINDS.iter().position(|known| *known == kind);
    index.map_or("", |index| crate::keys::FIELD_KINDS[index])
}

fn type_name(data_type: DataType) -> &'static str {
    let found = DataType::NAMES.iter().find(|(_, known)| *known == data_type);
    found.map_or("", |(name, _)| name)
}
