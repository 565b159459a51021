use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_client::Wait;
use millrace_config::{OnReject, Pipeline, SinkSpec};
use millrace_connect_api::{FileSink, Part, PartState, QueueRef, Resume, RowAt, SinkError};
use millrace_types::QueueId;
use tokio::sync::watch;
use tracing::{info, warn};

use super::layout::layout;
use super::letters::DeadLetters;
use super::lookback::Lookback;
use super::settle::{Settlement, settle};
use super::{Delivery, Ends, OnLoss, Patient, Reading};
use crate::dlq::{self, Fate, Whose};
use crate::error::RunError;
use crate::filters::Filters;
use crate::ledger::{
    Aborted, Committed, CommittedPart, Ledger, LetterRows, Letters, OffsetSet, Offsets, QueueAt,
    Record, SinkState,
};
use crate::letter::{self, Breaker, Envelope};
use crate::link::Link;
use crate::origins::OriginPaths;
use crate::progress::Progress;
use crate::steps::{Chain, Passage, PlacedChain};

/// What a sink needs to know to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOpening {
    /// Its name.
    pub name: String,
    /// What the names of its parts begin with. Part numbers count within a sink, several sinks may
    /// write to one directory, and a replay of dead letters numbers its own.
    pub parts: String,
    /// Where reading goes on, and which partitions are further than that.
    pub resume: Resume,
    /// Number of the first part it makes; it counts up from there.
    pub next_part_id: u64,
    /// Whether rows may be pieces of messages, so that several have one queue offset.
    pub pieces: bool,
    /// Epoch of the worker's lease, different for every run of the pipeline.
    pub epoch: u64,
    /// Whether the destination is to be emptied first, because the sink begins again with the
    /// oldest message.
    pub anew: bool,
}

/// Makes a sink. May be called more than once for one sink, and then only the last one is written
/// to; those before settle what an earlier run left.
pub type OpenSink = Box<dyn FnMut(SinkOpening) -> Result<Box<dyn FileSink>, SinkError> + Send>;

/// What it takes to begin feeding a sink.
pub(crate) struct Opening<'a> {
    pub(crate) link: Arc<Link>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) pipeline: &'a Arc<Pipeline>,
    pub(crate) sink: &'a SinkSpec,
    pub(crate) filters: &'a Filters,
    pub(crate) queues: u32,
    pub(crate) state: SinkState,
    pub(crate) open: &'a mut OpenSink,
    pub(crate) paths: OriginPaths,
    pub(crate) ends: watch::Receiver<Option<Ends>>,
    pub(crate) progress: Progress,
    /// Whether to forget how far the sink got.
    pub(crate) anew: bool,
    pub(crate) on_loss: OnLoss,
}

/// How often parts may turn visible while they are being aborted before that looks like somebody
/// else at work.
pub(crate) const ABORTS_MAX: u32 = 8;

impl Opening<'_> {
    /// Settles what an earlier worker left, and goes on from where the ledger says.
    pub(crate) async fn open(mut self) -> Result<Delivery, RunError> {
        let name = self.sink.name.clone();
        let envelope = Envelope {
            topic: letter::topic(&self.pipeline.name, &name)?,
            sink: name.clone(),
            config: self.pipeline.fingerprint,
        };
        self.link.ensure_topic(&envelope.topic, letter::QUEUE.0 + 1).await?;
        let resume = self.resume().await?;
        let (resume, again) = self.settle(resume).await?;
        let mut sink = self.make(&resume)?;
        self.patient(sink.as_mut()).sweep(&again).await?;
        let chain = Chain::new(self.pipeline, self.sink, self.filters, Passage::Run)?;
        let chain = PlacedChain::new(chain, self.filters.place());
        let mut lookback = Lookback::of(self.pipeline);
        let mut queues = Vec::new();
        for number in 0..self.queues {
            let queue = self.queue(number);
            let next = match resume.next.get(&queue) {
                Some(next) => *next,
                // It was added later, so all of it is new.
                None => self.link.bounds(&queue.topic, queue.queue).await?.0,
            };
            if let Some(lookback) = &mut lookback {
                lookback.read(&self.link, &chain, &queue, next).await?;
            }
            queues.push(Reading { queue, next, lag: 0 });
        }
        self.progress.sink(&name, |_| {});
        Ok(Delivery {
            chain,
            lookback,
            group: letter::group(&self.pipeline.name, &name)?,
            fingerprint: self.pipeline.fingerprint,
            layout: self.layout(),
            sink,
            retry: self.sink.retry.clone(),
            queues,
            letters: DeadLetters {
                ledger: Arc::clone(&self.ledger),
                sink: name.clone(),
                envelope,
                stops: self.sink.on_reject == OnReject::Stop,
                breaker: Breaker::new(self.sink.letters_ppm_max),
                known: self.state.lettered,
                paths: self.paths,
                progress: self.progress.clone(),
            },
            committed: resume,
            committed_at_ms: self.link.now().mono_ms,
            on_loss: self.on_loss,
            ends: self.ends,
            progress: self.progress,
            link: self.link,
            ledger: self.ledger,
            name,
        })
    }

    /// Where the ledger says that reading goes on. The very first time it starts with the oldest
    /// message, and the ledger is told so: a later worker must start at the same place, also if
    /// retention has moved on or this one got nowhere.
    async fn resume(&mut self) -> Result<Resume, RunError> {
        if self.anew {
            return self.begin_anew().await;
        }
        if let Some(resume) = &self.state.resume {
            let unfinished = !resume.ahead.is_empty() || !self.state.planned.is_empty();
            if unfinished && self.state.layout != self.layout() {
                let maps = self.filters.maps(self.pipeline, self.sink);
                let modules = maps.map(|(spec, _)| spec.module.clone()).collect();
                return Err(RunError::Repartitioned { sink: self.sink.name.clone(), modules });
            }
            return Ok(resume.clone());
        }
        let resume = self.oldest().await?;
        let first = self.committed(&[], &resume, Vec::new());
        self.ledger.append_records(vec![first], Wait::Policy).await?;
        Ok(resume)
    }

    async fn oldest(&self) -> Result<Resume, RunError> {
        let mut resume = Resume::default();
        for number in 0..self.queues {
            let queue = self.queue(number);
            let (min, _) = self.link.bounds(&queue.topic, queue.queue).await?;
            resume.next.insert(queue, min);
        }
        Ok(resume)
    }

    /// Begins with the oldest message again. The ledger says so, durably, before anything is taken
    /// out of the destination: should this be all that happens, the next run writes everything over
    /// what is there. Messages whose letters are open or given up stay letters and are not
    /// delivered; those of replayed ones are, because the destination had them.
    async fn begin_anew(&mut self) -> Result<Resume, RunError> {
        let resume = self.oldest().await?;
        let planned = std::mem::take(&mut self.state.planned).into_iter();
        let parts: Vec<u64> = planned.flat_map(|set| set.parts).map(|part| part.id).collect();
        let sink = self.sink.name.clone();
        let mut records = Vec::new();
        if !parts.is_empty() {
            let reason = "the sink begins anew".to_owned();
            records.push(Record::Aborted(Aborted { sink: sink.clone(), parts, reason }));
        }
        records.push(self.committed(&[], &resume, Vec::new()));
        let whose = Whose { pipeline: self.pipeline.name.clone(), sink: sink.clone() };
        let mut known: BTreeMap<QueueRef, BTreeSet<RowAt>> = BTreeMap::new();
        let (link, topic) = (&self.link, &self.pipeline.topic.name);
        dlq::read(link.broker(), &whose, &mut |letter| {
            if letter.fate == Fate::Replayed {
                return;
            }
            if let Some((queue, at)) = letter::origin(letter.properties) {
                known.entry(link.queue(topic, queue)).or_default().insert(at);
            }
        })
        .await?;
        if !known.is_empty() {
            let rows = known.iter().map(|(queue, rows)| LetterRows::new(queue, rows));
            let topic = letter::topic(&self.pipeline.name, &sink)?.to_string();
            let (rows, counts) = (rows.collect(), BTreeMap::new());
            records.push(Record::Letters(Letters { sink: sink.clone(), topic, rows, counts }));
        }
        self.ledger.append_records(records, Wait::Durable).await?;
        warn!(sink = %sink, "the sink begins anew with the oldest message of its topic");
        self.state.lettered = known;
        Ok(resume)
    }

    /// Commits or aborts the parts that the ledger knows as planned; see [`settle`]. Answers where
    /// reading goes on, and which parts have to be made of it again.
    async fn settle(&mut self, before: Resume) -> Result<(Resume, Vec<Part>), RunError> {
        let Some(planned) = self.state.planned.last().map(|last| last.resume.clone()) else {
            return Ok((before, Vec::new()));
        };
        let unsettled = std::mem::take(&mut self.state.planned);
        let parts: Vec<Part> = unsettled.into_iter().flat_map(|set| set.parts).collect();
        let mut sink = self.make(&before)?;
        for _ in 0..ABORTS_MAX {
            let states = self.patient(sink.as_mut()).probe(&parts).await?;
            if states.iter().any(|(_, state)| *state == PartState::Unknown) {
                let sink = &self.sink.name;
                info!(sink = %sink, parts = parts.len(), "sending again what was being sent");
                return Ok((before, parts));
            }
            let settlement = settle(&before, &planned, &states);
            let (commit, abort, resume) = match settlement {
                Settlement::Commit { commit, abort, resume } => (commit, abort, resume),
                Settlement::Abort(all) => (Vec::new(), all, before.clone()),
                Settlement::Torn { gone, visible } => {
                    let sink = self.sink.name.clone();
                    return Err(RunError::PartLost {
                        sink,
                        gone: gone.name,
                        visible: visible.name,
                    });
                }
            };
            // Whoever planned them may still be about to make them visible. Once nothing is staged
            // it cannot, so look again before the ledger says that they are gone for good.
            for part in &abort {
                self.patient(sink.as_mut()).abort(part).await?;
            }
            let after = self.patient(sink.as_mut()).probe(&abort).await?;
            if after.iter().any(|(_, state)| *state != PartState::Gone) {
                continue;
            }
            for part in &commit {
                self.patient(sink.as_mut()).publish(part).await?;
            }
            self.record(&commit, &abort, &resume).await?;
            return Ok((resume, Vec::new()));
        }
        let reason = format!("sink `{}`: aborted parts keep coming back", self.sink.name);
        Err(RunError::Setup(reason))
    }

    /// Tells the ledger, in one group, what became of the parts.
    async fn record(
        &self,
        commit: &[Part],
        abort: &[Part],
        resume: &Resume,
    ) -> Result<(), RunError> {
        let sink = &self.sink.name;
        let mut records = Vec::new();
        if !abort.is_empty() {
            warn!(sink = %sink, parts = abort.len(), "planned parts are gone, writing them again");
            records.push(Record::Aborted(Aborted {
                sink: sink.clone(),
                parts: abort.iter().map(|part| part.id).collect(),
                reason: "neither staged nor visible after a restart".to_owned(),
            }));
        }
        if !commit.is_empty() {
            info!(sink = %sink, parts = commit.len(), "planned parts committed after a restart");
            let mut window = Vec::new();
            if let Some(lookback) = Lookback::of(self.pipeline) {
                for (queue, next) in &resume.next {
                    let from = lookback.find(&self.link, queue, *next).await?;
                    window.push(QueueAt::new(queue, from.min(*next)));
                }
            }
            records.push(self.committed(commit, resume, window));
        }
        self.ledger.append_records(records, Wait::Policy).await?;
        self.progress.sink(sink, |progress| {
            progress.files += commit.len() as u64;
            let rows = commit.iter().map(|part| part.rows).sum::<u64>();
            progress.visible_rows += rows;
            progress.recovered_rows += rows;
            progress.visible_bytes += commit.iter().map(|part| part.bytes).sum::<u64>();
        });
        Ok(())
    }

    fn committed(&self, parts: &[Part], resume: &Resume, window: Vec<QueueAt>) -> Record {
        Record::Committed(Committed {
            sink: self.sink.name.clone(),
            parts: parts.iter().map(CommittedPart::new).collect(),
            resume: Offsets::new(resume),
            layout: self.layout(),
            window,
            letters: OffsetSet::default(),
        })
    }

    fn patient<'a>(&'a self, sink: &'a mut dyn FileSink) -> Patient<'a> {
        Patient { link: &self.link, name: &self.sink.name, sink, retry: self.sink.retry.as_ref() }
    }

    fn make(&mut self, resume: &Resume) -> Result<Box<dyn FileSink>, RunError> {
        let opening = SinkOpening {
            name: self.sink.name.clone(),
            parts: format!("{}-{}", self.pipeline.name, self.sink.name),
            resume: resume.clone(),
            next_part_id: self.state.next_part_id,
            pieces: self.filters.take_apart(self.pipeline),
            epoch: self.ledger.epoch(),
            anew: std::mem::take(&mut self.anew),
        };
        let sink = self.sink.name.clone();
        (self.open)(opening).map_err(|source| RunError::Sink { sink, source })
    }

    fn layout(&self) -> String {
        layout(self.pipeline, self.sink, self.filters)
    }

    fn queue(&self, number: u32) -> QueueRef {
        self.link.queue(&self.pipeline.topic.name, QueueId(number))
    }
}
