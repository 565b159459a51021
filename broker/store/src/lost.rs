//! What damage took, queue by queue.
//!
//! A lost message leaves a gap before the next one of its queue, so its offset is known. Where its
//! queue has no later one, nothing in the log shows that it was there; but somebody may have read
//! it, so no other message may get its offset. The checkpoint says how many messages there were,
//! so a start knows how many are missing, and only not of which of these queues: all of them leave
//! out so many offsets.

use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName, is_system_topic};
use tracing::warn;

use crate::queue_index::{QueueIndex, QueueNo};
use crate::recovery::Damage;
use crate::tally::Tally;

/// Messages of a queue that damage took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostMessages {
    /// Topic.
    pub topic: TopicName,
    /// Queue.
    pub queue: QueueId,
    /// The first offset.
    pub from: QueueOffset,
    /// One past the last offset.
    pub to: QueueOffset,
    /// Whether a later message of the queue shows it. Otherwise the messages may have been of other
    /// queues in the list, and these offsets are left out.
    pub certain: bool,
}

/// No record of ours is shorter: all fields of fixed length, a topic of one byte, and our checksum.
pub(crate) const RECORD_BYTES_MIN: u64 = 112;
/// So many offsets are left out at most, all queues together; each costs the index an entry.
const LEFT_OUT_MAX: u64 = 1 << 22;

/// Lets the queues that may have lost their last messages leave out their offsets. `missing` is how
/// many messages are missing besides those in gaps; if that is not known, as many as the damaged
/// bytes could have held.
pub(crate) fn leave_out(
    index: &mut QueueIndex,
    damage: &[Damage],
    missing: Option<Tally>,
    lost: &mut Vec<LostMessages>,
) {
    let held_after = |at: PhysicalOffset| -> u64 {
        let after = damage.iter().filter(|damage| damage.from >= at);
        after.map(|damage| damage.to.since(damage.from) / RECORD_BYTES_MIN).sum()
    };
    let all = held_after(PhysicalOffset(0));
    // A start is refused where state is lost, so it must not be taken for lost on a mere suspicion.
    let missing = missing.unwrap_or(Tally { messages: all, state: 0 });
    let missing = Tally { messages: missing.messages.min(all), state: missing.state.min(all) };
    if missing == Tally::default() {
        return;
    }
    let mut tails: Vec<(QueueNo, TopicName, QueueId, u64)> = Vec::new();
    for (topic, queue, no) in index.all() {
        if let Some(at) = index.newest_at(no) {
            let count = missing.kind_of(topic.as_str()).min(held_after(at));
            if count > 0 {
                tails.push((no, topic.clone(), queue, count));
            }
        }
    }
    // After that, because an empty queue of the broker's own state has lost messages from then on.
    index.leave_out_of_empty(missing);
    // What the broker's own state lacks stops the start, so that is never cut short.
    let wanted: u64 = tails.iter().map(|(.., count)| count).sum();
    let each_max =
        if wanted <= LEFT_OUT_MAX { u64::MAX } else { LEFT_OUT_MAX / tails.len() as u64 };
    if wanted > LEFT_OUT_MAX {
        warn!(queues = tails.len(), each_max, "offsets of lost messages may be given again");
    }
    for (no, topic, queue, count) in tails {
        let count = if is_system_topic(&topic) { count } else { count.min(each_max) };
        let from = index.end(no);
        index.leave_out(no, count);
        lost.push(LostMessages { topic, queue, from, to: from + count, certain: false });
    }
}
