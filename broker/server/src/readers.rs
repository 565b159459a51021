use std::fmt;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use millrace_engine::ConnectionId;

use crate::reactor::Output;
use crate::waiting::ReplyTo;

/// Threads that read what is not in memory, so that the reactor never waits for a disk.
#[derive(Debug)]
pub(crate) struct Readers {
    jobs: Option<SyncSender<Job>>,
    done: Arc<Mutex<Vec<Done>>>,
    threads: Vec<JoinHandle<()>>,
}

/// Something that may have to wait for a disk.
pub(crate) struct Job {
    pub(crate) connection: ConnectionId,
    /// Gives the whole answer.
    pub(crate) work: Box<dyn FnOnce() -> Output + Send>,
}

/// What a peer has asked and only a reader can tell.
pub(crate) struct Question {
    pub(crate) to: ReplyTo,
    /// When it came, ms.
    pub(crate) asked_ms: u64,
    pub(crate) work: Box<dyn FnOnce() -> Output + Send>,
}

/// An answer that a reader has made.
pub(crate) struct Done {
    pub(crate) connection: ConnectionId,
    pub(crate) output: Output,
}

/// Two, because one sequential reader is as fast as the disk and the other one serves who needs
/// little.
const THREADS: usize = 2;
/// Jobs that wait for a thread. Behind them requests wait with their connection, which costs less.
const JOBS_MAX: usize = 64;

impl Readers {
    /// Starts the threads; `wake` is called after each job.
    pub(crate) fn start(wake: impl Fn() + Clone + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = sync_channel::<Job>(JOBS_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut threads = Vec::new();
        for n in 0..THREADS {
            let (receiver, done, wake) = (Arc::clone(&receiver), Arc::clone(&done), wake.clone());
            let builder = thread::Builder::new().name(format!("millrace-read-{n}"));
            threads.push(builder.spawn(move || read(&receiver, &done, &wake))?);
        }
        Ok(Self { jobs: Some(sender), done, threads })
    }

    /// Hands a job over, or gives it back if the threads have enough to do.
    pub(crate) fn submit(&self, job: Job) -> Result<(), Job> {
        match &self.jobs {
            Some(jobs) => jobs.try_send(job).map_err(|error| match error {
                TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
            }),
            None => Err(job),
        }
    }

    /// What is done since the last call.
    pub(crate) fn take_done(&self) -> Vec<Done> {
        std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic there was reported by its own hook.
            let _ = thread.join();
        }
    }
}

fn read(jobs: &Mutex<Receiver<Job>>, done: &Mutex<Vec<Done>>, wake: &dyn Fn()) {
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { connection, work }) = job else {
            return;
        };
        let output = work();
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        done.push(Done { connection, output });
        drop(done);
        wake();
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("to", &self.to).finish_non_exhaustive()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("connection", &self.connection).finish_non_exhaustive()
    }
}
