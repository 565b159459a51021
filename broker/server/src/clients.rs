use std::collections::BTreeMap;

use millrace_engine::{Conditions, ConnectionId, Filter};
use millrace_protocol::{
    ConnectedClient, ConsumerConnections, ConsumerData, Heartbeat, MessageModel, Subscription,
};
use tracing::warn;

/// Which clients consume in which group, and what the groups want. (In RocketMQ,
/// `ConsumerManager`.) Kept by client id and not by connection, because a client that comes back
/// by another connection is the same member.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    groups: BTreeMap<String, Group>,
}

#[derive(Debug)]
struct Group {
    model: MessageModel,
    /// What the latest heartbeat said.
    described: Option<ConsumerData>,
    members: BTreeMap<String, Member>,
    subscriptions: BTreeMap<String, KnownSubscription>,
}

#[derive(Debug)]
struct Member {
    client: Option<ConnectedClient>,
    connection: ConnectionId,
    heard_at_ms: u64,
}

/// What a group wants of a topic.
#[derive(Debug)]
pub(crate) struct KnownSubscription {
    /// When the client made it; the highest one holds.
    pub(crate) version: i64,
    expression_type: String,
    /// Ready to use, or why it cannot be.
    pub(crate) filter: Result<Filter, String>,
}

/// A group whose members have to look at it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) group: String,
    pub(crate) members: Vec<ConnectionId>,
}

/// A client that is silent for so long is gone.
const LIFETIME_MS: u64 = 120_000;
/// What heartbeats may make us remember. Far above what one broker serves.
const GROUPS_MAX: usize = 20_000;
const MEMBERS_MAX: usize = 10_000;
const SUBSCRIPTIONS_MAX: usize = 1_000;

impl Clients {
    /// A client says what it is; tells which groups have changed.
    pub(crate) fn heartbeat(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        heartbeat: &Heartbeat,
        conditions: &dyn Conditions,
    ) -> Vec<Changed> {
        let mut changed = Vec::new();
        for consumer in &heartbeat.consumers {
            let known = self.groups.len();
            let group = match self.groups.get_mut(&consumer.group) {
                Some(group) => group,
                None if known < GROUPS_MAX => {
                    self.groups.entry(consumer.group.clone()).or_insert(Group {
                        model: consumer.message_model,
                        described: None,
                        members: BTreeMap::new(),
                        subscriptions: BTreeMap::new(),
                    })
                }
                None => {
                    warn!(group = consumer.group, "too many groups; this one is not remembered");
                    continue;
                }
            };
            group.model = consumer.message_model;
            let mut news = group.hear(now_ms, connection, &heartbeat.client_id);
            if !heartbeat.without_subscriptions {
                news |= group.subscribe(consumer, conditions);
            }
            if news {
                changed.extend(group.changed(&consumer.group));
            }
        }
        changed
    }

    /// A client leaves a group.
    pub(crate) fn unregister(&mut self, group: &str, client_id: &str) -> Option<Changed> {
        let known = self.groups.get_mut(group)?;
        known.members.remove(client_id)?;
        let changed = known.changed(group);
        self.drop_empty();
        changed
    }

    /// A connection is gone, and its clients with it: not all of them say so before.
    pub(crate) fn on_closed(&mut self, connection: ConnectionId) -> Vec<Changed> {
        self.remove(|member| member.connection == connection)
    }

    /// Time passes.
    pub(crate) fn on_tick(&mut self, now_ms: u64) -> Vec<Changed> {
        self.remove(|member| member.heard_at_ms + LIFETIME_MS <= now_ms)
    }

    /// The client ids of a group, sorted.
    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        let known = self.groups.get(group);
        known.map(|group| group.members.keys().cloned().collect()).unwrap_or_default()
    }

    /// Keeps what tools show of a client whose heartbeat was just taken.
    pub(crate) fn describe(&mut self, heartbeat: &Heartbeat, client: &ConnectedClient) {
        for consumer in &heartbeat.consumers {
            let Some(group) = self.groups.get_mut(&consumer.group) else {
                continue;
            };
            if group.described.as_ref() != Some(consumer) {
                group.described = Some(consumer.clone());
            }
            if let Some(member) = group.members.get_mut(&heartbeat.client_id)
                && member.client.as_ref() != Some(client)
            {
                member.client = Some(client.clone());
            }
        }
    }

    /// Who consumes in a group, and what; `None` if nobody does.
    pub(crate) fn connections(&self, group: &str) -> Option<ConsumerConnections> {
        let group = self.groups.get(group)?;
        let described = group.described.as_ref()?;
        Some(ConsumerConnections {
            members: group.members.values().filter_map(|member| member.client.clone()).collect(),
            consume_type: described.consume_type.name(),
            message_model: described.message_model.name(),
            consume_from: described.consume_from.name(),
            subscriptions: described.subscriptions.clone(),
        })
    }

    /// The groups whose members want a topic.
    pub(crate) fn groups_of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a str> {
        let wants = |group: &Group| group.subscriptions.contains_key(topic);
        self.groups.iter().filter(move |(_, group)| wants(group)).map(|(name, _)| name.as_str())
    }

    /// Whether a group has members.
    pub(crate) fn is_online(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// How many members there are, over all groups.
    pub(crate) fn len(&self) -> usize {
        self.groups.values().map(|group| group.members.len()).sum()
    }

    /// By which connection a member is there.
    pub(crate) fn connection(&self, group: &str, client_id: &str) -> Option<ConnectionId> {
        self.groups.get(group)?.members.get(client_id).map(|member| member.connection)
    }

    /// What a group wants of a topic, as its latest heartbeat said it.
    pub(crate) fn wants(&self, group: &str, topic: &str) -> Option<&Subscription> {
        let described = self.groups.get(group)?.described.as_ref()?;
        described.subscriptions.iter().find(|wanted| wanted.topic == topic)
    }

    /// How a group's members share messages.
    pub(crate) fn model(&self, group: &str) -> Option<MessageModel> {
        self.groups.get(group).map(|group| group.model)
    }

    /// What a group wants of a topic, as its last heartbeat said.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<&KnownSubscription> {
        self.groups.get(group)?.subscriptions.get(topic)
    }

    fn remove(&mut self, gone: impl Fn(&Member) -> bool) -> Vec<Changed> {
        let mut changed = Vec::new();
        for (name, group) in &mut self.groups {
            let before = group.members.len();
            group.members.retain(|_, member| !gone(member));
            if group.members.len() < before {
                changed.extend(group.changed(name));
            }
        }
        self.drop_empty();
        changed
    }

    fn drop_empty(&mut self) {
        self.groups.retain(|_, group| !group.members.is_empty());
    }
}

impl Group {
    fn hear(&mut self, now_ms: u64, connection: ConnectionId, client_id: &str) -> bool {
        if let Some(member) = self.members.get_mut(client_id) {
            member.connection = connection;
            member.heard_at_ms = now_ms;
            return false;
        }
        if self.members.len() >= MEMBERS_MAX {
            warn!(client_id, "too many members; this one is not remembered");
            return false;
        }
        let heard = Member { client: None, connection, heard_at_ms: now_ms };
        self.members.insert(client_id.to_owned(), heard);
        true
    }

    /// Takes the subscriptions of the latest heartbeat, whoever sent it: all members of a group
    /// have to want the same.
    fn subscribe(&mut self, consumer: &ConsumerData, conditions: &dyn Conditions) -> bool {
        let wanted = &consumer.subscriptions;
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| wanted.iter().any(|each| each.topic == *topic));
        let mut news = self.subscriptions.len() < before;
        for subscription in wanted.iter().take(SUBSCRIPTIONS_MAX) {
            let known = self.subscriptions.get(&subscription.topic);
            if known.is_none_or(|known| {
                known.version < subscription.version
                    || known.expression_type != subscription.expression_type
            }) {
                let made = KnownSubscription {
                    version: subscription.version,
                    expression_type: subscription.expression_type.clone(),
                    filter: filter(subscription, conditions),
                };
                self.subscriptions.insert(subscription.topic.clone(), made);
                news = true;
            }
        }
        news
    }

    /// Members of a broadcasting group share nothing, so there is nothing to tell them.
    fn changed(&self, name: &str) -> Option<Changed> {
        if self.model == MessageModel::Broadcasting {
            return None;
        }
        let mut members: Vec<_> = self.members.values().map(|member| member.connection).collect();
        members.sort();
        members.dedup();
        Some(Changed { group: name.to_owned(), members })
    }
}

/// Makes the filter of a subscription.
pub(crate) fn filter(
    subscription: &Subscription,
    conditions: &dyn Conditions,
) -> Result<Filter, String> {
    let Subscription { expression_type, expression, tags, codes, .. } = subscription;
    if expression_type != "TAG" {
        return conditions.compile(expression_type, expression).map(Filter::Condition);
    }
    // Some clients name the tags only.
    if expression.is_empty() && !tags.is_empty() {
        return Ok(Filter::tags(&tags.join("||")));
    }
    if expression.is_empty() && !codes.is_empty() {
        let codes = codes.iter().map(|code| millrace_types::TagsCode(i64::from(*code)));
        return Ok(Filter::Tags(codes.collect()));
    }
    Ok(Filter::tags(expression))
}

#[cfg(test)]
mod tests {
    use millrace_protocol::{ConsumeFrom, ConsumeType};

    use super::*;
    use crate::conditions::SqlConditions;

    fn heartbeat(client: &str, subscriptions: &[(&str, &str, i64)]) -> Heartbeat {
        let subscription = |&(topic, expression, version): &(&str, &str, i64)| Subscription {
            topic: topic.into(),
            expression: expression.into(),
            expression_type: if expression.contains('=') { "SQL92" } else { "TAG" }.into(),
            version,
            ..Subscription::default()
        };
        Heartbeat {
            client_id: client.into(),
            consumers: vec![ConsumerData {
                group: "g".into(),
                consume_type: ConsumeType::Push,
                message_model: MessageModel::Clustering,
                consume_from: ConsumeFrom::LastOffset,
                subscriptions: subscriptions.iter().map(subscription).collect(),
                unit_mode: false,
            }],
            ..Heartbeat::default()
        }
    }

    /// Sends a heartbeat; answers the connections that have to be told of a change.
    fn beat(clients: &mut Clients, at: u64, connection: u64, heartbeat: &Heartbeat) -> Vec<u64> {
        let changed = clients.heartbeat(at, ConnectionId(connection), heartbeat, &SqlConditions);
        told(changed)
    }

    fn told(changed: Vec<Changed>) -> Vec<u64> {
        changed.into_iter().flat_map(|changed| changed.members).map(|id| id.0).collect()
    }

    #[test]
    fn all_members_are_told_of_a_new_one_and_of_a_leaving_one() {
        let mut clients = Clients::default();
        let (a, b) = (heartbeat("a", &[("t", "*", 1)]), heartbeat("b", &[("t", "*", 1)]));
        assert_eq!(beat(&mut clients, 0, 1, &a), [1]);
        assert_eq!(beat(&mut clients, 0, 2, &b), [1, 2]);
        assert_eq!(beat(&mut clients, 1, 2, &b), [0u64; 0]);
        assert_eq!(clients.members("g"), ["a", "b"]);
        assert_eq!(told(clients.on_closed(ConnectionId(1))), [2]);
        assert_eq!(clients.members("g"), ["b"]);
        assert_eq!(told(clients.unregister("g", "b").into_iter().collect()), [0u64; 0]);
        assert!(!clients.is_online("g"));
    }

    #[test]
    fn a_client_that_comes_back_by_another_connection_is_one_member() {
        let mut clients = Clients::default();
        let a = heartbeat("a", &[("t", "*", 1)]);
        beat(&mut clients, 0, 1, &a);
        assert_eq!(beat(&mut clients, 1, 2, &a), [0u64; 0]);
        clients.on_closed(ConnectionId(1));
        assert_eq!(clients.members("g"), ["a"]);
    }

    #[test]
    fn a_silent_client_is_gone() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[]));
        beat(&mut clients, 50_000, 2, &heartbeat("b", &[]));
        assert_eq!(told(clients.on_tick(119_999)), [0u64; 0]);
        assert_eq!(told(clients.on_tick(120_000)), [2]);
        assert_eq!(clients.members("g"), ["b"]);
    }

    #[test]
    fn the_newest_subscription_holds_and_what_is_not_named_goes() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "x", 2), ("u", "*", 2)]));
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "y", 1)]));
        assert_eq!(clients.subscription("g", "t").unwrap().version, 2);
        assert!(clients.subscription("g", "u").is_none());
        assert_eq!(beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "y", 3)])), [1]);
        assert_eq!(clients.subscription("g", "t").unwrap().version, 3);
    }

    #[test]
    fn a_condition_that_does_not_parse_is_remembered_with_its_reason() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "a = ", 1), ("u", "a = 1", 1)]));
        assert!(clients.subscription("g", "t").unwrap().filter.is_err());
        assert!(matches!(clients.subscription("g", "u").unwrap().filter, Ok(Filter::Condition(_))));
    }
}
