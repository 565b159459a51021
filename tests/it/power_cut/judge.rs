//! What must hold after a crash, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use bytes::Bytes;
use millrace_disk::{Disk, SimDisk};
use millrace_runtime::FILE_OFFSET;
use millrace_sink_files::unpacked;
use millrace_sink_index::{Hit, Search};
use millrace_store::inspect;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::indexed::{hits, number};

/// What must become of the input, by byte offset of the line.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    pub(crate) lines: BTreeSet<u64>,
    pub(crate) letters: BTreeSet<u64>,
    /// With the number that the line carries.
    pub(crate) rows: BTreeMap<u64, u64>,
    /// Each of which gets all rows and all letters.
    pub(crate) sinks: &'static [&'static str],
}

/// What a look at the whole disk gives.
#[derive(Debug, Default)]
struct Seen {
    /// Byte offsets of lines in the topic, with repetitions.
    lines: Vec<u64>,
    /// Queue and queue offset of each of them.
    places: BTreeSet<(u32, u64)>,
    /// By sink.
    letters: BTreeMap<String, Vec<u64>>,
    /// Messages found of each group.
    groups: BTreeMap<u64, usize>,
    /// By sink.
    rows: BTreeMap<String, Vec<Row>>,
    /// Names of the parts that ledgers have planned.
    planned: BTreeSet<String>,
    /// Names of the parts of the index that were not merged of others.
    indexed: Vec<String>,
    parts: u64,
    staged: Vec<String>,
}

#[derive(Debug)]
struct Row {
    id: u64,
    at: u64,
    place: (u32, u64),
}

pub(crate) struct Totals {
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    pub(crate) letters: u64,
}

/// What must hold whenever the power comes back.
pub(crate) fn between(disk: &SimDisk, input: &Expected, promised: &[u64]) -> Result<(), String> {
    let seen = look(disk)?;
    for id in promised {
        if seen.groups.get(id) != Some(&3) {
            return Err(format!("group {id} was promised to be durable and is not whole"));
        }
    }
    if let Some((id, found)) = seen.groups.iter().find(|(_, found)| **found != 3) {
        return Err(format!("{found} of the 3 messages of group {id} are visible"));
    }
    each_once("line of the topic", &seen.lines, &input.lines)?;
    for letters in seen.letters.values() {
        each_once("letter", letters, &input.letters)?;
    }
    for rows in seen.rows.values() {
        each_once("visible row", &places(rows), &input.rows.keys().copied().collect())?;
    }
    if let Some(name) = seen.indexed.iter().find(|name| !seen.planned.contains(*name)) {
        return Err(format!("{name} is visible, and no ledger has planned it"));
    }
    for row in seen.rows.values().flatten() {
        if !seen.places.contains(&row.place) {
            return Err(format!("a file outlives the message at {:?}", row.place));
        }
        if input.rows.get(&row.at) != Some(&row.id) {
            return Err(format!("a row claims to be line {} and is not", row.at));
        }
    }
    Ok(())
}

/// What must hold once the pipeline is done.
pub(crate) fn at_the_end(disk: &SimDisk, input: &Expected) -> Result<Totals, String> {
    let mut seen = look(disk)?;
    let mut totals = Totals { parts: seen.parts, rows: 0, letters: 0 };
    all_there("line of the topic", &seen.lines, &input.lines)?;
    for sink in input.sinks {
        let letters = seen.letters.remove(*sink).unwrap_or_default();
        all_there(&format!("letter of `{sink}`"), &letters, &input.letters)?;
        let rows = places(&seen.rows.remove(*sink).unwrap_or_default());
        all_there(&format!("row of `{sink}`"), &rows, &input.rows.keys().copied().collect())?;
        totals.rows += rows.len() as u64;
        totals.letters += letters.len() as u64;
    }
    if !seen.letters.is_empty() || !seen.rows.is_empty() {
        return Err(format!("rows and letters of other sinks: {:?} {:?}", seen.rows, seen.letters));
    }
    if !seen.staged.is_empty() {
        return Err(format!("staged files are left: {:?}", seen.staged));
    }
    Ok(totals)
}

fn places(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.at).collect()
}

fn each_once(what: &str, found: &[u64], allowed: &BTreeSet<u64>) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for at in found {
        if !allowed.contains(at) {
            return Err(format!("a {what} that never was: {at}"));
        }
        if !known.insert(at) {
            return Err(format!("{what} {at} is there twice"));
        }
    }
    Ok(())
}

fn all_there(what: &str, found: &[u64], wanted: &BTreeSet<u64>) -> Result<(), String> {
    let found: BTreeSet<u64> = found.iter().copied().collect();
    match wanted.difference(&found).next() {
        Some(missing) => Err(format!("{what} {missing} is missing")),
        None => Ok(()),
    }
}

fn look(disk: &SimDisk) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let mut strange = None;
    if disk.paths().iter().any(|path| path.starts_with("/data/commitlog")) {
        inspect(disk, Path::new("/data"), &mut |record| {
            let number =
                |name| record.properties.get(name).and_then(|value| value.parse::<u64>().ok());
            match record.topic {
                "lines" => {
                    seen.lines.extend(number(FILE_OFFSET));
                    seen.places.insert((record.queue.0, record.queue_offset.0));
                }
                "groups" => {
                    if let Some(group) = number("group") {
                        *seen.groups.entry(group).or_default() += 1;
                    }
                }
                "MILLRACE_LEDGER" => seen.planned.extend(planned(record.body)),
                topic if topic.starts_with("MILLRACE_") => {}
                topic => match topic.strip_prefix("%DLQ%sim_") {
                    Some(sink) => {
                        let letters = seen.letters.entry(sink.to_owned()).or_default();
                        letters.extend(number(FILE_OFFSET));
                    }
                    None => strange = Some(topic.to_owned()),
                },
            }
        })
        .map_err(|error| error.to_string())?;
    }
    if let Some(topic) = strange {
        return Err(format!("a strange topic {topic}"));
    }
    for path in disk.paths() {
        let sink = SINKS.iter().find(|sink| path.starts_with(format!("/{sink}")));
        let Some(sink) = sink else { continue };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        if name.starts_with('.') {
            seen.staged.push(name);
            continue;
        }
        if *sink == "search" {
            seen.indexed.extend((!name.contains("-m")).then_some(name));
            continue;
        }
        let bytes = disk.file_bytes(&path).unwrap_or_default();
        let rows = match name.ends_with(".parquet") {
            true => parquet_rows(bytes),
            false => json_rows(&name, bytes),
        };
        let rows = rows.map_err(|error| format!("{}: {error}", path.display()))?;
        seen.rows.entry((*sink).to_owned()).or_default().extend(rows);
        seen.parts += 1;
    }
    seen.indexed.retain(|name| name != "lock");
    if disk.list(Path::new("/search")).is_ok() {
        let search = Search::open(disk, Path::new("/search")).map_err(|error| error.to_string())?;
        seen.parts += search.library().parts() as u64;
        let rows = seen.rows.entry("search".to_owned()).or_default();
        rows.extend(index_rows(&search)?);
    }
    Ok(seen)
}

/// Names of the parts of a PLANNED.
fn planned(record: &[u8]) -> Vec<String> {
    let record: Value = serde_json::from_slice(record).unwrap_or_default();
    let parts = (record["record"] == "PLANNED").then(|| record["parts"].as_array()).flatten();
    let names = parts.into_iter().flatten().filter_map(|part| part["name"].as_str());
    names.map(str::to_owned).collect()
}

/// The documents of an index, each as often as it is in a part.
fn index_rows(search: &Search) -> Result<Vec<Row>, String> {
    let found = hits(search)?;
    let row = |hit: &Hit| {
        let queue = hit.queue.rsplit_once('/')?.1.parse().ok()?;
        Some(Row { id: number(hit, "id")?, at: number(hit, "at")?, place: (queue, hit.offset) })
    };
    found.iter().map(|hit| row(hit).ok_or(format!("no row: {hit:?}"))).collect()
}

/// Their directories, at the root.
const SINKS: [&str; 3] = ["lake", "lines", "search"];

fn json_rows(name: &str, bytes: Vec<u8>) -> Result<Vec<Row>, String> {
    let text = unpacked(name, bytes).map_err(|error| error.to_string())?;
    let row = |line: &[u8]| {
        let row: Value = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        let number = |name: &str| row[name].as_u64().ok_or(format!("no number {name}"));
        let place = (number("_queue")? as u32, number("_offset")?);
        Ok(Row { id: number("id")?, at: number("at")?, place })
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(row).collect()
}

fn parquet_rows(bytes: Vec<u8>) -> Result<Vec<Row>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes))
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let column = |name: &str| batch.column_by_name(name).ok_or(format!("no column {name}"));
        let (id, at) = (column("id")?.as_primitive::<Int64Type>(), column("at")?);
        let at = at.as_primitive::<Int64Type>();
        let queue = column("_queue")?.as_primitive::<Int32Type>();
        let offset = column("_offset")?.as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            let place = (queue.value(row) as u32, offset.value(row) as u64);
            rows.push(Row { id: id.value(row) as u64, at: at.value(row) as u64, place });
        }
    }
    Ok(rows)
}
