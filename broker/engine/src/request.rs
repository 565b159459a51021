use std::net::SocketAddr;

use crate::settings::Space;
use crate::topics::Permission;
use millrace_types::{
    GroupName, PhysicalOffset, Properties, QueueId, QueueOffset, TopicName, keys,
};

/// Names a request until it is answered. The shell chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a connection for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The connection it came by.
    pub connection: ConnectionId,
    /// The address at its other end; the born host of messages.
    pub peer: SocketAddr,
    /// Who has been authenticated there.
    pub principal: Principal,
}

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody said; there is no access control yet.
    Anonymous,
    /// A part of this very program, such as an embedded pipeline.
    Internal,
}

/// What a caller wants.
#[derive(Clone, Debug)]
pub enum Request<'a> {
    /// Store messages, all or none.
    Append(Append<'a>),
    /// Store one message that nobody sees before its producer decides.
    Prepare(Append<'a>),
    /// A producer decides.
    EndTransaction(EndTransaction<'a>),
    /// Read messages.
    Pull(Pull<'a>),
    /// Take back a message whose consumption failed.
    SendBack(SendBack<'a>),
    /// The first offset of a queue and the next one it will give.
    Bounds {
        /// Topic.
        topic: &'a str,
        /// Queue.
        queue: QueueId,
    },
    /// Make sure that a topic exists with at least this many queues.
    EnsureTopic {
        /// Topic.
        topic: &'a TopicName,
        /// Queues for reading and writing.
        queues: u32,
    },
    /// Remove a topic with its messages and everybody's offsets in it. Fine if there is none.
    DeleteTopic {
        /// Topic.
        topic: &'a str,
    },
    /// Make a topic exactly this, creating it if need be. Messages in queues beyond those that are
    /// read stay where they are, and are read again once there are as many.
    SetTopic {
        /// Topic.
        topic: &'a TopicName,
        /// Queues that consumers read, at least 1.
        read_queues: u32,
        /// Queues that producers write, at least 1.
        write_queues: u32,
        /// What is allowed.
        permission: Permission,
        /// Whether it is an ordered topic.
        order: bool,
    },
    /// What a topic looks like, for a route.
    DescribeTopic {
        /// Topic.
        topic: &'a str,
    },
    /// Record a group's next offset.
    CommitOffset {
        /// Group.
        group: &'a GroupName,
        /// Topic.
        topic: &'a str,
        /// Queue.
        queue: QueueId,
        /// The next offset to read.
        offset: QueueOffset,
    },
    /// Keep something that an administrator set, or forget it.
    PutSetting {
        /// Whose it is.
        space: Space,
        /// Its name.
        key: &'a str,
        /// What it is; `None` to forget it.
        value: Option<&'a str>,
    },
    /// A group's recorded offset.
    GroupOffset {
        /// Group.
        group: &'a GroupName,
        /// Topic.
        topic: &'a str,
        /// Queue.
        queue: QueueId,
    },
}

/// Messages to store, all or none.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    /// The messages; at least one.
    pub messages: &'a [Message<'a>],
    /// Refuse unless this holds.
    pub fence: Option<Fence<'a>>,
    /// When to answer.
    pub wait: Wait,
    /// Create unknown topics with this many queues.
    pub create_queues: Option<u32>,
    /// Who made the messages.
    pub origin: Origin,
}

/// Who made messages, which decides where they may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An application; the broker's own topics are closed to it.
    Producer,
    /// A pipeline, which also keeps its ledger here.
    Pipeline,
}

/// One message to store.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue; `None` lets the broker choose.
    pub queue: Option<QueueId>,
    /// The producer's own flag.
    pub flag: i32,
    /// Compression and transaction bits.
    pub sys_flag: u32,
    /// Milliseconds since the Unix epoch, by the producer's clock.
    pub born_at_ms: i64,
    /// How often consumption failed.
    pub reconsume_times: i32,
    /// The payload.
    pub body: &'a [u8],
    /// Encoded properties.
    pub properties: &'a [u8],
    /// How long it waits before it goes to its queue.
    pub delay: Delay,
}

/// How long a message waits before it goes to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// Not at all.
    None,
    /// As long as a delay level; the first one is 1, and above the last one there is none.
    Level(u32),
    /// So many milliseconds, whatever the wall clock does.
    For(u64),
    /// Until the wall clock shows this, ms since the Unix epoch.
    Until(i64),
}

impl Delay {
    /// What the properties of a message ask for; an error if that is no number.
    pub fn of(properties: Properties<'_>) -> Result<Self, &'static str> {
        let [level, seconds, ms, at, was_timed] = properties.pick([
            keys::DELAY,
            keys::TIMER_SECONDS,
            keys::TIMER_MS,
            keys::TIMER_AT,
            keys::TIMER_DUE,
        ]);
        let timers = if was_timed.is_some() { [None; 3] } else { [seconds, ms, at] };
        Self::asked(level.map(str::as_bytes), timers.map(|text| text.map(str::as_bytes)))
    }

    /// The same of the values of `DELAY` and of `TIMER_DELAY_SEC`, `TIMER_DELAY_MS` and
    /// `TIMER_DELIVER_MS`. A level goes before a time, and the first time counts.
    pub fn asked(level: Option<&[u8]>, timers: [Option<&[u8]>; 3]) -> Result<Self, &'static str> {
        let level = level.map(number).transpose()?.unwrap_or(0);
        if let Ok(level @ 1..) = u32::try_from(level.clamp(0, i64::from(u32::MAX))) {
            return Ok(Self::Level(level));
        }
        let timer = timers.iter().enumerate().find_map(|(n, value)| Some((n, (*value)?)));
        let Some((timer, value)) = timer else {
            return Ok(Self::None);
        };
        let time = number(value)?;
        let wait = u64::try_from(time).unwrap_or(0);
        Ok(match timer {
            0 => Self::For(wait.saturating_mul(1_000)),
            1 => Self::For(wait),
            _ => Self::Until(time),
        })
    }
}

fn number(value: &[u8]) -> Result<i64, &'static str> {
    let text = std::str::from_utf8(value).ok();
    text.and_then(|text| text.parse().ok()).ok_or("the message's delay is no number")
}

/// A producer's decision over a half message.
#[derive(Clone, Debug)]
pub struct EndTransaction<'a> {
    /// Its group, which has to be that of the message.
    pub group: &'a str,
    /// Where the message stands among the half messages.
    pub half: QueueOffset,
    /// Where it lies in the log.
    pub at: PhysicalOffset,
    /// What was decided.
    pub decision: Decision,
}

/// What becomes of a half message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes to its queue.
    Commit,
    /// Nobody ever sees it.
    RollBack,
}

/// A message whose consumption failed, to be delivered to its group again, or to become one of
/// its dead letters.
#[derive(Clone, Debug)]
pub struct SendBack<'a> {
    /// Whose consumption failed.
    pub group: &'a GroupName,
    /// Where the message starts.
    pub at: PhysicalOffset,
    /// The topic that the consumer knows it by.
    pub origin_topic: Option<&'a str>,
    /// The level to wait in; 0 goes by the number of failures, below 0 gives up.
    pub delay_level: i32,
    /// After so many failures the message is a dead letter.
    pub reconsume_max: i32,
    /// Queues of the group's retry topic, at least 1.
    pub retry_queues: u32,
}

/// The epoch that a ledger queue must have for an append to go through (P8): the highest
/// `MR_EPOCH` of its messages.
#[derive(Clone, Copy, Debug)]
pub struct Fence<'a> {
    /// Topic of the ledger.
    pub topic: &'a str,
    /// Its queue.
    pub queue: QueueId,
    /// The epoch expected.
    pub epoch: u64,
}

/// When an append is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Once it is written, whatever the flush mode (a producer's `WAIT=false`).
    Written,
    /// As the flush mode says.
    Policy,
    /// Once it is durable, in every mode.
    Durable,
}

/// Messages to read.
#[derive(Clone, Debug)]
pub struct Pull<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Queue.
    pub queue: QueueId,
    /// First offset wanted.
    pub from: QueueOffset,
    /// At most this many messages.
    pub count_max: usize,
    /// At most this many bytes, but for the first message.
    pub bytes_max: u64,
    /// Which messages.
    pub filter: crate::Filter,
    /// What to do if there is nothing.
    pub hold: PullHold,
    /// Who is told when what it wants has changed meanwhile, and has to ask again.
    pub asker: Option<Asker>,
}

/// Stands for those who pull by the same rules; the number is the caller's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asker(pub u32);

/// What becomes of a pull for which there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullHold {
    /// It is answered at once.
    No,
    /// It waits for a message for so many milliseconds.
    For(u64),
    /// It is refused as overloaded: whoever asks has as many pulls waiting as it may.
    NoRoom,
}
