//! What a pipeline file means once every check has passed.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use millrace_connect_api::{Column, DataType, Schema, decode::DecodeSpec};
use millrace_sql_filter::Expr;
use millrace_types::TopicName;
use serde_json::{Map, Value};

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

/// One sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// A condition of this sink alone; rows for which it is not true do not reach it.
    pub where_: Option<Resolved>,
    /// What the pipeline demands of it; [`Delivery::ExactlyOnce`] where the file says nothing.
    pub delivery: Delivery,
    /// What becomes of records that it will never accept.
    pub on_reject: OnReject,
    /// The most dead letters among its last records, in a million of them.
    pub letters_ppm_max: u32,
    /// How often it tries what does not work now and may work later; as a run does it if the file
    /// says nothing.
    pub retry: Option<Retry>,
    /// What it writes and where.
    pub kind: SinkKind,
}

/// How often a record may show up at the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Once, whatever crashes.
    ExactlyOnce,
    /// Once or more.
    AtLeastOnce,
}

/// What becomes of a record that cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// It becomes a dead letter and the rest goes on.
    Dlq,
    /// The sink stops before it.
    Stop,
}

/// How often a sink tries again. Each pause is twice as long as the one before, less up to a half
/// by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first pause.
    pub initial: Duration,
    /// The longest pause.
    pub max: Duration,
    /// After this time what was not taken is refused; never without it.
    pub max_elapsed: Option<Duration>,
}

/// The kinds of sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// Files in a directory.
    Files(FilesSpec),
    /// A search index in a directory.
    Index(IndexSpec),
    /// Standard output.
    Stdout {
        /// The columns of a line in order.
        columns: Vec<Column>,
    },
    /// Requests to an HTTP server.
    Http(Box<HttpSpec>),
    /// Nowhere.
    Blackhole,
}

impl SinkKind {
    /// How often a record may show up at best.
    pub fn delivery(&self) -> Delivery {
        match self {
            SinkKind::Files(_) | SinkKind::Index(_) => Delivery::ExactlyOnce,
            SinkKind::Stdout { .. } | SinkKind::Http(_) | SinkKind::Blackhole => {
                Delivery::AtLeastOnce
            }
        }
    }

    /// Whether it can tell several rows of one message apart. An index takes documents of one queue
    /// offset for copies of one message, and what a request is called follows from offsets alone.
    pub fn takes_pieces(&self) -> bool {
        match self {
            SinkKind::Index(_) | SinkKind::Http(_) => false,
            SinkKind::Files(_) | SinkKind::Stdout { .. } | SinkKind::Blackhole => true,
        }
    }
}

impl FilesSpec {
    /// Files of JSON lines that are closed at the end of a run.
    pub fn lines(to: PathBuf, columns: Vec<Column>) -> Self {
        Self {
            to,
            partition_by: Vec::new(),
            columns,
            rotate: Rotate { rows: None, size: Some(256 << 20), every: None, idle: None },
            metadata: Metadata::None,
            max_open: 1,
            format: FileFormat::Jsonl(TextCompression::None),
        }
    }
}

/// The `http` sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSpec {
    /// Where requests go. Its scheme and its host have no column in them.
    pub url: Template,
    /// `POST`, `PUT` or `PATCH`.
    pub method: &'static str,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Template)>,
    /// What a request has in it.
    pub body: HttpBody,
    /// The columns of a row in order; none for [`HttpBody::Raw`].
    pub columns: Vec<Column>,
    /// How large a request becomes.
    pub batch: HttpBatch,
    /// What the answer says.
    pub answer: HttpAnswer,
    /// How many requests are under way at once.
    pub in_flight: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// The most bytes that are read of an answer.
    pub max_response: usize,
    /// A file with certificates of authorities that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
}

/// What a request has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpBody {
    /// One row, a JSON object.
    Single,
    /// Rows, each a JSON object on a line of its own.
    Ndjson,
    /// Rows in a JSON array.
    JsonArray,
    /// One message, byte for byte.
    Raw,
}

/// When a request with several rows is sent: whatever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpBatch {
    /// So many rows.
    pub rows: usize,
    /// So many bytes.
    pub bytes: usize,
    /// So long after the first row.
    pub every: Duration,
}

/// What an answer with a status of success says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpAnswer {
    /// That all is delivered.
    Status,
    /// Which items are not, in its body.
    Items,
}

/// A text with values of columns in it. Its [`Debug`] shows no more than the columns, because the
/// text may come from the environment and be a secret.
///
/// [`Debug`]: std::fmt::Debug
#[derive(Clone, PartialEq, Eq)]
pub struct Template(pub Vec<TemplatePiece>);

/// A piece of a [`Template`].
#[derive(Clone, PartialEq, Eq)]
pub enum TemplatePiece {
    /// As it is.
    Text(String),
    /// The value of the column of this name.
    Column(Column),
}

impl Template {
    /// The columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.0.iter().filter_map(|piece| match piece {
            TemplatePiece::Text(_) => None,
            TemplatePiece::Column(column) => Some(column),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(")?;
        for piece in &self.0 {
            match piece {
                TemplatePiece::Text(_) => f.write_str("…")?,
                TemplatePiece::Column(column) => write!(f, "{{{}}}", column.name)?,
            }
        }
        f.write_str(")")
    }
}

impl HttpSpec {
    /// The names of the columns that are in the URL or in headers.
    pub fn template_columns(&self) -> impl Iterator<Item = &str> {
        let templates = std::iter::once(&self.url).chain(self.headers.iter().map(|(_, it)| it));
        templates.flat_map(Template::columns).map(|column| column.name.as_str())
    }
}

/// The sinks of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSpec {
    /// The directory, relative to the current one unless absolute.
    pub to: PathBuf,
    /// Names of columns whose values make the directories, outermost first. They need not be in
    /// `columns`; those that are, are in the path and not in the files.
    pub partition_by: Vec<String>,
    /// The columns of the files in order: of the body or of `set` steps, by name. No two have the
    /// same name.
    pub columns: Vec<Column>,
    /// When a file is closed.
    pub rotate: Rotate,
    /// Which columns about the message itself are added.
    pub metadata: Metadata,
    /// How many file handles are held at once.
    pub max_open: usize,
    /// What kind of files.
    pub format: FileFormat,
}

/// What kind of files a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// The `parquet` sink.
    Parquet(ParquetSpec),
    /// The `jsonl` sink.
    Jsonl(TextCompression),
    /// The `csv` sink.
    Csv(CsvSpec),
}

/// What only the `parquet` sink has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetSpec {
    /// How pages are compressed.
    pub compression: Compression,
    /// The most rows of a row group.
    pub row_group_rows: u64,
    /// The most bytes of a row group, encoded.
    pub row_group_bytes: u64,
}

/// When a file is closed: whatever comes first. At least one is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// This many rows.
    pub rows: Option<u64>,
    /// This many bytes, encoded.
    pub size: Option<u64>,
    /// This long after its first row.
    pub every: Option<Duration>,
    /// This long after its latest row.
    pub idle: Option<Duration>,
}

/// How Parquet pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not.
    None,
    /// Snappy.
    Snappy,
    /// Zstandard at this level, 1 to 22.
    Zstd(i32),
}

/// What only the `csv` sink has, and its compression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSpec {
    /// How files are compressed.
    pub compression: TextCompression,
    /// Whether the first line names the columns.
    pub header: bool,
    /// What stands between values.
    pub delimiter: u8,
    /// What stands around a value that could be taken apart otherwise; another character than
    /// `delimiter`.
    pub quote: u8,
    /// What is written where there is no value, without any of these two and without line breaks.
    pub null: String,
}

/// How files of text are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextCompression {
    /// Not.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Which columns about the message itself a file gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// None.
    None,
    /// `_queue`, `_offset` and `_store_time`.
    Offsets,
    /// Those of [`Metadata::Offsets`], and `_broker` and `_topic`.
    All,
}

/// The `index` sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSpec {
    /// The directory, relative to the current one unless absolute.
    pub to: PathBuf,
    /// The fields of a document, in order. No two have the same name, and each has a kind that its
    /// type can be.
    pub fields: Vec<IndexField>,
    /// The field that says how old a document is: one of timestamps.
    pub time: Option<String>,
    /// How old a document may become.
    pub keep: Option<Duration>,
    /// Documents become visible when there are this many.
    pub rotate_rows: Option<u64>,
    /// Documents become visible this long after the first of them.
    pub rotate_every: Option<Duration>,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexField {
    /// The column it comes from, with its name.
    pub column: Column,
    /// What can be asked about it.
    pub kind: FieldKind,
}

/// What can be asked about a field of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Its words.
    Text,
    /// The whole text.
    Keyword,
    /// A number, and ranges of numbers.
    Number,
    /// An instant, and ranges of instants.
    Timestamp,
    /// True or false.
    Bool,
    /// The fields of the JSON object that the text is.
    Json,
}

/// What a pipeline may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of decoded data in memory at once.
    pub memory: u64,
}

/// Tests of a module in WebAssembly, beside the module.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTests {
    /// The module's file, relative to that of the tests.
    pub module: PathBuf,
    /// The tests, in order.
    pub tests: Vec<FilterTest>,
}

/// Records, and the verdict that a module has to give on each.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTest {
    /// What it is about; no other test of the file has it.
    pub name: String,
    /// What the module is told.
    pub params: Map<String, Value>,
    /// The records, in order.
    pub records: Vec<FilterRecord>,
}

/// A record, and the verdict on it.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterRecord {
    /// Its body.
    pub body: String,
    /// Its key.
    pub key: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Its other properties.
    pub properties: Vec<(String, String)>,
    /// The verdict.
    pub expect: FilterVerdict,
}

/// What a module has to say about a record.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterVerdict {
    /// It goes on.
    Keep,
    /// It does not.
    Drop,
    /// Others take its place; with these bodies, if they are given.
    Replace(Option<Vec<String>>),
    /// The module fails at it; with this in the reason, if it is given.
    Fail(Option<String>),
}

/// Messages, and what has to come of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    /// What it is about; no other test of the file has it.
    pub name: String,
    /// The messages, in order.
    pub given: Vec<GivenMessage>,
    /// What has to come of them, by sink or source.
    pub expect: Vec<Expected>,
}

/// One message, or as many as a file has lines.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenMessage {
    /// What it says.
    pub given: Given,
    /// Its key; never with a source, which has its own way to it.
    pub key: Option<String>,
    /// Its tag; never with a source.
    pub tag: Option<String>,
    /// Its properties; never with a source.
    pub properties: Vec<(String, String)>,
}

/// What a message of a test says.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A JSON body.
    Body(Value),
    /// A body in the bytes of this text, one line.
    Raw(String),
    /// The lines of a file, relative to the current directory.
    File(PathBuf),
}

/// What has to come of messages at one sink, or at the source. `None` may be anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The sink, or `source`.
    pub part: String,
    /// The rows of all files.
    pub rows: Option<ExpectedRows>,
    /// Patterns of file names below the directory of the sink.
    pub files: Option<Vec<String>>,
    /// The requests, in any order: so many, or these, with these keys and maybe more.
    pub requests: Option<ExpectedRows>,
    /// How many messages filters took out.
    pub filtered: Option<u64>,
    /// The dead letters; none if they are not named.
    pub letters: Option<ExpectedLetters>,
}

/// Rows that are expected.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedRows {
    /// So many.
    Count(u64),
    /// These, in any order, with these columns and maybe more.
    These(Vec<Map<String, Value>>),
}

/// Dead letters that are expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedLetters {
    /// So many.
    Count(u64),
    /// These, in any order.
    These(Vec<ExpectedLetter>),
}

/// A dead letter that is expected. `None` may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLetter {
    /// Its code.
    pub code: Option<String>,
    /// The field that it is about.
    pub field: Option<String>,
    /// Which of the rows of its message it is about.
    pub index: Option<u64>,
    /// A part of its error.
    pub error: Option<String>,
    /// Its body.
    pub body: Option<String>,
}
