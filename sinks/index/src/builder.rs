use std::collections::BTreeMap;
use std::path::Path;

use millrace_connect_api::OffsetRange;
use millrace_disk::Disk;
use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::indexer::SingleSegmentIndexWriter;
use tantivy::schema::Schema;
use tantivy::{Directory, Index, TantivyDocument};

use crate::document::Made;
use crate::error::IndexError;
use crate::mapping::Mapping;
use crate::part_file::{self, Contents, Written};
use crate::shelf::settings;

/// Documents on their way into a part: in memory until there are enough of them.
pub(crate) struct Builder {
    pub(crate) id: u64,
    pub(crate) opened_at_ms: u64,
    pub(crate) documents: u32,
    times: Option<(i64, i64)>,
    memory: RamDirectory,
    writer: SingleSegmentIndexWriter,
    /// Bytes that tantivy takes for nothing yet.
    empty_bytes: u64,
}

impl Builder {
    pub(crate) fn new(
        id: u64,
        schema: Schema,
        memory_bytes: u64,
        opened_at_ms: u64,
    ) -> Result<Self, IndexError> {
        let memory = RamDirectory::create();
        let builder = Index::builder().schema(schema).settings(settings());
        // Tantivy sizes its tables by this.
        let budget = usize::try_from(memory_bytes / 4).unwrap_or(usize::MAX).min(64 << 20);
        let writer: SingleSegmentIndexWriter<TantivyDocument> =
            builder.single_segment_index_writer(memory.clone(), budget)?;
        let empty_bytes = writer.mem_usage() as u64;
        Ok(Self { id, opened_at_ms, documents: 0, times: None, memory, writer, empty_bytes })
    }

    pub(crate) fn add(&mut self, made: Made) -> Result<(), IndexError> {
        self.writer.add_document(made.document)?;
        self.documents += 1;
        self.times = around(self.times, Some((made.at_micros, made.at_micros)));
        Ok(())
    }

    /// About how many bytes its documents take in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let all = (self.writer.mem_usage() + self.memory.total_mem_usage()) as u64;
        all.saturating_sub(self.empty_bytes)
    }

    /// Writes the part, durably but for its name.
    pub(crate) fn finish(
        self,
        disk: &dyn Disk,
        path: &Path,
        mapping: &Mapping,
        serial: u64,
        ranges: &[OffsetRange],
    ) -> Result<Written, IndexError> {
        let index = self.writer.finalize()?;
        let components = components(&index, &self.memory)?;
        let queues = ranges
            .iter()
            .map(|range| (range.queue.to_string(), (range.from.0, range.to.0.saturating_sub(1))));
        let contents = Contents {
            mapping: mapping.clone(),
            serial,
            documents: self.documents,
            components: Vec::new(),
            queues: queues.collect(),
            times: self.times,
            replaces: Vec::new(),
            absorbed: BTreeMap::new(),
        };
        part_file::write(disk, path, contents, &components)
    }
}

/// The earlier and the later end of two stretches.
pub(crate) fn around(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some((from, to)), Some((first, last))) => Some((from.min(first), to.max(last))),
        (one, other) => one.or(other),
    }
}

/// The files of the one segment of an index in memory, as tantivy wrote them.
pub(crate) fn components(
    index: &Index,
    memory: &RamDirectory,
) -> Result<Vec<(String, OwnedBytes)>, IndexError> {
    let metas = index.searchable_segment_metas()?;
    let mut components = Vec::new();
    for meta in &metas {
        for name in ["store", "fast", "fieldnorm", "idx", "pos", "term"] {
            let path = format!("{}.{name}", meta.id().uuid_string());
            let path = Path::new(&path);
            if !memory.exists(path).map_err(tantivy::TantivyError::from)? {
                continue;
            }
            let file = memory.get_file_handle(path).map_err(tantivy::TantivyError::from)?;
            components.push((name.to_owned(), file.read_bytes(0..file.len())?));
        }
    }
    Ok(components)
}
