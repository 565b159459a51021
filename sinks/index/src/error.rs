use std::io;
use std::path::{Path, PathBuf};

use millrace_connect_api::{QueueRef, SinkError};
use millrace_types::QueueOffset;
use tantivy::TantivyError;
use tantivy::directory::error::OpenReadError;

/// An index cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A file or directory could not be used. The text names it.
    #[error("{0}")]
    Io(io::Error),
    /// A part is not as it was written.
    #[error("the part {} is damaged: {what}", .path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A part was written by a later version.
    #[error("the part {} is of version {version}, which this program does not know", .path.display())]
    Newer {
        /// Which one.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The parts of a directory do not belong together, or not to this pipeline.
    #[error("the index in {} has other fields: {difference}", .to.display())]
    Mapping {
        /// The directory.
        to: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// The directory is that of another sink.
    #[error(
        "{} has the index of `{owner}`, another pipeline or sink, which its part {part} is of",
        .to.display()
    )]
    Taken {
        /// The directory.
        to: PathBuf,
        /// The prefix of the parts of that sink: the pipeline and its own name.
        owner: String,
        /// One of them.
        part: String,
    },
    /// The ledger of the pipeline knows less than the directory has.
    #[error(
        "the ledger of the pipeline does not know the part {part} of the index in {}: it was \
         written with another data directory, or with an earlier state of this one, and other \
         messages would take the place of its documents", .to.display()
    )]
    Unknown {
        /// The directory.
        to: PathBuf,
        /// The part.
        part: String,
    },
    /// There is a part with the name of another one.
    #[error(
        "{} is another file than the part of that name ({bytes} bytes, CRC-32 {checksum:08x}); \
         move it away", .path.display()
    )]
    Other {
        /// Which one.
        path: PathBuf,
        /// Length of the part that should be there.
        bytes: u64,
        /// Its checksum.
        checksum: u32,
    },
    /// Parts come and go faster than they can be opened.
    #[error("the index in {} changed too often while it was opened", .0.display())]
    Restless(PathBuf),
    /// The search engine refuses.
    #[error("the search engine failed: {0}")]
    Engine(TantivyError),
}

/// A batch is not what the sink was promised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Documents would be lost.
    #[error("the batch of queue {queue} begins at {from}, but the last one ended at {expected}")]
    Gap {
        /// The queue.
        queue: QueueRef,
        /// Where the batch begins.
        from: QueueOffset,
        /// Where it should.
        expected: QueueOffset,
    },
    /// A column of the mapping is not in the batch.
    #[error("the rows have no column `{name}`")]
    MissingColumn {
        /// Its name.
        name: String,
    },
    /// A column has a type that its field cannot take.
    #[error("the column `{name}` is of type {found}, which cannot be {kind}")]
    ColumnType {
        /// Its name.
        name: String,
        /// The type it has.
        found: String,
        /// The kind of the field.
        kind: &'static str,
    },
    /// After a failed write nobody knows what is in the open part.
    #[error("the sink failed before and must be opened again")]
    FailedBefore,
}

/// Options that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A field is named twice.
    #[error("the field `{name}` is there twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// No field can have this name.
    #[error("no field can be called `{name}`")]
    Reserved {
        /// The name.
        name: String,
    },
    /// There is nothing to write.
    #[error("a document needs a field")]
    NoFields,
    /// The time is not one.
    #[error("`time` names `{name}`, which is no field of timestamps")]
    NoTime {
        /// The name.
        name: String,
    },
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
    /// The directory cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl IndexError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }
}

/// What a read of a part says when the bytes are not those that were written. It travels through
/// tantivy, which takes it for any other failed read.
#[derive(Debug, thiserror::Error)]
#[error("the part {} is damaged: {what}", .path.display())]
pub(crate) struct DamagedBytes {
    pub(crate) path: PathBuf,
    pub(crate) what: String,
}

impl From<DamagedBytes> for io::Error {
    fn from(damaged: DamagedBytes) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, damaged)
    }
}

impl From<io::Error> for IndexError {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<DamagedBytes>());
        match inner {
            Some(DamagedBytes { path, what }) => Self::damaged(path, what),
            None => Self::Io(error),
        }
    }
}

impl From<TantivyError> for IndexError {
    fn from(error: TantivyError) -> Self {
        let cause = match &error {
            TantivyError::IoError(cause) => cause,
            TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => io_error,
            _ => return Self::Engine(error),
        };
        let inner = cause.get_ref().and_then(|inner| inner.downcast_ref::<DamagedBytes>());
        match inner {
            Some(DamagedBytes { path, what }) => Self::damaged(path, what),
            // The text says everything, and tantivy shares the error with others.
            None => Self::Io(io::Error::new(cause.kind(), cause.to_string())),
        }
    }
}

impl From<IndexError> for SinkError {
    fn from(error: IndexError) -> Self {
        SinkError::Broken(Box::new(error))
    }
}

impl From<BatchError> for SinkError {
    fn from(error: BatchError) -> Self {
        SinkError::Broken(Box::new(error))
    }
}
