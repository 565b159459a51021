use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::Duration;

use millrace_disk::Disk;
use millrace_engine::{
    Answer, Check, ConnectionId, Engine, EngineConfig, OpenEngineError, Out, Read, Ticket,
};
use millrace_store::{
    FlushError, FlushMode, Flusher, LogReader, QueueNo, Recovered, Store, StoreConfig, Watermarks,
};
use millrace_types::{Now, QueueId, TopicName};
use tokio::sync::{oneshot, watch};

use crate::clock::{Clock, system_clock};
use crate::conditions::SqlConditions;
use crate::flushing::{self, Flushing, UNFLUSHED_BYTES_MAX};
use crate::local::LocalBroker;
use crate::quarantine::Quarantine;
use crate::traffic::Traffic;

/// How a core works.
#[derive(Clone)]
pub struct CoreConfig {
    /// How the store keeps its files.
    pub store: StoreConfig,
    /// What the engine allows.
    pub engine: EngineConfig,
    /// Who makes the log durable.
    pub flushing: Flushing,
    /// What time it is.
    pub clock: Clock,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            store: StoreConfig::default(),
            engine: EngineConfig::default(),
            flushing: Flushing::Thread,
            clock: system_clock(),
        }
    }
}

impl fmt::Debug for CoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreConfig")
            .field("store", &self.store)
            .field("engine", &self.engine)
            .field("flushing", &self.flushing)
            .finish_non_exhaustive()
    }
}

/// Why a broker cannot take up a data directory.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] millrace_store::OpenError),
    /// The store opens, but the broker's own state in it cannot be read.
    #[error(transparent)]
    State(#[from] OpenEngineError),
    /// The system gives no thread.
    #[error("cannot start the flush thread")]
    Thread(#[source] io::Error),
}

/// Why a broker could not be closed cleanly; the next start recovers.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// The last messages may not be on disk.
    #[error(transparent)]
    Flush(#[from] FlushError),
    /// The flush thread has panicked.
    #[error("the flush thread is gone")]
    FlushThread,
}

/// An engine with its store, shared by all who talk to it. Clones share it.
///
/// Dropping the last clone ends the flush thread, but only [`Core::close`] leaves the mark that
/// spares the next start its work.
#[derive(Clone)]
pub struct Core(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    place: Mutex<FlusherPlace>,
}

/// Where the flusher is.
enum FlusherPlace {
    /// Here, for whoever needs it.
    Here(Box<Flusher>),
    /// With its thread.
    Thread(thread::JoinHandle<Flusher>),
    /// Given back to the store.
    Gone,
}

/// What the callers, the reactor and the flush thread share.
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) marks: Watermarks,
    pub(crate) reader: LogReader,
    pub(crate) mode: FlushMode,
    /// There is no flush thread.
    pub(crate) manual: bool,
    pub(crate) clock: Clock,
    pub(crate) name: Arc<str>,
    /// The flush thread, to be woken.
    flush_thread: OnceLock<thread::Thread>,
    /// Somebody waits for a flush that the flush mode would not make yet.
    pub(crate) flush_wanted: AtomicBool,
    /// The flush thread sleeps until there is something to flush.
    pub(crate) flush_idle: AtomicBool,
    pub(crate) stopping: AtomicBool,
    /// When the log was last flushed without a thread, by the core's clock.
    flushed_at_ms: AtomicU64,
    /// When the engine has to be told that time has passed; `u64::MAX` if never.
    due_ms: AtomicU64,
    /// Wakes the reactor when there are answers for it.
    wire_waker: OnceLock<Arc<mio::Waker>>,
    /// What consumers were given.
    pub(crate) traffic: Arc<Traffic>,
    /// What they could not be given.
    pub(crate) quarantine: Quarantine,
    /// Counts the changes of topics.
    pub(crate) topics: watch::Receiver<u64>,
}

struct State {
    host: SocketAddr,
    /// `None` once the broker is closed.
    engine: Option<Engine>,
    out: Out,
    next_local: u64,
    local: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    /// Answers for the reactor.
    wire: Vec<(Ticket, Answer)>,
    /// What the engine needs from the disk, for the reactor to have it read.
    cold_reads: Vec<Read>,
    /// What producers are to be asked, for the reactor to do so.
    checks: Vec<Check>,
    /// Tells of changes of topics, and of which the last was told.
    topics: watch::Sender<u64>,
    told_topics: u64,
}

/// Tickets and connections with this bit belong to callers in this process, all others to the
/// reactor.
const LOCAL: u64 = 1 << 63;

/// Whether a burst has to be durable before all of its answers can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No more than the flush mode says.
    Policy,
    /// Yes.
    Durable,
}

/// The engine, for as long as one burst takes.
pub(crate) struct Step<'a> {
    pub(crate) engine: &'a mut Engine,
    pub(crate) now: Now,
    pub(crate) out: &'a mut Out,
    /// Where the broker says it is; the born host of what this process sends.
    pub(crate) host: SocketAddr,
}

impl Core {
    /// Opens a data directory, creating it if needed, and tells what was found there.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: CoreConfig,
    ) -> Result<(Self, Recovered), OpenError> {
        let (mode, host) = (config.store.flush, config.store.store_host);
        let (store, flusher, recovered) = Store::open(disk, dir, config.store)?;
        let engine = Engine::open(store, config.engine, Arc::new(SqlConditions))?;
        let told_topics = engine.topics_version();
        let (sender, topics) = watch::channel(told_topics);
        let shared = Arc::new(Shared {
            marks: engine.watermarks().clone(),
            reader: engine.reader(),
            mode,
            manual: config.flushing == Flushing::Manual,
            clock: config.clock,
            name: Arc::clone(&engine.config().broker_name),
            state: Mutex::new(State {
                host,
                engine: Some(engine),
                out: Out::default(),
                next_local: 0,
                local: BTreeMap::new(),
                wire: Vec::new(),
                cold_reads: Vec::new(),
                checks: Vec::new(),
                topics: sender,
                told_topics,
            }),
            flush_thread: OnceLock::new(),
            flush_wanted: AtomicBool::new(false),
            flush_idle: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            flushed_at_ms: AtomicU64::new(0),
            due_ms: AtomicU64::new(0),
            wire_waker: OnceLock::new(),
            traffic: Arc::default(),
            quarantine: Quarantine::default(),
            topics,
        });
        let place = match config.flushing {
            Flushing::Manual => FlusherPlace::Here(Box::new(flusher)),
            Flushing::Thread => FlusherPlace::Thread(start_thread(&shared, flusher)?),
        };
        let place = Mutex::new(place);
        Ok((Self(Arc::new(Handle { shared, place })), recovered))
    }

    /// The broker as seen from this process.
    pub fn local(&self) -> LocalBroker {
        LocalBroker::new(self.clone())
    }

    /// The broker's name.
    pub fn name(&self) -> &Arc<str> {
        &self.0.shared.name
    }

    /// How far the log is written and durable.
    pub fn watermarks(&self) -> &Watermarks {
        &self.0.shared.marks
    }

    /// Makes everything appended so far durable and answers those who waited for it. With a
    /// flush thread this only asks for it.
    pub fn flush_now(&self) {
        let mut place = self.lock_place();
        match &mut *place {
            FlusherPlace::Here(flusher) => flushing::flush(&self.0.shared, flusher),
            FlusherPlace::Thread(_) => self.0.shared.ask_for_flush(),
            FlusherPlace::Gone => {}
        }
    }

    /// Lets the engine see that time has passed: held pulls that have waited long enough are
    /// answered, and producers are told what is not yet durable. A server's reactor does this.
    pub fn tick(&self) {
        self.0.shared.step(Needs::Policy, |step| step.engine.on_tick(step.now, step.out));
    }

    /// Makes everything durable, answers who waits for that, and closes the store so that the
    /// next start has nothing to do. Whoever calls the broker afterwards is told that it is gone.
    /// Closing twice is fine.
    pub fn close(&self) -> Result<(), CloseError> {
        let mut place = self.lock_place();
        if !matches!(*place, FlusherPlace::Gone) {
            self.0.shared.step(Needs::Policy, |step| step.engine.on_closing(step.now));
        }
        let flusher = match mem::replace(&mut *place, FlusherPlace::Gone) {
            FlusherPlace::Here(mut flusher) => {
                flushing::flush(&self.0.shared, &mut flusher);
                *flusher
            }
            FlusherPlace::Thread(thread) => {
                self.0.shared.stop_flush_thread();
                thread.join().map_err(|_| CloseError::FlushThread)?
            }
            FlusherPlace::Gone => return Ok(()),
        };
        let engine = {
            let mut state = self.0.shared.lock();
            state.local.clear();
            state.engine.take()
        };
        match engine {
            Some(engine) => Ok(engine.into_store().close(flusher)?),
            None => Ok(()),
        }
    }

    /// How many requests from this process are not answered yet.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.0.shared.lock().local.len()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    fn lock_place(&self) -> MutexGuard<'_, FlusherPlace> {
        self.0.place.lock().expect("nothing panics while it holds the flusher")
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Core").field(&self.0.shared.name).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let place = self.place.get_mut().map(|place| mem::replace(place, FlusherPlace::Gone));
        if let Ok(FlusherPlace::Thread(thread)) = place {
            self.shared.stop_flush_thread();
            // A panic there was reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn start_thread(
    shared: &Arc<Shared>,
    flusher: Flusher,
) -> Result<thread::JoinHandle<Flusher>, OpenError> {
    let for_thread = Arc::clone(shared);
    let thread = thread::Builder::new()
        .name("millrace-flush".into())
        .spawn(move || flushing::run(&for_thread, flusher))
        .map_err(OpenError::Thread)?;
    let _ = shared.flush_thread.set(thread.thread().clone());
    Ok(thread)
}

impl Step<'_> {
    /// What some groups want of some topics has changed, or what they may have: pulls of theirs
    /// that wait are answered, so that they are asked again.
    pub(crate) fn ask_again(&mut self, traffic: &Traffic, is_meant: impl Fn(&str, &str) -> bool) {
        // Also if none waits: some may be decided over by judges, and wait on after this.
        let askers = traffic.askers(is_meant);
        self.engine.ask_again(|asker| askers.contains(&asker), self.out);
    }
}

impl Shared {
    /// The same for threads that are not in a step.
    pub(crate) fn ask_again(&self, is_meant: impl Fn(&str, &str) -> bool) {
        self.step(Needs::Policy, |step| step.ask_again(&self.traffic, is_meant));
    }

    pub(crate) fn now(&self) -> Now {
        (self.clock)()
    }

    /// Does something with the engine, ends the burst, and hands out the answers. `None` if the
    /// broker is closed.
    pub(crate) fn step<R>(&self, needs: Needs, act: impl FnOnce(&mut Step<'_>) -> R) -> Option<R> {
        let mut state = self.lock();
        let result = self.run(&mut state, self.now(), act);
        let wake = state.hand_out();
        drop(state);
        if wake {
            self.wake_reactor();
        }
        self.nudge_flush(needs);
        result
    }

    /// The same for the reactor, which takes its answers with it, what is to be read, and what is to
    /// be asked.
    pub(crate) fn burst<R>(
        &self,
        needs: impl FnOnce(&R) -> Needs,
        answers: &mut Vec<(Ticket, Answer)>,
        reads: &mut Vec<Read>,
        checks: &mut Vec<Check>,
        act: impl FnOnce(&mut Step<'_>) -> R,
    ) -> Option<R> {
        let mut state = self.lock();
        let result = self.run(&mut state, self.now(), act);
        state.hand_out();
        debug_assert!(answers.is_empty(), "the last burst's answers are handled");
        mem::swap(answers, &mut state.wire);
        reads.append(&mut state.cold_reads);
        checks.append(&mut state.checks);
        drop(state);
        if let Some(result) = &result {
            self.nudge_flush(needs(result));
        }
        result
    }

    /// One burst: what is done, the reads that need not wait for a disk, and the write.
    fn run<R>(
        &self,
        state: &mut State,
        now: Now,
        act: impl FnOnce(&mut Step<'_>) -> R,
    ) -> Option<R> {
        let State { engine: Some(engine), out, host, topics, told_topics, .. } = state else {
            return None;
        };
        let result = act(&mut Step { engine, now, out, host: *host });
        if !out.reads.is_empty() {
            // Without a reactor there is nobody else who could wait.
            let alone = self.is_alone();
            for read in mem::take(&mut out.reads) {
                if alone || read.is_hot(&self.reader) {
                    engine.on_read(now, read.id, read.run(&self.reader), out);
                } else {
                    out.reads.push(read);
                }
            }
        }
        engine.commit(now, out);
        if !out.checks.is_empty() && self.is_alone() {
            // There is no producer either who could be asked.
            out.checks.clear();
        }
        let due_ms = engine.due_ms().unwrap_or(u64::MAX).min(engine.upkeep_ms());
        self.due_ms.store(due_ms, Ordering::Relaxed);
        let version = engine.topics_version();
        if version != *told_topics {
            *told_topics = version;
            topics.send_replace(version);
        }
        Some(result)
    }

    /// What a queue is called; no topic if the broker is closed.
    pub(crate) fn queue_name(&self, queue: QueueNo) -> (Option<TopicName>, QueueId) {
        match &self.lock().engine {
            Some(engine) => {
                let (topic, id) = engine.queue_name(queue);
                (Some(topic.clone()), id)
            }
            None => (None, QueueId(0)),
        }
    }

    /// Whether there is no reactor.
    fn is_alone(&self) -> bool {
        self.wire_waker.get().is_none()
    }

    /// When the engine has to be told that time has passed, if ever.
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms.load(Ordering::Relaxed)
    }

    /// Like [`Shared::step`], for one request of a caller in this process.
    pub(crate) fn ask(
        &self,
        needs: Needs,
        act: impl FnOnce(&mut Step<'_>, Ticket, ConnectionId),
    ) -> Option<LocalAnswer> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.next_local += 1;
        let id = LOCAL | state.next_local;
        let connection = ConnectionId(id);
        state.local.insert(Ticket(id), sender);
        let now = self.now();
        let acted = self.run(&mut state, now, |step| act(step, Ticket(id), connection));
        if acted.is_none() {
            state.local.remove(&Ticket(id));
            return None;
        }
        let wake = state.hand_out();
        drop(state);
        if wake {
            self.wake_reactor();
        }
        self.nudge_flush(needs);
        Some(LocalAnswer { connection, receiver })
    }

    /// Nobody waits for a local request any more.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        let mut state = self.lock();
        state.local.remove(&Ticket(connection.0));
        if let Some(engine) = &mut state.engine {
            engine.on_closed(connection);
        }
    }

    /// Whether it is time to flush again for whoever does it without a thread; if so, the next
    /// interval starts now.
    pub(crate) fn flush_interval_over(&self, interval: Duration) -> bool {
        let now_ms = self.now().mono_ms;
        let elapsed = now_ms.saturating_sub(self.flushed_at_ms.load(Ordering::Relaxed));
        let over = u128::from(elapsed) >= interval.as_millis();
        if over {
            self.flushed_at_ms.store(now_ms, Ordering::Relaxed);
        }
        over
    }

    /// How answers for the reactor announce themselves.
    pub(crate) fn set_wire_waker(&self, waker: Arc<mio::Waker>) {
        let _ = self.wire_waker.set(waker);
    }

    pub(crate) fn on_durable(&self) {
        self.step(Needs::Policy, |step| step.engine.on_durable(step.now, step.out));
    }

    pub(crate) fn on_flush_failed(&self, reason: &str) {
        self.step(Needs::Policy, |step| step.engine.on_flush_failed(reason, step.out));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Half a step leaves the engine in no state to go on with.
        self.state.lock().expect("no step of the engine has panicked")
    }

    pub(crate) fn wake_reactor(&self) {
        if let Some(waker) = self.wire_waker.get()
            && let Err(error) = waker.wake()
        {
            tracing::error!(error = %error, "the reactor cannot be woken");
        }
    }

    /// Tells the flush thread of what was appended, if it would not notice in time by itself.
    fn nudge_flush(&self, needs: Needs) {
        let Some(thread) = self.flush_thread.get() else {
            return;
        };
        let behind = self.marks.appended().since(self.marks.durable());
        if behind == 0 {
            return;
        }
        let now = match (needs, self.mode) {
            (Needs::Durable, _) | (_, FlushMode::Sync) => true,
            (Needs::Policy, FlushMode::Async { .. }) => behind > UNFLUSHED_BYTES_MAX,
        };
        // Pairs with the fence of the flush thread: either it sees the bytes or we its flag.
        fence(Ordering::SeqCst);
        if now && !self.flush_wanted.swap(true, Ordering::AcqRel)
            || self.flush_idle.swap(false, Ordering::SeqCst)
        {
            thread.unpark();
        }
    }

    fn ask_for_flush(&self) {
        self.nudge_flush(Needs::Durable);
    }

    fn stop_flush_thread(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.flush_thread.get() {
            thread.unpark();
        }
    }
}

impl State {
    /// Gives each answer to who waits for it; tells whether the reactor has to be woken.
    fn hand_out(&mut self) -> bool {
        let had_some = self.has_work();
        self.cold_reads.append(&mut self.out.reads);
        self.checks.append(&mut self.out.checks);
        for (ticket, answer) in self.out.answers.drain(..) {
            if ticket.0 & LOCAL == 0 {
                self.wire.push((ticket, answer));
            } else if let Some(sender) = self.local.remove(&ticket) {
                // Whoever asked may have gone away.
                let _ = sender.send(answer);
            }
        }
        !had_some && self.has_work()
    }

    /// Whether there is anything for the reactor.
    fn has_work(&self) -> bool {
        !(self.wire.is_empty() && self.cold_reads.is_empty() && self.checks.is_empty())
    }
}

/// An answer to a request from this process, on its way.
pub(crate) struct LocalAnswer {
    pub(crate) connection: ConnectionId,
    pub(crate) receiver: oneshot::Receiver<Answer>,
}
