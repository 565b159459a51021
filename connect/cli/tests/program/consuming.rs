use std::io::Read;
use std::thread;

use serde_json::Value;

use crate::rig::{Rig, wait_for};

#[test]
fn a_new_group_begins_where_it_is_told_to() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.home.write("lines", "old\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let stored = rig.run(&["consume", "t", "--json"]).expect(0).out;
    let stored: Value = serde_json::from_str(stored.lines().next().unwrap()).unwrap();
    let after = stored["store_at_ms"].as_i64().unwrap() * 1000 + 1000;
    let after = millrace_sql_filter::time::format_timestamp(after);
    rig.home.write("lines", "new\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let told = rig.run(&["consume", "t", "--group", "g", "--from", &after, "-n", "1"]).expect(0);
    assert_eq!(told.out, "new\n", "from {after}");
}

#[test]
fn a_member_of_which_nobody_reads_stays_one_and_leaves_when_asked_to() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.produce_long(100);
    for more in [&[][..], &["--json"]] {
        let (member, reader) =
            rig.begin_unread(&[&["consume", "t", "--group", "g"], more].concat());
        wait_for("the member", || rig.run(&["group", "members", "g"]).code == Some(0));
        member.signal("INT");
        member.ended().expect(0);
        rig.run(&["group", "members", "g"]).expect(4);
        // Nothing is committed that did not go out.
        let lag = rig.run(&["group", "lag", "g", "--topic", "t", "--json"]).expect(0).json();
        assert!(lag["result"]["lag"].as_u64().unwrap() > 80, "{lag}");
        drop(reader);
    }
}

#[test]
fn whoever_prints_what_nobody_reads_ends_when_asked_to() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.produce_long(100);
    for more in [&[][..], &["--json"], &["--follow"]] {
        let (consumer, reader) = rig.begin_unread(&[&["consume", "t"], more].concat());
        consumer.signal("INT");
        consumer.ended().expect(0);
        drop(reader);
    }
}

#[test]
fn a_broker_that_dies_before_all_is_read_is_named() {
    let rig = Rig::start();
    let other = ["server", "--json", "--role", "broker", "--broker-name", "other"];
    let at = ["--data-dir", "other", "--listen", "127.0.0.1:0", "--namesrv", &rig.namesrv];
    let mut other = rig.home.start(&[&other[..], &at[..]].concat());
    other.first_line();
    wait_for("both brokers", || {
        rig.run(&["topic", "create", "t", "--queues", "1"]);
        rig.run(&["topic", "status", "t"]).out.contains("other")
    });
    rig.produce_long(200);
    let (consumer, mut reader) = rig.begin_unread(&["consume", "t"]);
    other.signal("KILL");
    other.ended();
    let reading = thread::spawn(move || reader.read_to_end(&mut Vec::new()));
    let ran = consumer.ended().expect(3);
    ran.one_error("E-NET-01", "`other` cannot be read");
    reading.join().unwrap().unwrap();
}

#[test]
fn whoever_follows_waits_for_a_broker_that_starts_anew() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.home.write("lines", "a\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let mut follower = rig.begin(&["consume", "t", "--follow", "-n", "2"]);
    assert_eq!(follower.first_line(), "a");
    let rig = rig.restart();
    wait_for("the warning", || follower.said().contains("is waited for"));
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let ran = follower.ended().expect(0);
    assert_eq!(ran.out, "a\na\n");
    assert_eq!(ran.err.matches("warning").count(), 1, "{}", ran.err);
    drop(rig.server);
}

#[test]
fn whoever_follows_gets_queues_that_come_later_from_their_beginning() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.home.write("lines", "a\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let mut follower = rig.begin(&["consume", "t", "--follow", "-n", "5"]);
    assert_eq!(follower.first_line(), "a");
    rig.run(&["topic", "update", "t", "--queues", "4"]).expect(0);
    rig.home.write("lines", "b\nc\nd\ne\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    // Its route is asked for again when a broker is away, and not only after 30 s.
    let rig = rig.restart();
    let ran = follower.ended().expect(0);
    let mut lines: Vec<_> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a", "b", "c", "d", "e"]);
    drop(rig.server);
}

#[test]
fn whoever_waits_without_end_says_for_what() {
    let rig = Rig::start();
    let waiting = rig.begin(&["consume", "nowhere", "--group", "g"]);
    wait_for("a word", || waiting.said().contains("nowhere"));
    waiting.signal("INT");
    let ran = waiting.ended().expect(0);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);

    rig.run(&["topic", "create", "t", "--queues", "4"]).expect(0);
    rig.run(&["group", "create", "off", "--enabled", "false"]).expect(0);
    let waiting = rig.begin(&["consume", "t", "--group", "off"]);
    wait_for("a word", || waiting.said().contains("refused"));
    waiting.signal("INT");
    let ran = waiting.ended().expect(0);
    assert!(ran.err.lines().count() <= 2, "{}", ran.err);
}
