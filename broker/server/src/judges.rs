//! Threads for filters in WebAssembly, so that nobody but who asked for one waits for it.
//!
//! A module may take a whole core for a tenth of a second at a time, and again. So of the jobs that
//! need one module only one runs at a time, and the others take turns: a module that is slow delays
//! its own consumers, and those of other modules by no more than one job of its own on one of the
//! threads. Modules are compiled and attached on a thread of their own.

mod lines; // who is next

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use millrace_engine::{ConnectionId, Held};
use millrace_protocol::{Answer, Refused, ResponseCode};
use millrace_types::QueueOffset;
use tracing::error;

use crate::reactor::Output;
use crate::waiting::{ReplyTo, Waiting};
use lines::Lines;

/// The threads.
#[derive(Debug)]
pub(crate) struct Judges {
    desk: Arc<Desk>,
    threads: Vec<JoinHandle<()>>,
}

/// What the reactor and the threads share.
struct Desk {
    state: Mutex<State>,
    work: Condvar,
    done: Mutex<Vec<Judged>>,
}

#[derive(Default)]
struct State {
    pulls: Lines<Job>,
    chore: Option<Job>,
    stopping: bool,
}

/// Something that may need a module.
pub(crate) struct Job {
    pub(crate) to: ReplyTo,
    pub(crate) work: Box<dyn FnOnce() -> Outcome + Send>,
}

/// What came of a job.
pub(crate) enum Outcome {
    /// The whole answer.
    Answered(Output),
    /// Nothing that was found for a waiting pull is kept before this offset.
    NoneKept(Waiting, Held, QueueOffset),
}

/// A job that is done.
pub(crate) struct Judged {
    pub(crate) connection: ConnectionId,
    pub(crate) duty: Duty,
    pub(crate) outcome: Outcome,
}

/// Two, so that a module that takes all of one thread's time leaves one to the others.
const THREADS: usize = 2;

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It runs modules over what pulls have found.
    Pulls,
    /// It changes the filters.
    Chores,
}

impl Judges {
    /// Starts the threads, of which one has something to do at first; `wake` is called after each
    /// job.
    pub(crate) fn start(
        wake: impl Fn() + Clone + Send + 'static,
        at_first: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let desk = Arc::new(Desk {
            state: Mutex::default(),
            work: Condvar::new(),
            done: Mutex::default(),
        });
        let mut judges = Self { desk, threads: Vec::new() };
        for n in 0..THREADS {
            let (desk, wake) = (Arc::clone(&judges.desk), wake.clone());
            let builder = thread::Builder::new().name(format!("millrace-judge-{n}"));
            judges.threads.push(builder.spawn(move || work(&desk, Duty::Pulls, &wake))?);
        }
        let desk = Arc::clone(&judges.desk);
        let builder = thread::Builder::new().name("millrace-attach".into());
        judges.threads.push(builder.spawn(move || {
            at_first();
            work(&desk, Duty::Chores, &wake);
        })?);
        Ok(judges)
    }

    /// Hands over a pull that needs these modules.
    pub(crate) fn judge(&self, modules: Vec<usize>, job: Job) {
        self.desk.lock().pulls.push(modules, job);
        self.desk.work.notify_all();
    }

    /// Hands over what changes the filters. The last one is done.
    pub(crate) fn do_chore(&self, job: Job) {
        self.desk.lock().chore = Some(job);
        self.desk.work.notify_all();
    }

    /// Nobody waits for the jobs of a connection any more.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.desk.lock().pulls.retain(|job| job.to.connection != connection);
    }

    /// What is done since the last call.
    pub(crate) fn take_done(&self) -> Vec<Judged> {
        std::mem::take(&mut *self.desk.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Judges {
    fn drop(&mut self) {
        self.desk.lock().stopping = true;
        self.desk.work.notify_all();
        for thread in self.threads.drain(..) {
            // A panic there was reported by its own hook.
            let _ = thread.join();
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self, duty: Duty) -> Option<(Vec<usize>, Job)> {
        match duty {
            Duty::Pulls => self.pulls.next(),
            Duty::Chores => self.chore.take().map(|job| (Vec::new(), job)),
        }
    }
}

fn work(desk: &Desk, duty: Duty, wake: &dyn Fn()) {
    let mut state = desk.lock();
    loop {
        if state.stopping {
            return;
        }
        let Some((modules, job)) = state.next(duty) else {
            state = desk.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        let Job { to, work } = job;
        // A mistake of ours that one module brings to light must not take the thread from others.
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            error!("a filter could not be run, because of a mistake in the broker");
            let refused = Refused::new(ResponseCode::SYSTEM_ERROR, "the filter could not be run");
            let mut output = Output::default();
            output.write(|out| refused.write(to.kind, to.opaque, out));
            Outcome::Answered(output)
        });
        let judged = Judged { connection: to.connection, duty, outcome };
        desk.done.lock().unwrap_or_else(PoisonError::into_inner).push(judged);
        wake();
        state = desk.lock();
        state.pulls.done(&modules);
        desk.work.notify_all();
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}
