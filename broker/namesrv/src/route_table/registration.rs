use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_types::{Now, TopicName};

use super::{Broker, RouteTable, TopicQueues};

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
    /// Where replicas fetch the log; empty if nowhere.
    pub ha_address: String,
    /// How long and how it stays.
    pub stay: Stay,
    /// When its topics last changed.
    pub version: TopicsVersion,
    /// What it serves. Topics that were registered before and are not named stay.
    pub topics: Vec<(TopicName, TopicQueues)>,
}

/// How long a registration holds without another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// As long as the table: a broker of this very process.
    Always,
    /// As long as it is heard of and its connection lasts.
    For {
        /// From the last time that it was heard of.
        lifetime_ms: u64,
        /// Where it was heard of.
        link: Link,
    },
}

/// Names the connection by which a broker registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link(pub u64);

/// When the topics of a broker last changed. (In RocketMQ, `DataVersion`.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicsVersion {
    /// Counts changes.
    pub counter: i64,
    /// The version of a controller's decision; 0 without one.
    pub state: i64,
    /// When it changed, ms.
    pub timestamp: i64,
}

/// What a broker is told that has registered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// Whether it was not known before.
    pub is_new: bool,
    /// For a replica that takes no writes: where the one is that does, and where it gives its log.
    pub master: Option<(String, String)>,
}

/// Why a broker is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRegistered {
    /// One topic of a broker that nobody has heard of; it has to send all of them.
    #[error("register broker failed: the first registration has to name all topics")]
    Incomplete,
    /// The broker of this process has that name.
    #[error("register broker failed: {0} is the broker in this name server's own process")]
    Taken(Arc<str>),
    /// There are as many brokers or topics as this table holds.
    #[error("register broker failed: there are too many brokers or topics")]
    Full,
}

/// A replica that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure<'a> {
    /// In order, as an upgrade does.
    Announced {
        /// The broker.
        broker: &'a str,
        /// Which replica.
        broker_id: u64,
        /// Where it was; another one may have taken its place.
        address: &'a str,
    },
    /// Its connection is gone.
    Lost(Link),
}

/// A replica that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The broker.
    pub broker_name: Arc<str>,
    /// Which replica.
    pub broker_id: u64,
    /// Where it was.
    pub address: String,
}

impl Gone {
    fn new(broker_name: &Arc<str>, broker_id: u64, replica: &Replica) -> Self {
        let (broker_name, address) = (Arc::clone(broker_name), replica.address.clone());
        Self { broker_name, broker_id, address }
    }
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) address: String,
    ha_address: String,
    version: TopicsVersion,
    stay: Stay,
    /// When it was last heard of, by the monotonic clock.
    heard_at_ms: u64,
}

impl Replica {
    fn is_gone(&self, now: Now) -> bool {
        match self.stay {
            Stay::Always => false,
            Stay::For { lifetime_ms, .. } => {
                self.heard_at_ms.saturating_add(lifetime_ms) <= now.mono_ms
            }
        }
    }
}

impl RouteTable {
    /// Far above what anybody runs.
    pub const BROKERS_MAX: usize = 2_000;
    /// The same for the replicas of one broker.
    pub const REPLICAS_MAX: usize = 100;

    /// Takes note of a broker, or that it is still there. Only the replica that takes writes says
    /// what the topics look like.
    pub fn register(
        &mut self,
        now: Now,
        registration: Registration,
    ) -> Result<Registered, NotRegistered> {
        if self.is_outdated(&registration)? {
            return Ok(Registered::default());
        }
        let Registration { broker_name: name, cluster, broker_id, address, version, .. } =
            registration;
        let broker = self
            .brokers
            .entry(Arc::clone(&name))
            .or_insert_with(|| Broker { cluster: Arc::clone(&cluster), replicas: BTreeMap::new() });
        broker.cluster = cluster;
        let before = broker.replicas.get(&broker_id).map(|known| known.version);
        // An address that comes back under another id has changed its role.
        broker.replicas.retain(|_, replica| replica.address != address);
        let Registration { ha_address, stay, topics, .. } = registration;
        let heard_at_ms = now.mono_ms;
        let replica = Replica { address, ha_address, version, stay, heard_at_ms };
        broker.replicas.insert(broker_id, replica);
        let master = broker.replicas.get(&0).filter(|_| broker_id != 0);
        let master = master.map(|master| (master.address.clone(), master.ha_address.clone()));
        if broker_id == 0 {
            self.take_topics(&name, topics, before != Some(version))?;
        }
        Ok(Registered { is_new: before.is_none(), master })
    }

    /// Whether a controller has decided otherwise since; an error if the broker is not taken in.
    fn is_outdated(&self, registration: &Registration) -> Result<bool, NotRegistered> {
        let known = self.brokers.get(&registration.broker_name);
        let replica = known.and_then(|broker| broker.replicas.get(&registration.broker_id));
        let replicas = known.map_or(0, |broker| broker.replicas.len());
        match replica {
            Some(replica) if replica.address != registration.address => {
                if replica.stay == Stay::Always {
                    return Err(NotRegistered::Taken(Arc::clone(&registration.broker_name)));
                }
                Ok(registration.version.state < replica.version.state)
            }
            Some(_) => Ok(false),
            None if registration.stay == Stay::Always => Ok(false),
            None if registration.topics.len() == 1 => Err(NotRegistered::Incomplete),
            None if self.brokers.len() >= Self::BROKERS_MAX || replicas >= Self::REPLICAS_MAX => {
                Err(NotRegistered::Full)
            }
            None => Ok(false),
        }
    }

    /// Topics that have an entry keep it unless the broker says that something has changed.
    fn take_topics(
        &mut self,
        broker: &str,
        topics: Vec<(TopicName, TopicQueues)>,
        changed: bool,
    ) -> Result<(), NotRegistered> {
        for (topic, queues) in topics {
            let has_entry = self.topics.get(&topic).is_some_and(|known| known.contains_key(broker));
            if (changed || !has_entry) && !self.put_topic(broker, &topic, queues) {
                return Err(NotRegistered::Full);
            }
        }
        Ok(())
    }

    /// A broker says that it is there, and nothing else; tells what is known of its topics, `None`
    /// if it is not known itself.
    pub fn hear(&mut self, now: Now, broker: &str, address: &str) -> Option<TopicsVersion> {
        let replicas = &mut self.brokers.get_mut(broker)?.replicas;
        let replica = replicas.values_mut().find(|replica| replica.address == address)?;
        replica.heard_at_ms = now.mono_ms;
        Some(replica.version)
    }

    /// A replica leaves; with the last one go the broker's topics.
    pub fn unregister(&mut self, departure: Departure<'_>) -> Vec<Gone> {
        let mut gone = Vec::new();
        match departure {
            Departure::Announced { broker, broker_id, address } => {
                if let Some((name, known)) = self.brokers.get_key_value(broker)
                    && let Some(replica) = known.replicas.get(&broker_id)
                    && replica.address == address
                    && replica.stay != Stay::Always
                {
                    gone.push(Gone::new(name, broker_id, replica));
                    let name = Arc::clone(name);
                    self.brokers.get_mut(&name).map(|known| known.replicas.remove(&broker_id));
                    if broker_id == 0 {
                        self.wiped.remove(broker);
                    }
                }
            }
            Departure::Lost(lost) => self.take_out(
                &mut gone,
                |replica| matches!(replica.stay, Stay::For { link, .. } if link == lost),
            ),
        }
        self.drop_empty();
        gone
    }

    /// Time passes: who has not been heard of for too long is gone.
    pub fn on_tick(&mut self, now: Now) -> Vec<Gone> {
        let mut gone = Vec::new();
        self.take_out(&mut gone, |replica| replica.is_gone(now));
        self.drop_empty();
        gone
    }

    fn take_out(&mut self, gone: &mut Vec<Gone>, goes: impl Fn(&Replica) -> bool) {
        for (name, broker) in &mut self.brokers {
            broker.replicas.retain(|id, replica| {
                let goes = goes(replica);
                if goes {
                    gone.push(Gone::new(name, *id, replica));
                }
                !goes
            });
        }
    }
}
