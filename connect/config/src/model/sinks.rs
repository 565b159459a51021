use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use millrace_connect_api::Column;

use super::{Resolved, StepSpec};

/// One sink.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Its name.
    pub name: String,
    /// A condition of this sink alone; rows for which it is not true do not reach it.
    pub where_: Option<Resolved>,
    /// What happens to its rows behind that, in order: neither [`StepSpec::Split`] nor
    /// [`StepSpec::Dedupe`].
    pub steps: Vec<StepSpec>,
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
