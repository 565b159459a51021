//! Which queues a route offers, and where their brokers are. Plain functions over what a name
//! server said.

use millrace_protocol::{MessageQueue, QueueRoute, TopicRoute, permission};
use millrace_types::QueueId;

/// More queues than any topic has; a route with more is cut there.
const QUEUES_MAX: usize = 1 << 16;
/// The id of the broker that takes writes.
pub(crate) const MASTER: u64 = 0;

/// The queues that producers write, by broker name and number. An ordered topic may say itself
/// how many there are of each broker.
pub(crate) fn writable(route: &TopicRoute, topic: &str) -> Vec<MessageQueue> {
    if !route.order_conf.is_empty() {
        let parts = route.order_conf.split(';').filter_map(|part| part.split_once(':'));
        return numbered(topic, parts.filter_map(|(name, n)| Some((name, n.trim().parse().ok()?))));
    }
    let takes_writes = |queues: &&QueueRoute| {
        queues.permission & permission::WRITE != 0 && master(route, &queues.broker_name).is_some()
    };
    let queues = route.queues.iter().filter(takes_writes);
    numbered(topic, queues.map(|queues| (&*queues.broker_name, queues.write_queues)))
}

/// The queues that a topic will have which is made from a template with the first message.
pub(crate) fn to_be_made(template: &TopicRoute, topic: &str, queues_max: i32) -> Vec<MessageQueue> {
    let takes_writes = |queues: &&QueueRoute| {
        queues.permission & permission::WRITE != 0
            && master(template, &queues.broker_name).is_some()
    };
    let queues = template.queues.iter().filter(takes_writes);
    let count = |queues: &QueueRoute| queues.read_queues.min(queues_max);
    numbered(topic, queues.map(|queues| (&*queues.broker_name, count(queues))))
}

/// The queues that consumers read, by broker name and number.
pub(crate) fn readable(route: &TopicRoute, topic: &str) -> Vec<MessageQueue> {
    let queues = route.queues.iter().filter(|queues| queues.permission & permission::READ != 0);
    numbered(topic, queues.map(|queues| (&*queues.broker_name, queues.read_queues)))
}

/// The queues of one broker that are there to be read, also while that is forbidden.
pub(crate) fn of_broker(route: &TopicRoute, topic: &str, broker: &str) -> Vec<MessageQueue> {
    let queues = route.queues.iter().filter(|queues| queues.broker_name == broker);
    numbered(topic, queues.map(|queues| (&*queues.broker_name, queues.read_queues)))
}

fn numbered<'r>(topic: &str, brokers: impl Iterator<Item = (&'r str, i32)>) -> Vec<MessageQueue> {
    let queue = |name: &str, id| MessageQueue {
        topic: topic.to_owned(),
        broker_name: name.to_owned(),
        queue_id: QueueId(id),
    };
    let each = brokers.flat_map(|(name, count)| {
        (0..u32::try_from(count).unwrap_or(0)).map(move |id| queue(name, id))
    });
    let mut queues: Vec<_> = each.take(QUEUES_MAX).collect();
    queues.sort();
    queues.dedup();
    queues
}

/// Where the broker of a name takes writes.
pub(crate) fn master<'r>(route: &'r TopicRoute, broker: &str) -> Option<&'r str> {
    let found = route.brokers.iter().find(|known| known.broker_name == broker)?;
    found.addresses.get(&MASTER).map(String::as_str)
}

/// Where a broker can be read: at the id asked for, or the next one, or anywhere.
pub(crate) fn read_at<'r>(route: &'r TopicRoute, broker: &str, id: u64) -> Option<(u64, &'r str)> {
    let found = route.brokers.iter().find(|known| known.broker_name == broker)?;
    let (id, address) =
        found.addresses.range(id..).next().or_else(|| found.addresses.iter().next())?;
    Some((*id, address))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_protocol::BrokerAddresses;

    use super::*;

    fn queues(broker: &str, read: i32, write: i32, permission: i32) -> QueueRoute {
        QueueRoute {
            broker_name: broker.into(),
            read_queues: read,
            write_queues: write,
            permission,
            topic_sys_flag: 0,
        }
    }

    fn broker(name: &str, ids: &[u64]) -> BrokerAddresses {
        let address = |id: &u64| (*id, format!("{name}:{id}"));
        let addresses: BTreeMap<_, _> = ids.iter().map(address).collect();
        BrokerAddresses { cluster: "c".into(), broker_name: name.into(), addresses }
    }

    fn names(queues: &[MessageQueue]) -> Vec<String> {
        queues.iter().map(|queue| format!("{}/{}", queue.broker_name, queue.queue_id)).collect()
    }

    fn route() -> TopicRoute {
        TopicRoute {
            queues: vec![queues("b", 3, 1, 6), queues("a", 1, 2, 6), queues("c", 2, 2, 4)],
            brokers: vec![broker("a", &[0, 1]), broker("b", &[0]), broker("c", &[1, 2])],
            order_conf: String::new(),
        }
    }

    #[test]
    fn queues_are_those_that_may_be_used_and_in_order() {
        assert_eq!(names(&writable(&route(), "t")), ["a/0", "a/1", "b/0"]);
        assert_eq!(names(&readable(&route(), "t")), ["a/0", "b/0", "b/1", "b/2", "c/0", "c/1"]);
        let no_master = TopicRoute { brokers: vec![broker("a", &[1])], ..route() };
        assert_eq!(names(&writable(&no_master, "t")), [""; 0]);
        let ordered = TopicRoute { order_conf: "b:1;a:1;x".into(), ..route() };
        assert_eq!(names(&writable(&ordered, "t")), ["a/0", "b/0"]);
    }

    #[test]
    fn a_topic_to_be_made_has_no_more_queues_than_its_template() {
        let template = TopicRoute { queues: vec![queues("a", 8, 8, 7)], ..route() };
        assert_eq!(names(&to_be_made(&template, "t", 2)), ["a/0", "a/1"]);
        assert_eq!(to_be_made(&template, "t", 99).len(), 8);
    }

    #[test]
    fn a_route_cannot_be_endless() {
        let endless = TopicRoute { queues: vec![queues("a", i32::MAX, -1, 6)], ..route() };
        assert_eq!(readable(&endless, "t").len(), QUEUES_MAX);
        assert_eq!(writable(&endless, "t").len(), 0);
    }

    #[test]
    fn who_is_missing_is_stood_in_for() {
        let route = route();
        assert_eq!(read_at(&route, "a", 1), Some((1, "a:1")));
        assert_eq!(read_at(&route, "a", 7), Some((0, "a:0")));
        assert_eq!(read_at(&route, "c", 0), Some((1, "c:1")));
        assert_eq!(read_at(&route, "x", 0), None);
        assert_eq!(master(&route, "c"), None);
    }
}
