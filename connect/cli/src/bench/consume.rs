use std::time::{Duration, Instant};

use millrace_protocol::{
    Call, CallMode, Header, HeaderKind, PullAnswer, PullMessage, PullStatus, pull_flag,
};
use millrace_types::{QueueId, QueueOffset};

use super::drive::{Counts, Lanes, Lasting, Load, Outbox, drive_watched, not_understood};
use super::latencies::Latencies;
use super::meter::Used;
use super::target::Target;
use crate::exit::Failure;

/// A load of pulls, closed loop: one in flight on each connection, from the first message on, and
/// from the first again after the last.
#[derive(Clone, Debug)]
pub(crate) struct Consume {
    pub(crate) target: Target,
    /// Connections; each pulls one queue after the other.
    pub(crate) consumers: usize,
    /// Messages that one pull asks for.
    pub(crate) pull: i32,
    /// Bytes that one pull asks for; the broker's own limit if not given.
    pub(crate) pull_bytes: Option<i32>,
    pub(crate) warm_up: Duration,
    pub(crate) lasting: Lasting,
    /// Process of the broker on this machine, to be watched.
    pub(crate) pid: Option<u32>,
}

/// What pulls came to.
#[derive(Debug)]
pub(crate) struct Pulls {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// From the request to its answer, per pull.
    pub(crate) latencies: Latencies,
    pub(crate) used: Used,
}

/// Pulls as fast as answers come. `None` if the process to be watched is not there.
pub(crate) fn consume(plan: &Consume) -> Result<Option<Pulls>, Failure> {
    let mut lanes = Lanes::open(&plan.target, plan.consumers)?;
    let mut load = PullLoad::new(plan);
    let used = drive_watched(&mut lanes, &mut load, (plan.warm_up, plan.lasting), plan.pid)?;
    let PullLoad { messages, bytes, latencies, .. } = load;
    Ok(used.map(|used| Pulls { messages, bytes, latencies, used }))
}

struct PullLoad {
    plan: Consume,
    cursors: Vec<Cursor>,
    messages: u64,
    bytes: u64,
    latencies: Latencies,
}

/// Where one connection is.
struct Cursor {
    /// The queues that are its own.
    queues: Vec<u32>,
    at: usize,
    offset: QueueOffset,
    /// It has seen the end of each of its queues, and that is all that is wanted.
    done: bool,
}

impl PullLoad {
    fn new(plan: &Consume) -> Self {
        let queues = plan.target.queues;
        let cursors = (0..plan.consumers).map(|n| {
            let mut own: Vec<u32> = (0..queues).skip(n).step_by(plan.consumers).collect();
            if own.is_empty() {
                // With more connections than queues several pull the same one.
                own.push(n as u32 % queues);
            }
            Cursor { queues: own, at: 0, offset: QueueOffset(0), done: false }
        });
        Self {
            plan: plan.clone(),
            cursors: cursors.collect(),
            messages: 0,
            bytes: 0,
            latencies: Latencies::default(),
        }
    }
}

impl Load for PullLoad {
    fn fill(&mut self, lane: usize, outbox: &mut Outbox) {
        let cursor = &self.cursors[lane];
        if outbox.in_flight() > 0 || cursor.done {
            return;
        }
        let queue = QueueId(cursor.queues[cursor.at]);
        let pull = pull(&self.plan.target.topic, queue, cursor.offset, self.plan.pull);
        let pull = PullMessage { bytes_max: self.plan.pull_bytes, ..pull };
        outbox.ask(Instant::now(), |opaque, out| {
            pull.write(HeaderKind::Json, opaque, CallMode::Answered, out);
        });
    }

    fn answered(
        &mut self,
        lane: usize,
        header: &Header<'_>,
        body: &[u8],
        asked: Instant,
    ) -> Result<(), Failure> {
        let answer = PullAnswer::decode(header);
        let answer =
            answer.map_err(|error| not_understood(&self.plan.target, &error.to_string()))?;
        self.latencies.add(asked.elapsed());
        let cursor = &mut self.cursors[lane];
        match answer.status {
            PullStatus::Found => {
                self.messages += records(body);
                self.bytes += body.len() as u64;
                cursor.offset = answer.next;
            }
            PullStatus::NothingMatched => cursor.offset = answer.next,
            PullStatus::OffsetMoved if cursor.offset < answer.min => cursor.offset = answer.min,
            PullStatus::NotFound | PullStatus::OffsetMoved => {
                cursor.at += 1;
                cursor.offset = QueueOffset(0);
                if cursor.at == cursor.queues.len() {
                    cursor.at = 0;
                    cursor.done = self.plan.lasting == Lasting::UntilDone;
                }
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.done)
    }
}

impl Counts for PullLoad {
    fn begin_counting(&mut self) {
        (self.messages, self.bytes) = (0, 0);
        self.latencies = Latencies::default();
    }
}

/// A pull for everything in a queue.
pub(super) fn pull(
    topic: &str,
    queue_id: QueueId,
    offset: QueueOffset,
    count: i32,
) -> PullMessage<'_> {
    PullMessage {
        group: "millrace-bench".into(),
        topic: topic.into(),
        queue_id,
        offset: Some(offset),
        messages_max: count,
        sys_flag: pull_flag::SUBSCRIPTION,
        commit_offset: Some(QueueOffset(0)),
        suspend_ms: 0,
        subscription: Some("*".into()),
        subscription_version: 0,
        expression_type: Some("TAG".into()),
        bytes_max: None,
    }
}

/// Counts the records of an answer by their lengths.
fn records(mut body: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(len) = body.first_chunk::<4>() {
        let len = u32::from_be_bytes(*len) as usize;
        let Some(rest) = body.get(len..).filter(|_| len > 0) else {
            break;
        };
        body = rest;
        count += 1;
    }
    count
}
