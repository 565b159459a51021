//! Which sink a pipeline file means: one line here for each kind.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millrace_config as config;
use millrace_config::{
    FileFormat, FilesSpec, HttpAnswer, HttpBatch, HttpBody, HttpSpec, IndexSpec, Pipeline,
    SinkKind, TemplatePiece,
};
use millrace_connect_api::{DataType, Schema, SinkError};
use millrace_disk::Disk;
use millrace_runtime::{BulkLimits, Bulks, OpenSink, SinkOpening};
use millrace_sink_files::{
    Compression, CsvFormat, FilesOptions, FilesSink, Format, Metadata, ParquetFormat, Rotate,
    RowGroup, TextCompression,
};
use millrace_sink_http::{
    Answering, Authorities, Body, Client, ClientOptions, HttpOptions, HttpSink, Piece, Template,
    Transport,
};
use millrace_sink_index::{FieldKind, IndexOptions, IndexSink, MappedField, Mapping, erase};
use millrace_sink_stdout::{AtOnce, Blackhole, Lines};

/// What carries the requests of a sink, by its name.
pub(crate) type Dial =
    Box<dyn Fn(&str, &HttpSpec) -> Result<Box<dyn Transport>, SinkError> + Send + Sync>;

/// A file that a sink needs cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {error}", .path.display())]
pub(crate) struct Unread {
    path: PathBuf,
    error: io::Error,
}

/// Requests over the network.
pub(crate) fn network() -> Dial {
    Box::new(|_, spec| {
        let read = |path: &PathBuf| match fs::read(path) {
            Ok(pem) => Ok(Authorities { path: path.clone(), pem }),
            Err(error) => Err(SinkError::Broken(Box::new(Unread { path: path.clone(), error }))),
        };
        let options = ClientOptions {
            timeout: spec.timeout,
            max_response: spec.max_response,
            tls: is_https(spec),
            ca: spec.ca.as_ref().map(read).transpose()?,
        };
        let client = Client::new(options).map_err(|error| SinkError::Broken(Box::new(error)))?;
        Ok(Box::new(client))
    })
}

fn is_https(spec: &HttpSpec) -> bool {
    matches!(spec.url.0.first(), Some(TemplatePiece::Text(text)) if text.starts_with("https:"))
}

/// What makes the sinks of a pipeline.
pub(crate) fn open(pipeline: Arc<Pipeline>, disk: Arc<dyn Disk>, dial: Dial) -> OpenSink {
    Box::new(move |opening| {
        let spec = pipeline.sinks.iter().find(|sink| sink.name == opening.name);
        let spec = spec.expect("the runtime opens the sinks of its pipeline");
        match &spec.kind {
            SinkKind::Files(files) => {
                let options = FilesOptions {
                    worker_tag: opening.epoch,
                    pieces: opening.pieces,
                    ..files_options(&pipeline, &opening.parts, files)
                };
                let SinkOpening { resume, next_part_id, .. } = opening;
                let disk = Arc::clone(&disk);
                let sink = FilesSink::open(disk, options, resume, next_part_id)
                    .map_err(|error| SinkError::Broken(Box::new(error)))?;
                Ok(Box::new(sink))
            }
            SinkKind::Index(index) => {
                let options = IndexOptions {
                    worker_tag: opening.epoch,
                    ..index_options(&pipeline, &opening.parts, index)
                };
                if opening.anew {
                    let erased = erase(disk.as_ref(), &index.to, &opening.parts);
                    erased.map_err(|error| SinkError::Broken(Box::new(error)))?;
                }
                let SinkOpening { resume, next_part_id, .. } = opening;
                let disk = Arc::clone(&disk);
                let sink = IndexSink::open(disk, options, resume, next_part_id)
                    .map_err(|error| SinkError::Broken(Box::new(error)))?;
                Ok(Box::new(sink))
            }
            SinkKind::Stdout { columns } => {
                let schema = Schema { columns: columns.clone() };
                let lines = Lines::new(io::stdout(), schema);
                Ok(Box::new(AtOnce::new(lines, opening.resume)))
            }
            SinkKind::Http(http) => {
                let options = http_options(&pipeline.name, &opening.name, http);
                let sink = HttpSink::new(options, dial(&opening.name, http)?);
                Ok(Box::new(Bulks::new(sink, bulk_limits(http), opening)))
            }
            SinkKind::Blackhole => Ok(Box::new(AtOnce::new(Blackhole, opening.resume))),
        }
    })
}

fn http_options(pipeline: &str, sink: &str, spec: &HttpSpec) -> HttpOptions {
    let template = |template: &config::Template| {
        let pieces = template.0.iter().map(|piece| match piece {
            TemplatePiece::Text(text) => Piece::Text(text.clone()),
            TemplatePiece::Column(column) => Piece::Column(column.name.clone()),
        });
        Template(pieces.collect())
    };
    let headers = spec.headers.iter().map(|(name, value)| (name.clone(), template(value)));
    HttpOptions {
        pipeline: pipeline.to_owned(),
        sink: sink.to_owned(),
        url: template(&spec.url),
        method: spec.method,
        headers: headers.collect(),
        body: match spec.body {
            HttpBody::Single => Body::Single,
            HttpBody::Ndjson => Body::Lines,
            HttpBody::JsonArray => Body::Array,
            HttpBody::Raw => Body::Raw,
        },
        columns: spec.columns.clone(),
        answering: match spec.answer {
            HttpAnswer::Status => Answering::Status,
            HttpAnswer::Items => Answering::Items,
        },
        in_flight: spec.in_flight,
    }
}

/// Where a request has one message there is nothing to wait for.
fn bulk_limits(spec: &HttpSpec) -> BulkLimits {
    let HttpBatch { rows, bytes, every } = spec.batch;
    let every_ms = match spec.body {
        HttpBody::Single | HttpBody::Raw => 0,
        HttpBody::Ndjson | HttpBody::JsonArray => millis(every),
    };
    BulkLimits { rows, bytes, every_ms }
}

/// What a sink of files writes, into files whose names begin with `parts`, but for its worker.
pub(crate) fn files_options(pipeline: &Pipeline, parts: &str, spec: &FilesSpec) -> FilesOptions {
    let memory = pipeline.limits.memory / pipeline.sinks.len().max(1) as u64;
    let columns = Schema { columns: spec.columns.clone() };
    FilesOptions {
        partition_by: spec.partition_by.clone(),
        rotate: Rotate {
            rows: spec.rotate.rows,
            bytes: spec.rotate.size,
            every_ms: spec.rotate.every.map(millis),
            idle_ms: spec.rotate.idle.map(millis),
        },
        metadata: match spec.metadata {
            config::Metadata::None => Metadata::None,
            config::Metadata::Offsets => Metadata::Offsets,
            config::Metadata::All => Metadata::All,
        },
        max_open: spec.max_open,
        memory_bytes_max: memory,
        ..FilesOptions::new(&spec.to, columns, parts, format(&spec.format, memory))
    }
}

/// What a search index consists of, in parts whose names begin with `parts`, but for its worker.
pub(crate) fn index_options(pipeline: &Pipeline, parts: &str, spec: &IndexSpec) -> IndexOptions {
    let fields = spec.fields.iter().map(|field| MappedField {
        name: field.column.name.clone(),
        kind: match (field.kind, field.column.data_type) {
            (config::FieldKind::Text, _) => FieldKind::Text,
            (config::FieldKind::Keyword, _) => FieldKind::Keyword,
            (config::FieldKind::Number, DataType::Double) => FieldKind::Double,
            (config::FieldKind::Number, _) => FieldKind::Int,
            (config::FieldKind::Timestamp, _) => FieldKind::Timestamp,
            (config::FieldKind::Bool, _) => FieldKind::Bool,
            (config::FieldKind::Json, _) => FieldKind::Json,
        },
    });
    let mapping = Mapping { fields: fields.collect(), time: spec.time.clone() };
    IndexOptions {
        rotate: millrace_sink_index::Rotate {
            rows: spec.rotate_rows,
            every_ms: spec.rotate_every.map(millis),
        },
        keep_ms: spec.keep.map(millis),
        memory_bytes_max: pipeline.limits.memory / pipeline.sinks.len().max(1) as u64,
        ..IndexOptions::new(&spec.to, mapping, parts)
    }
}

fn format(format: &FileFormat, memory: u64) -> Format {
    match format {
        FileFormat::Parquet(parquet) => Format::Parquet(ParquetFormat {
            compression: match parquet.compression {
                config::Compression::None => Compression::None,
                config::Compression::Snappy => Compression::Snappy,
                config::Compression::Zstd(level) => Compression::Zstd(level),
            },
            row_group: RowGroup {
                rows: parquet.row_group_rows,
                bytes: parquet.row_group_bytes.min(memory / 2),
            },
        }),
        FileFormat::Jsonl(compression) => Format::Jsonl(text_compression(*compression)),
        FileFormat::Csv(csv) => Format::Csv(CsvFormat {
            compression: text_compression(csv.compression),
            header: csv.header,
            delimiter: csv.delimiter,
            quote: csv.quote,
            null: csv.null.clone(),
        }),
    }
}

fn text_compression(compression: config::TextCompression) -> TextCompression {
    match compression {
        config::TextCompression::None => TextCompression::None,
        config::TextCompression::Gzip => TextCompression::Gzip,
        config::TextCompression::Zstd => TextCompression::Zstd,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a pipeline's rows go to standard output.
pub(crate) fn print_rows(pipeline: &Pipeline) -> bool {
    pipeline.sinks.iter().any(|sink| matches!(sink.kind, SinkKind::Stdout { .. }))
}
