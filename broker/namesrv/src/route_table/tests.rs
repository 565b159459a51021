use millrace_types::Now;

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
        ha_address: format!("{address}1"),
        stay: Stay::For { lifetime_ms: 120, link: Link(1) },
        version: TopicsVersion { counter: 1, ..TopicsVersion::default() },
        topics: topics.iter().map(|name| (topic(name), FOUR)).collect(),
    }
}

/// The same after a change of its topics.
fn changed(counter: i64, registration: Registration) -> Registration {
    Registration { version: TopicsVersion { counter, ..TopicsVersion::default() }, ..registration }
}

#[track_caller]
fn register(table: &mut RouteTable, now: u64, registration: Registration) -> Registered {
    table.register(at(now), registration).unwrap()
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
    let entries: usize = table.topics.values().map(BTreeMap::len).sum();
    assert_eq!(table.entries, entries, "entries are counted");
}

fn permissions(table: &RouteTable, name: &str) -> Vec<u32> {
    table.route(name).unwrap().queues.iter().map(|queues| queues.queues.permission).collect()
}

#[test]
fn a_topic_is_served_by_all_that_have_it() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    register(&mut table, 0, broker("b", 0, "h:2", &["t", "v"]));
    check(&table, "t", &[("a", &[(0, "h:1")]), ("b", &[(0, "h:2")])]);
    check(&table, "u", &[("a", &[(0, "h:1")])]);
    check(&table, "w", &[]);
    let clusters = table.clusters();
    assert_eq!(clusters.brokers.len(), 2);
    assert_eq!(clusters.clusters["c"], ["a".into(), "b".into()]);
}

#[test]
fn who_is_silent_too_long_is_gone_with_its_topics() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    register(&mut table, 100, broker("b", 0, "h:2", &["t", "u"]));
    table.on_tick(at(119));
    check(&table, "t", &[("a", &[(0, "h:1")]), ("b", &[(0, "h:2")])]);
    table.on_tick(at(120));
    check(&table, "t", &[("b", &[(0, "h:2")])]);
    assert_eq!(table.hear(at(210), "b", "h:2").map(|version| version.counter), Some(1));
    assert_eq!(table.hear(at(210), "a", "h:1"), None);
    table.on_tick(at(300));
    check(&table, "t", &[("b", &[(0, "h:2")])]);
    table.unregister(Departure::Announced { broker: "b", broker_id: 0, address: "h:9" });
    check(&table, "t", &[("b", &[(0, "h:2")])]);
    table.unregister(Departure::Announced { broker: "b", broker_id: 0, address: "h:2" });
    check(&table, "t", &[]);
    assert_eq!(table.clusters(), Clusters::default());
}

#[test]
fn who_loses_its_connection_is_gone_at_once() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    // Back by another connection before the old one was noticed to be gone.
    let stay = Stay::For { lifetime_ms: 120, link: Link(2) };
    register(&mut table, 1, Registration { stay, ..broker("a", 0, "h:1", &["t", "u"]) });
    table.unregister(Departure::Lost(Link(1)));
    check(&table, "t", &[("a", &[(0, "h:1")])]);
    let gone = table.unregister(Departure::Lost(Link(2)));
    assert_eq!((gone.len(), &*gone[0].broker_name, &*gone[0].address), (1, "a", "h:1"));
    check(&table, "t", &[]);
}

#[test]
fn a_replica_says_where_it_is_and_not_what_topics_look_like() {
    let mut table = RouteTable::default();
    assert_eq!(register(&mut table, 0, broker("a", 0, "h:1", &["t", "v"])).master, None);
    let replica = register(&mut table, 0, broker("a", 1, "h:2", &["u", "w"]));
    assert_eq!(replica.master, Some(("h:1".into(), "h:11".into())));
    check(&table, "t", &[("a", &[(0, "h:1"), (1, "h:2")])]);
    check(&table, "u", &[]);
    register(&mut table, 0, broker("a", 0, "h:2", &[]));
    check(&table, "t", &[("a", &[(0, "h:2")])]);
}

#[test]
fn topics_change_only_with_their_version() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    let mut wider = broker("a", 0, "h:1", &["t", "v"]);
    wider.topics[0].1.write_queues = 8;
    register(&mut table, 1, wider.clone());
    assert_eq!(table.route("t").unwrap().queues[0].queues.write_queues, 4);
    check(&table, "v", &[("a", &[(0, "h:1")])]);
    register(&mut table, 2, changed(2, wider));
    assert_eq!(table.route("t").unwrap().queues[0].queues.write_queues, 8);
    // What is not named stays until somebody says that it is gone.
    check(&table, "u", &[("a", &[(0, "h:1")])]);
    table.drop_topic("u", Some("elsewhere"));
    check(&table, "u", &[("a", &[(0, "h:1")])]);
    table.drop_topic("u", Some("c"));
    check(&table, "u", &[]);
    table.drop_topic("t", None);
    check(&table, "t", &[]);
}

#[test]
fn a_broker_that_nobody_knows_has_to_name_all_topics() {
    let mut table = RouteTable::default();
    let one = broker("a", 0, "h:1", &["t"]);
    assert_eq!(table.register(at(0), one.clone()), Err(NotRegistered::Incomplete));
    check(&table, "t", &[]);
    register(&mut table, 0, broker("a", 0, "h:1", &["u", "v"]));
    register(&mut table, 0, changed(2, one));
    check(&table, "t", &[("a", &[(0, "h:1")])]);
}

#[test]
fn an_older_decision_does_not_replace_a_newer_one() {
    let mut table = RouteTable::default();
    let version = |state| TopicsVersion { state, ..TopicsVersion::default() };
    register(&mut table, 0, Registration { version: version(2), ..broker("a", 0, "h:1", &[]) });
    register(&mut table, 0, Registration { version: version(1), ..broker("a", 0, "h:2", &[]) });
    assert_eq!(table.addresses("a").unwrap().addresses[&0], "h:1");
    register(&mut table, 0, Registration { version: version(2), ..broker("a", 0, "h:2", &[]) });
    assert_eq!(table.addresses("a").unwrap().addresses[&0], "h:2");
}

#[test]
fn a_broker_of_this_process_never_expires_and_is_not_replaced() {
    let mut table = RouteTable::default();
    register(&mut table, 0, Registration { stay: Stay::Always, ..broker("a", 0, "h:1", &[]) });
    assert!(table.put_topic("a", &topic("t"), FOUR));
    assert!(!table.put_topic("nobody", &topic("u"), FOUR));
    table.on_tick(at(u64::MAX));
    table.unregister(Departure::Announced { broker: "a", broker_id: 0, address: "h:1" });
    let other = table.register(at(0), broker("a", 0, "h:2", &[]));
    assert_eq!(other, Err(NotRegistered::Taken("a".into())));
    check(&table, "t", &[("a", &[(0, "h:1")])]);
    check(&table, "u", &[]);
    table.drop_topic_of("a", "t");
    check(&table, "t", &[]);
}

#[test]
fn a_wiped_broker_takes_no_writes_until_it_is_told_or_leaves_in_order() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    register(&mut table, 0, broker("b", 0, "h:2", &["t", "u"]));
    assert_eq!(table.wipe_write("a"), Some(2));
    assert_eq!((table.wipe_write("a"), table.wipe_write("nobody")), (Some(2), None));
    assert_eq!(permissions(&table, "t"), [4, 6]);
    // Neither a change of its topics nor a lost connection gives it back.
    register(&mut table, 1, changed(2, broker("a", 0, "h:1", &["t", "u"])));
    assert_eq!(permissions(&table, "t"), [4, 6]);
    table.unregister(Departure::Lost(Link(1)));
    register(&mut table, 2, broker("a", 0, "h:1", &["t", "u"]));
    assert_eq!(permissions(&table, "t"), [4]);
    assert_eq!(table.add_write("a"), Some(2));
    assert_eq!(permissions(&table, "t"), [6]);
    table.wipe_write("a");
    table.unregister(Departure::Announced { broker: "a", broker_id: 0, address: "h:1" });
    register(&mut table, 3, broker("a", 0, "h:1", &["t", "u"]));
    assert_eq!(permissions(&table, "t"), [6]);
}

#[test]
fn topics_are_listed_by_cluster() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &["t", "u"]));
    let elsewhere = Registration { cluster: "d".into(), ..broker("b", 0, "h:2", &["u", "v"]) };
    register(&mut table, 0, elsewhere);
    let names = |cluster| {
        let topics = table.topics(cluster).map(|topic| topic.to_string());
        topics.collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["t", "u", "v"]);
    assert_eq!(names(Some("d")), ["u", "v"]);
    assert_eq!(names(Some("e")), [""; 0]);
}

#[test]
fn a_table_has_room_for_so_many_topics() {
    let mut table = RouteTable::default();
    register(&mut table, 0, broker("a", 0, "h:1", &[]));
    table.entries = RouteTable::ENTRIES_MAX;
    let more = changed(2, broker("a", 0, "h:1", &["t"]));
    assert_eq!(table.register(at(0), more), Err(NotRegistered::Full));
    table.entries = 0;
    for n in 1..RouteTable::BROKERS_MAX {
        register(&mut table, 0, broker(&format!("b{n}"), 0, &format!("h:{n}"), &[]));
    }
    let more = table.register(at(0), broker("z", 0, "h:0", &[]));
    assert_eq!(more, Err(NotRegistered::Full));
}
