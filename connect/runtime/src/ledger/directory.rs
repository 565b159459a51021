use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millrace_client::{Append, BrokerError, Outgoing, Wait};
use millrace_types::{QueueId, QueueOffset, TopicName};
use serde::{Deserialize, Serialize};

use super::record::VERSION;
use crate::error::RunError;
use crate::link::Link;

/// The queue of the ledger that says which queue is whose.
pub(super) const DIRECTORY: QueueId = QueueId(0);

/// How often a pipeline may lose the race for a queue number before that looks like a mistake.
const RACES_MAX: u32 = 100;

/// A message of the directory: from now on this queue is this pipeline's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Assignment {
    v: u32,
    pipeline: String,
    queue: u32,
}

/// Which queue is whose.
#[derive(Debug, Default)]
struct Directory {
    queues: BTreeMap<String, u32>,
    taken: BTreeSet<u32>,
}

impl Directory {
    /// Takes in the next message. The first that names a pipeline or a queue wins for it.
    fn fold(&mut self, assignment: Assignment) {
        let Assignment { pipeline, queue, .. } = assignment;
        if queue != DIRECTORY.0 && !self.queues.contains_key(&pipeline) && self.taken.insert(queue)
        {
            self.queues.insert(pipeline, queue);
        }
    }

    fn free(&self) -> u32 {
        self.taken.last().map_or(DIRECTORY.0, |&last| last) + 1
    }
}

/// Everybody who has a queue, by name.
pub(super) async fn names(link: &Link, topic: &TopicName) -> Result<Vec<String>, RunError> {
    match read(link, topic).await {
        Ok(directory) => Ok(directory.queues.into_keys().collect()),
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The queue of a pipeline, if it has one.
pub(super) async fn find(
    link: &Link,
    topic: &TopicName,
    pipeline: &str,
) -> Result<Option<QueueId>, RunError> {
    match read(link, topic).await {
        Ok(directory) => Ok(directory.queues.get(pipeline).map(|&queue| QueueId(queue))),
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The queue of a pipeline, which gets one if it has none.
pub(super) async fn assign(
    link: &Link,
    topic: &TopicName,
    pipeline: &str,
) -> Result<QueueId, RunError> {
    link.ensure_topic(topic, DIRECTORY.0 + 1).await?;
    let mut pauses = link.pauses();
    let mut races = 0;
    loop {
        let directory = read(link, topic).await?;
        if let Some(&queue) = directory.queues.get(pipeline) {
            link.ensure_topic(topic, queue + 1).await?;
            return Ok(QueueId(queue));
        }
        let queue = directory.free();
        let assignment = Assignment { v: VERSION, pipeline: pipeline.to_owned(), queue };
        let body = serde_json::to_vec(&assignment).expect("plain data becomes JSON");
        let message = Outgoing {
            topic: topic.clone(),
            queue: DIRECTORY,
            body: Bytes::from(body),
            properties: Bytes::new(),
            born_at_ms: link.now().wall_ms,
        };
        let append = Append { messages: [message].into(), fence: None, wait: Wait::Durable };
        // Whatever the answer, the directory tells who got the queue.
        let doing = || format!("give pipeline `{pipeline}` a queue in `{topic}`");
        if let Err(error) = link.append_once(append).await {
            pauses.pause_or(error, doing).await?;
        }
        races += 1;
        if races == RACES_MAX {
            return Err(RunError::Setup(format!("cannot {} in {RACES_MAX} attempts", doing())));
        }
    }
}

async fn read(link: &Link, topic: &TopicName) -> Result<Directory, RunError> {
    let mut directory = Directory::default();
    link.read_through(topic, DIRECTORY, QueueOffset(0), &mut |message| {
        let bad = |reason: String| RunError::Ledger {
            topic: topic.clone(),
            queue: DIRECTORY.0,
            at: message.queue_offset,
            reason,
        };
        let assignment: Assignment =
            serde_json::from_slice(message.body).map_err(|error| bad(error.to_string()))?;
        if assignment.v != VERSION {
            return Err(bad(format!("it has version {}", assignment.v)));
        }
        directory.fold(assignment);
        Ok(())
    })
    .await?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(assignments: &[(&str, u32)]) -> Directory {
        let mut directory = Directory::default();
        for &(pipeline, queue) in assignments {
            directory.fold(Assignment { v: VERSION, pipeline: pipeline.to_owned(), queue });
        }
        directory
    }

    #[track_caller]
    fn check(assignments: &[(&str, u32)], expected: &[(&str, u32)], free: u32) {
        let directory = directory(assignments);
        let queues: Vec<_> = directory.queues.iter().map(|(name, &q)| (name.as_str(), q)).collect();
        assert_eq!(queues, expected, "{assignments:?}");
        assert_eq!(directory.free(), free, "{assignments:?}");
    }

    #[test]
    fn the_first_assignment_wins() {
        check(&[], &[], 1);
        check(&[("a", 1), ("b", 2)], &[("a", 1), ("b", 2)], 3);
        // Both read the same directory and proposed the same queue.
        check(&[("a", 1), ("b", 1), ("b", 2)], &[("a", 1), ("b", 2)], 3);
        // Two workers of one pipeline started at once.
        check(&[("a", 1), ("a", 2), ("b", 2)], &[("a", 1), ("b", 2)], 3);
        // The directory itself is nobody's.
        check(&[("a", 0)], &[], 1);
    }
}
