//! Data directories that lack what a start needs: refused by the file's name, and gone on with by
//! `--repair`, which says before what is lost.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::rig::{Home, Ran, Started, serve, wait_for};

const FLAGS: [&str; 4] = ["--flush", "sync", "--segment-size", "1MiB"];
const LINES: usize = 3_000;

/// A directory with three full segments of messages, whose server was killed.
fn killed(home: &Home) {
    let (server, listening) = serve(home, &FLAGS);
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    home.run(&["topic", "create", "orders", "--queues", "2", "--namesrv", &namesrv]).expect(0);
    let lines: String = (0..LINES).map(|n| format!("{n:01000}\n")).collect();
    home.write("lines", &lines);
    produce(home, &namesrv, "lines");
    // Dropping it is a SIGKILL.
    drop(server);
}

fn produce(home: &Home, namesrv: &str, file: &str) {
    let args = ["produce", "orders", "--file", file, "--batch", "50", "--namesrv", namesrv];
    home.run(&args).expect(0);
}

/// Waits until a server has said something, which may be after it has told where it listens.
fn says(server: &Started, part: &str) {
    wait_for(part, || server.said().contains(part));
}

/// Starts a server that does not come up.
fn refused(home: &Home) -> Ran {
    let ports = ["--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"];
    home.run(&[&["server", "--data-dir", "data"], &ports[..], &FLAGS].concat()).expect(3)
}

/// The messages of the topic that a consumer is given, as numbers.
fn consumed(home: &Home, namesrv: &str) -> Vec<usize> {
    let out = home.run(&["consume", "orders", "--namesrv", namesrv]).expect(0).out;
    let mut numbers: Vec<usize> = out.lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn segment(home: &Home, number: u64) -> PathBuf {
    home.path(&format!("data/commitlog/{:020}", number << 20))
}

/// Flips a bit in the last place of a file of the log where these bytes are.
fn flip(path: &PathBuf, bytes: &[u8]) {
    let mut content = fs::read(path).unwrap();
    let at = content.windows(bytes.len()).rposition(|window| window == bytes).unwrap();
    content[at] ^= 1;
    fs::write(path, content).unwrap();
}

#[test]
fn s15_a_missing_segment_is_named_and_repair_goes_on_without_it() {
    for missing in [0, 1] {
        let home = Home::new();
        killed(&home);
        let file = segment(&home, missing);
        fs::remove_file(&file).unwrap();
        // Without a snapshot of the state, the first segment has what a start needs, too.
        refused(&home).one_error("E-DATA-05", &format!("{:020} is missing", missing << 20));
        refused(&home).one_error("E-DATA-05", "is missing");
        assert!(!file.exists(), "a refused start changes nothing");

        let (server, listening) = serve(&home, &[&FLAGS[..], &["--repair"]].concat());
        let (from, to) = (missing << 20, (missing + 1) << 20);
        let lost = format!("is missing; the messages at physical offsets {from} to {to} are lost");
        says(&server, &lost);
        says(&server, "lost: orders/0 from ");
        let namesrv = listening["namesrv"].as_str().unwrap();
        let left = consumed(&home, namesrv);
        assert!((LINES / 2..LINES).contains(&left.len()), "{}", left.len());
        assert_eq!(left.last(), Some(&(LINES - 1)), "what follows is served");
        home.write("more", &format!("{LINES}\n"));
        produce(&home, namesrv, "more");
        assert_eq!(consumed(&home, namesrv).len(), left.len() + 1);
        server.signal("TERM");
        server.ended().expect(0);
        // Once is enough.
        let (_server, listening) = serve(&home, &FLAGS);
        assert_eq!(listening["recovered"]["clean"], true);
    }
}

#[test]
fn s15_lost_state_is_named_and_repair_goes_on_with_what_is_left() {
    let home = Home::new();
    killed(&home);
    // The record of the topic, of which there is no copy.
    flip(&segment(&home, 0), br#""orders""#);
    let _ = fs::remove_dir_all(home.path("data/state"));
    let _ = fs::remove_dir_all(home.path("data/index"));
    let ran = refused(&home);
    ran.one_error("E-DATA-05", "MILLRACE_META/0");
    assert!(ran.err.contains("commitlog/00000000000000000000"), "{}", ran.err);
    assert!(ran.err.contains("--repair"), "{}", ran.err);

    let (server, listening) = serve(&home, &[&FLAGS[..], &["--repair"]].concat());
    let said = server.said();
    let before = said.find("repair: ").unwrap_or_else(|| panic!("{said}"));
    assert!(said[before..].contains("MILLRACE_META/0") && said.contains("going on"), "{said}");
    let namesrv = listening["namesrv"].as_str().unwrap();
    assert_eq!(consumed(&home, namesrv).len(), LINES, "no message is concerned");
    drop(server);
    let (_server, listening) = serve(&home, &FLAGS);
    assert_eq!(listening["event"], "listening", "what is left was written again");
}

/// Damage that shows only when somebody reads: the index covers all of the log after a clean close.
#[test]
fn s6_damage_in_the_middle_is_passed_over_by_consumers_and_stops_a_pipeline() {
    let home = Home::new();
    let flags = [&FLAGS[..], &["--metrics-listen", "127.0.0.1:0"]].concat();
    let (server, listening) = serve(&home, &flags);
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    home.run(&["topic", "create", "orders", "--queues", "1", "--namesrv", &namesrv]).expect(0);
    let line = |n: usize| format!(r#"{{"n":{n},"padding":"{n:0980}"}}"#);
    home.write("lines", &(0..LINES).map(|n| line(n) + "\n").collect::<String>());
    produce(&home, &namesrv, "lines");
    server.signal("TERM");
    server.ended().expect(0);
    let damaged = [LINES / 2, LINES / 2 + 1, LINES - 2];
    for (n, segment_no) in damaged.iter().zip([1, 1, 3]) {
        flip(&segment(&home, segment_no), line(*n).as_bytes());
    }

    let (server, listening) = serve(&home, &flags);
    assert_eq!(listening["recovered"]["damaged"], 0, "nobody has read it yet");
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    let whole: Vec<String> = (0..LINES).filter(|n| !damaged.contains(n)).map(line).collect();
    let consumed = |namesrv: &str| {
        let ran = home.run(&["consume", "orders", "--namesrv", namesrv]).expect(0);
        ran.out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(consumed(&namesrv), whole);
    }
    let group = ["consume", "orders", "--group", "g", "--count", "2997", "--namesrv", &namesrv];
    assert_eq!(home.run(&group).expect(0).out.lines().count(), whole.len());
    let said = server.said();
    for n in damaged {
        let place = format!("topic=\"orders\" queue_id=0 queue_offset={n} ");
        assert_eq!(said.matches(&place).count(), 1, "{place} in {said}");
    }
    assert!(said.contains("is damaged and lost; what follows it is served"), "{said}");
    let metrics = metrics(listening["metrics"].as_str().unwrap());
    assert!(metrics.contains("\nmillrace_damaged_messages_total 3\n"), "{metrics}");

    home.write("orders.yaml", ORDERS);
    let run = ["run", "orders.yaml", "--once", "--namesrv", &namesrv];
    for _ in 0..2 {
        let ran = home.run(&run).expect(1);
        ran.one_error("E-DATA-04", "millrace/orders/0 offset 1500 up to 1502");
        assert!(ran.err.contains("--skip-lost"), "{}", ran.err);
    }
    let went_on = home.run(&[&run[..], &["--skip-lost"]].concat()).expect(0);
    assert!(went_on.err.contains("messages are lost to damage"), "{}", went_on.err);
    let told = format!("{}{}", went_on.out, went_on.err);
    assert!(told.contains(", passed over 3 lost, wrote "), "{told}");
    home.run(&run).expect(0);

    // The same once a start has found it: a gap is a gap.
    server.signal("TERM");
    server.ended().expect(0);
    let (server, listening) = serve(&home, &[&FLAGS[..], &["--repair"]].concat());
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    says(&server, "lost: orders/0 from 1500 to 1502");
    assert_eq!(consumed(&namesrv), whole);
    home.write("again.yaml", &ORDERS.replace("pipeline: orders", "pipeline: again"));
    let again = ["run", "again.yaml", "--once", "--namesrv", &namesrv];
    home.run(&again).expect(1).one_error("E-DATA-04", "millrace/orders/0 offset 1500 up to 1502");
    home.run(&[&again[..], &["--skip-lost"]].concat()).expect(0);
}

const ORDERS: &str = "version: 1\npipeline: orders\ntopic: orders\nschema: {n: int}\n\
                      sinks: {out: {blackhole: {}}}\n";

/// What Prometheus is told.
fn metrics(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_last_message_that_damage_took_is_told_and_its_offset_is_not_given_again() {
    let home = Home::new();
    killed(&home);
    let last = format!("{:01000}", LINES - 1);
    flip(&segment(&home, 3), last.as_bytes());
    let (server, listening) = serve(&home, &FLAGS);
    assert_eq!(listening["recovered"]["damaged"], 1);
    says(&server, "lost, perhaps: orders/");
    let namesrv = listening["namesrv"].as_str().unwrap();
    assert_eq!(consumed(&home, namesrv), (0..LINES - 1).collect::<Vec<_>>());
    let ends = |home: &Home| -> Value {
        let args = ["topic", "status", "orders", "--json", "--namesrv", namesrv];
        home.run(&args).expect(0).json()["result"]["queues"].clone()
    };
    let before = ends(&home);
    home.write("more", "4000\n4001\n");
    produce(&home, namesrv, "more");
    assert_eq!(consumed(&home, namesrv).last(), Some(&4001));
    assert_ne!(ends(&home), before);
}

#[test]
fn a_segment_cut_short_is_repaired_in_its_place_and_its_losses_are_told_before() {
    let home = Home::new();
    killed(&home);
    let names = || -> Vec<_> {
        let entries = fs::read_dir(home.path("data/commitlog")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let file = segment(&home, 1);
    fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(500_000).unwrap();
    refused(&home).one_error("E-DATA-05", "was cut short");
    let (server, listening) = serve(&home, &[&FLAGS[..], &["--repair"]].concat());
    let cut = format!("{:020} was cut short; the messages at physical offsets ", 1 << 20);
    says(&server, &cut);
    let said = server.said();
    let named = said.find("repair: lost: orders/0 from ").unwrap_or_else(|| panic!("{said}"));
    assert!(said.find(&cut).unwrap() < named, "{said}");
    assert!(!said.contains("is missing"), "{said}");
    let all = said.split("repair: lost: ").find(|line| line.contains("in all")).unwrap();
    let all: usize = all.replace(',', "").split(' ').next().unwrap().parse().unwrap();
    assert_eq!(consumed(&home, listening["namesrv"].as_str().unwrap()).len(), LINES - all);
    assert_eq!(names(), before, "no file is made up");
}

#[test]
fn a_missing_format_is_repaired_and_another_one_is_not_promised_to_be() {
    let home = Home::new();
    killed(&home);
    let format = home.path("data/format");
    let line = fs::read_to_string(&format).unwrap();
    fs::write(&format, "millrace-store 99\n").unwrap();
    let ran = refused(&home);
    ran.one_error("E-DATA-02", "millrace-store 99");
    assert!(!ran.err.contains("--repair"), "{}", ran.err);

    fs::remove_file(&format).unwrap();
    let ran = refused(&home);
    assert!(ran.err.contains("--repair") && !format.exists(), "{}", ran.err);
    let (server, listening) = serve(&home, &[&FLAGS[..], &["--repair"]].concat());
    says(&server, "format was missing and is written again");
    assert_eq!(fs::read_to_string(&format).unwrap(), line);
    assert_eq!(consumed(&home, listening["namesrv"].as_str().unwrap()).len(), LINES);
}

#[test]
fn whole_records_that_a_start_cuts_off_are_told_and_read_again() {
    let home = Home::new();
    let (server, listening) = serve(&home, &FLAGS);
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    home.run(&["topic", "create", "orders", "--queues", "2", "--namesrv", &namesrv]).expect(0);
    // As a power cut may leave it: older than what was answered since.
    let checkpoint = fs::read(home.path("data/checkpoint")).unwrap();
    let lines: String = (0..100).map(|n| format!("{n:01000}\n")).collect();
    home.write("lines", &lines);
    produce(&home, &namesrv, "lines");
    drop(server);
    fs::write(home.path("data/checkpoint"), checkpoint).unwrap();
    let bad = format!("{:01000}", 50);
    flip(&segment(&home, 0), bad.as_bytes());

    let (server, listening) = serve(&home, &FLAGS);
    let torn = &listening["recovered"]["torn"];
    let queues = torn["queues"].as_array().unwrap();
    let told = |queue: &Value| (queue["topic"] == "orders").then(|| queue["messages"].as_u64());
    let messages: u64 = queues.iter().filter_map(told).flatten().sum();
    assert!(messages > 0 && torn["records"].as_u64().unwrap() >= messages, "{torn}");
    says(&server, "may have been answered; `millrace inspect ");
    assert!(!server.said().contains("never promised"), "{}", server.said());
    server.signal("TERM");
    server.ended().expect(0);

    let left = home.run(&["inspect", "data"]).expect(0).out;
    assert!(left.contains("healthy") && left.contains("have cut off the end"), "{left}");
    let copy = torn["copy"].as_str().unwrap();
    assert!(left.contains(copy), "{left}");
    let read = home.run(&["inspect", copy, "--json", "--salvage", "back.jsonl"]).expect(4).json();
    assert_eq!(read["result"]["topics"]["orders"]["messages"], messages);
    let back = fs::read_to_string(home.path("back.jsonl")).unwrap();
    assert!(back.contains(&format!("{:01000}", 99)) && !back.contains(&bad), "{}", back.len());
    let ran = home.run(&["inspect", "data/torn"]).expect(2);
    assert!(ran.err.contains("did you mean data/torn/0"), "{}", ran.err);
}
