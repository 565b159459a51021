use std::error::Error;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use arrow_schema::ArrowError;
use millrace_connect_api::{QueueRef, SinkError};
use millrace_types::QueueOffset;
use parquet::errors::ParquetError;

/// A file or directory could not be used. The text is the whole story in one line, the name
/// included, so there is no further `source()`; `source.kind()` says what kind of trouble it is,
/// for instance `StorageFull`.
#[derive(Debug)]
pub struct FileSinkError {
    /// Which one.
    pub path: PathBuf,
    /// What the disk said, which names the file as well.
    pub source: io::Error,
}

/// A batch is not what the sink was promised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Rows would be doubled or lost.
    #[error("the batch of queue {queue} begins at {from}, but the last one ended at {expected}")]
    Gap {
        /// The queue.
        queue: QueueRef,
        /// Where the batch begins.
        from: QueueOffset,
        /// Where it should.
        expected: QueueOffset,
    },
    /// A column of the file, or one to partition by, is not in the batch.
    #[error("the rows have no column `{name}`")]
    MissingColumn {
        /// Its name.
        name: String,
    },
    /// A column has another type in the batch than in the file.
    #[error("the column `{name}` is of type {found}, not {expected}")]
    ColumnType {
        /// Its name.
        name: String,
        /// The type it has.
        found: String,
        /// The type it should have.
        expected: String,
    },
    /// After a failed write nobody knows what is in the open parts.
    #[error("the sink failed before and must be opened again")]
    FailedBefore,
}

/// Options that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A column is named twice.
    #[error("the column `{name}` is there twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// A column has the name of a metadata column.
    #[error("`{name}` is a metadata column and cannot be one of the rows")]
    Reserved {
        /// Its name.
        name: String,
    },
    /// Every column is one to partition by.
    #[error("no column is left for the file itself")]
    NoColumns,
    /// The prefix cannot be part of a file name.
    #[error("`{name}` cannot begin a file name: only letters, digits, `-` and `_` can")]
    Name {
        /// The prefix.
        name: String,
    },
    /// A limit of nothing.
    #[error("`{option}` cannot be 0")]
    Zero {
        /// The option.
        option: &'static str,
    },
    /// Nobody could take the lines of such a CSV file apart.
    #[error("with this `{option}` the fields of a line could not be told apart")]
    CsvMark {
        /// The option.
        option: &'static str,
    },
    /// zstd has no such level.
    #[error("zstd has levels 1 to 22, not {level}")]
    ZstdLevel {
        /// The level.
        level: i32,
    },
    /// Partitions were committed ahead under other columns, so that rows could not be told from
    /// those that are in files already.
    #[error(
        "the open files were partitioned by other columns (as in `{partition}`); \
         stop the pipeline with the old `partition_by` first, so that they are closed"
    )]
    Repartitioned {
        /// One of those partitions.
        partition: String,
    },
    /// The directory cannot be used.
    #[error(transparent)]
    File(#[from] FileSinkError),
}

impl FileSinkError {
    pub(crate) fn new(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), source }
    }

    /// An error of the encoder: what the disk said, where it was the disk.
    pub(crate) fn from_parquet(path: &Path, error: ParquetError) -> Self {
        let source = match error {
            ParquetError::External(cause) => match cause.downcast::<io::Error>() {
                Ok(cause) => *cause,
                Err(cause) => encoding_failed(path, &*cause),
            },
            error => encoding_failed(path, &error),
        };
        Self::new(path, source)
    }
}

fn encoding_failed(path: &Path, cause: &dyn Error) -> io::Error {
    io::Error::other(format!("cannot encode {}: {cause}", path.display()))
}

impl fmt::Display for FileSinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl Error for FileSinkError {}

impl From<FileSinkError> for SinkError {
    fn from(error: FileSinkError) -> Self {
        SinkError::Broken(Box::new(error))
    }
}

impl From<BatchError> for SinkError {
    fn from(error: BatchError) -> Self {
        SinkError::Broken(Box::new(error))
    }
}

/// Adds the path to what a disk said.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T, FileSinkError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T, FileSinkError> {
        self.map_err(|source| FileSinkError::new(path, source))
    }
}

impl<T> At<T> for parquet::errors::Result<T> {
    fn at(self, path: &Path) -> Result<T, FileSinkError> {
        self.map_err(|error| FileSinkError::from_parquet(path, error))
    }
}

impl<T> At<T> for Result<T, ArrowError> {
    fn at(self, path: &Path) -> Result<T, FileSinkError> {
        self.map_err(|error| FileSinkError::new(path, encoding_failed(path, &error)))
    }
}
