//! Which sink a pipeline file means: one line here for each kind.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millrace_config as config;
use millrace_config::{FileFormat, FilesSpec, Pipeline, SinkKind};
use millrace_connect_api::{Schema, SinkError};
use millrace_disk::Disk;
use millrace_runtime::{OpenSink, SinkOpening};
use millrace_sink_files::{
    Compression, CsvFormat, FilesOptions, FilesSink, Format, Metadata, ParquetFormat, Rotate,
    RowGroup, TextCompression,
};
use millrace_sink_stdout::{AtOnce, Blackhole, Lines};

/// What makes the sinks of a pipeline.
pub(crate) fn open(pipeline: Arc<Pipeline>, disk: Arc<dyn Disk>) -> OpenSink {
    Box::new(move |opening| {
        let spec = pipeline.sinks.iter().find(|sink| sink.name == opening.name);
        let spec = spec.expect("the runtime opens the sinks of its pipeline");
        match &spec.kind {
            SinkKind::Files(files) => {
                let options = FilesOptions {
                    worker_tag: opening.epoch,
                    ..files_options(&pipeline, &opening.parts, files)
                };
                let SinkOpening { resume, next_part_id, .. } = opening;
                let disk = Arc::clone(&disk);
                let sink = FilesSink::open(disk, options, resume, next_part_id)
                    .map_err(|error| SinkError::Broken(Box::new(error)))?;
                Ok(Box::new(sink))
            }
            SinkKind::Stdout { columns } => {
                let schema = Schema { columns: columns.clone() };
                let lines = Lines::new(io::stdout(), schema);
                Ok(Box::new(AtOnce::new(lines, opening.resume)))
            }
            SinkKind::Blackhole => Ok(Box::new(AtOnce::new(Blackhole, opening.resume))),
        }
    })
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
