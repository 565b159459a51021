use std::path::PathBuf;

use crate::error::OptionsError;
use crate::mapping::Mapping;

/// What an index sink writes, and where.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// The directory.
    pub to: PathBuf,
    /// What columns become.
    pub mapping: Mapping,
    /// What the names of parts begin with. A directory has those of one sink alone, and of the
    /// replays of its dead letters, which add `_dlq`.
    pub name_prefix: String,
    /// Different for every run of the pipeline, so that a worker that lost its lease does not write
    /// into the staging of its successor.
    pub worker_tag: u64,
    /// When documents become visible.
    pub rotate: Rotate,
    /// How old a document may become, by the mapping's time. Older ones go.
    pub keep_ms: Option<u64>,
    /// Bytes in memory at once, about: of documents on their way, or of a merge.
    pub memory_bytes_max: u64,
}

/// When a part is closed: whatever comes first. Memory closes it in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// This many documents.
    pub rows: Option<u64>,
    /// This long after its first document, milliseconds.
    pub every_ms: Option<u64>,
}

impl IndexOptions {
    /// Options with the defaults.
    pub fn new(to: impl Into<PathBuf>, mapping: Mapping, name_prefix: &str) -> Self {
        Self {
            to: to.into(),
            mapping,
            name_prefix: name_prefix.to_owned(),
            worker_tag: 0,
            rotate: Rotate { rows: None, every_ms: Some(10_000) },
            keep_ms: None,
            memory_bytes_max: 256 << 20,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_".contains(char);
        if self.name_prefix.is_empty() || !self.name_prefix.chars().all(plain) {
            return Err(OptionsError::Name { name: self.name_prefix.clone() });
        }
        if self.rotate.rows == Some(0) {
            return Err(OptionsError::Zero { option: "rotate.rows" });
        }
        self.mapping.check()
    }
}
