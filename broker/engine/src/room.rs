//! Whether the disk has room for messages.
//!
//! Messages are refused for two reasons: more of the disk is in use than the operator allows, or
//! there is none for another segment of the log. The operator is told when that begins and when it
//! ends, however many messages are refused in between.

use millrace_types::PhysicalOffset;
use tracing::{debug, info, warn};

use crate::engine::Engine;

/// What is known of the disk's room.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// How much of the disk is in use, percent, as of the last look.
    pub(crate) used_percent: u8,
    /// Where a segment of the log should start that there is no room for, and why not.
    missing: Option<(PhysicalOffset, String)>,
    /// Whether the operator has been told that messages are refused.
    is_told: bool,
    /// Looks in a row that found room.
    looks_with_room: u32,
}

/// So many looks have to find room before that is told. A disk at its limit is full and not full
/// from one second to the next, and one that has no room for a segment is full while that is tried.
const LOOKS: u32 = 5;

/// What there is to tell.
#[derive(Debug, PartialEq, Eq)]
enum News {
    Refused(String),
    TakenAgain,
}

impl Room {
    /// Takes in what a look found.
    fn news(&mut self, trouble: Option<String>) -> Option<News> {
        if let Some(trouble) = trouble {
            self.looks_with_room = 0;
            return (!std::mem::replace(&mut self.is_told, true)).then_some(News::Refused(trouble));
        }
        self.looks_with_room = self.looks_with_room.saturating_add(1);
        let is_over = self.is_told && self.looks_with_room >= LOOKS;
        is_over.then(|| {
            self.is_told = false;
            News::TakenAgain
        })
    }
}

impl Engine {
    /// How much of the disk is in use, percent, as of the last look.
    pub fn disk_used_percent(&self) -> u8 {
        self.room.used_percent
    }

    /// Why producers are refused for now, if more of the disk is in use than is allowed.
    pub(crate) fn disk_trouble(&self) -> Option<String> {
        let (used, max) = (self.room.used_percent, self.config.retention.refuse_percent);
        (used >= max).then(|| format!("{used} percent of the disk is in use, {max} are allowed"))
    }

    /// Whether messages are refused for want of room.
    pub(crate) fn is_short_of_room(&self) -> bool {
        self.room.missing.is_some() || self.disk_trouble().is_some()
    }

    /// Looks how full the disk is.
    pub(crate) fn look_at_the_disk(&mut self) {
        match self.store.space() {
            Ok(space) => {
                let used = space.total - space.free;
                let percent = u128::from(used) * 100 / u128::from(space.total.max(1));
                self.room.used_percent = u8::try_from(percent).unwrap_or(100);
            }
            Err(error) => debug!(error = %error, "the disk's space is not known"),
        }
        let end = self.log_can_end_at();
        self.room.missing.take_if(|(missing, _)| *missing < end);
        self.tell_of_room();
    }

    /// There was no room for the next segment.
    pub(crate) fn no_room_for_a_segment(&mut self, why: &str) {
        if self.room.missing.is_none() {
            self.room.missing = Some((self.log_can_end_at(), why.to_owned()));
            self.tell_of_room();
        }
    }

    fn tell_of_room(&mut self) {
        let missing = || self.room.missing.as_ref().map(|(_, why)| why.clone());
        let trouble = self.disk_trouble().or_else(missing);
        match self.room.news(trouble) {
            Some(News::Refused(trouble)) => {
                warn!(error = trouble, "the disk is full; messages are refused");
            }
            Some(News::TakenAgain) => {
                info!("there is room on the disk again; messages are taken");
            }
            None => {}
        }
    }

    /// The end of the last segment.
    fn log_can_end_at(&self) -> PhysicalOffset {
        self.store.segments().last().map_or(PhysicalOffset(0), |(_, end)| *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once() {
        let mut room = Room::default();
        let full = || Some("96 percent".to_owned());
        let mut found = |trouble: Option<String>, looks: u32| -> Vec<News> {
            (0..looks).filter_map(|_| room.news(trouble.clone())).collect()
        };
        assert_eq!(found(None, 2 * LOOKS), []);
        assert_eq!(found(full(), 3), [News::Refused("96 percent".to_owned())]);
        assert_eq!(found(None, LOOKS - 1), [], "it may not last");
        assert_eq!(found(Some("no room for a segment".to_owned()), 3), []);
        assert_eq!(found(None, 2 * LOOKS), [News::TakenAgain]);
        assert_eq!(found(full(), 1).len(), 1);
    }
}
