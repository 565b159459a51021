use std::fmt;
use std::ops::Add;

/// Where a record starts in the CommitLog, in bytes from the start of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhysicalOffset(pub u64);

/// Where a message stands in its queue, counted in messages. Consumers commit this one, and it
/// always names the *next* message to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueOffset(pub u64);

/// The number of a queue within its topic on one broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u32);

impl QueueOffset {
    /// Reads an offset from the wire, where every negative number means "none".
    pub fn from_wire(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// The form the wire uses. Offsets stay far below `i64::MAX`, so this never wraps.
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// How many messages lie from `start` up to `self`; 0 if `start` is ahead.
    pub fn since(self, start: QueueOffset) -> u64 {
        self.0.saturating_sub(start.0)
    }
}

impl PhysicalOffset {
    /// How many bytes lie from `start` up to `self`; 0 if `start` is ahead.
    pub fn since(self, start: PhysicalOffset) -> u64 {
        self.0.saturating_sub(start.0)
    }
}

// Neither sum wraps: offsets of a real log stay far below the largest, and those that a damaged file
// claims must not become small ones.
impl Add<u64> for QueueOffset {
    type Output = Self;
    fn add(self, messages: u64) -> Self {
        Self(self.0.saturating_add(messages))
    }
}

impl Add<u64> for PhysicalOffset {
    type Output = Self;
    fn add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
}

impl fmt::Display for QueueOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for PhysicalOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
