use std::borrow::Cow;
use std::cell::LazyCell;
use std::convert::Infallible;

use bytes::Bytes;
use millrace_engine::{Answer as Answered, Found, Held, PullStatus as EngineStatus, finish};
use millrace_protocol::{
    Answer, Appended, Done, MessageIds, OffsetMessageId, PullAnswer, PullStatus, Refused,
    ResponseCode, SendAnswer, SendStatus, StoredAnswer, TopicAnswer, write_pull_head,
    write_stored_head,
};
use millrace_store::{LogReader, Placed, ReadError};
use millrace_types::record::{self, Record};
use millrace_types::{QueueId, QueueOffset, is_system_topic};
use tracing::error;

use crate::core::Shared;
use crate::quarantine::Place;
use crate::reactor::Output;
use crate::refusal::{Dialect, unreadable, write_refusal};
use crate::traffic::{GivenTo, Traffic};
use crate::waiting::{Awaited, ReplyTo, UniqueKey};

/// Writes what the engine answered. Records that were found are not read yet: they are given back,
/// for [`write_records`].
pub(crate) fn write_answer(
    answer: Answered,
    to: ReplyTo,
    awaited: &Awaited,
    host: std::net::SocketAddr,
    output: &mut Output,
) -> Option<Found> {
    let write = Writer { to, host };
    match (awaited, answer) {
        (_, Answered::Refused(refusal)) => write_refusal(&refusal, dialect(awaited), to, output),
        (Awaited::Send(unique), Answered::Appended(places)) => {
            write.sent(SendStatus::Ok, &places, Some(unique), output);
        }
        (Awaited::Send(unique), Answered::NotYetDurable(places)) => {
            write.sent(SendStatus::FlushDiskTimeout, &places, Some(unique), output);
        }
        (Awaited::Batch, Answered::Appended(places)) => {
            write.sent(SendStatus::Ok, &places, None, output);
        }
        (Awaited::Batch, Answered::NotYetDurable(places)) => {
            write.sent(SendStatus::FlushDiskTimeout, &places, None, output);
        }
        (Awaited::Group, Answered::Appended(places)) => {
            let offsets: Vec<_> = places.iter().map(|(_, placed)| placed.queue_offset).collect();
            write.answer(&Appended(Cow::Owned(offsets)), output);
        }
        (Awaited::Group, Answered::NotYetDurable(_)) => {
            let remark = "stored, but not on disk in time";
            write.answer(&Refused::new(ResponseCode::FLUSH_DISK_TIMEOUT, remark), output);
        }
        (Awaited::Records(_) | Awaited::Stored(_), Answered::Found(found)) => return Some(found),
        (Awaited::Records(_), Answered::NotFound { status, next, min, max }) => {
            write.answer(&nothing(status, next, min, max), output);
        }
        (Awaited::Stored(end), Answered::NotFound { next, min, max, .. }) => {
            write.stored(*end, (next, min, max), &[], output);
        }
        (Awaited::TopicQueues, Answered::Topic(topic)) => {
            let queues = i32::try_from(topic.write_queues).unwrap_or(i32::MAX);
            write.answer(&TopicAnswer { queues }, output);
        }
        (Awaited::Done, Answered::Done | Answered::Topic(_)) => write.answer(&Done, output),
        (awaited, answer) => unexpected(awaited, &answer, &write, output),
    }
    None
}

fn unexpected(
    awaited: &Awaited,
    answer: &dyn std::fmt::Debug,
    write: &Writer,
    output: &mut Output,
) {
    error!(?awaited, ?answer, "an answer of another kind than its request");
    let remark = "unexpected answer";
    write.answer(&Refused::new(ResponseCode::SYSTEM_ERROR, remark), output);
}

/// Which codes whoever waits for such an answer understands.
fn dialect(awaited: &Awaited) -> Dialect {
    match awaited {
        Awaited::Group | Awaited::Stored(_) | Awaited::TopicQueues => Dialect::Own,
        Awaited::Send(_) | Awaited::Batch | Awaited::Records(_) | Awaited::Done => {
            Dialect::RocketMq
        }
    }
}

/// Whether reading what was found may wait for a disk or takes long enough to be in others' way.
pub(crate) fn takes_long(found: &Found, reader: &LogReader) -> bool {
    /// Conditions over more messages than this are left to another thread.
    const JUDGED_MAX: usize = 256;
    let judged = !found.verdicts.is_empty() && found.plan.entries.len() > JUDGED_MAX;
    let oldest = found.plan.entries.iter().find(|entry| entry.size > 0);
    judged || oldest.is_some_and(|entry| !reader.is_hot(entry.physical_offset))
}

/// Reads what was found and writes it.
pub(crate) fn write_records(
    found: &Found,
    shared: &Shared,
    to: ReplyTo,
    awaited: &Awaited,
    output: &mut Output,
) {
    if let Awaited::Records(number) = awaited
        && found.verdicts.is_empty()
        && Writer::to(to).planned(found, *number, shared, output).is_ok()
    {
        return;
    }
    match read(found, shared) {
        Ok((next, runs)) => give(found, (next, runs), to, awaited, shared, output),
        Err(Unread { place, error }) => {
            let refused = unreadable(&error, place.as_deref(), dialect(awaited));
            Writer::to(to).answer(&refused, output);
        }
    }
}

/// The same where deciding takes long. A pull that has waited, and of which nothing is kept, is
/// given back, with the offset from where it waits on.
pub(crate) fn judge(
    found: Found,
    shared: &Shared,
    to: ReplyTo,
    awaited: &Awaited,
) -> Result<Output, (Held, QueueOffset)> {
    let mut output = Output::default();
    let refused = found.verdicts.iter().find_map(|verdicts| verdicts.prepare().err());
    if let Some(reason) = refused {
        let refused = Refused::new(ResponseCode::SYSTEM_ERROR, reason);
        Writer::to(to).answer(&refused, &mut output);
        return Ok(output);
    }
    match read(&found, shared) {
        Ok((next, runs)) => match &found.held {
            Some(held) if runs.is_empty() => return Err((held.clone(), next)),
            _ => give(&found, (next, runs), to, awaited, shared, &mut output),
        },
        Err(Unread { place, error }) => {
            let refused = unreadable(&error, place.as_deref(), dialect(awaited));
            Writer::to(to).answer(&refused, &mut output);
        }
    }
    Ok(output)
}

/// Why nothing is given, and of which message.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) place: Option<String>,
    pub(crate) error: ReadError,
}

/// Reads what was found as far as anything of it is kept; the offset to go on from.
///
/// What is damaged will never be read again, so it is told once and passed over; its offsets are
/// gone. What cannot be read now may be read later, so whoever comes to it is refused, and comes
/// again. A lost record of the broker's own state, such as that of a ledger, is never passed over:
/// whoever reads it would believe something else than what was written. Nor is one of a queue whose
/// name nobody knows any more.
pub(crate) fn read(found: &Found, shared: &Shared) -> Result<(QueueOffset, Vec<Bytes>), Unread> {
    let mut next = found.next;
    let mut kept = Vec::new();
    let name = LazyCell::new(|| shared.queue_name(found.queue));
    let place = |offset| Place { topic: &name.0, queue_id: name.1, offset };
    for (begin, entries) in found.stretches() {
        let past = shared.reader.read_past_damage(entries);
        let at = |n: usize| found.plan.from + (begin + n) as u64;
        for (n, error) in past.damaged {
            let place = place(at(n));
            shared.quarantine.damaged(&place, &error);
            if place.topic.as_ref().is_none_or(is_system_topic) {
                return Err(Unread { place: Some(place.to_string()), error });
            }
        }
        kept = finish(&found.verdicts, past.runs);
        next = at(entries.len());
        if let Some((n, error)) = past.unread {
            next = at(n);
            let place = place(next);
            shared.quarantine.unread(&place, &error, shared.now().mono_ms);
            // What comes before it is given all the same.
            if begin + n == 0 {
                return Err(Unread { place: Some(place.to_string()), error });
            }
            break;
        }
        if !kept.is_empty() {
            break;
        }
    }
    Ok((next, kept))
}

/// Writes records.
fn give(
    found: &Found,
    (next, runs): (QueueOffset, Vec<Bytes>),
    to: ReplyTo,
    awaited: &Awaited,
    shared: &Shared,
    output: &mut Output,
) {
    let (write, traffic) = (Writer::to(to), &shared.traffic);
    let Found { min, max, .. } = *found;
    match awaited {
        Awaited::Stored(end) => write.stored(*end, (next, min, max), &runs, output),
        Awaited::Records(number) => {
            let Ok(given) = write.records((next, min, max), 0, output, |each| {
                // Whatever was read has been verified.
                let records = runs.iter().flat_map(|run| record::iter(run).map_while(Result::ok));
                records.for_each(|record| each(&record));
                Ok::<(), Infallible>(())
            });
            given.count(*number, traffic);
        }
        Awaited::Send(_)
        | Awaited::Batch
        | Awaited::Group
        | Awaited::TopicQueues
        | Awaited::Done => unexpected(awaited, &found.next, &write, output),
    }
}

/// What a consumer was given.
#[derive(Default)]
struct Given {
    messages: usize,
    /// As stored.
    bytes: usize,
}

impl Given {
    fn count(&self, number: GivenTo, traffic: &Traffic) {
        match self.messages {
            0 => traffic.gave_nothing(),
            _ => traffic.gave(number, self.messages, self.bytes),
        }
    }
}

/// The head of an answer with records has fewer.
const HEAD_BYTES: usize = 512;

struct Writer {
    to: ReplyTo,
    host: std::net::SocketAddr,
}

type Offsets = (QueueOffset, QueueOffset, QueueOffset);

impl Writer {
    /// One that writes no places of messages.
    fn to(to: ReplyTo) -> Self {
        Self { to, host: std::net::SocketAddr::from(([0, 0, 0, 0], 0)) }
    }

    fn answer(&self, answer: &impl Answer, output: &mut Output) {
        output.write(|out| answer.write(self.to.kind, self.to.opaque, out));
    }

    fn sent(
        &self,
        status: SendStatus,
        places: &[(QueueId, Placed)],
        unique: Option<&UniqueKey>,
        output: &mut Output,
    ) {
        let id = |placed: &Placed| OffsetMessageId {
            store_host: self.host,
            physical_offset: placed.physical_offset,
        };
        let many: Vec<OffsetMessageId>;
        let Some((queue_id, first)) = places.first() else {
            return;
        };
        let message_ids = match places {
            [_] => MessageIds::One(id(first)),
            _ => {
                many = places.iter().map(|(_, placed)| id(placed)).collect();
                MessageIds::Many(&many)
            }
        };
        let unique = unique.map(UniqueKey::as_str).filter(|unique| !unique.is_empty());
        let answer = SendAnswer {
            status,
            message_ids,
            queue_id: *queue_id,
            queue_offset: first.queue_offset,
            transaction_id: unique.map(Cow::Borrowed),
        };
        self.answer(&answer, output);
    }

    /// For a RocketMQ client, all that was found, in one pass from the log to the peer. Nothing is
    /// written if any of it is damaged or cannot be read.
    fn planned(
        &self,
        found: &Found,
        number: GivenTo,
        shared: &Shared,
        output: &mut Output,
    ) -> Result<(), ReadError> {
        let entries = &found.plan.entries;
        let bytes = entries.iter().map(|entry| entry.size as usize).sum();
        let offsets = (found.next, found.min, found.max);
        let given =
            self.records(offsets, bytes, output, |each| shared.reader.read_each(entries, each))?;
        given.count(number, &shared.traffic);
        Ok(())
    }

    /// For a RocketMQ client: without the log's own properties. `bytes` is about how many they are.
    fn records<E>(
        &self,
        (next, min, max): Offsets,
        bytes: usize,
        output: &mut Output,
        read: impl FnOnce(&mut dyn FnMut(&Record<'_>)) -> Result<(), E>,
    ) -> Result<Given, E> {
        let (mut given, mut done) = (Given::default(), Ok(()));
        let status = PullStatus::Found;
        let head = PullAnswer { status, next, min, max, suggested_broker: 0 };
        output.write(|out| {
            let start = out.len();
            out.reserve(HEAD_BYTES + bytes);
            write_pull_head(&head, self.to.kind, self.to.opaque, 0, out);
            done = read(&mut |record| {
                record.write_for_client(out);
                given.messages += 1;
                given.bytes += record.as_bytes().len();
            });
            if done.is_err() || given.messages == 0 {
                return out.truncate(start);
            }
            let len = u32::try_from(out.len() - start - 4).expect("a pull is bounded");
            out[start..start + 4].copy_from_slice(&len.to_be_bytes());
        });
        done?;
        if given.messages == 0 {
            let nothing = nothing(EngineStatus::NoneMatched, next, min, max);
            self.answer(&nothing, output);
        }
        Ok(given)
    }

    /// For our own client: slices of the log.
    fn stored(
        &self,
        end: QueueOffset,
        (next, min, max): Offsets,
        runs: &[Bytes],
        output: &mut Output,
    ) {
        let head = StoredAnswer { next, min, max: end.max(max), visible_end: max };
        let len = runs.iter().map(Bytes::len).sum();
        output.write(|out| write_stored_head(&head, self.to.kind, self.to.opaque, len, out));
        for run in runs {
            output.push(run.clone());
        }
    }
}

fn nothing(
    status: EngineStatus,
    next: QueueOffset,
    min: QueueOffset,
    max: QueueOffset,
) -> PullAnswer {
    let status = match status {
        EngineStatus::Empty | EngineStatus::AtEnd => PullStatus::NotFound,
        EngineStatus::NoneMatched => PullStatus::NothingMatched,
        EngineStatus::BeyondEnd | EngineStatus::BelowMin => PullStatus::OffsetMoved,
    };
    PullAnswer { status, next, min, max, suggested_broker: 0 }
}
