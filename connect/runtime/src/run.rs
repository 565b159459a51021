use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use millrace_client::{Broker, BrokerError};
use millrace_config::Pipeline;
use millrace_connect_api::StepError;
use millrace_types::{QueueId, TopicName};
use tokio::sync::watch;
use tracing::error;

use crate::clock::{Clock, SystemClock};
use crate::delivery::{Ends, OnLoss, OpenSink, Opening};
use crate::error::RunError;
use crate::filters::Filters;
use crate::ingest::{Ingest, OpenSource};
use crate::ledger::Ledger;
use crate::link::{Link, Patience};
use crate::origins::OriginPaths;
use crate::progress::{Progress, Summary};
use crate::stop::Stop;

/// Both ends of a pipeline.
pub struct Connectors {
    /// What fills the topic; `None` if others do.
    pub source: Option<OpenSource>,
    /// Makes the sinks, one after the other.
    pub sink: OpenSink,
}

/// How to run a pipeline.
#[derive(Clone)]
pub struct RunOptions {
    /// Who runs it. Must be different for every run, for instance host, process and start time: by
    /// it a worker knows its own lease from another's.
    pub worker: String,
    /// What the jitter of pauses is drawn from.
    pub seed: u64,
    /// When a run without a source that ends is over.
    pub until: Until,
    /// How long to put up with a broker or a destination that does not answer.
    pub patience: Patience,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The modules of the pipeline's `wasm` steps.
    pub filters: Filters,
    /// Sinks that forget how far they got, empty their destination and begin with the oldest
    /// message. Only for destinations that are this sink's alone.
    pub anew: BTreeSet<String>,
    /// What sinks do about messages that are lost.
    pub on_loss: OnLoss,
}

/// When a run is over. One whose source ends is over once the sinks have everything it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When somebody stops it.
    Stopped,
    /// Without a source: when the sinks have what was in the topic at the start. With one: as
    /// [`Until::Stopped`].
    Drained,
}

impl RunOptions {
    /// A run that goes on until it is stopped, on this machine's clock.
    pub fn new(worker: impl Into<String>) -> Self {
        Self {
            worker: worker.into(),
            seed: 0,
            until: Until::Stopped,
            patience: Patience::ENDLESS,
            clock: Arc::new(SystemClock::new()),
            filters: Filters::default(),
            anew: BTreeSet::new(),
            on_loss: OnLoss::Stop,
        }
    }
}

/// One run of one pipeline.
///
/// It is a single future, so whoever polls it decides where it runs, and a simulation can drive it
/// under a paused clock. Only chains of steps that hold a module leave its thread, batch by batch,
/// for the runtime's pool; [`Filters::on_one_thread`] keeps them there. Dropping it at any point is
/// as safe as a crash: the next run goes on exactly where the ledger says.
pub struct Run {
    pipeline: Arc<Pipeline>,
    connectors: Connectors,
    options: RunOptions,
    link: Arc<Link>,
    control: Control,
}

/// Watches and ends a run from outside.
#[derive(Clone, Debug)]
pub struct Control {
    stop: Stop,
    progress: Progress,
}

impl Control {
    /// Asks the run to commit what it has and end. It may take as long as a commit takes; an
    /// answer from the broker or a destination that is away is not waited for much longer.
    pub fn stop(&self) {
        self.stop.request();
    }

    /// What the run did so far.
    pub fn progress(&self) -> Summary {
        self.progress.snapshot()
    }
}

type Part<'a> = Pin<Box<dyn Future<Output = Result<(), RunError>> + Send + 'a>>;

impl Run {
    /// Prepares a run; nothing happens before [`Run::finish`] is polled.
    pub fn new(
        pipeline: Arc<Pipeline>,
        broker: Arc<dyn Broker>,
        connectors: Connectors,
        options: RunOptions,
    ) -> Self {
        let stop = Stop::default();
        let progress = Progress::new(&pipeline.name);
        let clock = Arc::clone(&options.clock);
        let link = Link::new(broker, clock, options.patience, options.seed, stop.clone());
        let control = Control { stop, progress };
        Self { pipeline, connectors, options, link: Arc::new(link), control }
    }

    /// A handle for others.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs to the end: until the source has ended and all of it is committed, or until stopped.
    pub async fn finish(self) -> Result<Summary, RunError> {
        let Self { pipeline, mut connectors, options, link, control } = self;
        let filters = &options.filters.until(link.stop());
        let pipeline = filters.seal(pipeline);
        let (ledger, mut state) =
            Ledger::open(Arc::clone(&link), &pipeline.name, &options.worker).await?;
        let ledger = Arc::new(ledger);
        let topic = &pipeline.topic.name;
        let queues = queues(&link, topic, pipeline.topic.queues).await?;
        let paths = OriginPaths::default();
        for cursor in state.source.iter().flat_map(|mark| &mark.cursors) {
            paths.learn(&cursor.identity, &cursor.path);
        }
        let (ends, known_ends) = watch::channel(None);
        let mut deliveries = Vec::new();
        for sink in &pipeline.sinks {
            let opening = Opening {
                link: Arc::clone(&link),
                ledger: Arc::clone(&ledger),
                pipeline: &pipeline,
                sink,
                filters,
                queues,
                state: state.sinks.remove(&sink.name).unwrap_or_default(),
                open: &mut connectors.sink,
                paths: paths.clone(),
                ends: known_ends.clone(),
                progress: control.progress.clone(),
                anew: options.anew.contains(&sink.name),
                on_loss: options.on_loss,
            };
            match opening.open().await {
                // It has read on behind what is committed at most.
                Err(RunError::Step(StepError::Stopped { .. })) => return Ok(control.progress()),
                opened => deliveries.push(opened?),
            }
        }
        let mut ingest = None;
        if let Some(open) = connectors.source.take() {
            let (link, ledger) = (Arc::clone(&link), Arc::clone(&ledger));
            let progress = control.progress.clone();
            let source = state.source.take();
            let opened =
                Ingest::open(link, ledger, &pipeline, queues, source, open, paths, progress)
                    .await?;
            ingest = Some(opened);
        }

        let feed = async {
            let is_complete = match &mut ingest {
                Some(ingest) => ingest.run().await?,
                None => options.until == Until::Drained,
            };
            if is_complete {
                let found = find_ends(&link, topic, queues).await?;
                ends.send_replace(Some(found));
            }
            Ok(())
        };
        let mut parts: Vec<Part<'_>> = vec![Box::pin(feed)];
        for delivery in &mut deliveries {
            parts.push(Box::pin(delivery.run()));
        }
        all(parts, link.stop()).await?;

        let summary = control.progress();
        if !summary.balanced {
            error!(pipeline = %pipeline.name, summary = ?summary, "records are unaccounted for");
        }
        Ok(summary)
    }
}

/// How many queues the topic has; it is created if it is not there.
async fn queues(link: &Link, topic: &TopicName, wanted: u32) -> Result<u32, RunError> {
    let wanted = match link.bounds(topic, QueueId(0)).await {
        // It exists, so its size is not the pipeline's business.
        Ok(_) => 1,
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => wanted,
        Err(error) => return Err(error),
    };
    link.ensure_topic(topic, wanted).await
}

async fn find_ends(link: &Link, topic: &TopicName, queues: u32) -> Result<Ends, RunError> {
    let mut ends = Ends::new();
    for queue in (0..queues).map(QueueId) {
        ends.insert(queue, link.bounds(topic, queue).await?.1);
    }
    Ok(ends)
}

/// Drives all parts until each is done. When one fails the others are asked to stop, so that they
/// commit what they have; the answer is the first failure.
async fn all(parts: Vec<Part<'_>>, stop: &Stop) -> Result<(), RunError> {
    let mut parts: Vec<Option<Part<'_>>> = parts.into_iter().map(Some).collect();
    let mut first = Ok(());
    poll_fn(|context| {
        for slot in &mut parts {
            let Some(part) = slot else { continue };
            if let Poll::Ready(done) = part.as_mut().poll(context) {
                *slot = None;
                if done.is_err() {
                    stop.request();
                }
                if first.is_ok() {
                    first = done;
                }
            }
        }
        if parts.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    first
}

#[cfg(test)]
mod tests;
