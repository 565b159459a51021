//! What a pipeline file means once every check has passed.

mod sinks; // where rows go
mod test_cases; // what has to come of messages

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use millrace_connect_api::{DataType, Schema, decode::DecodeSpec};
use millrace_sql_filter::Expr;
use millrace_types::TopicName;
use serde_json::{Map, Value};

use crate::diagnostic::Diagnostic;

pub use sinks::{
    Compression, CsvSpec, Delivery, FieldKind, FileFormat, FilesSpec, HttpAnswer, HttpBatch,
    HttpBody, HttpSpec, IndexField, IndexSpec, Metadata, OnReject, ParquetSpec, Retry, Rotate,
    SinkKind, SinkSpec, Template, TemplatePiece, TextCompression,
};
pub use test_cases::{
    Expected, ExpectedLetter, ExpectedLetters, ExpectedRows, FilterRecord, FilterTest, FilterTests,
    FilterVerdict, Given, GivenMessage, TestCase,
};

/// A pipeline whose file has no error: every name is resolved, every default filled in.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Identity of its ledger, its dead letters and its metrics.
    pub name: String,
    /// What fills the topic; without one, producers do.
    pub source: Option<SourceSpec>,
    /// The topic that the sinks read.
    pub topic: TopicSpec,
    /// What the bodies of the topic are. JSON if there is no source to say so.
    pub decode: DecodeSpec,
    /// The columns that decoding gives, named as expressions name them, without `body.`.
    /// [`Slot::Body`] counts in it.
    pub schema: Schema,
    /// What happens to every message before the sinks, in order.
    pub steps: Vec<StepSpec>,
    /// Where the rows go; at least one, in the order of the file.
    pub sinks: Vec<SinkSpec>,
    /// What the pipeline may use.
    pub limits: Limits,
    /// What has to come of which messages.
    pub tests: Vec<TestCase>,
    /// Changes whenever the same messages could give other rows or other files. It depends on
    /// what the file says after interpolation, not on comments, quoting or `x-` notes.
    pub fingerprint: u64,
    /// What may be a mistake, by position.
    pub warnings: Vec<Diagnostic>,
}

impl Pipeline {
    /// The steps before one of its sinks: those of all sinks, then its own.
    pub fn steps_to<'a>(&'a self, sink: &'a SinkSpec) -> impl Iterator<Item = &'a StepSpec> {
        self.steps.iter().chain(&sink.steps)
    }
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// Lines of files.
    File(FileSpec),
    /// Records made up from a seed.
    Generate(GenerateSpec),
}

/// The `file` source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Paths and globs as written, relative to the current directory. Nobody has looked whether
    /// anything is there.
    pub include: Vec<String>,
    /// End when everything that was there is read, instead of waiting for more.
    pub once: bool,
    /// Whether the first line of each file is the header of the others, and no record.
    pub header: bool,
    /// Where a file begins that no cursor knows.
    pub start: StartAt,
    /// Bytes read at a time.
    pub read_chunk: usize,
    /// The longest line in bytes; a longer one is a dead letter.
    pub max_line: usize,
    /// How long a last line without its end may stay as it is before it counts as a line.
    pub partial_line: Duration,
    /// How often the globs are looked up again.
    pub scan_every: Duration,
}

/// Where reading of a file that was never read before starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// At its first byte.
    Beginning,
    /// Behind its last byte.
    End,
}

/// The `generate` source: one JSON object per record, the same for the same settings.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateSpec {
    /// How many records.
    pub count: u64,
    /// What all chance is drawn from.
    pub seed: u64,
    /// The fields of each object, in order.
    pub fields: Vec<(String, Generator)>,
    /// Which records are written as broken JSON on purpose, ascending. Here the first record is
    /// 0; in the file it is 1.
    pub corrupt_records: Vec<u64>,
}

/// How one field of a generated record gets its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// `start`, `start + 1`, and so on: a number.
    Sequence {
        /// Value in the first record.
        start: i64,
    },
    /// 128 bits in the form of a UUID (version 4), drawn from the seed: a text.
    Uuid,
    /// One of these, each as likely as the others: a text.
    Choice(Vec<String>),
    /// A whole number, both ends included.
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number rounded to some decimals, both ends included.
    Double {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
        /// Digits behind the point.
        decimals: u32,
    },
    /// An instant in RFC 3339, UTC: a text.
    Time {
        /// The first record's, in microseconds since the Unix epoch.
        start_micros: i64,
        /// Added from record to record.
        step: Duration,
    },
    /// A whole number from 1 to `n`, where `k` is `k^s` times less likely than 1.
    Zipf {
        /// Largest.
        n: u64,
        /// How steep it is; at 0 all are equally likely.
        s: f64,
    },
    /// Words: a text.
    Text {
        /// How many.
        words: u32,
    },
}

/// The topic of a pipeline.
#[derive(Clone, Debug)]
pub struct TopicSpec {
    /// Its name.
    pub name: TopicName,
    /// How many queues it gets if it has to be created.
    pub queues: u32,
    /// What decides the queue of a source's record; round robin without one. Reads the body only.
    pub key: Option<Resolved>,
    /// The tag of a source's record. Reads the body only.
    pub tag: Option<Resolved>,
    /// Properties that a source's record gets. Their values read the body only.
    pub properties: Vec<PropertySpec>,
}

/// A property promoted from the body.
#[derive(Clone, Debug)]
pub struct PropertySpec {
    /// Name of the property, and of the column that reads it.
    pub name: String,
    /// Its value; NULL means that the message does not get the property.
    pub value: Resolved,
    /// The value's type. The message holds it as text.
    pub data_type: DataType,
}

/// An expression and where its columns come from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// As written.
    pub text: String,
    /// Parsed in the strict dialect.
    pub expr: Expr,
    /// One for each of `expr.columns()`, in the same order.
    pub slots: Vec<Slot>,
}

impl Resolved {
    /// Whether it reads what is only there once bodies are decoded.
    pub fn needs_columns(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Body(_) | Slot::Set(_)))
    }
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The column of this index in [`Pipeline::schema`].
    Body(usize),
    /// A property of the message.
    Property {
        /// Its name.
        name: String,
        /// What its text is to be read as; text unless the topic promotes it from something else.
        data_type: DataType,
    },
    /// A column that an earlier line of a `set` step gave, the latest of this name.
    Set(String),
    /// Something every message has.
    Meta(MetaField),
}

/// What expressions can read of every message beside its body and its properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaField {
    /// `message_id`, a text.
    MessageId,
    /// `key`, a text.
    Key,
    /// `tag`, a text.
    Tag,
    /// `topic`, a text.
    Topic,
    /// `queue`, an integer.
    Queue,
    /// `offset`, an integer.
    Offset,
    /// `index`, an integer; NULL where no step took the message apart.
    Index,
    /// `born_time`, a timestamp.
    BornTime,
    /// `store_time`, a timestamp.
    StoreTime,
}

/// One step.
#[derive(Clone, Debug)]
pub enum StepSpec {
    /// Keeps the rows for which a condition is true.
    Filter {
        /// The condition.
        condition: Resolved,
        /// What becomes of rows for which it is neither true nor false.
        on_unknown: OnUnknown,
    },
    /// Gives columns values, top to bottom; a later one may read an earlier one.
    Set(Vec<SetColumn>),
    /// Takes columns out of what later steps and sinks can name; nothing else.
    Drop,
    /// Gives columns other names. What a column was called is not known to later steps and sinks.
    Rename(Vec<RenamedColumn>),
    /// Gives columns other types. Each keeps its name and its place.
    Cast(Vec<CastColumn>),
    /// Keeps a share of the messages.
    Sample {
        /// From 0 to 1.
        rate: f64,
    },
    /// Makes a row of each element of an array. At most one step of a pipeline is this, and none
    /// that reads columns comes before it: [`Pipeline::schema`] is of the rows.
    Split(SplitSpec),
    /// Takes rows out whose key came shortly before. At most one step of a pipeline is this.
    Dedupe(DedupeSpec),
    /// Runs a module in WebAssembly.
    Wasm(WasmSpec),
}

impl StepSpec {
    /// The name of a step that needs columns, and so runs once bodies are decoded.
    pub fn with_columns(&self) -> Option<&'static str> {
        match self {
            StepSpec::Filter { condition, .. } => condition.needs_columns().then_some("filter"),
            StepSpec::Dedupe(spec) => spec.by.needs_columns().then_some("dedupe"),
            StepSpec::Set(_) => Some("set"),
            StepSpec::Rename(_) => Some("rename"),
            StepSpec::Cast(_) => Some("cast"),
            StepSpec::Drop | StepSpec::Sample { .. } | StepSpec::Split(_) | StepSpec::Wasm(_) => {
                None
            }
        }
    }
}

/// The `dedupe` step. A row is a duplicate if another one of its queue with the same key lies
/// before it, within all windows that are given, taken out itself or not.
#[derive(Clone, Debug)]
pub struct DedupeSpec {
    /// The key. A row for which it is NULL is no duplicate.
    pub by: Resolved,
    /// At most so many queue offsets before it.
    pub offsets: Option<u64>,
    /// Stored less than this before it.
    pub within: Option<Duration>,
    /// Keys remembered for each queue; beyond it, those seen longest ago are forgotten.
    pub max_keys: usize,
}

/// The `split` step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitSpec {
    /// The path of the array in the body; empty for the body itself.
    pub path: Vec<String>,
    /// What each row has of the message beside the element.
    pub keep: Vec<KeptField>,
    /// The field of the row that is the element; without it the element is the row.
    pub as_: Option<String>,
    /// The most elements of a message.
    pub max: usize,
    /// What becomes of a message without an array.
    pub on_missing: OnMissing,
}

/// A field of a message that each row keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptField {
    /// Its name in the row.
    pub name: String,
    /// Its path in the body of the message.
    pub path: Vec<String>,
}

/// What becomes of a message without the array that is to be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// It becomes a dead letter.
    Dlq,
    /// It is filtered out, and counted.
    Reject,
}

/// The `wasm` step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmSpec {
    /// The module's file, relative to the current directory unless absolute. Nobody has looked
    /// whether it is there.
    pub module: PathBuf,
    /// Where the pipeline file names it, in bytes.
    pub module_at: Range<usize>,
    /// What it is told, of the types that the file gives.
    pub params: Map<String, Value>,
    /// Where the pipeline file has `params`, in bytes.
    pub params_at: Option<Range<usize>>,
    /// Where it names each of them.
    pub param_at: BTreeMap<String, Range<usize>>,
}

impl WasmSpec {
    /// Where to look for what is wrong with a parameter, which need not be there.
    pub fn at(&self, param: &str) -> &Range<usize> {
        self.param_at.get(param).or(self.params_at.as_ref()).unwrap_or(&self.module_at)
    }
}

/// What becomes of a row for which a filter is UNKNOWN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is filtered out, and counted apart from FALSE.
    Reject,
    /// It stays.
    Keep,
    /// It becomes a dead letter.
    Dlq,
}

/// A column that a `set` step gives.
#[derive(Clone, Debug)]
pub struct SetColumn {
    /// Its name: never one of [`Pipeline::schema`], but possibly one of an earlier `set`.
    pub name: String,
    /// Its value.
    pub value: Resolved,
    /// The value's type.
    pub data_type: DataType,
}

/// A column that gets another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedColumn {
    /// What it is called before.
    pub from: String,
    /// Its name from then on: never one of [`Pipeline::schema`].
    pub to: String,
}

/// A column that gets another type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CastColumn {
    /// Its name.
    pub name: String,
    /// Its type from then on.
    pub to: DataType,
    /// How its values are written, in the notation of strftime; a format that can be used, and only
    /// where a text or an integer becomes a time.
    pub format: Option<String>,
    /// The text that stands for no value; only where texts are cast.
    pub null: Option<String>,
}

/// What a pipeline may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of decoded data in memory at once.
    pub memory: u64,
}
