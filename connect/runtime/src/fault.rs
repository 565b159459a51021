//! Named points at which a test makes a run fail or the process die, and planted bugs, for tests
//! that must be able to fail. Without the feature `faults` all of it compiles to nothing.
//!
//! `MILLRACE_FAILPOINT=after-planned:2` kills the process the second time it comes by the point
//! `after-planned`; with `:error` behind it the run fails there instead. `MILLRACE_PLANT` names a
//! planted bug.

#[cfg(not(feature = "faults"))]
use crate::error::RunError;

/// COMMITTED is appended before the parts it covers are visible.
pub const OFFSET_BEFORE_RENAME: &str = "offset-before-rename";

/// A module's verdicts on a batch are taken for those on the next one.
pub const VERDICTS_OF_LAST_BATCH: &str = "verdicts-of-last-batch";

/// Whoever passes a message does not wait for its letter to be appended.
pub const LETTER_NOT_AWAITED: &str = "letter-not-awaited";

/// Every point, in the order in which a run comes by them, and then whoever drops letters.
pub const POINTS: &[&str] = &[
    "before-append",
    "after-append",
    "before-letters",
    "after-letters",
    "before-planned",
    "after-planned",
    "before-publish",
    "after-publish",
    "before-committed",
    "after-committed",
    "before-dropped",
    "after-dropped",
];

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn point(_name: &'static str) -> Result<(), RunError> {
    Ok(())
}

#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) fn planted(_bug: &str) -> bool {
    false
}

#[cfg(feature = "faults")]
pub use armed::plant;
#[cfg(feature = "faults")]
pub(crate) use armed::{planted, point};

#[cfg(feature = "faults")]
mod armed {
    use std::cell::Cell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::POINTS;
    use crate::error::RunError;

    struct Armed {
        point: String,
        at: u64,
        dies: bool,
    }

    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// What a test in this thread planted, where the environment would reach every test.
        static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// Comes by a point.
    pub(crate) fn point(name: &'static str) -> Result<(), RunError> {
        debug_assert!(POINTS.contains(&name), "`{name}` is not in the list of points");
        let armed = ARMED.get_or_init(|| parse(&std::env::var("MILLRACE_FAILPOINT").ok()?));
        let Some(armed) = armed.as_ref().filter(|armed| armed.point == name) else {
            return Ok(());
        };
        if PASSED.fetch_add(1, Ordering::Relaxed) + 1 != armed.at {
            return Ok(());
        }
        if armed.dies {
            eprintln!("failpoint `{name}`: aborting");
            std::process::abort();
        }
        Err(RunError::Failpoint(name))
    }

    /// Whether a bug is to show.
    pub(crate) fn planted(bug: &str) -> bool {
        static FROM_ENV: OnceLock<Option<String>> = OnceLock::new();
        let from_env = FROM_ENV.get_or_init(|| std::env::var("MILLRACE_PLANT").ok());
        from_env.as_deref() == Some(bug) || PLANTED.get() == Some(bug)
    }

    /// Plants a bug in this thread, or removes it.
    pub fn plant(bug: Option<&'static str>) {
        PLANTED.set(bug);
    }

    fn parse(text: &str) -> Option<Armed> {
        let mut parts = text.split(':');
        let point = parts.next().filter(|point| POINTS.contains(point));
        let at = parts.next().map_or(Some(1), |count| count.parse().ok());
        let dies = match parts.next() {
            None | Some("abort") => Some(true),
            Some("error") => Some(false),
            Some(_) => None,
        };
        match (point, at, dies) {
            (Some(point), Some(at), Some(dies)) => {
                Some(Armed { point: point.to_owned(), at, dies })
            }
            // A typo must not turn a crash test into one that passes.
            _ => panic!("MILLRACE_FAILPOINT: `{text}` is not name:count[:abort|error]"),
        }
    }
}
