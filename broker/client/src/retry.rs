//! When a producer tries another broker. Plain decisions, without a clock of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_protocol::{MessageQueue, ResponseCode};
use tokio::time::Instant;

use crate::ClientError;

/// Codes after which another broker may take the message. (In RocketMQ, `retryResponseCodes` of
/// `DefaultMQProducer`.)
const RETRIED: [ResponseCode; 8] = [
    ResponseCode::SYSTEM_ERROR,
    ResponseCode::SYSTEM_BUSY,
    ResponseCode::SERVICE_NOT_AVAILABLE,
    ResponseCode::NO_PERMISSION,
    ResponseCode::TOPIC_NOT_EXIST,
    ResponseCode(204), // no buyer id
    ResponseCode(205), // not in the current unit
    ResponseCode::GO_AWAY,
];

/// Whether the same message may be sent to another broker, or again to the same. A message whose
/// answer did not come is sent again too, as by Java's producer: consumers may see it twice.
pub(crate) fn is_worth_a_retry(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } | ClientError::Unanswered { .. } => true,
        ClientError::Refused { refused, .. } => RETRIED.contains(&refused.code),
        ClientError::Garbled { .. }
        | ClientError::NoRoute(_)
        | ClientError::NoBroker(_)
        | ClientError::Invalid(_) => false,
    }
}

/// Which brokers failed lately. (In RocketMQ, `LatencyFaultTolerance`, which also judges brokers
/// by how long they take.)
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Until when a broker is left alone, and after how long a pause.
    avoided: BTreeMap<String, (Instant, Duration)>,
}

impl Failures {
    const FIRST_PAUSE: Duration = Duration::from_secs(2);
    const LONGEST_PAUSE: Duration = Duration::from_secs(30);

    /// A broker did not take a message: leave it alone for a while, longer each time.
    pub(crate) fn failed(&mut self, broker: &str, now: Instant) {
        let pause = match self.avoided.get(broker) {
            // Several messages were on their way when it failed; that counts once.
            Some((until, _)) if *until > now => return,
            Some((_, pause)) => (*pause * 2).min(Self::LONGEST_PAUSE),
            None => Self::FIRST_PAUSE,
        };
        self.avoided.insert(broker.to_owned(), (now + pause, pause));
    }

    /// A broker took a message.
    pub(crate) fn succeeded(&mut self, broker: &str) {
        self.avoided.remove(broker);
    }

    /// Which queue is next: round robin from `turn` on, over brokers that did not fail lately and
    /// are not the one of the attempt before; over all but that one if there is no such; over all
    /// if there is nobody else. `None` only if there are no queues.
    pub(crate) fn choose<'q>(
        &self,
        queues: &'q [MessageQueue],
        turn: usize,
        failed_before: Option<&str>,
        now: Instant,
    ) -> Option<&'q MessageQueue> {
        let rotated = || {
            let at = turn.checked_rem(queues.len()).unwrap_or(0);
            queues[at..].iter().chain(&queues[..at])
        };
        let is_other = |queue: &MessageQueue| failed_before != Some(queue.broker_name.as_str());
        let is_well = |queue: &MessageQueue| {
            self.avoided.get(&queue.broker_name).is_none_or(|(until, _)| *until <= now)
        };
        rotated()
            .find(|queue| is_other(queue) && is_well(queue))
            .or_else(|| rotated().find(|queue| is_other(queue)))
            .or_else(|| rotated().next())
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::Refused;
    use millrace_types::QueueId;

    use super::*;

    fn queues(names: &[&str]) -> Vec<MessageQueue> {
        let queue = |(id, name): (usize, &&str)| MessageQueue {
            topic: "t".into(),
            broker_name: (*name).into(),
            queue_id: QueueId(id as u32),
        };
        names.iter().enumerate().map(queue).collect()
    }

    #[test]
    fn the_codes_are_javas() {
        let refused = |code| ClientError::Refused {
            address: "b:1".into(),
            refused: Refused::new(ResponseCode(code), ""),
        };
        for code in [1, 2, 14, 16, 17, 204, 205, 1500] {
            assert!(is_worth_a_retry(&refused(code)), "{code}");
        }
        for code in [3, 13, 26, 29, 215] {
            assert!(!is_worth_a_retry(&refused(code)), "{code}");
        }
        let lost = (String::new(), String::new());
        assert!(is_worth_a_retry(&ClientError::Unanswered { address: lost.0, reason: lost.1 }));
        assert!(!is_worth_a_retry(&ClientError::NoRoute("t".into())));
    }

    #[test]
    fn a_broker_that_failed_is_left_alone_while_there_is_another() {
        let now = Instant::now();
        let queues = queues(&["a", "a", "b"]);
        let mut failures = Failures::default();
        let at = |failures: &Failures, turn, before, now| {
            failures.choose(&queues, turn, before, now).unwrap().queue_id.0
        };
        assert_eq!([0, 1, 2, 3].map(|turn| at(&failures, turn, None, now)), [0, 1, 2, 0]);
        assert_eq!(at(&failures, 0, Some("a"), now), 2);
        failures.failed("a", now);
        failures.failed("a", now);
        assert_eq!(at(&failures, 0, None, now), 2);
        // The other one failed as well, just now: it is not asked twice in a row.
        assert_eq!(at(&failures, 2, Some("b"), now), 0);
        let later = now + Failures::FIRST_PAUSE;
        assert_eq!(at(&failures, 0, None, later), 0);
        failures.failed("a", later);
        assert_eq!(at(&failures, 0, None, later + Failures::FIRST_PAUSE), 2);
        failures.succeeded("a");
        assert_eq!(at(&failures, 0, None, later), 0);
    }

    #[test]
    fn with_one_broker_it_is_that_one() {
        let now = Instant::now();
        let mut failures = Failures::default();
        failures.failed("a", now);
        let queues = queues(&["a", "a"]);
        assert_eq!(failures.choose(&queues, 1, Some("a"), now).unwrap().queue_id.0, 1);
        assert_eq!(failures.choose(&[], 1, None, now), None);
    }
}
