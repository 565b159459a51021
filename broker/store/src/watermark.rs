use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millrace_types::PhysicalOffset;

/// How far the log is written, and how far it is durable. Shared between the writer, the flusher
/// and the readers; `appended ≥ durable` always (P1).
#[derive(Clone, Debug, Default)]
pub struct Watermarks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    appended: AtomicU64,
    durable: AtomicU64,
    poisoned: AtomicBool,
}

impl Watermarks {
    pub(crate) fn starting_at(end: PhysicalOffset) -> Self {
        Self(Arc::new(Inner {
            appended: AtomicU64::new(end.0),
            durable: AtomicU64::new(end.0),
            poisoned: AtomicBool::new(false),
        }))
    }

    /// Every byte before this is written and never changes again.
    pub fn appended(&self) -> PhysicalOffset {
        PhysicalOffset(self.0.appended.load(Ordering::Acquire))
    }

    /// Every byte before this survives a power cut.
    pub fn durable(&self) -> PhysicalOffset {
        PhysicalOffset(self.0.durable.load(Ordering::Acquire))
    }

    /// Whether a write or a flush has failed, after which nothing more is written.
    pub fn poisoned(&self) -> bool {
        self.0.poisoned.load(Ordering::Acquire)
    }

    pub(crate) fn raise_appended(&self, to: PhysicalOffset) {
        self.0.appended.store(to.0, Ordering::Release);
    }

    pub(crate) fn raise_durable(&self, to: PhysicalOffset) {
        self.0.durable.fetch_max(to.0, Ordering::Release);
    }

    pub(crate) fn poison(&self) {
        self.0.poisoned.store(true, Ordering::Release);
    }
}
