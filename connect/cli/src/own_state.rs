//! The broker's own state as it lies in a log: the contract, groups, holds, and what goes next.

use std::fmt::Write as _;

use millrace_server::{NextRemoval, StateInspection};
use serde_json::{Value, json};

use crate::figures::counted;

const HOUR_MS: u64 = 3_600_000;

/// For a person.
pub(crate) fn text(state: &StateInspection, next: Option<&NextRemoval>) -> String {
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
    if let Some(next) = next {
        write_removal(&mut out, next);
    }
    out
}

fn write_removal(out: &mut String, next: &NextRemoval) {
    let hours = |ms: u64| ms.div_ceil(HOUR_MS);
    let when = match next.due_in_ms {
        0 => "now".to_owned(),
        ms => format!("after {} h more of running time", hours(ms)),
    };
    let first = next.segments.first().map_or(0, |base| base.0);
    let topics = next.topics.iter().map(|(topic, messages)| format!("{topic} ({messages})"));
    let topics = topics.collect::<Vec<_>>().join(", ");
    let segments = counted(next.segments.len() as u64, "segment");
    let what = if topics.is_empty() { "no messages".to_owned() } else { topics };
    let _ = writeln!(out, "next to go {when}: {segments} from {first:020} on, with {what}");
    for loss in next.held_by.iter().flat_map(|hold| &hold.loses) {
        let (topic, queue, from, to) = (&loss.topic, loss.queue, loss.from, loss.to);
        let _ = writeln!(
            out,
            "held by    {}, which needs {topic}/{queue} {from} to {to}, for {} h more at most",
            loss.hold,
            hours(next.held_for_ms)
        );
    }
}

/// For a program.
pub(crate) fn result(state: &StateInspection, next: Option<&NextRemoval>) -> Value {
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
    let next = next.map(|next| {
        let segments: Vec<u64> = next.segments.iter().map(|base| base.0).collect();
        let held_by = next.held_by.iter().flat_map(|hold| &hold.loses).collect::<Vec<_>>();
        json!({"segments": segments, "due_in_ms": next.due_in_ms, "topics": next.topics,
            "held_by": held_by, "held_for_ms": next.held_for_ms})
    });
    json!({"next_removal": next, "started_with": started, "full_segments": ages, "holds": holds, "groups": groups,
        "lost_unread": lost})
}
