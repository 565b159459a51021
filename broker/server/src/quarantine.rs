use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millrace_store::ReadError;
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};
use tracing::{error, warn};

/// Which records turned out to be damaged while somebody read them, so that each is told and
/// counted once; and which could not be read, so that each is not told at every try.
#[derive(Debug, Default)]
pub(crate) struct Quarantine(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    damaged: BTreeSet<PhysicalOffset>,
    /// When each was told last, ms.
    unread: BTreeMap<PhysicalOffset, u64>,
}

/// So many places of each kind are remembered, and told; it is plain by then what is wrong. Of those
/// that cannot be read, at a time.
const PLACES_MAX: usize = 10_000;
/// What cannot be read is told again after this.
const AGAIN_MS: u64 = 600_000;

impl Noted {
    /// Whether a place that cannot be read is to be told now; if so, it is noted.
    fn is_to_tell(&mut self, at: PhysicalOffset, now_ms: u64) -> bool {
        let is_recent = |told: &u64| now_ms < told + AGAIN_MS;
        if self.unread.get(&at).is_some_and(is_recent) {
            return false;
        }
        if self.unread.len() >= PLACES_MAX {
            // Those that were told long ago make room, this one among them.
            self.unread.retain(|_, told| is_recent(told));
        }
        if self.unread.len() >= PLACES_MAX {
            return false;
        }
        self.unread.insert(at, now_ms);
        true
    }
}

/// A message that cannot be given.
pub(crate) struct Place<'a> {
    /// `None` if the broker is closed meanwhile.
    pub(crate) topic: &'a Option<TopicName>,
    pub(crate) queue_id: QueueId,
    pub(crate) offset: QueueOffset,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic.as_ref().map_or("?", TopicName::as_str);
        write!(f, "{topic}/{} offset {}", self.queue_id, self.offset)
    }
}

impl Quarantine {
    /// A record is damaged, for ever.
    pub(crate) fn damaged(&self, place: &Place<'_>, damage: &ReadError) {
        let at = damage.at();
        let mut noted = self.lock();
        if noted.damaged.len() >= PLACES_MAX || !noted.damaged.insert(at) {
            return;
        }
        let is_last = noted.damaged.len() == PLACES_MAX;
        drop(noted);
        tell(place, at, damage, "a stored message is damaged and lost; what follows it is served");
        if is_last {
            warn!(messages = PLACES_MAX, "more damaged messages are neither told nor counted");
        }
    }

    /// A record cannot be read now.
    pub(crate) fn unread(&self, place: &Place<'_>, why: &ReadError, now_ms: u64) {
        // Retention was faster than the reader, who is told so.
        if matches!(why, ReadError::Removed { .. }) {
            return;
        }
        let at = why.at();
        let mut noted = self.lock();
        if !noted.is_to_tell(at, now_ms) {
            return;
        }
        drop(noted);
        tell(
            place,
            at,
            &crate::refusal::with_cause(why),
            "a stored message cannot be read and its readers wait for it; mend the disk or the \
             file, or go on without it: move the group behind it (`millrace group reset`) or, for \
             all readers, restart with --repair",
        );
    }

    /// How many damaged records were met.
    pub(crate) fn count(&self) -> u64 {
        self.lock().damaged.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(place: &Place<'_>, at: PhysicalOffset, error: &dyn fmt::Display, what: &str) {
    error!(
        topic = place.topic.as_ref().map_or("?", TopicName::as_str),
        queue_id = place.queue_id.0,
        queue_offset = %place.offset,
        physical_offset = %at,
        error = %error,
        "{what}",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_cannot_be_read_are_told_again_and_old_ones_make_room() {
        let mut noted = Noted::default();
        let mut tell = |at, now_ms| noted.is_to_tell(PhysicalOffset(at), now_ms);
        let max = PLACES_MAX as u64;
        // The last one is told a moment after the others.
        assert!((1..max).all(|at| tell(at, 5)));
        assert!(tell(max, 7));
        assert!(!tell(max + 1, 8), "there is no room");
        assert!([1, 2, max - 1, max].iter().all(|at| !tell(*at, AGAIN_MS + 4)), "each was told");
        // However many there are, a known one is told again.
        assert!(tell(1, AGAIN_MS + 5));
        assert!(!tell(1, AGAIN_MS + 6));
        // All but the first and the last are forgotten.
        assert!((max + 1..2 * max - 1).all(|at| tell(at, AGAIN_MS + 6)));
        assert!(!tell(2 * max, AGAIN_MS + 6), "there is no room again");
        assert!(tell(2 * max, AGAIN_MS + 7), "the last one has become old");
        assert!(!tell(2 * max - 2, AGAIN_MS + 7), "it is remembered");
    }
}
