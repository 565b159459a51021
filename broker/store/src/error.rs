use std::io;
use std::path::{Path, PathBuf};

use millrace_types::PhysicalOffset;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data directory {0} is in use by another process")]
    InUse(PathBuf),
    /// Made by a newer program, or no store at all.
    #[error("{path} says `{found}`; this program reads format {expected}")]
    Format {
        /// The file that names the format.
        path: PathBuf,
        /// What it says.
        found: String,
        /// What we read.
        expected: &'static str,
    },
    /// The line that says so is gone; the checkpoint says that the directory is ours.
    #[error("{} is missing; the checkpoint beside it is Millrace's", .0.display())]
    FormatMissing(PathBuf),
    /// A CommitLog that does not say that it is ours, most likely that of Apache RocketMQ. Its
    /// records would look torn to us.
    #[error("{dir} has a CommitLog that Millrace did not write: there is no {dir}/format", dir = .0.display())]
    NotOurs(PathBuf),
    /// A segment that was durable and not removed is not there, so messages are missing.
    #[error(
        "the CommitLog segment {missing} is missing{}{}",
        cut_short(.before.as_deref()),
        goes_on(.next.as_deref())
    )]
    MissingSegment {
        /// The one before it, if there is one. If that was cut short, there is no file of the name
        /// that `missing` has.
        before: Option<PathBuf>,
        /// The file that should be there.
        missing: PathBuf,
        /// The first one after it, if there is one.
        next: Option<PathBuf>,
    },
    /// What lies behind the end of the log cannot be copied, and is not given up without that.
    #[error(
        "{bytes} bytes behind the end of the log, from physical offset {end} on in {segment}{}, \
         must be copied to `torn` before they are cut off, and cannot be: {source}; the copy needs \
         {room} bytes of disk; nothing was changed",
        whole_records(*.records)
    )]
    TailNotCopied {
        /// The file in which they start.
        segment: PathBuf,
        /// Where the log ends.
        end: PhysicalOffset,
        /// How many.
        bytes: u64,
        /// Whole records among them: some may have been answered.
        records: u64,
        /// Free bytes that the copy needs.
        room: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The disk has no room even for an empty log.
    #[error("the disk is full: cannot reserve {path}")]
    DiskFull {
        /// The file that could not be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading or writing failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

fn whole_records(records: u64) -> String {
    match records {
        0 => String::new(),
        1 => ", a whole record among them".to_owned(),
        _ => format!(", {records} whole records among them"),
    }
}

fn cut_short(before: Option<&Path>) -> String {
    before.map_or_else(String::new, |before| format!(", or {} was cut short", before.display()))
}

fn goes_on(next: Option<&Path>) -> String {
    next.map_or_else(String::new, |next| format!("; the log goes on at {}", next.display()))
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A record or group that does not fit into a segment.
    #[error("a group of {len} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// Encoded bytes.
        len: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// No room for the next segment; what is stored stays readable.
    #[error("the disk is full: {0}")]
    DiskFull(#[source] io::Error),
    /// An earlier write or `fdatasync` failed, so what is on disk is no longer known.
    #[error("an earlier write failed, so what is on disk is not known; restart to recover")]
    Poisoned,
    /// Writing failed just now; the store is poisoned.
    #[error("writing the CommitLog failed")]
    Io(#[source] io::Error),
}

/// Why the log could not be made durable. The store is poisoned for good.
#[derive(Debug, thiserror::Error)]
#[error("the CommitLog could not be made durable")]
pub struct FlushError(#[source] pub io::Error);

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes are there and are not the record that was written, and never will be again.
    #[error("the record at physical offset {at} is damaged: {reason}")]
    Damaged {
        /// Where.
        at: PhysicalOffset,
        /// What does not hold.
        reason: String,
    },
    /// The bytes are not where they should be: a file was cut short, or the index cannot be read.
    /// They may be there again once that is mended.
    #[error("the record at physical offset {at} is not there: {reason}")]
    Absent {
        /// Where.
        at: PhysicalOffset,
        /// What is missing.
        reason: String,
    },
    /// The record ends behind what the reader may see.
    #[error("the record at physical offset {at} is not visible yet")]
    BeyondLimit {
        /// Where.
        at: PhysicalOffset,
    },
    /// Retention has removed it meanwhile.
    #[error("the record at physical offset {at} has been removed")]
    Removed {
        /// Where.
        at: PhysicalOffset,
    },
    /// The bytes cannot be read.
    #[error("cannot read the record at physical offset {at}")]
    Io {
        /// Where.
        at: PhysicalOffset,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// Where the record starts, or should.
    pub fn at(&self) -> PhysicalOffset {
        match self {
            Self::Damaged { at, .. }
            | Self::Absent { at, .. }
            | Self::BeyondLimit { at }
            | Self::Removed { at }
            | Self::Io { at, .. } => *at,
        }
    }
}
