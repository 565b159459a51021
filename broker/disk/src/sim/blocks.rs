use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of one block; what space is counted in.
pub(super) const BLOCK: u64 = 4096;

/// Sparse bytes: what was never written reads as zero and costs nothing. Copies share their
/// blocks until one of them writes.
#[derive(Clone, Default)]
pub(super) struct Blocks(BTreeMap<u64, Arc<[u8; BLOCK as usize]>>);

impl Blocks {
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) {
        for (index, within, part) in parts(offset, buf.len()) {
            match self.0.get(&index) {
                Some(block) => buf[part].copy_from_slice(&block[within]),
                None => buf[part].fill(0),
            }
        }
    }

    /// The first blocks without a gap from `from` on.
    pub(super) fn next_run(&self, from: u64) -> Option<Range<u64>> {
        let mut indexes = self.0.range(from..).map(|(index, _)| *index);
        let start = indexes.next()?;
        let end = indexes.zip(start + 1..).take_while(|(index, next)| index == next).last();
        Some(start..end.map_or(start, |(last, _)| last) + 1)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (index, within, part) in parts(offset, bytes.len()) {
            let block = self.0.entry(index).or_insert_with(|| Arc::new([0; BLOCK as usize]));
            Arc::make_mut(block)[within].copy_from_slice(&bytes[part]);
        }
    }

    /// Makes a range zero. Blocks that are there stay there.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        for (&index, block) in self.0.range_mut(blocks_of(&range)) {
            let from = range.start.max(index * BLOCK) - index * BLOCK;
            let to = (range.end - index * BLOCK).min(BLOCK);
            Arc::make_mut(block)[from as usize..to as usize].fill(0);
        }
    }

    /// Forgets everything from `len` on.
    pub(super) fn cut(&mut self, len: u64) {
        self.0.split_off(&len.div_ceil(BLOCK));
        if !len.is_multiple_of(BLOCK)
            && let Some(block) = self.0.get_mut(&(len / BLOCK))
        {
            let from = (len % BLOCK) as usize;
            if block[from..].iter().any(|byte| *byte != 0) {
                Arc::make_mut(block)[from..].fill(0);
            }
        }
    }

    /// Takes over the given blocks from `other`.
    pub(super) fn share(&mut self, other: &Blocks, indexes: Range<u64>) {
        let gone: Vec<u64> = self
            .0
            .range(indexes.clone())
            .map(|(index, _)| *index)
            .filter(|index| !other.0.contains_key(index))
            .collect();
        for index in gone {
            self.0.remove(&index);
        }
        for (index, block) in other.0.range(indexes) {
            self.0.insert(*index, Arc::clone(block));
        }
    }

    pub(super) fn contains(&self, index: u64) -> bool {
        self.0.contains_key(&index)
    }

    /// How many blocks of the given ones are there.
    pub(super) fn count(&self, indexes: Range<u64>) -> u64 {
        if indexes.is_empty() { 0 } else { self.0.range(indexes).count() as u64 }
    }

    /// A number that tells contents apart: FNV-1a over the blocks that are not all zero.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        for (index, block) in &self.0 {
            if block.iter().any(|byte| *byte != 0) {
                index.to_le_bytes().into_iter().for_each(&mut eat);
                block.iter().copied().for_each(&mut eat);
            }
        }
        hash
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} blocks, {:016x}", self.0.len(), self.fingerprint())
    }
}

/// The indexes of the blocks that a range of bytes touches.
pub(super) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    if range.start >= range.end { 0..0 } else { range.start / BLOCK..range.end.div_ceil(BLOCK) }
}

/// For each block that `len` bytes at `offset` touch: its index, where in it, and where in them.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let from = (at % BLOCK) as usize;
        let take = (BLOCK as usize - from).min(len - done);
        let part = done..done + take;
        done += take;
        Some((at / BLOCK, from..from + take, part))
    })
}
