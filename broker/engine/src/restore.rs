//! From the log and its snapshots to the broker's state.
//!
//! The records of `MILLRACE_META` from the last snapshot on are the state, wherever that snapshot
//! comes from: a file, or the log itself. All of these records have to be there. If one is damaged,
//! a later snapshot may know what it said; only if none does, the start is refused.

use std::path::PathBuf;

use millrace_store::{QueueNo, Snapshot};
use millrace_types::record::{self, Record};
use millrace_types::{GroupName, PhysicalOffset, QueueId, QueueOffset, TopicName, is_system_topic};
use tracing::warn;

use crate::engine::{Engine, OpenEngineError};
use crate::holds::LedgerHolds;
use crate::retention::Retention;
use crate::settings::Settings;
use crate::state::{Forgone, GroupOffsets, LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::topics::{Permission, Topic, Topics};
use crate::transactions::Transactions;

/// What to do about records of the broker's own state that nothing can replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostState {
    /// Do not start.
    Refuse,
    /// Go on with what is left, and append that as the whole state.
    GoOn,
}

/// Records of the broker's own state that are damaged, and that no snapshot knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateGap {
    /// The system topic.
    pub topic: &'static str,
    /// Its queue.
    pub queue: QueueId,
    /// The first offset.
    pub from: QueueOffset,
    /// How many records there are.
    pub records: u64,
    /// The segment in which they were.
    pub file: PathBuf,
}

impl StateGap {
    fn end(&self) -> QueueOffset {
        self.from + self.records
    }

    /// What is left of it from an offset on.
    fn from(self, at: QueueOffset) -> Option<Self> {
        let from = self.from.max(at);
        let records = self.end().0.saturating_sub(from.0);
        (records > 0).then_some(Self { from, records, ..self })
    }
}

/// A place from which the state can be read, and what it was there.
struct Start {
    from: QueueOffset,
    base: Option<StateRecord>,
}

impl Engine {
    /// Takes the state in from snapshots and log.
    pub(crate) fn restore(&mut self) -> Result<(), OpenEngineError> {
        let snapshots = self.store.take_snapshots();
        let mut gaps = self.restore_meta(&snapshots);
        self.add_unknown_topics(gaps.is_empty());
        gaps.extend(self.restore_epochs());
        self.deletions.prune(self.store.log_min());
        if !gaps.is_empty() && self.config.lost_state == LostState::Refuse {
            return Err(OpenEngineError::StateLost(gaps));
        }
        self.store.state_was_read();
        for gap in gaps.iter().filter(|gap| gap.topic == LEDGER_TOPIC) {
            self.forgone.raise(gap.queue, gap.end());
        }
        // Which offsets are left out where messages were lost is not in the log yet.
        if !gaps.is_empty() || self.store.was_damaged() {
            // The sooner what is left is whole again, the better.
            self.state_log.bytes_since = u64::MAX / 2;
        }
        self.gaps = gaps;
        Ok(())
    }

    /// Takes in `MILLRACE_META`; answers what of it is lost.
    fn restore_meta(&mut self, snapshots: &[Snapshot]) -> Vec<StateGap> {
        let meta = self.meta_queue();
        let mut lost = Vec::new();
        let mut least = None;
        for start in self.starts(meta, snapshots) {
            let (records, gaps) = self.read_state(meta, (META_TOPIC, QueueId(0)), start.from);
            let whole = gaps.is_empty();
            self.state_records_read += records.len() as u64;
            let records: Vec<_> = start.base.into_iter().chain(records).collect();
            if whole {
                (least, lost) = (Some(records), gaps);
                break;
            }
            // The newest start knows most.
            if least.is_none() {
                (least, lost) = (Some(records), gaps);
            }
        }
        for record in least.unwrap_or_default() {
            self.apply(record);
        }
        lost
    }

    /// Where the state can be read from, the shortest way first.
    fn starts(&self, meta: QueueNo, snapshots: &[Snapshot]) -> Vec<Start> {
        let bounds = self.store.bounds(meta);
        let mut starts = Vec::new();
        for snapshot in snapshots {
            let within = bounds.min <= snapshot.next && snapshot.next <= bounds.end;
            match serde_json::from_slice(&snapshot.body) {
                Ok(base) if within => {
                    starts.push(Start { from: snapshot.next, base: Some(base) });
                }
                Ok(_) => {}
                Err(error) => {
                    let path = snapshot.path.display();
                    warn!(%path, error = %error, "state snapshot passed over");
                }
            }
        }
        starts.extend(self.state_start(meta).map(|from| Start { from, base: None }));
        starts.sort_by_key(|start| std::cmp::Reverse(start.from));
        // The log as far as it goes back: all of it, unless something was removed.
        starts.push(Start { from: bounds.min, base: None });
        starts
    }

    /// The state records of a queue from `from` on, and what is lost of them.
    fn read_state(
        &self,
        no: QueueNo,
        name: (&'static str, QueueId),
        from: QueueOffset,
    ) -> (Vec<StateRecord>, Vec<StateGap>) {
        let mut records = Vec::new();
        let gaps = self.replay(no, name, from, &mut |record| match serde_json::from_slice::<
            StateRecord,
        >(record.body())
        {
            Ok(change) => records.push(change),
            Err(error) => warn!(
                error = %error, queue_offset = %record.queue_offset(),
                "state record passed over",
            ),
        });
        (records, gaps)
    }

    /// Hands every message of a queue from `from` on to `each`, in order; answers which are lost.
    fn replay(
        &self,
        no: QueueNo,
        (topic, queue): (&'static str, QueueId),
        from: QueueOffset,
        each: &mut dyn FnMut(&Record<'_>),
    ) -> Vec<StateGap> {
        let reader = self.store.reader();
        let mut gaps: Vec<StateGap> = Vec::new();
        let mut lose = |at: QueueOffset| match gaps.last_mut() {
            Some(last) if last.from + last.records == at => last.records += 1,
            _ => {
                let file = self.store.segment_near(no, at);
                gaps.push(StateGap { topic, queue, from: at, records: 1, file });
            }
        };
        let mut next = from;
        loop {
            let plan = self.store.plan(no, next, 4096, 4 << 20, self.store.watermarks().appended());
            if plan.entries.is_empty() {
                return gaps;
            }
            let whole = plan.entries.iter().all(|entry| entry.size > 0);
            match reader.read(&plan.entries) {
                Ok(runs) if whole => {
                    for run in runs {
                        record::iter(&run).filter_map(Result::ok).for_each(|record| each(&record));
                    }
                }
                _ => {
                    for (n, entry) in plan.entries.iter().enumerate() {
                        let read = reader.read(std::slice::from_ref(entry));
                        match read.ok().and_then(|mut runs| runs.pop()) {
                            Some(run) => {
                                record::iter(&run).filter_map(Result::ok).for_each(|r| each(&r))
                            }
                            None => lose(next + n as u64),
                        }
                    }
                }
            }
            next = plan.next();
        }
    }

    /// Queues with messages but without a topic record: written by something older than it, or the
    /// record is lost. A topic whose record is there may have had more queues once.
    fn add_unknown_topics(&mut self, is_whole: bool) {
        let mut unknown: Vec<(TopicName, u32)> = Vec::new();
        for (topic, queue, no) in self.store.queues() {
            let known = self.topics.get(topic.as_str());
            let is_own = is_system_topic(topic);
            let known = known.is_some_and(|t| queue.0 < t.read_queues || (is_whole && !is_own));
            let bounds = self.store.bounds(no);
            match unknown.iter_mut().find(|(name, _)| name == topic) {
                Some((_, queues)) => *queues = (*queues).max(queue.0 + 1),
                None if !known && (is_own || bounds.min < bounds.end) => {
                    unknown.push((topic.clone(), queue.0 + 1));
                }
                None => {}
            }
        }
        for (name, queues) in unknown {
            let known = self.topics.get(name.as_str());
            let permission = known.map_or(Permission::ALL, |topic| topic.permission);
            let order = known.is_some_and(|topic| topic.order);
            let topic =
                Topic { name, read_queues: queues, write_queues: queues, permission, order };
            self.put_topic(topic);
        }
    }

    /// Takes in the epochs of the ledgers; answers which of their records are lost.
    fn restore_epochs(&mut self) -> Vec<StateGap> {
        let queues = self.store.queues();
        let ledgers: Vec<(QueueNo, QueueId)> = queues
            .filter(|(topic, _, _)| topic.as_str() == LEDGER_TOPIC)
            .map(|(_, queue, no)| (no, queue))
            .collect();
        let mut lost = Vec::new();
        for (no, queue) in ledgers {
            let start = self.state_start(no).unwrap_or(self.store.bounds(no).min);
            let mut epochs = std::mem::take(&mut self.epochs);
            let mut holds = std::mem::take(&mut self.ledger_holds);
            let gaps = self.replay(no, (LEDGER_TOPIC, queue), start, &mut |record| {
                epochs.observe(no, record.properties());
                holds.observe(queue, record.properties());
            });
            let below = self.forgone.below(queue);
            lost.extend(gaps.into_iter().filter_map(|gap| gap.from(below)));
            (self.epochs, self.ledger_holds) = (epochs, holds);
        }
        lost
    }

    pub(crate) fn apply(&mut self, record: StateRecord) {
        match record {
            StateRecord::Snapshot(records) => {
                self.topics = Topics::default();
                self.groups = GroupOffsets::default();
                self.settings = Settings::default();
                self.ledger_holds = LedgerHolds::default();
                self.forgone = Forgone::default();
                self.retention = Retention::default();
                self.transactions = Transactions::default();
                records.into_iter().for_each(|record| self.apply(record));
            }
            StateRecord::Batch(records) => records.into_iter().for_each(|r| self.apply(r)),
            StateRecord::Topic { name, read_queues, write_queues, perm, order } => {
                if let Ok(name) = TopicName::parse(&name) {
                    let permission = Permission::from_bits(perm);
                    self.put_topic(Topic { name, read_queues, write_queues, permission, order });
                }
            }
            StateRecord::Setting { space, key, value } => self.settings.put(space, key, value),
            StateRecord::Deleted { topic, below } => {
                if let Ok(name) = TopicName::parse(&topic) {
                    self.forget_topic(&name, PhysicalOffset(below));
                }
            }
            StateRecord::Begins { topic, queues } => {
                if let Ok(name) = TopicName::parse(&topic) {
                    self.deletions.put_begins(name, queues);
                }
            }
            StateRecord::Queue { topic, queue, next } => {
                if let Ok(topic) = TopicName::parse(&topic) {
                    let no = self.store.queue(&topic, QueueId(queue));
                    self.store.raise_end(no, QueueOffset(next));
                }
            }
            StateRecord::Epoch { queue, epoch } => {
                let topic = TopicName::parse(LEDGER_TOPIC).expect("a legal name");
                let no = self.store.queue(&topic, QueueId(queue));
                self.epochs.raise(no, epoch);
            }
            StateRecord::Forgone { queue, below } => {
                self.forgone.raise(QueueId(queue), QueueOffset(below));
            }
            StateRecord::Hold { ledger, name, places } => {
                self.ledger_holds.put(ledger, name, places);
            }
            StateRecord::Clock { ms, sealed } => self.retention.take_clock(ms, &sealed),
            StateRecord::Lost(loss) => self.retention.lose(loss),
            StateRecord::Halves { until, open } => self.transactions.take_halves(until, &open),
            StateRecord::Decided { half } => self.transactions.take_decided(QueueOffset(half)),
            StateRecord::Checked { half, checks } => {
                self.transactions.take_checked(QueueOffset(half), checks);
            }
            StateRecord::Offset { group, topic, queue, offset } => {
                if let (Ok(group), Ok(topic)) = (GroupName::parse(&group), TopicName::parse(&topic))
                {
                    self.groups.put(&group, &topic, QueueId(queue), QueueOffset(offset));
                }
            }
        }
    }

    pub(crate) fn put_topic(&mut self, topic: Topic) {
        let queues = (0..topic.read_queues.max(topic.write_queues)).map(QueueId);
        let numbers: Vec<_> = queues.map(|queue| self.store.queue(&topic.name, queue)).collect();
        self.delays.set_queues(topic.name.as_str(), &numbers);
        self.topics.put(topic, numbers);
    }
}
