use std::collections::VecDeque;
use std::io;

use millrace_engine::{Caller, Found};
use millrace_protocol::{Frame, FrameError, HeaderError, Split};
use mio::net::TcpStream;

use crate::config::Limits;
use crate::core::Step;
use crate::dispatch::{Destination, Role, dispatch};
use crate::reactor::input::{Buffers, Filled, Input};
use crate::reactor::output::Output;
use crate::shell::Shell;
use crate::waiting::Waiting;

/// One peer.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) caller: Caller,
    role: Role,
    input: Input,
    pub(super) output: Output,
    /// Pulls whose records wait until the peer has taken what it was given, or for a reader.
    pub(super) deferred: VecDeque<(Waiting, Found)>,
    /// Requests that wait for the engine or a reader.
    pub(super) in_flight: usize,
    /// Answers that readers are making.
    pub(super) at_readers: usize,
    /// The system has more bytes, as far as is known.
    readable: bool,
    /// The peer has closed its side, as far as the system says.
    closing: bool,
    /// Nothing more is taken from the peer until it has taken its answers.
    stalled: bool,
    /// The peer will not send anything any more.
    pub(super) ended: bool,
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
            deferred: VecDeque::new(),
            in_flight: 0,
            at_readers: 0,
            readable: false,
            closing: false,
            stalled: false,
            ended: false,
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
        limits: &Limits,
        buffers: &mut Buffers,
    ) -> Result<(), Closing> {
        let Self { input, output, in_flight, caller, deferred, role, .. } = self;
        let pending = input.pending();
        let mut used = 0;
        let mut wanted = 0;
        self.stalled = false;
        while used < pending.len() {
            if is_full(output, *in_flight, deferred.len(), limits) {
                self.stalled = true;
                break;
            }
            match Frame::split(&pending[used..], &limits.frames())? {
                Split::Frame(frame, len) => {
                    let destination = Destination { role: *role, caller, output, in_flight };
                    dispatch(step, shell, destination, &frame)?;
                    used += len;
                }
                Split::Partial(missing) => {
                    wanted = pending.len() - used + missing;
                    break;
                }
            }
        }
        input.consume(used);
        input.make_room(wanted, buffers);
        Ok(())
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
            && self.deferred.is_empty()
    }

    /// Gives memory back that is not needed until the peer sends again.
    pub(super) fn rest_input(&mut self, buffers: &mut Buffers) {
        self.input.rest(buffers);
    }

    /// Bytes held for this peer.
    pub(super) fn held(&self) -> usize {
        self.input.held() + self.output.len()
    }
}

fn is_full(output: &Output, in_flight: usize, deferred: usize, limits: &Limits) -> bool {
    output.len() > limits.output_bytes_max
        || in_flight >= limits.requests_in_flight_max
        || deferred > 0
}
