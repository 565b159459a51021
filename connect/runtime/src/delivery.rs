//! From the topic into one sink: read, decode, filter, write, and commit.
//!
//! A commit goes through four stages, and a crash between any two of them is settled by the next
//! worker: the sink stages parts; PLANNED says so, durably; the parts become visible; COMMITTED
//! moves the offsets. Dead letters are appended before anything that passes their messages.

mod commit; // from open parts to visible ones
mod gaps; // messages that are lost
mod layout; // what decides the partition of a message
mod letters; // what cannot go on
mod lookback; // the messages that a step remembers
mod patient; // a sink that is asked again
mod settle; // parts that an earlier worker planned
mod start; // from the ledger to the first pull

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use millrace_client::{PullRequest, Pulled};
use millrace_config::Retry;
use millrace_connect_api::{Cut, FileSink, Messages, QueueRef, Resume, StepError};
use millrace_types::{GroupName, QueueId, QueueOffset};
use tokio::sync::watch;

pub use gaps::OnLoss;
use gaps::{Missing, gaps};
use letters::DeadLetters;
use lookback::Lookback;
pub(crate) use patient::Patient;
pub(crate) use start::{ABORTS_MAX, Opening};
pub use start::{OpenSink, SinkOpening};

use crate::decompression::{BATCH_BYTES, decompressed};
use crate::error::RunError;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::progress::Progress;
use crate::steps::{Applied, PlacedChain, Rejected};

/// Bytes of one pull, and so of one batch: some thousand rows, and still in the processor's cache.
const PULL_BYTES: u32 = 1 << 20;
/// How long to wait for messages before looking at the clock again.
const TICK: Duration = Duration::from_millis(100);
/// Offsets that moved without a part are committed this often, milliseconds.
const COMMIT_MS: u64 = 5_000;

/// Where the topic's queues end for good, once that is known.
pub(crate) type Ends = BTreeMap<QueueId, QueueOffset>;

/// The part of a run that feeds one sink.
pub(crate) struct Delivery {
    link: Arc<Link>,
    ledger: Arc<Ledger>,
    name: String,
    fingerprint: u64,
    layout: String,
    group: GroupName,
    chain: PlacedChain,
    sink: Box<dyn FileSink>,
    retry: Option<Retry>,
    queues: Vec<Reading>,
    letters: DeadLetters,
    lookback: Option<Lookback>,
    /// What the last COMMITTED says.
    committed: Resume,
    committed_at_ms: u64,
    on_loss: OnLoss,
    ends: watch::Receiver<Option<Ends>>,
    progress: Progress,
}

/// How far one queue was read.
struct Reading {
    queue: QueueRef,
    next: QueueOffset,
    lag: u64,
}

type Arriving<'a> = Pin<Box<dyn Future<Output = Result<Pulled, RunError>> + Send + 'a>>;

impl Delivery {
    /// Delivers until the topic's end is reached, if it has one, or a stop is requested; then
    /// commits everything.
    pub(crate) async fn run(&mut self) -> Result<(), RunError> {
        while !self.link.stop().is_requested() {
            let mut moved = false;
            for at in 0..self.queues.len() {
                let pulled = self.link.pull(&self.request(at, Duration::ZERO)).await?;
                if self.take(at, pulled).await? {
                    moved = true;
                    self.commit(Cut::Due).await?;
                    tokio::task::yield_now().await;
                }
                if self.link.stop().is_requested() {
                    break;
                }
            }
            if !moved && !self.link.stop().is_requested() {
                if self.is_at_end() {
                    break;
                }
                if let Some((at, pulled)) = self.arrival().await? {
                    self.take(at, pulled).await?;
                }
                self.commit(Cut::Due).await?;
            }
        }
        self.commit(Cut::All).await
    }

    fn request(&self, at: usize, wait: Duration) -> PullRequest {
        let Reading { queue, next, .. } = &self.queues[at];
        PullRequest {
            topic: queue.topic.clone(),
            queue: queue.queue,
            from: *next,
            bytes_max: PULL_BYTES,
            wait,
        }
    }

    /// Waits on all queues at once until one has something, for a moment at most.
    async fn arrival(&mut self) -> Result<Option<(usize, Pulled)>, RunError> {
        let link = Arc::clone(&self.link);
        let requests: Vec<_> = (0..self.queues.len()).map(|at| self.request(at, TICK)).collect();
        let pull = |request| Some(Box::pin(link.pull(request)) as Arriving<'_>);
        let mut waiting: Vec<_> = requests.iter().map(pull).collect();
        poll_fn(|context| {
            for (at, slot) in waiting.iter_mut().enumerate() {
                let Some(pull) = slot else { continue };
                let Poll::Ready(pulled) = pull.as_mut().poll(context) else { continue };
                *slot = None;
                let (pulled, from) = (pulled?, requests[at].from);
                // A gap is news as well.
                if pulled.next > from || pulled.min > from || pulled.max < from {
                    return Poll::Ready(Ok(Some((at, pulled))));
                }
            }
            if waiting.iter().all(Option::is_none) { Poll::Ready(Ok(None)) } else { Poll::Pending }
        })
        .await
    }

    /// Whether everything up to the topic's end was read.
    fn is_at_end(&self) -> bool {
        let ends = self.ends.borrow();
        let Some(ends) = ends.as_ref() else { return false };
        let is_read = |reading: &Reading| {
            ends.get(&reading.queue.queue).is_none_or(|end| reading.next >= *end)
        };
        self.queues.iter().all(is_read)
    }

    /// Takes in what a pull gave; whether that was anything.
    async fn take(&mut self, at: usize, pulled: Pulled) -> Result<bool, RunError> {
        let Reading { queue, next: from, .. } = &self.queues[at];
        let (queue, from) = (queue.clone(), *from);
        // What was removed is part of what the pull covers: for sinks a queue has no gaps.
        let removed = (pulled.min > from).then(|| Missing::removed(from, pulled.min));
        self.stop_before(&queue, removed.as_ref()).await?;
        if pulled.max < from {
            return Err(RunError::WentBack { queue, known: from, end: pulled.max });
        }
        self.set_lag(at, pulled.max.since(pulled.next.max(from)));
        if pulled.next <= from {
            return Ok(false);
        }
        let messages = Messages::parse(queue.clone(), from, pulled.next, pulled.runs)
            .map_err(|source| RunError::Damaged { queue: queue.clone(), source })?;
        let messages = decompressed(messages, BATCH_BYTES);
        let next = messages.to();
        self.set_lag(at, pulled.max.since(next));
        let damaged = gaps(from.max(pulled.min), next, &messages);
        self.stop_before(&queue, damaged.first()).await?;
        match self.write(Arc::new(messages)).await {
            // None of them is in the sink, so they are as good as not read.
            Err(RunError::Step(StepError::Stopped { .. })) => {
                self.set_lag(at, pulled.max.since(from));
                return Ok(false);
            }
            written => written?,
        }
        self.queues[at].next = next;
        removed.iter().chain(&damaged).for_each(|missing| self.note_missing(&queue, missing));
        Ok(true)
    }

    /// Takes messages through the steps into the sink, and those that cannot go on into letters.
    async fn write(&mut self, messages: Arc<Messages>) -> Result<(), RunError> {
        let (filtered_before, made_before) = self.counted();
        if let Some(lookback) = &mut self.lookback {
            lookback.note(&messages);
        }
        let Applied { batch, mut rejected } = self.chain.apply(Arc::clone(&messages)).await?;
        if let Err(error) = self.letters.judge(&messages, batch.messages(), &rejected) {
            // Nothing of this batch is in the sink yet. What came before it is good, and whoever
            // repairs the pipeline should not find it half done.
            self.commit(Cut::All).await?;
            return Err(error);
        }
        let batch = self.letters.pass_over(batch);
        let written = self.sink().write(&batch).await?;
        let by_sink = written.rejected.into_iter();
        let by_sink: Vec<_> = by_sink
            .map(|(row, reject)| Rejected::new(batch.messages(), row, &self.name, reject))
            .collect();
        self.letters.judge_late(&messages, &by_sink)?;
        rejected.extend(by_sink);
        self.letters.take(&messages, rejected).await?;
        let (filtered_now, made_now) = self.counted();
        let filtered = (filtered_now > filtered_before).then(|| self.chain.chain().filtered());
        let made = made_now - made_before;
        self.progress.sink(&self.name, |sink| {
            sink.read += messages.len() as u64;
            sink.made += made;
            sink.written += written.rows;
            sink.visible_rows += written.done;
            sink.skipped += written.skipped;
            if let Some(filtered) = filtered {
                sink.filtered = filtered;
            }
        });
        Ok(())
    }

    /// Rows that the steps have taken out and made so far.
    fn counted(&self) -> (u64, u64) {
        let chain = self.chain.chain();
        (chain.filtered_rows(), chain.made())
    }

    fn sink(&mut self) -> Patient<'_> {
        let retry = self.retry.as_ref();
        Patient { link: &self.link, name: &self.name, sink: self.sink.as_mut(), retry }
    }

    fn set_lag(&mut self, at: usize, lag: u64) {
        if self.queues[at].lag != lag {
            self.queues[at].lag = lag;
            let lag = self.queues.iter().map(|reading| reading.lag).sum();
            self.progress.sink(&self.name, |sink| sink.lag = lag);
        }
    }
}
