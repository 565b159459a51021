use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, ErrorKind};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_disk::{Disk, Entry as DirEntry};
use tantivy::{BitSet, Index, SegmentReader};

use crate::error::IndexError;
use crate::mapping::{Mapping, OFFSET, QUEUE};
use crate::names::{Number, PartName, UPKEEP_LOCK, is_published};
use crate::part_file::PartFile;
use crate::shelf::Shelf;

/// The parts of an index that are to be looked at, oldest first.
///
/// Once it is open, it is what it is: parts may be merged, published and removed meanwhile, and
/// those that it holds can still be read.
#[derive(Debug)]
pub struct Library {
    to: PathBuf,
    pub(crate) parts: Vec<Arc<PartFile>>,
    /// Names of parts that are there and do not count any more.
    pub(crate) replaced: Vec<String>,
}

/// Whether a directory is that of an index, even one without documents: there are parts, or nothing
/// but what upkeep leaves behind.
pub fn is_index(disk: &dyn Disk, to: &Path) -> io::Result<bool> {
    let entries = disk.list(to)?;
    let is_part = |entry: &DirEntry| !entry.is_dir && PartName::parse(&entry.name).is_some();
    let has_parts = entries.iter().any(is_part);
    let is_kept_up = matches!(&entries[..], [only] if only.name == UPKEEP_LOCK);
    Ok(has_parts || is_kept_up)
}

/// How often a directory may change while it is opened.
const ATTEMPTS_MAX: usize = 20;

impl Library {
    /// Opens the parts of a directory.
    pub fn open(disk: &dyn Disk, to: &Path) -> Result<Self, IndexError> {
        let mut library = Self { to: to.to_owned(), parts: Vec::new(), replaced: Vec::new() };
        library.refresh(disk)?;
        Ok(library)
    }

    /// Takes in what has changed. Parts that are known already are not opened again.
    pub(crate) fn refresh(&mut self, disk: &dyn Disk) -> Result<(), IndexError> {
        let known = std::mem::take(&mut self.parts).into_iter();
        let mut known: HashMap<String, Arc<PartFile>> =
            known.map(|part| (part.name.clone(), part)).collect();
        'again: for _ in 0..ATTEMPTS_MAX {
            let mut parts = BTreeMap::new();
            for entry in disk.list(&self.to)? {
                if entry.is_dir || !is_published(&entry.name) {
                    continue;
                }
                let part = match known.get(&entry.name) {
                    Some(part) => Arc::clone(part),
                    None => match PartFile::open(disk, &self.to, &entry.name) {
                        Ok(part) => Arc::new(part),
                        // It was merged since the directory was listed, and what it was merged into
                        // is not in that list.
                        Err(IndexError::Io(error)) if error.kind() == ErrorKind::NotFound => {
                            continue 'again;
                        }
                        Err(error) => return Err(error),
                    },
                };
                known.insert(entry.name.clone(), Arc::clone(&part));
                parts.insert(entry.name, part);
            }
            let replaced = parts.values().flat_map(|part| &part.contents.replaces);
            let replaced: BTreeSet<String> = replaced.cloned().collect();
            let (gone, mut parts): (Vec<_>, Vec<_>) =
                parts.into_values().partition(|part| replaced.contains(&part.name));
            parts.sort_by(|one, other| {
                let key = |part: &PartFile| (part.contents.serial, part.name.clone());
                key(one).cmp(&key(other))
            });
            self.parts = parts;
            self.replaced = gone.iter().map(|part| part.name.clone()).collect();
            return self.agree();
        }
        Err(IndexError::Restless(self.to.clone()))
    }

    /// All parts have the same mapping.
    fn agree(&self) -> Result<(), IndexError> {
        let Some(first) = self.mapping() else { return Ok(()) };
        self.parts.iter().try_for_each(|part| self.is_mapped_as(&part.contents.mapping, first))
    }

    /// Fails unless all parts have this mapping.
    pub(crate) fn expect(&self, mapping: &Mapping) -> Result<(), IndexError> {
        self.mapping().map_or(Ok(()), |has| self.is_mapped_as(has, mapping))
    }

    fn is_mapped_as(&self, has: &Mapping, expected: &Mapping) -> Result<(), IndexError> {
        match has.difference(expected) {
            Some(difference) => Err(IndexError::Mapping { to: self.to.clone(), difference }),
            None => Ok(()),
        }
    }

    /// What the documents consist of; unknown while there are none.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.parts.first().map(|part| &part.contents.mapping)
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// How many documents are in them, also such that later ones have replaced.
    pub fn documents(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.contents.documents)).sum()
    }

    /// Bytes of the parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The serial that the next part gets.
    pub(crate) fn next_serial(&self) -> u64 {
        self.parts.last().map_or(1, |part| part.contents.serial + 1)
    }

    /// Fails if there is a part of a sink, itself or in one that it was merged into, that no ledger
    /// planned where the next number is `next_part_id`.
    ///
    /// A ledger plans a part durably before it is published and never uses a number again, so this
    /// is no crash: the ledger was lost, or is that of another data directory. The documents would
    /// be mixed by offsets that count other messages. The number of a merged part says nothing, and
    /// those that it remembers are the highest of all that are in it.
    pub(crate) fn is_planned(&self, prefix: &str, next_part_id: u64) -> Result<(), IndexError> {
        let is_unknown = |name: &str| {
            PartName::parse(name).is_some_and(|part| {
                let is_new = matches!(part.number, Number::Planned(id) if id >= next_part_id);
                is_new && part.prefix == prefix
            })
        };
        for part in &self.parts {
            let contents = &part.contents;
            let within = contents.replaces.iter().chain(contents.absorbed.values().flatten());
            if iter::once(&part.name).chain(within).any(|name| is_unknown(name)) {
                let (to, part) = (self.to.clone(), part.name.clone());
                return Err(IndexError::Unknown { to, part });
            }
        }
        Ok(())
    }

    pub(crate) fn has_absorbed(&self, name: &str) -> bool {
        let absorbed = |part: &Arc<PartFile>| {
            part.contents.replaces.iter().any(|replaced| replaced == name)
                || part.contents.absorbed.values().flatten().any(|absorbed| absorbed == name)
        };
        self.parts.iter().any(absorbed)
    }

    /// The parts as one index of tantivy, without documents that later ones have replaced.
    pub(crate) fn index(&self, mapping: &Mapping) -> Result<Index, IndexError> {
        Shelf::index(mapping, &self.parts, &self.dead()?)
    }

    /// For each part, which of its documents a later part has as well.
    ///
    /// Ledgers see to it that this does not happen. It does when messages are read again, by a
    /// pipeline whose ledger was lost, so nothing is looked at where offsets do not even overlap.
    pub(crate) fn dead(&self) -> Result<Vec<Option<BitSet>>, IndexError> {
        let mut all = Vec::with_capacity(self.parts.len());
        for (number, part) in self.parts.iter().enumerate() {
            all.push(self.dead_of(part, &self.parts[number + 1..])?);
        }
        Ok(all)
    }

    fn dead_of(
        &self,
        part: &Arc<PartFile>,
        later: &[Arc<PartFile>],
    ) -> Result<Option<BitSet>, IndexError> {
        let mut taken: HashMap<String, Vec<u64>> = HashMap::new();
        for other in later.iter().filter(|other| overlap(part, other)) {
            for_each_id(other, |queue, offset, _| {
                let (from, to) = part.contents.queues.get(queue).copied().unwrap_or((1, 0));
                if (from..=to).contains(&offset) {
                    match taken.get_mut(queue) {
                        Some(offsets) => offsets.push(offset),
                        None => drop(taken.insert(queue.to_owned(), vec![offset])),
                    }
                }
            })?;
        }
        if taken.is_empty() {
            return Ok(None);
        }
        taken.values_mut().for_each(|offsets| offsets.sort_unstable());
        let mut dead = BitSet::with_max_value(part.contents.documents);
        for_each_id(part, |queue, offset, document| {
            if taken.get(queue).is_some_and(|offsets| offsets.binary_search(&offset).is_ok()) {
                dead.insert(document);
            }
        })?;
        Ok((dead.len() > 0).then_some(dead))
    }
}

fn overlap(one: &PartFile, other: &PartFile) -> bool {
    one.contents.queues.iter().any(|(queue, (from, to))| {
        let there = other.contents.queues.get(queue);
        there.is_some_and(|(first, last)| from <= last && first <= to)
    })
}

/// Shows queue, offset and number of every document of a part.
fn for_each_id(
    part: &Arc<PartFile>,
    mut see: impl FnMut(&str, u64, u32),
) -> Result<(), IndexError> {
    let index = Shelf::index(&part.contents.mapping, &[Arc::clone(part)], &[])?;
    for segment in index.searchable_segments()? {
        let reader = SegmentReader::open(&segment)?;
        let (queues, offsets) =
            (reader.fast_fields().str(QUEUE)?, reader.fast_fields().u64(OFFSET)?);
        let queues = queues.ok_or_else(|| tantivy::TantivyError::FieldNotFound(QUEUE.into()))?;
        let mut names: HashMap<u64, String> = HashMap::new();
        for document in 0..reader.max_doc() {
            let (Some(ord), Some(offset)) =
                (queues.ords().first(document), offsets.first(document))
            else {
                continue;
            };
            let name = match names.entry(ord) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let mut name = String::new();
                    queues.ord_to_str(ord, &mut name)?;
                    new.insert(name)
                }
            };
            see(name, offset, document);
        }
    }
    Ok(())
}
