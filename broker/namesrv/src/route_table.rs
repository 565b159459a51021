use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millrace_types::TopicName;

mod registration; // brokers come, stay and go

use registration::Replica;
pub use registration::{
    Departure, Gone, Link, NotRegistered, Registered, Registration, Stay, TopicsVersion,
};

/// Which brokers there are and which topics they serve. (In RocketMQ, `RouteInfoManager`.)
#[derive(Debug, Default)]
pub struct RouteTable {
    brokers: BTreeMap<Arc<str>, Broker>,
    topics: BTreeMap<TopicName, BTreeMap<Arc<str>, TopicQueues>>,
    /// How many pairs of a topic and a broker there are.
    entries: usize,
    /// Brokers whose topics take no writes, as far as routes tell.
    wiped: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Broker {
    cluster: Arc<str>,
    replicas: BTreeMap<u64, Replica>,
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

/// The bit that lets producers write.
const WRITE: u32 = 2;

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
    /// Far above what one cluster has; a name server believes whoever reaches it.
    pub const ENTRIES_MAX: usize = 500_000;

    /// Sets what a registered broker has of a topic; tells whether the broker is known and there
    /// is room.
    pub fn put_topic(&mut self, broker: &str, topic: &TopicName, queues: TopicQueues) -> bool {
        let Some((name, _)) = self.brokers.get_key_value(broker) else {
            return false;
        };
        let name = Arc::clone(name);
        let is_new = !self.topics.get(topic).is_some_and(|known| known.contains_key(broker));
        if is_new && self.entries >= Self::ENTRIES_MAX {
            return false;
        }
        self.entries += usize::from(is_new);
        match self.topics.get_mut(topic) {
            Some(brokers) => drop(brokers.insert(name, queues)),
            None => drop(self.topics.insert(topic.clone(), BTreeMap::from([(name, queues)]))),
        }
        true
    }

    /// Forgets a topic: that of all brokers, or of those of one cluster.
    pub fn drop_topic(&mut self, topic: &str, cluster: Option<&str>) {
        let Self { brokers, topics, entries, .. } = self;
        let Some(by_broker) = topics.get_mut(topic) else {
            return;
        };
        let goes = |name: &str| {
            let known = brokers.get(name);
            cluster.is_none_or(|cluster| known.is_some_and(|known| *known.cluster == *cluster))
        };
        let before = by_broker.len();
        by_broker.retain(|name, _| !goes(name));
        *entries -= before - by_broker.len();
        if by_broker.is_empty() {
            topics.remove(topic);
        }
    }

    /// Forgets what one broker has of a topic.
    pub fn drop_topic_of(&mut self, broker: &str, topic: &str) {
        if let Some(by_broker) = self.topics.get_mut(topic) {
            self.entries -= usize::from(by_broker.remove(broker).is_some());
            if by_broker.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Takes the write permission of a broker's topics in routes, until it is given back or the
    /// broker leaves in order: neither a new registration nor a lost connection undoes it.
    /// RocketMQ forgets it with the next change of any topic. Tells how many topics could be
    /// written; `None` if the broker is not known.
    pub fn wipe_write(&mut self, broker: &str) -> Option<usize> {
        let (name, _) = self.brokers.get_key_value(broker)?;
        self.wiped.insert(Arc::clone(name));
        Some(self.writable(broker))
    }

    /// Gives the write permission back; tells how many topics can be written.
    pub fn add_write(&mut self, broker: &str) -> Option<usize> {
        self.brokers.get(broker)?;
        self.wiped.remove(broker);
        Some(self.writable(broker))
    }

    /// Whether a broker's topics take no writes.
    pub fn is_wiped(&self, broker: &str) -> bool {
        self.wiped.contains(broker)
    }

    /// The brokers whose topics take no writes, so that somebody can keep that over a restart.
    pub fn wiped(&self) -> impl Iterator<Item = &Arc<str>> {
        self.wiped.iter()
    }

    /// Takes note of what was kept over a restart.
    pub fn restore_wiped(&mut self, broker: &str) {
        self.wiped.insert(broker.into());
    }

    fn writable(&self, broker: &str) -> usize {
        let of_broker = self.topics.values().filter_map(|by_broker| by_broker.get(broker));
        of_broker.filter(|queues| queues.permission & WRITE != 0).count()
    }

    /// What clients are told of a topic; `None` if no broker serves it.
    pub fn route(&self, topic: &str) -> Option<Route> {
        let mut route = Route::default();
        for (name, queues) in self.topics.get(topic)? {
            route.brokers.push(self.addresses(name)?);
            let broker_name = Arc::clone(name);
            route.queues.push(QueueRoute { queues: self.allowed(name, *queues), broker_name });
        }
        Some(route)
    }

    /// What the queues of a broker allow as long as it is wiped, or not.
    fn allowed(&self, broker: &str, queues: TopicQueues) -> TopicQueues {
        match self.wiped.contains(broker) {
            true => TopicQueues { permission: queues.permission & !WRITE, ..queues },
            false => queues,
        }
    }

    /// All topics, or those of one cluster.
    pub fn topics<'a>(&'a self, cluster: Option<&'a str>) -> impl Iterator<Item = &'a TopicName> {
        let in_cluster = move |name: &Arc<str>| {
            let known = self.brokers.get(name);
            cluster.is_none_or(|cluster| known.is_some_and(|known| *known.cluster == *cluster))
        };
        let served = self.topics.iter().filter(move |(_, brokers)| brokers.keys().any(in_cluster));
        served.map(|(topic, _)| topic)
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

    /// Where one broker is.
    pub fn addresses(&self, name: &str) -> Option<BrokerAddresses> {
        let (name, broker) = self.brokers.get_key_value(name)?;
        let addresses = broker.replicas.iter().map(|(id, replica)| (*id, replica.address.clone()));
        Some(BrokerAddresses {
            broker_name: Arc::clone(name),
            cluster: Arc::clone(&broker.cluster),
            addresses: addresses.collect(),
        })
    }

    fn drop_empty(&mut self) {
        let before = self.brokers.len();
        self.brokers.retain(|_, broker| !broker.replicas.is_empty());
        if self.brokers.len() == before {
            return;
        }
        let Self { brokers, topics, entries, .. } = self;
        topics.retain(|_, by_broker| {
            let before = by_broker.len();
            by_broker.retain(|name, _| brokers.contains_key(name));
            *entries -= before - by_broker.len();
            !by_broker.is_empty()
        });
    }
}

#[cfg(test)]
mod tests;
