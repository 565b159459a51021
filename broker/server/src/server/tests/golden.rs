//! Our answers beside those of Apache RocketMQ 5.4.0 to the same requests.
//!
//! `tests/golden/*.frames` holds what clients and Apache's broker said to each other. Each file is
//! played to a fresh server, request by request, and what differs has to be listed here.

use std::collections::{BTreeMap, BTreeSet};

use millrace_protocol::{
    Frame, FrameWriter, Head, Header, Language, Limits, ResponseCode, Split, VERSION,
};
use millrace_types::record::{self, Record};
use serde_json::Value;

use super::*;
use crate::server::tests::peer::Received;

const FILES: [&str; 4] = ["java-4.9.8", "java-5.4.0", "java-5.4.0-binary", "go-2.1.2"];

/// One line of a file: a request, and the answer to it.
struct Exchange {
    to_broker: bool,
    request: Vec<u8>,
    answer: Option<Vec<u8>>,
}

/// What differs between our answers and Apache's, by the request's code. Versions and languages
/// differ everywhere.
const DIFFERENCES: [&str; 15] = [
    // A route names both spellings of one flag, for clients that know only the old one, and quotes
    // numbers that are keys, which every client reads.
    "105 body.queueDatas[].topicSynFlag added",
    "105 numbers as keys bare: false, not true",
    // The second line is a link to Apache's questions and answers.
    "105 remark without its second line",
    // The broker adds none of these to a message.
    "11 property CLUSTER left out",
    "11 property MSG_REGION left out",
    "11 property TRACE_ON left out",
    // But an id, where a client made none: Go does not for the messages of a batch.
    "11 property UNIQ_KEY added",
    // Message ids are addresses in the log.
    "310 field msgId differs",
    "320 field msgId differs",
    "10 field msgId differs",
    // Traces of messages are not asked for.
    "310 field TRACE_ON differs",
    "320 field TRACE_ON differs",
    "10 field TRACE_ON differs",
    "320 field transactionId left out",
    // Full heartbeats only.
    "34 field IS_SUPPORT_HEART_BEAT_V2 differs",
];

/// Differences that were found, as `<code> <what>`.
type Differences = BTreeSet<String>;

fn exchanges(file: &str) -> (String, Vec<Exchange>) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/");
    let text = std::fs::read_to_string(format!("{folder}{file}.frames")).unwrap();
    let (title, lines) = text.split_once('\n').unwrap();
    let address = title.rsplit(' ').next().unwrap().to_owned();
    let exchange = |line: &str| {
        let [from, to, _code, request, answer] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        (from == "client").then(|| Exchange {
            to_broker: to == "broker",
            request: bytes(request),
            answer: (answer != "-").then(|| bytes(answer)),
        })
    };
    (address, lines.lines().filter_map(exchange).collect())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    match Frame::split(bytes, &Limits::default()).unwrap() {
        Split::Frame(frame, len) if len == bytes.len() => frame,
        _ => panic!("not one whole frame"),
    }
}

/// Plays a file; gives back what differs, and how many answers were compared.
fn play(file: &str) -> (Differences, usize) {
    let (address, exchanges) = exchanges(file);
    let server = start(ServerConfig { broker_name: "broker-a".into(), ..config() });
    let kind = frame(&exchanges[0].request).header_kind;
    let mut broker = server.connect(kind);
    let mut names = server.connect_namesrv();
    let ours = server.addresses().broker.unwrap().to_string();
    let (mut differences, mut compared) = (Differences::new(), 0);
    for Exchange { to_broker, request, answer } in exchanges {
        let head = frame(&request).header().unwrap();
        // A pull that was still held when its client left.
        if answer.is_none() && !head.is_oneway() {
            continue;
        }
        let peer = if to_broker { &mut broker } else { &mut names };
        peer.write(&request);
        let Some(answer) = answer else {
            continue;
        };
        let received = loop {
            let received = peer.receive();
            // The broker says on its own that members came and went.
            if received.header().is_response() {
                break received;
            }
        };
        let mut note = |what: String| {
            differences.insert(format!("{} {what}", head.code));
        };
        compare(&received, &answer, (&ours, &address), &mut note);
        compared += 1;
    }
    (differences, compared)
}

fn compare(ours: &Received, theirs: &[u8], hosts: (&str, &str), note: &mut impl FnMut(String)) {
    let theirs = frame(theirs);
    let (our_head, their_head) = (ours.header(), theirs.header().unwrap());
    if their_head.response_code() == ResponseCode::FILTER_DATA_NOT_EXIST {
        // The pull overtook the heartbeat whose condition Apache was still compiling.
        return;
    }
    let shape = |head: &Header<'_>| (head.kind, head.code, head.flag, head.opaque);
    if shape(&our_head) != shape(&their_head) {
        note(format!("{:?}, not {:?}", shape(&our_head), shape(&their_head)));
    }
    assert_eq!((our_head.language, our_head.version), (Language::RUST, VERSION));
    if our_head.remark.is_empty() != their_head.remark.is_empty() {
        note(format!("remark {:?}, not {:?}", our_head.remark, their_head.remark));
    } else if their_head.remark.starts_with(&*our_head.remark) {
        if our_head.remark.len() < their_head.remark.len() {
            note("remark without its second line".into());
        }
    } else {
        note(format!("remark {:?}, not {:?}", our_head.remark, their_head.remark));
    }
    compare_fields(&our_head, &their_head, note);
    let (our_body, their_body) = (ours.body(), theirs.body);
    if our_body.is_empty() != their_body.is_empty() {
        note(format!("a body of {} bytes, not of {}", our_body.len(), their_body.len()));
    } else if our_body.starts_with(b"{") {
        let [ours, theirs] = [our_body, their_body].map(|body| std::str::from_utf8(body).unwrap());
        let (ours, theirs) = (json(&ours.replace(hosts.0, hosts.1)), json(theirs));
        if ours.1 != theirs.1 {
            note(format!("numbers as keys bare: {}, not {}", ours.1, theirs.1));
        }
        compare_json("", &ours.0, &theirs.0, note);
    } else {
        compare_records(our_body, their_body, note);
    }
}

/// A body, and whether numbers stand as keys without quotes, as some clients need.
fn json(text: &str) -> (Value, bool) {
    let quoted = text.replace("{0:", "{\"0\":");
    (serde_json::from_str(&quoted).unwrap(), quoted != text)
}

fn pairs(header: &Header<'_>) -> Vec<(String, String)> {
    let pair = |(name, text): (&[u8], millrace_protocol::FieldText<'_>)| {
        (String::from_utf8(name.to_vec()).unwrap(), text.text().unwrap().into_owned())
    };
    header.fields.iter().map(Result::unwrap).map(pair).collect()
}

/// Names and values; in binary headers their order, too, so that what is equal is so in bytes.
fn compare_fields(ours: &Header<'_>, theirs: &Header<'_>, note: &mut impl FnMut(String)) {
    let kind = ours.kind;
    let [ours, theirs] = [ours, theirs].map(pairs);
    let maps = [&ours, &theirs].map(|pairs| BTreeMap::from_iter(pairs.iter().cloned()));
    compare_maps("field", &maps[0], &maps[1], note);
    let shared = |pairs: &[(String, String)], other: &BTreeMap<String, String>| -> Vec<String> {
        pairs.iter().map(|(name, _)| name.clone()).filter(|name| other.contains_key(name)).collect()
    };
    let orders = (shared(&ours, &maps[1]), shared(&theirs, &maps[0]));
    if kind == HeaderKind::Binary && orders.0 != orders.1 {
        note(format!("fields in the order {:?}, not {:?}", orders.0, orders.1));
    }
}

fn compare_maps(
    what: &str,
    ours: &BTreeMap<String, String>,
    theirs: &BTreeMap<String, String>,
    note: &mut impl FnMut(String),
) {
    for (name, our) in ours {
        match theirs.get(name) {
            None => note(format!("{what} {name} added")),
            Some(their) if their != our => note(format!("{what} {name} differs")),
            Some(_) => {}
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        note(format!("{what} {name} left out"));
    }
}

fn compare_json(at: &str, ours: &Value, theirs: &Value, note: &mut impl FnMut(String)) {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, our) in ours {
                match theirs.get(key) {
                    Some(their) => compare_json(&format!("{at}.{key}"), our, their, note),
                    None => note(format!("body{at}.{key} added")),
                }
            }
            for key in theirs.keys().filter(|key| !ours.contains_key(*key)) {
                note(format!("body{at}.{key} left out"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (our, their) in ours.iter().zip(theirs) {
                compare_json(&format!("{at}[]"), our, their, note);
            }
        }
        _ if ours != theirs => note(format!("body{at} {ours}, not {theirs}")),
        _ => {}
    }
}

/// Everything in the records but where and when they were stored, and from which port.
fn compare_records(ours: &[u8], theirs: &[u8], note: &mut impl FnMut(String)) {
    let [ours, theirs] = [ours, theirs].map(|body| record::iter(body).collect::<Vec<_>>());
    if ours.len() != theirs.len() {
        note(format!("{} records, not {}", ours.len(), theirs.len()));
    }
    for (our, their) in ours.iter().zip(&theirs) {
        let (our, their) = (our.as_ref().unwrap(), their.as_ref().unwrap());
        for (what, field) in RECORD_FIELDS {
            if field(our) != field(their) {
                note(format!("record's {what} differs"));
            }
        }
        compare_maps("property", &properties(our), &properties(their), note);
    }
}

type RecordField = for<'a> fn(&Record<'a>) -> String;

const RECORD_FIELDS: [(&str, RecordField); 10] = [
    ("queue", |record| record.queue_id().0.to_string()),
    ("flag", |record| record.flag().to_string()),
    ("queue offset", |record| record.queue_offset().0.to_string()),
    ("system flag", |record| record.sys_flag().to_string()),
    ("time of birth", |record| record.born_at_ms().to_string()),
    ("host of birth", |record| record.born_host().ip().to_string()),
    ("failures", |record| record.reconsume_times().to_string()),
    ("half message", |record| record.prepared_offset().0.to_string()),
    ("body", |record| String::from_utf8_lossy(record.body()).into_owned()),
    ("topic", |record| record.topic().to_owned()),
];

fn properties(record: &Record<'_>) -> BTreeMap<String, String> {
    let text = std::str::from_utf8(record.properties().as_bytes()).unwrap();
    let pair = |pair: &str| pair.split_once('\u{1}').map(|(k, v)| (k.to_owned(), v.to_owned()));
    text.split('\u{2}').filter_map(pair).collect()
}

#[test]
fn we_answer_as_apache_does_but_for_what_is_listed() {
    let mut differences = Differences::new();
    for file in FILES {
        let (found, compared) = play(file);
        assert!(compared >= 30, "{file}: {compared}");
        differences.extend(found);
    }
    assert_eq!(differences, DIFFERENCES.map(str::to_owned).into());
}

#[test]
fn binary_headers_are_written_as_apache_writes_them() {
    let mut headers = 0;
    for Exchange { request, answer, .. } in exchanges("java-5.4.0-binary").1 {
        for bytes in [Some(request), answer].into_iter().flatten() {
            let theirs = frame(&bytes);
            let header = theirs.header().unwrap();
            // A name server that was asked in JSON answers in JSON.
            if theirs.header_kind == HeaderKind::Binary {
                assert_eq!(written_again(&header, theirs.body), bytes);
                headers += 1;
            }
        }
    }
    assert!(headers >= 80, "{headers}");
}

/// The frame with everything that its header says, as our writer writes it.
fn written_again(header: &Header<'_>, body: &[u8]) -> Vec<u8> {
    let Header { kind, code, language, version, opaque, flag, ref remark, .. } = *header;
    let head = Head { kind, code, language, version, opaque, flag, remark };
    let mut out = Vec::new();
    let mut again = FrameWriter::begin(&mut out, &head, |to| {
        pairs(header).iter().for_each(|(name, value)| to.text(name, value));
    });
    again.out().extend_from_slice(body);
    again.finish();
    out
}

#[test]
fn what_apache_stored_is_stored_the_same() {
    let mut records = 0;
    for file in FILES {
        for answer in exchanges(file).1.iter().filter_map(|exchange| exchange.answer.as_ref()) {
            let body = frame(answer).body;
            if body.is_empty() || body.starts_with(b"{") {
                continue;
            }
            for record in record::iter(body).map(Result::unwrap) {
                assert_eq!(stored_again(&record), closed(&record));
                records += 1;
            }
        }
    }
    assert!(records >= 30, "{records}");
}

/// The record as Apache wrote it, with a separator after the last property: some clients leave it
/// out, and another property of ours follows.
fn closed(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = record.as_bytes().to_vec();
    if !bytes.ends_with(b"\x02") {
        let properties = record.properties_range();
        bytes.push(2);
        let len = u16::try_from(properties.len() + 1).unwrap();
        bytes[properties.start - 2..properties.start].copy_from_slice(&len.to_be_bytes());
        let len = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&len.to_be_bytes());
    }
    bytes
}

/// What a client gets of a record that our log keeps with everything that this one says.
fn stored_again(record: &Record<'_>) -> Vec<u8> {
    let draft = record::Draft {
        topic: record.topic(),
        queue_id: record.queue_id(),
        flag: record.flag(),
        sys_flag: record.sys_flag(),
        born_at_ms: record.born_at_ms(),
        born_host: record.born_host(),
        reconsume_times: record.reconsume_times(),
        prepared_offset: record.prepared_offset(),
        body: record.body(),
        properties: record.properties().as_bytes(),
    };
    let stamp = record::Stamp {
        queue_offset: record.queue_offset(),
        physical_offset: record.physical_offset(),
        store_at_ms: record.store_at_ms(),
        store_host: record.store_host(),
        more: false,
    };
    let (mut stored, mut shown) = (Vec::new(), Vec::new());
    record::encode(&draft, &stamp, &mut stored);
    let stored = Record::parse(&stored).unwrap();
    stored.verify_whole().unwrap();
    stored.write_for_client(&mut shown);
    shown
}
