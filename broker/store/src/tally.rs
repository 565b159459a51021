use std::ops::Add;

use millrace_types::is_system_topic_name;

/// How many entries the queues have been given since the directory was made, those of the broker's
/// own state apart. What a start misses of it was lost to damage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    pub(crate) state: u64,
}

impl Tally {
    /// So many entries of the queues of one topic.
    pub(crate) fn of(topic: &str, entries: u64) -> Self {
        match is_system_topic_name(topic) {
            true => Self { messages: 0, state: entries },
            false => Self { messages: entries, state: 0 },
        }
    }

    /// What of it is of this topic's kind.
    pub(crate) fn kind_of(self, topic: &str) -> u64 {
        if is_system_topic_name(topic) { self.state } else { self.messages }
    }

    /// What is left without `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            state: self.state.saturating_sub(other.state),
        }
    }

    /// The larger number of either kind.
    pub(crate) fn max(self, other: Self) -> Self {
        Self { messages: self.messages.max(other.messages), state: self.state.max(other.state) }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        // A damaged index may claim any number.
        Self {
            messages: self.messages.saturating_add(other.messages),
            state: self.state.saturating_add(other.state),
        }
    }
}
