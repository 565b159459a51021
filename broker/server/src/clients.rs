use std::collections::{BTreeMap, BTreeSet};

use millrace_engine::{Conditions, ConnectionId, Filter};
use millrace_protocol::{
    ConnectedClient, ConsumeFrom, ConsumeType, ConsumerConnections, ConsumerData, Heartbeat,
    MessageModel, Subscription,
};

/// Which clients consume in which group, and what the groups want. (In RocketMQ,
/// `ConsumerManager`.) Kept by client id and not by connection, because a client that comes back
/// by another connection is the same member.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    groups: BTreeMap<String, Group>,
    /// Groups that want something else than before.
    resubscribed: BTreeSet<String>,
    /// What all of it takes of memory, about.
    bytes: usize,
    /// Groups whose members are to be told of a change, and from when on they may be, ms.
    changed: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Group {
    model: MessageModel,
    /// Its members are not told of a change before, ms.
    quiet_until_ms: u64,
    /// What the latest heartbeat said of how the group consumes.
    described: Option<(ConsumeType, ConsumeFrom)>,
    members: BTreeMap<String, Member>,
    subscriptions: BTreeMap<String, KnownSubscription>,
    /// What all of it takes of memory, about.
    bytes: usize,
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
    /// As a client said it. Of several versions the highest one holds.
    pub(crate) said: Subscription,
    /// Ready to use, or why it cannot be.
    pub(crate) filter: Result<Filter, String>,
    /// What it takes of memory, about.
    bytes: usize,
}

/// A group whose members have to look at it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) group: String,
    pub(crate) members: Vec<ConnectionId>,
}

/// For so long after they were told the members of a group are not told again, for each of them: a
/// large group whose members go one by one may take a tenth of the thread's time.
const QUIET_US: u64 = 100;
/// A client that is silent for so long is gone.
const LIFETIME_MS: u64 = 120_000;
/// What heartbeats may make us remember. Far above what one broker serves: a group of ten members
/// with a handful of subscriptions takes 5 KB.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// What one group may have.
pub(crate) const MEMBERS_MAX: usize = 10_000;
pub(crate) const SUBSCRIPTIONS_MAX: usize = 1_000;
/// What a group, a member and a subscription take beside their texts.
const ENTRY_BYTES: usize = 256;

impl Clients {
    /// A client says what it is; tells why something of it is not remembered.
    pub(crate) fn heartbeat(
        &mut self,
        now_ms: u64,
        connection: ConnectionId,
        heartbeat: &Heartbeat,
        conditions: &dyn Conditions,
    ) -> Option<&'static str> {
        let mut refused = None;
        for consumer in &heartbeat.consumers {
            let group = self.groups.get(&consumer.group);
            let weights: Vec<usize> = consumer.subscriptions.iter().map(weight).collect();
            if let Some(reason) = self.no_room(group, &heartbeat.client_id, consumer, &weights) {
                refused = Some(reason);
                continue;
            }
            let group = self.groups.entry(consumer.group.clone()).or_insert_with(|| {
                let new = Group::new(consumer);
                self.bytes += new.bytes;
                new
            });
            let before = group.bytes;
            group.model = consumer.message_model;
            let mut news = group.hear(now_ms, connection, &heartbeat.client_id);
            if !heartbeat.without_subscriptions {
                let subscribed = group.subscribe(consumer, &weights, conditions);
                news |= subscribed >= Subscribed::Newer;
                if subscribed == Subscribed::Otherwise {
                    self.resubscribed.insert(consumer.group.clone());
                }
            }
            group.described = Some((consumer.consume_type, consumer.consume_from));
            self.bytes = self.bytes + group.bytes - before;
            if news {
                self.note(&consumer.group);
            }
        }
        refused
    }

    /// Groups that want something else of a topic than before, since this was last asked.
    pub(crate) fn take_resubscribed(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.resubscribed)
    }

    /// Why a client's word about a group cannot be remembered.
    fn no_room(
        &self,
        group: Option<&Group>,
        client_id: &str,
        consumer: &ConsumerData,
        weights: &[usize],
    ) -> Option<&'static str> {
        let is_member = group.is_some_and(|group| group.members.contains_key(client_id));
        let members = group.map_or(0, |group| group.members.len());
        if !is_member && members >= MEMBERS_MAX {
            return Some("the group has as many members as one may have");
        }
        if consumer.subscriptions.len() > SUBSCRIPTIONS_MAX {
            return Some("a group has at most 1000 subscriptions");
        }
        let then = consumer.subscriptions.iter().zip(weights).map(|(wanted, weight)| {
            let known = group.and_then(|group| group.subscriptions.get(&wanted.topic));
            let stays = known.filter(|known| !known.gives_way_to(wanted));
            stays.map_or(*weight, |known| known.bytes)
        });
        let now = group.map_or(0, Group::wanted_bytes);
        let grows = then.sum::<usize>().saturating_sub(now);
        let new = 2 * ENTRY_BYTES + consumer.group.len() + client_id.len();
        let more = grows + if is_member { 0 } else { new };
        let full = more > 0 && self.bytes + more > BYTES_MAX;
        full.then_some("the broker remembers as much of consumers as it may")
    }

    /// A client leaves a group; if it was not in it, nothing has changed.
    pub(crate) fn unregister(&mut self, group: &str, client_id: &str) {
        let Some(known) = self.groups.get_mut(group) else {
            return;
        };
        let given_back = known.forget(|id, _| id == client_id);
        if given_back > 0 {
            self.bytes -= given_back;
            self.note(group);
            self.drop_empty();
        }
    }

    /// Connections are gone, and their clients with them: not all of them say so before. The ids
    /// are sorted. All members are looked at, however many have gone.
    pub(crate) fn on_closed(&mut self, gone: &[ConnectionId]) {
        self.remove(|member| gone.binary_search(&member.connection).is_ok());
    }

    /// Time passes.
    pub(crate) fn on_tick(&mut self, now_ms: u64) {
        self.remove(|member| member.heard_at_ms + LIFETIME_MS <= now_ms);
    }

    /// When members are to be told of a change, ms.
    pub(crate) fn tell_at_ms(&self) -> Option<u64> {
        self.changed.values().min().copied()
    }

    /// Takes out the groups whose members may be told now that they have changed.
    pub(crate) fn take_changed(&mut self, now_ms: u64) -> Vec<Changed> {
        let due = self.changed.extract_if(.., |_, at_ms| *at_ms <= now_ms);
        let tell = due.filter_map(|(name, _)| {
            let group = self.groups.get_mut(&name)?;
            let changed = group.changed(&name)?;
            group.quiet_until_ms = now_ms + changed.members.len() as u64 * QUIET_US / 1_000;
            Some(changed)
        });
        tell.collect()
    }

    fn note(&mut self, group: &str) {
        if !self.changed.contains_key(group) {
            let at_ms = self.groups.get(group).map_or(0, |known| known.quiet_until_ms);
            self.changed.insert(group.to_owned(), at_ms);
        }
    }

    /// The client ids of a group, sorted.
    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        let known = self.groups.get(group);
        known.map(|group| group.members.keys().cloned().collect()).unwrap_or_default()
    }

    /// Keeps what tools show of a client that has just said what it is.
    pub(crate) fn describe(&mut self, heartbeat: &Heartbeat, client: &ConnectedClient) {
        for consumer in &heartbeat.consumers {
            let Some(group) = self.groups.get_mut(&consumer.group) else {
                continue;
            };
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
        let (consume_type, consume_from) = group.described?;
        Some(ConsumerConnections {
            members: group.members.values().filter_map(|member| member.client.clone()).collect(),
            consume_type: consume_type.name(),
            message_model: group.model.name(),
            consume_from: consume_from.name(),
            subscriptions: group.subscriptions.values().map(|known| known.said.clone()).collect(),
        })
    }

    /// The groups whose members want a topic.
    pub(crate) fn groups_of<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = &'a str> {
        let wants = |group: &Group| group.subscriptions.contains_key(topic);
        self.groups.iter().filter(move |(_, group)| wants(group)).map(|(name, _)| name.as_str())
    }

    /// Whether a group is online and wants other topics, but not this one.
    pub(crate) fn has_left(&self, group: &str, topic: &str) -> bool {
        let wanted = self.groups.get(group).map(|group| &group.subscriptions);
        wanted.is_some_and(|wanted| !wanted.is_empty() && !wanted.contains_key(topic))
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

    /// How a group's members share messages.
    pub(crate) fn model(&self, group: &str) -> Option<MessageModel> {
        self.groups.get(group).map(|group| group.model)
    }

    /// What a group wants of a topic.
    pub(crate) fn subscription(&self, group: &str, topic: &str) -> Option<&KnownSubscription> {
        self.groups.get(group)?.subscriptions.get(topic)
    }

    fn remove(&mut self, gone: impl Fn(&Member) -> bool) {
        let before = self.bytes;
        for (name, group) in &mut self.groups {
            let given_back = group.forget(|_, member| gone(member));
            self.bytes -= given_back;
            if given_back > 0 {
                self.changed.insert(name.clone(), group.quiet_until_ms);
            }
        }
        if self.bytes < before {
            self.drop_empty();
        }
    }

    fn drop_empty(&mut self) {
        let bytes = &mut self.bytes;
        self.groups.retain(|_, group| {
            let stays = !group.members.is_empty();
            *bytes -= if stays { 0 } else { group.bytes };
            stays
        });
    }
}

/// What a heartbeat's subscriptions are to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subscribed {
    AsBefore,
    /// Of another topic too, or the same with a newer version.
    Newer,
    /// It wants something else of a topic, or nothing any more.
    Otherwise,
}

impl Group {
    fn new(consumer: &ConsumerData) -> Self {
        Self {
            model: consumer.message_model,
            quiet_until_ms: 0,
            described: None,
            members: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            bytes: ENTRY_BYTES + consumer.group.len(),
        }
    }

    /// Forgets members; tells how many bytes that gives back.
    fn forget(&mut self, goes: impl Fn(&str, &Member) -> bool) -> usize {
        let mut given_back = 0;
        self.members.retain(|id, member| {
            let goes = goes(id, member);
            given_back += if goes { ENTRY_BYTES + id.len() } else { 0 };
            !goes
        });
        self.bytes -= given_back;
        given_back
    }

    fn hear(&mut self, now_ms: u64, connection: ConnectionId, client_id: &str) -> bool {
        if let Some(member) = self.members.get_mut(client_id) {
            member.connection = connection;
            member.heard_at_ms = now_ms;
            return false;
        }
        self.bytes += ENTRY_BYTES + client_id.len();
        let heard = Member { client: None, connection, heard_at_ms: now_ms };
        self.members.insert(client_id.to_owned(), heard);
        true
    }

    /// Takes the subscriptions of the latest heartbeat, whoever sent it: all members of a group
    /// have to want the same.
    fn subscribe(
        &mut self,
        consumer: &ConsumerData,
        weights: &[usize],
        conditions: &dyn Conditions,
    ) -> Subscribed {
        let wanted = &consumer.subscriptions;
        let (before, bytes) = (self.subscriptions.len(), self.wanted_bytes());
        self.subscriptions.retain(|topic, _| wanted.iter().any(|each| each.topic == *topic));
        let mut news = Subscribed::AsBefore;
        if self.subscriptions.len() < before {
            news = Subscribed::Otherwise;
        }
        for (subscription, weight) in wanted.iter().zip(weights) {
            let known = self.subscriptions.get(&subscription.topic);
            if known.is_none_or(|known| known.gives_way_to(subscription)) {
                let made = KnownSubscription {
                    said: subscription.clone(),
                    filter: filter(subscription, conditions),
                    bytes: *weight,
                };
                let otherwise = known.is_some_and(|known| !known.said.wants_the_same(subscription));
                news = news.max(if otherwise { Subscribed::Otherwise } else { Subscribed::Newer });
                self.subscriptions.insert(subscription.topic.clone(), made);
            }
        }
        self.bytes = self.bytes - bytes + self.wanted_bytes();
        news
    }

    /// What its subscriptions take of memory, about: as they came and ready to use.
    fn wanted_bytes(&self) -> usize {
        self.subscriptions.values().map(|known| known.bytes).sum()
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

impl KnownSubscription {
    /// Whether a client that says this wants something newer. What kind of expression it is does
    /// not matter: while a group changes from one kind to the other, member by member, both are
    /// said again and again, and members with the newer one are refused while the older one holds.
    fn gives_way_to(&self, said: &Subscription) -> bool {
        self.said.version < said.version
    }
}

/// What a subscription takes of memory, about: as it came, for tools, and as a filter. A kind that
/// is not known is repeated in the reason why there is none.
fn weight(wanted: &Subscription) -> usize {
    let Subscription { topic, expression, expression_type, tags, codes, .. } = wanted;
    let told: usize = tags.iter().map(|tag| tag.len() + size_of::<String>()).sum();
    let texts = topic.len() + expression.len() + expression_type.len();
    let hashes = expression.matches("||").count() + tags.len() + codes.len();
    let as_it_came = ENTRY_BYTES + texts + told + size_of_val(codes.as_slice());
    let ready = ENTRY_BYTES
        + texts
        + expression_type.len()
        + hashes * size_of::<millrace_types::TagsCode>();
    as_it_came + ready
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
        return Ok(Filter::Tags(codes.iter().copied().map(millrace_types::TagsCode).collect()));
    }
    Ok(Filter::tags(expression))
}

#[cfg(test)]
mod tests {
    use millrace_protocol::{ConsumeFrom, ConsumeType, Language};

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
        let refused = clients.heartbeat(at, ConnectionId(connection), heartbeat, &SqlConditions);
        assert_eq!(refused, None);
        told(clients, at)
    }

    /// The connections that have to be told of a change.
    fn told(clients: &mut Clients, at: u64) -> Vec<u64> {
        let changed = clients.take_changed(at).into_iter();
        changed.flat_map(|changed| changed.members).map(|id| id.0).collect()
    }

    #[test]
    fn all_members_are_told_of_a_new_one_and_of_a_leaving_one() {
        let mut clients = Clients::default();
        let (a, b) = (heartbeat("a", &[("t", "*", 1)]), heartbeat("b", &[("t", "*", 1)]));
        assert_eq!(beat(&mut clients, 0, 1, &a), [1]);
        assert_eq!(beat(&mut clients, 0, 2, &b), [1, 2]);
        assert_eq!(beat(&mut clients, 1, 2, &b), [0u64; 0]);
        assert_eq!(clients.members("g"), ["a", "b"]);
        // Who is not in the group cannot leave it.
        clients.unregister("g", "c");
        assert_eq!(told(&mut clients, 1), [0u64; 0]);
        clients.on_closed(&[ConnectionId(1)]);
        assert_eq!(told(&mut clients, 1), [2]);
        assert_eq!(clients.members("g"), ["b"]);
        clients.unregister("g", "b");
        assert_eq!(told(&mut clients, 1), [0u64; 0]);
        assert!(!clients.is_online("g"));
    }

    #[test]
    fn a_client_that_comes_back_by_another_connection_is_one_member() {
        let mut clients = Clients::default();
        let a = heartbeat("a", &[("t", "*", 1)]);
        beat(&mut clients, 0, 1, &a);
        assert_eq!(beat(&mut clients, 1, 2, &a), [0u64; 0]);
        clients.on_closed(&[ConnectionId(1)]);
        assert_eq!(clients.members("g"), ["a"]);
    }

    #[test]
    fn a_silent_client_is_gone() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[]));
        beat(&mut clients, 50_000, 2, &heartbeat("b", &[]));
        clients.on_tick(119_999);
        assert_eq!(told(&mut clients, 119_999), [0u64; 0]);
        clients.on_tick(120_000);
        assert_eq!(told(&mut clients, 120_000), [2]);
        assert_eq!(clients.members("g"), ["b"]);
    }

    #[test]
    fn members_of_a_large_group_are_told_of_many_changes_at_once() {
        let mut clients = Clients::default();
        for n in 0..1_000 {
            let beat = heartbeat(&n.to_string(), &[]);
            clients.heartbeat(0, ConnectionId(n), &beat, &SqlConditions);
        }
        assert_eq!(told(&mut clients, 0).len(), 1_000);
        for n in 0..100 {
            clients.on_closed(&[ConnectionId(n)]);
            assert_eq!(told(&mut clients, n), [0u64; 0]);
            assert_eq!(clients.tell_at_ms(), Some(100));
        }
        assert_eq!(told(&mut clients, 100).len(), 900);
        assert_eq!((clients.tell_at_ms(), told(&mut clients, 1_000)), (None, vec![]));
        // The first change after a while is told at once.
        clients.on_closed(&[ConnectionId(100)]);
        assert_eq!(told(&mut clients, 1_000).len(), 899);
    }

    #[test]
    fn the_newest_subscription_holds_and_what_is_not_named_goes() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "x", 2), ("u", "*", 2)]));
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "y", 1)]));
        assert_eq!(clients.subscription("g", "t").unwrap().said.version, 2);
        assert!(clients.subscription("g", "u").is_none());
        assert_eq!(beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "y", 3)])), [1]);
        assert_eq!(clients.subscription("g", "t").unwrap().said.version, 3);
        beat(&mut clients, 0, 1, &heartbeat("b", &[("t", "x", 2)]));
        let shown = clients.connections("g").unwrap().subscriptions;
        let shown: Vec<_> = shown.iter().map(|each| (&*each.expression, each.version)).collect();
        assert_eq!(shown, [("y", 3)], "tools are shown what holds");
    }

    #[test]
    fn a_group_that_changes_to_conditions_member_by_member_keeps_the_newer_subscription() {
        let mut clients = Clients::default();
        let (old, new) = (heartbeat("a", &[("t", "x", 1)]), heartbeat("b", &[("t", "x = 1", 2)]));
        assert_eq!(beat(&mut clients, 0, 1, &old), [1]);
        assert_eq!(beat(&mut clients, 0, 2, &new), [1, 2]);
        for _ in 0..2 {
            for (connection, member) in [(1, &old), (2, &new)] {
                assert_eq!(beat(&mut clients, 1, connection, member), [0u64; 0]);
                assert_eq!(clients.subscription("g", "t").unwrap().said.version, 2);
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded_and_given_back() {
        let mut clients = Clients::default();
        let long = "a".repeat(1 << 20);
        let mut kept = 0;
        for n in 0..100u64 {
            let mut beat = heartbeat(&format!("c{n}"), &[("t", &long, 1)]);
            beat.consumers[0].group = format!("g{n}");
            let refused = clients.heartbeat(0, ConnectionId(n), &beat, &SqlConditions);
            kept += usize::from(refused.is_none());
            assert_eq!(refused.is_none(), clients.is_online(&format!("g{n}")));
        }
        assert!((20..40).contains(&kept) && clients.bytes <= BYTES_MAX, "{kept}");
        // Who is known already may go on, and change its mind.
        let mut again = heartbeat("c0", &[("t", "b", 2)]);
        again.consumers[0].group = "g0".into();
        assert_eq!(clients.heartbeat(1, ConnectionId(0), &again, &SqlConditions), None);
        clients.unregister("g0", "c0");
        clients.on_closed(&(1..100).map(ConnectionId).collect::<Vec<_>>());
        assert_eq!((clients.len(), clients.bytes), (0, 0));
    }

    #[test]
    fn what_kinds_of_expressions_there_are_counts_too() {
        let mut clients = Clients::default();
        let mut kept = 0;
        for n in 0..100u64 {
            let mut beat = heartbeat("c", &[("t", "*", 1)]);
            beat.consumers[0].group = format!("g{n}");
            beat.consumers[0].subscriptions[0].expression_type = "k".repeat(1 << 20);
            let refused = clients.heartbeat(0, ConnectionId(n), &beat, &SqlConditions);
            kept += usize::from(refused.is_none());
        }
        assert!((20..40).contains(&kept) && clients.bytes <= BYTES_MAX, "{kept}");
    }

    #[test]
    fn an_older_subscription_makes_no_room_for_others() {
        let mut clients = Clients::default();
        let long = "a||".repeat(1 << 18);
        let mut kept = 0;
        for n in 0..100u64 {
            for (expression, version) in [(long.as_str(), 2), ("a", 1)] {
                let mut beat = heartbeat("c", &[("t", expression, version)]);
                beat.consumers[0].group = format!("g{n}");
                let refused = clients.heartbeat(0, ConnectionId(n), &beat, &SqlConditions);
                kept += usize::from(refused.is_none() && version == 2);
            }
        }
        assert!((10..40).contains(&kept) && clients.bytes <= BYTES_MAX, "{kept}");
        clients.on_closed(&(0..100).map(ConnectionId).collect::<Vec<_>>());
        assert_eq!((clients.len(), clients.bytes), (0, 0));
    }

    #[test]
    fn nothing_of_a_refused_heartbeat_is_remembered() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("c", &[("t", "a", 1)]));
        let client = ConnectedClient {
            client_id: "c".into(),
            address: String::new(),
            language: Language::JAVA,
            version: 0,
        };
        let long = "a".repeat(BYTES_MAX);
        let refused = heartbeat("c", &[("t", &long, 2)]);
        let reason = clients.heartbeat(0, ConnectionId(1), &refused, &SqlConditions);
        assert!(reason.is_some());
        clients.describe(&refused, &client);
        assert_eq!(clients.subscription("g", "t").unwrap().said.version, 1);
        assert_eq!(clients.subscription("g", "t").unwrap().said.expression, "a");
    }

    #[test]
    fn a_group_has_so_many_members_and_subscriptions() {
        let mut clients = Clients::default();
        let mut refused = |beat: &Heartbeat| {
            clients.heartbeat(0, ConnectionId(1), beat, &SqlConditions).is_some()
        };
        for n in 0..MEMBERS_MAX {
            assert!(!refused(&heartbeat(&n.to_string(), &[])));
        }
        assert!(refused(&heartbeat("one too many", &[])));
        assert!(!refused(&heartbeat("0", &[("t", "*", 1)])));
        let topics: Vec<String> = (0..=SUBSCRIPTIONS_MAX).map(|n| n.to_string()).collect();
        let all: Vec<_> = topics.iter().map(|topic| (topic.as_str(), "*", 1)).collect();
        assert!(refused(&heartbeat("0", &all)));
        assert!(!refused(&heartbeat("0", &all[1..])));
    }

    #[test]
    fn a_condition_that_does_not_parse_is_remembered_with_its_reason() {
        let mut clients = Clients::default();
        beat(&mut clients, 0, 1, &heartbeat("a", &[("t", "a = ", 1), ("u", "a = 1", 1)]));
        assert!(clients.subscription("g", "t").unwrap().filter.is_err());
        assert!(matches!(clients.subscription("g", "u").unwrap().filter, Ok(Filter::Condition(_))));
    }
}
