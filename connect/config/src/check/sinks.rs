mod http; // the `http` sink
mod index; // the search index

use std::path::PathBuf;

use millrace_connect_api::Column;

use self::index::Indexes;
use super::columns::{Available, Listed, columns};
use super::names::Scope;
use super::steps::{Before, steps};
use crate::code;
use crate::keys;
use crate::model::{
    Compression, CsvSpec, Delivery, FileFormat, FilesSpec, Metadata, OnReject, ParquetSpec, Retry,
    Rotate, SinkKind, SinkSpec, TextCompression,
};
use crate::parse::{self, Wrong};
use crate::read::{Chosen, Entry, Fields, Reader};
use crate::table::Kind;
use crate::yaml::{Key, Node, Value};

/// The sinks as far as they could be read.
pub(super) struct CheckedSinks {
    /// In the order of the file; `None` if there is a mistake in one of them.
    pub(super) specs: Option<Vec<SinkSpec>>,
    /// The name of the first that cannot tell several rows of one message apart.
    pub(super) without_pieces: Option<String>,
}

/// The sinks; `None` if there are none to look at.
pub(super) fn sinks(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &Scope,
) -> Option<CheckedSinks> {
    let map = reader.map(entry)?;
    if map.is_empty() && !entry.node.has_more() {
        reader.error(code::RANGE, &entry.at.span, "there is no sink", "add one");
    }
    let (mut sinks, mut indexes) = (Vec::new(), Indexes::default());
    let mut without_pieces = None;
    for (key, value) in &map {
        let legal = sink_name(reader, key);
        let Some(fields) = reader.fields(&keys::SINK, &value.at, value.node) else { continue };
        let component = fields.component.as_ref().map(|chosen| chosen.name);
        if component.is_some_and(|name| !Abilities::of(name).takes_pieces) {
            without_pieces.get_or_insert_with(|| key.text.clone());
        }
        let sink = sink(reader, key, &fields, scope, &mut indexes);
        if legal {
            sinks.extend(sink);
        }
    }
    let specs = (sinks.len() == map.len()).then_some(sinks);
    Some(CheckedSinks { specs, without_pieces })
}

/// What a sink can do, which follows from its component alone: it is known whatever is wrong with
/// the settings.
#[derive(Debug, PartialEq)]
struct Abilities {
    delivery: Delivery,
    takes_pieces: bool,
}

impl Abilities {
    /// Those of a component by its name; [`SinkKind`] says the same of one without a mistake.
    fn of(component: &str) -> Self {
        let (delivery, takes_pieces) = match component {
            "http" => (Delivery::AtLeastOnce, false),
            "index" => (Delivery::ExactlyOnce, false),
            "stdout" | "blackhole" => (Delivery::AtLeastOnce, true),
            _ => (Delivery::ExactlyOnce, true),
        };
        Self { delivery, takes_pieces }
    }
}

/// What the sinks are called, whether they are right or not; `None` if one may have to be called
/// something else.
pub(super) fn names<'n>(entry: &Entry<'n>) -> Option<Vec<&'n str>> {
    let Value::Map(map) = &entry.node.value else { return None };
    let names = map.iter().map(|(key, _)| &*key.text);
    let legal = |name: &str| name != "source" && parse::name(&Kind::Name, name).is_ok();
    names.map(|name| legal(name).then_some(name)).collect()
}

fn sink_name(reader: &mut Reader<'_>, key: &Key) -> bool {
    if key.text == "source" {
        // The dead letters of a source have the topic that those of this sink would have.
        let message = "a sink cannot be called `source`";
        reader.error(code::NAME_TAKEN, &key.span, message, "choose another name");
        return false;
    }
    match parse::name(&Kind::Name, &key.text) {
        Ok(_) => true,
        Err(Wrong::Name(reason, help)) => {
            let message = format!("`{}` cannot be the name of a sink: {reason}", key.text);
            reader.error(code::NAME_SHAPE, &key.span, message, help);
            false
        }
        Err(_) => false,
    }
}

fn sink(
    reader: &mut Reader<'_>,
    key: &Key,
    fields: &Fields<'_>,
    scope: &Scope,
    indexes: &mut Indexes,
) -> Option<SinkSpec> {
    let where_ = fields.get("where").map(|entry| {
        let condition = scope.condition(reader, entry)?;
        scope.compare_with_subscription(reader, entry, &condition);
        Some(condition)
    });
    let mut behind_steps = scope.clone();
    if fields.is_misspelled("steps") {
        behind_steps.any_bare_name();
    }
    let steps =
        fields.get("steps").map(|entry| steps(reader, entry, &mut behind_steps, Before::OneSink));
    let scope = &behind_steps;
    let delivery = reader.value(fields, "delivery", parse::choice);
    let on_error = reader.nested(fields, "on_error").map(|fields| {
        let retry = fields.get("retry").map(|entry| retry(reader, entry));
        let dlq = reader.nested(&fields, "dlq");
        let max_ratio = dlq.and_then(|dlq| reader.value(&dlq, "max_ratio", parse::percent));
        (reader.value(&fields, "then", parse::choice), retry, max_ratio)
    });
    let (then, retry, letters_max) = on_error.unwrap_or((None, None, None));
    let kind = fields.component.as_ref().and_then(|chosen| {
        let own = reader.table(&chosen.entry)?;
        if chosen.name == "http" {
            return http::http(reader, chosen, &own, scope).map(Box::new).map(SinkKind::Http);
        }
        if chosen.name != "blackhole" {
            some_column(reader, chosen, &own, scope);
        }
        let format = match chosen.name {
            "jsonl" => jsonl,
            "csv" => csv,
            "index" => {
                let index = index::index(reader, &own, scope, &key.text, indexes);
                return index.map(SinkKind::Index);
            }
            "stdout" => return stdout(reader, &own, scope),
            "blackhole" => return Some(SinkKind::Blackhole),
            _ => parquet,
        };
        files(reader, &own, scope, format).map(SinkKind::Files)
    });
    let delivery = delivery.map(|choice| [Delivery::ExactlyOnce, Delivery::AtLeastOnce][choice]);
    let name = fields.component.as_ref().map_or("", |chosen| chosen.name);
    let abilities = Abilities::of(name);
    if let Some(kind) = &kind {
        let (delivery, takes_pieces) = (kind.delivery(), kind.takes_pieces());
        debug_assert_eq!(abilities, Abilities { delivery, takes_pieces }, "{name}");
    }
    let at_best = abilities.delivery;
    let delivery = match (delivery, fields.get("delivery")) {
        (Some(Delivery::ExactlyOnce), Some(entry)) if at_best == Delivery::AtLeastOnce => {
            let message = format!(
                "the {name} sink cannot promise exactly_once: after a crash some rows come to it \
                 again"
            );
            let help = match name {
                "http" => {
                    "write `delivery: at_least_once`, and let the server leave out requests with an \
                     `Idempotency-Key` that it knows"
                }
                _ => "write `delivery: at_least_once`, or delete `delivery`",
            };
            reader.error(code::DELIVERY, &entry.node.span, message, help);
            delivery
        }
        (_, Some(_)) => delivery,
        (_, None) => Some(at_best),
    };
    Some(SinkSpec {
        name: key.text.clone(),
        where_: match where_ {
            Some(condition) => Some(condition?),
            None => None,
        },
        steps: steps.unwrap_or_default(),
        delivery: delivery?,
        on_reject: [OnReject::Dlq, OnReject::Stop][then?],
        letters_ppm_max: letters_max?,
        retry: match retry {
            Some(retry) => Some(retry?),
            None => None,
        },
        kind: kind?,
    })
}

fn retry(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Retry> {
    let fields = reader.table(entry)?;
    let initial = reader.value(&fields, "initial", parse::duration);
    let max = reader.value(&fields, "max", parse::duration);
    let or_none = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::duration);
    let max_elapsed = reader.value(&fields, "max_elapsed", or_none);
    let (initial, max) = (initial?, max?);
    if initial > max
        && let Some(entry) = fields.get("initial").or(fields.get("max"))
    {
        let message = "the first pause is longer than the longest one";
        reader.error(code::RANGE, &entry.node.span, message, "raise `max`, or lower `initial`");
    }
    Some(Retry { initial, max, max_elapsed: max_elapsed? })
}

/// A sink that takes all columns needs one. Steps may have taken out every one of them.
fn some_column(reader: &mut Reader<'_>, chosen: &Chosen<'_>, own: &Fields<'_>, scope: &Scope) {
    let available = Available::of(scope);
    let is_index = chosen.name == "index";
    let choice = if is_index { "mapping" } else { "columns" };
    let chooses = own.get(choice).is_some() || own.is_misspelled(choice);
    // Where messages come from is something to write, too.
    let is_none = |node: &Node| matches!(&node.value, Value::Scalar(it) if it.text == "none");
    let adds = !["stdout", "http"].contains(&chosen.name)
        && !is_index
        && own.get("metadata").is_some_and(|entry| !is_none(entry.node));
    if available.columns.is_empty() && !available.open && !chooses && !adds {
        let message = "no column is left for this sink: the steps take all of them out";
        let help = "let `keep` name one more, or take one out of `drop`";
        reader.error(code::RANGE, &chosen.entry.at.span, message, help);
    }
}

fn files(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    scope: &Scope,
    format: fn(&mut Reader<'_>, &Fields<'_>) -> Option<FileFormat>,
) -> Option<FilesSpec> {
    let to = fields.get("to").and_then(|entry| directory(reader, entry));
    let available = Available::of(scope);
    let partition_by = match fields.get("partition_by") {
        Some(entry) => columns(reader, entry, &available),
        None => Listed { columns: Vec::new(), whole: true },
    };
    let listed = match fields.get("columns") {
        Some(entry) => columns(reader, entry, &available),
        None => Listed { columns: available.all(), whole: true },
    };
    if let (true, [], Some(entry)) = (listed.whole, &listed.columns[..], fields.get("columns")) {
        reader.error(code::RANGE, &entry.node.span, "a file needs a column", ALL_COLUMNS);
    }
    if listed.whole
        && partition_by.whole
        && !listed.columns.is_empty()
        && let Some(entry) = fields.get("partition_by")
        && listed.columns.iter().all(|column| partition_by.columns.contains(column))
        && (fields.get("columns").is_some() || !available.open)
    {
        let message = "nothing is left for the files: every column is in their paths";
        let help = "leave a column out of `partition_by`, or add one to `columns`";
        reader.error(code::RANGE, &entry.node.span, message, help);
    }
    let rotate = reader.nested(fields, "rotate").and_then(|own| {
        let rotate = rotate(reader, &own)?;
        if rotate == NEVER
            && let Some(entry) = fields.get("rotate")
        {
            let message = "no file would ever be closed";
            let help = "set one of `rows`, `size`, `every` and `idle`";
            reader.error(code::RANGE, &entry.at.span, message, help);
        }
        Some(rotate)
    });
    let format = format(reader, fields);
    let metadata = reader
        .value(fields, "metadata", parse::choice)
        .map(|choice| [Metadata::None, Metadata::Offsets, Metadata::All][choice]);
    if let (Some(metadata), Some(entry)) = (metadata, fields.get("metadata")) {
        metadata_clash(reader, entry, &listed.columns, metadata);
    }
    let max_open = reader.value(fields, "max_open", parse::int);
    Some(FilesSpec {
        to: to?,
        partition_by: partition_by.columns.into_iter().map(|column| column.name).collect(),
        columns: listed.columns,
        rotate: rotate?,
        metadata: metadata?,
        max_open: usize::try_from(max_open?).ok()?,
        format: format?,
    })
}

fn stdout(reader: &mut Reader<'_>, fields: &Fields<'_>, scope: &Scope) -> Option<SinkKind> {
    let available = Available::of(scope);
    let Some(entry) = fields.get("columns") else {
        return Some(SinkKind::Stdout { columns: available.all() });
    };
    let listed = columns(reader, entry, &available);
    if listed.whole && listed.columns.is_empty() {
        reader.error(code::RANGE, &entry.node.span, "a line needs a column", ALL_COLUMNS);
    }
    Some(SinkKind::Stdout { columns: listed.columns })
}

fn parquet(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FileFormat> {
    let compression = compression(reader, fields);
    let row_group = reader.nested(fields, "row_group").and_then(|fields| {
        let rows = reader.value(&fields, "rows", parse::int);
        let bytes = reader.value(&fields, "bytes", parse::size);
        Some((rows?.unsigned_abs(), bytes?))
    });
    let (row_group_rows, row_group_bytes) = row_group?;
    let compression = compression?;
    Some(FileFormat::Parquet(ParquetSpec { compression, row_group_rows, row_group_bytes }))
}

fn jsonl(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FileFormat> {
    text_compression(reader, fields).map(FileFormat::Jsonl)
}

fn csv(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FileFormat> {
    let compression = text_compression(reader, fields);
    let header = reader.value(fields, "header", parse::bool);
    let CsvMarks { delimiter, quote, null } = csv_marks(reader, fields)?;
    let (compression, header) = (compression?, header?);
    Some(FileFormat::Csv(CsvSpec { compression, header, delimiter, quote, null }))
}

/// What both who writes and who reads CSV has to know.
pub(super) struct CsvMarks {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    pub(super) null: String,
}

pub(super) fn csv_marks(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<CsvMarks> {
    let delimiter = reader.value(fields, "delimiter", parse::char);
    let quote = reader.value(fields, "quote", parse::char);
    let null = match fields.get("null") {
        Some(entry) => reader.scalar(entry, parse::text),
        None => Some(String::new()),
    };
    // Each pair is compared that is there.
    if delimiter.is_some()
        && delimiter == quote
        && let Some(entry) = fields.get("quote").or(fields.get("delimiter"))
    {
        let message = "`delimiter` and `quote` are the same character";
        reader.error(code::KEY_CONFLICT, &entry.node.span, message, "choose another");
    }
    let is_mark = |byte| [delimiter, quote, Some(b'\r'), Some(b'\n')].contains(&Some(byte));
    if null.as_ref().is_some_and(|null| null.bytes().any(is_mark))
        && let Some(entry) = fields.get("null")
    {
        let message = "`null` has a delimiter, a quote or a line break in it";
        reader.error(code::RANGE, &entry.node.span, message, r"for example `null: \N`");
    }
    Some(CsvMarks { delimiter: delimiter?, quote: quote?, null: null? })
}

fn text_compression(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<TextCompression> {
    let choice = reader.value(fields, "compression", parse::choice)?;
    Some([TextCompression::None, TextCompression::Gzip, TextCompression::Zstd][choice])
}

const ALL_COLUMNS: &str = "name one, or delete `columns`: then all of them are there";

fn directory(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<PathBuf> {
    let to = reader.scalar(entry, parse::text)?;
    let path = to.strip_prefix("file://").unwrap_or(&to);
    if path.trim().is_empty() {
        reader.error(
            code::PATH,
            &entry.node.span,
            "`to` names no directory",
            "for example `to: ./lake`",
        );
        return None;
    }
    if let Some((scheme, _)) = path.split_once("://") {
        let message =
            format!("this version writes to local directories only, not to `{scheme}://`");
        reader.error(code::PATH, &entry.node.span, message, "for example `to: ./lake`");
        return None;
    }
    Some(PathBuf::from(path))
}

const NEVER: Rotate = Rotate { rows: None, size: None, every: None, idle: None };

fn rotate(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Rotate> {
    let int = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::int);
    let size = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::size);
    let duration = |kind: &Kind, text: &str| parse::or_none(kind, text, parse::duration);
    let rows = reader.value(fields, "rows", int);
    let size = reader.value(fields, "size", size);
    let every = reader.value(fields, "every", duration);
    let idle = reader.value(fields, "idle", duration);
    Some(Rotate { rows: rows?.map(i64::unsigned_abs), size: size?, every: every?, idle: idle? })
}

fn compression(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Compression> {
    if let Some(entry) = fields.get("compression")
        && let Value::Map(_) = entry.node.value
    {
        let fields = reader.fields(&keys::ZSTD, &entry.at, entry.node)?;
        let level = reader.value(&fields, "zstd", parse::int)?;
        return Some(Compression::Zstd(i32::try_from(level).ok()?));
    }
    let choice = reader.value(fields, "compression", parse::choice)?;
    Some([Compression::Zstd(ZSTD_LEVEL_DEFAULT), Compression::Snappy, Compression::None][choice])
}

const ZSTD_LEVEL_DEFAULT: i32 = 3;

fn metadata_clash(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    columns: &[Column],
    metadata: Metadata,
) {
    let offsets = ["_queue", "_offset", "_index", "_store_time"];
    let all = ["_broker", "_topic"];
    let added: &[&[&str]] = match metadata {
        Metadata::None => &[],
        Metadata::Offsets => &[&offsets],
        Metadata::All => &[&offsets, &all],
    };
    for column in columns {
        if added.iter().any(|names| names.contains(&column.name.as_str())) {
            let message = format!("there is a column `{}` already", column.name);
            let help = "leave it out with `columns`, or write `metadata: none`";
            reader.error(code::COLUMN_TWICE, &entry.node.span, message, help);
        }
    }
}
