use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::Shutdown;

use millrace_engine::{Caller, Found};
use millrace_protocol::{Frame, FrameError, HeaderError, Split};
use mio::net::TcpStream;

use crate::config::Limits;
use crate::core::Step;
use crate::dispatch::{Destination, Role, dispatch};
use crate::reactor::input::{Buffers, Filled, Input};
use crate::reactor::notices::Notices;
use crate::reactor::output::Output;
use crate::shell::Shell;
use crate::waiting::Waiting;

/// Records that all pulls of one burst may find; who asks for more is served in the next one. Each
/// takes 24 bytes until it is read, and a usual pull finds 32.
const PLANNED_MAX: usize = 1 << 18;

/// What a connection that we close is relieved of at most.
const UNREAD_BYTES_MAX: usize = 1 << 20;

/// One peer.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) caller: Caller,
    role: Role,
    input: Input,
    pub(super) output: Output,
    /// What it was told of its groups and has not taken yet.
    pub(super) notices: Notices,
    /// Pulls whose records wait until the peer has taken what it was given, or for a reader.
    pub(super) deferred: Deferred,
    /// Pulls whose records an attached filter has to see.
    pub(super) to_judge: Deferred,
    /// Requests that wait for the engine or a reader.
    pub(super) in_flight: usize,
    /// How many of these are pulls that wait for a message.
    pub(super) held_pulls: usize,
    /// Answers that readers are making.
    pub(super) at_readers: usize,
    /// Answers that wait for an attached filter, or for the filters to be changed.
    pub(super) at_judges: usize,
    /// The system has more bytes, as far as is known.
    readable: bool,
    /// The peer has closed its side, as far as the system says.
    closing: bool,
    /// Nothing more is taken from the peer until it has taken its answers.
    stalled: bool,
    /// The peer will not send anything any more.
    pub(super) ended: bool,
    /// Since when a frame has been coming that is not whole yet, ms.
    partial_since_ms: Option<u64>,
    /// When bytes last came or went, ms.
    pub(super) active_ms: u64,
    /// In the list of those to be served next.
    pub(super) is_ready: bool,
    /// In the list of those with something to send.
    pub(super) is_dirty: bool,
    /// Bytes held for this peer, as last counted.
    pub(super) counted: usize,
}

/// Why a connection is closed by us.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closing {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Connection {
    pub(super) fn new(stream: TcpStream, caller: Caller, role: Role, now_ms: u64) -> Self {
        Self {
            stream,
            caller,
            role,
            input: Input::default(),
            output: Output::default(),
            notices: Notices::default(),
            deferred: Deferred::default(),
            to_judge: Deferred::default(),
            in_flight: 0,
            held_pulls: 0,
            at_readers: 0,
            at_judges: 0,
            readable: false,
            closing: false,
            stalled: false,
            ended: false,
            partial_since_ms: None,
            active_ms: now_ms,
            is_ready: false,
            is_dirty: false,
            counted: 0,
        }
    }

    /// The system says that there are bytes, or that there will be no more.
    pub(super) fn on_readable(&mut self, closing: bool) {
        self.readable = true;
        self.closing |= closing;
    }

    /// Takes what the peer has sent, unless it has answers to take first.
    pub(super) fn read(&mut self, now_ms: u64, buffers: &mut Buffers) -> Result<(), Closing> {
        if !self.readable || self.stalled {
            return Ok(());
        }
        self.active_ms = now_ms;
        match self.input.fill(&mut self.stream, self.closing, buffers)? {
            Filled::Drained => self.readable = false,
            Filled::More => {}
            Filled::Closed => {
                self.readable = false;
                self.ended = true;
            }
        }
        Ok(())
    }

    /// Handles all whole frames that were read.
    pub(super) fn serve(
        &mut self,
        step: &mut Step<'_>,
        shell: &mut Shell,
        buffers: &mut Buffers,
    ) -> Result<(), Closing> {
        let Self { input, output, in_flight, held_pulls, caller, deferred, role, .. } = self;
        let pending = input.pending();
        let frames = shell.limits.frames();
        let (mut used, mut wanted, mut longest) = (0, 0, 0);
        self.stalled = false;
        while used < pending.len() {
            if is_full(output, *in_flight, deferred, &shell.limits) || shell.planned > PLANNED_MAX {
                self.stalled = true;
                break;
            }
            match Frame::split(&pending[used..], &frames)? {
                Split::Frame(frame, len) => {
                    let destination =
                        Destination { role: *role, caller, output, in_flight, held_pulls };
                    dispatch(step, shell, destination, &frame)?;
                    used += len;
                    longest = longest.max(len);
                }
                Split::Partial(missing) => {
                    wanted = pending.len() - used + missing;
                    break;
                }
            }
        }
        let since_ms = self.partial_since_ms.filter(|_| used == 0).unwrap_or(step.now.mono_ms);
        self.partial_since_ms = (wanted > 0).then_some(since_ms);
        if used > 0 {
            input.expect(longest);
        }
        input.consume(used);
        input.make_room(wanted, buffers);
        Ok(())
    }

    /// Whether the frame that is coming has taken longer than `time_ms` so far.
    pub(super) fn drips(&self, now_ms: u64, time_ms: u64) -> bool {
        self.partial_since_ms.is_some_and(|since_ms| since_ms + time_ms <= now_ms)
    }

    /// Whether anything of what the peer has asked for is still to be sent to it.
    pub(super) fn owes_answers(&self) -> bool {
        !self.output.is_empty() || self.waits() > 0
    }

    /// How many of its requests wait for somebody.
    pub(super) fn waits(&self) -> usize {
        let elsewhere = self.at_readers + self.at_judges;
        self.in_flight + elsewhere + self.deferred.len() + self.to_judge.len()
    }

    /// Ends what is sent, and takes what has come meanwhile: a socket that is closed with bytes in
    /// it is reset, and what it has sent may be lost on its way.
    pub(super) fn hang_up(&mut self) {
        let mut unread = [0; 16 << 10];
        if self.stream.shutdown(Shutdown::Write).is_ok() {
            let mut reads = 0..UNREAD_BYTES_MAX / unread.len();
            while reads.next().is_some() && matches!(self.stream.read(&mut unread), Ok(1..)) {}
        }
    }

    /// Whether there is something to do that no event will announce.
    pub(super) fn has_more(&self, limits: &Limits) -> bool {
        if self.stalled {
            return self.may_go_on(limits);
        }
        self.readable
    }

    /// Whether a stalled peer has taken enough to be served again. Half of the limit is left free,
    /// so that it is not stalled again by the next answer.
    fn may_go_on(&self, limits: &Limits) -> bool {
        self.output.len() <= limits.output_bytes_max / 2
            && self.in_flight < limits.requests_in_flight_max
            && self.deferred.len() == 0
    }

    /// Gives memory back that is not needed until the peer sends again. Who is known to have sent
    /// more is served again at once.
    pub(super) fn rest_input(&mut self, buffers: &mut Buffers) {
        if !self.readable || self.input.pending().is_empty() {
            self.input.rest(buffers);
        }
    }

    /// Bytes held for this peer.
    pub(super) fn held(&self) -> usize {
        let waiting = self.deferred.bytes + self.to_judge.bytes;
        self.input.held() + self.output.held() + self.notices.held() + waiting
    }
}

fn is_full(output: &Output, in_flight: usize, deferred: &Deferred, limits: &Limits) -> bool {
    output.len() > limits.output_bytes_max
        || in_flight >= limits.requests_in_flight_max
        || deferred.len() > 0
}

/// Pulls whose records are known and not read yet, in order.
#[derive(Default)]
pub(super) struct Deferred {
    pulls: VecDeque<(Waiting, Found)>,
    /// What they take of memory.
    bytes: usize,
}

impl Deferred {
    pub(super) fn len(&self) -> usize {
        self.pulls.len()
    }

    pub(super) fn push_back(&mut self, waiting: Waiting, found: Found) {
        self.bytes += cost(&found);
        self.pulls.push_back((waiting, found));
    }

    pub(super) fn push_front(&mut self, waiting: Waiting, found: Found) {
        self.bytes += cost(&found);
        self.pulls.push_front((waiting, found));
    }

    pub(super) fn pop_front(&mut self) -> Option<(Waiting, Found)> {
        let (waiting, found) = self.pulls.pop_front()?;
        self.bytes -= cost(&found);
        Some((waiting, found))
    }
}

fn cost(found: &Found) -> usize {
    let entry = size_of_val(found.plan.entries.as_slice());
    size_of::<(Waiting, Found)>() + entry
}
