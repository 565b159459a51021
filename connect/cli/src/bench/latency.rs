use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use millrace_protocol::{
    Call, CallMode, Header, HeaderKind, PullAnswer, PullMessage, PullStatus, pull_flag,
};
use millrace_types::record;
use millrace_types::{QueueId, QueueOffset};
use mio::unix::SourceFd;
use mio::{Interest, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::consume::pull;
use super::drive::{Lanes, Load, Outbox, is_stored, not_understood};
use super::latencies::Latencies;
use super::meter::{Meter, Used};
use super::target::Target;
use super::template::{Shape, Template};
use crate::exit::{Exit, Failure, codes};

/// Sends that leave on schedule, whether those before them are answered or not, and a consumer for
/// each queue that waits for them.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) target: Target,
    /// Messages per second.
    pub(crate) rate: u32,
    /// Bytes of a message, at least [`STAMP_BYTES`].
    pub(crate) size: usize,
    /// Connections that send.
    pub(crate) producers: usize,
    pub(crate) warm_up: Duration,
    pub(crate) lasting: Duration,
    /// Process of the broker on this machine, to be watched.
    pub(crate) pid: Option<u32>,
}

/// What became of the messages.
#[derive(Debug)]
pub(crate) struct Latency {
    /// Messages that were due.
    pub(crate) due: u64,
    /// Sends that the broker refused because it had too much to do.
    pub(crate) refused: u64,
    /// From the moment a message was due until its send was answered.
    pub(crate) acknowledged: Latencies,
    /// From the moment a message was due until a consumer had it.
    pub(crate) delivered: Latencies,
    pub(crate) used: Used,
}

/// Every message starts with the moment at which it was due.
pub(crate) const STAMP_BYTES: usize = 8;
/// How long is waited for the last messages.
const LAST: Duration = Duration::from_secs(5);
/// How long a pull is held.
const HOLD: Duration = Duration::from_secs(15);

/// Sends on schedule. `None` if the process to be watched is not there.
pub(crate) fn measure(plan: &Schedule) -> Result<Option<Latency>, Failure> {
    let consumers = plan.target.queues as usize;
    let mut load = DueLoad::new(plan)?;
    let mut lanes = Lanes::open(&plan.target, plan.producers + consumers)?;
    let timer = Timer::new(&lanes, Token(plan.producers + consumers))?;
    for lane in plan.producers..plan.producers + consumers {
        lanes.send(lane, &mut load)?;
    }
    let total = |time: Duration| (time.as_secs_f64() * f64::from(plan.rate)).round() as u64;
    let (first, end) = (total(plan.warm_up), total(plan.warm_up + plan.lasting));
    let mut meter = None;
    let mut next = 0;
    load.start = Instant::now();
    load.counted_from = due_at(first, plan.rate);
    while next < end {
        let now = load.start.elapsed();
        while next < end && due_at(next, plan.rate) <= now {
            if next == first {
                meter = Meter::start(plan.pid);
            }
            let lane = (next % plan.producers as u64) as usize;
            load.make(next, due_at(next, plan.rate), lanes.outbox(lane));
            lanes.send(lane, &mut load)?;
            next += 1;
        }
        timer.ring_in(due_at(next, plan.rate).saturating_sub(load.start.elapsed()))?;
        lanes.turn(&mut load, Duration::from_millis(100))?;
    }
    let used = meter.as_ref().and_then(Meter::stop);
    let give_up = Instant::now() + LAST;
    let due = end - first;
    while Instant::now() < give_up && load.delivered.count() + load.refused < due {
        lanes.turn(&mut load, Duration::from_millis(10))?;
    }
    let DueLoad { refused, acknowledged, delivered, .. } = load;
    Ok(used.map(|used| Latency { due, refused, acknowledged, delivered, used }))
}

/// When a message is due, from the start on.
fn due_at(n: u64, rate: u32) -> Duration {
    let nanos = u128::from(n) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Wakes the loop more exactly than a timeout in milliseconds could.
struct Timer(OwnedFd);

impl Timer {
    fn new(lanes: &Lanes, token: Token) -> Result<Self, Failure> {
        let open = || {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
            lanes.registry().register(
                &mut SourceFd(&timer.as_raw_fd()),
                token,
                Interest::READABLE,
            )?;
            Ok(Self(timer))
        };
        open().map_err(|error: io::Error| no_timer(&error))
    }

    fn ring_in(&self, time: Duration) -> Result<(), Failure> {
        // Zero would stop it.
        let time = time.max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let new = Itimerspec { it_interval, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &new)
            .map(drop)
            .map_err(|error| no_timer(&error.into()))
    }
}

fn no_timer(error: &io::Error) -> Failure {
    let message = format!("the system gives no timer: {error}");
    Failure::new(Exit::Environment, codes::SYSTEM, message).caused_by(error)
}

struct DueLoad {
    target: Target,
    producers: usize,
    /// One per queue.
    templates: Vec<Template>,
    /// Where each queue is pulled next.
    offsets: Vec<QueueOffset>,
    start: Instant,
    /// Messages that were due earlier do not count.
    counted_from: Duration,
    count: u64,
    refused: u64,
    acknowledged: Latencies,
    delivered: Latencies,
}

impl DueLoad {
    fn new(plan: &Schedule) -> Result<Self, Failure> {
        let topic = plan.target.topic.as_str();
        let shape = Shape { topic, size: plan.size, batch: 1, mode: CallMode::Answered };
        let queues = 0..plan.target.queues;
        let ends = queues.clone().map(|queue| plan.target.bounds(queue).map(|(_, end)| end));
        Ok(Self {
            target: plan.target.clone(),
            producers: plan.producers,
            templates: queues.map(|queue| Template::of_send(shape, queue, 0)).collect(),
            offsets: ends.collect::<Result<_, _>>()?,
            start: Instant::now(),
            counted_from: Duration::ZERO,
            count: 0,
            refused: 0,
            acknowledged: Latencies::default(),
            delivered: Latencies::default(),
        })
    }

    /// Makes the message that was due at a moment after the start.
    fn make(&mut self, n: u64, due: Duration, outbox: &mut Outbox) {
        let template = &self.templates[(n % self.templates.len() as u64) as usize];
        let stamp = u64::try_from(due.as_nanos()).unwrap_or(u64::MAX);
        let count = &mut self.count;
        outbox.ask(self.start + due, |opaque, out| {
            template.copy_stamped(opaque, count, stamp, out);
        });
    }

    fn on_sent(&mut self, header: &Header<'_>, due: Instant) -> Result<(), Failure> {
        let counts = due.duration_since(self.start) >= self.counted_from;
        match is_stored(header, &self.target)? {
            true if counts => self.acknowledged.add(due.elapsed()),
            true => {}
            false => self.refused += u64::from(counts),
        }
        Ok(())
    }

    fn on_pulled(&mut self, queue: usize, header: &Header<'_>, body: &[u8]) -> Result<(), Failure> {
        let answer = PullAnswer::decode(header);
        let answer = answer.map_err(|error| not_understood(&self.target, &error.to_string()))?;
        if answer.status != PullStatus::NotFound {
            self.offsets[queue] = answer.next;
        }
        let now = self.start.elapsed();
        for record in record::iter(body).map_while(Result::ok) {
            let stamp = record.body().first_chunk::<STAMP_BYTES>();
            let due = stamp.map(|stamp| Duration::from_nanos(u64::from_be_bytes(*stamp)));
            if let Some(due) = due.filter(|due| *due >= self.counted_from && *due <= now) {
                self.delivered.add(now - due);
            }
        }
        Ok(())
    }
}

impl Load for DueLoad {
    fn fill(&mut self, lane: usize, outbox: &mut Outbox) {
        let Some(queue) = lane.checked_sub(self.producers) else {
            // Producers are given something when it is due.
            return;
        };
        if outbox.in_flight() > 0 {
            return;
        }
        let everything = pull(&self.target.topic, QueueId(queue as u32), self.offsets[queue], 32);
        let held = PullMessage {
            sys_flag: pull_flag::SUBSCRIPTION | pull_flag::SUSPEND,
            suspend_ms: HOLD.as_millis() as i64,
            ..everything
        };
        outbox.ask(Instant::now(), |opaque, out| {
            held.write(HeaderKind::Json, opaque, CallMode::Answered, out);
        });
    }

    fn answered(
        &mut self,
        lane: usize,
        header: &Header<'_>,
        body: &[u8],
        asked: Instant,
    ) -> Result<(), Failure> {
        match lane.checked_sub(self.producers) {
            None => self.on_sent(header, asked),
            Some(queue) => self.on_pulled(queue, header, body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_neither_drifts_nor_overflows() {
        assert_eq!(due_at(4_000, 4_000), Duration::from_secs(1));
        assert_eq!(due_at(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(due_at(3_000_000, 3), Duration::from_secs(1_000_000));
        assert_eq!(due_at(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }
}
