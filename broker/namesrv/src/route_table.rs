use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{Now, TopicName};

/// Which brokers there are and which topics they serve. (In RocketMQ, `RouteInfoManager`.)
#[derive(Debug, Default)]
pub struct RouteTable {
    brokers: BTreeMap<Arc<str>, Broker>,
    topics: BTreeMap<TopicName, BTreeMap<Arc<str>, TopicQueues>>,
}

#[derive(Debug)]
struct Broker {
    cluster: Arc<str>,
    replicas: BTreeMap<u64, Replica>,
}

#[derive(Debug)]
struct Replica {
    address: String,
    /// `None`: until it is unregistered.
    expires_at_ms: Option<u64>,
}

/// A broker's announcement of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The name that all replicas of a broker share.
    pub broker_name: Arc<str>,
    /// The cluster it belongs to.
    pub cluster: Arc<str>,
    /// Which replica it is; 0 is the one that takes writes.
    pub broker_id: u64,
    /// `host:port`, as clients reach it.
    pub address: String,
    /// How long this holds without another one; `None` for a broker of this very process.
    pub lifetime_ms: Option<u64>,
    /// What it serves. Topics that were registered before and are not named stay.
    pub topics: Vec<(TopicName, TopicQueues)>,
}

/// What one broker has of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicQueues {
    /// Queues 0 up to this one can be read.
    pub read_queues: u32,
    /// Queues 0 up to this one can be written.
    pub write_queues: u32,
    /// The wire's bits: 4 reads, 2 writes, 1 is a template for other topics.
    pub permission: u32,
}

/// What a client has to know about a topic. (In RocketMQ, `TopicRouteData`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The queues, by broker name.
    pub queues: Vec<QueueRoute>,
    /// Where those brokers are.
    pub brokers: Vec<BrokerAddresses>,
}

/// One broker's queues of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRoute {
    /// The broker.
    pub broker_name: Arc<str>,
    /// Its queues.
    pub queues: TopicQueues,
}

/// Where a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerAddresses {
    /// The broker.
    pub broker_name: Arc<str>,
    /// Its cluster.
    pub cluster: Arc<str>,
    /// `host:port` by broker id.
    pub addresses: BTreeMap<u64, String>,
}

/// All brokers, and their names by cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clusters {
    /// Where each broker is.
    pub brokers: Vec<BrokerAddresses>,
    /// The brokers of each cluster.
    pub clusters: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

impl RouteTable {
    /// Takes note of a broker, or that it is still there. Only the replica that takes writes says
    /// what the topics look like.
    pub fn register(&mut self, now: Now, registration: Registration) {
        let Registration { broker_name, cluster, broker_id, address, lifetime_ms, topics } =
            registration;
        let broker = self
            .brokers
            .entry(Arc::clone(&broker_name))
            .or_insert_with(|| Broker { cluster: Arc::clone(&cluster), replicas: BTreeMap::new() });
        broker.cluster = cluster;
        // An address that comes back under another id has changed its role.
        broker.replicas.retain(|_, replica| replica.address != address);
        let expires_at_ms = lifetime_ms.map(|lifetime| now.mono_ms.saturating_add(lifetime));
        broker.replicas.insert(broker_id, Replica { address, expires_at_ms });
        if broker_id == 0 {
            for (topic, queues) in topics {
                self.put_topic(&broker_name, &topic, queues);
            }
        }
    }

    /// Sets what a registered broker has of a topic; an unknown broker is passed over.
    pub fn put_topic(&mut self, broker: &str, topic: &TopicName, queues: TopicQueues) {
        let Some((name, _)) = self.brokers.get_key_value(broker) else {
            return;
        };
        let name = Arc::clone(name);
        match self.topics.get_mut(topic) {
            Some(brokers) => {
                brokers.insert(name, queues);
            }
            None => {
                self.topics.insert(topic.clone(), BTreeMap::from([(name, queues)]));
            }
        }
    }

    /// A replica leaves; with the last one go the broker's topics.
    pub fn unregister(&mut self, broker: &str, broker_id: u64) {
        if let Some(known) = self.brokers.get_mut(broker) {
            known.replicas.remove(&broker_id);
        }
        self.drop_empty();
    }

    /// Time passes: who has not registered again is gone.
    pub fn on_tick(&mut self, now: Now) {
        for broker in self.brokers.values_mut() {
            broker
                .replicas
                .retain(|_, replica| replica.expires_at_ms.is_none_or(|at| now.mono_ms < at));
        }
        self.drop_empty();
    }

    /// What clients are told of a topic; `None` if no broker serves it.
    pub fn route(&self, topic: &str) -> Option<Route> {
        let mut route = Route::default();
        for (name, queues) in self.topics.get(topic)? {
            route.queues.push(QueueRoute { broker_name: Arc::clone(name), queues: *queues });
            route.brokers.push(self.addresses(name)?);
        }
        (!route.queues.is_empty()).then_some(route)
    }

    /// All brokers and clusters.
    pub fn clusters(&self) -> Clusters {
        let mut all = Clusters::default();
        for (name, broker) in &self.brokers {
            let cluster = all.clusters.entry(Arc::clone(&broker.cluster)).or_default();
            cluster.push(Arc::clone(name));
            all.brokers.extend(self.addresses(name));
        }
        all
    }

    fn addresses(&self, name: &Arc<str>) -> Option<BrokerAddresses> {
        let broker = self.brokers.get(name)?;
        let addresses = broker.replicas.iter().map(|(id, replica)| (*id, replica.address.clone()));
        Some(BrokerAddresses {
            broker_name: Arc::clone(name),
            cluster: Arc::clone(&broker.cluster),
            addresses: addresses.collect(),
        })
    }

    fn drop_empty(&mut self) {
        self.brokers.retain(|_, broker| !broker.replicas.is_empty());
        let brokers = &self.brokers;
        self.topics.retain(|_, by_broker| {
            by_broker.retain(|name, _| brokers.contains_key(name));
            !by_broker.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUR: TopicQueues = TopicQueues { read_queues: 4, write_queues: 4, permission: 6 };

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    fn at(mono_ms: u64) -> Now {
        Now { mono_ms, wall_ms: 0 }
    }

    fn broker(name: &str, id: u64, address: &str, topics: &[&str]) -> Registration {
        Registration {
            broker_name: name.into(),
            cluster: "c".into(),
            broker_id: id,
            address: address.to_owned(),
            lifetime_ms: Some(120),
            topics: topics.iter().map(|name| (topic(name), FOUR)).collect(),
        }
    }

    /// Broker names and addresses of a topic's route.
    #[track_caller]
    fn check(table: &RouteTable, name: &str, expected: &[(&str, &[(u64, &str)])]) {
        let route = table.route(name).unwrap_or_default();
        let found: Vec<_> = route
            .brokers
            .iter()
            .map(|broker| {
                let addresses = broker.addresses.iter().map(|(id, at)| (*id, at.as_str()));
                (&*broker.broker_name, addresses.collect::<Vec<_>>())
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(name, at)| (*name, at.to_vec())).collect();
        assert_eq!(found, expected, "{name}");
        assert_eq!(route.queues.len(), route.brokers.len());
    }

    #[test]
    fn a_topic_is_served_by_all_that_have_it() {
        let mut table = RouteTable::default();
        table.register(at(0), broker("a", 0, "h:1", &["t", "u"]));
        table.register(at(0), broker("b", 0, "h:2", &["t"]));
        check(&table, "t", &[("a", &[(0, "h:1")]), ("b", &[(0, "h:2")])]);
        check(&table, "u", &[("a", &[(0, "h:1")])]);
        check(&table, "v", &[]);
        let clusters = table.clusters();
        assert_eq!(clusters.brokers.len(), 2);
        assert_eq!(clusters.clusters["c"], ["a".into(), "b".into()]);
    }

    #[test]
    fn who_is_silent_too_long_is_gone_with_its_topics() {
        let mut table = RouteTable::default();
        table.register(at(0), broker("a", 0, "h:1", &["t"]));
        table.register(at(100), broker("b", 0, "h:2", &["t"]));
        table.on_tick(at(119));
        check(&table, "t", &[("a", &[(0, "h:1")]), ("b", &[(0, "h:2")])]);
        table.on_tick(at(120));
        check(&table, "t", &[("b", &[(0, "h:2")])]);
        table.unregister("b", 0);
        check(&table, "t", &[]);
        assert_eq!(table.clusters(), Clusters::default());
    }

    #[test]
    fn a_replica_says_where_it_is_and_not_what_topics_look_like() {
        let mut table = RouteTable::default();
        table.register(at(0), broker("a", 0, "h:1", &["t"]));
        table.register(at(0), broker("a", 1, "h:2", &["u"]));
        check(&table, "t", &[("a", &[(0, "h:1"), (1, "h:2")])]);
        check(&table, "u", &[]);
        table.register(at(0), broker("a", 0, "h:2", &[]));
        check(&table, "t", &[("a", &[(0, "h:2")])]);
    }

    #[test]
    fn a_broker_of_this_process_never_expires() {
        let mut table = RouteTable::default();
        table.register(at(0), Registration { lifetime_ms: None, ..broker("a", 0, "h:1", &[]) });
        table.put_topic("a", &topic("t"), FOUR);
        table.put_topic("nobody", &topic("u"), FOUR);
        table.on_tick(at(u64::MAX));
        check(&table, "t", &[("a", &[(0, "h:1")])]);
        check(&table, "u", &[]);
    }
}
