use std::collections::VecDeque;
use std::sync::Arc;

use millrace_store::{FlushMode, KeyLookup, LogReader, Placed, QueueNo, Store, Watermarks};
use millrace_types::{Now, PhysicalOffset, QueueId, TopicName, is_system_topic};
use tracing::error;

use crate::answer::{Answer, Out, Refusal};
use crate::delay_levels::DelayLevels;
use crate::delays::Delays;
use crate::deletions::Deletions;
use crate::filter::Conditions;
use crate::held::HeldPulls;
use crate::holds::LedgerHolds;
use crate::limits::EngineLimits;
use crate::offsets::Unlogged;
use crate::pending::PendingAnswers;
use crate::reads::Reads;
use crate::request::{Caller, ConnectionId, Request, Ticket};
use crate::restore::{LostState, StateGap};
use crate::retention::{Retention, RetentionConfig};
use crate::room::Room;
use crate::settings::Settings;
use crate::snapshot::StateLog;
use crate::state::{Epochs, Forgone, GroupOffsets, META_TOPIC};
use crate::topics::{Topic, Topics};
use crate::transactions::{HALF_TOPIC, TransactionConfig, Transactions};

/// What an operator may choose about the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The broker's name, part of every queue's identity.
    pub broker_name: Arc<str>,
    /// Whether a send to an unknown topic creates it. (`autoCreateTopicEnable`)
    pub auto_create_topics: bool,
    /// Longest body, bytes. (`maxMessageSize`)
    pub message_bytes_max: usize,
    /// How long a producer waits for the disk in sync-flush mode. (`syncFlushTimeout`)
    pub sync_flush_timeout_ms: u64,
    /// Most index entries that one filtered pull looks at.
    pub examined_max: usize,
    /// How long the messages of each delay level wait. (`messageDelayLevel`)
    pub delay_levels: DelayLevels,
    /// The longest time that a message may wait by itself, ms. (`timerMaxDelaySec`)
    pub timer_ms_max: u64,
    /// How transactions are treated.
    pub transactions: TransactionConfig,
    /// Bytes of records of the broker's own state after which the state is appended again as a
    /// whole, at the earliest. A start reads little more than this.
    pub state_bytes_min: u64,
    /// What to do if the broker's own state cannot be read.
    pub lost_state: LostState,
    /// How long messages are kept.
    pub retention: RetentionConfig,
    /// What all clients together may make the broker remember.
    pub limits: EngineLimits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            broker_name: "millrace".into(),
            auto_create_topics: true,
            message_bytes_max: 4 << 20,
            sync_flush_timeout_ms: 5_000,
            examined_max: 4_000,
            delay_levels: DelayLevels::default(),
            timer_ms_max: 3 * 86_400_000,
            transactions: TransactionConfig::default(),
            state_bytes_min: 1 << 20,
            lost_state: LostState::Refuse,
            retention: RetentionConfig::default(),
            limits: EngineLimits::default(),
        }
    }
}

/// Why the engine cannot take up a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenEngineError {
    /// Records of the broker's own state are damaged, and nothing else knows what they said.
    #[error("the broker's own state cannot be read: {}", told(.0))]
    StateLost(Vec<StateGap>),
}

fn told(gaps: &[StateGap]) -> String {
    let told = gaps.iter().map(|gap| {
        let StateGap { topic, queue, from, records, file } = gap;
        let noun = if *records == 1 { "record" } else { "records" };
        format!("{records} {noun} of {topic}/{queue} from offset {from} in {}", file.display())
    });
    told.collect::<Vec<_>>().join("; ")
}

/// The broker, without its sockets, threads and clock.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) store: Store,
    pub(crate) topics: Topics,
    pub(crate) groups: GroupOffsets,
    pub(crate) unlogged: Unlogged,
    pub(crate) settings: Settings,
    pub(crate) epochs: Epochs,
    pub(crate) held: HeldPulls,
    pub(crate) pending: PendingAnswers,
    pub(crate) delays: Delays,
    pub(crate) transactions: Transactions,
    pub(crate) reads: Reads,
    pub(crate) conditions: Arc<dyn Conditions>,
    /// Queues with messages that readers have not been told of, and where these end.
    pub(crate) unseen: VecDeque<(PhysicalOffset, QueueNo)>,
    /// Deals out queues to messages that name none.
    pub(crate) next_queue: u32,
    /// Kept for its memory.
    pub(crate) placed: Vec<Placed>,
    pub(crate) state_log: StateLog,
    pub(crate) retention: Retention,
    pub(crate) room: Room,
    pub(crate) ledger_holds: LedgerHolds,
    pub(crate) forgone: Forgone,
    pub(crate) deletions: Deletions,
    /// What of the broker's own state was lost before this start.
    pub(crate) gaps: Vec<StateGap>,
    /// How many state records the start has read from the log.
    pub(crate) state_records_read: u64,
    /// Messages stored since the start, without the broker's own state.
    pub(crate) stored_messages: u64,
    meta: QueueNo,
}

impl Engine {
    /// Takes up a store, reading the broker's state from its log.
    pub fn open(
        mut store: Store,
        config: EngineConfig,
        conditions: Arc<dyn Conditions>,
    ) -> Result<Self, OpenEngineError> {
        let meta_topic = TopicName::parse(META_TOPIC).expect("a legal name");
        let meta = store.queue(&meta_topic, QueueId(0));
        let mut engine = Self {
            delays: Delays::new(&config.delay_levels, config.timer_ms_max),
            transactions: Transactions::default(),
            reads: Reads::default(),
            config,
            store,
            topics: Topics::default(),
            groups: GroupOffsets::default(),
            unlogged: Unlogged::default(),
            settings: Settings::default(),
            epochs: Epochs::default(),
            held: HeldPulls::default(),
            pending: PendingAnswers::default(),
            conditions,
            unseen: VecDeque::new(),
            next_queue: 0,
            placed: Vec::new(),
            state_log: StateLog::default(),
            retention: Retention::default(),
            room: Room::default(),
            ledger_holds: LedgerHolds::default(),
            forgone: Forgone::default(),
            deletions: Deletions::default(),
            gaps: Vec::new(),
            state_records_read: 0,
            stored_messages: 0,
            meta,
        };
        engine.restore()?;
        engine.resume_deliveries();
        engine.resume_transactions();
        Ok(engine)
    }

    /// Takes a request. Its answer is added to `out` now, or by a later call to any method that
    /// takes an `Out`; requests that store something are answered by [`Engine::commit`] at the
    /// earliest.
    pub fn handle(
        &mut self,
        now: Now,
        caller: &Caller,
        ticket: Ticket,
        request: Request<'_>,
        out: &mut Out,
    ) {
        let answered = match request {
            Request::Append(append) => self.append(now, caller, ticket, &append),
            Request::Prepare(append) => self.prepare(now, caller, ticket, &append),
            Request::EndTransaction(end) => self.end_transaction(ticket, &end, out),
            Request::Pull(pull) => self.pull(now, caller, ticket, pull),
            Request::SendBack(request) => self.send_back(ticket, &request, out),
            Request::Bounds { topic, queue } => self
                .queue_to_read(topic, queue)
                .map(|no| Some(Answer::Bounds(self.store.bounds(no)))),
            Request::EnsureTopic { topic, queues } => self.ensure_topic(now, ticket, topic, queues),
            Request::DeleteTopic { topic } => self.delete_topic(now, ticket, topic, out),
            Request::SetTopic { topic, read_queues, write_queues, permission, order } => {
                let name = topic.clone();
                let topic = Topic { name, read_queues, write_queues, permission, order };
                self.set_topic(now, ticket, topic, out)
            }
            Request::DescribeTopic { topic } => match self.topics.get(topic) {
                Some(topic) => Ok(Some(Answer::Topic(topic.clone()))),
                None => Err(Refusal::UnknownTopic(topic.to_owned())),
            },
            Request::CommitOffset { group, topic, queue, offset } => {
                self.commit_offset(now, ticket, group, topic, queue, offset)
            }
            Request::PutSetting { space, key, value } => {
                self.put_setting(now, ticket, space, key, value)
            }
            Request::GroupOffset { group, topic, queue } => {
                let topic = self.topics.get(topic);
                let offset = topic.and_then(|t| self.groups.get(group, &t.name, queue));
                Ok(Some(Answer::GroupOffset(offset)))
            }
        };
        match answered {
            Ok(Some(answer)) => out.push(ticket, answer),
            Ok(None) => {}
            Err(refusal) => out.push(ticket, Answer::Refused(refusal)),
        }
    }

    /// Ends a burst: writes what its requests stored, and gives out their answers as far as they
    /// need not wait for the disk.
    pub fn commit(&mut self, now: Now, out: &mut Out) {
        self.snapshot_if_due(now);
        let appended = self.store.watermarks().appended();
        if self.pending.nothing_staged() && self.store.staged_end() == appended {
            return;
        }
        match self.store.commit() {
            Ok(_) => {
                self.pending.on_written(self.is_sync(), out);
                self.wake(now, out);
            }
            Err(failure) => {
                error!(error = %failure, "the CommitLog takes nothing more");
                self.pending.on_poisoned(&failure.to_string(), out);
            }
        }
    }

    /// The log has become durable up to the durable watermark.
    pub fn on_durable(&mut self, now: Now, out: &mut Out) {
        self.pending.on_durable(self.store.watermarks().durable(), out);
        self.remove_segments();
        self.wake(now, out);
    }

    /// The log could not be made durable, and never will be.
    pub fn on_flush_failed(&mut self, reason: &str, out: &mut Out) {
        self.pending.on_poisoned(reason, out);
    }

    /// Time passes.
    pub fn on_tick(&mut self, now: Now, out: &mut Out) {
        self.retain(now);
        self.pending.on_tick(now.mono_ms, out);
        self.expire_held(now, out);
        self.begin_deliveries(now, out);
        self.begin_checks(now, out);
    }

    /// When [`Engine::on_tick`] has something to deliver or to ask, if nothing happens before.
    pub fn due_ms(&self) -> Option<u64> {
        let delivery = Some(self.delays.earliest_ms()).filter(|due_ms| *due_ms < u64::MAX);
        delivery.into_iter().chain(self.transactions.due_ms()).min()
    }

    /// Answers everybody who waits for time to pass, because there will be none.
    pub fn on_stopping(&mut self, now: Now, out: &mut Out) {
        let end_of_time = Now { mono_ms: u64::MAX, ..now };
        self.pending.on_tick(end_of_time.mono_ms, out);
        self.expire_held(end_of_time, out);
    }

    /// A connection is gone; nothing of it is answered any more.
    pub fn on_closed(&mut self, connection: ConnectionId) {
        self.held.forget(connection);
    }

    /// All topics, for the name server.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    /// Whether there is such a topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some()
    }

    /// Bytes of the log that are kept.
    pub fn log_bytes(&self) -> u64 {
        self.store.watermarks().appended().since(self.store.log_min())
    }

    /// Messages stored since the start, without the broker's own state.
    pub fn stored_messages(&self) -> u64 {
        self.stored_messages
    }

    /// Pulls that wait for a message.
    pub fn held_pulls(&self) -> usize {
        self.held.len()
    }

    /// Messages that wait for their time.
    pub fn delayed_messages(&self) -> u64 {
        let levels = self.delays.levels.iter();
        let waiting = levels.filter_map(|level| {
            let end = self.store.bounds(level.queue?).end;
            Some(end.0.saturating_sub(level.next.0))
        });
        waiting.sum()
    }

    /// Counts the changes of topics; another number means that name servers are to be told.
    pub fn topics_version(&self) -> u64 {
        self.topics.version()
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What a queue is called.
    pub fn queue_name(&self, queue: QueueNo) -> (&TopicName, QueueId) {
        self.store.queue_name(queue)
    }

    /// A reader of the records that pulls name.
    pub fn reader(&self) -> LogReader {
        self.store.reader()
    }

    /// The keys of everything that readers may see, if this topic is not the broker's own business.
    pub fn keys_of(&self, topic: &str) -> Result<KeyLookup, Refusal> {
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        if topic == HALF_TOPIC || is_system_topic(&known.name) {
            return Err(Refusal::NotReadable(topic.to_owned()));
        }
        let begin = self.deletions.begin(topic);
        Ok(self.store.key_lookup(self.visible()).starting_at(begin))
    }

    /// How many records of the broker's own state the start has read from the log.
    pub fn state_records_read(&self) -> u64 {
        self.state_records_read
    }

    /// What of the broker's own state was lost before this start, which went on regardless.
    pub fn gaps(&self) -> &[StateGap] {
        &self.gaps
    }

    /// How far the log is written and durable.
    pub fn watermarks(&self) -> &Watermarks {
        self.store.watermarks()
    }

    /// Whether there are bytes that a flush would make durable.
    pub fn needs_flush(&self) -> bool {
        let marks = self.store.watermarks();
        marks.durable() < marks.appended()
    }

    /// The conditions that the shell supplied.
    pub fn conditions(&self) -> &Arc<dyn Conditions> {
        &self.conditions
    }

    /// Gives the store back, to be closed.
    pub fn into_store(self) -> Store {
        self.store
    }

    pub(crate) fn is_sync(&self) -> bool {
        self.store.config().flush == FlushMode::Sync
    }

    /// How far readers may see.
    pub(crate) fn visible(&self) -> PhysicalOffset {
        let marks = self.store.watermarks();
        if self.is_sync() { marks.durable() } else { marks.appended() }
    }

    pub(crate) fn meta_queue(&self) -> QueueNo {
        self.meta
    }
}
