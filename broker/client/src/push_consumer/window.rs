use std::collections::BTreeMap;

use millrace_types::QueueOffset;

/// How much of a queue may be here and not done with. (In RocketMQ, `pullThresholdForQueue`,
/// `pullThresholdSizeForQueue` and `consumeConcurrentlyMaxSpan`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLimits {
    /// Messages.
    pub messages_max: usize,
    /// Bytes.
    pub bytes_max: usize,
    /// Offsets from the first to the last message: one that takes long must not let all others
    /// run away, because after a crash they would all come again.
    pub span_max: u64,
}

impl Default for WindowLimits {
    /// As Java's consumer: 1000 messages, 100 MiB, 2000 offsets.
    fn default() -> Self {
        Self { messages_max: 1000, bytes_max: 100 << 20, span_max: 2000 }
    }
}

/// The messages of a queue that were pulled and are not done with. (In RocketMQ, `ProcessQueue`.)
#[derive(Debug)]
pub(super) struct Window {
    open: BTreeMap<QueueOffset, usize>,
    bytes: usize,
    /// Where the next pull starts.
    next: QueueOffset,
}

impl Window {
    pub(super) fn starting_at(next: QueueOffset) -> Self {
        Self { open: BTreeMap::new(), bytes: 0, next }
    }

    /// Where the next pull starts.
    pub(super) fn next(&self) -> QueueOffset {
        self.next
    }

    /// A message was pulled. `false` if it is here already, or lies before what was pulled.
    pub(super) fn take(&mut self, offset: QueueOffset, bytes: usize) -> bool {
        if offset < self.next {
            return false;
        }
        self.open.insert(offset, bytes);
        self.bytes += bytes;
        self.next = offset + 1;
        true
    }

    /// Everything up to this offset was pulled, or is not wanted.
    pub(super) fn pulled_up_to(&mut self, next: QueueOffset) {
        self.next = self.next.max(next);
    }

    /// A message is done with.
    pub(super) fn done(&mut self, offset: QueueOffset) {
        if let Some(bytes) = self.open.remove(&offset) {
            self.bytes -= bytes;
        }
    }

    /// What the group may commit: the first message that is not done with, or else where the next
    /// pull starts.
    pub(super) fn committable(&self) -> QueueOffset {
        self.open.keys().next().copied().unwrap_or(self.next)
    }

    /// Messages that are not done with, and their bytes.
    pub(super) fn load(&self) -> (usize, usize) {
        (self.open.len(), self.bytes)
    }

    /// Whether everything that was pulled is done with.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether nothing more may be pulled for now.
    pub(super) fn is_full(&self, limits: &WindowLimits) -> bool {
        let span = match (self.open.keys().next(), self.open.keys().next_back()) {
            (Some(first), Some(last)) => last.since(*first),
            _ => 0,
        };
        self.open.len() >= limits.messages_max
            || self.bytes >= limits.bytes_max
            || span > limits.span_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> QueueOffset {
        QueueOffset(offset)
    }

    #[test]
    fn the_first_open_message_bounds_the_commit() {
        let mut window = Window::starting_at(at(5));
        assert_eq!(window.committable(), at(5));
        for offset in [5, 6, 8] {
            assert!(window.take(at(offset), 10));
        }
        assert!(!window.take(at(6), 10), "it is here already");
        window.done(at(6));
        assert_eq!(window.committable(), at(5));
        window.done(at(5));
        assert_eq!(window.committable(), at(8));
        window.done(at(8));
        assert_eq!((window.committable(), window.is_empty()), (at(9), true));
        // What was filtered out counts as consumed.
        window.pulled_up_to(at(20));
        assert_eq!((window.committable(), window.next()), (at(20), at(20)));
        window.pulled_up_to(at(3));
        assert_eq!(window.next(), at(20));
    }

    #[test]
    fn a_window_is_full_by_count_by_bytes_or_by_span() {
        let limits = WindowLimits { messages_max: 3, bytes_max: 100, span_max: 10 };
        let filled = |messages: &[(u64, usize)]| {
            let mut window = Window::starting_at(at(0));
            for (offset, bytes) in messages {
                window.take(at(*offset), *bytes);
            }
            window.is_full(&limits)
        };
        assert!(!filled(&[(0, 1), (1, 1)]));
        assert!(filled(&[(0, 1), (1, 1), (2, 1)]));
        assert!(filled(&[(0, 100)]));
        assert!(!filled(&[(0, 1), (10, 1)]));
        assert!(filled(&[(0, 1), (11, 1)]));
        let mut window = Window::starting_at(at(0));
        window.take(at(0), 100);
        window.done(at(0));
        window.done(at(0));
        assert!(!window.is_full(&limits));
    }
}
