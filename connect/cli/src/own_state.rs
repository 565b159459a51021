//! The broker's own state as it lies in a log: the contract, groups, holds, and what goes next.

use std::fmt::Write as _;

use millrace_server::StateInspection;
use serde_json::{Value, json};

const HOUR_MS: u64 = 3_600_000;

/// For a person.
pub(crate) fn text(state: &StateInspection) -> String {
    let mut out = String::new();
    for (key, value) in state.started_with() {
        let _ = writeln!(out, "{key:<10} {value}");
    }
    for (base, age_ms) in state.segment_ages() {
        let hours = age_ms / HOUR_MS;
        let _ = writeln!(out, "segment    {base:020} full for {hours} h of running time");
    }
    for (name, places) in state.holds() {
        let places = places.iter().map(|(topic, queue, at)| format!("{topic}/{queue} from {at}"));
        let _ = writeln!(out, "hold       {name}: {}", places.collect::<Vec<_>>().join(", "));
    }
    for loss in state.losses() {
        let (topic, queue, from, to) = (&loss.topic, loss.queue, loss.from, loss.to);
        let _ = writeln!(out, "lost       {topic}/{queue} {from} to {to}, unread by {}", loss.hold);
    }
    for (group, topic, queue, offset) in state.offsets() {
        let _ = writeln!(out, "group      {group} at {topic}/{queue} {offset}");
    }
    out
}

/// For a program.
pub(crate) fn result(state: &StateInspection) -> Value {
    let started: serde_json::Map<String, Value> =
        state.started_with().map(|(key, value)| (key.to_owned(), json!(value))).collect();
    let ages: Vec<Value> =
        state.segment_ages().map(|(base, ms)| json!({"base": base, "full_for_ms": ms})).collect();
    let holds: Vec<Value> = state
        .holds()
        .map(|(name, places)| {
            let places = places
                .iter()
                .map(|(topic, queue, at)| json!({"topic": topic, "queue": queue, "from": at}));
            json!({"hold": name, "places": places.collect::<Vec<_>>()})
        })
        .collect();
    let groups: Vec<Value> = state
        .offsets()
        .map(|(group, topic, queue, offset)| {
            json!({"group": group, "topic": topic, "queue": queue, "offset": offset})
        })
        .collect();
    let lost: Vec<Value> = state.losses().map(|loss| json!(loss)).collect();
    json!({"started_with": started, "full_segments": ages, "holds": holds, "groups": groups,
        "lost_unread": lost})
}
