//! Merging small parts into larger ones, and forgetting by age.
//!
//! Nothing here changes which documents there are, but for those that are too old, so a ledger
//! knows nothing of it. Each change is one rename or one removal; a crash in between leaves parts
//! that are replaced, which the next upkeep removes. All names are in one directory, so the sync
//! that makes a merged part's name durable also does it for every removal before.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use tantivy::directory::{OwnedBytes, RamDirectory};
use tantivy::fastfield::AliveBitSet;
use tantivy::indexer::merge_filtered_segments;
use tantivy::{BitSet, SegmentReader};

use crate::builder::{around, components};
use crate::error::IndexError;
use crate::library::Library;
use crate::mapping::STORE_TIME;
use crate::names::{Names, Number, PartName, UPKEEP_LOCK};
use crate::part_file::{self, Contents, PartFile};
use crate::shelf::{Shelf, alive_bytes, settings};
use crate::staging::Staging;

/// How many parts of about one size make one of the next.
const FACTOR: usize = 8;
/// The smallest size that is told from others, bytes.
const TIER_BYTES: u64 = 64 << 10;
/// How many planned parts of each sink a merged part remembers. A ledger asks for those of its last
/// plan, of which a sink makes no more between two commits than memory forces it to.
const ABSORBED_MAX: usize = 64;

/// One round of upkeep over the parts of an index.
pub(crate) struct Upkeep<'a> {
    pub(crate) staging: Staging<'a>,
    pub(crate) names: &'a Names,
    /// Documents from before this are to go, microseconds.
    pub(crate) cutoff: Option<i64>,
    /// The most bytes of the parts of a merge, which is made in memory.
    pub(crate) merge_bytes_max: u64,
}

/// Parts that become one, or none.
struct Merge {
    parts: Vec<Arc<PartFile>>,
    dead: Vec<Option<BitSet>>,
}

impl Upkeep<'_> {
    /// Merges and removes until nothing is due. While another process does the same in this
    /// directory, it is left to that one.
    pub(crate) fn run(&self, library: &mut Library) -> Result<(), IndexError> {
        let _lock = match self.staging.disk.lock(&self.staging.path(UPKEEP_LOCK)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            lock => lock?,
        };
        loop {
            library.refresh(self.staging.disk)?;
            self.remove_unneeded(library)?;
            let Some(merge) = self.due(library)? else { return Ok(()) };
            self.merge(&merge)?;
        }
    }

    /// Removes parts that are replaced, and those in which all is too old.
    fn remove_unneeded(&self, library: &mut Library) -> Result<(), IndexError> {
        let is_old = |part: &PartFile| {
            let youngest = part.contents.times.map(|(_, to)| to);
            youngest.zip(self.cutoff).is_some_and(|(youngest, cutoff)| youngest < cutoff)
        };
        let mut unneeded = std::mem::take(&mut library.replaced);
        library.parts.retain(|part| {
            if is_old(part) {
                tracing::debug!(part = part.name, "part is too old");
                unneeded.push(part.name.clone());
            }
            !is_old(part)
        });
        if unneeded.is_empty() {
            return Ok(());
        }
        unneeded.iter().try_for_each(|name| self.staging.remove(name))?;
        self.staging.sync()
    }

    /// What is to be merged next.
    fn due(&self, library: &Library) -> Result<Option<Merge>, IndexError> {
        let mut dead = library.dead()?;
        let mut tiers: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (number, part) in library.parts.iter().enumerate() {
            if self.is_half_gone(part, dead[number].as_ref()) {
                let (parts, dead) = (vec![Arc::clone(part)], vec![dead[number].take()]);
                return Ok(Some(Merge { parts, dead }));
            }
            let tier = tiers.entry(tier(part.bytes)).or_default();
            tier.push(number);
            let bytes: u64 = tier.iter().map(|&number| library.parts[number].bytes).sum();
            if tier.len() >= FACTOR && bytes <= self.merge_bytes_max {
                let parts = tier.iter().map(|&number| Arc::clone(&library.parts[number]));
                let parts = parts.collect();
                let dead = tier.iter().map(|&number| dead[number].take()).collect();
                return Ok(Some(Merge { parts, dead }));
            }
            if tier.len() >= FACTOR {
                // Too large to be merged together. They stay as they are, and leave the others room.
                tier.remove(0);
            }
        }
        Ok(None)
    }

    /// Whether it is worth writing a part again because half of it need not be there: by count if
    /// documents were replaced, and by time if they are old, which is about the same.
    fn is_half_gone(&self, part: &PartFile, dead: Option<&BitSet>) -> bool {
        let Contents { documents, times, .. } = &part.contents;
        let replaced = dead.is_some_and(|dead| dead.len() as u64 * 2 >= u64::from(*documents));
        let old = times.zip(self.cutoff).is_some_and(|((from, to), cutoff)| {
            let middle = from.midpoint(to);
            from < cutoff && middle < cutoff
        });
        replaced || old
    }

    fn merge(&self, merge: &Merge) -> Result<(), IndexError> {
        let Some(first) = merge.parts.first() else { return Ok(()) };
        let mapping = &first.contents.mapping;
        let index = Shelf::index(mapping, &merge.parts, &[])?;
        let mut segments = index.searchable_segments()?;
        // They are numbered in the order of the parts.
        segments.sort_by_key(|segment| segment.id().uuid_string());
        let (mut filters, mut documents) = (Vec::new(), 0);
        for ((segment, part), dead) in segments.iter().zip(&merge.parts).zip(&merge.dead) {
            let all = part.contents.documents;
            let mut dead = dead.clone().unwrap_or_else(|| BitSet::with_max_value(all));
            if let Some(cutoff) = self.cutoff.filter(|cutoff| is_before(part, *cutoff)) {
                let reader = SegmentReader::open(segment)?;
                let stored = reader.fast_fields().date(STORE_TIME)?;
                let times = reader.fast_fields().date(mapping.time())?;
                for document in 0..all {
                    let time = times.first(document).or_else(|| stored.first(document));
                    if time.is_some_and(|time| time.into_timestamp_micros() < cutoff) {
                        dead.insert(document);
                    }
                }
            }
            documents += all - dead.len() as u32;
            filters.push(
                (dead.len() > 0)
                    .then(|| AliveBitSet::open(OwnedBytes::new(alive_bytes(all, &dead)))),
            );
        }
        if documents > 0 {
            let memory = RamDirectory::create();
            let merged = merge_filtered_segments(&segments, settings(), filters, memory.clone())?;
            let contents = self.contents(&merge.parts, documents);
            self.publish(contents, &components(&merged, &memory)?)?;
        }
        merge.parts.iter().try_for_each(|part| self.staging.remove(&part.name))?;
        self.staging.sync()
    }

    fn contents(&self, parts: &[Arc<PartFile>], documents: u32) -> Contents {
        let mut queues: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let mut absorbed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut times = None;
        for part in parts {
            for (queue, (from, to)) in &part.contents.queues {
                let has = queues.entry(queue.clone()).or_insert((*from, *to));
                *has = (has.0.min(*from), has.1.max(*to));
            }
            times = around(times, part.contents.times);
            for (prefix, names) in &part.contents.absorbed {
                absorbed.entry(prefix.clone()).or_default().extend(names.iter().cloned());
            }
            if let Some(PartName { prefix, number: Number::Planned(_), .. }) =
                PartName::parse(&part.name)
            {
                absorbed.entry(prefix.to_owned()).or_default().push(part.name.clone());
            }
        }
        for names in absorbed.values_mut() {
            names.sort_unstable();
            names.dedup();
            names.drain(..names.len().saturating_sub(ABSORBED_MAX));
        }
        let cut = |(from, to): (i64, i64)| {
            let from = self.cutoff.map_or(from, |cutoff| from.max(cutoff));
            (from, to.max(from))
        };
        Contents {
            mapping: parts[0].contents.mapping.clone(),
            serial: parts.iter().map(|part| part.contents.serial).max().unwrap_or_default(),
            documents,
            components: Vec::new(),
            queues,
            times: times.map(cut),
            replaces: parts.iter().map(|part| part.name.clone()).collect(),
            absorbed,
        }
    }

    fn publish(
        &self,
        contents: Contents,
        components: &[(String, OwnedBytes)],
    ) -> Result<(), IndexError> {
        let number = Number::Merged(contents.serial);
        let (parts, documents) = (contents.replaces.len(), contents.documents);
        let staged = self.staging.path(&self.names.staged(number));
        let written = part_file::write(self.staging.disk, &staged, contents, components)?;
        let name = self.names.published(number, written.checksum);
        self.staging.disk.rename(&staged, &self.staging.path(&name))?;
        self.staging.sync()?;
        tracing::debug!(part = name, parts, documents, bytes = written.bytes, "parts merged");
        Ok(())
    }
}

fn is_before(part: &PartFile, cutoff: i64) -> bool {
    part.contents.times.is_some_and(|(from, _)| from < cutoff)
}

/// The tier of a part by its size: each has parts [`FACTOR`] times as large as the one before.
fn tier(bytes: u64) -> u32 {
    (bytes / TIER_BYTES).max(1).ilog(FACTOR as u64)
}
