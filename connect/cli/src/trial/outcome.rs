use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::ArrowError;
use bytes::Bytes;
use millrace_client::{Broker, BrokerError, PullRequest};
use millrace_config::{FileFormat, HttpBody, Pipeline, SinkKind};
use millrace_connect_api::{Messages, QueueRef, utc_as_offset};
use millrace_disk::SimDisk;
use millrace_sink_files::unpacked;
use millrace_sink_http::Request;
use millrace_types::{QueueId, TopicName};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use regex::{Regex, escape};
use serde_json::{Map, Value, json};

use super::OUT;
use super::recorder::Recorder;
use crate::exit::{Exit, Failure, codes};
use crate::sinks::files_options;

/// What came of the messages of a test.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// By sink.
    pub(super) files: BTreeMap<String, Vec<File>>,
    /// By sink: method, URL, headers and body of each request.
    pub(super) requests: BTreeMap<String, Vec<Map<String, Value>>>,
    /// By sink, or `source`.
    pub(super) letters: BTreeMap<String, Vec<Letter>>,
}

/// One file that a reader finds.
#[derive(Debug)]
pub(super) struct File {
    /// Its path below the directory of the sink.
    pub(super) name: String,
    /// The columns in its path.
    pub(super) path_columns: Vec<(String, Option<String>)>,
    pub(super) rows: Vec<Map<String, Value>>,
}

/// One dead letter.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) code: String,
    pub(super) field: String,
    pub(super) index: Option<u64>,
    pub(super) error: String,
    pub(super) body: String,
}

/// Reads everything back.
pub(super) async fn of(
    pipeline: &Pipeline,
    broker: &Arc<dyn Broker>,
    disk: &SimDisk,
    server: &Recorder,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    for sink in &pipeline.sinks {
        let SinkKind::Http(spec) = &sink.kind else { continue };
        let requests: Vec<_> =
            server.of(&sink.name).iter().map(|request| told(request, spec.body)).collect();
        let rows = requests.iter().flat_map(|request| match &request["body"] {
            Value::Array(rows) => rows.iter().filter_map(Value::as_object).map(row).collect(),
            body => body.as_object().map(row).into_iter().collect::<Vec<_>>(),
        });
        let (name, path_columns, rows) = (String::new(), Vec::new(), rows.collect());
        outcome.files.entry(sink.name.clone()).or_default().push(File { name, path_columns, rows });
        outcome.requests.insert(sink.name.clone(), requests);
    }
    let parts = pipeline.sinks.iter().map(|sink| &*sink.name);
    for part in parts.chain(pipeline.source.as_ref().map(|_| "source")) {
        let topic = format!("%DLQ%{}_{part}", pipeline.name);
        let topic = TopicName::parse(&topic).expect("the run has used it");
        outcome.letters.insert(part.to_owned(), letters(broker, &topic).await?);
    }
    for path in disk.paths() {
        let Ok(below) = path.strip_prefix(OUT) else { continue };
        let (Some(sink), Some(name)) = (below.iter().next(), path.file_name()) else { continue };
        let sink = sink.to_string_lossy().into_owned();
        // Not visible yet, to those who read such directories.
        let is_hidden = name.to_string_lossy().starts_with(['.', '_']);
        let Some(bytes) = disk.file_bytes(&path).filter(|_| !is_hidden) else { continue };
        let inner = below.strip_prefix(&sink).expect("it begins so");
        let rows = rows(pipeline, &sink, &name.to_string_lossy(), bytes).map_err(|error| {
            let message = format!("what sink {sink} wrote cannot be read: {error}");
            Failure::new(Exit::Failed, codes::TEST, message).caused_by(&*error)
        })?;
        outcome.files.entry(sink).or_default().push(File {
            name: inner.to_string_lossy().into_owned(),
            path_columns: path_columns(inner),
            rows,
        });
    }
    Ok(outcome)
}

async fn letters(broker: &Arc<dyn Broker>, topic: &TopicName) -> Result<Vec<Letter>, Failure> {
    let queue = QueueId(0);
    let (mut next, end) = match broker.bounds(topic, queue).await {
        Ok(bounds) => bounds,
        Err(BrokerError::NoSuchQueue { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut letters = Vec::new();
    while next < end {
        let request = PullRequest {
            topic: topic.clone(),
            queue,
            from: next,
            bytes_max: 1 << 20,
            wait: Duration::ZERO,
        };
        let pulled = broker.pull(request).await?;
        let place = QueueRef { broker: broker.name(), topic: topic.clone(), queue };
        let messages = Messages::parse(place, next, pulled.next, pulled.runs).map_err(|error| {
            let message = format!("{topic} cannot be read: {error}");
            Failure::new(Exit::Failed, codes::TEST, message).caused_by(&error)
        })?;
        letters.extend((0..messages.len()).map(|n| {
            let letter = messages.get(n);
            let property = |name| letter.properties.get(name).unwrap_or_default().to_owned();
            Letter {
                code: property("dlq_code"),
                field: property("dlq_field"),
                index: property("dlq_index").parse().ok(),
                error: property("dlq_error"),
                body: String::from_utf8_lossy(letter.body).into_owned(),
            }
        }));
        next = pulled.next;
    }
    Ok(letters)
}

/// A request as tests see it. A body that is not JSON is a text.
fn told(request: &Request, body: HttpBody) -> Map<String, Value> {
    let text = String::from_utf8_lossy(&request.body);
    let parsed = match body {
        HttpBody::Ndjson => {
            let rows = text.lines().map(|line| serde_json::from_str(line).ok());
            rows.collect::<Option<Vec<Value>>>().map(Value::Array)
        }
        HttpBody::Single | HttpBody::JsonArray | HttpBody::Raw => serde_json::from_str(&text).ok(),
    };
    let told = json!({
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "body": parsed.unwrap_or_else(|| Value::String(text.into_owned())),
    });
    told.as_object().cloned().unwrap_or_default()
}

/// A row without the columns that have no value.
fn row(row: &Map<String, Value>) -> Map<String, Value> {
    let mut row = row.clone();
    row.retain(|_, value| !value.is_null());
    row
}

/// The rows of a file. A column without a value is left out.
fn rows(
    pipeline: &Pipeline,
    sink: &str,
    name: &str,
    bytes: Vec<u8>,
) -> Result<Vec<Map<String, Value>>, Box<dyn Error>> {
    let spec = pipeline.sinks.iter().find(|known| known.name == sink);
    let Some(SinkKind::Files(spec)) = spec.map(|spec| &spec.kind) else {
        return Err("no sink of files has this directory".into());
    };
    let lines = match &spec.format {
        FileFormat::Parquet(_) => {
            let bytes = Bytes::from(bytes);
            lines(ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?)?
        }
        FileFormat::Jsonl(_) => unpacked(name, bytes)?,
        FileFormat::Csv(csv) => {
            let schema = files_options(pipeline, sink, spec).file_schema();
            let schema = utc_as_offset(&RecordBatch::new_empty(Arc::new(schema))).schema();
            let mut reader = arrow_csv::ReaderBuilder::new(schema)
                .with_header(csv.header)
                .with_delimiter(csv.delimiter)
                .with_quote(csv.quote);
            if !csv.null.is_empty() {
                reader = reader.with_null_regex(Regex::new(&format!("^{}$", escape(&csv.null)))?);
            }
            lines(reader.build_buffered(&unpacked(name, bytes)?[..])?)?
        }
    };
    let rows = serde_json::Deserializer::from_slice(&lines).into_iter::<Map<String, Value>>();
    let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
    rows.iter_mut().for_each(|row| row.retain(|_, value| !value.is_null()));
    Ok(rows)
}

fn lines(
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Vec<u8>, ArrowError> {
    let mut lines = arrow_json::LineDelimitedWriter::new(Vec::new());
    for batch in batches {
        lines.write(&utc_as_offset(&batch?))?;
    }
    lines.finish()?;
    Ok(lines.into_inner())
}

/// The columns in a path such as `day=2026-01-02/part-1.parquet`.
fn path_columns(path: &Path) -> Vec<(String, Option<String>)> {
    let dirs = path.parent().into_iter().flat_map(Path::iter);
    let columns = dirs.filter_map(|segment| {
        let segment = segment.to_string_lossy();
        let (name, value) = segment.split_once('=')?;
        let value = (value != "__HIVE_DEFAULT_PARTITION__").then(|| percent_decoded(value));
        Some((percent_decoded(name), value))
    });
    columns.collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte =
            digits.filter(|_| first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_path_are_read_as_they_were_meant() {
        let path =
            Path::new("day=2026-01-02/a%3Db=x%2Fy%zz/n=__HIVE_DEFAULT_PARTITION__/f.parquet");
        let expected = [("day", Some("2026-01-02")), ("a=b", Some("x/y%zz")), ("n", None)];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(path_columns(path), expected);
    }
}
