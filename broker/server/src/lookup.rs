use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use millrace_engine::{Caller, ConnectionId, Principal, RECORD_BYTES_MAX, Refusal, Request};
use millrace_store::{Entry, ReadError};
use millrace_types::record::Record;
use millrace_types::{GroupName, PhysicalOffset, QueueId, QueueOffset, is_system_topic_name};

use crate::core::{Needs, Shared};
use crate::dispatch::ask;
use crate::resets::Resets;

/// Finds messages by something that the queue index does not know. May wait for the disk, so it
/// runs on the readers' threads and takes the engine for one question at a time.
pub(crate) struct Lookup {
    shared: Arc<Shared>,
    caller: Caller,
}

/// Why nothing could be found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Unreadable(#[from] ReadError),
    #[error("the broker is closed")]
    Closed,
}

type Found<T> = Result<T, LookupError>;

impl Lookup {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let caller = Caller {
            connection: ConnectionId(0),
            peer: SocketAddr::from(([0, 0, 0, 0], 0)),
            principal: Principal::Internal,
        };
        Self { shared: Arc::clone(shared), caller }
    }

    /// The first message that was stored at this time or later; the queue's end if none was.
    pub(crate) fn first_stored_from(
        &self,
        topic: &str,
        queue: QueueId,
        time_ms: i64,
    ) -> Found<QueueOffset> {
        self.partition(topic, queue, |stored_ms| stored_ms < time_ms).map(|(_, found)| found)
    }

    /// The last message that was stored at this time or before; the queue's start if none was.
    pub(crate) fn last_stored_until(
        &self,
        topic: &str,
        queue: QueueId,
        time_ms: i64,
    ) -> Found<QueueOffset> {
        let (min, found) = self.partition(topic, queue, |stored_ms| stored_ms <= time_ms)?;
        Ok(QueueOffset(found.0.saturating_sub(1)).max(min))
    }

    /// When the message before an offset was stored; `None` if there is none.
    pub(crate) fn stored_before(
        &self,
        topic: &str,
        queue: QueueId,
        before: QueueOffset,
    ) -> Found<Option<i64>> {
        match before.0.checked_sub(1) {
            Some(at) => self.store_time(topic, queue, QueueOffset(at)),
            None => Ok(None),
        }
    }

    /// Moves a group to an offset of a queue; who consumes there is told with the next pull.
    pub(crate) fn move_group(
        &self,
        resets: &Resets,
        group: &GroupName,
        topic: &str,
        queue: QueueId,
        to: QueueOffset,
    ) -> Found<()> {
        let moved = self.shared.step(Needs::Policy, |step| {
            ask(step, &self.caller, Request::CommitOffset { group, topic, queue, offset: to })?;
            // In the same step, so that no member's commit comes in between.
            resets.put(step.now.mono_ms, group.as_str(), topic, queue, to);
            Ok::<_, Refusal>(())
        });
        Ok(moved.ok_or(LookupError::Closed)??)
    }

    /// Has the pulls of a group that wait for messages of a topic asked again.
    pub(crate) fn ask_again(&self, group: &GroupName, topic: &str) {
        self.shared.ask_again(|asks, wanted| asks == group.as_str() && wanted == topic);
    }

    /// When the oldest message of these topics was stored; each comes with its number of queues.
    /// Takes the engine once for each topic.
    pub(crate) fn oldest_store_time<'a>(
        &self,
        topics: impl Iterator<Item = (&'a str, u32)>,
    ) -> Found<Option<i64>> {
        let mut oldest: Option<Entry> = None;
        for (topic, queues) in topics {
            let first = self.shared.step(Needs::Policy, |step| {
                let first = |queue| {
                    let min = step.engine.extent(topic, queue).ok()?.min;
                    step.engine.entry_at(topic, queue, min).ok()?
                };
                let firsts = (0..queues).filter_map(|queue| first(QueueId(queue)));
                let kept = firsts.filter(|first| first.size > 0);
                kept.min_by_key(|first| first.physical_offset)
            });
            let firsts = oldest.into_iter().chain(first.ok_or(LookupError::Closed)?);
            oldest = firsts.min_by_key(|first| first.physical_offset);
        }
        oldest.map_or(Ok(None), |entry| self.time_of(entry))
    }

    /// When the queue's first message was stored; `None` if it has none.
    pub(crate) fn first_store_time(&self, topic: &str, queue: QueueId) -> Found<Option<i64>> {
        let (min, end) = self.visible(topic, queue)?;
        let mut at = min;
        while at < end {
            if let Some(time) = self.store_time(topic, queue, at)? {
                return Ok(Some(time));
            }
            at = at + 1;
        }
        Ok(None)
    }

    /// The message that starts at a position of the log, `None` if none does that readers may see.
    /// Clients name any position they like. What lies there says which message it is, and the index
    /// of that message's queue has to agree.
    pub(crate) fn stored_at(&self, at: PhysicalOffset) -> Found<Option<Bytes>> {
        let Shared { reader, marks, .. } = &*self.shared;
        let end = marks.appended();
        if at >= end {
            return Ok(None);
        }
        let bytes = match reader.record_at(at, end.min(at + RECORD_BYTES_MAX)) {
            Ok(bytes) => bytes,
            Err(
                ReadError::Damaged { .. }
                | ReadError::BeyondLimit { .. }
                | ReadError::Removed { .. },
            ) => return Ok(None),
            Err(error @ (ReadError::Absent { .. } | ReadError::Io { .. })) => {
                return Err(error.into());
            }
        };
        let Ok(record) = Record::parse(&bytes) else {
            return Ok(None);
        };
        let topic = record.topic();
        if is_system_topic_name(topic) {
            return Ok(None);
        }
        let entry = match self.entry(topic, record.queue_id(), record.queue_offset()) {
            // A half message, one of a topic that is gone, or none at all.
            Err(LookupError::Refused(_)) => None,
            entry => entry?,
        };
        if let Some(entry) = entry.filter(Entry::is_unreadable) {
            reader.read(&[entry])?;
        }
        let is_there = entry.is_some_and(|entry| entry.size > 0 && entry.physical_offset == at);
        Ok(is_there.then_some(bytes))
    }

    /// The queue's start, and the first message that is not `before`; store times never go back.
    fn partition(
        &self,
        topic: &str,
        queue: QueueId,
        before: impl Fn(i64) -> bool,
    ) -> Found<(QueueOffset, QueueOffset)> {
        let (min, end) = self.visible(topic, queue)?;
        let (mut low, mut high) = (min, end);
        while low < high {
            let middle = QueueOffset(low.0 + (high.0 - low.0) / 2);
            // A lost message has no time and counts as an early one.
            if self.store_time(topic, queue, middle)?.is_none_or(&before) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((min, low))
    }

    fn store_time(&self, topic: &str, queue: QueueId, at: QueueOffset) -> Found<Option<i64>> {
        let Some(entry) = self.entry(topic, queue, at)? else {
            return Ok(None);
        };
        self.time_of(entry)
    }

    fn time_of(&self, entry: Entry) -> Found<Option<i64>> {
        let run = match self.shared.reader.read(&[entry]) {
            // It is lost as well.
            Err(ReadError::Damaged { .. }) => None,
            read => read?.pop(),
        };
        let record = run.as_deref().map(Record::parse);
        Ok(record.and_then(Result::ok).map(|record| record.store_at_ms()))
    }

    fn entry(&self, topic: &str, queue: QueueId, at: QueueOffset) -> Found<Option<Entry>> {
        let step = self.shared.step(Needs::Policy, |step| step.engine.entry_at(topic, queue, at));
        Ok(step.ok_or(LookupError::Closed)??)
    }

    /// The offsets of a queue that readers may see.
    pub(crate) fn visible(&self, topic: &str, queue: QueueId) -> Found<(QueueOffset, QueueOffset)> {
        let step = self.shared.step(Needs::Policy, |step| step.engine.extent(topic, queue));
        let extent = step.ok_or(LookupError::Closed)??;
        Ok((extent.min, extent.visible))
    }
}
