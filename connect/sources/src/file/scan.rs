use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_connect_api::{Origin, Position, SourceError};
use millrace_disk::{File, Identity};
use tracing::{info, warn};

use super::names::{AsWhat, Forms, Head, Named, Recognised};
use super::tail::{
    Found, State, Tail, cannot_read, go_on_alike, last_line_start, open_again, unsuitable,
};
use super::{FileSource, OPEN_MAX};
use crate::lines::Lines;

/// Which scan it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// The first one; what it finds may be old.
    AtStart,
    /// A later one; what it finds is new.
    Later,
}

/// What to do with a file that was found.
enum Verdict {
    Read,
    /// It is a copy of a file that is being read, or that cannot be told at the moment.
    PassOver,
    /// It is what became of a file that went away and is read to its end.
    Replaces(usize),
}

/// How two files compare that begin alike.
#[derive(PartialEq, Eq)]
enum Likeness {
    Copy,
    Other,
    /// One of them has just changed or gone.
    Unclear,
}

impl FileSource {
    /// Finds new files, files that were renamed and files that went away; at the start also those
    /// that were renamed before.
    pub(super) fn scan(&mut self, when: When) -> Result<(), SourceError> {
        let known: BTreeMap<_, _> =
            self.tails.iter().enumerate().map(|(index, tail)| (key(tail.file), index)).collect();
        let mut seen = BTreeSet::new();
        let mut new = Vec::new();
        let mut open = self.open_handles();
        for pattern in 0..self.patterns.len() {
            let mut paths = Vec::new();
            self.patterns[pattern].find(&*self.disk, &mut paths)?;
            let mut any = false;
            for path in &paths {
                let is_named = self.patterns[pattern].is_path();
                let Some(mut found) = Found::open(&*self.disk, path, is_named)? else { continue };
                any = true;
                if !seen.insert(key(found.file)) {
                    continue;
                }
                if let Some(&index) = known.get(&key(found.file)) {
                    self.is_still_there(index, &found);
                    continue;
                }
                found.read_head()?;
                open += 1;
                if open > OPEN_MAX {
                    found.handle = None;
                }
                new.push(found);
            }
            if self.options.once && !any {
                let text = self.patterns[pattern].text();
                return Err(SourceError::Missing(format!("there is no file {text}")));
            }
        }
        for tail in &mut self.tails {
            let is_expected = tail.state == State::Open && tail.moved_to.is_none();
            if is_expected && !seen.contains(&key(tail.file)) {
                tail.state = State::Gone;
                tail.quiet_since = None;
            }
        }
        new.sort_by(|a, b| (a.file.born_ns, &a.path).cmp(&(b.file.born_ns, &b.path)));
        if when == When::AtStart {
            self.take_up_moved(&new, seen, open)?;
        }
        new.into_iter().try_for_each(|found| self.admit(found, when))
    }

    fn is_still_there(&mut self, index: usize, found: &Found) {
        let tail = &mut self.tails[index];
        if tail.state == State::Gone {
            tail.state = State::Open;
        }
        if tail.handle.is_none() {
            tail.size = found.size;
        }
        tail.set_path(&found.path);
    }

    /// Takes a file that was not known in, unless it is a copy or compressed.
    fn admit(&mut self, found: Found, when: When) -> Result<(), SourceError> {
        if let Some(compression) = found.head.compression() {
            if found.is_named {
                let reason = format!("it is compressed with {compression}; unpack it first");
                return Err(unsuitable(&found.path, reason));
            }
            if self.passed_over.insert((found.file.device, found.file.inode)) {
                warn!(path = %found.path.display(), compression, "compressed file skipped");
            }
            return Ok(());
        }
        match self.judge(&found)? {
            Verdict::Read => {}
            Verdict::PassOver => {
                if self.passed_over.insert((found.file.device, found.file.inode)) {
                    info!(path = %found.path.display(), "copy of another file skipped");
                }
                return Ok(());
            }
            Verdict::Replaces(index) => self.leave(index),
        }
        self.passed_over.remove(&(found.file.device, found.file.inode));

        let taken = self.is_head_taken(&found.head, None);
        let forms = Forms::new(found.file, &found.head, taken);
        let recognised = self.names.recognise(&forms, found.size);
        let mut position = recognised.position;
        match recognised.as_what {
            AsWhat::Known => {}
            AsWhat::New if when == When::AtStart && self.options.start_at_end => {
                let handle = self.handle(&found.handle, &found.path, found.file)?;
                let Some(handle) = handle else { return Ok(()) };
                let offset = last_line_start(&*handle, found.size, self.options.line_max)
                    .map_err(|error| cannot_read(&found.path, error))?;
                position = Position { offset, line: 0 };
            }
            AsWhat::New => {}
            AsWhat::Shortened => warn!(
                path = %found.path.display(),
                bytes = found.size,
                identity = recognised.identity,
                "file is shorter than what was read of it, reading it from its start"
            ),
        }
        self.take_up(found, Recognised { position, ..recognised }, None);
        Ok(())
    }

    /// Reads a file from now on, perhaps one that was moved away from where a pattern found it.
    pub(super) fn take_up(
        &mut self,
        found: Found,
        recognised: Recognised,
        moved_from: Option<PathBuf>,
    ) {
        let position = recognised.position;
        let (path, moved_to) = match moved_from {
            Some(path) => (path, Some(found.path)),
            None => (found.path, None),
        };
        let shown = path.display().to_string();
        info!(
            path = shown,
            moved_to = moved_to.as_ref().map(|path| path.display().to_string()),
            offset = position.offset,
            identity = recognised.identity,
            "reading file"
        );
        self.reopen(&recognised.identity);
        self.tails.push(Tail {
            path,
            moved_to,
            file: found.file,
            handle: found.handle,
            head: found.head,
            named: recognised.named,
            formerly: Vec::new(),
            keeps_name: recognised.as_what == AsWhat::Known && recognised.named < Named::Head,
            origin: Arc::new(Origin { identity: recognised.identity, path: shown, header: None }),
            header: None,
            lines: Lines::new(position, self.options.line_max),
            size: found.size,
            until: None,
            quiet_since: None,
            state: State::Open,
        });
    }

    /// Whether a file is to be read. With `once` every file is: nothing is being rotated then, and
    /// two equal files are what someone wants.
    fn judge(&self, found: &Found) -> Result<Verdict, SourceError> {
        let alike: Vec<usize> = self.like(&found.head, None).collect();
        let forms = Forms::new(found.file, &found.head, true);
        if self.options.once || alike.is_empty() || self.names.knows_apart(&forms) {
            return Ok(Verdict::Read);
        }
        let Some(handle) = self.handle(&found.handle, &found.path, found.file)? else {
            return Ok(Verdict::PassOver);
        };
        for index in alike {
            let tail = &self.tails[index];
            match self.compare(&*handle, tail)? {
                Likeness::Other => {}
                Likeness::Copy if tail.is_away() && tail.is_read() => {
                    return Ok(Verdict::Replaces(index));
                }
                Likeness::Copy | Likeness::Unclear => return Ok(Verdict::PassOver),
            }
        }
        Ok(Verdict::Read)
    }

    /// Whether a file of less than 1 KiB that has now grown to it turns out to be a copy.
    pub(super) fn turned_out_a_copy(&self, index: usize) -> Result<bool, SourceError> {
        let tail = &self.tails[index];
        let Some(handle) = self.handle(&tail.handle, tail.place(), tail.file)? else {
            return Ok(false);
        };
        for other in self.like(&tail.head, Some(index)) {
            if self.compare(&*handle, &self.tails[other])? == Likeness::Copy {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&self, file: &dyn File, tail: &Tail) -> Result<Likeness, SourceError> {
        let Some(handle) = self.handle(&tail.handle, tail.place(), tail.file)? else {
            return Ok(Likeness::Unclear);
        };
        let compare = || {
            // It may have been truncated since it was looked at, which is when copies appear.
            let head = Head::read(&*handle, handle.size()?)?;
            if head.checksum() != tail.head.checksum() {
                return Ok(Likeness::Unclear);
            }
            Ok(if go_on_alike(file, &*handle)? { Likeness::Copy } else { Likeness::Other })
        };
        compare().map_err(|error| cannot_read(&tail.path, error))
    }

    /// The handle, or a new one for a file that is not kept open; none if it is gone.
    pub(super) fn handle(
        &self,
        handle: &Option<Arc<dyn File>>,
        path: &Path,
        file: Identity,
    ) -> Result<Option<Arc<dyn File>>, SourceError> {
        match handle {
            Some(handle) => Ok(Some(Arc::clone(handle))),
            None => open_again(&*self.disk, path, file).map_err(|error| cannot_read(path, error)),
        }
    }

    /// The files that begin with the same 1 KiB.
    fn like(&self, head: &Head, except: Option<usize>) -> impl Iterator<Item = usize> {
        let checksum = head.checksum();
        self.tails
            .iter()
            .enumerate()
            .filter(move |(index, tail)| {
                checksum.is_some()
                    && tail.head.checksum() == checksum
                    && tail.state != State::Finished
                    && Some(*index) != except
            })
            .map(|(index, _)| index)
    }

    /// Whether a file that is being read goes by the checksum of this head alone.
    pub(super) fn is_head_taken(&self, head: &Head, except: Option<usize>) -> bool {
        self.like(head, except).any(|index| self.tails[index].named == Named::Head)
    }
}

pub(super) fn key(file: Identity) -> (u64, u64, u64) {
    (file.device, file.inode, file.born_ns)
}
