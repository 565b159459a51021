use std::collections::BTreeMap;

use tokio::time::{Duration, Instant};

/// When the brokers took the heartbeats of a member, and whether they had to wait for one for so
/// long that they may have given its queues to others.
#[derive(Debug)]
pub(super) struct Beats {
    absence_max: Duration,
    /// By broker name; when they were sent.
    taken: BTreeMap<String, Taken>,
}

#[derive(Debug)]
struct Taken {
    last: Instant,
    /// The first one after the last absence.
    back_at: Option<Instant>,
}

impl Beats {
    /// `absence_max` is how long brokers wait.
    pub(super) fn new(absence_max: Duration) -> Self {
        Self { absence_max, taken: BTreeMap::new() }
    }

    /// A broker took the heartbeat that was sent then.
    pub(super) fn taken(&mut self, broker: &str, sent_at: Instant) {
        match self.taken.get_mut(broker) {
            Some(taken) => {
                if sent_at.saturating_duration_since(taken.last) > self.absence_max {
                    taken.back_at = Some(sent_at);
                }
                taken.last = taken.last.max(sent_at);
            }
            None => {
                self.taken.insert(broker.to_owned(), Taken { last: sent_at, back_at: None });
            }
        }
    }

    /// Whether a broker waits for so long now. One that never took a heartbeat does not.
    pub(super) fn is_absent(&self, broker: &str, now: Instant) -> bool {
        let taken = self.taken.get(broker);
        taken.is_some_and(|taken| now.saturating_duration_since(taken.last) > self.absence_max)
    }

    /// Whether a broker does, or did at any time since then.
    pub(super) fn was_absent(&self, broker: &str, since: Instant, now: Instant) -> bool {
        let back_at = self.taken.get(broker).and_then(|taken| taken.back_at);
        self.is_absent(broker, now) || back_at.is_some_and(|at| at > since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absence_is_known_while_it_lasts_and_once_it_is_over() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut beats = Beats::new(120 * second);
        assert!(!beats.was_absent("b", start, start + 1000 * second), "it has heard of nobody");
        beats.taken("b", start);
        beats.taken("b", start + 120 * second);
        assert!(!beats.was_absent("b", start, start + 240 * second));
        assert!(beats.is_absent("b", start + 241 * second));
        assert!(beats.was_absent("b", start, start + 241 * second));
        assert!(!beats.is_absent("a", start + 241 * second), "another broker");
        beats.taken("b", start + 250 * second);
        beats.taken("b", start + 280 * second);
        assert!(!beats.is_absent("b", start + 281 * second));
        assert!(beats.was_absent("b", start + 249 * second, start + 281 * second));
        assert!(!beats.was_absent("b", start + 251 * second, start + 281 * second));
    }
}
