use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use memchr::memrchr;
use millrace_connect_api::{Origin, SourceError};
use millrace_disk::{Access, Disk, File, Identity};
use tokio::time::Instant;

use super::blocks::Blocks;
use super::names::{HEAD, Head, Named};
use crate::lines::{Lines, Piece};

/// Bytes compared to tell a copy from another file that begins alike.
const COMPARED: u64 = 64 * 1024;

/// One file that is being read.
#[derive(Debug)]
pub(super) struct Tail {
    /// Where a pattern found it.
    pub(super) path: PathBuf,
    /// Where it is instead, which no pattern finds.
    pub(super) moved_to: Option<PathBuf>,
    pub(super) file: Identity,
    /// Closed while too many files are open.
    pub(super) handle: Option<Arc<dyn File>>,
    pub(super) head: Head,
    pub(super) origin: Arc<Origin>,
    pub(super) named: Named,
    /// Lesser identities that it had, while nothing was given under the present one.
    pub(super) formerly: Vec<String>,
    /// Whether the next record is to be given under this name, though there may be a better one.
    pub(super) keeps_name: bool,
    /// Its first line, or why that can be no header; none while that is not known, or not asked.
    pub(super) header: Option<Result<Arc<str>, String>>,
    pub(super) lines: Lines,
    /// Its size when it was last looked at.
    pub(super) size: u64,
    /// Where reading ends in this turn; none between turns.
    pub(super) until: Option<u64>,
    /// When bytes last came, or when it was first noticed that none do.
    pub(super) quiet_since: Option<Instant>,
    pub(super) state: State,
}

/// What is to become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// More may come.
    Open,
    /// No path leads to it any more. Whoever has it open may still write.
    Gone,
    /// Nothing more is to be read.
    Finished,
}

impl Tail {
    /// Whether everything is read that was there at the last look.
    pub(super) fn is_read(&self) -> bool {
        self.lines.read_from() >= self.size
    }

    pub(super) fn is_quiet(&mut self, now: Instant, for_at_least: Duration) -> bool {
        now.duration_since(*self.quiet_since.get_or_insert(now)) >= for_at_least
    }

    /// Where it can be opened.
    pub(super) fn place(&self) -> &Path {
        self.moved_to.as_deref().unwrap_or(&self.path)
    }

    /// Whether no pattern finds it any more.
    pub(super) fn is_away(&self) -> bool {
        self.state == State::Gone || self.moved_to.is_some()
    }

    /// Gives the file the name it has in the directory now.
    pub(super) fn set_path(&mut self, path: &Path) {
        self.moved_to = None;
        if self.path != path {
            self.path = path.to_owned();
            self.set_identity(self.named, self.origin.identity.clone());
        }
    }

    pub(super) fn set_identity(&mut self, named: Named, identity: String) {
        let path = self.path.display().to_string();
        self.named = named;
        let header = self.header.as_ref().and_then(|header| header.as_ref().ok()).cloned();
        self.origin = Arc::new(Origin { identity, path, header });
    }

    /// Gives the file a better identity.
    pub(super) fn rename(&mut self, named: Named, identity: String) {
        self.formerly.push(self.origin.identity.clone());
        self.set_identity(named, identity);
    }

    pub(super) fn set_header(&mut self, header: Option<Result<Arc<str>, String>>) {
        if self.header != header {
            self.header = header;
            self.set_identity(self.named, self.origin.identity.clone());
        }
    }

    /// Reads the next block of this turn. Whether anything came.
    pub(super) fn read(
        &mut self,
        blocks: &mut Blocks,
        chunk: usize,
        now: Instant,
        out: &mut Vec<Piece>,
    ) -> io::Result<bool> {
        let (Some(handle), Some(until)) = (&self.handle, self.until) else { return Ok(false) };
        let from = self.lines.read_from();
        let rest = self.lines.rest();
        // Twice as much each time, so that a long line is not copied once for every block of it.
        let room = chunk.max(2 * rest.len()) - rest.len();
        let left = usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX);
        let end = rest.len() + room.min(left);

        let mut block = blocks.take(end);
        block[..rest.len()].copy_from_slice(rest);
        let read = handle.read_at(&mut block[rest.len()..end], from)?;
        if read == 0 {
            return Ok(false);
        }
        let filled = rest.len() + read;
        let block = block.freeze();
        blocks.lend(&block);
        self.lines.feed(&block.slice(..filled), out);
        self.quiet_since = Some(now);
        Ok(true)
    }
}

/// A file at a path.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// Whether it was asked for by its path, and not found by a pattern.
    pub(super) is_named: bool,
    pub(super) handle: Option<Arc<dyn File>>,
    pub(super) file: Identity,
    pub(super) size: u64,
    /// Empty until it is read, which takes time for each of many files.
    pub(super) head: Head,
}

impl Found {
    /// Looks at what is at a path; none if there is no file, or if a pattern found something else
    /// than a file.
    pub(super) fn open(
        disk: &dyn Disk,
        path: &Path,
        is_named: bool,
    ) -> Result<Option<Self>, SourceError> {
        let handle = match disk.open(path, Access::Read) {
            Ok(handle) => handle,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(None),
                io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory if !is_named => {
                    return Ok(None);
                }
                io::ErrorKind::IsADirectory => return Err(unsuitable(path, "it is a directory")),
                io::ErrorKind::InvalidInput => return Err(unsuitable(path, "it is no file")),
                _ => return Err(cannot_read(path, error)),
            },
        };
        let (file, size) = handle
            .identity()
            .and_then(|file| Ok((file, handle.size()?)))
            .map_err(|error| cannot_read(path, error))?;
        Ok(Some(Self {
            path: path.to_owned(),
            is_named,
            handle: Some(handle),
            file,
            size,
            head: Head::default(),
        }))
    }

    pub(super) fn read_head(&mut self) -> Result<(), SourceError> {
        if let Some(handle) = &self.handle {
            self.head =
                Head::read(&**handle, self.size).map_err(|error| cannot_read(&self.path, error))?;
        }
        Ok(())
    }
}

/// Opens a file again, if it is still at its path.
pub(super) fn open_again(
    disk: &dyn Disk,
    path: &Path,
    file: Identity,
) -> io::Result<Option<Arc<dyn File>>> {
    match disk.open(path, Access::Read) {
        Ok(handle) if handle.identity()? == file => Ok(Some(handle)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether two files that begin alike go on alike, as far as both are long. A copy that is being
/// made counts as one. Only the last bytes that both have are compared: a log does not repeat
/// itself at the same place by accident.
pub(super) fn go_on_alike(one: &dyn File, other: &dyn File) -> io::Result<bool> {
    let common = one.size()?.min(other.size()?);
    let start = common.saturating_sub(COMPARED).max(HEAD as u64).min(common);
    let read = |file: &dyn File| {
        let mut bytes = vec![0; (common - start) as usize];
        let read = file.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        io::Result::Ok(bytes)
    };
    Ok(read(one)? == read(other)?)
}

/// Where the last line starts that has no end yet; `size` if there is none within the last `max`
/// bytes, or if all have.
pub(super) fn last_line_start(file: &dyn File, size: u64, max: usize) -> io::Result<u64> {
    let start = size.saturating_sub(max as u64);
    let mut bytes = vec![0; (size - start) as usize];
    let read = file.read_at(&mut bytes, start)?;
    Ok(match memrchr(b'\n', &bytes[..read]) {
        Some(newline) => start + newline as u64 + 1,
        None if start == 0 => 0,
        None => size,
    })
}

/// What is there is not what could be read, however often that is tried.
pub(super) fn unsuitable(path: &Path, reason: impl Into<String>) -> SourceError {
    SourceError::Unsuitable { path: path.display().to_string(), reason: reason.into() }
}

pub(super) fn cannot_read(path: &Path, source: io::Error) -> SourceError {
    SourceError::Io { path: path.display().to_string(), source }
}
