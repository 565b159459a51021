use std::collections::BTreeMap;

use millrace_protocol::{RequestCode, ResponseCode};

use super::peer::Bare;
use super::*;
use crate::config::Limits;
use crate::handlers::{clients as client, pull, send};
use crate::{clients, complaints, locks, metrics, producers, reactor, relays, resets, traffic};

const DOCUMENT: &str = include_str!("../../../../COMPAT.md");

/// The cells of all rows of all tables.
fn tables() -> impl Iterator<Item = Vec<&'static str>> {
    let lines = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
}

#[test]
fn what_is_not_there_has_a_reason() {
    for cells in tables().filter(|cells| cells.len() == 4 && matches!(cells[2], "no" | "partly")) {
        assert!(!cells[3].is_empty(), "{} {} has none", cells[0], cells[1]);
    }
}

/// Code, name and the word in the third column of every row.
fn rows() -> BTreeMap<i32, (String, String)> {
    let mut rows = BTreeMap::new();
    for cells in tables() {
        if let Ok(code) = cells[0].parse() {
            let row = (cells[1].trim_matches('`').to_owned(), cells[2].to_owned());
            assert!(rows.insert(code, row).is_none(), "{code} has two rows");
        }
    }
    rows
}

#[test]
fn every_code_has_a_row_and_no_row_lies() {
    let rows = rows();
    for code in RequestCode::ALL {
        assert!(rows.contains_key(&code.0), "COMPAT.md has no row for {code}");
    }
    let server = start_default();
    for (&code, (name, support)) in &rows {
        assert_eq!(RequestCode(code).name(), Some(&**name), "{code}");
        // Broker and name server are one program: a code is known if one of them knows it.
        let mut peers = [server.connect(HeaderKind::Json), server.connect_namesrv()];
        let refused = peers
            .iter_mut()
            .all(|peer| peer.call(&Bare(code)).code() == ResponseCode::REQUEST_CODE_NOT_SUPPORTED);
        let expected = match support.as_str() {
            "yes" | "partly" => false,
            "no" => true,
            other => panic!("the row of {code} says {other:?}"),
        };
        assert_eq!(refused, expected, "{code} {name} is said to be supported: {support}");
    }
}

fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(number: usize) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| number.is_multiple_of(1 << bits)) {
        Some((unit, bits)) => format!("{} {unit}", number >> bits),
        None => format!("{} B", count(number)),
    }
}

fn seconds(time: std::time::Duration) -> String {
    format!("{} s", time.as_secs())
}

/// What the code says, in the order of the table.
fn limits() -> Vec<String> {
    let Limits {
        connections_max,
        frame_bytes_max,
        output_bytes_max,
        burst_bytes_max,
        requests_in_flight_max,
        held_bytes_max,
        idle,
        frame_time_max,
        send_wait_max,
        held_pulls_max,
        remembered,
        questions_max,
    } = Limits::default();
    let engine = millrace_engine::EngineConfig::default();
    let store = millrace_store::StoreConfig::default();
    let question = std::time::Duration::from_millis(reactor::QUESTION_MS_MAX);
    vec![
        bytes(frame_bytes_max),
        bytes(Limits::default().frames().header_bytes_max),
        count(millrace_protocol::FIELDS_MAX),
        count(millrace_protocol::BODY_VALUES_MAX),
        bytes(millrace_protocol::INFLATED_BYTES_MAX),
        seconds(frame_time_max),
        seconds(idle),
        count(connections_max),
        bytes(output_bytes_max),
        bytes(burst_bytes_max),
        count(requests_in_flight_max),
        bytes(held_bytes_max),
        bytes(store.unflushed_bytes_max as usize),
        bytes(store.index_bytes_max as usize),
        seconds(send_wait_max),
        bytes(engine.message_bytes_max),
        bytes(millrace_types::record::PROPERTIES_BYTES_MAX),
        count(send::BATCH_MAX),
        count(pull::MESSAGES_MAX as usize),
        bytes(pull::BYTES_MAX as usize),
        count(held_pulls_max),
        count(remembered.held_pulls_max),
        count(questions_max),
        seconds(question),
        count(relays::RELAYS_MAX),
        bytes(client::CLIENT_ID_BYTES_MAX),
        count(clients::MEMBERS_MAX),
        count(clients::SUBSCRIPTIONS_MAX),
        bytes(clients::BYTES_MAX),
        count(producers::PRODUCERS_MAX),
        count(traffic::PAIRS_MAX as usize),
        count(resets::MOVED_MAX),
        count(locks::LOCKS_MAX),
        count(millrace_engine::QUEUES_MAX as usize),
        count(remembered.queues_max),
        count(remembered.group_offsets_max),
        count(millrace_engine::TransactionConfig::default().open_max),
        count(millrace_engine::SETTINGS_MAX),
        bytes(millrace_engine::SETTING_BYTES_MAX),
        count(millrace_namesrv::RouteTable::BROKERS_MAX),
        count(millrace_namesrv::RouteTable::ENTRIES_MAX),
        count(crate::filters::FILTERS_MAX),
        bytes(crate::handlers::filters::MODULE_BYTES_MAX),
        count(reactor::TO_JUDGE_MAX),
        count(crate::dispatch::CHORES_MAX),
        bytes(metrics::REQUEST_BYTES_MAX),
        count(complaints::LINES_MAX as usize),
    ]
}

/// The sources that have tests of limits.
const TESTS: [&str; 20] = [
    include_str!("filters.rs"),
    include_str!("filters/hostile.rs"),
    include_str!("limits.rs"),
    include_str!("reactor.rs"),
    include_str!("../../clients.rs"),
    include_str!("../../complaints.rs"),
    include_str!("../../config.rs"),
    include_str!("../../locks.rs"),
    include_str!("../../producers.rs"),
    include_str!("../../reactor/tests.rs"),
    include_str!("../../relays.rs"),
    include_str!("../../resets.rs"),
    include_str!("../../traffic.rs"),
    include_str!("../../../../engine/src/tests/mod.rs"),
    include_str!("../../../../engine/src/tests/limits.rs"),
    include_str!("../../../../engine/src/tests/transactions.rs"),
    include_str!("../../../../namesrv/src/route_table/tests.rs"),
    include_str!("../../../../protocol/src/json/tree.rs"),
    include_str!("../../../../protocol/src/registration/tests.rs"),
    include_str!("../../../../store/src/tests/storage.rs"),
];

#[test]
fn every_limit_is_told_as_it_is_and_has_a_test() {
    let rows = tables().skip_while(|cells| cells[0] != "what").skip(1);
    let rows: Vec<_> = rows.take_while(|cells| cells.len() == 4).collect();
    let told: Vec<&str> = rows.iter().map(|cells| cells[1]).collect();
    assert_eq!(told, limits());
    for cells in rows {
        for name in cells[3].split(", ") {
            let test = format!("fn {}()", name.trim_matches('`'));
            assert!(TESTS.iter().any(|source| source.contains(&test)), "there is no {test}");
        }
    }
}
