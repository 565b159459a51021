use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use millrace_wasm_host::{Batch, Decisions, Filter, Output, Properties, Record, Verdict};
use serde_json::{Map, Value, json};

use super::{load, not_started, unread};
use crate::exit::{Exit, Failure};
use crate::figures::{count, counted};
use crate::output::Answer;
use crate::plain;

/// Show what a module does with each line of a file.
#[derive(Args, Debug)]
pub(super) struct Run {
    /// The module.
    module: PathBuf,
    /// The file; each line is the body of a record. `-` is stdin.
    file: PathBuf,
    /// Parameters, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_params)]
    params: Map<String, Value>,
    /// A property that every record has.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// No more than this many lines.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

pub(super) fn parse_params(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

pub(super) fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a property is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Records that a module sees at once; as many as in a pipeline, more or less.
const BATCH_RECORDS: usize = 1_000;

#[derive(Default)]
struct Shown {
    records: Vec<ShownRecord>,
    kept: u64,
    dropped: u64,
    replaced: u64,
    failed: u64,
}

struct ShownRecord {
    offset: i64,
    text: String,
    result: Value,
}

impl Run {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let module = load(&self.module)?;
        let filter = Filter::start(module, self.params.clone())
            .map_err(|error| not_started(&self.module, &error))?;
        let bytes = self.input()?;
        let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let lines = whole.split(|byte| *byte == b'\n').take(self.limit.unwrap_or(usize::MAX));
        let lines: Vec<&[u8]> = if whole.is_empty() { Vec::new() } else { lines.collect() };
        let mut properties = millrace_types::PropertiesBuf::new();
        for (name, value) in &self.properties {
            properties.push(name, value);
        }
        let records = lines.iter().enumerate().map(|(offset, body)| Record {
            queue_offset: offset as i64,
            body,
            properties: properties.as_bytes(),
            ..Record::default()
        });
        let records: Vec<Record<'_>> = records.collect();
        let mut shown = Shown::default();
        for records in records.chunks(BATCH_RECORDS) {
            let mut rest = records.to_vec();
            while !rest.is_empty() {
                let batch = Batch { topic: "lines", queue: 0, records: &rest };
                let decisions =
                    filter.run(&batch).map_err(|error| not_started(&self.module, &error))?;
                rest = shown.take(&rest, &decisions);
            }
        }
        let Shown { mut records, kept, dropped, replaced, failed } = shown;
        records.sort_by_key(|record| record.offset);
        let text: String = records.iter().map(|record| &*record.text).collect();
        let results = records.into_iter().map(|record| record.result).collect();
        let summary = format!(
            "{}: {} kept, {} dropped, {} replaced, {} failed",
            counted(lines.len() as u64, "record"),
            count(kept),
            count(dropped),
            count(replaced),
            count(failed),
        );
        let text = format!("{text}{summary}\n");
        Ok(Answer { exit: Exit::Done, summary, text, result: Value::Array(results) })
    }

    fn input(&self) -> Result<Vec<u8>, Failure> {
        if self.file != Path::new("-") {
            return fs::read(&self.file).map_err(|error| unread(&self.file, &error));
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|error| unread(&self.file, &error))
    }
}

impl Shown {
    /// Tells what became of records, and returns those that were not reached: one of the others
    /// took the time of all.
    fn take<'b>(&mut self, records: &[Record<'b>], decisions: &Decisions) -> Vec<Record<'b>> {
        let mut outputs = decisions.outputs().peekable();
        let mut rest = Vec::new();
        for (number, (record, verdict)) in records.iter().zip(decisions.verdicts()).enumerate() {
            let (counter, word) = match verdict {
                Verdict::Keep => (&mut self.kept, "keep"),
                Verdict::Drop => (&mut self.dropped, "drop"),
                Verdict::Replace => (&mut self.replaced, "replace"),
                Verdict::Failed(_) => (&mut self.failed, "fail"),
                Verdict::NotReached => {
                    rest.push(*record);
                    continue;
                }
            };
            *counter += 1;
            let body = String::from_utf8_lossy(record.body);
            let mut text = format!("{word:7} {}\n", plain::line(&body));
            let mut result =
                json!({"offset": record.queue_offset, "verdict": word, "before": body});
            if let Verdict::Failed(fault) = verdict {
                text.push_str(&format!("        {}\n", plain::line(&fault.to_string())));
                result["error"] = json!(fault.to_string());
            }
            let mut after = Vec::new();
            while let Some(output) = outputs.next_if(|output| output.record as usize == number) {
                let (shown, value) = told(record, &output);
                text.push_str(&format!("     -> {shown}\n"));
                after.push(value);
            }
            if matches!(verdict, Verdict::Replace) {
                result["after"] = Value::Array(after);
            }
            self.records.push(ShownRecord { offset: record.queue_offset, text, result });
        }
        rest
    }
}

/// What goes on in the place of a record, for people and for programs.
fn told(record: &Record<'_>, output: &Output<'_>) -> (String, Value) {
    let body = String::from_utf8_lossy(output.body.unwrap_or(record.body)).into_owned();
    let mut text = plain::line(&body).into_owned();
    let mut value = json!({"body": body});
    if let Some(key) = output.key {
        let key = String::from_utf8_lossy(key);
        text.push_str(&format!("  key={}", plain::line(&key)));
        value["key"] = json!(key);
    }
    if let Some(properties) = output.properties {
        let (Properties::Instead(bytes) | Properties::Beside(bytes)) = properties;
        for (name, property) in millrace_types::Properties::new(bytes).iter() {
            text.push_str(&format!("  {}={}", plain::line(name), plain::line(property)));
            value["properties"][name] = json!(property);
        }
    }
    (text, value)
}
