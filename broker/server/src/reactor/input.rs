use std::io::{self, ErrorKind, Read};

/// What one read takes at most from a connection before the others get their turn, unless its
/// frames are larger.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;
/// A beginning of a frame up to this size gets memory of its own until more of it comes, so that
/// those who send half a frame and wait do not hold a buffer each.
const LITTLE_BYTES_MAX: usize = 4 << 10;
/// A connection whose last frame was larger than [`BUFFER_BYTES`] gets a buffer for another one at
/// once, up to this size. It would be moved there otherwise when most of it has come.
const EXPECTED_BYTES_MAX: usize = 1 << 20;
/// Bytes of empty buffers kept for the next burst; more are given back to the system.
const SPARE_BYTES_MAX: usize = 32 << 20;

/// Bytes of a peer that are not handled yet. Holds memory only while there are any.
#[derive(Debug, Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// How large a frame is expected.
    expected: usize,
}

/// Empty buffers that connections borrow.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    usual: Vec<Vec<u8>>,
    /// For frames that do not fit a usual one.
    large: Vec<Vec<u8>>,
    bytes: usize,
}

/// What a read has shown about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is nothing more for now; the system tells when there is.
    Drained,
    /// There may be more.
    More,
    /// The peer sends nothing any more.
    Closed,
}

impl Input {
    /// The bytes not handled yet.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Bytes of memory held.
    pub(crate) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// The first `len` pending bytes are handled.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
    }

    /// A whole frame of `len` bytes has come; the next one is expected to be as large.
    pub(crate) fn expect(&mut self, len: usize) {
        self.expected = len.min(EXPECTED_BYTES_MAX);
    }

    /// Makes room for more of a frame of `len` bytes whose beginning is pending. A peer that only
    /// announces a large frame does not get it: the room doubles with what it has sent. (Memory
    /// that is only reserved is not free: what was used before is given out again, and zeroed.)
    pub(crate) fn make_room(&mut self, len: usize, buffers: &mut Buffers) {
        let pending = self.pending().len();
        if len <= self.bytes.len() || pending < self.bytes.len() {
            return;
        }
        self.move_to(buffers.take(len.min(2 * pending.max(BUFFER_BYTES))), buffers);
    }

    /// Moves what is pending to another place.
    fn move_to(&mut self, mut bytes: Vec<u8>, buffers: &mut Buffers) {
        let end = self.pending().len();
        bytes[..end].copy_from_slice(self.pending());
        (self.start, self.end) = (0, end);
        buffers.give_back(std::mem::replace(&mut self.bytes, bytes));
    }

    /// Reads once, as much as there is room for. `closing` says that the peer is known to have
    /// closed its side, so that a short read does not mean that there is nothing more to learn.
    pub(crate) fn fill(
        &mut self,
        from: &mut impl Read,
        closing: bool,
        buffers: &mut Buffers,
    ) -> io::Result<Filled> {
        if self.bytes.len() < BUFFER_BYTES {
            let len = self.expected.next_multiple_of(BUFFER_BYTES);
            self.move_to(buffers.take(len), buffers);
        } else if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let room = self.bytes.len() - self.end;
        if room == 0 {
            return Ok(Filled::More);
        }
        loop {
            return match from.read(&mut self.bytes[self.end..]) {
                Ok(0) => Ok(Filled::Closed),
                Ok(n) => {
                    self.end += n;
                    let more = n == room || closing;
                    Ok(if more { Filled::More } else { Filled::Drained })
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => Ok(Filled::Drained),
                    ErrorKind::Interrupted => continue,
                    _ => Err(error),
                },
            };
        }
    }

    /// Gives the memory back if nothing or little is pending.
    pub(crate) fn rest(&mut self, buffers: &mut Buffers) {
        let pending = self.pending().len();
        if pending == 0 {
            self.move_to(Vec::new(), buffers);
        } else if pending <= LITTLE_BYTES_MAX && self.bytes.len() >= BUFFER_BYTES {
            self.move_to(vec![0; pending], buffers);
        }
    }
}

impl Buffers {
    /// A buffer of at least `len` bytes.
    fn take(&mut self, len: usize) -> Vec<u8> {
        let spare = if len <= BUFFER_BYTES {
            self.usual.pop()
        } else {
            // Not a much larger one, whose memory nobody would count.
            let fits = |spare: &Vec<u8>| (len..=2 * len).contains(&spare.len());
            let fits = self.large.iter().rposition(fits);
            fits.map(|at| self.large.swap_remove(at))
        };
        match spare {
            Some(spare) => {
                self.bytes -= spare.len();
                spare
            }
            None => vec![0; len.max(BUFFER_BYTES)],
        }
    }

    fn give_back(&mut self, buffer: Vec<u8>) {
        if buffer.len() < BUFFER_BYTES || self.bytes + buffer.len() > SPARE_BYTES_MAX {
            return;
        }
        self.bytes += buffer.len();
        if buffer.len() == BUFFER_BYTES {
            self.usual.push(buffer);
        } else {
            self.large.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_in_order_while_the_buffer_moves_and_grows() {
        let sent: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
        let (mut from, mut buffers) = (&sent[..], Buffers::default());
        let (mut input, mut taken) = (Input::default(), Vec::new());
        loop {
            match input.fill(&mut from, false, &mut buffers).unwrap() {
                Filled::Closed => break,
                Filled::Drained | Filled::More => {}
            }
            input.make_room(100_000, &mut buffers);
            let len = input.pending().len().min(30_000);
            taken.extend_from_slice(&input.pending()[..len]);
            input.consume(len);
            input.rest(&mut buffers);
        }
        taken.extend_from_slice(input.pending());
        assert_eq!(taken, sent);
    }

    #[test]
    fn buffers_are_used_again_and_bounded() {
        let mut buffers = Buffers::default();
        let large = buffers.take(1 << 20);
        let place = large.as_ptr();
        buffers.give_back(large);
        let again = buffers.take(1 << 19);
        assert_eq!(again.as_ptr(), place);
        for _ in 0..100 {
            buffers.give_back(vec![0; 1 << 20]);
        }
        assert!(buffers.bytes <= SPARE_BYTES_MAX);
    }

    #[test]
    fn a_frame_that_is_only_announced_gets_no_memory() {
        let mut buffers = Buffers::default();
        buffers.give_back(vec![0; 16 << 20]);
        let sent = vec![7; 1 << 20];
        let (mut from, mut input) = (&sent[..], Input::default());
        for _ in 0..3 {
            input.fill(&mut from, false, &mut buffers).unwrap();
            input.make_room(16 << 20, &mut buffers);
            assert!(input.held() <= 2 * input.pending().len(), "{}", input.held());
        }
        assert_eq!(input.pending(), &sent[..4 * BUFFER_BYTES]);
    }

    #[test]
    fn who_sent_a_large_frame_gets_room_for_the_next_one_and_no_more_than_that() {
        let (mut buffers, sent) = (Buffers::default(), vec![7; 16 << 20]);
        let mut input = Input::default();
        for (last, room) in [(70_000, 2 * BUFFER_BYTES), (300, BUFFER_BYTES), (16 << 20, 1 << 20)] {
            input.expect(last);
            input.fill(&mut &sent[..], false, &mut buffers).unwrap();
            assert_eq!((input.held(), input.pending().len()), (room, room));
            input.consume(room);
            input.rest(&mut buffers);
            assert_eq!(input.held(), 0);
        }
    }

    #[test]
    fn an_idle_connection_holds_no_more_than_what_is_pending() {
        let mut buffers = Buffers::default();
        let mut input = Input::default();
        input.fill(&mut &b"abc"[..], false, &mut buffers).unwrap();
        assert_eq!((input.held(), buffers.bytes), (BUFFER_BYTES, 0));
        input.rest(&mut buffers);
        assert_eq!((input.held(), buffers.bytes), (3, BUFFER_BYTES));
        input.fill(&mut &b"de"[..], false, &mut buffers).unwrap();
        assert_eq!(input.pending(), b"abcde");
        input.consume(5);
        input.rest(&mut buffers);
        assert_eq!((input.held(), buffers.bytes), (0, BUFFER_BYTES));
    }
}
