use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_connect_api::{OffsetRange, Part, QueueRef, Resume, RowAt, Standing};
use millrace_types::{QueueId, QueueOffset, TopicName};
use serde::{Deserialize, Serialize};

use super::offset_set::OffsetSet;

/// The version of every record written here.
pub const VERSION: u32 = 1;

/// A ledger record with what all of them have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Version of the shapes; 1.
    pub v: u32,
    /// Counts the records of one run of a worker. With the epoch it tells whether a record whose
    /// append was never answered arrived.
    pub seq: u64,
    /// What it says.
    #[serde(flatten)]
    pub record: Record,
}

/// What a ledger record says. The tables of the [module](super) name every field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "UPPERCASE")]
pub enum Record {
    /// A worker takes the pipeline.
    Lease(Lease),
    /// How far the source is in the topic.
    Source(SourceMark),
    /// Parts are staged and about to become visible.
    Planned(Planned),
    /// Parts are visible, and offsets move.
    Committed(Committed),
    /// Parts will never become visible.
    Aborted(Aborted),
    /// Dead letters are in the topic for them.
    Letters(Letters),
    /// Dead letters will not be replayed.
    Dropped(Dropped),
    /// All that the records before it add up to.
    State(StateMark),
}

/// LEASE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Who; different for every run.
    pub worker: String,
    /// The epoch it takes, as in the property `MR_EPOCH`.
    pub epoch: u64,
}

/// SOURCE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMark {
    /// Each origin's next record to read.
    pub cursors: Vec<Cursor>,
    /// For each queue that the source appends to, where reading sees everything appended after
    /// this record.
    pub tails: Vec<QueueAt>,
}

/// STATE.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMark {
    /// Who holds the lease.
    pub worker: Option<String>,
    /// How far the source is.
    pub source: Option<SourceMark>,
    /// Each sink.
    pub sinks: Vec<SinkMark>,
}

/// What a STATE says of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkMark {
    /// The sink.
    pub sink: String,
    /// Where reading goes on, if anything was committed.
    pub resume: Option<Offsets>,
    /// As in the last COMMITTED.
    pub layout: String,
    /// What was planned and is not settled.
    pub planned: Vec<UnsettledMark>,
    /// A part number that was never used.
    pub next_part_id: u64,
    /// All part numbers before this were planned once.
    pub planned_below: u64,
    /// And these.
    pub planned_above: Vec<u64>,
    /// Messages that are dead letters and lie at or after `resume`.
    pub lettered: Vec<LetterRows>,
    /// Parts committed so far.
    pub parts: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Dead letters so far, by code.
    pub letters: BTreeMap<String, u64>,
    /// Dead letters that were replayed.
    #[serde(default, skip_serializing_if = "OffsetSet::is_empty")]
    pub replayed: OffsetSet,
    /// Dead letters that were dropped.
    #[serde(default, skip_serializing_if = "OffsetSet::is_empty")]
    pub dropped: OffsetSet,
}

/// Parts of one PLANNED that are not settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsettledMark {
    /// The parts.
    pub parts: Vec<PlannedPart>,
    /// What COMMITTED will say if all of them become visible.
    pub resume: Offsets,
    /// As in PLANNED.
    #[serde(default, skip_serializing_if = "OffsetSet::is_empty")]
    pub letters: OffsetSet,
}

/// How far one origin is in the topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The origin's identity.
    pub identity: String,
    /// Its path when it was last read, for people.
    pub path: String,
    /// Bytes before the next record.
    pub offset: u64,
    /// Lines before the next record.
    pub line: u64,
    /// Bytes of the record at this place that are in the topic too. So it is after a crash: the log
    /// tells where its last record begins and not where the one after it does.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken: u64,
    /// What the source last said of it, unless there were records since.
    #[serde(default, skip_serializing_if = "Standing::is_open", with = "StandingName")]
    pub standing: Standing,
}

/// How a [`Standing`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Standing", rename_all = "lowercase")]
enum StandingName {
    Open,
    Ended,
    Left,
}

/// PLANNED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The sink.
    pub sink: String,
    /// The parts, staged whole.
    pub parts: Vec<PlannedPart>,
    /// What COMMITTED will say if all of them become visible.
    pub resume: Offsets,
    /// Fingerprint of the pipeline that made them, in hexadecimal.
    pub pipeline: String,
    /// The dead letters that COMMITTED will say are replayed; none but in a ledger of letters.
    #[serde(default, skip_serializing_if = "OffsetSet::is_empty")]
    pub letters: OffsetSet,
}

/// One part of a PLANNED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPart {
    /// Number, unique in the sink.
    pub id: u64,
    /// Final name.
    pub name: String,
    /// Name while staged.
    pub staged: String,
    /// Partition values; empty without partitions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub partition: String,
    /// The queue offsets its rows lie in.
    pub ranges: Vec<Range>,
    /// Rows.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32 of all bytes.
    pub checksum: u32,
}

/// Consecutive messages of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Name of the broker.
    pub broker: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: u32,
    /// First queue offset.
    pub from: u64,
    /// One past the last.
    pub to: u64,
}

/// COMMITTED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The sink.
    pub sink: String,
    /// The parts that are visible now; none if only the offsets move.
    pub parts: Vec<CommittedPart>,
    /// Where reading goes on.
    pub resume: Offsets,
    /// Fingerprint of what decides the partition of a message, in hexadecimal. `ahead` means
    /// nothing to a pipeline with another one.
    pub layout: String,
    /// Where the messages begin that steps remember, where they lie before [`Offsets::next`]: they
    /// are read again by whoever goes on there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub window: Vec<QueueAt>,
    /// The dead letters that are replayed; none but in a ledger of letters.
    #[serde(default, skip_serializing_if = "OffsetSet::is_empty")]
    pub letters: OffsetSet,
}

/// One part of a COMMITTED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedPart {
    /// Its number.
    pub id: u64,
    /// Bytes.
    pub bytes: u64,
    /// CRC-32 of all bytes.
    pub checksum: u32,
}

/// Where a sink's reading goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    /// The next offset of each queue.
    pub next: Vec<QueueAt>,
    /// Partitions that are committed further than that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ahead: Vec<Ahead>,
}

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueAt {
    /// Name of the broker.
    pub broker: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: u32,
    /// Queue offset.
    pub offset: u64,
}

/// How far one partition is committed beyond [`Offsets::next`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    /// Partition values.
    pub partition: String,
    /// The next offset, by queue, that is not yet committed for it.
    pub next: Vec<QueueAt>,
}

/// ABORTED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aborted {
    /// The sink.
    pub sink: String,
    /// Numbers of the parts.
    pub parts: Vec<u64>,
    /// Why, for people.
    pub reason: String,
}

/// LETTERS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letters {
    /// The sink.
    pub sink: String,
    /// Where the letters went.
    pub topic: String,
    /// The messages that became letters in the same append.
    pub rows: Vec<LetterRows>,
    /// How many, by code.
    pub counts: BTreeMap<String, u64>,
}

/// DROPPED.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The sink.
    pub sink: String,
    /// The letters.
    pub letters: OffsetSet,
}

/// Rows of one queue that became letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterRows {
    /// Name of the broker.
    pub broker: String,
    /// Topic.
    pub topic: String,
    /// Queue.
    pub queue: u32,
    /// Queue offsets of whole messages, ascending.
    pub offsets: Vec<u64>,
    /// Pieces of messages: queue offset and number, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<(u64, u32)>,
}

impl QueueAt {
    pub(crate) fn new(queue: &QueueRef, offset: QueueOffset) -> Self {
        Self {
            broker: queue.broker.to_string(),
            topic: queue.topic.to_string(),
            queue: queue.queue.0,
            offset: offset.0,
        }
    }

    pub(crate) fn read(&self) -> Result<(QueueRef, QueueOffset), String> {
        Ok((queue_ref(&self.broker, &self.topic, self.queue)?, QueueOffset(self.offset)))
    }
}

impl LetterRows {
    pub(crate) fn new<'a>(queue: &QueueRef, rows: impl IntoIterator<Item = &'a RowAt>) -> Self {
        let (mut offsets, mut pieces) = (Vec::new(), Vec::new());
        for RowAt { offset, index } in rows {
            match index {
                None => offsets.push(offset.0),
                Some(index) => pieces.push((offset.0, *index)),
            }
        }
        let (broker, topic) = (queue.broker.to_string(), queue.topic.to_string());
        Self { broker, topic, queue: queue.queue.0, offsets, pieces }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = RowAt> {
        let whole = self.offsets.iter().map(|&offset| RowAt::whole(QueueOffset(offset)));
        let pieces = self
            .pieces
            .iter()
            .map(|&(offset, index)| RowAt { offset: QueueOffset(offset), index: Some(index) });
        whole.chain(pieces)
    }

    pub(crate) fn queue(&self) -> Result<QueueRef, String> {
        queue_ref(&self.broker, &self.topic, self.queue)
    }
}

impl Offsets {
    pub(crate) fn new(resume: &Resume) -> Self {
        let places = |places: &BTreeMap<QueueRef, QueueOffset>| {
            places.iter().map(|(queue, offset)| QueueAt::new(queue, *offset)).collect()
        };
        let ahead = |(partition, next): (&String, _)| Ahead {
            partition: partition.clone(),
            next: places(next),
        };
        Self { next: places(&resume.next), ahead: resume.ahead.iter().map(ahead).collect() }
    }

    pub(crate) fn read(&self) -> Result<Resume, String> {
        let places = |places: &[QueueAt]| -> Result<_, String> {
            places.iter().map(QueueAt::read).collect()
        };
        let ahead = |ahead: &Ahead| Ok((ahead.partition.clone(), places(&ahead.next)?));
        Ok(Resume {
            next: places(&self.next)?,
            ahead: self.ahead.iter().map(ahead).collect::<Result<_, String>>()?,
        })
    }
}

impl PlannedPart {
    pub(crate) fn new(part: &Part) -> Self {
        let range = |range: &OffsetRange| Range {
            broker: range.queue.broker.to_string(),
            topic: range.queue.topic.to_string(),
            queue: range.queue.queue.0,
            from: range.from.0,
            to: range.to.0,
        };
        Self {
            id: part.id,
            name: part.name.clone(),
            staged: part.staged.clone(),
            partition: part.partition.clone(),
            ranges: part.ranges.iter().map(range).collect(),
            rows: part.rows,
            bytes: part.bytes,
            checksum: part.checksum,
        }
    }

    pub(crate) fn read(&self) -> Result<Part, String> {
        let range = |range: &Range| -> Result<_, String> {
            Ok(OffsetRange {
                queue: queue_ref(&range.broker, &range.topic, range.queue)?,
                from: QueueOffset(range.from),
                to: QueueOffset(range.to),
            })
        };
        Ok(Part {
            id: self.id,
            name: self.name.clone(),
            staged: self.staged.clone(),
            partition: self.partition.clone(),
            ranges: self.ranges.iter().map(range).collect::<Result<_, String>>()?,
            rows: self.rows,
            bytes: self.bytes,
            checksum: self.checksum,
        })
    }
}

impl CommittedPart {
    pub(crate) fn new(part: &Part) -> Self {
        Self { id: part.id, bytes: part.bytes, checksum: part.checksum }
    }
}

/// For serde, which wants a reference.
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn queue_ref(broker: &str, topic: &str, queue: u32) -> Result<QueueRef, String> {
    let topic = TopicName::parse(topic).map_err(|error| format!("topic `{topic}`: {error}"))?;
    Ok(QueueRef { broker: Arc::from(broker), topic, queue: QueueId(queue) })
}
