use tracing::warn;

/// Whether one more line about a peer that misbehaves is written. Who reconnects and misbehaves
/// in a loop would fill the disk with them otherwise.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    written: u32,
    left_out: u64,
    since_ms: u64,
}

/// So many lines are enough to see what goes on.
pub(crate) const LINES_MAX: u32 = 20;
/// In each of these.
const PERIOD_MS: u64 = 60_000;

impl Complaints {
    /// Whether there is room for a line; the first one of a period also tells how many there was
    /// none for.
    pub(crate) fn may_say(&mut self, now_ms: u64) -> bool {
        self.on_tick(now_ms);
        let may = self.written < LINES_MAX;
        if may {
            self.written += 1;
        } else {
            self.left_out += 1;
        }
        may
    }

    /// Time passes.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        if now_ms < self.since_ms + PERIOD_MS {
            return;
        }
        if self.left_out > 0 {
            warn!(lines = self.left_out, "more was wrong with peers than is told here");
        }
        *self = Self { since_ms: now_ms, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_minute_are_written_and_the_others_counted() {
        let mut complaints = Complaints::default();
        let said = (0..1_000).filter(|ms| complaints.may_say(*ms)).count();
        assert_eq!((said, complaints.left_out), (20, 980));
        assert!(!complaints.may_say(PERIOD_MS - 1));
        assert!(complaints.may_say(PERIOD_MS));
        assert_eq!((complaints.written, complaints.left_out), (1, 0));
    }
}
