use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_client::{Outgoing, Wait};
use millrace_connect_api::{Batch, Messages, QueueRef, Refused, Reject, RowAt, Selection};
use millrace_types::QueueOffset;

use crate::error::RunError;
use crate::fault;
use crate::ingest::FILE_ID;
use crate::ledger::{Ledger, LetterRows, Letters, Record};
use crate::letter::{Breaker, Envelope};
use crate::origins::OriginPaths;
use crate::progress::{self, Progress};
use crate::steps::Rejected;

/// Bytes of the letters of one append.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// Letters and the record that names them, before they are appended.
#[derive(Default)]
pub(super) struct Posted {
    pub(super) letters: Vec<Outgoing>,
    pub(super) records: Vec<Record>,
    pub(super) counts: BTreeMap<String, u64>,
}

/// Where the messages go that one sink cannot take.
pub(super) struct DeadLetters {
    pub(super) ledger: Arc<Ledger>,
    pub(super) sink: String,
    pub(super) envelope: Envelope,
    /// Whether the pipeline says `on_error: {then: stop}`.
    pub(super) stops: bool,
    pub(super) breaker: Breaker,
    /// Rows that are letters already; a message that is one stands for all of its pieces.
    pub(super) known: BTreeMap<QueueRef, BTreeSet<RowAt>>,
    pub(super) paths: OriginPaths,
    pub(super) progress: Progress,
}

impl DeadLetters {
    /// Makes letters of the messages that cannot go on, but for those that are letters already.
    ///
    /// The letters and the LETTERS record that names them are one group, so there is never one
    /// without the other. They wait for the disk only as the broker's mode says: the COMMITTED
    /// that passes their messages comes later in the same log, so it cannot survive without them.
    pub(super) async fn take(
        &mut self,
        messages: &Messages,
        mut rejected: Vec<Rejected>,
    ) -> Result<(), RunError> {
        rejected.sort_by_key(|rejected| rejected.at);
        if rejected.is_empty() {
            return Ok(());
        }
        let queue = messages.queue().clone();
        let (mut group, mut rows) = (Vec::new(), Vec::new());
        let (mut bytes, mut before) = (0, 0);
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let known = self.known.get(&queue);
        for rejected in &rejected {
            let Rejected { at, step, reject, .. } = rejected;
            if known.is_some_and(|known| is_known(known, *at)) {
                before += 1;
                continue;
            }
            let letter = self.letter(messages, rejected.row, *at, step, reject);
            bytes += letter.body.len() + letter.properties.len();
            group.push(letter);
            rows.push(*at);
            progress::count(&mut counts, reject.code);
            if bytes >= GROUP_BYTES_MAX {
                let (group, rows) = (std::mem::take(&mut group), std::mem::take(&mut rows));
                self.send(messages, group, &rows, std::mem::take(&mut counts)).await?;
                bytes = 0;
            }
        }
        if !group.is_empty() {
            self.send(messages, group, &rows, counts).await?;
        }
        self.progress.sink(&self.sink, |sink| sink.lettered_before += before);
        Ok(())
    }

    fn letter(
        &self,
        messages: &Messages,
        row: u32,
        at: RowAt,
        step: &str,
        reject: &Reject,
    ) -> Outgoing {
        let row = row as usize;
        let identity = messages.get(row).properties.get(FILE_ID);
        let path = identity.and_then(|identity| self.paths.of(identity));
        self.envelope.of_message(messages, row, at.index, path.as_deref(), step, reject)
    }

    /// The letters of rows that the destination refused, for whoever appends them.
    pub(super) fn of_refused(&self, refused: &[Refused]) -> Posted {
        let mut posted = Posted::default();
        let mut rows: BTreeMap<&QueueRef, Vec<RowAt>> = BTreeMap::new();
        for Refused { messages, row, reject } in refused {
            let at = messages.row_at(*row as usize);
            posted.letters.push(self.letter(messages, *row, at, &self.sink, reject));
            rows.entry(messages.queue()).or_default().push(at);
            progress::count(&mut posted.counts, reject.code);
        }
        if !posted.letters.is_empty() {
            let rows = rows.iter().map(|(queue, rows)| LetterRows::new(queue, rows));
            posted.records.push(self.record(rows.collect(), &posted.counts));
        }
        posted
    }

    fn record(&self, rows: Vec<LetterRows>, counts: &BTreeMap<String, u64>) -> Record {
        Record::Letters(Letters {
            sink: self.sink.clone(),
            topic: self.envelope.topic.to_string(),
            rows,
            counts: counts.clone(),
        })
    }

    /// Leaves out the rows of messages that are letters already, also if they could go on now: what
    /// became of them is decided, and whoever replays the letters brings them.
    pub(super) fn pass_over(&self, batch: Batch) -> Batch {
        let messages = batch.messages();
        let Some(known) = self.known.get(messages.queue()) else { return batch };
        let covered = RowAt::whole(messages.from())..RowAt::whole(messages.to());
        if known.range(covered).next().is_none() {
            return batch;
        }
        let is_new = |row: &usize| !is_known(known, messages.row_at(*row));
        let kept: Vec<u32> =
            batch.selection().iter().filter(is_new).map(|row| row as u32).collect();
        let before = (batch.selection().len() - kept.len()) as u64;
        self.progress.sink(&self.sink, |sink| sink.lettered_before += before);
        batch.with_selection(Selection::Rows(kept.into()))
    }

    async fn send(
        &self,
        messages: &Messages,
        group: Vec<Outgoing>,
        rows: &[RowAt],
        counts: BTreeMap<String, u64>,
    ) -> Result<(), RunError> {
        fault::point("before-letters")?;
        let record = self.record(vec![LetterRows::new(messages.queue(), rows)], &counts);
        if fault::planted(fault::LETTER_NOT_AWAITED) {
            let ledger = Arc::clone(&self.ledger);
            let append = async move {
                let _ = ledger.append(&group.into(), vec![record], Wait::Policy).await;
            };
            drop(tokio::spawn(append));
            return Ok(());
        }
        self.ledger.append(&group.into(), vec![record], Wait::Policy).await?;
        self.progress.sink(&self.sink, |sink| {
            for (code, count) in counts {
                *sink.dead_lettered.entry(code).or_default() += count;
            }
        });
        fault::point("after-letters")
    }

    /// Forgets what lies before the offsets that a COMMITTED moved.
    pub(super) fn forget(&mut self, queue: &QueueRef, next: QueueOffset) {
        if let Some(known) = self.known.get_mut(queue) {
            *known = known.split_off(&RowAt::whole(next));
        }
    }

    /// Stops if the pipeline says so, or if too many records are refused. Before any letter of the
    /// batch is written: a broken pipeline must not turn a topic into letters.
    pub(super) fn judge(
        &mut self,
        messages: &Messages,
        rows: &Messages,
        rejected: &[Rejected],
    ) -> Result<(), RunError> {
        self.stop_at(messages, rejected)?;
        let mut rejected: Vec<&Rejected> = rejected.iter().collect();
        rejected.sort_by_key(|rejected| rejected.at);
        let order = Order::of(messages, rows);
        let mut next = 0;
        for Rejected { row, at, reject, .. } in rejected {
            let number = order.number(*row as usize, at.index);
            self.breaker.count_good(number.saturating_sub(next));
            next = number + 1;
            if !self.breaker.count(true) {
                return Err(self.breaker.error(&self.sink, reject));
            }
        }
        self.breaker.count_good(order.len().saturating_sub(next));
        Ok(())
    }

    /// The same for what the sink itself refused of a batch that passed before.
    pub(super) fn judge_late(
        &mut self,
        messages: &Messages,
        rejected: &[Rejected],
    ) -> Result<(), RunError> {
        self.stop_at(messages, rejected)?;
        for Rejected { reject, .. } in rejected {
            if !self.breaker.count(true) {
                return Err(self.breaker.error(&self.sink, reject));
            }
        }
        Ok(())
    }

    /// The same for what its destination refused.
    pub(super) fn judge_refused(&mut self, refused: &[Refused]) -> Result<(), RunError> {
        for Refused { messages, row, reject } in refused {
            if self.stops {
                let at = messages.row_at(*row as usize);
                return Err(stopped_at(messages.queue(), at, reject));
            }
            if !self.breaker.count(true) {
                return Err(self.breaker.error(&self.sink, reject));
            }
        }
        Ok(())
    }

    fn stop_at(&self, messages: &Messages, rejected: &[Rejected]) -> Result<(), RunError> {
        let first = rejected.iter().min_by_key(|rejected| rejected.at);
        let Some(Rejected { at, reject, .. }) = first.filter(|_| self.stops) else {
            return Ok(());
        };
        Err(stopped_at(messages.queue(), *at, reject))
    }
}

fn stopped_at(queue: &QueueRef, at: RowAt, reject: &Reject) -> RunError {
    RunError::Rejected {
        at: format!("{queue} offset {at}"),
        code: reject.code,
        error: reject.error.clone(),
    }
}

/// Whether a row is a letter, or its whole message is.
fn is_known(known: &BTreeSet<RowAt>, at: RowAt) -> bool {
    known.contains(&at) || known.contains(&RowAt::whole(at.offset))
}

/// The order of all rows that came of a batch, whatever became of them.
struct Order {
    /// By message: rows before it; then how many there are. Empty where each message is one row.
    before: Vec<usize>,
    messages: usize,
}

impl Order {
    fn of(messages: &Messages, rows: &Messages) -> Self {
        let messages = messages.len();
        let mut before = Vec::new();
        let taken_apart = |row: usize| rows.row_at(row).index.is_some();
        if (0..rows.len()).any(taken_apart) {
            let mut counts = vec![0_usize; messages];
            (0..rows.len()).for_each(|row| counts[rows.pulled_row(row)] += 1);
            before.push(0);
            for count in counts {
                // A message that was taken out before is one row.
                before.push(before.last().copied().unwrap_or(0) + count.max(1));
            }
        }
        Self { before, messages }
    }

    fn number(&self, message: usize, index: Option<u32>) -> usize {
        match self.before.get(message) {
            Some(before) => before + index.unwrap_or(0) as usize,
            None => message,
        }
    }

    fn len(&self) -> usize {
        self.before.last().copied().unwrap_or(self.messages)
    }
}
