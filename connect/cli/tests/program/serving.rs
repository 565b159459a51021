use serde_json::Value;

use crate::rig::{ACCESS_LOG, ACCESS_LOG_YAML, Home, parquet_files, rows, serve, wait_for};

#[test]
fn a_pipeline_over_the_wire_does_what_it_does_inside() {
    let home = Home::new();
    home.access_log();
    let (server, listening) = serve(&home, &["--flush", "sync", "--segment-size", "16MiB"]);
    assert_eq!(listening["event"], "listening");
    assert_eq!(listening["flush"], "sync");
    let namesrv = listening["namesrv"].as_str().unwrap();
    let over = ["run", "access-log.yaml", "--namesrv", namesrv, "--json"];
    let first = home.run(&over).expect(0).json();
    assert_eq!(first["result"]["source"]["appended"], 12);
    let second = home.run(&over).expect(0).json();
    assert_eq!(second["result"]["source"]["appended"], 0);
    let files = parquet_files(&home.path("lake"));
    assert_eq!(files.iter().map(|file| rows(file)).sum::<i64>(), 6);
    // The line that is none: which file it is from, and where it stands there.
    let letter = ["message", "get", "--topic", "%DLQ%access-log_errors", "--queue", "0"];
    let letter = [&letter[..], &["--offset", "0", "--namesrv", namesrv, "--json"]].concat();
    let letter = &home.run(&letter).expect(0).json()["result"]["messages"][0];
    let (properties, text) = (&letter["properties"], ACCESS_LOG);
    let at = text.lines().position(|line| letter["body"] == line).expect("a line of the log");
    let before: usize = text.split_inclusive('\n').take(at).map(str::len).sum();
    assert_eq!(properties["file.path"], "access.log");
    assert_eq!(properties["file.offset"], before.to_string());
    assert_eq!(properties["file.line"], at.to_string());
    assert_eq!(properties["dlq_code"], "E-DECODE-06");
    // By its name it is the same broker; another one is not there.
    home.run(&[&over[..], &["--broker", "millrace"]].concat()).expect(0);
    let other = home.run(&[&over[..], &["--broker", "other"]].concat()).expect(3);
    other.one_error("E-NET-01", "other");

    server.signal("INT");
    let ended = server.ended().expect(0);
    assert_eq!(ended.json()["summary"], "stopped; everything is on disk");
    let inspected = home.run(&["inspect", "data", "--json"]).expect(0).json();
    assert_eq!(inspected["result"]["clean"], true);
    assert_eq!(inspected["result"]["topics"]["access"]["messages"], 12);
}

#[test]
fn a_start_tells_how_it_found_the_directory() {
    let home = Home::new();
    let (server, _) = serve(&home, &[]);
    // Dropping it is a SIGKILL.
    drop(server);
    let (server, listening) = serve(&home, &[]);
    assert_eq!(listening["recovered"]["clean"], false);
    assert_eq!(listening["recovered"]["torn_bytes"], 0);
    server.signal("TERM");
    server.ended().expect(0);
    let (server, listening) = serve(&home, &[]);
    assert_eq!(listening["recovered"]["clean"], true);
    drop(server);

    let args = ["--data-dir", "text", "--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"];
    let mut server = home.start(&[&["server"], &args[..]].concat());
    assert!(server.first_line().starts_with("name server 127.0.0.1:"));
    server.signal("TERM");
    let told = server.ended().expect(0).out;
    assert!(told.contains("log         0 B in text; new\n"), "{told}");
    assert!(
        told.contains("\nflush       async: 0 copies are on disk before the answer; kill -9 loses"),
        "{told}"
    );
}

#[test]
fn inspect_tells_the_contract_and_what_goes_next() {
    let home = Home::new();
    home.write("lines", &"a line of some length\n".repeat(12_000));
    let flags = ["--flush", "sync", "--segment-size", "1MiB", "--keep-hours", "48"];
    let (server, listening) = serve(&home, &flags);
    let namesrv = listening["namesrv"].as_str().unwrap();
    let produce = ["produce", "orders", "--file", "lines", "--batch", "100"];
    home.run(&[&produce[..], &["--namesrv", namesrv]].concat()).expect(0);
    server.signal("TERM");
    server.ended().expect(0);
    // A broker looks for full segments when it starts, and every ten seconds.
    let (server, _) = serve(&home, &flags);
    server.signal("TERM");
    server.ended().expect(0);

    let broker =
        home.run(&["inspect", "data", "--json"]).expect(0).json()["result"]["broker"].clone();
    let told = &broker["started_with"];
    assert_eq!(told["contract"], "1 copy on disk before the answer, nothing lost");
    assert_eq!((&told["keep"], &told["hold_max"]), (&"48 h".into(), &"168 h".into()));
    let next = &broker["next_removal"];
    assert_eq!(next["segments"][0], 0);
    assert_eq!(next["held_by"], serde_json::json!([]));
    let due = next["due_in_ms"].as_u64().unwrap();
    assert!((47 * 3_600_000..=48 * 3_600_000).contains(&due), "{due}");
    let going = next["topics"]["orders"].as_u64().unwrap();
    assert!(going > 1_000 && going < 12_000, "{going}");

    let text = home.run(&["inspect", "data"]).expect(0).out;
    let line = "next to go after 48 h more of running time: ";
    assert!(text.contains(line) && text.contains(" on, with orders ("), "{text}");
}

#[test]
fn a_topic_says_how_long_its_messages_are_kept() {
    let home = Home::new();
    let flags = ["--flush", "sync", "--segment-size", "1MiB", "--sacrifice-at", "80"];
    let (server, listening) = serve(&home, &flags);
    let doubt = "warning: the oldest messages go, read or unread, from 80 percent of the disk on";
    assert!(server.said().contains(doubt), "{}", server.said());
    let namesrv = listening["namesrv"].as_str().unwrap();
    let at = ["--namesrv", namesrv];
    home.run(&[&["topic", "create", "orders", "--keep-hours", "5"], &at[..]].concat()).expect(0);
    let due_hours = |hours: u64| {
        home.write("lines", &"a line of some length\n".repeat(12_000));
        let produce = ["produce", "orders", "--file", "lines", "--batch", "100"];
        home.run(&[&produce[..], &at].concat()).expect(0);
        wait_for("the broker to look at its segments", || {
            let told = home.run(&["inspect", "data", "--json"]).json();
            let due = told["result"]["broker"]["next_removal"]["due_in_ms"].as_u64();
            due.is_some_and(|due| due.div_ceil(3_600_000) == hours)
        });
    };
    due_hours(5);
    let update = ["topic", "update", "orders", "--attributes", "+reserve.time=7"];
    home.run(&[&update[..], &at].concat()).expect(0);
    due_hours(7);
    let text = home.run(&["inspect", "data"]).out;
    assert!(text.contains("; a broker is running on it\n"), "{text}");
    drop(server);
    let text = home.run(&["inspect", "data"]).out;
    assert!(text.contains("; not closed: in use, or killed\n"), "{text}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    home.access_log();
    home.write("access-log.yaml", &ACCESS_LOG_YAML.replace("once: true", "once: false"));
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let (server, listening) = serve(&home, &[]);
        let namesrv = listening["namesrv"].as_str().unwrap();
        let run = home.start(&["run", "access-log.yaml", "--namesrv", namesrv]);
        let epoch = if signal == "TERM" { 1 } else { 2 };
        wait_for("the lease and the lines", || {
            let inspected = home.run(&["inspect", "data", "--json"]);
            let result = &inspected.json()["result"];
            result["topics"]["access"]["messages"] == 12 && result["pipelines"][0]["epoch"] == epoch
        });
        // A broker that says nothing any more keeps the run from its last commit.
        server.signal("STOP");
        run.signal(signal);
        wait_for("the answer to the signal", || run.said().contains("a second signal"));
        run.signal(signal);
        assert_eq!(run.ended().code, Some(code));
    }
}

#[test]
fn a_name_server_and_a_broker_may_be_two_processes() {
    let home = Home::new();
    home.access_log();
    let listen = ["--role", "namesrv", "--json", "--namesrv-listen", "127.0.0.1:0"];
    let mut names = home.start(&[&["server"], &listen[..]].concat());
    let listening: Value = serde_json::from_str(&names.first_line()).unwrap();
    assert_eq!(listening["broker"], Value::Null);
    let namesrv = listening["namesrv"].as_str().unwrap();
    // The port of tutorials may be somebody else's on this machine.
    let conf = "brokerName=broker-a\nlistenPort=0\nstorePathRootDir=data\n";
    home.write("broker.conf", &format!("{conf}mappedFileSizeCommitLog=1048576\n"));
    let args = ["--role", "broker", "--json", "-c", "broker.conf", "-n", namesrv];
    let mut broker = home.start(&[&["server"], &args[..]].concat());
    let listening: Value = serde_json::from_str(&broker.first_line()).unwrap();
    assert_eq!(listening["namesrv"], Value::Null);
    assert_eq!(listening["registers_with"][0], namesrv);
    let over = ["run", "access-log.yaml", "--namesrv", namesrv, "--json"];
    wait_for("the registration", || home.run(&over).code == Some(0));
    let again = home.run(&over).expect(0).json();
    assert_eq!(again["result"]["source"]["appended"], 0);
    broker.signal("TERM");
    broker.ended().expect(0);
    home.run(&over).expect(3).one_error("E-NET-01", "broker");
    names.signal("TERM");
    names.ended().expect(0);
}

#[test]
fn a_server_that_would_serve_nobody_is_refused() {
    let home = Home::new();
    let alone = home.run(&["server", "--role", "broker"]).expect(2);
    assert!(alone.err.contains("a broker alone needs a name server"), "{}", alone.err);
    home.write("broker.conf", "namesrvAddr=10.0.0.1\n");
    for args in [
        &["server", "--role", "namesrv", "-n", "127.0.0.1:9876"][..],
        &["server", "--role", "broker", "-c", "broker.conf"],
        &["server", "--role", "broker", "-n", "nowhere"],
    ] {
        home.run(args).expect(2);
    }
}

/// P12: who gives no address is on loopback, and who gives another one is warned.
#[test]
fn a_server_is_on_loopback_unless_an_address_is_given() {
    const WARNING: &str = "open to everybody who can reach it: there is no access control";
    let home = Home::new();
    // The ports of tutorials may be somebody else's on this machine; the addresses are the usual.
    let help = home.run(&["server", "--help"]).expect(0).out;
    assert!(help.contains("127.0.0.1:10911") && help.contains("127.0.0.1:9876"), "{help}");
    home.write(
        "broker.conf",
        "listenPort=0\nstorePathRootDir=conf\nmappedFileSizeCommitLog=1048576\n",
    );
    let args = ["server", "--json", "-c", "broker.conf", "--namesrv-listen", "127.0.0.1:0"];
    let mut usual = home.start(&args);
    let listening: Value = serde_json::from_str(&usual.first_line()).unwrap();
    let broker = listening["broker"].as_str().unwrap().to_owned();
    assert!(broker.starts_with("127.0.0.1:"), "{broker}");
    assert!(!usual.said().contains(WARNING), "{}", usual.said());
    let quick = home.run(&["quickstart", "--json"]).expect(0);
    assert!(!quick.err.contains(WARNING), "{}", quick.err);
    let more = ["--listen", "0.0.0.0:0", "--advertise", "127.0.0.1"];
    let args = ["server", "--json", "--data-dir", "open", "--namesrv-listen", "127.0.0.1:0"];
    let mut open = home.start(&[&args[..], &more].concat());
    open.first_line();
    assert!(open.said().contains(WARNING), "{}", open.said());
}

/// As in every tutorial with a container or several machines: clients are told an address that the
/// broker itself cannot listen on. Flags beside the file win over it.
#[test]
fn the_address_in_a_brokers_file_is_what_clients_are_told() {
    let home = Home::new();
    let usual = "listenPort=0\nstorePathRootDir=conf\nmappedFileSizeCommitLog=1048576\n";
    // An address for documents, which no machine has.
    home.write("broker.conf", &format!("{usual}brokerIP1=192.0.2.7\nfileReservedTime=48\n"));
    let args = ["server", "--json", "-c", "broker.conf", "--namesrv-listen", "127.0.0.1:0"];
    let start = |more: &[&str]| {
        let mut server = home.start(&[&args[..], more].concat());
        let listening: Value = serde_json::from_str(&server.first_line()).unwrap();
        let at = |key: &str| listening[key].as_str().unwrap().to_owned();
        let addresses = (at("broker"), at("advertised"));
        (server, addresses, listening)
    };
    let (server, (broker, advertised), _) = start(&[]);
    assert!(broker.starts_with("0.0.0.0:"), "{broker}");
    assert!(advertised.starts_with("192.0.2.7:"), "{advertised}");
    let said = server.said();
    assert!(said.contains("open to everybody who can reach it"), "{said}");
    assert!(said.contains("do not reach the name server, which listens on 127.0.0.1"), "{said}");
    drop(server);
    let flags = ["--listen", "127.0.0.1:0", "--flush", "sync", "--broker-name", "b"];
    let (server, (broker, advertised), listening) = start(&flags);
    assert!(broker.starts_with("127.0.0.1:") && advertised.starts_with("192.0.2.7:"), "{broker}");
    assert!(!server.said().contains("open to everybody"), "{}", server.said());
    assert_eq!((&listening["flush"], &listening["name"]), (&"sync".into(), &"b".into()));
    drop(server);
    let (_server, (broker, advertised), _) = start(&["--advertise", "127.0.0.1"]);
    assert!(broker.starts_with("0.0.0.0:") && advertised.starts_with("127.0.0.1:"), "{broker}");
}

/// What a file allows to be lost is told as if a flag had said it.
#[test]
fn what_a_brokers_file_allows_to_be_lost_is_told() {
    let home = Home::new();
    let usual = "listenPort=0\nstorePathRootDir=conf\nmappedFileSizeCommitLog=1048576\n";
    let more = "flushIntervalCommitLog=600000\ncleanFileForciblyEnable=true\n";
    home.write("broker.conf", &format!("{usual}{more}"));
    let args = ["server", "-c", "broker.conf", "--namesrv-listen", "127.0.0.1:0"];
    let run = |flags: &[&str]| {
        let mut server = home.start(&[&args[..], flags].concat());
        server.first_line();
        server.signal("TERM");
        server.ended().expect(0)
    };
    let ran = run(&[]);
    assert!(ran.out.contains("answered in the last 600 s (--flush"), "{}", ran.out);
    let doubt = "go, read or unread, from 85 percent of the disk on";
    assert!(ran.err.contains(doubt) && ran.err.contains("refused at 95"), "{}", ran.err);
    // A flag wins over the file.
    let ran = run(&["--sacrifice-at", "97"]);
    assert!(!ran.err.contains("read or unread"), "{}", ran.err);
}

#[test]
fn a_mistake_in_a_brokers_file_is_told_with_its_place() {
    let home = Home::new();
    let args = ["server", "-c", "broker.conf"];
    let missing = home.run(&args).expect(2);
    missing.one_error("E-FILE-01", "cannot read broker.conf: No such file");
    home.write("broker.conf", "# kept for\nfileReservedTime=0\n");
    let wrong = home.run(&args).expect(2);
    wrong.one_error("E-CONF-01", "broker.conf: line 2: `fileReservedTime` cannot be `0`");
    home.run(&["explain", "E-CONF-01"]).expect(0);
}

#[test]
fn top_writes_plain_text_to_a_pipe_and_ends_with_who_reads() {
    let home = Home::new();
    let (_server, listening) = serve(&home, &["--metrics-listen", "127.0.0.1:0"]);
    let at = listening["metrics"].as_str().unwrap();
    let port = at.trim_end_matches("/metrics").rsplit(':').next().unwrap();
    // By a name, too.
    let by_name = format!("localhost:{port}");
    let once = home.run(&["top", "--metrics", &by_name, "--once"]).expect(0);
    assert!(once.out.contains("millrace_connections "), "{}", once.out);
    home.run(&["top", "--metrics", "nowhere", "--once"]).expect(2).one_error("E-ARG-01", "nowhere");

    let (mut reader, writer) = std::io::pipe().unwrap();
    let args = ["top", "--metrics", &by_name];
    let reads = std::thread::spawn(move || {
        let mut first = [0; 256];
        std::io::Read::read_exact(&mut reader, &mut first).unwrap();
        first
    });
    home.run_into(&args, writer.into()).expect(0);
    assert!(!reads.join().unwrap().contains(&0x1b));
}
