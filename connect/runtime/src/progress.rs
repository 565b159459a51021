use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::Serialize;

/// What a run did so far, or altogether.
///
/// Counts are of this run alone: what an earlier run committed is not in them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The pipeline.
    pub pipeline: String,
    /// The source, if the pipeline has one.
    pub source: Option<SourceProgress>,
    /// By sink.
    pub sinks: BTreeMap<String, SinkProgress>,
    /// Whether every record is accounted for: each came out of every part of the run exactly once,
    /// one way or another. Always so once a run is over; while it goes on, records on their way
    /// are counted as read only.
    pub balanced: bool,
}

/// What became of the source's records: `read = appended + skipped + dead letters`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SourceProgress {
    /// Records that the source gave.
    pub read: u64,
    /// Of these, messages in the topic now.
    pub appended: u64,
    /// Of these, already there from before a restart, as messages or as dead letters.
    pub skipped: u64,
    /// Of these, dead letters, by code.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Bytes of the bodies appended.
    pub bytes: u64,
    /// Whether the source has no more to give.
    pub ended: bool,
}

/// What became of the messages that a sink read:
/// `read + made = filtered + written + skipped + dead letters + lettered before`.
///
/// A message is one row until a step makes several of it: *n* rows of one message are `n - 1` in
/// `made`. From there on each row has a fate of its own. A message of which no row comes counts as
/// filtered, or is one dead letter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SinkProgress {
    /// Messages read.
    pub read: u64,
    /// Rows that steps made of them, beyond one for each.
    pub made: u64,
    /// Taken out by steps on purpose, by step and reason.
    pub filtered: BTreeMap<String, u64>,
    /// Rows in parts, visible or still open, but for those that the destination refused.
    pub written: u64,
    /// Rows that were visible before a restart already.
    pub skipped: u64,
    /// Dead letters, by code.
    pub dead_lettered: BTreeMap<String, u64>,
    /// Messages that were dead letters before a restart already.
    pub lettered_before: u64,
    /// Files made visible.
    pub files: u64,
    /// Bulks that a destination took, of a sink that makes no files.
    pub bulks: u64,
    /// Rows in them, and rows of a sink that makes neither.
    pub visible_rows: u64,
    /// Of these, rows that an earlier run wrote, in parts that it planned and this one finished.
    pub recovered_rows: u64,
    /// Bytes of them.
    pub visible_bytes: u64,
    /// Messages that were lost before the sink was given them, and passed over.
    pub lost: u64,
    /// Messages in the topic that were not read yet when it was last looked at.
    pub lag: u64,
}

impl Summary {
    fn is_balanced(&self) -> bool {
        self.source.as_ref().is_none_or(SourceProgress::is_balanced)
            && self.sinks.values().all(SinkProgress::is_balanced)
    }
}

impl SourceProgress {
    fn is_balanced(&self) -> bool {
        self.read == self.appended + self.skipped + sum(&self.dead_lettered)
    }
}

impl SinkProgress {
    /// Rows that were written and that nobody sees yet: in parts that are still open, or that could
    /// not be finished.
    pub fn unseen_rows(&self) -> u64 {
        self.written.saturating_sub(self.visible_rows.saturating_sub(self.recovered_rows))
    }

    fn is_balanced(&self) -> bool {
        let out = sum(&self.filtered) + self.written + self.skipped;
        self.read + self.made == out + sum(&self.dead_lettered) + self.lettered_before
    }
}

fn sum(counts: &BTreeMap<String, u64>) -> u64 {
    counts.values().sum()
}

/// The summary while it grows, shared by the parts of a run and those who watch it.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Summary>>);

impl Progress {
    pub(crate) fn new(pipeline: &str) -> Self {
        let pipeline = pipeline.to_owned();
        Self(Arc::new(Mutex::new(Summary { pipeline, ..Summary::default() })))
    }

    pub(crate) fn snapshot(&self) -> Summary {
        let mut summary = self.lock().clone();
        summary.balanced = summary.is_balanced();
        summary
    }

    pub(crate) fn source(&self, update: impl FnOnce(&mut SourceProgress)) {
        update(self.lock().source.get_or_insert_default());
    }

    pub(crate) fn sink(&self, name: &str, update: impl FnOnce(&mut SinkProgress)) {
        let mut summary = self.lock();
        match summary.sinks.get_mut(name) {
            Some(sink) => update(sink),
            None => update(summary.sinks.entry(name.to_owned()).or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Summary> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

/// Adds one to the count of a code.
pub(crate) fn count(counts: &mut BTreeMap<String, u64>, code: &str) {
    match counts.get_mut(code) {
        Some(count) => *count += 1,
        None => {
            counts.insert(code.to_owned(), 1);
        }
    }
}
