use serde_json::Value;

use crate::rig::{Home, Ran, Rig, wait_for};

#[test]
fn a_topic_is_made_used_and_looked_at() {
    let rig = Rig::start();
    assert_eq!(rig.result(&["topic", "create", "orders", "--queues", "2"])["topic"], "orders");
    let again = rig.run(&["topic", "create", "orders"]).expect(1);
    again.one_error("E-TOPIC-02", "orders");
    assert_eq!(rig.result(&["topic", "list"])["topics"], serde_json::json!(["orders"]));

    rig.home.write("lines", "one\ntwo\r\nthree");
    let produce = ["produce", "orders", "--file", "lines", "--key", "k1", "--tag", "new"];
    let ran = rig.run(&[&produce[..], &["--property", "region=eu", "--json"]].concat()).expect(0);
    let lines: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, _, _, outcome] = &*lines else { panic!("{}", ran.out) };
    assert_eq!(outcome["result"]["sent"], 3);
    assert_eq!((&first["topic"], &first["status"]), (&"orders".into(), &"ok".into()));

    let status = rig.result(&["topic", "status", "orders"]);
    assert_eq!((&status["messages"], status["queues"].as_array().unwrap().len()), (&3.into(), 2));
    let described = rig.result(&["topic", "describe", "orders"]);
    assert_eq!(described["brokers"][0]["write_queues"], 2);
    assert_eq!(described["brokers"][0]["permission"], "rw");
    let routed = rig.result(&["topic", "route", "orders"]);
    assert_eq!(routed["brokers"][0]["read_queues"], 2);
    rig.result(&["topic", "update", "orders", "--queues", "4"]);
    let described = rig.result(&["topic", "describe", "orders"]);
    assert_eq!(described["brokers"][0]["write_queues"], 4);

    let id = first["id"].as_str().unwrap();
    let by_id = rig.result(&["message", "get", "--topic", "orders", "--id", id]);
    assert_eq!(by_id["messages"][0]["id"], first["id"]);
    let stored = first["offset_id"].as_str().unwrap();
    let by_place = rig.result(&["message", "get", "--id", stored]);
    assert_eq!(by_place["messages"][0]["id"], first["id"]);
    let by_key = rig.result(&["message", "get", "--topic", "orders", "--key", "k1"]);
    assert_eq!(by_key["messages"].as_array().unwrap().len(), 3);
    assert_eq!(by_key["messages"][0]["properties"]["region"], "eu");
    let (queue, offset) = (first["queue"].to_string(), first["queue_offset"].to_string());
    let two = ["message", "get", "--topic", "orders", "--key", "k1", "--max", "2"];
    let told = rig.result(&two);
    assert_eq!((told["messages"].as_array().unwrap().len(), &told["more"]), (2, &true.into()));
    assert!(rig.run(&two).expect(0).out.ends_with("found 2 messages; there may be more (--max)\n"));
    assert_eq!(rig.result(&two[..6])["more"], false);
    let place = ["message", "get", "--topic", "orders", "--queue", &queue, "--offset", &offset];
    assert_eq!(rig.result(&place)["messages"][0]["id"], first["id"]);
    rig.run(&["message", "get", "--topic", "orders", "--key", "k2"]).expect(4);
    let page = rig.run(&["message", "get", "--topic", "orders", "--id", id]).expect(0).out;
    assert!(page.contains("property    region = eu\n"), "{page}");
}

#[test]
fn a_line_that_cannot_be_sent_is_named() {
    let rig = Rig::start();
    rig.home.write("lines", "a\n\nb\nc\n");
    let ran = rig.run(&["produce", "t", "--file", "lines", "--json"]).expect(1);
    ran.one_error("E-NET-03", ": line 2: ");
    ran.one_error("E-NET-03", "the body is empty; 1 message stored before it");
    let result = ran.json()["result"].clone();
    let printed = rig.run(&["consume", "t"]).expect(0).out.lines().count();
    assert_eq!((&result["sent"], &result["sent_before_failure"]), (&printed.into(), &1.into()));

    let long = "x".repeat((4 << 20) + 10);
    rig.home.write("lines", &format!("a\n{long}\nb\n"));
    let ran = rig.run(&["produce", "long", "--file", "lines"]).expect(2);
    ran.one_error("E-ARG-01", "line 2: a body has at most 4194304 bytes; 1 message stored before");
    assert_eq!(rig.run(&["consume", "long"]).expect(0).out, "a\n");
}

#[test]
fn a_producer_that_is_stopped_says_how_much_it_sent() {
    let rig = Rig::start();
    rig.home.write("lines", &"a\n".repeat(100));
    let args = ["produce", "t", "--file", "lines", "--rate", "1", "--json"];
    let producer = rig.home.start(&[&args[..], &["--namesrv", &rig.namesrv]].concat());
    // Answers are told once many are on their way, or in the end.
    wait_for("a message", || !rig.run(&["consume", "t"]).out.is_empty());
    producer.signal("TERM");
    let ran = producer.ended().expect(0);
    let (told, lines) = (ran.json(), ran.out.lines().count() as u64 - 1);
    assert_eq!(told["result"]["sent"], lines, "{told}");
    assert!(told["summary"].as_str().unwrap().ends_with("until it was stopped"), "{told}");
}

#[test]
fn messages_are_printed_as_lines() {
    let rig = Rig::start();
    rig.home.write("lines", "a\nb\nc\n");
    rig.run(&["produce", "t", "--file", "lines", "--tag", "x", "--property", "n=1"]).expect(0);
    rig.run(&["produce", "t", "--file", "lines", "--tag", "y", "--batch", "10"]).expect(0);
    let sorted = |args: &[&str]| {
        let out = rig.run(&[&["consume", "t"], args].concat()).expect(0).out;
        let mut lines: Vec<_> = out.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join("")
    };
    assert_eq!(sorted(&[]), "aabbcc");
    assert_eq!(sorted(&["--tag", "y"]), "abc");
    assert_eq!(sorted(&["--sql", "n = 1"]), "abc");
    assert_eq!(sorted(&["--from", "latest"]), "");
    assert_eq!(sorted(&["--from", "2020-01-01T00:00:00Z", "-n", "2"]).len(), 2);
    let ran = rig.run(&["consume", "t", "--json", "--tag", "x"]).expect(0);
    assert_eq!(ran.json()["result"]["messages"], 3);
    let first: Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["topic"], &first["properties"]["TAGS"]), (&"t".into(), &"x".into()));
}

#[test]
fn a_consumer_follows_until_it_has_enough() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t"]).expect(0);
    let consumer =
        rig.home.start(&["consume", "t", "--follow", "-n", "2", "--namesrv", &rig.namesrv]);
    rig.home.write("lines", "a\nb\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let ran = consumer.ended().expect(0);
    assert_eq!(ran.out.lines().count(), 2);
}

#[test]
fn members_of_a_group_get_what_the_others_did_not() {
    let rig = Rig::start();
    rig.run(&["topic", "create", "t", "--queues", "2"]).expect(0);
    rig.home.write("lines", "a\nb\nc\nd\n");
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let member = |count: &str| {
        let ran = rig.run(&["consume", "t", "--group", "g", "-n", count]).expect(0);
        ran.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut all = member("3");
    assert_eq!(all.len(), 3);
    assert_eq!(rig.result(&["group", "lag", "g", "--topic", "t"])["lag"], 1);
    all.extend(member("1"));
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d"]);
    let described = rig.result(&["group", "describe", "g"]);
    assert_eq!(described["lag"]["t"], 0);
    assert_eq!(described["members"], Value::Null);
    // One that waits is seen by the others, and leaves when it is asked to.
    let waiting = rig.home.start(&["consume", "t", "--group", "g", "--namesrv", &rig.namesrv]);
    wait_for("the member", || rig.run(&["group", "members", "g", "--json"]).json()["ok"] == true);
    waiting.signal("INT");
    waiting.ended().expect(0);
    rig.run(&["group", "members", "g"]).expect(4);
}

#[test]
fn a_group_is_set_moved_and_looked_at() {
    let rig = Rig::start();
    rig.home.write("lines", "a\nb\nc\n");
    rig.run(&["topic", "create", "t", "--queues", "1"]).expect(0);
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    rig.run(&["group", "describe", "billing"]).expect(4);
    rig.result(&["group", "create", "billing", "--retries", "3"]);
    let described = rig.result(&["group", "describe", "billing"]);
    assert_eq!(described["settings"]["retryMaxTimes"], "3");
    rig.result(&["group", "update", "billing", "--retries", "5"]);
    let described = rig.result(&["group", "describe", "billing"]);
    assert_eq!(described["settings"]["retryMaxTimes"], "5");
    assert_eq!(rig.result(&["group", "list"])["groups"], serde_json::json!(["billing"]));
    let moved = rig.result(&["group", "reset", "billing", "--topic", "t", "--to", "latest"]);
    assert_eq!(moved["queues"][0]["offset"], 3);
    assert_eq!(rig.result(&["group", "lag", "billing"])["lag"], 0);
    rig.result(&["group", "reset", "billing", "--topic", "t", "--to", "earliest"]);
    let lag = rig.result(&["group", "lag", "billing"]);
    assert_eq!((&lag["lag"], &lag["queues"][0]["end"]), (&3.into(), &3.into()));
    rig.run(&["group", "members", "billing"]).expect(4);
    let deleted = rig.result(&["group", "delete", "billing"]);
    assert_eq!(deleted["offsets_stay_in"], serde_json::json!(["t"]));
}

/// A slip of the pen in a group's name makes, changes and loses nothing.
#[test]
fn a_group_that_is_not_there_or_there_already_is_told() {
    let rig = Rig::start();
    rig.result(&["topic", "create", "t", "--queues", "1"]);
    rig.result(&["group", "create", "billing", "--retries", "3"]);
    rig.run(&["group", "create", "billing"]).expect(1).one_error("E-GROUP-01", "`billing`");
    let described = rig.result(&["group", "describe", "billing"]);
    assert_eq!(described["settings"]["retryMaxTimes"], "3");
    let reset = ["group", "reset", "biling", "--topic", "t", "--to", "latest"];
    for args in [
        &reset[..],
        &["group", "update", "biling", "--retries", "1"],
        &["group", "delete", "biling"],
    ] {
        rig.run(args).expect(1).one_error("E-GROUP-02", "`biling`");
    }
    rig.run(&["group", "describe", "biling"]).expect(4);
    // One that will consume later may be put somewhere before.
    rig.result(&[&reset[..], &["--new"]].concat());
    rig.run(&["group", "describe", "biling"]).expect(0);
    // It has offsets, so it is known.
    rig.result(&reset);
    rig.result(&["group", "update", "biling", "--retries", "1"]);
    assert_eq!(rig.result(&["group", "describe", "biling"])["settings"]["retryMaxTimes"], "1");
}

#[test]
fn what_cannot_be_done_is_one_line() {
    let rig = Rig::start();
    rig.run(&["topic", "describe", "nowhere"]).expect(1).one_error("E-TOPIC-01", "`nowhere`");
    rig.run(&["consume", "nowhere"]).expect(1).one_error("E-TOPIC-01", "`nowhere`");
    rig.run(&["topic", "create", "a b"]).expect(2).one_error("E-ARG-01", "`a b`");
    rig.run(&["group", "create", "a b"]).expect(2).one_error("E-ARG-01", "`a b`");
    rig.run(&["consume", "a b"]).expect(2).one_error("E-ARG-01", "`a b`");
    rig.run(&["topic", "create", "t"]).expect(0);
    rig.run(&["consume", "t", "--group", "g", "--sql", "a ="])
        .expect(2)
        .one_error("E-NET-03", "a value");
    let beyond = ["message", "get", "--topic", "t", "--offset", "0", "--queue", "99"];
    rig.run(&beyond).expect(2).one_error("E-ARG-01", "no queue 99");
    rig.run(&["topic", "delete", "t"]).expect(2).one_error("E-ARG-01", "messages");
    rig.run(&["topic", "update", "t"]).expect(2).one_error("E-ARG-01", "nothing to change");
    rig.run(&["message", "get"]).expect(2).one_error("E-ARG-01", "which message");
    rig.run(&["produce", "t", "--file", "nowhere"]).expect(2).one_error("E-FILE-01", "nowhere");
    let reserved = ["produce", "t", "--file", "nowhere", "--property", "UNIQ_KEY=1"];
    rig.run(&reserved).expect(2).one_error("E-ARG-01", "UNIQ_KEY");
    let away = rig.home.run(&["topic", "list", "--namesrv", "127.0.0.1:1"]).expect(3);
    away.one_error("E-NET-01", "127.0.0.1:1");
}

#[test]
fn examples_stand_on_lines_of_their_own() {
    let home = Home::new();
    for command in ["topic", "group", "message", "produce", "consume"] {
        let help = home.run(&[command, "--help"]).expect(0).out;
        let (_, examples) = help.split_once("\nFor instance:\n").unwrap();
        assert!(examples.lines().all(|line| line.contains("millrace ")), "{examples}");
    }
}

#[test]
fn filters_are_attached_used_listed_and_detached() {
    let rig = Rig::start();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wasm-filters/examples/");
    let module = format!("{examples}keep-large/keep-large-c.wasm");
    rig.result(&["topic", "create", "notes", "--queues", "1"]);
    rig.home.write("lines", "short\na rather long line\n");
    rig.run(&["produce", "notes", "--file", "lines"]).expect(0);
    let params = ["--params", r#"{"bytes": 10}"#];
    let of_group = ["filter", "attach", "--group", "readers", "--module", &module];
    let attached = rig.result(&[&of_group[..], &params[..]].concat());
    let filter = &attached["filters"][0];
    assert_eq!((&filter["group"], &filter["topic"]), (&"readers".into(), &Value::Null));
    assert_eq!((&filter["name"], &filter["params"]["bytes"]), (&"keep-large".into(), &10.into()));

    let consume = ["consume", "notes", "--group", "readers", "-n", "1"];
    let given = rig.run(&consume).expect(0).out;
    assert!(given.contains("a rather long line") && !given.contains("short"), "{given}");
    let filter = &rig.result(&["filter", "list"])["filters"][0];
    let counts = ["kept", "dropped", "failed"].map(|name| filter[name].clone());
    assert_eq!(counts, [1, 1, 0].map(Value::from));
    assert!(filter["counted_from_ms"].as_i64() >= filter["attached_at_ms"].as_i64(), "{filter}");
    let listed = rig.run(&["filter", "list"]).expect(0).out;
    assert!(listed.contains("the group readers") && listed.ends_with("1 filter\n"), "{listed}");

    let of_both = ["--group", "readers", "--topic", "notes"];
    let wrong = rig.run(&[&["filter", "attach", "--module", &module], &of_both[..]].concat());
    wrong.expect(2).one_error("E-WASM-01", "bytes");
    let mask = format!("{examples}mask/mask.wasm");
    let fields = ["--params", r#"{"fields": ["a"]}"#];
    let map = ["filter", "attach", "--topic", "notes", "--module", &mask];
    let map = rig.run(&[&map[..], &fields[..]].concat()).expect(2);
    map.one_error("E-WASM-01", "only keeps or drops messages");
    rig.run(&["filter", "attach", "--module", &module]).expect(2);
    rig.run(&["filter", "attach", "--group", "a b", "--module", &module]).expect(2);
    rig.run(&["filter", "detach", "--topic", "notes"]).expect(4);
    rig.run(&["filter", "detach", "--topic", "nowhere"]).expect(4);
    // It goes with its topic.
    let of_topic = ["filter", "attach", "--topic", "notes", "--module", &module];
    rig.run(&[&of_topic[..], &params[..]].concat()).expect(0);
    rig.run(&["topic", "delete", "notes", "--yes"]).expect(0);
    rig.run(&["filter", "detach", "--topic", "notes"]).expect(4);
    let detached = rig.result(&["filter", "detach", "--group", "readers"]);
    assert_eq!(detached["brokers"], serde_json::json!(["millrace"]));
    assert_eq!(rig.result(&["filter", "list"])["filters"], serde_json::json!([]));
}

/// Fewer queues to read from would hide what lies in the others.
#[test]
fn a_topic_is_not_cut_short_over_messages() {
    let rig = Rig::start();
    rig.result(&["topic", "create", "t", "--queues", "4"]);
    rig.home.write("lines", &"line\n".repeat(8));
    rig.run(&["produce", "t", "--file", "lines"]).expect(0);
    let update = |more: &[&str]| rig.run(&[&["topic", "update", "t"], more].concat());
    let status = || rig.result(&["topic", "status", "t"]);
    let total = |status: &Value| status["messages"].as_u64().unwrap();
    assert_eq!(total(&status()), 8);
    update(&["--queues", "1"]).expect(2).one_error("E-ARG-01", "that nobody reads from");
    update(&["--read-queues", "3", "--write-queues", "1"]).expect(2);
    update(&["--write-queues", "5"]).expect(2).one_error("E-ARG-01", "5 queues");
    update(&["--queues", "1", "--read-queues", "1"]).expect(2);
    // As in Apache RocketMQ: first less to write to, and then less to read from.
    update(&["--write-queues", "1"]).expect(0);
    let on = &rig.result(&["topic", "describe", "t"])["brokers"][0];
    assert_eq!((&on["read_queues"], &on["write_queues"]), (&4.into(), &1.into()));
    assert_eq!(total(&status()), 8);
    update(&["--queues", "1", "--yes"]).expect(0);
    assert!(total(&status()) < 8);
    // What there is to say of one that cannot be read is said.
    update(&["--permission", "w"]).expect(0);
    let described = rig.run(&["topic", "describe", "t", "--json"]).json();
    assert_eq!(described["result"]["brokers"][0]["permission"], "w", "{described}");
}

/// A broker that takes requests and answers none hides nothing of the others.
#[test]
fn what_is_known_is_shown_although_a_broker_hangs() {
    let home = Home::new();
    let names = home.start(&[
        "server",
        "--role",
        "namesrv",
        "--json",
        "--namesrv-listen",
        "127.0.0.1:0",
        "--data-dir",
        "names",
    ]);
    let mut names = names;
    let listening: Value = serde_json::from_str(&names.first_line()).unwrap();
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    let start = |name: &str| {
        let args = [
            "server",
            "--role",
            "broker",
            "-n",
            &namesrv,
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--segment-size",
            "4MiB",
            "--broker-name",
            name,
            "--data-dir",
            name,
        ];
        let mut broker = home.start(&args);
        broker.first_line();
        broker
    };
    let (_one, two) = (start("one"), start("two"));
    let run = |args: &[&str]| home.run(&[args, &["--namesrv", &namesrv, "--json"]].concat());
    let brokers = |ran: Ran| ran.json()["result"]["brokers"].as_array().map(Vec::len);
    // A topic of one broker can be made on the other.
    wait_for("both brokers", || {
        let made = |name| run(&["topic", "create", "t", "--broker", name, "--queues", "1"]);
        made("one");
        made("two");
        brokers(run(&["topic", "route", "t"])) == Some(2)
    });
    run(&["topic", "create", "t"]).expect(1).one_error("E-TOPIC-02", "`t`");
    run(&["group", "create", "g"]).expect(0);
    two.signal("STOP");
    for (args, kept) in [
        (&["topic", "status", "t"][..], "queues"),
        (&["topic", "describe", "t"], "brokers"),
        (&["group", "list"], "groups"),
        (&["group", "describe", "g"], "settings"),
    ] {
        let ran = run(args).expect(3);
        assert!(ran.err.contains("warning: without two: no answer from"), "{}", ran.err);
        let result = ran.json()["result"].clone();
        assert_eq!(result["missing"][0]["broker"], "two", "{result}");
        assert!(!result[kept].is_null() && result[kept] != serde_json::json!([]), "{result}");
    }
    // What only looks has changed nothing.
    let one = serde_json::json!(["one"]);
    let alone = run(&["group", "update", "g", "--retries", "2"]).expect(3);
    alone.one_error("E-NET-01", "no answer from");
    assert!(alone.err.contains("hint: nothing was changed"), "{}", alone.err);
    // More queues are to be had where a broker answers, and fewer where nothing lies in the others.
    for queues in ["3", "2"] {
        let ran = run(&["topic", "update", "t", "--queues", queues]).expect(3);
        assert!(ran.err.contains("warning: without two: no answer from"), "{}", ran.err);
        let result = ran.json()["result"].clone();
        assert_eq!((&result["brokers"], &result["missing"][0]["broker"]), (&one, &"two".into()));
        let described = run(&["topic", "describe", "t"]).json();
        let on = &described["result"]["brokers"][0];
        assert_eq!((&on["broker"], on["read_queues"].to_string()), (&"one".into(), queues.into()));
    }
    two.signal("CONT");
}
