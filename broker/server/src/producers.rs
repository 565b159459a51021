use std::collections::BTreeMap;

use millrace_engine::ConnectionId;
use millrace_protocol::{AllProducers, ConnectedClient, KnownProducer, ProducerConnections};
use millrace_types::Now;

/// Which clients produce in which group, as tools show it. (In RocketMQ, `ProducerManager`.)
#[derive(Debug, Default)]
pub(crate) struct Producers {
    groups: BTreeMap<String, BTreeMap<String, Producer>>,
    count: usize,
}

#[derive(Debug)]
struct Producer {
    client: ConnectedClient,
    connection: ConnectionId,
    heard: Now,
}

/// A client that is silent for so long is gone.
const LIFETIME_MS: u64 = 120_000;
/// What heartbeats may make us remember, over all groups.
pub(crate) const PRODUCERS_MAX: usize = 100_000;

impl Producers {
    /// A client says that it produces in a group; `false` if there are too many already.
    pub(crate) fn hear(
        &mut self,
        now: Now,
        group: &str,
        connection: ConnectionId,
        client: &ConnectedClient,
    ) -> bool {
        let known = self.groups.get_mut(group).and_then(|group| group.get_mut(&client.client_id));
        if let Some(known) = known {
            (known.connection, known.heard) = (connection, now);
            if known.client != *client {
                known.client = client.clone();
            }
            return true;
        }
        if self.count >= PRODUCERS_MAX {
            return false;
        }
        let producer = Producer { client: client.clone(), connection, heard: now };
        let group = self.groups.entry(group.to_owned()).or_default();
        group.insert(client.client_id.clone(), producer);
        self.count += 1;
        true
    }

    /// A client leaves a group.
    pub(crate) fn unregister(&mut self, group: &str, client_id: &str) {
        if let Some(known) = self.groups.get_mut(group) {
            self.count -= usize::from(known.remove(client_id).is_some());
            if known.is_empty() {
                self.groups.remove(group);
            }
        }
    }

    /// A connection is gone, and its clients with it.
    pub(crate) fn on_closed(&mut self, connection: ConnectionId) {
        self.remove(|producer| producer.connection == connection);
    }

    /// Time passes.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        self.remove(|producer| producer.heard.mono_ms + LIFETIME_MS <= now_ms);
    }

    fn remove(&mut self, is_gone: impl Fn(&Producer) -> bool) {
        if self.count == 0 {
            return;
        }
        for producers in self.groups.values_mut() {
            producers.retain(|_, producer| !is_gone(producer));
        }
        self.groups.retain(|_, producers| !producers.is_empty());
        self.count = self.groups.values().map(BTreeMap::len).sum();
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The connection of one member of a group, of another one for another `turn`.
    pub(crate) fn one_of(&self, group: &str, turn: u64) -> Option<ConnectionId> {
        let producers = self.groups.get(group)?;
        let n = turn as usize % producers.len().max(1);
        producers.values().nth(n).map(|producer| producer.connection)
    }

    /// The connection of a client, whatever groups it is in.
    pub(crate) fn connection_of(&self, client_id: &str) -> Option<ConnectionId> {
        let known = self.groups.values().find_map(|group| group.get(client_id));
        known.map(|producer| producer.connection)
    }

    /// The members of a group; `None` if there are none.
    pub(crate) fn connections(&self, group: &str) -> Option<ProducerConnections> {
        let producers = self.groups.get(group)?.values();
        Some(ProducerConnections(producers.map(|producer| producer.client.clone()).collect()))
    }

    /// Everybody.
    pub(crate) fn all(&self) -> AllProducers {
        let known = |producer: &Producer| KnownProducer {
            client: producer.client.clone(),
            heard_at_ms: producer.heard.wall_ms,
        };
        let groups = self.groups.iter();
        AllProducers(
            groups.map(|(name, all)| (name.clone(), all.values().map(known).collect())).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use millrace_protocol::Language;

    use super::*;

    #[test]
    fn producers_come_and_go() {
        let mut producers = Producers::default();
        let client = |id: &str| ConnectedClient {
            client_id: id.into(),
            address: "h:1".into(),
            language: Language::JAVA,
            version: 401,
        };
        let at = |mono_ms| Now { mono_ms, wall_ms: 0 };
        for (now, id, connection) in [(0, "a", 1), (0, "b", 2), (60_000, "b", 3)] {
            assert!(producers.hear(at(now), "g", ConnectionId(connection), &client(id)));
        }
        assert_eq!(producers.connections("g").map(|found| found.0.len()), Some(2));
        producers.on_closed(ConnectionId(2));
        assert_eq!(producers.len(), 2);
        producers.on_tick(120_000);
        assert_eq!(producers.connections("g").map(|found| found.0), Some(vec![client("b")]));
        producers.unregister("g", "b");
        assert_eq!((producers.connections("g"), producers.len()), (None, 0));
        for n in 0..PRODUCERS_MAX {
            assert!(producers.hear(at(0), "g", ConnectionId(1), &client(&n.to_string())));
        }
        assert!(!producers.hear(at(0), "h", ConnectionId(1), &client("one too many")));
        assert!(producers.hear(at(1), "g", ConnectionId(1), &client("7")));
    }
}
