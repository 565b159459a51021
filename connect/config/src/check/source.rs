use millrace_connect_api::DataType;

use super::schema::{self, CheckedDecode};
use crate::code;
use crate::keys;
use crate::model::{FileSpec, GenerateSpec, Generator, SourceSpec, StartAt};
use crate::parse;
use crate::read::{Chosen, Entry, Fields, Reader};
use crate::text::Span;

/// A source as far as it could be read.
pub(super) struct CheckedSource {
    pub(super) spec: Option<SourceSpec>,
    pub(super) made: Option<Made>,
    /// How its records are decoded, and where that is said.
    pub(super) decode: CheckedDecode,
    pub(super) decode_at: Span,
}

pub(super) fn source(reader: &mut Reader<'_>, entry: &Entry<'_>) -> CheckedSource {
    let chosen = reader.choose(&keys::SOURCES, &entry.at, entry.node).unwrap_or_default();
    let checked = chosen.iter().map(|chosen| component(reader, chosen));
    let either = |first: CheckedSource, other: CheckedSource| CheckedSource {
        spec: None,
        made: None,
        decode: first.decode.or(other.decode),
        decode_at: first.decode_at,
    };
    checked.reduce(either).unwrap_or_else(|| CheckedSource {
        spec: None,
        made: None,
        decode: CheckedDecode::default(),
        decode_at: entry.at.span.clone(),
    })
}

fn component(reader: &mut Reader<'_>, chosen: &Chosen<'_>) -> CheckedSource {
    let mut checked = CheckedSource {
        spec: None,
        made: None,
        decode: CheckedDecode::default(),
        decode_at: chosen.entry.at.span.clone(),
    };
    let Some(fields) = reader.table(&chosen.entry) else {
        return checked;
    };
    if let Some(entry) = fields.get("decode") {
        checked.decode_at = entry.at.span.clone();
        checked.decode = schema::decode(reader, entry);
    }
    if chosen.name == "file" {
        checked.spec = file(reader, &fields, checked.decode.header).map(SourceSpec::File);
    } else {
        if fields.get("decode").is_none() && !fields.is_misspelled("decode") {
            checked.decode = CheckedDecode::json();
        }
        let (spec, made) = generate(reader, &fields);
        checked.spec = spec.map(SourceSpec::Generate);
        checked.made = made;
    }
    checked
}

fn file(reader: &mut Reader<'_>, fields: &Fields<'_>, header: bool) -> Option<FileSpec> {
    let include = fields.get("include").and_then(|entry| include(reader, entry));
    let once = reader.value(fields, "once", parse::bool);
    let start = reader.value(fields, "start", parse::choice);
    let read_chunk = reader.value(fields, "read_chunk", parse::size);
    let max_line = reader.value(fields, "max_line", parse::size);
    let partial_line = reader.value(fields, "partial_line", parse::duration);
    let scan_every = reader.value(fields, "scan_every", parse::duration);
    Some(FileSpec {
        include: include?,
        once: once?,
        header,
        start: [StartAt::Beginning, StartAt::End][start?],
        read_chunk: usize::try_from(read_chunk?).ok()?,
        max_line: usize::try_from(max_line?).ok()?,
        partial_line: partial_line?,
        scan_every: scan_every?,
    })
}

const INCLUDE: &str = "name a file, for example `[logs/*.jsonl]`";
const CHOICE: &str = "for example `choice: [red, green]`";

fn include(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Vec<String>> {
    let items = reader.items(entry)?;
    if items.is_empty() {
        reader.error(code::RANGE, &entry.node.span, "`include` names no file", INCLUDE);
    }
    let mut paths = Vec::new();
    for item in &items {
        let Some(path) = reader.scalar(item, parse::text) else {
            continue;
        };
        if path.trim().is_empty() {
            reader.error(code::PATH, &item.node.span, "an empty text is not a path", INCLUDE);
        }
        paths.push(path);
    }
    (paths.len() == items.len()).then_some(paths)
}

/// Fields that are made up, each with the types of columns that can hold it, if they are known.
pub(super) type Made = Vec<(String, Option<&'static [DataType]>)>;

fn generate(reader: &mut Reader<'_>, fields: &Fields<'_>) -> (Option<GenerateSpec>, Option<Made>) {
    let count = reader.value(fields, "count", parse::int);
    let seed = reader.value(fields, "seed", parse::int);
    let made = fields.get("fields").and_then(|entry| made_fields(reader, entry));
    let corrupt = match fields.get("corrupt") {
        Some(entry) => corrupt(reader, entry, count),
        None => Some(Vec::new()),
    };
    let (generators, types) = made.unzip();
    let spec = || {
        Some(GenerateSpec {
            count: count?.unsigned_abs(),
            seed: seed?.unsigned_abs(),
            fields: generators??,
            corrupt_records: corrupt?,
        })
    };
    (spec(), types)
}

type Generators = Vec<(String, Generator)>;

/// The generators, if all are right, and what each field can be.
fn made_fields(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<(Option<Generators>, Made)> {
    let map = reader.map(entry)?;
    let has_more = entry.node.has_more();
    if map.is_empty() && !has_more {
        let help = "add a line such as `amount: {int: {min: 1, max: 9}}`";
        reader.error(code::RANGE, &entry.node.span, "`fields` names no field", help);
    }
    let mut made = Vec::new();
    let mut types = Vec::new();
    for (key, value) in &map {
        let chosen = reader.choose(&keys::GENERATORS, &value.at, value.node).unwrap_or_default();
        let generators: Vec<_> =
            chosen.iter().map(|chosen| generator(reader, chosen.name, &chosen.entry)).collect();
        let (types_of_one, generator) = match (&chosen[..], generators.into_iter().next()) {
            ([chosen], Some(generator)) => (types_of(chosen.name, generator.as_ref()), generator),
            _ => (None, None),
        };
        types.push((key.text.clone(), types_of_one));
        made.extend(generator.map(|generator| (key.text.clone(), generator)));
    }
    if has_more {
        return None;
    }
    Some(((made.len() == map.len()).then_some(made), types))
}

/// The types of columns that can hold what a generator of this name makes.
fn types_of(name: &str, generator: Option<&Generator>) -> Option<&'static [DataType]> {
    Some(match (name, generator) {
        ("sequence" | "int" | "zipf", _) => &[DataType::Int, DataType::Double],
        ("double", None | Some(Generator::Double { decimals: 0, .. })) => {
            &[DataType::Int, DataType::Double]
        }
        ("double", Some(_)) => &[DataType::Double],
        ("uuid" | "text", _) => &[DataType::String],
        ("time", _) => &[DataType::String, DataType::Timestamp],
        ("choice", _) => &[DataType::String, DataType::Timestamp, DataType::Date],
        _ => return None,
    })
}

fn generator(reader: &mut Reader<'_>, name: &str, entry: &Entry<'_>) -> Option<Generator> {
    if name == "choice" {
        let items = reader.items(entry)?;
        if items.is_empty() {
            reader.error(code::RANGE, &entry.node.span, "there is nothing to choose from", CHOICE);
        }
        let texts: Vec<_> =
            items.iter().filter_map(|item| reader.scalar(item, parse::text)).collect();
        return (texts.len() == items.len()).then_some(Generator::Choice(texts));
    }
    let fields = reader.table(entry)?;
    match name {
        "sequence" => {
            let start = reader.value(&fields, "start", parse::int)?;
            Some(Generator::Sequence { start })
        }
        "uuid" => Some(Generator::Uuid),
        "int" => {
            let min = reader.value(&fields, "min", parse::int);
            let max = reader.value(&fields, "max", parse::int);
            let (min, max) = (min?, max?);
            in_order(reader, &fields, min <= max)?;
            Some(Generator::Int { min, max })
        }
        "double" => {
            let min = reader.value(&fields, "min", parse::number);
            let max = reader.value(&fields, "max", parse::number);
            let decimals = reader.value(&fields, "decimals", parse::int);
            if let (Some(min), Some(max)) = (min, max) {
                in_order(reader, &fields, min <= max)?;
            }
            // Which columns can hold it follows from the decimals alone.
            let (min, max) = (min.unwrap_or_default(), max.unwrap_or_default());
            Some(Generator::Double { min, max, decimals: u32::try_from(decimals?).ok()? })
        }
        "zipf" => {
            let n = reader.value(&fields, "n", parse::int);
            let s = reader.value(&fields, "s", parse::number);
            if s.is_some_and(|s| s < 0.0)
                && let Some(entry) = fields.get("s")
            {
                reader.error(
                    code::RANGE,
                    &entry.node.span,
                    "`s` must be at least 0",
                    "for example `s: 1.1`",
                );
            }
            Some(Generator::Zipf { n: n?.unsigned_abs(), s: s? })
        }
        "time" => {
            let start = reader.value(&fields, "start", parse::instant);
            let step = reader.value(&fields, "step", parse::duration);
            Some(Generator::Time { start_micros: start?, step: step? })
        }
        _ => {
            let words = reader.value(&fields, "words", parse::int);
            Some(Generator::Text { words: u32::try_from(words?).ok()? })
        }
    }
}

fn in_order(reader: &mut Reader<'_>, fields: &Fields<'_>, holds: bool) -> Option<()> {
    if !holds && let Some(max) = fields.get("max") {
        let help = "exchange the two";
        reader.error(code::RANGE, &max.node.span, "`max` must be at least `min`", help);
    }
    holds.then_some(())
}

fn corrupt(reader: &mut Reader<'_>, entry: &Entry<'_>, count: Option<i64>) -> Option<Vec<u64>> {
    let fields = reader.table(entry)?;
    let items = reader.items(fields.get("at")?)?;
    let mut records = Vec::new();
    for item in &items {
        let Some(record) = reader.scalar(item, parse::int) else {
            continue;
        };
        if let Some(count) = count
            && record > count
        {
            let message = format!("there is no record {record}");
            let help = format!("`count` is {count}");
            reader.error(code::RANGE, &item.node.span, message, help);
        }
        // The file counts as people count lines.
        records.push(record.unsigned_abs() - 1);
    }
    records.sort_unstable();
    records.dedup();
    Some(records)
}
