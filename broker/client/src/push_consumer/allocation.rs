use millrace_protocol::MessageQueue;

/// The part of a topic's queues that one member of a group consumes: neighbours, as many as
/// anybody else's or one more. Every member comes to its part by itself, so both lists must be
/// what all members see. (In RocketMQ, `AllocateMessageQueueAveragely`.)
///
/// Nothing if `me` is not among the members.
pub(super) fn averagely(
    queues: &[MessageQueue],
    members: &[String],
    me: &str,
) -> Vec<MessageQueue> {
    let (mut queues, mut members) = (queues.to_vec(), members.to_vec());
    queues.sort();
    queues.dedup();
    members.sort();
    // A member that has just connected again may be listed twice.
    members.dedup();
    let Some(index) = members.iter().position(|member| member == me) else {
        return Vec::new();
    };
    let (each, rest) = (queues.len() / members.len(), queues.len() % members.len());
    let start = index * each + index.min(rest);
    let count = each + usize::from(index < rest);
    queues.into_iter().skip(start).take(count).collect()
}

#[cfg(test)]
mod tests {
    use millrace_types::QueueId;
    use proptest::prelude::*;

    use super::*;

    fn queues(count: u32) -> Vec<MessageQueue> {
        let queue =
            |id| MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: QueueId(id) };
        (0..count).map(queue).collect()
    }

    fn members(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("c{n:02}")).collect()
    }

    #[track_caller]
    fn check(queue_count: u32, member_count: usize, expected: &[&[u32]]) {
        let (queues, members) = (queues(queue_count), members(member_count));
        for (me, expected) in members.iter().zip(expected) {
            let mine = averagely(&queues, &members, me);
            let ids: Vec<_> = mine.iter().map(|queue| queue.queue_id.0).collect();
            assert_eq!(ids, *expected, "{me} of {member_count}, {queue_count} queues");
        }
    }

    #[test]
    fn parts_are_javas() {
        check(8, 3, &[&[0, 1, 2], &[3, 4, 5], &[6, 7]]);
        check(4, 2, &[&[0, 1], &[2, 3]]);
        check(2, 3, &[&[0], &[1], &[]]);
        check(0, 1, &[&[]]);
    }

    #[test]
    fn who_is_not_listed_gets_nothing() {
        assert_eq!(averagely(&queues(4), &members(2), "x"), []);
    }

    proptest! {
        #[test]
        fn every_queue_has_one_consumer(queue_count in 0u32..40, member_count in 1usize..12) {
            let (queues, members) = (queues(queue_count), members(member_count));
            let mut shuffled = queues.clone();
            shuffled.reverse();
            let parts = members.iter().flat_map(|me| averagely(&shuffled, &members, me));
            prop_assert_eq!(parts.collect::<Vec<_>>(), queues);
        }
    }
}
