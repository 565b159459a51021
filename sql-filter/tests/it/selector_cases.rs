//! The selector cases that other projects' suites and Apache RocketMQ itself decided.
//!
//! The file lies outside the repository: `MILLRACE_SHARED` names the folder that holds
//! `data/selector-cases.jsonl`. Without the file these tests only say that they were skipped.

use std::collections::BTreeSet;
use std::path::PathBuf;

use millrace_sql_filter::{Dialect, Value};
use serde_json::Value as Json;

use crate::row::{Fate, fate};

struct Case(Json);

impl Case {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn fate(&self, key: &str) -> Option<Fate> {
        match self.0.get(key)? {
            Json::Bool(value) => Some(Fate::from(*value)),
            Json::String(text) if text == "unknown" => Some(Fate::Unknown),
            Json::String(text) if text == "error" => Some(Fate::Failed),
            other => panic!("{key} is {other}"),
        }
    }

    fn properties(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0["props"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// The values with the types they have in the suite.
    fn typed(&self) -> Vec<(&str, Value<'_>)> {
        let value = |json: &'_ Json| match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(int) => Value::Int(int),
                None => Value::Double(number.as_f64().expect("JSON numbers are doubles")),
            },
            other => Value::Text(other.as_str().expect("a scalar").to_owned().into()),
        };
        self.properties().map(|(name, json)| (name, value(json))).collect()
    }

    /// The values as a broker holds them: all texts.
    fn as_texts(&self) -> Vec<(&str, Value<'_>)> {
        let text = |value: Value<'_>| match value {
            Value::Null => Value::Null,
            other => Value::Text(other.to_string().into()),
        };
        self.typed().into_iter().map(|(name, value)| (name, text(value))).collect()
    }
}

fn cases(test: &str) -> Vec<Case> {
    let folder = std::env::var_os("MILLRACE_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let Ok(lines) = std::fs::read_to_string(folder.join("data/selector-cases.jsonl")) else {
        eprintln!("skipped {test}: there is no selector-cases.jsonl");
        return Vec::new();
    };
    lines
        .lines()
        .map(|line| Case(serde_json::from_str(line).expect("each line is a JSON object")))
        .collect()
}

#[test]
fn rocketmq_accepts_and_answers_as_recorded() {
    for case in cases("rocketmq_accepts_and_answers_as_recorded") {
        let sql = case.text("expr");
        let fate_here = fate(sql, Dialect::RocketMq, &case.as_texts());
        let accepts = case.0["rocketmq_accepts"].as_bool().expect("recorded for every case");
        assert_eq!(fate_here != Fate::Refused, accepts, "{sql:?}");
        if accepts {
            assert_eq!(Some(fate_here), case.fate("rocketmq_result"), "{}", case.0);
        }
    }
}

/// What RocketMQ's module answers where the embedding hands it typed values, as its own tests do.
#[test]
fn rocketmq_answers_typed_values_as_recorded() {
    for case in cases("rocketmq_answers_typed_values_as_recorded") {
        let Some(expected) = case.fate("rocketmq_result_typed") else {
            continue;
        };
        let fate_here = fate(case.text("expr"), Dialect::RocketMq, &case.typed());
        assert_eq!(fate_here, expected, "{}", case.0);
    }
}

/// Whether the strict dialect does what a suite expects. A suite that asks only for "matches"
/// does not tell FALSE, unknown and an evaluation error apart.
fn agrees(case: &Case) -> bool {
    let fate_here = fate(case.text("expr"), Dialect::Strict, &case.typed());
    let expected = case.fate("tri").or(case.fate("expect"));
    match (case.text("mode"), expected) {
        ("parse", Some(Fate::Failed)) => fate_here == Fate::Refused,
        ("match", Some(Fate::False)) if case.fate("tri").is_none() => {
            matches!(fate_here, Fate::False | Fate::Unknown | Fate::Failed)
        }
        (_, Some(expected)) => fate_here == expected,
        (_, None) => panic!("no expectation in {}", case.0),
    }
}

#[test]
fn strict_agrees_with_the_suites_but_for_the_listed_deviations() {
    let cases = cases("strict_agrees_with_the_suites_but_for_the_listed_deviations");
    if cases.is_empty() {
        return;
    }
    let judged = cases
        .iter()
        .filter(|case| case.text("dialect") == "jms" && case.text("class") != "contested");
    let deviating: BTreeSet<(String, String)> = judged
        .filter(|case| !agrees(case))
        .map(|case| (case.text("expr").to_owned(), case.0["props"].to_string()))
        .collect();
    assert_eq!(deviating, listed_deviations());
}

/// The first two columns of the README's table: expression and properties, both as code.
fn listed_deviations() -> BTreeSet<(String, String)> {
    let readme = include_str!("../../README.md");
    let (_, section) = readme.split_once("## Deviations").expect("the README lists deviations");
    let table = section.split("\n## ").next().unwrap_or_default();
    let code = |cell: &str| cell.trim().trim_matches('`').to_owned();
    table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| {
            let mut cells = line.trim_matches('|').split(" | ");
            let mut next = || code(cells.next().expect("every row has two cells"));
            (next(), next())
        })
        .collect()
}
