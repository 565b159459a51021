use std::collections::BTreeSet;
use std::io::IoSlice;
use std::ops::Range;

use super::blocks::{BLOCK, Blocks, blocks_of};
use super::odds::{Odds, SECTOR};
use super::seed::Seed;

/// One file without its names: what reads see, what is durable, and the changes in between.
#[derive(Clone, Debug)]
pub(super) struct Inode {
    /// The number that the file system shows; used again once the file is gone.
    pub(super) number: u64,
    pub(super) born_ns: u64,
    /// Whether a directory names it, as far as processes can see.
    pub(super) linked: bool,
    /// Handles, maps and locks that keep it.
    pub(super) opens: u32,
    pub(super) bad_sectors: BTreeSet<u64>,
    live: Content,
    durable: Content,
    /// Since the last sync, in order.
    pending: Vec<Pending>,
    /// A sync failed: `live` holds bytes that are neither durable nor pending.
    diverged: bool,
    /// Blocks of space that it takes.
    charged: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    blocks: Blocks,
    shape: Shape,
}

/// What is known about a file beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    size: u64,
    /// Blocks reserved from the start of the file on.
    reserved: u64,
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    /// The shape once it is done.
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Change {
    Write {
        at: u64,
        bytes: Vec<u8>,
    },
    Zero(Range<u64>),
    /// Everything from here on is gone.
    Cut(u64),
    /// Longer or reserved, with no bytes of its own.
    Grow,
}

impl Inode {
    pub(super) fn new(number: u64, born_ns: u64) -> Self {
        Self {
            number,
            born_ns,
            linked: true,
            opens: 0,
            bad_sectors: BTreeSet::new(),
            live: Content::default(),
            durable: Content::default(),
            pending: Vec::new(),
            diverged: false,
            charged: 0,
        }
    }

    /// The first stretch from `from` on that was ever written.
    pub(super) fn next_data(&self, from: u64) -> Option<Range<u64>> {
        let found = self.live.blocks.next_run(from / BLOCK)?;
        let range = (found.start * BLOCK).max(from)..(found.end * BLOCK).min(self.size());
        (!range.is_empty()).then_some(range)
    }

    pub(super) fn size(&self) -> u64 {
        self.live.shape.size
    }

    /// Blocks of space that it takes.
    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    /// Reads what lies within the file; the number of bytes that do. `None` on a bad sector.
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> Option<usize> {
        let len = self.size().saturating_sub(offset).min(buf.len() as u64);
        if len > 0 {
            let sectors = offset / SECTOR..(offset + len).div_ceil(SECTOR);
            if self.bad_sectors.range(sectors).next().is_some() {
                return None;
            }
            self.live.blocks.read(&mut buf[..len as usize], offset);
        }
        Some(len as usize)
    }

    /// All bytes, readable or not.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size() as usize];
        self.live.blocks.read(&mut bytes, 0);
        bytes
    }

    /// How many of `len` bytes at `offset` can be written if `free` more blocks may be taken.
    pub(super) fn room(&self, offset: u64, len: u64, mut free: u64) -> u64 {
        for index in blocks_of(&(offset..offset + len)) {
            if index >= self.live.shape.reserved && !self.live.blocks.contains(index) {
                if free == 0 {
                    return (index * BLOCK).saturating_sub(offset);
                }
                free -= 1;
            }
        }
        len
    }

    /// Writes the first `len` bytes of the slices.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        let mut bytes = Vec::with_capacity(len as usize);
        for slice in slices {
            let take = slice.len().min(len as usize - bytes.len());
            bytes.extend_from_slice(&slice[..take]);
        }
        let indexes = blocks_of(&(offset..offset + len));
        let above = indexes.start.max(self.live.shape.reserved)..indexes.end;
        self.charged -= self.live.blocks.count(above.clone());
        self.live.blocks.write(&bytes, offset);
        self.charged += self.live.blocks.count(above);
        self.live.shape.size = self.live.shape.size.max(offset + len);
        self.push(Change::Write { at: offset, bytes });
    }

    /// How many blocks more `allocate` would take.
    pub(super) fn allocation(&self, len: u64) -> u64 {
        let reserved = self.live.shape.reserved;
        let wanted = len.div_ceil(BLOCK);
        wanted.saturating_sub(reserved) - self.live.blocks.count(reserved..wanted)
    }

    pub(super) fn allocate(&mut self, len: u64) {
        self.charged += self.allocation(len);
        let shape = &mut self.live.shape;
        shape.reserved = shape.reserved.max(len.div_ceil(BLOCK));
        shape.size = shape.size.max(len);
        self.push(Change::Grow);
    }

    pub(super) fn zero(&mut self, range: Range<u64>) {
        let range = range.start..range.end.min(self.size());
        if range.start < range.end {
            self.live.blocks.zero(range.clone());
            self.push(Change::Zero(range));
        }
    }

    pub(super) fn truncate(&mut self, len: u64) {
        if len >= self.size() {
            self.live.shape.size = len;
            self.push(Change::Grow);
            return;
        }
        self.live.cut(len);
        self.recharge();
        self.push(Change::Cut(len));
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { change, shape: self.live.shape });
    }

    /// Makes everything pending durable. What an earlier failed sync dropped stays dropped.
    pub(super) fn sync(&mut self) {
        for Pending { change, .. } in &self.pending {
            if !self.diverged {
                self.durable.blocks.share(&self.live.blocks, change.blocks());
                continue;
            }
            match change {
                Change::Write { at, bytes } => self.durable.blocks.write(bytes, *at),
                Change::Zero(range) => self.durable.blocks.zero(range.clone()),
                Change::Cut(len) => self.durable.blocks.cut(*len),
                Change::Grow => {}
            }
        }
        self.pending.clear();
        self.durable.shape = self.live.shape;
        self.durable.blocks.cut(self.durable.shape.size);
    }

    /// A sync that fails, as on Linux: some of the pending changes reached the disk, and the
    /// others are taken for written from now on.
    pub(super) fn fail_sync(&mut self, seed: &mut Seed) {
        self.survive(seed);
        self.pending.clear();
        self.diverged = true;
    }

    /// Power fails: some of what is pending reached the disk, the rest is forgotten.
    pub(super) fn power_cut(&mut self, seed: &mut Seed) {
        if self.pending.is_empty() && !self.diverged {
            return;
        }
        self.survive(seed);
        if self.diverged {
            self.live = self.durable.clone();
        } else {
            for Pending { change, .. } in &self.pending {
                self.live.blocks.share(&self.durable.blocks, change.blocks());
            }
            self.live.shape = self.durable.shape;
        }
        self.pending.clear();
        self.diverged = false;
        self.recharge();
    }

    /// Applies to the durable half what chance lets through: each write wholly, some of its
    /// sectors, or not at all; of the changes of shape the first few.
    fn survive(&mut self, seed: &mut Seed) {
        let odds = Odds::new(seed);
        let count = self.pending.len();
        let shapes = match odds {
            Odds::Nothing => 0,
            Odds::Everything => count,
            Odds::Each { .. } if seed.chance(1, 2) => count,
            Odds::Each { .. } => seed.below(count as u64 + 1) as usize,
        };
        let blocks = &mut self.durable.blocks;
        for (position, Pending { change, .. }) in self.pending.iter().enumerate() {
            match change {
                Change::Write { at, bytes } => {
                    for part in odds.parts(*at..*at + bytes.len() as u64, seed) {
                        let from = (part.start - at) as usize..(part.end - at) as usize;
                        blocks.write(&bytes[from], part.start);
                    }
                }
                Change::Zero(range) => {
                    odds.parts(range.clone(), seed).into_iter().for_each(|part| blocks.zero(part));
                }
                Change::Cut(len) if position < shapes => blocks.cut(*len),
                Change::Cut(_) | Change::Grow => {}
            }
        }
        if let Some(last) = shapes.checked_sub(1) {
            self.durable.shape = self.pending[last].shape;
        }
        blocks.cut(self.durable.shape.size);
    }

    fn recharge(&mut self) {
        let reserved = self.live.shape.reserved;
        self.charged = reserved + self.live.blocks.count(reserved..u64::MAX);
    }

    /// Turns a bit over, on the disk and in memory.
    pub(super) fn flip_bit(&mut self, byte: u64, bit: u8) {
        for content in [&mut self.live, &mut self.durable] {
            if byte < content.shape.size {
                let mut value = [0];
                content.blocks.read(&mut value, byte);
                content.blocks.write(&[value[0] ^ (1 << bit)], byte);
            }
        }
        self.recharge();
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        let (live, durable) = (&self.live, &self.durable);
        format!(
            "size {} {:016x}, durable {} {:016x}, {} pending{}",
            live.shape.size,
            live.blocks.fingerprint(),
            durable.shape.size,
            durable.blocks.fingerprint(),
            self.pending.len(),
            if self.diverged { ", a sync failed" } else { "" },
        )
    }
}

impl Content {
    fn cut(&mut self, len: u64) {
        self.blocks.cut(len);
        self.shape.size = len;
        self.shape.reserved = self.shape.reserved.min(len.div_ceil(BLOCK));
    }
}

impl Change {
    /// The blocks it may alter.
    fn blocks(&self) -> Range<u64> {
        match self {
            Change::Write { at, bytes } => blocks_of(&(*at..*at + bytes.len() as u64)),
            Change::Zero(range) => blocks_of(range),
            Change::Cut(len) => *len / BLOCK..u64::MAX,
            Change::Grow => 0..0,
        }
    }
}
