use millrace_connect_api::{Part, PartState, Resume};

/// What is to become of parts that an earlier worker planned and did not settle.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    /// These are to be made visible, unless they are, and committed; `resume` is what the
    /// COMMITTED says, and `abort` the parts whose rows will be written again.
    Commit { commit: Vec<Part>, abort: Vec<Part>, resume: Resume },
    /// None is visible and not all can be: all rows will be written again.
    Abort(Vec<Part>),
    /// The first is gone, and the second, with later rows of its partition, is visible.
    Torn { gone: Part, visible: Part },
}

/// Decides about the parts of a PLANNED.
///
/// - All are staged or visible: commit all, as planned.
/// - Some are gone, none is visible: nobody saw anything, so abort all and write the rows again.
/// - Some are gone, some visible: the rows of the visible ones must not be written again, and the
///   others must. The offsets stay where they were before the plan (`before`), and each partition
///   with a kept part is *ahead* of them, up to the end of that part. That works as long as what
///   is kept of a partition lies before what is gone of it. A staged part that does not is aborted
///   too; a visible one cannot be, and then a person has to decide.
///
/// Parts of which nobody can tell how far they got are not asked about here.
///
/// A part can only be gone if somebody removed it: bytes are durable before they are planned.
pub(super) fn settle(before: &Resume, planned: &Resume, parts: &[(Part, PartState)]) -> Settlement {
    let of_state =
        |state: PartState| parts.iter().filter(move |(_, has)| *has == state).map(|(part, _)| part);
    let all = || parts.iter().map(|(part, _)| part.clone()).collect();
    if of_state(PartState::Gone).next().is_none() {
        return Settlement::Commit { commit: all(), abort: Vec::new(), resume: planned.clone() };
    }
    if of_state(PartState::Published).next().is_none() {
        return Settlement::Abort(all());
    }
    let mut abort: Vec<Part> = of_state(PartState::Gone).cloned().collect();
    let mut commit: Vec<Part> = Vec::new();
    for (part, state) in parts.iter().filter(|(_, state)| *state != PartState::Gone) {
        let gone = abort.iter().find(|gone| !lies_before(part, gone)).cloned();
        match (gone, state) {
            (None, _) => commit.push(part.clone()),
            (Some(_), PartState::Staged) => abort.push(part.clone()),
            (Some(gone), _) => return Settlement::Torn { gone, visible: part.clone() },
        }
    }
    let mut resume = before.clone();
    for part in &commit {
        let ahead = resume.ahead.entry(part.partition.clone()).or_default();
        for range in &part.ranges {
            let next = ahead.entry(range.queue.clone()).or_default();
            *next = range.to.max(*next);
        }
    }
    Settlement::Commit { commit, abort, resume }
}

/// Whether all rows of `part` come before those of `gone`, or they are of different partitions.
fn lies_before(part: &Part, gone: &Part) -> bool {
    part.partition != gone.partition
        || part.ranges.iter().all(|range| {
            let same_queue = gone.ranges.iter().filter(|other| other.queue == range.queue);
            same_queue.into_iter().all(|other| range.to <= other.from)
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use millrace_connect_api::{OffsetRange, QueueRef};
    use millrace_types::{QueueId, QueueOffset, TopicName};

    use super::PartState::{Gone, Published, Staged};
    use super::*;

    fn queue() -> QueueRef {
        QueueRef {
            broker: Arc::from("b"),
            topic: TopicName::parse("orders").unwrap(),
            queue: QueueId(0),
        }
    }

    fn resume(next: u64, ahead: &[(&str, u64)]) -> Resume {
        let place = |offset: u64| BTreeMap::from([(queue(), QueueOffset(offset))]);
        let ahead = ahead.iter().map(|&(name, offset)| (name.to_owned(), place(offset)));
        Resume { next: place(next), ahead: ahead.collect() }
    }

    fn part(id: u64, partition: &str, from: u64, to: u64) -> Part {
        Part {
            id,
            name: id.to_string(),
            staged: format!(".{id}"),
            partition: partition.to_owned(),
            ranges: vec![OffsetRange {
                queue: queue(),
                from: QueueOffset(from),
                to: QueueOffset(to),
            }],
            rows: 1,
            bytes: 1,
            checksum: 0,
        }
    }

    /// The offsets were at 10, partition `c` at 15; the plan moves them to 50. Parts are number,
    /// partition, from, to, state. Expected: committed, aborted, next offset, ahead.
    #[track_caller]
    fn check(
        parts: &[(u64, &str, u64, u64, PartState)],
        commit: &[u64],
        abort: &[u64],
        next: u64,
        ahead: &[(&str, u64)],
    ) {
        let before = resume(10, &[("c", 15)]);
        let parts: Vec<_> = parts
            .iter()
            .map(|&(id, partition, from, to, state)| (part(id, partition, from, to), state))
            .collect();
        let ids = |parts: &[Part]| parts.iter().map(|part| part.id).collect::<Vec<_>>();
        let settled = match settle(&before, &resume(50, &[]), &parts) {
            Settlement::Commit { commit, abort, resume } => (ids(&commit), ids(&abort), resume),
            Settlement::Abort(all) => (Vec::new(), ids(&all), before),
            Settlement::Torn { gone, visible } => (vec![visible.id], vec![gone.id], before),
        };
        assert_eq!(settled, (commit.to_vec(), abort.to_vec(), resume(next, ahead)), "{parts:?}");
    }

    #[test]
    fn whole_plans_are_committed_as_planned() {
        check(&[(1, "a", 10, 50, Staged)], &[1], &[], 50, &[]);
        check(&[(1, "a", 10, 50, Published), (2, "b", 11, 49, Staged)], &[1, 2], &[], 50, &[]);
    }

    #[test]
    fn what_nobody_saw_is_written_again() {
        check(&[(1, "a", 10, 50, Gone)], &[], &[1], 10, &[("c", 15)]);
        check(&[(1, "a", 10, 50, Gone), (2, "b", 9, 9, Staged)], &[], &[1, 2], 10, &[("c", 15)]);
    }

    #[test]
    fn a_visible_part_puts_its_partition_ahead_of_what_is_gone() {
        check(
            &[(1, "a", 10, 50, Published), (2, "b", 11, 49, Gone)],
            &[1],
            &[2],
            10,
            &[("a", 50), ("c", 15)],
        );
        check(
            &[(1, "c", 20, 50, Published), (2, "b", 11, 49, Gone), (3, "d", 11, 30, Staged)],
            &[1, 3],
            &[2],
            10,
            &[("c", 50), ("d", 30)],
        );
        // Within one partition the earlier part is kept and the later one written again.
        check(
            &[(1, "a", 10, 30, Published), (2, "a", 30, 50, Gone)],
            &[1],
            &[2],
            10,
            &[("a", 30), ("c", 15)],
        );
        // A later part of the partition that is only staged is written again too.
        check(
            &[(1, "b", 10, 30, Published), (2, "a", 10, 20, Gone), (3, "a", 20, 50, Staged)],
            &[1],
            &[2, 3],
            10,
            &[("b", 30), ("c", 15)],
        );
    }

    #[test]
    fn a_hole_before_a_visible_part_needs_a_person() {
        check(&[(1, "a", 10, 30, Gone), (2, "a", 30, 50, Published)], &[2], &[1], 10, &[("c", 15)]);
    }
}
