use bytes::Bytes;
use memchr::{memchr, memchr_iter};
use millrace_connect_api::{Position, Span};

/// As much of a line that is too long as is kept for its letter.
const KEPT: usize = 4096;

/// Cuts the bytes of one file into lines and knows where each of them stands.
///
/// A line ends with `\n`; that byte, and one `\r` right before it, are not part of the record.
/// Empty lines are no records, but they count: [`Position::line`] is the number of `\n` bytes
/// before [`Position::offset`], always. What is given does not depend on how the bytes were cut
/// into blocks.
#[derive(Debug)]
pub struct Lines {
    /// Where the first line that was not given yet starts.
    next: Position,
    /// What has been seen of that line, while its end is not.
    rest: Vec<u8>,
    /// Set while that line is known to be too long; `rest` is empty then.
    long: Option<Long>,
    line_bytes_max: usize,
    /// Records in the last block, to make room for as many in the next.
    usual: usize,
}

/// A line that is too long and whose end has not been seen.
#[derive(Debug)]
struct Long {
    kept: Bytes,
    seen: u64,
}

/// What came out of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Records within the block.
    Records {
        /// The block, shared and not copied.
        data: Bytes,
        /// The records, in order.
        records: Vec<Span>,
    },
    /// A line above the limit.
    TooLong {
        /// Its first bytes, up to 4 KiB.
        kept: Bytes,
        /// Its place in the file; `at` and `len` refer to `kept`.
        span: Span,
    },
}

impl Piece {
    /// The first record and, if there are more, the others.
    pub(crate) fn split_first(self) -> (Self, Option<Self>) {
        match self {
            Self::Records { data, mut records } if records.len() > 1 => {
                let others = records.split_off(1);
                (
                    Self::Records { data: data.clone(), records },
                    Some(Self::Records { data, records: others }),
                )
            }
            one => (one, None),
        }
    }

    /// Where the record after the last one starts.
    pub(crate) fn next(&self) -> Position {
        match self {
            Self::Records { records, .. } => {
                records.last().map(|span| span.next).unwrap_or_default()
            }
            Self::TooLong { span, .. } => span.next,
        }
    }
}

impl Lines {
    /// Starts at `start`. A line of more than `line_bytes_max` bytes, its end not counted, is too
    /// long.
    pub fn new(start: Position, line_bytes_max: usize) -> Self {
        Self { next: start, rest: Vec::new(), long: None, line_bytes_max, usual: 0 }
    }

    /// Where the first line that was not given yet starts.
    pub fn position(&self) -> Position {
        self.next
    }

    /// The offset of the first byte that has not been seen.
    pub fn read_from(&self) -> u64 {
        match &self.long {
            Some(long) => self.next.offset + long.seen,
            None => self.next.offset + self.rest.len() as u64,
        }
    }

    /// The beginning of the line whose end has not been seen. The next block starts with it.
    pub fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Whether a line has begun and not ended.
    pub fn is_within_line(&self) -> bool {
        self.long.is_some() || !self.rest.is_empty()
    }

    /// Goes back to [`position`](Self::position), as if nothing after it had been seen.
    pub fn forget_rest(&mut self) {
        self.rest.clear();
        self.long = None;
    }

    /// Takes the next block and appends what is complete to `out`.
    ///
    /// # Panics
    /// If `block` does not start with as many bytes as [`rest`](Self::rest) has, or is 4 GiB long.
    pub fn feed(&mut self, block: &Bytes, out: &mut Vec<Piece>) {
        assert!(u32::try_from(block.len()).is_ok(), "spans have 32-bit offsets");
        let bytes = &block[..];
        let mut start = 0;
        let mut searched = self.rest.len();
        if let Some(long) = &mut self.long {
            let Some(end) = memchr(b'\n', bytes) else {
                long.seen += bytes.len() as u64;
                return;
            };
            long.seen += end as u64;
            out.extend(self.end_long(1));
            start = end + 1;
            searched = start;
        }

        let mut records = Vec::with_capacity(self.usual.min(bytes.len() / 2));
        for newline in memchr_iter(b'\n', &bytes[searched..]) {
            let end = searched + newline;
            let has_return = end > start && bytes[end - 1] == b'\r';
            let len = end - start - usize::from(has_return);
            let next = Position {
                offset: self.next.offset + (end + 1 - start) as u64,
                line: self.next.line + 1,
            };
            if len > self.line_bytes_max {
                flush(block, &mut records, out);
                out.push(self.too_long(&bytes[start..end], next));
            } else if len > 0 {
                let (at, len) = (start as u32, len as u32);
                records.push(Span { at, len, position: self.next, next });
            }
            self.next = next;
            start = end + 1;
        }
        self.usual = records.len();
        flush(block, &mut records, out);
        self.keep_rest(&bytes[start..]);
    }

    /// Gives what has been seen of the last line: nothing more will come, or not for a long time.
    /// If more comes after all, it is a line of its own.
    pub fn finish(&mut self) -> Option<Piece> {
        if self.long.is_some() {
            return self.end_long(0);
        }
        if self.rest.is_empty() {
            return None;
        }
        let data = Bytes::from(std::mem::take(&mut self.rest));
        let next = Position { offset: self.next.offset + data.len() as u64, line: self.next.line };
        let piece = if data.len() > self.line_bytes_max {
            self.too_long(&data, next)
        } else {
            let span = Span { at: 0, len: data.len() as u32, position: self.next, next };
            Piece::Records { data, records: vec![span] }
        };
        self.next = next;
        Some(piece)
    }

    /// Keeps the start of a line for the next block, or the little that matters if no end can
    /// make it short enough any more. One byte above the limit may still be a `\r`.
    fn keep_rest(&mut self, rest: &[u8]) {
        self.rest.clear();
        if rest.len() > self.line_bytes_max + 1 {
            let kept = Bytes::copy_from_slice(&rest[..KEPT.min(self.line_bytes_max)]);
            self.long = Some(Long { kept, seen: rest.len() as u64 });
            self.rest = Vec::new();
        } else {
            self.rest.extend_from_slice(rest);
        }
    }

    fn end_long(&mut self, newlines: u64) -> Option<Piece> {
        let long = self.long.take()?;
        let next = Position {
            offset: self.next.offset + long.seen + newlines,
            line: self.next.line + newlines,
        };
        let piece = self.too_long(&long.kept, next);
        self.next = next;
        Some(piece)
    }

    fn too_long(&self, line: &[u8], next: Position) -> Piece {
        let kept = Bytes::copy_from_slice(&line[..KEPT.min(self.line_bytes_max).min(line.len())]);
        let span = Span { at: 0, len: kept.len() as u32, position: self.next, next };
        Piece::TooLong { kept, span }
    }
}

fn flush(block: &Bytes, records: &mut Vec<Span>, out: &mut Vec<Piece>) {
    if !records.is_empty() {
        out.push(Piece::Records { data: block.clone(), records: std::mem::take(records) });
    }
}

#[cfg(test)]
mod tests;
