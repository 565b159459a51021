use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::span::{Attributes, Id, Record as Fields};
use tracing::{Event, Metadata, Subscriber};

use super::text::LOG;
use super::*;

/// Counts events.
struct Counting(Arc<AtomicUsize>);

impl Subscriber for Counting {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Fields<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("millrace_wasm_host") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// How many lines the log has after one run over these bodies.
fn lines(filter: &Filter, bodies: &[&str]) -> usize {
    let lines = Arc::new(AtomicUsize::new(0));
    tracing::subscriber::with_default(Counting(Arc::clone(&lines)), || run(filter, bodies));
    lines.load(Ordering::Relaxed)
}

/// Logs a line, then does something.
fn saying(then: &str) -> Filter {
    let says = format!("(call $log (i32.const 1) (i32.const 1024) (i32.const 4)) {then}");
    started(&filter_with(LOG, "(data (i32.const 1024) \"oh!!\")", &says))
}

#[test]
fn a_line_of_a_record_that_fails_is_logged_once() {
    let filter = saying("unreachable");
    assert_eq!(lines(&filter, &["x"]), 1);
    assert_eq!(lines(&filter, &["k", "x", "k"]), 1);
    // In an instance that has seen others.
    assert_eq!(lines(&filter, &["k"]), 0);
    assert_eq!(lines(&filter, &["x"]), 1);
    assert_eq!(lines(&filter, &["x", "k", "x"]), 2);
}

#[test]
fn a_line_of_a_record_that_goes_on_is_logged_once() {
    assert_eq!(lines(&saying(""), &["x", "k"]), 1);
}
