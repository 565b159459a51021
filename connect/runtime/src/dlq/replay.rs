//! Letters go through their pipeline again, into the one sink that could not take them.

use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::{Broker, Wait};
use millrace_config::{MetaField, Pipeline, Resolved, Retry, SinkKind, SinkSpec, Slot, StepSpec};
use millrace_connect_api::{
    Batch, Cut, FileSink, Messages, Part, PartState, Plan, Published, Refused, Resume, RowAt,
    Selection,
};
use millrace_types::{QueueId, QueueOffset, TopicName};
use serde::Serialize;

use super::{Condition, Fate, LETTERS_MAX, Letter, Whose, fate};
use crate::decompression::decompressed;
use crate::delivery::{ABORTS_MAX, OpenSink, Patient, SinkOpening};
use crate::error::RunError;
use crate::ledger::{
    self, Aborted, Committed, CommittedPart, Ledger, OffsetSet, Offsets, Planned, PlannedPart,
    Record, SinkState, Unsettled,
};
use crate::letter::{self, Original};
use crate::link::{Link, READ_BYTES};
use crate::run::RunOptions;
use crate::steps::{Applied, Chain, Passage, PlacedChain, Rejected};
use crate::stop::Stop;
use crate::{fault, progress};

/// Which letters are to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// Those for which this holds; all without it.
    pub condition: Option<Condition>,
    /// At most so many, the oldest first.
    pub limit: Option<u64>,
}

/// What a replay did, or would do: `tried + made = rows + filtered + failed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Letters that went through the steps.
    pub tried: u64,
    /// Rows that steps made of whole messages, beyond one for each.
    pub made: u64,
    /// Rows that came of them.
    pub rows: u64,
    /// Taken out by steps on purpose, by step and reason. They are replayed as well.
    pub filtered: BTreeMap<String, u64>,
    /// Letters that failed again and stay open, by code.
    pub failed: BTreeMap<String, u64>,
    /// The first of these.
    pub failures: Vec<Failed>,
    /// Letters that an earlier replay had begun with and this one found, or made, visible.
    pub settled: u64,
    /// Files made visible.
    pub files: u64,
    /// Bulks that the destination took, of a sink that makes no files.
    pub bulks: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// A letter that cannot go on this time either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The letter's offset in its topic.
    pub letter: u64,
    /// Where it failed.
    pub step: String,
    /// What kind of mistake.
    pub code: &'static str,
    /// Why.
    pub error: String,
    /// The offending field, if it is known.
    pub field: Option<String>,
}

/// A letter that cannot be made a message again.
const NO_MESSAGE: &str = "E-DLQ-01";
/// So many failures are told one by one.
const FAILURES_TOLD: usize = 100;
/// Bytes of letters that are taken into the sink, and committed, together. Few in tests, which are
/// to see several batches.
const BATCH_BYTES: usize = if cfg!(test) { 200 } else { 32 << 20 };
/// Bytes of one pull.
const PULL_BYTES: u32 = if cfg!(test) { 500 } else { READ_BYTES };

/// Replays the open letters of one sink of a pipeline; `options` are those of a run, of which
/// `until` does not matter. `None` if there never were any letters.
///
/// What comes of a letter and that it is replayed are one COMMITTED. So dropping the future is as
/// safe as a crash, and the next replay goes on from what the ledger says.
pub async fn replay(
    pipeline: Arc<Pipeline>,
    sink: &str,
    broker: Arc<dyn Broker>,
    open: OpenSink,
    selected: Selected,
    options: RunOptions,
) -> Result<Option<Replayed>, RunError> {
    let mut parts = Parts::new(pipeline, sink, broker, &options)?;
    if !super::exist(&parts.link, &parts.whose).await? {
        return Ok(None);
    }
    let name = ledger::of_letters(&parts.pipeline.name, sink);
    let (ledger, mut state) = Ledger::open(Arc::clone(&parts.link), &name, &options.worker).await?;
    let state = state.sinks.remove(sink).unwrap_or_default();
    let mut writing = Writing { ledger, open, next_part_id: state.next_part_id };
    let state = parts.settle(&mut writing, state).await?;
    let mut reading = Reading::new(&parts.link, &parts.whose, &state, selected).await?;
    loop {
        let letters = reading.batch(&parts.link, &mut parts.replayed).await?;
        if letters.is_empty() {
            break;
        }
        let mut sink = parts.make(&mut writing)?;
        let letters = parts.pass(letters, Some(sink.as_mut())).await?;
        parts.commit(&mut writing, sink.as_mut(), letters, 0).await?;
    }
    parts.replayed.filtered = parts.chain.chain().filtered();
    Ok(Some(parts.replayed))
}

/// Tells what [`replay`] would do, as far as the steps go: the sink is not asked.
pub async fn rehearse(
    pipeline: Arc<Pipeline>,
    sink: &str,
    broker: Arc<dyn Broker>,
    selected: Selected,
    options: RunOptions,
) -> Result<Option<Replayed>, RunError> {
    let mut parts = Parts::new(pipeline, sink, Arc::clone(&broker), &options)?;
    if !super::exist(&parts.link, &parts.whose).await? {
        return Ok(None);
    }
    let state = super::state(broker, &parts.whose).await?;
    let mut reading = Reading::new(&parts.link, &parts.whose, &state, selected).await?;
    loop {
        let letters = reading.batch(&parts.link, &mut parts.replayed).await?;
        if letters.is_empty() {
            break;
        }
        parts.pass(letters, None).await?;
    }
    parts.replayed.filtered = parts.chain.chain().filtered();
    Ok(Some(parts.replayed))
}

/// A letter on its way.
struct Taken {
    at: QueueOffset,
    original: Original,
}

/// What a replay consists of.
struct Parts {
    link: Arc<Link>,
    pipeline: Arc<Pipeline>,
    whose: Whose,
    chain: PlacedChain,
    needs_id: bool,
    /// A sink of another kind would find no trace of the parts of an earlier one.
    makes: Makes,
    retry: Option<Retry>,
    replayed: Replayed,
}

/// What becomes of letters in a sink.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Makes {
    Files,
    /// Bulks that are sent.
    Bulks,
    /// Nothing that has to be settled.
    Nothing,
}

/// What became of the letters that an earlier replay had planned parts of.
enum Settled {
    Committed,
    Aborted,
    /// Nobody can tell, so the same parts have to be made of the same letters and sent again.
    Again,
}

/// Letters that went through the steps.
#[derive(Default)]
struct Passed {
    /// Those that are done with once the sink's parts are visible.
    done: Vec<QueueOffset>,
    /// By queue and offset of the messages that they were made of.
    by_message: BTreeMap<(QueueId, QueueOffset), QueueOffset>,
}

/// The ends of a replay that writes.
struct Writing {
    ledger: Ledger,
    open: OpenSink,
    next_part_id: u64,
}

/// How far the letters were read.
struct Reading<'a> {
    topic: TopicName,
    state: &'a SinkState,
    selected: Selected,
    /// Only letters of these.
    only: Option<&'a OffsetSet>,
    taken: u64,
    next: QueueOffset,
    end: QueueOffset,
}

impl Parts {
    fn new(
        pipeline: Arc<Pipeline>,
        sink: &str,
        broker: Arc<dyn Broker>,
        options: &RunOptions,
    ) -> Result<Self, RunError> {
        let pipeline = options.filters.seal(pipeline);
        let spec = pipeline.sinks.iter().find(|spec| spec.name == sink);
        let spec = spec.ok_or_else(|| RunError::Setup(format!("no sink is called `{sink}`")))?;
        let clock = Arc::clone(&options.clock);
        let link = Link::new(broker, clock, options.patience, options.seed, Stop::default());
        let whose = Whose { pipeline: pipeline.name.clone(), sink: sink.to_owned() };
        let chain = Chain::new(&pipeline, spec, &options.filters, Passage::Replay)?;
        Ok(Self {
            chain: PlacedChain::new(chain, options.filters.place()),
            needs_id: needs_id(&pipeline, spec),
            makes: match &spec.kind {
                SinkKind::Files(_) | SinkKind::Index(_) => Makes::Files,
                SinkKind::Http(_) => Makes::Bulks,
                SinkKind::Stdout { .. } | SinkKind::Blackhole => Makes::Nothing,
            },
            retry: spec.retry.clone(),
            link: Arc::new(link),
            pipeline,
            whose,
            replayed: Replayed::default(),
        })
    }

    /// Finds out what became of the letters that an earlier replay had planned parts of: all parts
    /// become visible, or none.
    async fn settle(
        &mut self,
        writing: &mut Writing,
        mut state: SinkState,
    ) -> Result<SinkState, RunError> {
        // What was sent was never staged.
        let made = |part: &Part| if part.staged.is_empty() { Makes::Bulks } else { Makes::Files };
        let mut planned = state.planned.iter().flat_map(|unsettled| &unsettled.parts);
        if planned.any(|part| made(part) != self.makes) {
            let sink = &self.whose.sink;
            return Err(RunError::Setup(format!(
                "a replay into sink `{sink}` did not finish what it began, and the sink is of \
                 another kind now: replay with the earlier file once more, then with this one"
            )));
        }
        let mut sink = self.make(writing)?;
        for unsettled in std::mem::take(&mut state.planned) {
            let Unsettled { parts, letters, .. } = &unsettled;
            match self.settle_parts(writing, sink.as_mut(), parts, letters).await? {
                Settled::Committed => {
                    state.replayed.add(letters);
                    self.replayed.settled += letters.len();
                }
                Settled::Aborted => {}
                Settled::Again => {
                    let replayed = self.send_again(writing, &state, &unsettled).await?;
                    state.replayed.add(&replayed);
                    self.replayed.settled += replayed.len();
                }
            }
        }
        self.patient(sink.as_mut()).sweep(&[]).await?;
        Ok(state)
    }

    /// Makes the same parts of the same letters as an earlier replay, and commits them. Answers
    /// which letters are replayed now.
    async fn send_again(
        &mut self,
        writing: &mut Writing,
        state: &SinkState,
        unsettled: &Unsettled,
    ) -> Result<OffsetSet, RunError> {
        let all = Selected::default();
        let mut reading = Reading::new(&self.link, &self.whose, state, all).await?;
        reading.only = Some(&unsettled.letters);
        let mut letters = Vec::new();
        loop {
            // They were counted by the replay that planned them.
            let batch = reading.batch(&self.link, &mut Replayed::default()).await?;
            if batch.is_empty() {
                break;
            }
            letters.extend(batch);
        }
        let mut sink = self.make(writing)?;
        self.patient(sink.as_mut()).sweep(&unsettled.parts).await?;
        // Letters that fail now stay open, and this replay comes to them in their turn.
        let before = std::mem::take(&mut self.replayed);
        let passed = self.pass(letters, Some(sink.as_mut())).await?;
        let replayed = self.commit(writing, sink.as_mut(), passed, unsettled.parts.len()).await;
        let Replayed { bulks, bytes, .. } = std::mem::replace(&mut self.replayed, before);
        self.replayed.bulks += bulks;
        self.replayed.bytes += bytes;
        replayed
    }

    /// Commits the parts, or aborts them, if anybody can tell how far they got.
    async fn settle_parts(
        &mut self,
        writing: &Writing,
        sink: &mut dyn FileSink,
        parts: &[Part],
        letters: &OffsetSet,
    ) -> Result<Settled, RunError> {
        for _ in 0..ABORTS_MAX {
            let mut states = self.patient(sink).probe(parts).await?;
            if states.iter().any(|(_, state)| *state == PartState::Unknown) {
                return Ok(Settled::Again);
            }
            if states.iter().any(|(_, state)| *state == PartState::Gone) {
                // One that was just being made visible looks gone, and not a second time.
                states = self.patient(sink).probe(parts).await?;
            }
            let of = |state: PartState| {
                let names = states.iter().filter(move |(_, has)| *has == state);
                names.map(|(part, _)| part.name.as_str()).collect::<Vec<_>>()
            };
            let (gone, visible) = (of(PartState::Gone), of(PartState::Published));
            if gone.is_empty() {
                for part in parts {
                    self.patient(sink).publish(part).await?;
                }
                self.committed(writing, sink.makes_files(), parts, letters).await?;
                return Ok(Settled::Committed);
            }
            if !visible.is_empty() {
                return Err(RunError::ReplayTorn {
                    sink: self.whose.sink.clone(),
                    gone: gone.join("`, `"),
                    visible: visible.join("`, `"),
                });
            }
            for part in parts {
                self.patient(sink).abort(part).await?;
            }
            // Whoever planned them may have been about to make them visible.
            let after = self.patient(sink).probe(parts).await?;
            if after.iter().all(|(_, state)| *state == PartState::Gone) {
                let aborted = Record::Aborted(Aborted {
                    sink: self.whose.sink.clone(),
                    parts: parts.iter().map(|part| part.id).collect(),
                    reason: "neither staged nor visible after a restart".to_owned(),
                });
                writing.ledger.append_records(vec![aborted], Wait::Policy).await?;
                return Ok(Settled::Aborted);
            }
        }
        let reason = format!("sink `{}`: aborted parts keep coming back", self.whose.sink);
        Err(RunError::Setup(reason))
    }

    /// Takes letters through the steps, and into the sink if there is one.
    async fn pass(
        &mut self,
        letters: Vec<Taken>,
        mut sink: Option<&mut dyn FileSink>,
    ) -> Result<Passed, RunError> {
        let mut all = Passed::default();
        for (queue, letters) in self.by_queue(letters) {
            let messages = self.messages(queue, &letters)?;
            let wanted: Vec<_> = letters.iter().map(|letter| letter.original.index).collect();
            let applied = self.chain.apply_to(messages, wanted.clone()).await?;
            let Applied { batch, mut rejected } = applied;
            let batch = self.whole_letters(batch, &wanted, &rejected);
            match sink.as_deref_mut() {
                Some(sink) => {
                    let written = self.patient(sink).write(&batch).await?;
                    self.replayed.rows += written.rows;
                    let sink = &self.whose.sink;
                    let by_sink = written.rejected.into_iter();
                    let by_sink = by_sink
                        .map(|(row, reject)| Rejected::new(batch.messages(), row, sink, reject));
                    let by_sink: Vec<_> = by_sink.collect();
                    if let Some(half) = by_sink.iter().find(|rejected| {
                        rejected.at.index.is_some() && wanted[rejected.row as usize].is_none()
                    }) {
                        let letter = letters[half.row as usize].at;
                        return Err(RunError::Setup(format!(
                            "sink `{sink}` refuses one of the rows that letter {letter} becomes now \
                             ({}), and a letter goes as a whole; nothing was replayed",
                            half.reject.error
                        )));
                    }
                    rejected.extend(by_sink);
                }
                None => self.replayed.rows += batch.selection().len() as u64,
            }
            rejected.sort_by_key(|rejected| rejected.at);
            // Of a letter that becomes several rows one failure is enough.
            rejected.dedup_by_key(|rejected| rejected.row);
            rejected.sort_by_key(|rejected| rejected.row);
            let has_failed = |row: usize| {
                rejected.binary_search_by_key(&row, |rejected| rejected.row as usize).is_ok()
            };
            let passed = letters.iter().enumerate().filter(|(row, _)| !has_failed(*row));
            for (_, Taken { at, original }) in passed {
                all.done.push(*at);
                all.by_message.insert((original.queue, original.offset), *at);
            }
            for Rejected { row, step, reject, .. } in rejected {
                self.replayed.fail(Failed {
                    letter: letters[row as usize].at.0,
                    step,
                    code: reject.code,
                    error: reject.error,
                    field: reject.field,
                });
            }
        }
        Ok(all)
    }

    /// A letter goes as a whole: leaves out the rows of letters of which one row was rejected, and
    /// counts those made.
    fn whole_letters(
        &mut self,
        batch: Batch,
        wanted: &[Option<u32>],
        rejected: &[Rejected],
    ) -> Batch {
        if !self.chain.chain().takes_apart() {
            return batch;
        }
        let messages = Arc::clone(batch.messages());
        let mut rows = vec![0_u64; wanted.len()];
        for row in 0..messages.len() {
            let message = messages.pulled_row(row);
            rows[message] += u64::from(wanted[message].is_none());
        }
        let mut failed = vec![false; wanted.len()];
        for Rejected { row, .. } in rejected {
            let row = *row as usize;
            rows[row] = if failed[row] { rows[row].saturating_sub(1) } else { rows[row] };
            failed[row] = true;
        }
        let mut kept = Vec::new();
        for row in batch.selection().iter() {
            let message = messages.pulled_row(row);
            if failed[message] {
                rows[message] = rows[message].saturating_sub(1);
            } else {
                kept.push(row as u32);
            }
        }
        self.replayed.made += rows.iter().map(|rows| rows.saturating_sub(1)).sum::<u64>();
        batch.with_selection(Selection::Rows(kept.into()))
    }

    /// The letters by queue of their messages, in the order of these. Those that cannot be messages
    /// again fail.
    fn by_queue(&mut self, letters: Vec<Taken>) -> BTreeMap<QueueId, Vec<Taken>> {
        let mut queues: BTreeMap<QueueId, BTreeMap<RowAt, Taken>> = BTreeMap::new();
        for letter in letters {
            let Original { queue, offset, index, .. } = letter.original;
            let at = RowAt { offset, index };
            let twin = |at: RowAt| queues.get(&queue).and_then(|known| known.get(&at));
            let reason = if self.needs_id && letter.original.id.is_none() {
                "it was written by an earlier version and does not say when its message was born \
                 and which id it had, which the pipeline reads"
                    .to_owned()
            } else if index.is_some() && !self.chain.chain().takes_apart() {
                "it is of one of the rows that steps made of its message, and these steps make none"
                    .to_owned()
            } else if let Some(twin) = twin(at).or_else(|| twin(RowAt::whole(offset))) {
                format!("letter {} is of the same message", twin.at)
            } else {
                queues.entry(queue).or_default().insert(at, letter);
                continue;
            };
            self.replayed.fail(Failed::without_message(letter.at, reason));
        }
        let in_order = |letters: BTreeMap<_, Taken>| letters.into_values().collect();
        queues.into_iter().map(|(queue, letters)| (queue, in_order(letters))).collect()
    }

    /// The messages as the pipeline reads them from its topic.
    fn messages(&self, queue: QueueId, letters: &[Taken]) -> Result<Arc<Messages>, RunError> {
        let topic = &self.pipeline.topic.name;
        let mut run = Vec::with_capacity(letters.iter().map(|taken| taken.original.bytes()).sum());
        // Each message once; its letters one after the other.
        let mut rows = Vec::with_capacity(letters.len());
        let mut last = None;
        for Taken { original, .. } in letters {
            if last.replace(original.offset) != Some(original.offset) {
                original.encode(topic, &mut run);
                rows.push(rows.last().map_or(0, |row| row + 1));
            } else {
                rows.extend(rows.last().copied());
            }
        }
        let from = letters.first().map_or(QueueOffset(0), |letter| letter.original.offset);
        let to = letters.last().map_or(from, |letter| letter.original.offset + 1);
        let queue = self.link.queue(topic, queue);
        let messages = Messages::parse(queue.clone(), from, to, vec![run.into()]);
        let messages = messages.map_err(|source| RunError::Damaged { queue, source })?;
        // Not more were taken than there is memory for.
        let messages = decompressed(messages, usize::MAX);
        Ok(Arc::new(if self.chain.chain().takes_apart() {
            messages.repeated(&rows)
        } else {
            messages
        }))
    }

    /// Makes what is in the sink visible, and the letters replayed. Answers which these are:
    /// those that the destination refuses stay open. Fewer than so many parts are none.
    async fn commit(
        &mut self,
        writing: &mut Writing,
        sink: &mut dyn FileSink,
        passed: Passed,
        parts_min: usize,
    ) -> Result<OffsetSet, RunError> {
        let Passed { mut done, by_message } = passed;
        let Plan { parts, .. } = self.patient(sink).plan(Cut::All).await?;
        if parts.len() < parts_min {
            let sink = &self.whose.sink;
            return Err(RunError::Setup(format!(
                "a replay into sink `{sink}` did not finish, and the pipeline makes something else \
                 of its letters now: replay with the earlier file once more, then with this one"
            )));
        }
        if done.is_empty() && parts.is_empty() {
            return Ok(OffsetSet::default());
        }
        let letters: OffsetSet = done.iter().copied().collect();
        if !parts.is_empty() {
            fault::point("before-planned")?;
            let planned = Record::Planned(Planned {
                sink: self.whose.sink.clone(),
                parts: parts.iter().map(PlannedPart::new).collect(),
                resume: Offsets::default(),
                pipeline: format!("{:016x}", self.pipeline.fingerprint),
                letters,
            });
            writing.ledger.append_records(vec![planned], Wait::Durable).await?;
            fault::point("after-planned")?;
        }
        for part in &parts {
            fault::point("before-publish")?;
            let Published { refused } = self.patient(sink).publish(part).await?;
            fault::point("after-publish")?;
            writing.next_part_id = writing.next_part_id.max(part.id + 1);
            for Refused { messages, row, reject } in refused {
                let message = messages.get(row as usize).queue_offset;
                let at = by_message[&(messages.queue().queue, message)];
                done.retain(|letter| *letter != at);
                self.replayed.rows = self.replayed.rows.saturating_sub(1);
                self.replayed.fail(Failed {
                    letter: at.0,
                    step: self.whose.sink.clone(),
                    code: reject.code,
                    error: reject.error,
                    field: reject.field,
                });
            }
        }
        let letters: OffsetSet = done.into_iter().collect();
        self.committed(writing, sink.makes_files(), &parts, &letters).await?;
        Ok(letters)
    }

    async fn committed(
        &mut self,
        writing: &Writing,
        makes_files: bool,
        parts: &[Part],
        letters: &OffsetSet,
    ) -> Result<(), RunError> {
        fault::point("before-committed")?;
        let committed = Record::Committed(Committed {
            sink: self.whose.sink.clone(),
            parts: parts.iter().map(CommittedPart::new).collect(),
            resume: Offsets::default(),
            layout: String::new(),
            window: Vec::new(),
            letters: letters.clone(),
        });
        writing.ledger.append_records(vec![committed], Wait::Policy).await?;
        let made = if makes_files { &mut self.replayed.files } else { &mut self.replayed.bulks };
        *made += parts.len() as u64;
        self.replayed.bytes += parts.iter().map(|part| part.bytes).sum::<u64>();
        fault::point("after-committed")
    }

    fn make(&self, writing: &mut Writing) -> Result<Box<dyn FileSink>, RunError> {
        let Whose { pipeline, sink } = &self.whose;
        let opening = SinkOpening {
            name: sink.clone(),
            // No sink has `_` in its name.
            parts: format!("{pipeline}-{sink}_dlq"),
            resume: Resume::default(),
            next_part_id: writing.next_part_id,
            pieces: self.chain.chain().takes_apart(),
            epoch: writing.ledger.epoch(),
            anew: false,
        };
        (writing.open)(opening).map_err(|source| RunError::Sink { sink: sink.clone(), source })
    }

    fn patient<'a>(&'a self, sink: &'a mut dyn FileSink) -> Patient<'a> {
        let retry = self.retry.as_ref();
        Patient { link: &self.link, name: &self.whose.sink, sink, retry }
    }
}

impl<'a> Reading<'a> {
    async fn new(
        link: &Link,
        whose: &Whose,
        state: &'a SinkState,
        selected: Selected,
    ) -> Result<Self, RunError> {
        let topic = whose.topic()?;
        let (next, end) = link.bounds(&topic, letter::QUEUE).await?;
        Ok(Self { topic, state, selected, only: None, taken: 0, next, end })
    }

    /// The next open letters that are meant; none at the end.
    async fn batch(
        &mut self,
        link: &Link,
        replayed: &mut Replayed,
    ) -> Result<Vec<Taken>, RunError> {
        let mut letters = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH_BYTES && letters.len() < LETTERS_MAX && !self.has_enough() {
            let (topic, queue) = (&self.topic, letter::QUEUE);
            let read =
                link.read_on(topic, queue, &mut self.next, &mut self.end, PULL_BYTES).await?;
            let Some(messages) = read else { break };
            for (row, message) in messages.iter().enumerate() {
                let letter = Letter::new(&message, fate(self.state, message.queue_offset));
                if !self.takes(&letter) {
                    continue;
                }
                if bytes >= BATCH_BYTES {
                    // Small letters may hold large bodies. The rest of the pull is read again.
                    self.next = message.queue_offset;
                    break;
                }
                self.taken += 1;
                replayed.tried += 1;
                let born_at_ms = messages.record(row).map_or(0, |record| record.born_at_ms());
                match Original::of(&message, born_at_ms) {
                    Some(original) => {
                        bytes += original.bytes_decompressed();
                        letters.push(Taken { at: letter.at, original });
                    }
                    None => {
                        let reason = "it does not say which message it was made of".to_owned();
                        replayed.fail(Failed::without_message(letter.at, reason));
                    }
                }
            }
        }
        Ok(letters)
    }

    fn has_enough(&self) -> bool {
        self.selected.limit.is_some_and(|limit| self.taken >= limit)
    }

    fn takes(&self, letter: &Letter<'_>) -> bool {
        letter.fate == Fate::Open
            && !self.has_enough()
            && self.only.is_none_or(|only| only.contains(letter.at))
            && self.selected.condition.as_ref().is_none_or(|condition| condition.holds(letter))
    }
}

impl Replayed {
    fn fail(&mut self, failed: Failed) {
        progress::count(&mut self.failed, failed.code);
        if self.failures.len() < FAILURES_TOLD {
            self.failures.push(failed);
        }
    }
}

impl Failed {
    fn without_message(letter: QueueOffset, error: String) -> Self {
        Self { letter: letter.0, step: "letter".to_owned(), code: NO_MESSAGE, error, field: None }
    }
}

/// Whether expressions read of a message what letters of earlier versions do not say.
fn needs_id(pipeline: &Pipeline, sink: &SinkSpec) -> bool {
    let reads = |expression: &Resolved| {
        expression
            .slots
            .iter()
            .any(|slot| matches!(slot, Slot::Meta(MetaField::BornTime | MetaField::MessageId)))
    };
    let steps = pipeline.steps_to(sink).any(|step| match step {
        StepSpec::Filter { condition, .. } => reads(condition),
        StepSpec::Set(columns) => columns.iter().any(|column| reads(&column.value)),
        StepSpec::Dedupe(_)
        | StepSpec::Drop
        | StepSpec::Rename(_)
        | StepSpec::Cast(_)
        | StepSpec::Sample { .. }
        | StepSpec::Split(_)
        | StepSpec::Wasm(_) => false,
    });
    steps || sink.where_.iter().any(reads)
}
