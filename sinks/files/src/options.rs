use std::path::PathBuf;

use arrow_schema::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use millrace_connect_api::{Column, Schema};

use crate::error::OptionsError;

/// What a sink of files writes, where, and when it closes files.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesOptions {
    /// The directory. It is created if it is missing.
    pub to: PathBuf,
    /// The columns of the file in order, taken from the batch by name. Those that are in
    /// `partition_by` are left out of the file; their values are in its path.
    pub columns: Schema,
    /// Columns of the batch by which rows are put into directories, outermost first.
    pub partition_by: Vec<String>,
    /// When a file is closed.
    pub rotate: Rotate,
    /// What kind of files.
    pub format: Format,
    /// Columns that say where a row comes from.
    pub metadata: Metadata,
    /// Whether messages may have been taken apart. Then [`Metadata`] has the column `_index` too.
    pub pieces: bool,
    /// How file names begin: the name of the pipeline.
    pub name_prefix: String,
    /// Tells the staged files of this worker from those of earlier ones: its epoch.
    pub worker_tag: u64,
    /// File handles held at once. Beyond it, those of the partitions that had no row for longest
    /// are given back, and taken again when there is something to write. No file is closed for it.
    pub max_open: usize,
    /// Memory for rows that are not in a file yet, all partitions together. Beyond it, row groups
    /// and what is compressed at once end early, which costs compression and reading speed; and
    /// where there are so many partitions that this does not help, files are closed.
    pub memory_bytes_max: u64,
}

/// When a file is closed: when the first of these is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Exactly so many rows.
    pub rows: Option<u64>,
    /// About so many bytes. The size is estimated while rows are being encoded, so a file may be a
    /// few percent smaller.
    pub bytes: Option<u64>,
    /// So long after its first row.
    pub every_ms: Option<u64>,
    /// So long after its last row.
    pub idle_ms: Option<u64>,
}

/// What kind of files a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Parquet.
    Parquet(ParquetFormat),
    /// A JSON object per line.
    Jsonl(TextCompression),
    /// Fields with something between them, a line per row.
    Csv(CsvFormat),
}

/// Parquet files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParquetFormat {
    /// How pages are compressed.
    pub compression: Compression,
    /// How large a row group becomes.
    pub row_group: RowGroup,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Fast and weak.
    Snappy,
    /// At a level from 1 to 22.
    Zstd(i32),
}

/// CSV files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvFormat {
    /// How the file is compressed.
    pub compression: TextCompression,
    /// Whether the first line names the columns.
    pub header: bool,
    /// What stands between fields.
    pub delimiter: u8,
    /// What stands around a field with a delimiter, a quote or a line break in it. In such a field
    /// a quote is written twice.
    pub quote: u8,
    /// What stands for no value.
    pub null: String,
}

/// How a file of text is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextCompression {
    /// Not at all.
    None,
    /// gzip at level 6.
    Gzip,
    /// Zstandard at level 3.
    Zstd,
}

/// How large a row group becomes: when the first of these is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowGroup {
    /// Rows.
    pub rows: u64,
    /// Encoded bytes; at most half of [`FilesOptions::memory_bytes_max`], because a row group is
    /// in memory until it is complete.
    pub bytes: u64,
}

/// Columns that say where a row comes from, after all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// None.
    None,
    /// `_queue`, `_offset` and `_store_time`.
    Offsets,
    /// The same, and `_broker` and `_topic`.
    All,
}

impl FilesOptions {
    /// The defaults, for a pipeline of this name.
    pub fn new(
        to: impl Into<PathBuf>,
        columns: Schema,
        pipeline: impl Into<String>,
        format: Format,
    ) -> Self {
        Self {
            to: to.into(),
            columns,
            partition_by: Vec::new(),
            rotate: Rotate::default(),
            format,
            metadata: Metadata::None,
            pieces: false,
            name_prefix: pipeline.into(),
            worker_tag: 0,
            max_open: 64,
            memory_bytes_max: 128 << 20,
        }
    }

    /// All columns of a file.
    pub fn file_schema(&self) -> ArrowSchema {
        let columns = self.file_columns();
        let columns =
            columns.map(|column| Field::new(&column.name, column.data_type.to_arrow(), true));
        let metadata = self.metadata_columns().into_iter().map(|name| {
            let data_type = match name {
                "_queue" => DataType::Int32,
                "_offset" | INDEX => DataType::Int64,
                "_store_time" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                _ => DataType::Utf8,
            };
            Field::new(name, data_type, name == INDEX)
        });
        ArrowSchema::new(columns.chain(metadata).collect::<Vec<_>>())
    }

    /// The names of the columns that say where a row comes from.
    pub(crate) fn metadata_columns(&self) -> Vec<&'static str> {
        let mut names = self.metadata.column_names().to_vec();
        if let (true, Some(at)) = (self.pieces, names.iter().position(|name| *name == "_offset")) {
            names.insert(at + 1, INDEX);
        }
        names
    }

    /// The columns that are in the file itself, without the metadata.
    pub(crate) fn file_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.columns.iter().filter(|column| !self.partition_by.contains(&column.name))
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let names: Vec<_> = self.columns.columns.iter().map(|column| &column.name).collect();
        let metadata = self.metadata_columns();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(OptionsError::Twice { name: (*name).clone() });
            }
            if metadata.contains(&name.as_str()) {
                return Err(OptionsError::Reserved { name: (*name).clone() });
            }
        }
        for (index, name) in self.partition_by.iter().enumerate() {
            if self.partition_by[..index].contains(name) {
                return Err(OptionsError::Twice { name: name.clone() });
            }
        }
        if self.file_columns().next().is_none() && metadata.is_empty() {
            return Err(OptionsError::NoColumns);
        }
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        if self.name_prefix.is_empty() || !self.name_prefix.chars().all(plain) {
            return Err(OptionsError::Name { name: self.name_prefix.clone() });
        }
        let zero = [
            ("rotate.rows", self.rotate.rows == Some(0)),
            ("rotate.size", self.rotate.bytes == Some(0)),
            ("max_open", self.max_open == 0),
        ];
        if let Some((option, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(OptionsError::Zero { option });
        }
        match &self.format {
            Format::Parquet(format) => format.check(),
            Format::Jsonl(_) => Ok(()),
            Format::Csv(format) => format.check(),
        }
    }
}

impl Format {
    /// How the names of files end, after the dot.
    pub(crate) fn extension(&self) -> &'static str {
        match self {
            Format::Parquet(_) => "parquet",
            Format::Jsonl(TextCompression::None) => "jsonl",
            Format::Jsonl(TextCompression::Gzip) => "jsonl.gz",
            Format::Jsonl(TextCompression::Zstd) => "jsonl.zst",
            Format::Csv(CsvFormat { compression, .. }) => match compression {
                TextCompression::None => "csv",
                TextCompression::Gzip => "csv.gz",
                TextCompression::Zstd => "csv.zst",
            },
        }
    }

    /// How the names of files of any format end.
    pub(crate) const EXTENSIONS: [&'static str; 7] =
        ["parquet", "jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "csv.zst"];
}

impl ParquetFormat {
    fn check(&self) -> Result<(), OptionsError> {
        for (option, limit) in
            [("row_group.rows", self.row_group.rows), ("row_group.bytes", self.row_group.bytes)]
        {
            if limit == 0 {
                return Err(OptionsError::Zero { option });
            }
        }
        match self.compression {
            Compression::Zstd(level) if !(1..=22).contains(&level) => {
                Err(OptionsError::ZstdLevel { level })
            }
            _ => Ok(()),
        }
    }
}

impl CsvFormat {
    fn check(&self) -> Result<(), OptionsError> {
        let is_mark = |byte: u8| byte.is_ascii() && !b"\r\n\0".contains(&byte);
        let breaks_null = |byte: u8| [self.delimiter, self.quote, b'\r', b'\n'].contains(&byte);
        let wrong = [
            ("delimiter", !is_mark(self.delimiter)),
            ("quote", !is_mark(self.quote) || self.quote == self.delimiter),
            ("null", self.null.bytes().any(breaks_null)),
        ];
        match wrong.iter().find(|(_, is_wrong)| *is_wrong) {
            Some((option, _)) => Err(OptionsError::CsvMark { option }),
            None => Ok(()),
        }
    }
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self {
            compression: TextCompression::None,
            header: true,
            delimiter: b',',
            quote: b'"',
            null: String::new(),
        }
    }
}

impl Default for ParquetFormat {
    fn default() -> Self {
        Self { compression: Compression::Zstd(3), row_group: RowGroup::default() }
    }
}

/// The number of a piece of a message; null for a whole one.
pub(crate) const INDEX: &str = "_index";

impl Metadata {
    fn column_names(self) -> &'static [&'static str] {
        match self {
            Metadata::None => &[],
            Metadata::Offsets => &["_queue", "_offset", "_store_time"],
            Metadata::All => &["_queue", "_offset", "_store_time", "_broker", "_topic"],
        }
    }
}

impl Default for Rotate {
    fn default() -> Self {
        Self { rows: None, bytes: Some(256 << 20), every_ms: Some(600_000), idle_ms: None }
    }
}

impl Default for RowGroup {
    fn default() -> Self {
        Self { rows: 1 << 20, bytes: 128 << 20 }
    }
}
