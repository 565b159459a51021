//! One thread that serves all connections in bursts.
//!
//! Each turn of [`Reactor::run`] reads every connection that has something, hands all whole frames
//! to the engine in one step, ends the burst with one write to the log, and gives each connection
//! its answers with one write. Nothing here waits but [`mio::Poll`]. Answers that come later, from
//! the flush thread, from callers in this process or from the readers, wake it.

mod connection; // one peer
mod heap; // memory that nobody needs any more
mod input; // bytes not handled yet
mod judging; // pulls that attached filters decide over
mod listener; // where peers come in
mod memory; // what is held for all peers
mod notices; // what members were told and have not taken
mod output; // bytes not sent yet
mod slots; // the peers by number
mod unasked; // what peers are sent without having asked

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use millrace_engine::{Answer as Answered, Check, ConnectionId, Found, Read, Refusal, Ticket};
use millrace_namesrv::{Departure, Link};
use millrace_protocol::Answer;
use millrace_types::Now;
use mio::{Events, Poll, Token, Waker};
use tracing::{debug, error, warn};

use crate::answers::{judge, takes_long, write_answer, write_records};
use crate::core::{Needs, Shared};
use crate::handlers::registry::log_gone;
use crate::judges::{self, Duty, Judged, Judges, Outcome};
use crate::readers::{Done, Job, Question, Readers};
use crate::refusal::{Dialect, waited_too_long, write_refusal};
use crate::shell::Shell;
use crate::waiting::{Awaited, Waiting};
use connection::{Closing, Connection};
use heap::Heap;
use input::Buffers;
use listener::Accepted;
pub(crate) use listener::Listener;
pub(crate) use output::Output;
use slots::Slots;

/// Serves connections until it is told to stop.
pub(crate) struct Reactor {
    poll: Poll,
    listeners: Vec<Listener>,
    connections: Slots,
    shell: Shell,
    shared: Arc<Shared>,
    readers: Readers,
    judges: Judges,
    /// The filters are being changed.
    chore_under_way: bool,
    control: Arc<Control>,
    buffers: Buffers,
    /// Connections to be served, and those with something to send.
    ready: Vec<usize>,
    dirty: Vec<usize>,
    answers: Vec<(Ticket, Answered)>,
    /// Answers that wait for name servers to know of changed topics.
    untold: Vec<Untold>,
    /// Bytes held for all peers.
    held: usize,
    heap: Heap,
    /// Gives the system back what is free; takes its time.
    give_back_free: fn(),
    swept_ms: u64,
    /// What the engine needs from the disk and no reader had time for yet.
    engine_reads: Vec<Read>,
    /// What producers are to be asked.
    checks: Vec<Check>,
    /// Some connections have pulls that no reader had time for.
    short_of_readers: bool,
    /// How long the last turn took: what comes in this one may have waited for as long.
    busy_ms: u64,
    /// When to look again for who wants to come in, after the system had no room, ms.
    accept_at_ms: Option<u64>,
}

/// How others stop the reactor, and what it lets them see of itself.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) stopping: AtomicBool,
    pub(crate) connections: AtomicUsize,
    pub(crate) held_bytes: AtomicUsize,
    pub(crate) held_bytes_peak: AtomicUsize,
    /// Questions that wait for a reader.
    pub(crate) questions: AtomicUsize,
    /// Clients that say in their heartbeats that they produce or consume, as of the last sweep.
    pub(crate) producers: AtomicUsize,
    pub(crate) consumers: AtomicUsize,
}

/// An answer to who has changed topics, and until when it waits for name servers, ms.
struct Untold {
    version: u64,
    until_ms: u64,
    waiting: Waiting,
    answer: Answered,
}

const WAKER: Token = Token(0);
/// How often is looked for what has expired.
const SWEEP_MS: u64 = 10_000;
/// A question that has waited for so long is not looked into any more. (In RocketMQ, the same.)
pub(crate) const QUESTION_MS_MAX: u64 = 5_000;
/// The system has no room for another connection: others have to end first.
const ACCEPT_AGAIN_MS: u64 = 100;
/// Answers that readers make for one connection at a time; each may hold several MiB.
const AT_READERS_MAX: usize = 2;
/// Pulls of one connection that attached filters decide over at a time, and those that wait for
/// that; further ones are told to come again.
pub(crate) const AT_JUDGES_MAX: usize = 8;
pub(crate) const TO_JUDGE_MAX: usize = 64;
/// No connection has this id: what is read for the engine answers nobody.
const NOBODY: ConnectionId = ConnectionId(0);
/// Name servers that can be reached get so long to take what has changed; producers wait for 3 s.
const UNTOLD_MS_MAX: u64 = 1_000;
/// A stopping reactor waits so long for the disk and for slow peers.
const STOP: Duration = Duration::from_secs(5);

impl Reactor {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        shell: Shell,
        mut listeners: Vec<Listener>,
        control: Arc<Control>,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        for (n, listener) in listeners.iter_mut().enumerate() {
            listener.register(poll.registry(), Token(1 + n))?;
        }
        shared.set_wire_waker(Arc::clone(&waker));
        let for_threads = Arc::clone(&waker);
        let wake = move || {
            if let Err(error) = for_threads.wake() {
                error!(error = %error, "the reactor cannot be woken");
            }
        };
        let readers = Readers::start(wake.clone())?;
        let filters = Arc::clone(&shell.filters);
        let judges = Judges::start(wake, move || filters.prepare())?;
        let reactor = Self {
            poll,
            connections: Slots::new(1 + listeners.len()),
            listeners,
            shell,
            shared: Arc::clone(shared),
            readers,
            judges,
            chore_under_way: false,
            control,
            buffers: Buffers::default(),
            ready: Vec::new(),
            dirty: Vec::new(),
            answers: Vec::new(),
            untold: Vec::new(),
            held: 0,
            heap: Heap::default(),
            give_back_free: heap::give_back,
            swept_ms: 0,
            engine_reads: Vec::new(),
            checks: Vec::new(),
            short_of_readers: false,
            busy_ms: 0,
            accept_at_ms: None,
        };
        Ok((reactor, waker))
    }

    /// Serves until it is told to stop, then answers what is pending and closes all connections.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.control.stopping.load(Ordering::Acquire) {
            self.wait(&mut events)?;
            self.turn();
        }
        self.listeners.clear();
        let deadline = self.shared.now().mono_ms + STOP.as_millis() as u64;
        while self.shell.waiting.any_append() && self.shared.now().mono_ms < deadline {
            self.poll_once(&mut events, Duration::from_millis(10))?;
            self.ready.clear();
            self.turn();
        }
        self.release_held_pulls();
        while self.connections.iter().any(Connection::owes_answers)
            && self.shared.now().mono_ms < deadline
        {
            self.poll_once(&mut events, Duration::from_millis(10))?;
            self.ready.clear();
            self.turn();
        }
        self.connections.iter_mut().for_each(Connection::hang_up);
        Ok(())
    }

    /// One burst.
    fn turn(&mut self) {
        let now = self.shared.now();
        self.shell.late_ms = std::mem::take(&mut self.busy_ms);
        if self.accept_at_ms.is_some_and(|at| at <= now.mono_ms) {
            self.accept_at_ms = None;
            (0..self.listeners.len()).for_each(|n| self.accept(n));
        }
        let mut ready = std::mem::take(&mut self.ready);
        for &slot in &ready {
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.is_ready = false;
                if let Err(closing) = connection.read(now.mono_ms, &mut self.buffers) {
                    self.close(slot, &closing);
                }
            }
        }
        self.forget_gone();
        // Who is not served now comes first in the next turn.
        let later = ready.split_off(self.serve(now, &ready));
        for slot in later {
            self.put_off(slot);
        }
        self.write_answers(now);
        self.ask_producers();
        self.tell_changed(now);
        self.pass_on(now);
        self.take_done();
        self.take_judged();
        self.hand_out_questions(now);
        self.hand_out_reads();
        self.hand_out_chore();
        for &slot in &ready {
            self.settle(slot);
        }
        self.send_dirty(now);
        // Connections that were lost in this turn may have been members, or asked for something.
        self.tell_changed(now);
        self.pass_on(now);
        ready.clear();
        if self.ready.is_empty() {
            // Kept for its memory.
            self.ready = ready;
        }
        self.control.connections.store(self.connections.len(), Ordering::Relaxed);
        self.control.held_bytes.store(self.held, Ordering::Relaxed);
        self.control.questions.store(self.shell.questions.len(), Ordering::Relaxed);
        self.busy_ms = self.shared.now().mono_ms.saturating_sub(now.mono_ms);
        if now.mono_ms >= self.swept_ms + SWEEP_MS {
            self.sweep(now);
        }
    }

    /// Hands everything that was read to the engine, in one step, until the answers take too much
    /// memory. Tells how many connections were served.
    fn serve(&mut self, now: Now, ready: &[usize]) -> usize {
        let Self { shared, shell, connections, answers, buffers, engine_reads, checks, .. } = self;
        let ticks = shell.waiting.earliest_ms().is_some_and(|at| at <= now.mono_ms)
            || shared.due_ms() <= now.mono_ms;
        let mut lost: Vec<(usize, Closing)> = Vec::new();
        let (mut count, mut bytes) = (0, 0);
        let served = shared.burst(
            |needs| *needs,
            answers,
            engine_reads,
            checks,
            |step| {
                shell.needs = Needs::Policy;
                shell.planned = 0;
                shell.planned_bytes = 0;
                if ticks {
                    step.engine.on_tick(step.now, step.out);
                }
                for &slot in ready {
                    if bytes + shell.planned_bytes > shell.limits.burst_bytes_max {
                        break;
                    }
                    count += 1;
                    if let Some(connection) = connections.get_mut(slot) {
                        let before = connection.output.held();
                        if let Err(closing) = connection.serve(step, shell, buffers) {
                            lost.push((slot, closing));
                        }
                        bytes += connection.output.held().saturating_sub(before);
                    }
                }
                let again = shell.clients.take_resubscribed();
                if !again.is_empty() {
                    step.ask_again(&shared.traffic, |group, _| again.contains(group));
                }
                shell.needs
            },
        );
        if served.is_none() {
            // The broker is closed under us; whoever is connected has to go.
            self.control.stopping.store(true, Ordering::Release);
        }
        if ticks {
            self.shell.waiting.find_earliest();
        }
        for (slot, closing) in lost {
            self.close(slot, &closing);
        }
        count
    }

    /// Leaves a connection with requests to the next turn.
    fn put_off(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.rest_input(&mut self.buffers);
            connection.is_ready = true;
            self.ready.push(slot);
            self.count(slot);
        }
    }

    /// Gives the engine's answers to the connections that asked. Who has changed topics and asks a
    /// name server next is to find there what it did.
    fn write_answers(&mut self, now: Now) {
        let is_known = |version| {
            let known = self.shell.known.as_ref();
            known.is_none_or(|known| known.reaches(version))
        };
        let is_over =
            |untold: &mut Untold| untold.until_ms <= now.mono_ms || is_known(untold.version);
        let told: Vec<Untold> = self.untold.extract_if(.., is_over).collect();
        for Untold { waiting, answer, .. } in told {
            self.write(waiting, answer);
        }
        let mut answers = std::mem::take(&mut self.answers);
        for (ticket, answer) in answers.drain(..) {
            let Some(waiting) = self.shell.waiting.take(ticket) else {
                continue;
            };
            let known = self.shell.known.as_ref();
            match (waiting.topics, known, &answer) {
                (_, _, Answered::Refused(_)) => self.write(waiting, answer),
                (Some(version), Some(known), _) if !known.reaches(version) => {
                    let until_ms = now.mono_ms + UNTOLD_MS_MAX;
                    self.untold.push(Untold { version, until_ms, waiting, answer });
                }
                _ => self.write(waiting, answer),
            }
        }
        self.answers = answers;
    }

    fn write(&mut self, waiting: Waiting, answer: Answered) {
        let Some((slot, connection)) = self.connections.find(waiting.to.connection) else {
            return;
        };
        connection.in_flight -= 1;
        connection.held_pulls -= usize::from(waiting.is_held);
        let host = self.shell.names.host;
        let output = &mut connection.output;
        if let (Awaited::Records(_), Answered::NotFound { .. }) = (&waiting.awaited, &answer) {
            self.shared.traffic.gave_nothing();
        }
        if let Some(found) = write_answer(answer, waiting.to, &waiting.awaited, host, output) {
            if found.takes_long() {
                self.have_judged(slot, waiting, found);
            } else {
                connection.deferred.push_back(waiting, found);
                self.pump(slot);
            }
            self.count(slot);
        }
        self.mark_dirty(slot);
    }

    /// Reads and writes the records of pulls, as far as the peer takes them.
    fn pump(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        while connection.output.len() <= self.shell.limits.output_bytes_max {
            let Some((waiting, found)) = connection.deferred.pop_front() else {
                return;
            };
            if !takes_long(&found, &self.shared.reader) {
                let (to, awaited) = (waiting.to, &waiting.awaited);
                write_records(&found, &self.shared, to, awaited, &mut connection.output);
                continue;
            }
            if connection.at_readers >= AT_READERS_MAX {
                return connection.deferred.push_front(waiting, found);
            }
            // A copy, because a job that is not taken is gone.
            let (again, shared) = ((waiting.clone(), found.clone()), Arc::clone(&self.shared));
            let work = move || {
                let (mut output, to) = (Output::default(), waiting.to);
                write_records(&found, &shared, to, &waiting.awaited, &mut output);
                output
            };
            let job = Job { connection: again.0.to.connection, work: Box::new(work) };
            if self.readers.submit(job).is_err() {
                self.short_of_readers = true;
                return connection.deferred.push_front(again.0, again.1);
            }
            connection.at_readers += 1;
        }
    }

    /// Takes the answers that the readers have made.
    fn take_done(&mut self) {
        let done = self.readers.take_done();
        if done.is_empty() {
            return;
        }
        for Done { connection, output } in done {
            if let Some((slot, connection)) = self.connections.find(connection) {
                connection.output.append(output);
                connection.at_readers -= 1;
                self.pump(slot);
                self.mark_dirty(slot);
            }
        }
        if std::mem::take(&mut self.short_of_readers) {
            for slot in self.connections.slots() {
                self.pump(slot);
                self.mark_dirty(slot);
            }
        }
    }

    /// Gives the readers the questions that handlers left to them. Whoever has waited for too long
    /// is told so, and has probably given up.
    fn hand_out_questions(&mut self, now: Now) {
        while let Some(Question { to, asked_ms, work }) = self.shell.questions.pop_front() {
            let Some((slot, connection)) = self.connections.find(to.connection) else {
                continue;
            };
            let waited_ms = now.mono_ms.saturating_sub(asked_ms);
            if waited_ms >= QUESTION_MS_MAX {
                connection.in_flight -= 1;
                let refused = waited_too_long(waited_ms, self.shell.questions.len());
                connection.output.write(|out| refused.write(to.kind, to.opaque, out));
                self.mark_dirty(slot);
                continue;
            }
            match self.readers.submit(Job { connection: to.connection, work }) {
                Ok(()) => {
                    connection.in_flight -= 1;
                    connection.at_readers += 1;
                }
                Err(Job { work, .. }) => {
                    return self.shell.questions.push_front(Question { to, asked_ms, work });
                }
            }
        }
    }

    /// Gives the readers what the engine needs. Their threads tell the engine themselves.
    fn hand_out_reads(&mut self) {
        while let Some(read) = self.engine_reads.pop() {
            let again = read.clone();
            let shared = Arc::clone(&self.shared);
            let work = move || {
                let found = read.run(&shared.reader);
                shared.step(Needs::Durable, |step| {
                    step.engine.on_read(step.now, read.id, found, step.out);
                });
                Output::default()
            };
            if self.readers.submit(Job { connection: NOBODY, work: Box::new(work) }).is_err() {
                return self.engine_reads.push(again);
            }
        }
    }

    /// Whoever was lost is a member no more.
    fn forget_gone(&mut self) {
        let gone = &mut self.shell.gone;
        if !gone.is_empty() {
            gone.sort_unstable();
            self.shell.clients.on_closed(gone);
            gone.clear();
        }
    }

    /// After a connection was served: counts what it holds, and sees whether there is more to do.
    fn settle(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        connection.rest_input(&mut self.buffers);
        if connection.ended && connection.output.is_empty() {
            return self.remove(slot);
        }
        if !connection.output.is_empty() || connection.ended {
            self.mark_dirty(slot);
        } else {
            self.go_on(slot);
        }
        self.count(slot);
    }

    /// Sends what connections have to send, each with one write.
    fn send_dirty(&mut self, now: Now) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            connection.is_dirty = false;
            let before = connection.output.len();
            let sent = connection.output.send(&mut connection.stream);
            let left = connection.output.len();
            if left < before {
                connection.active_ms = now.mono_ms;
            }
            match sent {
                Err(error) => self.close(slot, &error.into()),
                // Who is served in the next turn may still have requests.
                Ok(()) if connection.ended && !connection.is_ready => self.remove(slot),
                Ok(()) => {
                    if left <= self.shell.limits.output_bytes_max && connection.deferred.len() > 0 {
                        self.pump(slot);
                        self.mark_dirty_if_filled(slot, left);
                    }
                    self.pump_judges(slot);
                    self.go_on(slot);
                    self.count(slot);
                }
            }
        }
        if self.dirty.is_empty() {
            // Kept for its memory.
            self.dirty = dirty;
        }
    }

    fn mark_dirty(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && !connection.is_dirty
            && (!connection.output.is_empty() || connection.ended)
        {
            connection.is_dirty = true;
            self.dirty.push(slot);
        }
    }

    /// A connection that took everything it was given gets more in the next turn.
    fn mark_dirty_if_filled(&mut self, slot: usize, before: usize) {
        let connection = self.connections.get_mut(slot);
        if before == 0 && connection.is_some_and(|connection| !connection.output.is_empty()) {
            self.mark_dirty(slot);
        }
    }

    /// Serves a connection again in the next turn if no event will say so.
    fn go_on(&mut self, slot: usize) {
        if let Some(connection) = self.connections.get_mut(slot)
            && connection.has_more(&self.shell.limits)
            && !connection.is_ready
        {
            connection.is_ready = true;
            self.ready.push(slot);
        }
    }

    fn sweep(&mut self, now: Now) {
        self.swept_ms = now.mono_ms;
        self.shell.producers.on_tick(now.mono_ms);
        let stored = self.shared.step(Needs::Policy, |step| step.engine.stored_messages());
        let counts = self.shared.traffic.counts(stored.unwrap_or(0));
        self.shell.history.sample(now, counts);
        self.shell.history.sample_given(now, self.shared.traffic.given_to_all());
        self.control.producers.store(self.shell.producers.len(), Ordering::Relaxed);
        self.control.consumers.store(self.shell.clients.len(), Ordering::Relaxed);
        self.shell.clients.on_tick(now.mono_ms);
        let clients = &self.shell.clients;
        self.shell.resets.on_tick(now.mono_ms, |group| clients.is_online(group));
        self.shell.locks.on_tick(now.mono_ms);
        log_gone(&self.shell.routes.on_tick(now), "it was silent for too long");
        self.shell.complaints.on_tick(now.mono_ms);
        let idle_ms = self.shell.limits.idle.as_millis() as u64;
        let frame_ms = self.shell.limits.frame_time_max.as_millis() as u64;
        for slot in self.connections.slots() {
            let Some(connection) = self.connections.get_mut(slot) else {
                continue;
            };
            connection.output.rest();
            let stuck = connection.waits() == 0 || !connection.output.is_empty();
            if stuck && connection.active_ms + idle_ms <= now.mono_ms {
                debug!(peer = %connection.caller.peer, "connection closed: idle");
                self.remove(slot);
            } else if connection.drips(now.mono_ms, frame_ms) {
                let peer = connection.caller.peer;
                if self.shell.complaints.may_say(now.mono_ms) {
                    warn!(%peer, "connection closed: a frame takes too long to come");
                }
                self.remove(slot);
            }
            self.count(slot);
        }
        let Self { heap, readers, give_back_free, .. } = self;
        let give_back = *give_back_free;
        let work = move || {
            give_back();
            Output::default()
        };
        let job = || Job { connection: NOBODY, work: Box::new(work) };
        heap.on_tick(self.held, || readers.submit(job()).is_ok());
        self.tell_changed(now);
        self.pass_on(now);
    }

    fn close(&mut self, slot: usize, closing: &Closing) {
        if let Some(connection) = self.connections.get_mut(slot) {
            let peer = connection.caller.peer;
            match closing {
                Closing::Io(error) => debug!(%peer, error = %error, "connection lost"),
                Closing::Frame(_) | Closing::Header(_)
                    if !self.shell.complaints.may_say(self.shared.now().mono_ms) => {}
                Closing::Frame(error) => {
                    warn!(%peer, error = %error, "connection closed: not a RocketMQ frame");
                }
                Closing::Header(error) => {
                    warn!(%peer, error = %error, "connection closed: not a RocketMQ header");
                }
            }
            self.remove(slot);
        }
    }

    /// Forgets a connection and everything that waits for it.
    fn remove(&mut self, slot: usize) {
        let Some(mut connection) = self.connections.remove(slot) else {
            return;
        };
        if let Err(error) = self.poll.registry().deregister(&mut connection.stream) {
            debug!(error = %error, "connection not deregistered");
        }
        self.held -= connection.counted;
        let id = connection.caller.connection;
        if connection.at_judges > 0 {
            self.judges.forget(id);
        }
        if connection.in_flight > 0 {
            self.shell.waiting.forget(id);
            self.shared.step(Needs::Policy, |step| step.engine.on_closed(id));
        }
        let gone = self.shell.routes.unregister(Departure::Lost(Link(id.0)));
        log_gone(&gone, "its connection was lost");
        self.shell.producers.on_closed(id);
        self.shell.relays.on_closed(id);
        self.shell.gone.push(id);
    }

    fn release_held_pulls(&mut self) {
        self.shared.step(Needs::Policy, |step| step.engine.on_stopping(step.now, step.out));
        self.turn();
    }

    /// Takes in who waits at a listener.
    fn accept(&mut self, listener: usize) {
        let Self { connections, shell, poll, .. } = self;
        let now_ms = self.shared.now().mono_ms;
        let accepted = self.listeners[listener].accept(connections, poll.registry(), shell, now_ms);
        if accepted == Accepted::NoRoom {
            self.accept_at_ms = Some(now_ms + ACCEPT_AGAIN_MS);
        }
    }

    /// Waits for something to do and notes who has it.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        if self.shell.limits.refuse_send(self.busy_ms) {
            self.poll_once(events, Duration::ZERO)?;
            if self.ready.is_empty() {
                // Nobody has waited, and whoever comes from now on has not either.
                self.busy_ms = 0;
            }
            if !events.is_empty() {
                return Ok(());
            }
        }
        let is_done = self.ready.is_empty() && self.dirty.is_empty() && self.shell.gone.is_empty();
        let timeout = if is_done {
            Duration::from_millis(self.due_ms().saturating_sub(self.shared.now().mono_ms))
        } else {
            Duration::ZERO
        };
        self.poll_once(events, timeout)
    }

    /// When there is something to do although nobody says anything.
    fn due_ms(&self) -> u64 {
        let Self { shell, shared, accept_at_ms, swept_ms, .. } = self;
        let question = shell.questions.front().map(|oldest| oldest.asked_ms + QUESTION_MS_MAX);
        let (request, relay) = (shell.waiting.earliest_ms(), shell.relays.earliest_ms());
        let untold = self.untold.first().map(|oldest| oldest.until_ms);
        let notices = shell.clients.tell_at_ms();
        let others = [question, request, relay, untold, notices, *accept_at_ms];
        let others = others.into_iter().flatten();
        others.fold(shared.due_ms().min(swept_ms + SWEEP_MS), u64::min)
    }

    fn poll_once(&mut self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        match self.poll.poll(events, Some(timeout)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        for event in events.iter() {
            let Token(token) = event.token();
            if event.token() == WAKER {
                continue;
            }
            if token <= self.listeners.len() {
                self.accept(token - 1);
                continue;
            }
            let Some((slot, connection)) = self.connections.by_token(token) else {
                continue;
            };
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.on_readable(event.is_read_closed() || event.is_error());
                if !connection.is_ready {
                    connection.is_ready = true;
                    self.ready.push(slot);
                }
            }
            if event.is_writable() {
                self.mark_dirty(slot);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
