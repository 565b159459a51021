use std::collections::VecDeque;
use std::sync::Arc;

use millrace_store::{
    FlushMode, KeyLookup, LogReader, Placed, QueueNo, ReadError, Store, Watermarks,
};
use millrace_types::{Now, PhysicalOffset, QueueId, TopicName, is_system_topic};
use tracing::{error, warn};

use crate::answer::{Answer, Out, Refusal};
use crate::delay_levels::DelayLevels;
use crate::delays::Delays;
use crate::deliveries::SCHEDULE_TOPIC;
use crate::filter::Conditions;
use crate::held::HeldPulls;
use crate::pending::PendingAnswers;
use crate::reads::Reads;
use crate::request::{Caller, ConnectionId, Request, Ticket};
use crate::settings::Settings;
use crate::state::{self, Epochs, GroupOffsets, LEDGER_TOPIC, META_TOPIC, StateRecord};
use crate::topics::{Permission, Topic, Topics};

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
    /// Bytes that are not durable yet, above which producers are turned away: the disk does not
    /// keep up, and the system's write-back would stop everybody.
    pub unflushed_bytes_max: u64,
    /// Most index entries that one filtered pull looks at.
    pub examined_max: usize,
    /// How long the messages of each delay level wait. (`messageDelayLevel`)
    pub delay_levels: DelayLevels,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            broker_name: "millrace".into(),
            auto_create_topics: true,
            message_bytes_max: 4 << 20,
            sync_flush_timeout_ms: 5_000,
            unflushed_bytes_max: 1 << 30,
            examined_max: 4_000,
            delay_levels: DelayLevels::default(),
        }
    }
}

/// Why the engine cannot take up a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenEngineError {
    /// A record of the broker's own state cannot be read.
    #[error("the broker's state in topic {topic} cannot be read")]
    State {
        /// The system topic.
        topic: &'static str,
        /// Why.
        source: ReadError,
    },
}

/// The broker, without its sockets, threads and clock.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    pub(crate) store: Store,
    pub(crate) topics: Topics,
    pub(crate) groups: GroupOffsets,
    pub(crate) settings: Settings,
    pub(crate) epochs: Epochs,
    pub(crate) held: HeldPulls,
    pub(crate) pending: PendingAnswers,
    pub(crate) delays: Delays,
    pub(crate) reads: Reads,
    pub(crate) conditions: Arc<dyn Conditions>,
    /// Queues with messages that readers have not been told of, and where these end.
    pub(crate) unseen: VecDeque<(PhysicalOffset, QueueNo)>,
    /// Deals out queues to messages that name none.
    pub(crate) next_queue: u32,
    /// Kept for its memory.
    pub(crate) placed: Vec<Placed>,
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
            delays: Delays::new(config.delay_levels.clone()),
            reads: Reads::default(),
            config,
            store,
            topics: Topics::default(),
            groups: GroupOffsets::default(),
            settings: Settings::default(),
            epochs: Epochs::default(),
            held: HeldPulls::default(),
            pending: PendingAnswers::default(),
            conditions,
            unseen: VecDeque::new(),
            next_queue: 0,
            placed: Vec::new(),
            stored_messages: 0,
            meta,
        };
        engine.replay()?;
        engine.resume_deliveries();
        Ok(engine)
    }

    /// Reads the state topics from the log.
    fn replay(&mut self) -> Result<(), OpenEngineError> {
        let mut records = Vec::new();
        state::replay(&self.store, self.meta, &mut |record| match serde_json::from_slice::<
            StateRecord,
        >(record.body())
        {
            Ok(change) => records.push(change),
            Err(error) => warn!(
                error = %error, queue_offset = %record.queue_offset(), "state record passed over",
            ),
        })
        .map_err(|source| OpenEngineError::State { topic: META_TOPIC, source })?;
        records.into_iter().for_each(|record| self.apply(record));

        // Queues with messages but without a topic record: written by something older than it.
        let mut unknown: Vec<(TopicName, u32)> = Vec::new();
        for (topic, queue, _) in self.store.queues() {
            let known = self.topics.get(topic.as_str()).is_some_and(|t| queue.0 < t.read_queues);
            match unknown.iter_mut().find(|(name, _)| name == topic) {
                Some((_, queues)) => *queues = (*queues).max(queue.0 + 1),
                None if !known => unknown.push((topic.clone(), queue.0 + 1)),
                None => {}
            }
        }
        for (name, queues) in unknown {
            self.put_topic(name, queues, queues, Permission::ALL);
        }

        let ledgers: Vec<QueueNo> = self
            .store
            .queues()
            .filter(|(topic, _, _)| topic.as_str() == LEDGER_TOPIC)
            .map(|(_, _, no)| no)
            .collect();
        for no in ledgers {
            let epochs = &mut self.epochs;
            state::replay(&self.store, no, &mut |record| epochs.observe(no, record.properties()))
                .map_err(|source| OpenEngineError::State { topic: LEDGER_TOPIC, source })?;
        }
        Ok(())
    }

    fn apply(&mut self, record: StateRecord) {
        match record {
            StateRecord::Topic { name, read_queues, write_queues, perm } => {
                if let Ok(name) = TopicName::parse(&name) {
                    self.put_topic(name, read_queues, write_queues, Permission::from_bits(perm));
                }
            }
            StateRecord::Setting { space, key, value } => self.settings.put(space, key, value),
            StateRecord::Offset { group, topic, queue, offset } => {
                let group = millrace_types::GroupName::parse(&group);
                if let (Ok(group), Ok(topic)) = (group, TopicName::parse(&topic)) {
                    let offset = millrace_types::QueueOffset(offset);
                    self.groups.put(&group, &topic, QueueId(queue), offset);
                }
            }
        }
    }

    pub(crate) fn put_topic(
        &mut self,
        name: TopicName,
        read_queues: u32,
        write_queues: u32,
        permission: Permission,
    ) {
        let queues = read_queues.max(write_queues);
        let numbers: Vec<_> = (0..queues).map(|id| self.store.queue(&name, QueueId(id))).collect();
        if name.as_str() == SCHEDULE_TOPIC {
            self.delays.set_queues(&numbers);
        }
        self.topics.put(Topic { name, read_queues, write_queues, permission }, numbers);
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
            Request::Pull(pull) => self.pull(now, caller, ticket, pull),
            Request::SendBack(request) => self.send_back(ticket, &request, out),
            Request::Bounds { topic, queue } => self
                .queue_to_read(topic, queue)
                .map(|no| Some(Answer::Bounds(self.store.bounds(no)))),
            Request::EnsureTopic { topic, queues } => self.ensure_topic(now, ticket, topic, queues),
            Request::SetTopic { topic, read_queues, write_queues, permission } => {
                let name = topic.clone();
                self.set_topic(now, ticket, Topic { name, read_queues, write_queues, permission })
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
        self.wake(now, out);
    }

    /// The log could not be made durable, and never will be.
    pub fn on_flush_failed(&mut self, reason: &str, out: &mut Out) {
        self.pending.on_poisoned(reason, out);
    }

    /// Time passes.
    pub fn on_tick(&mut self, now: Now, out: &mut Out) {
        self.pending.on_tick(now.mono_ms, out);
        self.expire_held(now, out);
        self.begin_deliveries(now, out);
    }

    /// When [`Engine::on_tick`] has something to deliver, if nothing happens before.
    pub fn due_ms(&self) -> Option<u64> {
        Some(self.delays.earliest_ms()).filter(|due_ms| *due_ms < u64::MAX)
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

    /// Bytes of the log that are kept.
    pub fn log_bytes(&self) -> u64 {
        self.store.watermarks().appended().since(self.store.log_min())
    }

    /// Messages stored since the start, without the broker's own state.
    pub fn stored_messages(&self) -> u64 {
        self.stored_messages
    }

    /// Counts the changes of topics; another number means that name servers are to be told.
    pub fn topics_version(&self) -> u64 {
        self.topics.version()
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// A reader of the records that pulls name.
    pub fn reader(&self) -> LogReader {
        self.store.reader()
    }

    /// The keys of everything that readers may see, if they may read this topic.
    pub fn keys_of(&self, topic: &str) -> Result<KeyLookup, Refusal> {
        let known = self.topics.get(topic);
        let known = known.ok_or_else(|| Refusal::UnknownTopic(topic.to_owned()))?;
        if !known.permission.read || is_system_topic(&known.name) {
            return Err(Refusal::NotReadable(topic.to_owned()));
        }
        Ok(self.store.key_lookup(self.visible()))
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
