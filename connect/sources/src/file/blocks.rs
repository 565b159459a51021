use bytes::{Bytes, BytesMut};

/// Blocks that may be waiting to be used again. The runtime holds one or two chunks at a time, so
/// more would only be memory.
const KEPT: usize = 4;

/// Buffers to read into, used again once nobody looks at what was read.
///
/// A fresh block of 256 KiB costs page faults that take longer than reading into it.
#[derive(Debug)]
pub(super) struct Blocks {
    bytes: usize,
    kept: Vec<Bytes>,
}

impl Blocks {
    pub(super) fn new(bytes: usize) -> Self {
        Self { bytes, kept: Vec::new() }
    }

    /// A buffer of at least `len` bytes with any content.
    pub(super) fn take(&mut self, len: usize) -> BytesMut {
        // A few lines do not hold a whole block in memory for as long as someone keeps them.
        if len > self.bytes || len < self.bytes / 4 {
            return BytesMut::zeroed(len);
        }
        if let Some(free) = self.kept.iter().position(Bytes::is_unique)
            && let Ok(block) = self.kept.swap_remove(free).try_into_mut()
        {
            return block;
        }
        BytesMut::zeroed(self.bytes)
    }

    /// Remembers a block that is about to be handed out, to take it again later.
    pub(super) fn lend(&mut self, block: &Bytes) {
        if block.len() == self.bytes && self.kept.len() < KEPT {
            self.kept.push(block.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_used_again_only_when_nobody_holds_it() {
        let mut blocks = Blocks::new(4096);
        let first = blocks.take(4096).freeze();
        let place = first.as_ptr();
        blocks.lend(&first);

        let second = blocks.take(4096).freeze();
        assert_ne!(second.as_ptr(), place);

        drop(first);
        let third = blocks.take(2000);
        assert_eq!((third.as_ptr(), third.len()), (place, 4096));
    }

    #[test]
    fn few_and_many_bytes_get_a_buffer_of_their_own() {
        let mut blocks = Blocks::new(4096);
        assert_eq!(blocks.take(100).len(), 100);
        assert_eq!(blocks.take(5000).len(), 5000);
    }
}
