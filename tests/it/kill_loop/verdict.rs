//! What lies on the disk afterwards, read without the program.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use millrace_disk::RealDisk;
use millrace_runtime::FILE_OFFSET;
use millrace_sink_index::Search;
use millrace_store::inspect;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::Input;
use crate::indexed::{hits, number};

/// Where in the life of a part a kill fell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    BeforePlanned = 0,
    PlannedNotRenamed = 1,
    RenamedNotCommitted = 2,
    AfterCommitted = 3,
}

/// Where a failpoint lies.
pub(super) fn phase_of(failpoint: &str) -> Phase {
    match failpoint {
        "after-planned" | "before-publish" => Phase::PlannedNotRenamed,
        "after-publish" | "before-committed" => Phase::RenamedNotCommitted,
        "after-committed" => Phase::AfterCommitted,
        _ => Phase::BeforePlanned,
    }
}

/// Where the latest kill fell, as ledger and files tell.
pub(super) fn phase(dir: &Path) -> Result<Phase, String> {
    if !dir.join("data/commitlog").exists() {
        return Ok(Phase::BeforePlanned);
    }
    let mut planned: Option<Value> = None;
    let mut last = String::new();
    read_topic(dir, "MILLRACE_LEDGER", &mut |body, _| {
        let Ok(record) = serde_json::from_slice::<Value>(body) else { return };
        if record["sink"].as_str().is_some_and(|sink| sink != "errors") {
            return;
        }
        match record["record"].as_str() {
            Some("PLANNED") => planned = Some(record.clone()),
            Some("COMMITTED" | "ABORTED") => planned = None,
            _ => {}
        }
        last = record["record"].as_str().unwrap_or_default().to_owned();
    })?;
    let Some(planned) = planned else {
        let after = last == "COMMITTED";
        return Ok(if after { Phase::AfterCommitted } else { Phase::BeforePlanned });
    };
    let parts = planned["parts"].as_array().cloned().unwrap_or_default();
    let visible = |part: &Value| {
        part["name"].as_str().is_some_and(|name| dir.join("lake").join(name).exists())
    };
    let all = parts.iter().all(visible);
    Ok(if all { Phase::RenamedNotCommitted } else { Phase::PlannedNotRenamed })
}

/// Compares topic and files with the input. Answers the number of visible files.
pub(super) fn look(dir: &Path, input: &Input) -> Result<u64, String> {
    let mut lines = Vec::new();
    read_topic(dir, "access", &mut |_, offset| lines.extend(offset))?;
    exactly("line in the topic", lines, &input.lines)?;

    let mut rows = Vec::new();
    let files = files(&dir.join("lake"))?;
    for file in &files {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        if !name.is_some_and(|name| name.ends_with(".parquet") && !name.starts_with('.')) {
            return Err(format!("a stray file {}", file.display()));
        }
        let read = read_rows(file).map_err(|error| format!("{}: {error}", file.display()))?;
        rows.extend(read);
    }
    exactly("row", rows, &input.rows)?;
    exactly("line of JSON", lines_of_json(&dir.join("lake-lines"))?, &input.rows)?;
    exactly("document", documents(&dir.join("lake-index"))?, &input.people)?;

    let mut committed = 0;
    read_topic(dir, "MILLRACE_LEDGER", &mut |body, _| {
        let record = serde_json::from_slice::<Value>(body).unwrap_or_default();
        if record["record"] == "COMMITTED" && record["sink"] == "errors" {
            committed += record["parts"].as_array().map_or(0, Vec::len);
        }
    })?;
    if committed != files.len() {
        return Err(format!("{committed} parts are committed and {} visible", files.len()));
    }
    Ok(files.len() as u64)
}

/// Hands each message of a topic to `each`: its body, and its byte offset in the input.
fn read_topic(
    dir: &Path,
    topic: &str,
    each: &mut dyn FnMut(&[u8], Option<u64>),
) -> Result<(), String> {
    inspect(&RealDisk::new(), &dir.join("data"), &mut |record| {
        if record.topic == topic {
            let offset = record.properties.get(FILE_OFFSET).and_then(|text| text.parse().ok());
            each(record.body, offset);
        }
    })
    .map(drop)
    .map_err(|error| error.to_string())
}

fn exactly(what: &str, found: Vec<u64>, wanted: &BTreeSet<u64>) -> Result<(), String> {
    let count = found.len();
    let set: BTreeSet<u64> = found.into_iter().collect();
    if set.len() < count {
        return Err(format!("{} times a {what} is there twice", count - set.len()));
    }
    if let Some(missing) = wanted.difference(&set).next() {
        let all = wanted.difference(&set).count();
        return Err(format!("{all} times a {what} is missing, first {missing}"));
    }
    match set.difference(wanted).next() {
        Some(strange) => Err(format!("a {what} that never was: {strange}")),
        None => Ok(()),
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

fn lines_of_json(dir: &Path) -> Result<Vec<u64>, String> {
    let mut rows = Vec::new();
    for file in files(dir)? {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        if !name.is_some_and(|name| name.ends_with(".jsonl") && !name.starts_with('.')) {
            return Err(format!("a stray file {}", file.display()));
        }
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
            rows.push(row["at"].as_u64().ok_or("no number `at`")?);
        }
    }
    Ok(rows)
}

/// The documents of the index, each as often as it is in a part.
fn documents(dir: &Path) -> Result<Vec<u64>, String> {
    let stray = |file: &&PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        name.starts_with('.') || !name.ends_with(".part") && name != "lock"
    };
    if let Some(stray) = files(dir)?.iter().find(stray) {
        return Err(format!("a stray file {}", stray.display()));
    }
    let search = Search::open(&RealDisk::new(), dir).map_err(|error| error.to_string())?;
    let found = hits(&search)?;
    found.iter().map(|hit| number(hit, "at").ok_or(format!("no number `at`: {hit:?}"))).collect()
}

fn read_rows(path: &Path) -> Result<Vec<u64>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        let at = batch.column_by_name("at").ok_or("no column `at`")?;
        rows.extend(at.as_primitive::<Int64Type>().values().iter().map(|&at| at as u64));
    }
    Ok(rows)
}
