use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use millrace_connect_api::{SourceCursor, SourceError, Standing};
use tracing::warn;

use super::glob::Pattern;
use super::names::{Forms, Names, Recognised};
use super::scan::key;
use super::tail::{Found, cannot_read, go_on_alike};
use super::{FileSource, OPEN_MAX};

/// Names of a directory that are looked at in search of files that were moved.
const NAMES_MAX: usize = 16 * 1024;

/// Files that are missed by name; of more, only their number is told.
const MISSED_MAX: usize = 20;

/// What is known of a file that is to be found at the start.
#[derive(Debug)]
pub(super) struct Awaited {
    path: PathBuf,
    standing: Standing,
}

/// The cursors whose files are to be found. What the patterns were changed not to find is not.
pub(super) fn awaited(resume: &[SourceCursor], patterns: &[Pattern]) -> BTreeMap<String, Awaited> {
    let is_awaited = |cursor: &&SourceCursor| {
        let path = Path::new(&cursor.path);
        cursor.standing != Standing::Left && patterns.iter().any(|pattern| pattern.matches(path))
    };
    let awaited = |cursor: &SourceCursor| {
        let awaited = Awaited { path: PathBuf::from(&cursor.path), standing: cursor.standing };
        (cursor.identity.clone(), awaited)
    };
    resume.iter().filter(is_awaited).map(awaited).collect()
}

/// A file that may be one that was moved, and as what it is known.
type Candidate = (Found, Recognised);

impl FileSource {
    /// Takes up the files that were being read and that are now where no pattern finds them, in
    /// the directories where they were, and tells which are nowhere. `new` are those that patterns
    /// did find; `open` of them are open.
    pub(super) fn take_up_moved(
        &mut self,
        new: &[Found],
        mut seen: BTreeSet<(u64, u64, u64)>,
        mut open: usize,
    ) -> Result<(), SourceError> {
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.retain(|identity, _| !self.names.is_superseded(identity));
        for found in new {
            let forms = Forms::new(found.file, &found.head, false);
            if let Some(known) = self.names.seen(&forms) {
                awaited.remove(&known.identity);
                forget_lesser(&self.names, &forms, &mut awaited);
            }
        }
        let dirs: BTreeSet<PathBuf> = awaited
            .values()
            .filter_map(|awaited| awaited.path.parent().map(Path::to_owned))
            .collect();
        let mut moved = Vec::new();
        for dir in dirs {
            let candidates = self.candidates(&dir, &mut awaited, &mut seen, &mut open)?;
            for (identity, candidates) in candidates {
                let Some(candidate) = self.same_file(candidates)? else { continue };
                let Some(Awaited { path, standing }) = awaited.remove(&identity) else { continue };
                let is_read = candidate.1.position.offset >= candidate.0.size;
                if standing == Standing::Open || !is_read {
                    moved.push((candidate, path));
                }
            }
        }
        moved.sort_by(|((a, _), _), ((b, _), _)| {
            (a.file.born_ns, &a.path).cmp(&(b.file.born_ns, &b.path))
        });
        for ((found, recognised), path) in moved {
            self.take_up(found, recognised, Some(path));
        }
        self.miss(awaited);
        Ok(())
    }

    /// The files of a directory that no pattern finds and that may be awaited ones from there, by
    /// the identities of those. Awaits them no longer under what they were called while shorter.
    fn candidates(
        &self,
        dir: &Path,
        awaited: &mut BTreeMap<String, Awaited>,
        seen: &mut BTreeSet<(u64, u64, u64)>,
        open: &mut usize,
    ) -> Result<BTreeMap<String, Vec<Candidate>>, SourceError> {
        let mut candidates: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
        for path in self.names_in(dir)? {
            let Some(mut found) = self.stranger(&path)? else { continue };
            if !seen.insert(key(found.file)) {
                continue;
            }
            found.read_head()?;
            if found.head.compression().is_some() {
                continue;
            }
            let forms = Forms::new(found.file, &found.head, false);
            let Some(known) = self.names.seen(&forms) else { continue };
            forget_lesser(&self.names, &forms, awaited);
            let is_awaited =
                awaited.get(&known.identity).is_some_and(|it| it.path.parent() == Some(dir));
            if is_awaited && known.position.offset <= found.size {
                *open += 1;
                if *open > OPEN_MAX {
                    found.handle = None;
                }
                candidates.entry(known.identity.clone()).or_default().push((found, known));
            }
        }
        Ok(candidates)
    }

    /// What may be files in a directory; nothing if it may not be listed, as its files are not all
    /// asked for.
    fn names_in(&self, dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
        let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let entries = match self.disk.list(listed) {
            Ok(entries) => entries,
            Err(error) if is_for_others(&error) => Vec::new(),
            Err(error) => return Err(cannot_read(listed, error)),
        };
        let files = entries.into_iter().filter(|entry| !entry.is_dir).take(NAMES_MAX);
        Ok(files.map(|entry| dir.join(entry.name)).collect())
    }

    /// A file that nobody asked for; none if it may not be read.
    fn stranger(&self, path: &Path) -> Result<Option<Found>, SourceError> {
        match Found::open(&*self.disk, path, false) {
            Err(SourceError::Io { source, .. }) if is_for_others(&source) => Ok(None),
            found => found,
        }
    }

    /// Of files that begin alike the longest one, if the others are parts of it. Otherwise it
    /// cannot be told which one was being read.
    fn same_file(&self, mut candidates: Vec<Candidate>) -> Result<Option<Candidate>, SourceError> {
        candidates.sort_by_key(|(found, _)| Reverse(found.size));
        let mut candidates = candidates.into_iter();
        let Some((longest, known)) = candidates.next() else { return Ok(None) };
        for (other, _) in candidates {
            let handles = (
                self.handle(&longest.handle, &longest.path, longest.file)?,
                self.handle(&other.handle, &other.path, other.file)?,
            );
            let (Some(one), Some(two)) = handles else { return Ok(None) };
            let is_part =
                go_on_alike(&*one, &*two).map_err(|error| cannot_read(&other.path, error))?;
            if !is_part {
                return Ok(None);
            }
        }
        Ok(Some((longest, known)))
    }

    /// Says which files are nowhere, once. What was read to its end and not waited for is not
    /// missed.
    fn miss(&mut self, awaited: BTreeMap<String, Awaited>) {
        let mut missed = 0;
        for (identity, Awaited { path, standing }) in awaited {
            if standing == Standing::Open {
                missed += 1;
                if missed <= MISSED_MAX {
                    let offset = self.names.place(&identity).offset;
                    warn!(
                        path = %path.display(),
                        offset,
                        identity,
                        "file is gone, and what it had from this offset on may never be read"
                    );
                }
                self.settle(identity, Standing::Left);
            }
        }
        if missed > MISSED_MAX {
            let more = missed - MISSED_MAX;
            warn!(files = more, "more files are gone, and their ends may never be read");
        }
    }
}

/// Awaits a file no longer under the identities that it had while it was shorter.
fn forget_lesser(names: &Names, forms: &Forms, awaited: &mut BTreeMap<String, Awaited>) {
    let known = names.seen(forms).map(|known| known.identity);
    for lesser in names.lesser(forms).filter(|lesser| Some(lesser) != known.as_ref()) {
        awaited.remove(&lesser);
    }
}

/// Whether it is because a file or directory is none of ours.
fn is_for_others(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), InvalidData | NotADirectory | NotFound | PermissionDenied)
}
