//! Of two mistakes neither hides the other, and they make no third.

use std::collections::BTreeSet;

use super::{EVERYTHING, parse};
use crate::keys;
use crate::table::{Components, Kind, Table};

/// A part of a text, and what takes its place.
#[derive(Clone, Debug)]
struct Mutation {
    at: usize,
    len: usize,
    new: String,
    /// The codes of what is wrong then.
    codes: &'static [&'static str],
    /// Parts of the text in which mistakes cannot be told any longer.
    hides: &'static [&'static str],
}

/// A code, and where in the text before the mutations.
type Finding = (&'static str, usize, usize);

fn mutated(text: &str, mutations: &[&Mutation]) -> Vec<Finding> {
    let mut sorted = mutations.to_vec();
    sorted.sort_by_key(|mutation| mutation.at);
    let mut new = text.to_owned();
    for mutation in sorted.iter().rev() {
        new.replace_range(mutation.at..mutation.at + mutation.len, &mutation.new);
    }
    let Err(report) = parse(&new) else { return Vec::new() };
    assert!(report.count < 100, "{report}");
    let starts: Vec<usize> =
        [0].into_iter().chain(new.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut found = Vec::new();
    for diagnostic in &report.diagnostics {
        let mut at = starts[diagnostic.line - 1] + diagnostic.column - 1;
        let mut inside = 0;
        for mutation in &sorted {
            if at >= mutation.at + mutation.new.len() {
                at = at + mutation.len - mutation.new.len();
            } else if at > mutation.at {
                inside = at - mutation.at;
                at = mutation.at;
            }
        }
        found.push((diagnostic.code, at, inside));
    }
    found.sort_unstable();
    found
}

fn hides(mutation: &Mutation, other: &Mutation, text: &str) -> bool {
    let overlap =
        mutation.at < other.at + other.len.max(1) && other.at < mutation.at + mutation.len.max(1);
    overlap
        || mutation.hides.iter().any(|part| {
            let start = text.find(part).unwrap_or_else(|| panic!("no {part}"));
            (start..start + part.len()).contains(&other.at)
        })
}

/// Checks all pairs. The text has one byte per character.
fn check(text: &str, mutations: &[Mutation]) {
    let single: Vec<_> = mutations.iter().map(|mutation| mutated(text, &[mutation])).collect();
    for (mutation, found) in mutations.iter().zip(&single) {
        let codes: Vec<_> = found.iter().map(|found| found.0).collect();
        assert_eq!(codes, mutation.codes, "{mutation:?}");
    }
    let mut pairs = 0;
    for (i, first) in mutations.iter().enumerate() {
        for (j, second) in mutations.iter().enumerate().skip(i + 1) {
            if hides(first, second, text) || hides(second, first, text) {
                continue;
            }
            pairs += 1;
            let mut expected = [&single[i][..], &single[j][..]].concat();
            expected.sort_unstable();
            assert_eq!(mutated(text, &[first, second]), expected, "{first:?}\n{second:?}");
        }
    }
    assert!(pairs > mutations.len() * mutations.len() / 3, "{pairs}");
}

/// The names of all keys, and of those that are components.
fn names() -> (BTreeSet<&'static str>, BTreeSet<&'static str>) {
    fn of_table(table: &Table, keys: &mut BTreeSet<&str>, components: &mut BTreeSet<&str>) {
        for field in table.fields {
            keys.insert(field.name);
            of_kind(&field.kind, keys, components);
        }
        if let Some(all) = table.components {
            of_components(all, keys, components);
        }
    }
    fn of_components(all: &Components, keys: &mut BTreeSet<&str>, components: &mut BTreeSet<&str>) {
        for field in all.fields {
            components.insert(field.name);
            of_kind(&field.kind, keys, components);
        }
    }
    fn of_kind(kind: &Kind, keys: &mut BTreeSet<&str>, components: &mut BTreeSet<&str>) {
        match kind {
            Kind::Table(table) => of_table(table, keys, components),
            Kind::OneOf(all) => of_components(all, keys, components),
            Kind::Map(_, kind) | Kind::List(kind) => of_kind(kind, keys, components),
            Kind::Either(_, long) => of_kind(long, keys, components),
            _ => {}
        }
    }
    let (mut keys, mut components) = (BTreeSet::new(), BTreeSet::new());
    of_table(&keys::PIPELINE, &mut keys, &mut components);
    (keys, components)
}

/// Each key with its first letter twice.
fn misspelled_keys(text: &str) -> Vec<Mutation> {
    let (keys, components) = names();
    let mut mutations = Vec::new();
    let mut start = 0;
    let mut mapping_indent = None;
    for line in text.split_inclusive('\n') {
        let line_start = start;
        start += line.len();
        if line.trim_start().starts_with('#') {
            continue;
        }
        // What stands below is columns.
        let indent = line.len() - line.trim_start().len();
        if mapping_indent.is_some_and(|outer| indent > outer) {
            continue;
        }
        mapping_indent = (line.trim() == "mapping:").then_some(indent);
        for (colon, _) in line.match_indices(':') {
            let head = &line[..colon];
            let key_start = head.rfind([' ', '{']).map_or(0, |before| before + 1);
            let key = &head[key_start..];
            let is_component = components.contains(key);
            // The file chooses the names of groups, and the columns in tests.
            let chosen = ["types: {", "body: {", "rows: [{", "- {"];
            let is_chosen = chosen.iter().any(|before| head.contains(before));
            if is_chosen || key.len() < 2 || !line[colon + 1..].starts_with([' ', '\n']) {
                continue;
            }
            if is_component || keys.contains(key) {
                let at = line_start + key_start;
                let new = format!("{}{key}", &key[..1]);
                mutations.push(Mutation { at, len: key.len(), new, codes: &[], hides: &[] });
            }
        }
    }
    for mutation in &mut mutations {
        mutation.codes = match mutated(text, &[mutation])[..] {
            [("E-KEY-01", ..)] => &["E-KEY-01"],
            [("E-KEY-02", ..)] => &["E-KEY-02"],
            ref found => panic!("{mutation:?}: {found:?}"),
        };
    }
    mutations
}

/// Each column of the body with another name.
fn unknown_columns(text: &str) -> Vec<Mutation> {
    let columns = text.match_indices("body.");
    let mutation = |(at, _)| Mutation {
        at: at + "body.".len(),
        len: 0,
        new: "zz".into(),
        codes: &["E-COL-01"],
        hides: &[],
    };
    columns.map(mutation).collect()
}

type Written = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

fn written(text: &str, list: &[Written]) -> Vec<Mutation> {
    let mutation = |&(old, new, codes, hides): &Written| {
        let (before, after) = text.split_once(old).unwrap_or_else(|| panic!("no {old}"));
        assert!(!after.contains(old), "{old} is there twice");
        // What is the same at both ends is not replaced.
        let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
        let (old, new) = (&old[same..], &new[same..]);
        let behind = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
        let new = new[..new.len() - behind].to_owned();
        Mutation { at: before.len() + same, len: old.len() - behind, new, codes, hides }
    };
    list.iter().map(mutation).collect()
}

const COL: &[&str] = &["E-COL-01"];
const KEY: &[&str] = &["E-KEY-01"];
const RANGE: &[&str] = &["E-RANGE-01"];
const SQL: &[&str] = &["E-SQL-07"];
const CHOICE: &[&str] = &["E-TYPE-02"];
const TYPE: &[&str] = &["E-TYPE-01"];

#[test]
fn every_pair_is_told() {
    // Patterns of Unicode classes take long to compile.
    let text =
        &EVERYTHING.replace("\\d+", "[0-9]+").replace("\\w+", "[a-z]+").replace("\\S+", "a+");
    // Whose type is not known goes with everything.
    let id = &["double_id > 3", "body.id > 0", "double_id: body.id * 2"];
    let mut mutations = written(
        text,
        &[
            ("version: 1", "version: 2", RANGE, &[]),
            ("pipeline: every-key", "pipeline: Every-key", &["E-NAME-01"], &[]),
            ("x-note:", "zzzzzz:", KEY, &[]),
            ("x-note:", "include: []\nx-note:", KEY, &[]),
            ("x-note:", "version: 1\nx-note:", &["E-YAML-02"], &["version: 1"]),
            ("\"logs/*.jsonl\"", "", RANGE, &[]),
            ("once: true", "once: yes", TYPE, &[]),
            ("start: end", "start: ende", CHOICE, &[]),
            ("read_chunk: 1MiB", "read_chunk: 1000", &["E-UNIT-02"], &[]),
            ("max_line: 64KiB", "max_line: 64GiB", RANGE, &[]),
            ("partial_line: 2s", "partial_line: 2", &["E-UNIT-01"], &[]),
            ("{id: int}", "{id: integr}", CHOICE, id),
            ("{id: int}", "{id: int, idd: int}", COL, &[]),
            ("{id: int}", "{id: int, no: integr}", &["E-COL-01", "E-TYPE-02"], &["kind = 'a'"]),
            ("field: at", "field: att", COL, &[]),
            ("\"%FT%T\"", "\"%Q\"", &["E-REGEX-01"], &[]),
            ("null: \"-\"", "null: [a]", TYPE, &[]),
            ("null: \"-\"", "null: \"-\"\n      lines: {}", &["E-KEY-04"], id),
            ("  name: events\n", "", &["E-KEY-03"], &[]),
            ("name: events", "name: events.eu", &["E-NAME-01"], &[]),
            ("queues: 8", "queues: eight", TYPE, &[]),
            ("key: body.id", "key: id", COL, &["key: body.id"]),
            ("tag: body.kind", "tag: body.kind body.kind", &["E-SQL-01"], &[]),
            ("body.id * 2", "body.id * -TRUE", SQL, &["double_id > 3"]),
            ("kind = 'a'", "kind == 'a'", &["E-SQL-02"], &[]),
            ("AND double_id", "AND none = 1 AND double_id", COL, &[]),
            ("double_id > 3", "double_id > TRUE", SQL, &["double_id: body.id"]),
            (
                "  - filter: kind",
                "  - lookup: {on: kind}\n  - filter: kind",
                &["E-KEY-02"],
                &[
                    "AND double_id",
                    "next_day: day",
                    "{next_day: tomorrow}",
                    "drop: [tomorrow]",
                    "keep: [kind, id, day]",
                    "partition_by: [day]",
                    "hour: \"'h'\"",
                    "hour <> kind",
                    "[id, body.kind, day, hour]",
                ],
            ),
            ("where: body.id > 0", "where: LEN(body.id) > 0", &["E-SQL-08"], &[]),
            ("on_unknown: dlq", "on_unknown: dql", CHOICE, &[]),
            ("DATE(body.at)", "DATE(body.at IS NULL)", SQL, &[]),
            ("next_day: day", "next_day: dya", COL, &[]),
            ("{next_day: tomorrow}", "{next_dya: tomorrow}", COL, &[]),
            ("drop: [tomorrow]", "drop: [tomorow]", COL, &[]),
            ("keep: [kind, id, day]", "keep: [kind, id, dya]", COL, &[]),
            ("sample: 0.5", "sample: 5", RANGE, &[]),
            ("  - wasm:", "  - filter: TRUE\n    wasm:", &["E-KEY-04"], &[]),
            ("module: filters/shop.wasm", "module: [filters/shop.wasm]", TYPE, &[]),
            ("limit: 3", "limit: \"${env:NOPE}\"", &["E-ENV-01"], &[]),
            ("where: queue < 4", "where: queue", SQL, &[]),
            ("hour: \"'h'\"", "hour: hours", COL, &[]),
            ("filter: hour <> kind", "filter: hours <> kind", COL, &[]),
            (
                "      - set: {hour",
                "      - split: body.id\n      - set: {hour",
                &["E-KEY-04"],
                &[],
            ),
            ("delivery: at_least_once", "delivery: at_last_once", CHOICE, &[]),
            ("then: stop", "then: stopp", CHOICE, &[]),
            ("to: lake", "to: s3://lake", &["E-PATH-01"], &[]),
            ("      to: lake\n", "", &["E-KEY-03"], &[]),
            ("partition_by: [day]", "partition_by: [dya]", COL, &[]),
            (
                "[id, body.kind, day, hour]",
                "[id, body.kin, day, hour]",
                COL,
                &["body.kind, day, hour]"],
            ),
            (
                "[id, body.kind, day, hour]",
                "[id, body.kind, kind, hour]",
                &["E-COL-03"],
                &["body.kind, day, hour]"],
            ),
            ("rows: 1000,", "rows: 0,", RANGE, &[]),
            ("size: none", "size: 5", &["E-UNIT-02"], &[]),
            ("every: 1m", "every: 1 m", &["E-UNIT-01"], &[]),
            ("zstd: 9", "zstd: 99", RANGE, &[]),
            ("metadata: offsets", "metadata: offset", CHOICE, &[]),
            ("bytes: 1MiB", "bytes: 1B", RANGE, &[]),
            ("max_open: 8", "max_open: [8]", TYPE, &[]),
            ("memory: 1GiB", "memory: 1", &["E-UNIT-02"], &[]),
        ],
    );
    mutations.extend(misspelled_keys(text));
    mutations.extend(unknown_columns(text));
    check(text, &mutations);
}

#[test]
fn every_pair_in_the_shipped_files_is_told() {
    let orders = include_str!("../../../../pipelines/orders.yaml");
    let mut mutations = written(
        orders,
        &[
            ("count: 10000", "count: many", TYPE, &[]),
            ("seed: 2026", "seed: -1", RANGE, &[]),
            ("customer: {zipf: {n: 500}}", "customer: {zipf: {n: 0}}", RANGE, &[]),
            ("[eu, us, asia]", "[eu, [us], asia]", TYPE, &[]),
            ("{min: 1, max: 9}", "{min: 10, max: 9}", RANGE, &[]),
            ("{double: {min: 1, max: 500}}", "{double: {min: 1}}", &["E-KEY-03"], &[]),
            ("step: 13s", "step: 13", &["E-UNIT-01"], &[]),
            ("note: {text: {words: 4}}", "note: text", TYPE, &[]),
            ("at: [4711]", "at: [0]", RANGE, &[]),
            ("  name: orders\n", "  name: \"\"\n", &["E-NAME-01"], &[]),
            ("  id: int\n", "  id: bool\n", &["E-SCHEMA-01"], &[]),
            ("  customer: int\n", "  customer: integr\n", CHOICE, &[]),
            (
                "  region: string\n",
                "  region: string\n  user: string\n  user.: int\n",
                &["E-COL-01", "E-COL-01", "E-SCHEMA-01"],
                &[],
            ),
            ("  amount: double\n", "  amount: date\n", &["E-SCHEMA-01"], &[]),
            ("  note: string\n", "  nota: string\n", COL, &[]),
            ("${env:LAKE:-lake}", "${env:LAKE}", &["E-ENV-01"], &[]),
        ],
    );
    mutations.extend(misspelled_keys(orders));
    mutations.extend(unknown_columns(orders));
    check(orders, &mutations);

    let access_log = include_str!("../../../../pipelines/access-log.yaml");
    let access_log = &access_log.replace("\\S+", "a+").replace("(?:[^\"\\\\]|\\\\.)", "a");
    for text in [&access_log[..], include_str!("../../../../pipelines/flights.yaml")] {
        let mut mutations = misspelled_keys(text);
        mutations.extend(unknown_columns(text));
        check(text, &mutations);
    }
}
