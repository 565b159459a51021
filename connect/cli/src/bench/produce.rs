use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_protocol::{CallMode, Header};

use super::drive::{Counts, Lanes, Lasting, Load, Outbox, drive_watched, is_stored};
use super::latencies::Latencies;
use super::meter::Used;
use super::target::Target;
use super::template::{Shape, Template};
use crate::exit::Failure;

/// What a producer does after a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Wait for its answer before the next one.
    Sync,
    /// Go on, up to a window of sends without an answer.
    Async,
    /// Go on; there is no answer.
    OneWay,
}

/// A load of sends, closed loop.
#[derive(Clone, Debug)]
pub(crate) struct Produce {
    pub(crate) target: Target,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Connections.
    pub(crate) producers: usize,
    /// Requests in flight on each.
    pub(crate) window: usize,
    /// Messages in a request.
    pub(crate) batch: usize,
    pub(crate) mode: Mode,
    pub(crate) warm_up: Duration,
    pub(crate) lasting: Duration,
    /// Process of the broker on this machine, to be watched.
    pub(crate) pid: Option<u32>,
}

/// What sends came to.
#[derive(Debug)]
pub(crate) struct Sends {
    /// Messages acknowledged; one-way, handed to the system.
    pub(crate) messages: u64,
    /// Requests that the broker refused because it had too much to do.
    pub(crate) refused: u64,
    /// From the request to its answer, per request.
    pub(crate) latencies: Latencies,
    pub(crate) used: Used,
}

/// Sends as fast as the window allows. `None` if the process to be watched is not there.
pub(crate) fn produce(plan: &Produce) -> Result<Option<Sends>, Failure> {
    let mut lanes = Lanes::open(&plan.target, plan.producers)?;
    let mut load = SendLoad::new(plan);
    let times = (plan.warm_up, Lasting::For(plan.lasting));
    let used = drive_watched(&mut lanes, &mut load, times, plan.pid)?;
    let SendLoad { messages, refused, latencies, .. } = load;
    Ok(used.map(|used| Sends { messages, refused, latencies, used }))
}

struct SendLoad {
    target: Target,
    mode: Mode,
    window: usize,
    batch: u64,
    /// One per queue.
    templates: Vec<Template>,
    next_queue: usize,
    /// Messages made, for their unique ids.
    count: u64,
    messages: u64,
    refused: u64,
    latencies: Latencies,
}

/// One-way requests that are made at a time.
const ONE_WAY_REQUESTS: usize = 32;

impl SendLoad {
    fn new(plan: &Produce) -> Self {
        let mode = match plan.mode {
            Mode::Sync | Mode::Async => CallMode::Answered,
            Mode::OneWay => CallMode::Oneway,
        };
        let Produce { size, batch, .. } = *plan;
        let shape = Shape { topic: &plan.target.topic, size, batch, mode };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let born_at_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let queues = 0..plan.target.queues;
        Self {
            target: plan.target.clone(),
            mode: plan.mode,
            window: if plan.mode == Mode::Sync { 1 } else { plan.window },
            batch: plan.batch as u64,
            templates: queues.map(|queue| Template::of_send(shape, queue, born_at_ms)).collect(),
            next_queue: 0,
            count: 0,
            messages: 0,
            refused: 0,
            latencies: Latencies::default(),
        }
    }
}

impl Counts for SendLoad {
    fn begin_counting(&mut self) {
        (self.messages, self.refused) = (0, 0);
        self.latencies = Latencies::default();
    }
}

impl Load for SendLoad {
    fn fill(&mut self, _lane: usize, outbox: &mut Outbox) {
        let now = Instant::now();
        let one_way = self.mode == Mode::OneWay;
        let wanted = if one_way { ONE_WAY_REQUESTS } else { self.window };
        for _ in outbox.in_flight()..wanted {
            let template = &self.templates[self.next_queue];
            self.next_queue = (self.next_queue + 1) % self.templates.len();
            let count = &mut self.count;
            let write = |opaque, out: &mut Vec<u8>| template.copy(opaque, count, out);
            if one_way {
                outbox.tell(write);
                self.messages += self.batch;
            } else {
                outbox.ask(now, write);
            }
        }
    }

    fn answered(
        &mut self,
        _lane: usize,
        header: &Header<'_>,
        _body: &[u8],
        asked: Instant,
    ) -> Result<(), Failure> {
        if is_stored(header, &self.target)? {
            self.messages += self.batch;
            self.latencies.add(asked.elapsed());
        } else {
            self.refused += 1;
        }
        Ok(())
    }
}
