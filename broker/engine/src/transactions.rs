//! Transactions: messages that nobody sees before their producer has decided over them.
//!
//! A half message is stored in the topic `RMQ_SYS_TRANS_HALF_TOPIC`. It carries the topic and queue
//! it is for as properties, as in RocketMQ, and is named by its offset there. To commit, a copy is
//! appended to that queue, and in the same group a state record that the half message is decided;
//! to roll back, the state record alone. A crash keeps both or neither, and the first decision is
//! the last: a second one finds nothing to decide over.
//!
//! A half message over which nobody has decided for a while is *checked*: the shell asks a producer
//! of its group. Only questions that could be sent count. After so many of them without an answer,
//! or once it is as old as messages get, it is parked in `TRANS_CHECK_MAX_TIME_TOPIC`, where an
//! operator sees it. Neither moves it: checks are counted by state records, so they cost no copies.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_store::ReadError;
use millrace_types::record::{PROPERTIES_BYTES_MAX, Record, sys_flag};
use millrace_types::{Now, PhysicalOffset, Properties, QueueId, QueueOffset, TopicName, keys};
use tracing::{debug, error, warn};

use crate::answer::{Answer, Check, Out, Places, Refusal};
use crate::appends::draft;
use crate::deliveries::copy;
use crate::engine::Engine;
use crate::reads::Reader;
use crate::request::{Append, Caller, Decision, Delay, EndTransaction, Origin, Ticket, Wait};
use crate::state::StateRecord;
use crate::topics::{Permission, Topic};

/// The topic of half messages. One queue, which no client reads.
pub const HALF_TOPIC: &str = "RMQ_SYS_TRANS_HALF_TOPIC";
/// The topic of half messages over which nobody decides. One queue.
pub const PARKED_TOPIC: &str = "TRANS_CHECK_MAX_TIME_TOPIC";

/// How transactions are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// Whether half messages are taken. (The opposite of `rejectTransactionMessage`)
    pub accepted: bool,
    /// How long a producer may take to decide before it is asked, ms, unless the message says
    /// otherwise. (`transactionTimeOut`)
    pub first_check_ms: u64,
    /// How long after a question the next one comes, ms. (`transactionCheckInterval`)
    pub check_every_ms: u64,
    /// After so many questions the message is parked. (`transactionCheckMax`)
    pub checks_max: u32,
    /// Half messages that wait for a decision, at most; about 100 B each.
    pub open_max: usize,
}

impl Default for TransactionConfig {
    fn default() -> Self {
        Self {
            accepted: true,
            first_check_ms: 6_000,
            check_every_ms: 30_000,
            checks_max: 15,
            open_max: 1_000_000,
        }
    }
}

/// Half messages read for checks in one tick, at most.
const CHECKS_AT_ONCE: usize = 64;
/// Half messages in one state record, at most.
const RECORD_HALVES: usize = 1_000;

/// Which half messages wait for a decision. (In RocketMQ the topics of half and op messages, and
/// what `TransactionalMessageServiceImpl` makes of them.)
#[derive(Debug, Default)]
pub(crate) struct Transactions {
    open: BTreeMap<QueueOffset, Open>,
    /// When to ask about each, by the monotonic clock.
    due: BTreeSet<(u64, QueueOffset)>,
    /// Half messages of before the start; their time begins with the first tick.
    restored: Vec<QueueOffset>,
    /// While the state is taken in: the half messages before this offset that are not in `open` are
    /// decided, of later ones those in `decided`.
    until: QueueOffset,
    decided: BTreeSet<QueueOffset>,
    pub(crate) committed: u64,
    pub(crate) rolled_back: u64,
}

#[derive(Debug, Default)]
struct Open {
    /// Questions asked so far.
    checks: u32,
    due_ms: u64,
    /// The message is being read because somebody has decided.
    deciding: bool,
}

/// A decision whose half message is being read.
#[derive(Debug)]
pub(crate) struct Deciding {
    ticket: Ticket,
    group: String,
    half: QueueOffset,
    at: PhysicalOffset,
    decision: Decision,
}

impl Transactions {
    /// Those that wait for a decision.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// The oldest of them.
    pub(crate) fn first(&self) -> Option<QueueOffset> {
        self.open.keys().next().copied()
    }

    /// When to ask next.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let restored = (!self.restored.is_empty()).then_some(0);
        restored.or_else(|| self.due.first().map(|(due_ms, _)| *due_ms))
    }

    fn begin(&mut self, half: QueueOffset, due_ms: u64) {
        self.open.insert(half, Open { due_ms, ..Open::default() });
        self.due.insert((due_ms, half));
    }

    fn ask_at(&mut self, half: QueueOffset, due_ms: u64) {
        if let Some(open) = self.open.get_mut(&half) {
            self.due.remove(&(open.due_ms, half));
            open.due_ms = due_ms;
            self.due.insert((due_ms, half));
        }
    }

    /// Takes the next one to ask about, and has it asked about again after a while.
    fn next_due(&mut self, now_ms: u64, again_ms: u64) -> Option<QueueOffset> {
        let (_, half) = *self.due.first().filter(|(due_ms, _)| *due_ms <= now_ms)?;
        self.ask_at(half, now_ms + again_ms);
        Some(half)
    }

    fn close(&mut self, half: QueueOffset) {
        if let Some(open) = self.open.remove(&half) {
            self.due.remove(&(open.due_ms, half));
        }
    }

    /// The state record [`StateRecord::Halves`].
    pub(crate) fn take_halves(&mut self, until: u64, open: &[(u64, u32)]) {
        self.until = self.until.max(QueueOffset(until));
        for &(half, checks) in open {
            self.open.insert(QueueOffset(half), Open { checks, ..Open::default() });
        }
    }

    /// The state record [`StateRecord::Decided`].
    pub(crate) fn take_decided(&mut self, half: QueueOffset) {
        self.open.remove(&half);
        if half >= self.until {
            self.decided.insert(half);
        }
    }

    /// The state record [`StateRecord::Checked`].
    pub(crate) fn take_checked(&mut self, half: QueueOffset, checks: u32) {
        if !self.decided.contains(&half) {
            self.open.entry(half).or_default().checks = checks;
        }
    }

    /// The state has been taken in, and the half messages lie from `min` to before `end`.
    pub(crate) fn resume(&mut self, min: QueueOffset, end: QueueOffset) {
        let decided = std::mem::take(&mut self.decided);
        for half in (self.until.max(min).0..end.0).map(QueueOffset) {
            if !decided.contains(&half) {
                self.open.entry(half).or_default();
            }
        }
        self.restored = self.open.keys().copied().collect();
    }

    /// The oldest one that would be open after [`Transactions::resume`], if the half messages end
    /// before `end`.
    pub(crate) fn first_open(&self, end: QueueOffset) -> Option<QueueOffset> {
        let later = (self.until.0..end.0).map(QueueOffset);
        let later = later.into_iter().find(|half| !self.decided.contains(half));
        self.first().into_iter().chain(later).min()
    }

    /// What a later start has to know; the half messages end before `end`.
    pub(crate) fn records(&self, end: QueueOffset) -> Vec<StateRecord> {
        let open: Vec<_> = self.open.iter().map(|(half, open)| (half.0, open.checks)).collect();
        let until = end.0;
        if open.is_empty() && until > 0 {
            return vec![StateRecord::Halves { until, open }];
        }
        let parts = open.chunks(RECORD_HALVES);
        parts.map(|open| StateRecord::Halves { until, open: open.to_vec() }).collect()
    }
}

impl Engine {
    /// Half messages that wait for a decision.
    pub fn half_messages(&self) -> usize {
        self.transactions.len()
    }

    /// Transactions that were committed and rolled back since the start.
    pub fn decided_transactions(&self) -> (u64, u64) {
        (self.transactions.committed, self.transactions.rolled_back)
    }

    /// Stores a half message.
    pub(crate) fn prepare(
        &mut self,
        now: Now,
        caller: &Caller,
        ticket: Ticket,
        append: &Append<'_>,
    ) -> Result<Option<Answer>, Refusal> {
        let [message] = append.messages else {
            return Err(Refusal::IllegalMessage("a transaction has one message".into()));
        };
        let TransactionConfig { accepted, open_max, first_check_ms, .. } = self.config.transactions;
        if !accepted {
            return Err(Refusal::NoTransactions);
        }
        if self.transactions.len() >= open_max {
            return Err(Refusal::NoRoom { what: "half messages", max: open_max });
        }
        self.check_room(append)?;
        if append.origin == Origin::Producer {
            self.check_disk_keeps_up()?;
        }
        self.check(message)?;
        let (_, queue) = self.target(now, message, append)?;
        let id = queue.to_string();
        let home = [(keys::REAL_TOPIC, Some(message.topic)), (keys::REAL_QUEUE, Some(&*id))];
        let asked = Properties::new(message.properties);
        let properties = asked.with(&home);
        let bytes = properties.as_bytes().len();
        if bytes > PROPERTIES_BYTES_MAX {
            return Err(Refusal::IllegalMessage(format!(
                "the properties of the half message have {bytes} bytes, more than the \
                 {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        let half_queue = self.own_queue(now, HALF_TOPIC)?;
        let mut half = draft(message, QueueId(0), caller);
        (half.topic, half.properties) = (HALF_TOPIC, properties.as_bytes());
        half.sys_flag &= !sys_flag::TRANSACTION_MASK;
        let mut placed = Vec::with_capacity(1);
        self.stage(now, &[(half_queue, half)], &mut placed)?;
        let placed = placed.pop().expect("one draft has one place");
        let first_check_ms = immunity_ms(asked).unwrap_or(first_check_ms);
        self.note_stored(now, placed.physical_offset);
        self.transactions.begin(placed.queue_offset, now.mono_ms.saturating_add(first_check_ms));
        let places = Places::One((queue, placed));
        self.answer_when_stored(now, ticket, append.wait, Answer::Appended(places));
        Ok(None)
    }

    /// Takes a producer's decision; the half message is read before anything is done.
    pub(crate) fn end_transaction(
        &mut self,
        ticket: Ticket,
        end: &EndTransaction<'_>,
        out: &mut Out,
    ) -> Result<Option<Answer>, Refusal> {
        let none = Refusal::NoTransaction("Find prepared transaction message failed");
        let queue = self.topics.queue(HALF_TOPIC, QueueId(0)).ok_or(none.clone())?;
        let open = self.transactions.open.get_mut(&end.half);
        let open = open.filter(|open| !open.deciding).ok_or(none.clone())?;
        // Its producer has been told of it, so it is written, but it need not be durable yet.
        let appended = self.store.watermarks().appended();
        let entries = self.store.plan(queue, end.half, 1, u64::MAX, appended).entries;
        match entries.first() {
            Some(entry) if entry.physical_offset == end.at => {}
            Some(_) => return Err(Refusal::NoTransaction("The commit log offset wrong")),
            None => return Err(none),
        }
        open.deciding = true;
        let deciding = Deciding {
            ticket,
            group: end.group.to_owned(),
            half: end.half,
            at: end.at,
            decision: end.decision,
        };
        out.reads.push(self.reads.entries(Reader::Decision(deciding), entries));
        Ok(None)
    }

    /// The half message of a decision was read, or could not be.
    pub(crate) fn decide(
        &mut self,
        now: Now,
        deciding: &Deciding,
        found: Result<Vec<Bytes>, ReadError>,
        out: &mut Out,
    ) {
        if let Some(open) = self.transactions.open.get_mut(&deciding.half) {
            open.deciding = false;
        }
        let done = match one_record(&found) {
            Ok(record) => self.carry_out(now, deciding, &record),
            Err(reason) => {
                warn!(half = %deciding.half, reason, "a half message cannot be read");
                Err(Refusal::NoMessage(deciding.at))
            }
        };
        match done {
            Ok(()) => self.answer_when_stored(now, deciding.ticket, Wait::Policy, Answer::Done),
            Err(refusal) => {
                // Most producers do not wait for this answer.
                debug!(half = %deciding.half, error = %refusal, "a transaction is not decided");
                out.push(deciding.ticket, Answer::Refused(refusal));
            }
        }
    }

    fn carry_out(
        &mut self,
        now: Now,
        deciding: &Deciding,
        record: &Record<'_>,
    ) -> Result<(), Refusal> {
        if record.properties().get(keys::PRODUCER_GROUP) != Some(&*deciding.group) {
            return Err(Refusal::NoTransaction("The producer group wrong"));
        }
        match deciding.decision {
            Decision::Commit => {
                self.deliver_half(now, deciding.half, record)?;
                self.transactions.committed += 1;
            }
            Decision::RollBack => {
                self.stage_state(now, &StateRecord::Decided { half: deciding.half.0 })?;
                self.transactions.rolled_back += 1;
            }
        }
        self.transactions.close(deciding.half);
        Ok(())
    }

    /// Appends a committed message to its queue, or to where it waits if it is delayed, and that it
    /// is decided, as one.
    fn deliver_half(
        &mut self,
        now: Now,
        half: QueueOffset,
        record: &Record<'_>,
    ) -> Result<(), Refusal> {
        let properties = record.properties();
        let [topic, queue] = properties.pick([keys::REAL_TOPIC, keys::REAL_QUEUE]);
        let Some(known) = topic.and_then(|topic| self.topics.get(topic)) else {
            warn!(topic, %half, "a committed message is parked, because its topic is no more");
            return self.park(now, half, record);
        };
        let queue = queue.and_then(|queue| queue.parse().ok()).unwrap_or(0);
        let queue_id = QueueId(queue % known.write_queues.max(1));
        let name = known.name.clone();
        let no = self.topics.queue(name.as_str(), queue_id);
        let no = no.ok_or_else(|| Refusal::UnknownTopic(name.to_string()))?;
        let own = [(keys::REAL_TOPIC, None), (keys::REAL_QUEUE, None), (keys::TRANSACTION, None)];
        let properties = properties.with(&own);
        let delay = Delay::of(properties.view()).unwrap_or(Delay::None);
        let delayed = self.delay(now, delay, (name.as_str(), queue_id), properties.view())?;
        let mut message = copy(record, name.as_str(), queue_id);
        message.properties = properties.as_bytes();
        message.sys_flag =
            message.sys_flag & !sys_flag::TRANSACTION_MASK | sys_flag::TRANSACTION_COMMITTED;
        message.prepared_offset = record.physical_offset();
        let decided = StateRecord::Decided { half: half.0 }.encode();
        let message = match &delayed {
            Some(delayed) => delayed.draft(message),
            None => (no, message),
        };
        let drafts = [message, self.state_draft(now, &decided)];
        let mut placed = Vec::with_capacity(2);
        self.stage(now, &drafts, &mut placed)?;
        if let Some(delayed) = &delayed {
            self.note_delayed(now, delayed, &placed[0]);
        }
        Ok(())
    }

    /// Puts a half message where an operator sees it; no producer is asked any more.
    fn park(&mut self, now: Now, half: QueueOffset, record: &Record<'_>) -> Result<(), Refusal> {
        let no = self.own_queue(now, PARKED_TOPIC)?;
        let decided = StateRecord::Decided { half: half.0 }.encode();
        let message = (no, copy(record, PARKED_TOPIC, QueueId(0)));
        let drafts = [message, self.state_draft(now, &decided)];
        self.stage(now, &drafts, &mut Vec::with_capacity(2))?;
        self.transactions.close(half);
        Ok(())
    }

    /// After the state was read: which half messages are still open.
    pub(crate) fn resume_transactions(&mut self) {
        if let Some(queue) = self.topics.queue(HALF_TOPIC, QueueId(0)) {
            let bounds = self.store.bounds(queue);
            self.transactions.resume(bounds.min, bounds.end);
        }
    }

    /// Asks for the half messages about which a producer is to be asked.
    pub(crate) fn begin_checks(&mut self, now: Now, out: &mut Out) {
        self.delays.clock.start(now);
        let TransactionConfig { first_check_ms, check_every_ms, .. } = self.config.transactions;
        for half in std::mem::take(&mut self.transactions.restored) {
            self.transactions.ask_at(half, now.mono_ms.saturating_add(first_check_ms));
        }
        let Some(queue) = self.topics.queue(HALF_TOPIC, QueueId(0)) else {
            return;
        };
        let appended = self.store.watermarks().appended();
        for _ in 0..CHECKS_AT_ONCE {
            let Some(half) = self.transactions.next_due(now.mono_ms, check_every_ms) else {
                return;
            };
            if half < self.store.bounds(queue).min {
                error!(%half, "a half message was removed before anybody decided");
                self.give_up(now, half);
                continue;
            }
            let entries = self.store.plan(queue, half, 1, u64::MAX, appended).entries;
            if !entries.is_empty() {
                out.reads.push(self.reads.entries(Reader::Check(half), entries));
            }
        }
    }

    /// A half message about which to ask was read, or could not be.
    pub(crate) fn check_half(
        &mut self,
        now: Now,
        half: QueueOffset,
        found: Result<Vec<Bytes>, ReadError>,
        out: &mut Out,
    ) {
        let Some(open) = self.transactions.open.get(&half).filter(|open| !open.deciding) else {
            return;
        };
        let checks = open.checks;
        if let Err(ReadError::Io { .. } | ReadError::Absent { .. }) = found {
            warn!(%half, "a half message cannot be read just now");
            return;
        }
        let record = match one_record(&found) {
            Ok(record) => record,
            Err(reason) => {
                error!(%half, reason, "a half message is lost");
                return self.give_up(now, half);
            }
        };
        let clock = &self.delays.clock;
        let stored_ms = clock.stored_ms(record.physical_offset(), record.store_at_ms());
        let age_ms = (now.mono_ms as i64).saturating_sub(stored_ms).max(0) as u64;
        let TransactionConfig { checks_max, .. } = self.config.transactions;
        if checks >= checks_max || age_ms >= self.config.retention.keep_ms {
            match self.park(now, half, &record) {
                Ok(()) => warn!(%half, checks, "nobody decides over a half message: parked"),
                Err(refusal) => debug!(%half, error = %refusal, "a half message is not parked yet"),
            }
            return;
        }
        let properties = record.properties();
        let [group, topic] = properties.pick([keys::PRODUCER_GROUP, keys::REAL_TOPIC]);
        let (group, topic) = (group.unwrap_or_default(), topic.unwrap_or_default());
        out.checks.push(Check {
            half,
            at: record.physical_offset(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            record: Bytes::copy_from_slice(record.as_bytes()),
        });
    }

    /// A producer was asked about a half message. The shell then ends the burst.
    pub fn on_checked(&mut self, now: Now, half: QueueOffset) {
        let Some(open) = self.transactions.open.get_mut(&half) else {
            return;
        };
        open.checks = open.checks.saturating_add(1);
        let record = StateRecord::Checked { half: half.0, checks: open.checks };
        if let Err(refusal) = self.stage_state(now, &record) {
            // It is asked about once more than others after a restart.
            debug!(%half, error = %refusal, "a check is not counted");
        }
    }

    /// There is nothing left to decide over.
    fn give_up(&mut self, now: Now, half: QueueOffset) {
        match self.stage_state(now, &StateRecord::Decided { half: half.0 }) {
            Ok(()) => self.transactions.close(half),
            Err(refusal) => debug!(%half, error = %refusal, "a half message is not given up yet"),
        }
    }

    /// The one queue of a topic of transactions, which is created if need be. Clients may not write
    /// either topic, and read only what is parked.
    fn own_queue(
        &mut self,
        now: Now,
        topic: &'static str,
    ) -> Result<millrace_store::QueueNo, Refusal> {
        if self.topics.get(topic).is_none() {
            let name = TopicName::parse(topic).expect("a legal name");
            let permission = Permission { read: topic == PARKED_TOPIC, write: false };
            let topic = Topic { name, read_queues: 1, write_queues: 1, permission, order: false };
            self.store_topic(now, &topic)?;
        }
        let queue = self.topics.queue(topic, QueueId(0));
        queue.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))
    }
}

/// How long a message wants its producer left alone. (`CHECK_IMMUNITY_TIME_IN_SECONDS`)
fn immunity_ms(properties: Properties<'_>) -> Option<u64> {
    let seconds = properties.get(keys::CHECK_IMMUNITY)?.parse::<i64>().ok()?;
    u64::try_from(seconds).ok().map(|seconds| seconds.saturating_mul(1_000))
}

/// The one record that was read.
fn one_record(found: &Result<Vec<Bytes>, ReadError>) -> Result<Record<'_>, String> {
    match found.as_deref() {
        Ok([bytes]) => Record::parse(bytes).map_err(|error| error.to_string()),
        Ok(_) => Err("it is not there".into()),
        Err(error) => Err(error.to_string()),
    }
}
