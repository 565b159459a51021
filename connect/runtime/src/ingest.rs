//! From the source into the topic, each record once (P9).
//!
//! The log is the truth about what is there. Every message carries the identity of its origin and
//! its offset in it, and so does every dead letter of the source. A SOURCE record in the ledger
//! says how far the origins were read, and from where in the queues everything appended after it
//! is found. A worker that starts reads the queues from there and so learns the last record of
//! each origin that is in the log. It is enough to know the last one: a source gives the records
//! of an origin in order, and groups are appended whole and one after the other. The source goes
//! on *at* that record, because the log does not say where the one after it begins, and the record
//! itself is left out when it comes. If it has grown since, because it was the last line of a file
//! and had no end yet, what came behind it is a record of its own, as without the restart.
//!
//! The same is done when an append was not answered, after it was made sure that the append cannot
//! arrive any more (see [`Ledger`](crate::ledger)).

mod promote; // properties, tag and key from the body

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millrace_client::{Outgoing, Wait};
use millrace_config::Pipeline;
use millrace_connect_api::decode::FILE_HEADER;
use millrace_connect_api::{
    Chunk, Message, Origin, Polled, Position, Reject, Source, SourceCursor, SourceError, Span,
    Standing,
};
use millrace_types::record::PROPERTIES_BYTES_MAX;
use millrace_types::{PropertiesBuf, QueueId, QueueOffset, TopicName, java_hash};
use tracing::info;

use self::promote::{Promoted, Promotion};
use crate::error::RunError;
use crate::fault;
use crate::ledger::{Cursor, Landed, Ledger, QueueAt, Record, SourceMark};
use crate::letter::{self, Breaker, Envelope};
use crate::link::Link;
use crate::origins::OriginPaths;
use crate::progress::{self, Progress};

/// Property with the identity of the origin of a record.
pub const FILE_ID: &str = "file.id";
/// Property with the bytes before a record in its origin.
pub const FILE_OFFSET: &str = "file.offset";
/// Property with the lines before a record in its origin.
pub const FILE_LINE: &str = "file.line";
/// Property with the path of the origin, on dead letters and on the first message of each origin:
/// on every message it would cost more than it tells. The SOURCE records of the ledger say which
/// path an identity has; the first message says it until there is such a record.
pub const FILE_PATH: &str = "file.path";

/// Records without a key go to one queue for this many bytes of their origin, so that a chunk
/// mostly lies in one queue. Which queue the first of them go to follows from the identity of the
/// origin, so that many small ones do not all lie in the same queue.
const QUEUE_STRIPE_BYTES: u64 = 256 * 1024;
/// The most body bytes of one append.
const GROUP_BYTES_MAX: usize = 1 << 20;
/// The most records of one append.
const GROUP_RECORDS_MAX: usize = 2 * 1024;
/// A SOURCE record is due after this many bytes of bodies: a worker that starts reads back so
/// many, with what surrounds them.
const MARK_BYTES: usize = 8 << 20;
/// A SOURCE record is due this long after the last one, milliseconds.
const MARK_MS: u64 = 1_000;

/// The step that a record which could not be read failed at.
const READ: &str = "read";

/// Makes the source, which goes on at these cursors.
pub type OpenSource =
    Box<dyn FnOnce(Vec<SourceCursor>) -> Result<Box<dyn Source>, SourceError> + Send>;

/// The part of a run that feeds the topic.
pub(crate) struct Ingest {
    link: Arc<Link>,
    ledger: Arc<Ledger>,
    source: Box<dyn Source>,
    topic: TopicName,
    queues: u32,
    letters: Envelope,
    breaker: Breaker,
    promotion: Option<Promotion>,
    cursors: BTreeMap<String, At>,
    paths: OriginPaths,
    /// Where the queues end as far as is known; everything of ours before it is in `cursors`.
    tails: Tails,
    unmarked_bytes: usize,
    is_marked: bool,
    marked_at_ms: u64,
    progress: Progress,
}

type Tails = BTreeMap<(TopicName, QueueId), QueueOffset>;

/// A chunk on its way into the topic, with what goes for all of its records.
#[derive(Clone, Copy)]
struct Taken<'c> {
    chunk: &'c Chunk,
    born_at_ms: i64,
    /// Where records without a key begin.
    first_queue: u32,
}

/// How far an origin is, and its path.
struct At {
    path: String,
    next: Position,
    /// Bytes of the record at `next` that are in the log too.
    taken: u64,
    standing: Standing,
}

impl At {
    fn covers(&self, position: Position) -> bool {
        position.offset < self.next.offset
            || (self.taken > 0 && position.offset == self.next.offset)
    }

    /// What of a record is not in the log yet. Of one that could not be read only the beginning is
    /// at hand, which says nothing about what came behind it.
    fn rest_of(&self, span: &Span, is_readable: bool) -> Option<Span> {
        if !self.covers(span.position) {
            return Some(*span);
        }
        if span.position.offset != self.next.offset || self.taken == WHOLE {
            return None;
        }
        let taken = match u32::try_from(self.taken) {
            Ok(taken) if taken < span.len => taken,
            _ if is_readable => return None,
            _ => 0,
        };
        let position = Position { offset: span.position.offset + self.taken, ..span.position };
        Some(Span { at: span.at + taken, len: span.len - taken, position, ..*span })
    }
}

/// Stands for the bytes of a line of which the log has the beginning, and is to have no more.
const WHOLE: u64 = u64::MAX;

/// The last record of an origin that is in the log.
#[derive(Clone, Copy)]
struct Last {
    position: Position,
    /// Its bytes, or [`WHOLE`].
    len: u64,
}

/// What the queues have behind the last SOURCE record.
struct ReadBack {
    last: BTreeMap<String, Last>,
    /// Of origins whose first message is there.
    paths: BTreeMap<String, String>,
    /// Where the queues end.
    ends: Tails,
}

/// Messages on their way, in one append.
#[derive(Default)]
struct Group {
    messages: Vec<Outgoing>,
    /// The properties of all messages but dead letters, one after the other: a piece of memory of
    /// its own for each would cost as much as everything else about it.
    properties: PropertiesBuf,
    /// Where those of each message end.
    ends: Vec<usize>,
    /// The codes of those that are dead letters.
    letters: Vec<&'static str>,
    /// Bytes of bodies.
    bytes: usize,
    /// Bytes of the properties of dead letters.
    letter_bytes: usize,
    /// Where the first one lies in its origin.
    first: Option<u64>,
}

impl Group {
    fn push(&mut self, position: Position, message: Outgoing) {
        self.first.get_or_insert(position.offset);
        self.bytes += message.body.len();
        self.letter_bytes += message.properties.len();
        self.messages.push(message);
        self.ends.push(self.properties.len());
    }

    fn is_full(&self) -> bool {
        // Headers may be longer than the lines that they go with.
        self.bytes >= GROUP_BYTES_MAX
            || self.properties.len() + self.letter_bytes >= GROUP_BYTES_MAX
            || self.messages.len() >= GROUP_RECORDS_MAX
    }

    /// The messages, with their properties.
    fn into_messages(self) -> Arc<[Outgoing]> {
        let Self { mut messages, properties, ends, .. } = self;
        let properties = Bytes::from(properties.into_bytes());
        let mut start = 0;
        for (message, end) in messages.iter_mut().zip(ends) {
            if end > start {
                message.properties = properties.slice(start..end);
            }
            start = end;
        }
        messages.into()
    }
}

impl Ingest {
    /// Reads back what the log has. `open` makes the source, which goes on at the cursors given.
    #[expect(clippy::too_many_arguments, reason = "it is where all parts of a run come together")]
    pub(crate) async fn open(
        link: Arc<Link>,
        ledger: Arc<Ledger>,
        pipeline: &Arc<Pipeline>,
        queues: u32,
        mark: Option<SourceMark>,
        open: OpenSource,
        paths: OriginPaths,
        progress: Progress,
    ) -> Result<Self, RunError> {
        let letters = Envelope {
            topic: letter::topic(&pipeline.name, letter::SOURCE)?,
            sink: letter::SOURCE.to_owned(),
            config: pipeline.fingerprint,
        };
        link.ensure_topic(&letters.topic, letter::QUEUE.0 + 1).await?;
        let topic = pipeline.topic.name.clone();
        let mut tails: BTreeMap<_, _> = (0..queues)
            .map(|queue| ((topic.clone(), QueueId(queue)), QueueOffset(0)))
            .chain([((letters.topic.clone(), letter::QUEUE), QueueOffset(0))])
            .collect();
        let is_known = mark.is_some();
        let mark = mark.unwrap_or_default();
        for at in &mark.tails {
            // What is no longer a queue of this source's is of no interest.
            let place = TopicName::parse(&at.topic).map(|topic| (topic, QueueId(at.queue)));
            if let Ok(place) = place
                && let Some(tail) = tails.get_mut(&place)
            {
                *tail = QueueOffset(at.offset);
            }
        }
        let mut cursors = BTreeMap::new();
        for cursor in mark.cursors {
            let next = Position { offset: cursor.offset, line: cursor.line };
            let Cursor { path, taken, standing, .. } = cursor;
            let at = At { path, next, taken, standing };
            cursors.insert(cursor.identity, at);
        }
        if is_known {
            let back = read_back(&link, &tails).await?;
            info!(origins = back.last.len(), "read back what the source appended");
            for (identity, Last { position: next, len: taken }) in back.last {
                match cursors.get_mut(&identity) {
                    Some(at) if at.covers(next) => {}
                    Some(at) => {
                        (at.next, at.taken, at.standing) = (next, taken, Standing::Open);
                    }
                    None => {
                        let path = back.paths.get(&identity).cloned().unwrap_or_default();
                        paths.learn(&identity, &path);
                        let standing = Standing::Open;
                        cursors.insert(identity, At { path, next, taken, standing });
                    }
                }
            }
            tails = back.ends;
        } else {
            // Nothing of this source can be in the topic yet, however much of others is.
            for ((topic, queue), tail) in &mut tails {
                *tail = link.bounds(topic, *queue).await?.1;
            }
        }
        let resume = cursors.iter().map(|(identity, at)| SourceCursor {
            identity: identity.clone(),
            path: at.path.clone(),
            position: at.next,
            standing: at.standing,
        });
        let mut ingest = Self {
            source: open(resume.collect())?,
            promotion: Promotion::new(pipeline)?,
            breaker: Breaker::new(Breaker::USUAL_PPM),
            marked_at_ms: link.now().mono_ms,
            link,
            ledger,
            topic,
            queues,
            letters,
            cursors,
            paths,
            tails,
            unmarked_bytes: 0,
            is_marked: is_known,
            progress,
        };
        if !is_known {
            ingest.mark().await?;
        }
        Ok(ingest)
    }

    /// Appends what the source gives until it ends (`true`) or a stop is requested.
    pub(crate) async fn run(&mut self) -> Result<bool, RunError> {
        let stop = self.link.stop().clone();
        let mut ended = false;
        while !ended {
            let polled = tokio::select! {
                biased;
                () = stop.requested() => break,
                polled = self.source.poll() => polled?,
            };
            match polled {
                Polled::Chunk(chunk) => self.take(&chunk, None).await?,
                Polled::Unreadable(chunk, reject) => self.take(&chunk, Some(reject)).await?,
                Polled::Idle => {}
                Polled::Standing(identity, standing) => self.stands(&identity, standing),
                Polled::End => ended = true,
            }
            if !self.is_marked && self.mark_is_due() {
                self.mark().await?;
            }
            tokio::task::yield_now().await;
        }
        if !self.is_marked {
            self.mark().await?;
        }
        self.progress.source(|source| source.ended = ended);
        Ok(ended)
    }

    /// Appends what is new of a chunk; as dead letters if it could not be read.
    async fn take(&mut self, chunk: &Chunk, unreadable: Option<Reject>) -> Result<(), RunError> {
        let identity = &chunk.origin.identity;
        let spans = &chunk.records;
        let at = self.cursors.get(identity);
        let is_readable = unreadable.is_none();
        let rest_of = |span: &Span| at.map_or(Some(*span), |at| at.rest_of(span, is_readable));
        let fresh: Vec<Span> = spans.iter().filter_map(rest_of).collect();
        let skipped = (spans.len() - fresh.len()) as u64;
        self.progress.source(|source| {
            source.read += spans.len() as u64;
            source.skipped += skipped;
        });
        let promoted = match (&unreadable, &mut self.promotion) {
            (Some(reject), _) => {
                let refused = || Err(promote::Refused { step: READ, reject: reject.clone() });
                fresh.iter().map(|_| refused()).collect()
            }
            (None, Some(promotion)) => promotion.promote(chunk, &fresh)?,
            (None, None) => Vec::new(),
        };
        let mut is_path_known = at.is_some_and(|at| !at.path.is_empty());
        let mut promoted = promoted.into_iter();
        let born_at_ms = self.link.now().wall_ms;
        let first_queue = first_queue(identity, self.queues);
        let taken = Taken { chunk, born_at_ms, first_queue };
        let mut group = Group::default();
        for (number, span) in fresh.iter().enumerate() {
            let names_path = !std::mem::replace(&mut is_path_known, true);
            self.place(&mut group, taken, span, names_path, promoted.next())?;
            if number + 1 == fresh.len() || group.is_full() {
                self.passed(chunk, span);
                self.send(identity, std::mem::take(&mut group)).await?;
            }
        }
        if fresh.is_empty()
            && let Some(last) = spans.last()
        {
            self.passed(chunk, last);
            self.is_marked = false;
        }
        Ok(())
    }

    /// The source says what it expects of an origin. Of one without a record here it may expect
    /// whatever it likes.
    fn stands(&mut self, identity: &str, standing: Standing) {
        if let Some(at) = self.cursors.get_mut(identity)
            && at.standing != standing
        {
            at.standing = standing;
            self.is_marked = false;
        }
    }

    /// The origin was read up to and including this record.
    fn passed(&mut self, chunk: &Chunk, span: &Span) {
        let origin = &chunk.origin;
        match self.cursors.get_mut(&origin.identity) {
            Some(at) => {
                at.standing = Standing::Open;
                if !at.covers(span.next) {
                    (at.next, at.taken) = (span.next, 0);
                }
                if at.path == origin.path {
                    return;
                }
                at.path.clone_from(&origin.path);
            }
            None => {
                let (path, standing) = (origin.path.clone(), Standing::Open);
                let at = At { path, next: span.next, taken: 0, standing };
                self.cursors.insert(origin.identity.clone(), at);
            }
        }
        self.paths.learn(&origin.identity, &origin.path);
    }

    /// Adds a record as the message or the dead letter that it becomes.
    fn place(
        &mut self,
        group: &mut Group,
        taken: Taken<'_>,
        span: &Span,
        names_path: bool,
        promoted: Option<Result<Promoted, promote::Refused>>,
    ) -> Result<(), RunError> {
        let Taken { chunk, born_at_ms, first_queue } = taken;
        let body = body(chunk, span);
        let position = span.position;
        let refused = matches!(promoted, Some(Err(_)));
        let holds = self.breaker.count(refused);
        let before = group.properties.len();
        let key_hash = match promoted {
            None => None,
            Some(Ok(promoted)) => {
                group.properties.append(&promoted.properties);
                promoted.key_hash
            }
            Some(Err(promote::Refused { step, reject })) => {
                if !holds {
                    return Err(self.breaker.error(letter::SOURCE, &reject));
                }
                let mut properties = PropertiesBuf::new();
                stamp(&mut properties, &chunk.origin, position);
                properties.push(FILE_PATH, &chunk.origin.path);
                let properties = properties.into_bytes();
                let message = self.letters.of_record(body, properties, step, &reject, born_at_ms);
                group.letters.push(reject.code);
                group.push(position, message);
                return Ok(());
            }
        };
        let queue = match key_hash {
            Some(hash) => queue_of_hash(hash, self.queues),
            None => queue_in_turn(first_queue, position.offset, self.queues),
        };
        stamp(&mut group.properties, &chunk.origin, position);
        let path = &chunk.origin.path;
        let bytes = group.properties.len() - before + FILE_PATH.len() + path.len() + 2;
        // Promoted properties may leave no room for a long one.
        if names_path && bytes <= PROPERTIES_BYTES_MAX {
            group.properties.push(FILE_PATH, path);
        }
        let (topic, queue) = (self.topic.clone(), QueueId(queue));
        let message = Outgoing { topic, queue, body, properties: Bytes::new(), born_at_ms };
        group.push(position, message);
        Ok(())
    }

    /// Appends records of one origin in one group, with a SOURCE record if one is due.
    async fn send(&mut self, identity: &str, mut group: Group) -> Result<(), RunError> {
        fault::point("before-append")?;
        let bytes = group.bytes;
        self.unmarked_bytes += bytes;
        let marked = self.mark_is_due();
        let first = group.first.unwrap_or_default();
        let letters = std::mem::take(&mut group.letters);
        let messages = group.into_messages();
        loop {
            let records =
                if marked { vec![Record::Source(self.source_mark())] } else { Vec::new() };
            match self.ledger.append(&messages, records, Wait::Policy).await? {
                Landed::Answered(offsets) => {
                    for (message, offset) in messages.iter().zip(offsets) {
                        self.expect_tail(&message.topic, message.queue, offset)?;
                    }
                    break;
                }
                Landed::Found => break,
                Landed::Unknown => {
                    let ReadBack { last, ends, .. } = read_back(&self.link, &self.tails).await?;
                    self.tails = ends;
                    if last.get(identity).is_some_and(|last| last.position.offset >= first) {
                        break;
                    }
                }
            }
        }
        if marked {
            self.marked();
        } else {
            self.is_marked = false;
        }
        self.progress.source(|source| {
            source.appended += (messages.len() - letters.len()) as u64;
            letters.iter().for_each(|code| progress::count(&mut source.dead_lettered, code));
            source.bytes += bytes as u64;
        });
        fault::point("after-append")
    }

    /// Takes in where a message went. Others may append too, so it may lie beyond the end that was
    /// known; before it, the queue has lost messages.
    fn expect_tail(
        &mut self,
        topic: &TopicName,
        queue: QueueId,
        offset: QueueOffset,
    ) -> Result<(), RunError> {
        let tail = self.tails.entry((topic.clone(), queue)).or_default();
        if offset < *tail {
            let queue = self.link.queue(topic, queue);
            return Err(RunError::WentBack { queue, known: *tail, end: offset });
        }
        *tail = offset + 1;
        Ok(())
    }

    fn mark_is_due(&self) -> bool {
        self.unmarked_bytes >= MARK_BYTES || self.link.now().mono_ms >= self.marked_at_ms + MARK_MS
    }

    async fn mark(&mut self) -> Result<(), RunError> {
        let record = Record::Source(self.source_mark());
        self.ledger.append_records(vec![record], Wait::Policy).await?;
        self.marked();
        Ok(())
    }

    fn marked(&mut self) {
        self.is_marked = true;
        self.unmarked_bytes = 0;
        self.marked_at_ms = self.link.now().mono_ms;
    }

    /// What the ledger is to say now. The tails may lie before the messages of the same group.
    fn source_mark(&self) -> SourceMark {
        let cursor = |(identity, at): (&String, &At)| Cursor {
            identity: identity.clone(),
            path: at.path.clone(),
            offset: at.next.offset,
            line: at.next.line,
            taken: at.taken,
            standing: at.standing,
        };
        let tail = |((topic, queue), offset): (&(TopicName, QueueId), &QueueOffset)| {
            QueueAt::new(&self.link.queue(topic, *queue), *offset)
        };
        SourceMark {
            cursors: self.cursors.iter().map(cursor).collect(),
            tails: self.tails.iter().map(tail).collect(),
        }
    }
}

/// The last record of each origin at or after `tails`, and where the queues end.
async fn read_back(link: &Link, tails: &Tails) -> Result<ReadBack, RunError> {
    let mut last: BTreeMap<String, Last> = BTreeMap::new();
    let mut paths = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for ((topic, queue), from) in tails {
        let mut each = |message: Message<'_>| {
            if let Some((identity, found)) = stamped(&message) {
                if let Some(path) = message.properties.get(FILE_PATH) {
                    paths.insert(identity.to_owned(), path.to_owned());
                }
                match last.get_mut(identity) {
                    Some(last) if last.position >= found.position => {}
                    Some(last) => *last = found,
                    None => {
                        last.insert(identity.to_owned(), found);
                    }
                }
            }
            Ok(())
        };
        let end = link.read_through(topic, *queue, *from, &mut each).await?;
        ends.insert((topic.clone(), *queue), end);
    }
    Ok(ReadBack { last, paths, ends })
}

/// Where a message comes from, if a source appended it.
fn stamped<'m>(message: &Message<'m>) -> Option<(&'m str, Last)> {
    let number = |name| message.properties.get(name)?.parse::<u64>().ok();
    let identity = message.properties.get(FILE_ID)?;
    let position =
        Position { offset: number(FILE_OFFSET)?, line: number(FILE_LINE).unwrap_or_default() };
    let is_whole = message.properties.get(letter::STEP) != Some(READ);
    let len = if is_whole { message.body.len() as u64 } else { WHOLE };
    Some((identity, Last { position, len }))
}

/// As `SelectMessageQueueByHash` of RocketMQ's client does it.
fn queue_of_hash(hash: i32, queues: u32) -> u32 {
    (hash % queues.max(1) as i32).unsigned_abs()
}

/// The first stripe of an origin lies where messages with its identity as their key would.
fn first_queue(identity: &str, queues: u32) -> u32 {
    queue_of_hash(java_hash(identity), queues)
}

/// Every further one lies in the queue after that of the one before it.
fn queue_in_turn(first: u32, offset: u64, queues: u32) -> u32 {
    ((u64::from(first) + offset / QUEUE_STRIPE_BYTES) % u64::from(queues.max(1))) as u32
}

/// Says where a record comes from.
fn stamp(properties: &mut PropertiesBuf, origin: &Origin, position: Position) {
    properties.push(FILE_ID, &origin.identity);
    properties.push_number(FILE_OFFSET, position.offset);
    properties.push_number(FILE_LINE, position.line);
    if let Some(header) = &origin.header {
        properties.push(FILE_HEADER, header);
    }
}

fn body(chunk: &Chunk, span: &Span) -> Bytes {
    let at = span.at as usize;
    chunk.data.slice(at..at + span.len as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stripes_of_an_origin_take_turns_from_a_queue_of_its_own() {
        let queues = |identity| {
            let first = first_queue(identity, 4);
            (0..6).map(|stripe| queue_in_turn(first, stripe * QUEUE_STRIPE_BYTES, 4)).collect()
        };
        // 'a' is 97, and 'c' 99.
        let (of_a, of_c): (Vec<_>, Vec<_>) = (queues("a"), queues("c"));
        assert_eq!(of_a, [1, 2, 3, 0, 1, 2]);
        assert_eq!(of_c, [3, 0, 1, 2, 3, 0]);
        assert_eq!(queue_in_turn(1, QUEUE_STRIPE_BYTES - 1, 4), 1);
        assert_eq!(queue_in_turn(0, u64::MAX, 1), 0);
    }
}
