/// Leaves a module alone for a while that always fails or is late again and again, so that it takes
/// nobody's time for nothing.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures_in_row: u32,
    /// Among the last records, of which there are `judged`.
    late: u32,
    judged: u32,
    until_ms: Option<u64>,
}

/// How a module did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It decided, or said that it cannot.
    Well,
    /// It trapped, or its answer made no sense.
    Wrong,
    /// It did not end within its deadline.
    Late,
}

/// So many records a module may fail at, one after the other.
const IN_ROW_MAX: u32 = 1_000;
/// Among so many records ...
const WINDOW: u32 = 1_000;
/// ... it may be late so often, less one. Each time costs two deadlines.
const LATE_MAX: u32 = 8;
/// Then it is left alone for so long.
const PAUSE_MS: u64 = 60_000;

impl Breaker {
    /// Whether the module is to be left alone.
    pub(super) fn is_open(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until| now_ms < until)
    }

    /// Takes note of a record; says why if the module is left alone from now on.
    pub(super) fn note(&mut self, went: Went, now_ms: u64) -> Option<&'static str> {
        self.failures_in_row = if went == Went::Well { 0 } else { self.failures_in_row + 1 };
        self.judged += 1;
        if self.judged > WINDOW {
            (self.judged, self.late) = (1, 0);
        }
        self.late += u32::from(went == Went::Late);
        if self.late >= LATE_MAX {
            return self.open("it is late again and again", now_ms);
        }
        if self.failures_in_row >= IN_ROW_MAX {
            return self.open("it fails at every message", now_ms);
        }
        None
    }

    /// Leaves the module alone from now on.
    pub(super) fn open(&mut self, why: &'static str, now_ms: u64) -> Option<&'static str> {
        *self = Self { until_ms: Some(now_ms + PAUSE_MS), ..Self::default() };
        Some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many records of these kinds, over and over, the module is left alone.
    fn opens_after(kinds: &[Went]) -> Option<usize> {
        let mut breaker = Breaker::default();
        let went = kinds.iter().cycle().take(10_000);
        went.enumerate().find_map(|(n, went)| breaker.note(*went, 5).map(|_| n + 1))
    }

    #[test]
    fn who_fails_now_and_then_goes_on() {
        use Went::{Late, Well, Wrong};
        assert_eq!(opens_after(&[Well]), None);
        assert_eq!(opens_after(&[Wrong, Wrong, Wrong, Well]), None);
        assert_eq!(opens_after(&[Wrong]), Some(1_000));
        assert_eq!(opens_after(&[Late]), Some(8));
        assert_eq!(opens_after(&[Late, Well]), Some(15));
        let rarely: Vec<Went> = (0..200).map(|n| if n == 0 { Late } else { Well }).collect();
        assert_eq!(opens_after(&rarely), None);
    }

    #[test]
    fn after_a_while_the_module_is_tried_again() {
        let mut breaker = Breaker::default();
        assert!(!breaker.is_open(0));
        breaker.open("no reason", 10);
        assert!(breaker.is_open(10) && breaker.is_open(60_009) && !breaker.is_open(60_010));
        assert_eq!(breaker.note(Went::Late, 60_010), None, "it begins anew");
    }
}
