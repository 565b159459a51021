use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};

use bytes::Bytes;

/// Shared bytes shorter than this are copied: a slice of their own costs more.
const COPIED_BYTES_MAX: usize = 4 << 10;
/// Slices that one write hands to the system at most.
const SLICES_MAX: usize = 64;
/// About as many bytes are encoded into one chunk. It is freed as a whole, so a peer that always
/// leaves something must not find everything in one; a single answer may be longer.
const CHUNK_BYTES: usize = 64 << 10;

/// What a peer has not taken yet, in order: answers encoded here, and slices of the log.
#[derive(Debug, Default)]
pub(crate) struct Output {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are sent.
    sent: usize,
    /// Bytes not sent.
    bytes: usize,
    /// Bytes that were ever sent.
    sent_ever: u64,
    /// What the chunks take of memory, sent bytes and room for more included.
    held: usize,
    /// An emptied buffer for the next chunk.
    spare: Vec<u8>,
}

#[derive(Debug)]
enum Chunk {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Chunk {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }

    fn held(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.capacity(),
            Self::Shared(bytes) => bytes.len(),
        }
    }
}

impl Output {
    /// Bytes not sent.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Where what is written next begins, in bytes since there is a connection.
    pub(crate) fn end(&self) -> u64 {
        self.sent_ever + self.bytes as u64
    }

    /// Whether everything before there is sent.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        end <= self.sent_ever
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes of memory that are taken, which may be more than are to be sent.
    pub(crate) fn held(&self) -> usize {
        self.held + self.spare.capacity()
    }

    /// Adds what `encode` appends to a buffer; what it finds there already is not its own.
    pub(crate) fn write(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        match self.chunks.back() {
            Some(Chunk::Own(last)) if last.len() + COPIED_BYTES_MAX <= CHUNK_BYTES => {}
            Some(Chunk::Own(_)) if self.spare.capacity() < CHUNK_BYTES => {
                // It is likely to be filled too.
                self.add(Chunk::Own(Vec::with_capacity(CHUNK_BYTES)));
            }
            _ => {
                let spare = std::mem::take(&mut self.spare);
                self.add(Chunk::Own(spare));
            }
        }
        if let Some(Chunk::Own(buffer)) = self.chunks.back_mut() {
            let (len, capacity) = (buffer.len(), buffer.capacity());
            encode(buffer);
            self.bytes += buffer.len() - len;
            self.held += buffer.capacity() - capacity;
        }
    }

    fn add(&mut self, chunk: Chunk) {
        self.bytes += chunk.as_slice().len();
        self.held += chunk.held();
        self.chunks.push_back(chunk);
    }

    /// Adds bytes, without a copy if they are long.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.len() < COPIED_BYTES_MAX {
            self.write(|buffer| buffer.extend_from_slice(&bytes));
        } else {
            self.add(Chunk::Shared(bytes));
        }
    }

    /// Adds everything of another one.
    pub(crate) fn append(&mut self, other: Output) {
        debug_assert_eq!(other.sent, 0, "only a connection sends");
        for chunk in other.chunks {
            match chunk {
                Chunk::Own(own) if own.len() < COPIED_BYTES_MAX => {
                    self.write(|buffer| buffer.extend_from_slice(&own));
                }
                chunk => self.add(chunk),
            }
        }
    }

    /// Sends what the peer takes. Whether anything is left tells [`Output::is_empty`].
    pub(crate) fn send(&mut self, to: &mut impl Write) -> io::Result<()> {
        while self.bytes > 0 {
            let result = match &*self.chunks.make_contiguous() {
                [only] => to.write(&only.as_slice()[self.sent..]),
                chunks => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let used = chunks.len().min(SLICES_MAX);
                    for (n, (slice, chunk)) in slices.iter_mut().zip(chunks).enumerate() {
                        let from = if n == 0 { self.sent } else { 0 };
                        *slice = IoSlice::new(&chunk.as_slice()[from..]);
                    }
                    to.write_vectored(&slices[..used])
                }
            };
            match result {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => self.advance(n),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(()),
                    ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
        Ok(())
    }

    /// Gives memory back that was kept for the next burst.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            *self = Self { sent_ever: self.sent_ever, ..Self::default() };
        }
    }

    fn advance(&mut self, sent: usize) {
        self.bytes -= sent;
        self.sent_ever += sent as u64;
        self.sent += sent;
        while let Some(first) = self.chunks.front() {
            let len = first.as_slice().len();
            if self.sent < len {
                break;
            }
            self.sent -= len;
            self.held -= first.held();
            if let Some(Chunk::Own(mut buffer)) = self.chunks.pop_front()
                && (self.spare.capacity()..=CHUNK_BYTES).contains(&buffer.capacity())
            {
                buffer.clear();
                self.spare = buffer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes at a time, and now and then none.
    struct SlowPeer {
        taken: Vec<u8>,
        turn: usize,
    }

    impl Write for SlowPeer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            self.turn += 1;
            let mut room = [0, 1, 7, 5_000, 100_000][self.turn % 5];
            if room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let before = self.taken.len();
            for slice in slices {
                let len = slice.len().min(room);
                self.taken.extend_from_slice(&slice[..len]);
                room -= len;
            }
            Ok(self.taken.len() - before)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_sent_once_and_in_order() {
        let (mut output, mut expected) = (Output::default(), Vec::new());
        for n in 0..300usize {
            let part = vec![n as u8; n * 37 % 9_000];
            expected.extend_from_slice(&part);
            match n % 3 {
                0 => output.write(|buffer| buffer.extend_from_slice(&part)),
                1 => output.push(part.into()),
                _ => {
                    let mut other = Output::default();
                    other.push(part.into());
                    output.append(other);
                }
            }
        }
        assert_eq!(output.len(), expected.len());
        let mut peer = SlowPeer { taken: Vec::new(), turn: 0 };
        while !output.is_empty() {
            output.send(&mut peer).unwrap();
        }
        assert!(peer.taken == expected);
        assert!(output.chunks.is_empty());
        assert_eq!(output.held, 0);
        output.write(|buffer| buffer.push(1));
        assert_eq!(output.len(), 1);
    }

    /// Leaves one byte of everything it is offered.
    struct Nibbler;

    impl Write for Nibbler {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.write_vectored(&[IoSlice::new(bytes)])
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            match slices.iter().map(|slice| slice.len()).sum() {
                0 | 1 => Err(ErrorKind::WouldBlock.into()),
                offered => Ok(offered - 1),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_peer_that_always_leaves_a_byte_does_not_make_it_grow() {
        let mut output = Output::default();
        for _ in 0..10_000 {
            output.write(|buffer| buffer.extend_from_slice(&[7; 300]));
            output.send(&mut Nibbler).unwrap();
            assert_eq!(output.len(), 1);
            assert!(output.held() <= 4 * CHUNK_BYTES, "{}", output.held());
        }
    }

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let mut output = Output::default();
        let really = |output: &Output| -> usize {
            let chunks = output.chunks.iter().map(|chunk| match chunk {
                Chunk::Own(own) => own.capacity(),
                Chunk::Shared(shared) => shared.len(),
            });
            chunks.sum::<usize>() + output.spare.capacity()
        };
        for n in 0..2_000usize {
            match n % 100 {
                0 => output.push(vec![1; 50_000].into()),
                1 => output.write(|buffer| buffer.resize(buffer.len() + 200_000, 2)),
                _ => output.write(|buffer| buffer.resize(buffer.len() + n, 3)),
            }
            assert_eq!(output.held(), really(&output));
        }
        // What nobody takes is little more than the answers themselves.
        assert!(output.held() < output.len() * 3 / 2, "{} of {}", output.held(), output.len());
        let mut peer = SlowPeer { taken: Vec::new(), turn: 0 };
        while !output.is_empty() {
            output.send(&mut peer).unwrap();
            assert_eq!(output.held(), really(&output));
        }
        assert!(output.held() <= CHUNK_BYTES);
        output.rest();
        assert_eq!(output.held(), 0);
    }
}
