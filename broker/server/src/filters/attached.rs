use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use millrace_engine::Verdicts;
use millrace_protocol::AttachedFilter;
use millrace_types::keys;
use millrace_types::record::Record;
use millrace_wasm_host::{self as wasm, Batch, Fault, Filter, Module, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{debug, error};

use super::breaker::{Breaker, Went};
use super::modules::{Modules, UnusableModule};
use super::place::Place;
use crate::clock::Clock;

/// A filter that is attached to something.
pub(crate) struct Attached {
    place: Place,
    terms: Terms,
    clock: Clock,
    modules: Arc<Modules>,
    /// The module, started; or why it cannot be. Made by the first who needs it.
    filter: OnceLock<Result<Filter, String>>,
    health: Mutex<Health>,
    /// From when on these count, milliseconds since the Unix epoch.
    counted_from_ms: i64,
    kept: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

/// What the log knows of an attached filter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Terms {
    /// Of the module.
    pub(super) sha256: String,
    /// What it calls itself.
    pub(super) name: String,
    pub(super) version: String,
    pub(super) params: serde_json::Map<String, Value>,
    pub(super) on_failure: OnFailure,
    pub(super) attached_at_ms: i64,
}

/// What becomes of a message that a filter fails at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OnFailure {
    /// It is given to the consumer: too much is better than too little.
    Deliver,
    Drop,
}

#[derive(Debug, Default)]
struct Health {
    breaker: Breaker,
    /// What the module did last that it should not.
    last_failure: Option<String>,
}

impl OnFailure {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "deliver" => Some(Self::Deliver),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Drop => "drop",
        }
    }
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts, numbers and JSON values are JSON")
    }
}

impl Attached {
    /// One of which the log knows; its module is compiled when it is needed.
    pub(super) fn waiting(
        place: Place,
        terms: Terms,
        clock: &Clock,
        modules: &Arc<Modules>,
    ) -> Self {
        Self {
            place,
            terms,
            clock: Arc::clone(clock),
            modules: Arc::clone(modules),
            filter: OnceLock::new(),
            health: Mutex::default(),
            counted_from_ms: clock().wall_ms,
            kept: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// A new one, whose module takes its parameters.
    pub(super) fn started(
        place: Place,
        terms: Terms,
        clock: &Clock,
        modules: &Arc<Modules>,
        module: Arc<Module>,
    ) -> Result<Self, UnusableModule> {
        let filter = Filter::start(module, terms.params.clone());
        let filter = filter.map_err(|error| UnusableModule::Unfit(error.to_string()))?;
        let attached = Self::waiting(place, terms, clock, modules);
        let _ = attached.filter.set(Ok(filter));
        Ok(attached)
    }

    pub(super) fn terms(&self) -> &Terms {
        &self.terms
    }

    /// For whoever makes figures of it: the group, the topic, and the messages kept, dropped, and
    /// failed at.
    pub(crate) fn figures(&self) -> (Option<&str>, Option<&str>, [u64; 3]) {
        let counts = [&self.kept, &self.dropped, &self.failed];
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        (self.place.group(), self.place.topic(), counts)
    }

    /// Whether it decides nothing at the moment.
    pub(crate) fn is_troubled(&self) -> bool {
        self.trouble(&self.health()).is_some()
    }

    pub(super) fn describe(&self) -> AttachedFilter {
        let (group, topic, [kept, dropped, failed]) = self.figures();
        let health = self.health();
        AttachedFilter {
            group: group.map(str::to_owned),
            topic: topic.map(str::to_owned),
            name: self.terms.name.clone(),
            version: self.terms.version.clone(),
            sha256: self.terms.sha256.clone(),
            params: Value::Object(self.terms.params.clone()).to_string(),
            on_failure: self.terms.on_failure.as_str().to_owned(),
            attached_at_ms: self.terms.attached_at_ms,
            counted_from_ms: self.counted_from_ms,
            kept,
            dropped,
            failed,
            trouble: self.trouble(&health),
            last_failure: health.last_failure.clone(),
        }
    }

    fn trouble(&self, health: &Health) -> Option<String> {
        if let Some(Err(reason)) = self.filter.get() {
            return Some(reason.clone());
        }
        let is_open = health.breaker.is_open(self.now_ms());
        is_open.then(|| {
            "it is left alone for a minute, because it failed or was late too often".to_owned()
        })
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The module, read, compiled and started by whoever needs it first.
    fn filter(&self) -> Result<&Filter, String> {
        let made = self.filter.get_or_init(|| {
            let module = self.modules.load(&self.terms.sha256).map_err(|error| error.to_string());
            let filter = module.and_then(|module| {
                let started = Filter::start(module, self.terms.params.clone());
                started.map_err(|error| error.to_string())
            });
            if let Err(reason) = &filter {
                error!(place = %self.place, error = reason, "an attached filter cannot be used");
            }
            filter
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Decides over some records of a batch, by their numbers; gives back those that there was no
    /// time for.
    fn judge(
        &self,
        filter: &Filter,
        batch: &[Record<'_>],
        rows: &[usize],
        keep: &mut [bool],
    ) -> Vec<usize> {
        let records: Vec<wasm::Record<'_>> = rows.iter().map(|row| record(&batch[*row])).collect();
        let first = &batch[rows[0]];
        let queue = i32::try_from(first.queue_id().0).unwrap_or(i32::MAX);
        let judged = filter.run(&Batch { topic: first.topic(), queue, records: &records });
        let decisions = match judged {
            Ok(decisions) => decisions,
            Err(error) => {
                let mut health = self.health();
                health.last_failure = Some(error.to_string());
                let why = health.breaker.open("it does not start again", self.now_ms());
                self.tell(why, &health);
                return rows.to_vec();
            }
        };
        let mut left = Vec::new();
        for (row, verdict) in rows.iter().zip(decisions.verdicts()) {
            let (count, kept, went) = match verdict {
                Verdict::Keep => (&self.kept, true, Went::Well),
                Verdict::Drop => (&self.dropped, false, Went::Well),
                Verdict::NotReached => {
                    left.push(*row);
                    continue;
                }
                // A module of kind `filter` replaces nothing; the host takes that for a fault.
                Verdict::Replace => (&self.failed, self.delivers(), Went::Wrong),
                Verdict::Failed(fault) => {
                    let offset = batch[*row].queue_offset();
                    debug!(place = %self.place, queue_offset = %offset, error = %fault, "a filter failed");
                    self.health().last_failure = Some(fault.to_string());
                    (&self.failed, self.delivers(), went(fault))
                }
            };
            count.fetch_add(1, Ordering::Relaxed);
            keep[*row] = kept;
            let mut health = self.health();
            let why = health.breaker.note(went, self.now_ms());
            self.tell(why, &health);
        }
        left
    }

    fn now_ms(&self) -> u64 {
        (self.clock)().mono_ms
    }

    fn delivers(&self) -> bool {
        self.terms.on_failure == OnFailure::Deliver
    }

    /// Logs that the module is left alone from now on.
    fn tell(&self, why: Option<&str>, health: &Health) {
        if let Some(why) = why {
            let error = health.last_failure.as_deref().unwrap_or_default();
            let (filter, on_failure) = (&*self.terms.name, self.terms.on_failure.as_str());
            error!(
                place = %self.place, filter, why, error, on_failure,
                "a filter is left alone for a minute; messages are not judged"
            );
        }
    }
}

fn went(fault: &Fault) -> Went {
    match fault {
        Fault::Refused(_) => Went::Well,
        Fault::Trap(_) | Fault::Contract(_) => Went::Wrong,
        Fault::Deadline { .. } => Went::Late,
    }
}

impl Verdicts for Attached {
    fn verdicts(&self, batch: &[Record<'_>], keep: &mut [bool]) {
        let mut rows: Vec<usize> = (0..batch.len()).filter(|row| keep[*row]).collect();
        while !rows.is_empty() {
            let is_open = self.health().breaker.is_open(self.now_ms());
            match self.filter() {
                Ok(filter) if !is_open => rows = self.judge(filter, batch, &rows, keep),
                _ => {
                    self.failed.fetch_add(rows.len() as u64, Ordering::Relaxed);
                    rows.drain(..).for_each(|row| keep[row] = self.delivers());
                }
            }
        }
    }

    fn takes_long(&self) -> bool {
        true
    }

    fn prepare(&self) -> Result<(), String> {
        self.filter().map(drop).map_err(|reason| {
            format!("the filter attached to {} cannot be used: {reason}", self.place)
        })
    }
}

/// A message as a module sees it.
fn record<'a>(message: &Record<'a>) -> wasm::Record<'a> {
    let properties = message.properties();
    let [tag, key] = properties.pick([keys::TAGS, keys::KEYS]);
    wasm::Record {
        queue_offset: message.queue_offset().to_wire(),
        store_at_ms: message.store_at_ms(),
        key: key.map(str::as_bytes),
        body: message.body(),
        properties: properties.as_bytes(),
        sys_flags: message.sys_flag(),
        tag_hash: tag.map_or(0, |tag| millrace_types::java_hash(tag) as u32),
    }
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("place", &self.place)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
