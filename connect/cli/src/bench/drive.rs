use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use millrace_client::{ClientError, Refused};
use millrace_protocol::{Frame, Header, Limits, ResponseCode, Split};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::meter::{Meter, Used};
use super::target::Target;
use super::template::{OPAQUE_MIN, next_opaque};
use crate::exit::{Exit, Failure, codes};

/// How long a load goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// So long.
    For(Duration),
    /// Until it says that it is done.
    UntilDone,
}

/// What is done on the connections.
pub(super) trait Load {
    /// Makes requests as far as one connection may have more in flight. Called when the connection
    /// is open and whenever it has taken everything it was given.
    fn fill(&mut self, lane: usize, outbox: &mut Outbox);

    /// Takes one answer. `asked` is when its request was made.
    fn answered(
        &mut self,
        lane: usize,
        header: &Header<'_>,
        body: &[u8],
        asked: Instant,
    ) -> Result<(), Failure>;

    /// Whether there is nothing more to do.
    fn is_done(&self) -> bool {
        false
    }
}

/// A load that counts what it does.
pub(super) trait Counts: Load {
    /// Forgets what was counted in the warm-up; answers to its last requests still count.
    fn begin_counting(&mut self);
}

/// Requests of one connection: what it has not taken yet, and what is not answered.
#[derive(Debug)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// In order of opaques, which is the order in which most answers come.
    in_flight: VecDeque<(i32, Instant)>,
    next: i32,
}

impl Outbox {
    /// Requests that are not answered.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Adds a request, which `write` appends with the opaque that it is given.
    pub(super) fn ask(&mut self, at: Instant, write: impl FnOnce(i32, &mut Vec<u8>)) {
        write(self.next, &mut self.bytes);
        self.in_flight.push_back((self.next, at));
        self.next = next_opaque(self.next);
    }

    /// Adds a request that nobody answers.
    pub(super) fn tell(&mut self, write: impl FnOnce(i32, &mut Vec<u8>)) {
        write(self.next, &mut self.bytes);
        self.next = next_opaque(self.next);
    }

    fn take(&mut self, opaque: i32) -> Option<Instant> {
        let at = self.in_flight.iter().position(|(known, _)| *known == opaque)?;
        self.in_flight.remove(at).map(|(_, asked)| asked)
    }
}

/// One connection.
struct Lane {
    stream: TcpStream,
    input: Vec<u8>,
    outbox: Outbox,
}

/// All connections to one broker.
pub(super) struct Lanes {
    poll: Poll,
    events: Events,
    lanes: Vec<Lane>,
    /// Connections that would take more at once, without an event that says so.
    hungry: Vec<usize>,
    scratch: Vec<u8>,
    target: Target,
}

/// What one read takes at most.
const READ_BYTES: usize = 256 << 10;
/// How often a connection is filled again before the others get their turn.
const FILLS_MAX: usize = 4;

impl Lanes {
    /// Opens so many connections.
    pub(super) fn open(target: &Target, count: usize) -> Result<Self, Failure> {
        let lost = |error| target.lost(&error);
        let poll = Poll::new().map_err(lost)?;
        let mut lanes = Vec::with_capacity(count);
        for n in 0..count {
            // Blocking, so that all are open when the load begins.
            let stream = std::net::TcpStream::connect(target.address).map_err(lost)?;
            stream.set_nodelay(true).map_err(lost)?;
            stream.set_nonblocking(true).map_err(lost)?;
            let mut stream = TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(n), interest).map_err(lost)?;
            let outbox = Outbox { bytes: Vec::new(), in_flight: VecDeque::new(), next: OPAQUE_MIN };
            lanes.push(Lane { stream, input: Vec::new(), outbox });
        }
        let events = Events::with_capacity(1024);
        let scratch = vec![0; READ_BYTES];
        Ok(Self { poll, events, lanes, hungry: Vec::new(), scratch, target: target.clone() })
    }

    /// Where else events may come from.
    pub(super) fn registry(&self) -> &mio::Registry {
        self.poll.registry()
    }

    pub(super) fn outbox(&mut self, lane: usize) -> &mut Outbox {
        &mut self.lanes[lane].outbox
    }

    /// Waits for events once and serves the connections that have some.
    pub(super) fn turn(&mut self, load: &mut impl Load, wait: Duration) -> Result<(), Failure> {
        let wait = if self.hungry.is_empty() { wait } else { Duration::ZERO };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(self.target.lost(&error));
            }
            _ => {}
        }
        let hungry = std::mem::take(&mut self.hungry);
        for event in &self.events {
            let Token(n) = event.token();
            // The token of a timer has no lane.
            let Some(lane) = self.lanes.get_mut(n) else { continue };
            if event.is_readable() {
                lane.receive(n, load, &mut self.scratch, &self.target)?;
            }
            if lane.send(n, load, &self.target)? == Sent::More {
                self.hungry.push(n);
            }
        }
        for n in hungry {
            self.send(n, load)?;
        }
        Ok(())
    }

    /// Fills a connection outside of any event.
    pub(super) fn send(&mut self, n: usize, load: &mut impl Load) -> Result<(), Failure> {
        let sent = self.lanes[n].send(n, load, &self.target)?;
        if sent == Sent::More && !self.hungry.contains(&n) {
            self.hungry.push(n);
        }
        Ok(())
    }
}

/// What sending has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// There is nothing to send, or the connection takes nothing.
    Enough,
    /// The connection would take more.
    More,
}

impl Lane {
    /// Takes all answers that are there.
    fn receive(
        &mut self,
        n: usize,
        load: &mut impl Load,
        scratch: &mut [u8],
        target: &Target,
    ) -> Result<(), Failure> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(target.lost(&ErrorKind::UnexpectedEof.into())),
                Ok(len) => {
                    self.input.extend_from_slice(&scratch[..len]);
                    self.take_answers(n, load, target)?;
                    if len < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(target.lost(&error)),
            }
        }
    }

    fn take_answers(
        &mut self,
        n: usize,
        load: &mut impl Load,
        target: &Target,
    ) -> Result<(), Failure> {
        let mut used = 0;
        loop {
            let frame = Frame::split(&self.input[used..], &Limits::default());
            let (frame, len) = match frame {
                Ok(Split::Frame(frame, len)) => (frame, len),
                Ok(Split::Partial(_)) => break,
                Err(error) => return Err(not_understood(target, &error.to_string())),
            };
            let header = frame.header().map_err(|e| not_understood(target, &e.to_string()))?;
            // A broker may also ask or tell something of its own accord.
            if header.is_response()
                && let Some(asked) = self.outbox.take(header.opaque)
            {
                load.answered(n, &header, frame.body, asked)?;
            }
            used += len;
        }
        self.input.drain(..used);
        Ok(())
    }

    /// Sends what the connection takes, and fills it again when it has taken everything.
    fn send(&mut self, n: usize, load: &mut impl Load, target: &Target) -> Result<Sent, Failure> {
        for _ in 0..FILLS_MAX {
            if self.outbox.bytes.is_empty() {
                load.fill(n, &mut self.outbox);
            }
            if self.outbox.bytes.is_empty() {
                return Ok(Sent::Enough);
            }
            let mut sent = 0;
            while sent < self.outbox.bytes.len() {
                match self.stream.write(&self.outbox.bytes[sent..]) {
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        self.outbox.bytes.drain(..sent);
                        return Ok(Sent::Enough);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(target.lost(&error)),
                }
            }
            self.outbox.bytes.clear();
        }
        Ok(Sent::More)
    }
}

pub(super) fn not_understood(target: &Target, why: &str) -> Failure {
    let message = format!("{} answered something else: {why}", target.address);
    Failure::new(Exit::Failed, codes::BROKER_REFUSED, message)
}

/// Drives a load.
fn drive(lanes: &mut Lanes, load: &mut impl Load, lasting: Lasting) -> Result<(), Failure> {
    let end = match lasting {
        Lasting::For(time) => Some(Instant::now() + time),
        Lasting::UntilDone => None,
    };
    for n in 0..lanes.lanes.len() {
        lanes.send(n, load)?;
    }
    while !load.is_done() && end.is_none_or(|end| Instant::now() < end) {
        lanes.turn(load, Duration::from_millis(100))?;
    }
    Ok(())
}

/// Drives a load and tells what that cost, after a warm-up. `None` if the process to be watched is
/// not there.
pub(super) fn drive_watched(
    lanes: &mut Lanes,
    load: &mut impl Counts,
    (warm_up, lasting): (Duration, Lasting),
    pid: Option<u32>,
) -> Result<Option<Used>, Failure> {
    if !warm_up.is_zero() {
        drive(lanes, load, Lasting::For(warm_up))?;
        load.begin_counting();
    }
    let Some(meter) = Meter::start(pid) else {
        return Ok(None);
    };
    drive(lanes, load, lasting)?;
    Ok(meter.stop())
}

/// Whether the answer to a send says that it is stored. If not, the broker had too much to do.
pub(super) fn is_stored(header: &Header<'_>, target: &Target) -> Result<bool, Failure> {
    match header.response_code() {
        // In the second case the message is stored, and the disk was late.
        ResponseCode::SUCCESS | ResponseCode::FLUSH_DISK_TIMEOUT => Ok(true),
        ResponseCode::SYSTEM_BUSY => Ok(false),
        _ => {
            let (address, refused) = (target.address.to_string(), Refused::of(header));
            Err(ClientError::Refused { address, refused }.into())
        }
    }
}
