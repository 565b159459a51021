mod shared; // messages as several modules get them

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use millrace_connect_api::{
    Batch, Change, Messages, Piece, PieceBody, Reject, RejectCode, Selection, Step, StepError,
};
use millrace_types::{Properties, keys};
use millrace_wasm_host::{self as wasm, Fault, Filter, Kind, Output, Verdict};

use crate::fault;
use crate::stop::Stop;
pub(super) use shared::Shared;

/// A module trapped at a message, was late with it, or gave an answer that makes no sense.
const TRAP: RejectCode = "E-WASM-TRAP";
/// A module says that it cannot handle a message.
const REFUSED: RejectCode = "E-WASM-REFUSED";

/// So many messages of one batch may make a module late: with as many of a thousand the pipeline
/// stops anyway. Each takes two deadlines of everybody's time, so it is ten seconds altogether.
const LATE_MAX: usize = 100;

/// Runs a module over the messages of a batch.
pub(crate) struct Wasm {
    name: String,
    filter: Filter,
    shared: Shared,
    pub(super) bytes_max: u64,
    /// Once this is requested a batch of which some is left is given up.
    stop: Stop,
    dropped: u64,
    made: u64,
    /// What it said of the last batch, where that bug is planted.
    stale: Option<Vec<Verdict>>,
}

/// What became of a batch so far. Messages that were not reached at first come last.
#[derive(Default)]
struct Sorted {
    kept: Vec<u32>,
    refused: Vec<(u32, Reject)>,
    late: usize,
    bytes: Vec<u8>,
    changes: Vec<Change>,
    /// What a flat map puts in the place of messages.
    pieces: Vec<Piece>,
}

/// Bytes of memory that a piece takes, whatever its body is.
const PIECE_BYTES: usize = 128;

impl Wasm {
    pub(crate) fn new(name: String, filter: Filter, bytes_max: u64, stop: Stop) -> Self {
        // A pipeline may have more memory than messages can be put into, and a module that fills
        // it must not get that far.
        let bytes_max = bytes_max.min(Messages::CHANGED_BYTES_MAX);
        let stale = fault::planted(fault::VERDICTS_OF_LAST_BATCH).then(Vec::new);
        let shared = Shared::default();
        Self { name, filter, shared, bytes_max, stop, dropped: 0, made: 0, stale }
    }

    /// The same for a chain in which others may get the same messages.
    pub(super) fn sharing(self, shared: &Shared) -> Self {
        Self { shared: shared.clone(), ..self }
    }

    /// As the pipeline's summary and its letters name it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it puts other messages in the place of those it gets.
    pub(crate) fn changes_messages(&self) -> bool {
        self.filter.module().kind() != Kind::Filter
    }

    /// Whether it may make several rows of one message.
    fn takes_apart(&self) -> bool {
        self.filter.module().kind() == Kind::FlatMap
    }

    fn failed(&self, reason: impl Into<String>) -> StepError {
        StepError::Failed { step: self.name.clone(), reason: reason.into() }
    }

    /// Sorts messages by what the module says, and gives those that it was not asked about.
    fn sort(
        &mut self,
        messages: &Arc<Messages>,
        rows: &[u32],
        sorted: &mut Sorted,
    ) -> Result<Vec<u32>, StepError> {
        let decisions = self.shared.run(&self.filter, messages, rows);
        let decisions = decisions.map_err(|error| self.failed(error.to_string()))?;
        let takes_apart = self.takes_apart();
        let mut verdicts = Cow::Borrowed(decisions.verdicts());
        if let Some(stale) = &mut self.stale {
            let fresh = verdicts.to_vec();
            let reused = verdicts.to_mut().iter_mut().zip(stale.drain(..));
            reused.for_each(|(new, old)| *new = old);
            *stale = fresh;
        }
        let mut outputs = decisions.outputs().peekable();
        let mut left = Vec::new();
        for (number, (row, verdict)) in rows.iter().zip(verdicts.iter()).enumerate() {
            match verdict {
                Verdict::Keep => {
                    if takes_apart {
                        sorted.pieces.push(whole(*row));
                    }
                    sorted.kept.push(*row);
                }
                Verdict::Drop => self.dropped += 1,
                Verdict::Replace if takes_apart => {
                    let mut count = 0;
                    while let Some(output) =
                        outputs.next_if(|output| output.record as usize == number)
                    {
                        sorted.piece(messages, *row, count, &output);
                        count += 1;
                    }
                    match count {
                        0 => self.dropped += 1,
                        made => {
                            self.made += u64::from(made) - 1;
                            sorted.kept.push(*row);
                        }
                    }
                }
                Verdict::Replace => {
                    let output = outputs.next().expect("a map gives one output for one message");
                    sorted.change(messages, *row, &output);
                    sorted.kept.push(*row);
                }
                Verdict::Failed(fault) => {
                    sorted.late += usize::from(matches!(**fault, Fault::Deadline { .. }));
                    let code = match **fault {
                        Fault::Refused(_) => REFUSED,
                        Fault::Trap(_) | Fault::Deadline { .. } | Fault::Contract(_) => TRAP,
                    };
                    let reject = Reject { code, error: fault.to_string(), field: None };
                    sorted.refused.push((*row, reject));
                }
                Verdict::NotReached => left.push(*row),
            }
        }
        let bytes = sorted.bytes.len() + sorted.pieces.len() * PIECE_BYTES;
        if bytes as u64 > self.bytes_max {
            let bytes = self.bytes_max;
            return Err(self.failed(format!("it makes more than {bytes} bytes of one batch")));
        }
        if sorted.late > LATE_MAX {
            return Err(self.failed(format!(
                "it takes too long for more than {LATE_MAX} messages of one batch, so it is the \
                 module that is wrong; mend it, or take the step out"
            )));
        }
        Ok(left)
    }
}

impl Step for Wasm {
    fn apply(
        &mut self,
        batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let messages = Arc::clone(batch.messages());
        let mut sorted = Sorted::default();
        let mut rows: Vec<u32> = batch.selection().iter().map(|row| row as u32).collect();
        while !rows.is_empty() {
            rows = self.sort(&messages, &rows, &mut sorted)?;
            // A module that is late with one message after the other would take ten seconds.
            if !rows.is_empty() && self.stop.is_requested() {
                return Err(StepError::Stopped { step: self.name.clone() });
            }
        }
        sorted.refused.sort_by_key(|(row, _)| *row);
        if self.takes_apart() {
            return Ok(sorted.in_pieces(&messages, rejects));
        }
        let Sorted { mut kept, refused, bytes, changes, .. } = sorted;
        kept.sort_unstable();
        rejects.extend(refused);
        let mut batch = batch;
        if kept.len() < batch.selection().len() {
            batch = batch.with_selection(Selection::Rows(kept.into()));
        }
        if !changes.is_empty() {
            let changed = messages.changed(bytes.into(), changes);
            batch = batch.with_messages(Arc::new(changed));
        }
        Ok(batch)
    }

    fn made(&self) -> u64 {
        self.made
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("dropped", self.dropped)]
    }
}

impl Sorted {
    fn change(&mut self, messages: &Messages, row: u32, output: &Output<'_>) {
        let body = output.body.map(|body| self.keep(body));
        let properties = properties(messages.get(row as usize).properties, output);
        let properties = properties.map(|properties| self.keep(&properties));
        self.changes.push(Change { row: row as usize, body, properties });
    }

    /// Adds one of the rows that come in the place of a message.
    fn piece(&mut self, messages: &Messages, row: u32, index: u32, output: &Output<'_>) {
        let body = match output.body {
            None => PieceBody::Same,
            Some(body) => PieceBody::New(self.keep(body)),
        };
        let properties = properties(messages.get(row as usize).properties, output);
        let properties = properties.map(|properties| self.keep(&properties));
        self.pieces.push(Piece { row: row as usize, index: Some(index), body, properties });
    }

    /// All rows that came of a batch, and those among them that cannot go on.
    fn in_pieces(self, messages: &Messages, rejects: &mut Vec<(u32, Reject)>) -> Batch {
        let Self { refused, bytes, mut pieces, .. } = self;
        pieces.extend(refused.iter().map(|(row, _)| whole(*row)));
        pieces.sort_by_key(|piece| (piece.row, piece.index));
        let mut refused = refused.into_iter().peekable();
        let mut kept = Vec::with_capacity(pieces.len());
        for (number, piece) in pieces.iter().enumerate() {
            match refused.next_if(|(row, _)| *row as usize == piece.row) {
                Some((_, reject)) => rejects.push((number as u32, reject)),
                None => kept.push(number as u32),
            }
        }
        let pieces = messages.in_pieces(bytes.into(), pieces);
        Batch::new(Arc::new(pieces)).with_selection(Selection::Rows(kept.into()))
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        begin..self.bytes.len()
    }
}

/// A message as it is.
fn whole(row: u32) -> Piece {
    Piece { row: row as usize, index: None, body: PieceBody::Same, properties: None }
}

/// The properties of what goes on, if they are not those of the message. The key is one of them.
fn properties(own: Properties<'_>, output: &Output<'_>) -> Option<Vec<u8>> {
    let key = output.key.map(|key| String::from_utf8_lossy(key));
    let key = key.as_deref().map(|key| (keys::KEYS, Some(key)));
    if output.properties.is_none() && key.is_none() {
        return None;
    }
    let (own, beside) = match output.properties {
        None => (own, Properties::new(&[])),
        Some(wasm::Properties::Beside(beside)) => (own, Properties::new(beside)),
        Some(wasm::Properties::Instead(instead)) => {
            (Properties::new(instead), Properties::new(&[]))
        }
    };
    let beside = beside.iter().map(|(name, value)| (name, Some(value)));
    let changes: Vec<_> = beside.chain(key).collect();
    Some(own.with(&changes).into_bytes())
}
