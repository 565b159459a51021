mod blocks; // buffers to read into
mod first_line; // what a file says its columns are
mod glob; // patterns to paths
mod moved; // files that were moved while nobody looked
mod names; // what tells one file from another
mod scan; // which files are there
mod tail; // one file

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_connect_api::{
    Chunk, Polled, Position, Reject, Source, SourceCursor, SourceError, Standing,
};
use millrace_disk::Disk;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::lines::{Lines, Piece};
use blocks::Blocks;
use glob::Pattern;
use moved::Awaited;
use names::{AsWhat, Forms, Head, Names};
use tail::{State, Tail, cannot_read, open_again};

/// Files that are open at most; of more, those that are read to their end are closed in between.
const OPEN_MAX: usize = 256;

/// How long a file that no path leads to must have been quiet until it is closed. Writers take a
/// moment to notice that their file was rotated away.
const GONE_FOR: Duration = Duration::from_secs(60);

/// A line longer than the limit.
const TOO_LONG: &str = "E-SOURCE-01";
/// A line of a file whose first line can be no header.
const NO_HEADER: &str = "E-SOURCE-05";

/// Which files a [`FileSource`] reads, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Paths, or patterns with `*`, `?`, `[a-z]`, `[!a-z]`, and `**` for any number of
    /// directories. As in a shell, a leading dot must be written.
    pub include: Vec<String>,
    /// Ends once everything there is has been read. A path or pattern without a file is then an
    /// error; otherwise it is waited for.
    pub once: bool,
    /// Starts files that are there at the start, and of which no cursor is known, at their last
    /// line instead of their first. Their lines are then counted from there.
    pub start_at_end: bool,
    /// The first line of each file is no record, but the header of all the others. A file is not
    /// read before that line has its end.
    pub header: bool,
    /// Bytes read at a time, from 1 to 64 MiB. Larger blocks are no faster.
    pub read_chunk: usize,
    /// Longest line, without its end, in bytes, up to 1 GiB; memory for about three of them is
    /// needed.
    pub line_max: usize,
    /// How long a last line may be without an end until it is given as it is, in milliseconds.
    /// What is appended to it later is a record of its own.
    pub partial_line_ms: u64,
    /// How often files are looked for and looked at while there is nothing to read, in
    /// milliseconds, from 1 to a day.
    pub scan_every_ms: u64,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            once: false,
            start_at_end: false,
            header: false,
            read_chunk: 256 * 1024,
            line_max: 1024 * 1024,
            partial_line_ms: 5_000,
            scan_every_ms: 1_000,
        }
    }
}

/// Reads the lines of files, and follows files as they grow, are renamed, truncated and replaced.
///
/// A record is a line without its `\n` or `\r\n`; empty lines are left out, but count. A last line
/// without `\n` is a record as it is: at the end in `once` mode, else when nothing was added for
/// `partial_line_ms`. A longer line than `line_max` comes as [`Polled::Unreadable`] with its first
/// 4 KiB.
///
/// The header of a file is read from its start whenever the file is taken up, so records have it
/// wherever they begin. If its first line can be no header, its records come as
/// [`Polled::Unreadable`].
///
/// # Which file is which
/// A file of at least 1 KiB is known by the checksum of its first 1 KiB, whatever its name; a
/// shorter one by its device, inode and birth, and by the checksum of its first line once that is
/// complete. A file that grows gets the better identity, but after a restart not before one record
/// was given under the one that its cursor has, so that a runtime that knows only where its last
/// record starts recognises it. So a renamed file is not read twice, and a new file under an old
/// name is read from its start.
///
/// A file that turns out shorter than what was read of it, or to begin otherwise, is a new one: it
/// gets a new identity and is read from its start. Of two files that are there together and begin
/// alike, the younger one is skipped while it is a copy of the older, unless `once` is set, and
/// otherwise known by checksum and inode together.
///
/// A file that was being read and that no pattern finds at the start is looked for in the directory
/// where one found it last, under other names: it may have been renamed while nobody looked. There
/// it is read to its end, before the others; if it is not there, that is said once. So that this
/// is not done for ever, the source says of each origin what it still expects ([`Standing`]).
///
/// # Order
/// Files found together are read oldest first, then by name; files found later come after those
/// known before. Each is read up to where it ended when its turn began.
///
/// Files are read on the thread that polls, one block at a time. After an error, polling again
/// tries the same again, and nothing is lost or doubled.
#[derive(Debug)]
pub struct FileSource {
    disk: Arc<dyn Disk>,
    options: FileOptions,
    patterns: Vec<Pattern>,
    names: Names,
    /// In the order in which they are read.
    tails: Vec<Tail>,
    /// Whose turn it is.
    turn: usize,
    /// Whether anything was read since the first one's turn.
    progress: bool,
    blocks: Blocks,
    /// What has been read and not been given.
    ready: VecDeque<Polled>,
    /// When to look for files again; none is at once.
    scan_at: Option<Instant>,
    /// Set while there is nothing to read.
    wake_at: Option<Instant>,
    /// Those of the cursors whose files are to be found at the start.
    awaited: BTreeMap<String, Awaited>,
    /// Identities of which it was said that no more is expected.
    settled: BTreeSet<String>,
    /// Files that were found and not taken, by device and inode, so that it is said once.
    passed_over: BTreeSet<(u64, u64)>,
}

/// What a step led to.
enum Step {
    /// Bytes were read, perhaps records.
    Read,
    /// There is nothing to read.
    Nothing,
    /// There will not be.
    End,
}

impl FileSource {
    /// Finds the files, and in each the place after what `resume` says has been read.
    pub fn open(
        disk: Arc<dyn Disk>,
        mut options: FileOptions,
        resume: Vec<SourceCursor>,
    ) -> Result<Self, SourceError> {
        options.read_chunk = options.read_chunk.clamp(1, 64 << 20);
        options.line_max = options.line_max.clamp(1, 1 << 30);
        options.scan_every_ms = options.scan_every_ms.clamp(1, 24 * 60 * 60 * 1000);
        let patterns: Vec<_> = options.include.iter().map(|text| Pattern::parse(text)).collect();
        let settled = |cursor: &&SourceCursor| match cursor.standing {
            Standing::Open => false,
            Standing::Ended => !options.once,
            Standing::Left => true,
        };
        let settled = resume.iter().filter(settled).map(|cursor| cursor.identity.clone());
        let mut source = Self {
            disk,
            settled: settled.collect(),
            awaited: moved::awaited(&resume, &patterns),
            patterns,
            names: Names::new(resume),
            tails: Vec::new(),
            turn: 0,
            progress: false,
            blocks: Blocks::new(options.read_chunk),
            ready: VecDeque::new(),
            scan_at: None,
            wake_at: None,
            passed_over: BTreeSet::new(),
            options,
        };
        source.scan(scan::When::AtStart)?;
        Ok(source)
    }

    /// Reads one block, or finds that there is none.
    fn step(&mut self, now: Instant) -> Result<Step, SourceError> {
        if !self.options.once {
            let scan_at = *self.scan_at.get_or_insert(now + self.scan_every());
            if now >= scan_at {
                self.scan(scan::When::Later)?;
                self.scan_at = Some(now + self.scan_every());
            }
        }
        while self.turn < self.tails.len() {
            let goes_on = self.advance(self.turn, now)?;
            self.turn += usize::from(!goes_on);
            if goes_on || !self.ready.is_empty() {
                self.progress = true;
                return Ok(Step::Read);
            }
        }
        self.turn = 0;
        self.retire(now);
        if self.options.once && self.tails.is_empty() && self.ready.is_empty() {
            return Ok(Step::End);
        }
        let progress = std::mem::take(&mut self.progress) || !self.ready.is_empty();
        Ok(if progress { Step::Read } else { Step::Nothing })
    }

    fn scan_every(&self) -> Duration {
        Duration::from_millis(self.options.scan_every_ms)
    }

    /// Goes on with a file. Whether its turn goes on.
    fn advance(&mut self, index: usize, now: Instant) -> Result<bool, SourceError> {
        if self.tails[index].until.is_none() {
            self.look(index)?;
        }
        let mut pieces = Vec::new();
        let tail = &mut self.tails[index];
        if tail.until.is_some_and(|until| tail.lines.read_from() < until) {
            let read = tail
                .read(&mut self.blocks, self.options.read_chunk, now, &mut pieces)
                .map_err(|error| cannot_read(&tail.path, error))?;
            if !read {
                // Shorter than a moment ago: the next look will tell.
                tail.until = None;
            }
            self.give(index, pieces);
            return Ok(read);
        }

        if tail.until.take().is_none() {
            return Ok(false);
        }
        if self.options.once {
            self.look(index)?;
            let tail = &mut self.tails[index];
            if tail.until.is_some_and(|until| tail.lines.read_from() < until) {
                return Ok(true);
            }
            tail.state = State::Finished;
            tail.handle = None;
            pieces.extend(tail.lines.finish());
            self.give(index, pieces);
            self.tell(index, Standing::Ended);
            return Ok(false);
        }
        let partial_line = Duration::from_millis(self.options.partial_line_ms);
        if tail.lines.is_within_line() && tail.is_quiet(now, partial_line) {
            pieces.extend(tail.lines.finish());
        }
        self.give(index, pieces);
        if self.tails[index].state == State::Open && self.open_handles() >= OPEN_MAX {
            self.tails[index].handle = None;
        }
        Ok(false)
    }

    /// Looks how long a file is and whether it is still the same, and begins its turn.
    fn look(&mut self, index: usize) -> Result<(), SourceError> {
        let tail = &mut self.tails[index];
        if tail.handle.is_none() {
            if tail.state != State::Open || !self.options.once && tail.is_read() {
                return Ok(());
            }
            tail.handle = open_again(&*self.disk, tail.place(), tail.file)
                .map_err(|error| cannot_read(tail.place(), error))?;
        }
        let Some(handle) = tail.handle.clone() else {
            if self.options.once {
                warn!(path = %tail.path.display(), "file went away before it was read");
                tail.state = State::Finished;
            } else if tail.moved_to.is_some() {
                tail.state = State::Gone;
            }
            return Ok(());
        };
        let (size, head) = handle
            .size()
            .and_then(|size| Ok((size, Head::read(&*handle, size)?)))
            .map_err(|error| cannot_read(&tail.path, error))?;
        tail.size = size;
        let given = tail.lines.position().offset;
        if size < given || !head.agrees(&tail.head, given) {
            self.begin_again(index, head);
            return self.begin_turn(index);
        }
        if size < tail.lines.read_from() || !head.agrees(&tail.head, u64::MAX) {
            tail.lines.forget_rest();
        }
        tail.head = head;
        if !tail.keeps_name && tail.named < tail.head.names_by() {
            if !self.options.once && self.turned_out_a_copy(index)? {
                // It was found while it was being made.
                self.leave(index);
                self.tell(index, Standing::Left);
                return Ok(());
            }
            let position = self.tails[index].lines.position();
            self.name_better(index, position);
        }
        // Only now, so that nothing is read under the lesser name if that failed.
        self.begin_turn(index)
    }

    /// Lets a file be read up to the size it has now, once it is known what its header is.
    fn begin_turn(&mut self, index: usize) -> Result<(), SourceError> {
        let tail = &mut self.tails[index];
        if self.options.header
            && let Some(handle) = &tail.handle
            && (tail.header.is_none() || tail.lines.position().offset == 0)
        {
            let header = first_line::read(&**handle, tail.size, self.options.once)
                .map_err(|error| cannot_read(&tail.path, error))?;
            if header.is_none() {
                return Ok(());
            }
            tail.set_header(header);
        }
        tail.until = Some(tail.size);
        Ok(())
    }

    /// Starts with a file that was truncated or written anew: what was read of it is no more.
    fn begin_again(&mut self, index: usize, head: Head) {
        self.tell(index, Standing::Left);
        let taken = self.is_head_taken(&head, Some(index));
        let tail = &mut self.tails[index];
        let forms = Forms::new(tail.file, &head, taken);
        let left = tail.lines.position();
        self.names.leave(&tail.origin.identity, left);
        let new = self.names.name(&forms, Position::default(), AsWhat::Shortened);
        warn!(
            path = %tail.path.display(),
            read = left.offset,
            bytes = tail.size,
            identity = new.identity,
            "file was truncated or written anew, reading it from its start"
        );
        tail.header = None;
        tail.set_identity(new.named, new.identity);
        tail.head = head;
        tail.lines = Lines::new(Position::default(), self.options.line_max);
    }

    /// Gives a file a better identity, which it is now long enough for, from `position` on.
    fn name_better(&mut self, index: usize, position: Position) {
        let taken = self.is_head_taken(&self.tails[index].head, Some(index));
        let tail = &mut self.tails[index];
        let forms = Forms::new(tail.file, &tail.head, taken);
        self.names.leave(&tail.origin.identity, position);
        let better = self.names.name(&forms, position, AsWhat::Known);
        tail.rename(better.named, better.identity);
    }

    /// Stops reading a file, as another one has the rest.
    fn leave(&mut self, index: usize) {
        let tail = &mut self.tails[index];
        tail.state = State::Finished;
        tail.handle = None;
        tail.until = None;
        tail.lines.forget_rest();
        self.names.leave(&tail.origin.identity, tail.lines.position());
    }

    fn open_handles(&self) -> usize {
        self.tails.iter().filter(|tail| tail.handle.is_some()).count()
    }

    /// Forgets files that are done with, and remembers how far they were read.
    fn retire(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.tails.len() {
            let tail = &mut self.tails[index];
            let over = match tail.state {
                State::Open if tail.moved_to.is_none() => false,
                State::Open if tail.handle.is_none() => tail.is_read(),
                State::Open => tail.is_quiet(now, GONE_FOR),
                State::Gone => tail.handle.is_none() || tail.is_quiet(now, GONE_FOR),
                State::Finished => true,
            };
            if !over {
                index += 1;
                continue;
            }
            let (is_away, is_read) = (tail.state != State::Finished, tail.is_read());
            if is_away && !is_read {
                let left = tail.size - tail.lines.read_from();
                warn!(path = %tail.path.display(), bytes = left, "file went away with unread lines");
            }
            let last = tail.lines.finish();
            self.give(index, last);
            if is_away && is_read {
                self.tell(index, Standing::Left);
            }
            let tail = self.tails.remove(index);
            // The place of a finished one is known already, and may be another file's by now.
            if is_away {
                self.names.leave(&tail.origin.identity, tail.lines.position());
            }
        }
    }

    fn give(&mut self, index: usize, pieces: impl IntoIterator<Item = Piece>) {
        let has_header = self.options.header;
        let is_header = |position: Position| has_header && position.offset == 0;
        for mut piece in pieces {
            match &mut piece {
                Piece::Records { records, .. } => {
                    records.retain(|span| !is_header(span.position));
                    if records.is_empty() {
                        continue;
                    }
                }
                Piece::TooLong { span, .. } if is_header(span.position) => continue,
                Piece::TooLong { .. } => {}
            }
            if self.tails[index].keeps_name {
                let (first, rest) = piece.split_first();
                let next = first.next();
                self.push(index, first);
                let tail = &mut self.tails[index];
                tail.keeps_name = false;
                if tail.named < tail.head.names_by() {
                    self.name_better(index, next);
                }
                let Some(rest) = rest else { continue };
                piece = rest;
            }
            self.push(index, piece);
        }
    }

    fn push(&mut self, index: usize, piece: Piece) {
        self.ready.push_back(self.polled(index, piece));
        // Only now does a cursor say what became of them.
        for former in std::mem::take(&mut self.tails[index].formerly) {
            self.settle(former, Standing::Left);
        }
    }

    /// Says what is expected of a file from now on.
    fn tell(&mut self, index: usize, standing: Standing) {
        let tail = &mut self.tails[index];
        let mut identities = std::mem::take(&mut tail.formerly);
        identities.push(tail.origin.identity.clone());
        identities.into_iter().for_each(|identity| self.settle(identity, standing));
    }

    fn settle(&mut self, identity: String, standing: Standing) {
        self.settled.insert(identity.clone());
        self.ready.push_back(Polled::Standing(identity, standing));
    }

    /// Says that more is expected of a file of which it was said that there is not.
    fn reopen(&mut self, identity: &str) {
        if self.settled.remove(identity) {
            self.ready.push_back(Polled::Standing(identity.to_owned(), Standing::Open));
        }
    }

    fn polled(&self, index: usize, piece: Piece) -> Polled {
        let origin = Arc::clone(&self.tails[index].origin);
        match piece {
            Piece::Records { data, records } => {
                let chunk = Chunk { origin, data, records };
                match &self.tails[index].header {
                    Some(Err(reason)) => {
                        let error = format!("the first line of the file is no header: {reason}");
                        let reject = Reject { code: NO_HEADER, error, field: None };
                        Polled::Unreadable(chunk, reject)
                    }
                    _ => Polled::Chunk(chunk),
                }
            }
            Piece::TooLong { kept, span } => {
                let reject = Reject {
                    code: TOO_LONG,
                    error: format!(
                        "line {} takes {} bytes and the limit is {}",
                        span.position.line + 1,
                        span.next.offset - span.position.offset,
                        self.options.line_max
                    ),
                    field: None,
                };
                Polled::Unreadable(Chunk { origin, data: kept, records: vec![span] }, reject)
            }
        }
    }
}

#[async_trait]
impl Source for FileSource {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        loop {
            if let Some(polled) = self.ready.pop_front() {
                return Ok(polled);
            }
            if let Some(at) = self.wake_at {
                // Kept in `self`, so that someone who polls with a shorter patience gets there.
                sleep_until(at).await;
                self.wake_at = None;
                return Ok(Polled::Idle);
            }
            match self.step(Instant::now())? {
                Step::Read if self.ready.is_empty() => tokio::task::yield_now().await,
                Step::Read => {}
                Step::Nothing => self.wake_at = Some(Instant::now() + self.scan_every()),
                Step::End => return Ok(Polled::End),
            }
        }
    }
}

#[cfg(test)]
mod tests;
