/// What peers have given up and the allocator keeps.
///
/// Answers that nobody takes are made of a great many pieces of 64 KiB. When they are freed, the C
/// library keeps them for the next ones, all of them and for good: they lie below something that is
/// still in use. So once much less is held than before, it is told to give them back. That takes a
/// tenth of a second for some 400 MB, and locks that other threads may want, and whoever needs as
/// much again has to get it from the system anew; so it happens only after a whole period in which
/// it was not needed, and never where a load is steady, however much comes and goes in it.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// The most that was held since memory was last given back, or is about to be.
    most: usize,
    /// The most that was held in this period.
    recent: usize,
}

/// Less than this is not worth the effort.
const FREED_BYTES_MIN: usize = 64 << 20;

impl Heap {
    /// So many bytes are held now.
    pub(super) fn note(&mut self, held: usize) {
        self.recent = self.recent.max(held);
    }

    /// A period is over, at the end of which so many bytes are held. If what was freed before it is
    /// much, it is to be given back; if `give_back` cannot do so now, it is asked again.
    pub(super) fn on_tick(&mut self, held: usize, give_back: impl FnOnce() -> bool) {
        let recent = std::mem::replace(&mut self.recent, held);
        let is_much = self.most.saturating_sub(recent) >= FREED_BYTES_MIN;
        self.most = if is_much && give_back() { recent } else { self.most.max(recent) };
    }
}

/// Gives the system back what is free, of all threads. Waits for nobody but the allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "the C library's own function, which nothing safe wraps")]
pub(super) fn give_back() {
    // SAFETY: it may be called by any thread at any time, and touches no memory that is in use.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are not known to keep it.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: usize = 1 << 20;

    /// What is held at the most in each period, and at its end; tells in which of them, counted from
    /// 0, memory is given back.
    #[track_caller]
    fn check(periods: &[(usize, usize)], expected: &[usize]) {
        let mut heap = Heap::default();
        let mut given_back = Vec::new();
        for (n, (most, end)) in periods.iter().enumerate() {
            heap.note(most * MB);
            heap.note(end * MB);
            heap.on_tick(end * MB, || {
                given_back.push(n);
                true
            });
        }
        assert_eq!(given_back, expected, "{periods:?}");
    }

    #[test]
    fn what_was_freed_is_given_back_once_it_was_not_needed_for_a_period() {
        check(&[(575, 0), (0, 0), (0, 0)], &[1]);
        check(&[(575, 575), (575, 300), (300, 100), (100, 0), (0, 0), (0, 0)], &[2, 3, 4]);
    }

    #[test]
    fn little_by_little_it_is_much() {
        check(&[(100, 80), (80, 60), (60, 40), (40, 30), (30, 30)], &[4]);
    }

    #[test]
    fn a_steady_load_costs_nothing() {
        check(&[(500, 0), (500, 0), (480, 0), (500, 400), (500, 0)], &[]);
        check(&[(60, 0), (0, 0), (60, 0), (0, 0)], &[]);
    }

    #[test]
    fn what_cannot_be_given_back_yet_is_given_back_later() {
        let mut heap = Heap::default();
        heap.note(500 * MB);
        heap.on_tick(0, || unreachable!("it was needed a moment ago"));
        let mut asked = 0;
        for can in [false, true] {
            heap.on_tick(0, || {
                asked += 1;
                can
            });
        }
        heap.on_tick(0, || unreachable!("it is given back"));
        assert_eq!(asked, 2);
    }
}
