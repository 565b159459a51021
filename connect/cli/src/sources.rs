//! Which source a pipeline file means.

use std::sync::Arc;
use std::time::Duration;

use millrace_config::{FileSpec, GenerateSpec, Generator, SourceSpec, StartAt};
use millrace_connect_api::SourceError;
use millrace_disk::Disk;
use millrace_runtime::OpenSource;
use millrace_sources::{FieldGen, FileOptions, FileSource, GenerateOptions, GenerateSource};

/// What makes the source of this specification. With `once` a source that would wait for more
/// ends where it would wait.
pub(crate) fn open(spec: &SourceSpec, disk: Arc<dyn Disk>, once: bool) -> OpenSource {
    match spec {
        SourceSpec::File(spec) => {
            let options = file(spec, once);
            Box::new(move |resume| Ok(Box::new(FileSource::open(disk, options, resume)?)))
        }
        SourceSpec::Generate(spec) => {
            let options = generate(spec);
            Box::new(move |resume| Ok(Box::new(GenerateSource::open(options, resume)?)))
        }
    }
}

/// Looks whether the source has what it is to read, so that it can be said before anything is
/// started.
pub(crate) fn check(spec: &SourceSpec, disk: Arc<dyn Disk>, once: bool) -> Result<(), SourceError> {
    open(spec, disk, once)(Vec::new()).map(drop)
}

/// Whether the source of this specification ends by itself.
pub(crate) fn ends(spec: &SourceSpec) -> bool {
    match spec {
        SourceSpec::File(spec) => spec.once,
        SourceSpec::Generate(_) => true,
    }
}

/// How the files of this specification are read.
pub(crate) fn file(spec: &FileSpec, once: bool) -> FileOptions {
    FileOptions {
        include: spec.include.clone(),
        once: spec.once || once,
        header: spec.header,
        start_at_end: spec.start == StartAt::End,
        read_chunk: spec.read_chunk,
        line_max: spec.max_line,
        partial_line_ms: millis(spec.partial_line),
        scan_every_ms: millis(spec.scan_every),
    }
}

fn generate(spec: &GenerateSpec) -> GenerateOptions {
    let fields = spec.fields.iter().map(|(name, generator)| (name.clone(), field(generator)));
    GenerateOptions {
        count: spec.count,
        seed: spec.seed,
        fields: fields.collect(),
        corrupt_at: spec.corrupt_records.clone(),
        ..GenerateOptions::default()
    }
}

fn field(generator: &Generator) -> FieldGen {
    match generator {
        Generator::Sequence { start } => FieldGen::Sequence { start: *start },
        Generator::Uuid => FieldGen::Uuid,
        Generator::Choice(texts) => FieldGen::Choice(texts.clone()),
        Generator::Int { min, max } => FieldGen::Int { min: *min, max: *max },
        Generator::Double { min, max, decimals } => {
            FieldGen::Double { min: *min, max: *max, decimals: *decimals }
        }
        Generator::Time { start_micros, step } => FieldGen::Time {
            start_us: *start_micros,
            step_us: i64::try_from(step.as_micros()).unwrap_or(i64::MAX),
        },
        Generator::Zipf { n, s } => FieldGen::Zipf { n: *n, s: *s },
        Generator::Text { words } => FieldGen::Text { words: *words as usize },
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
