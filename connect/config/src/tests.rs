mod accepted; // what files mean
mod filter_tests; // tests of modules
mod golden; // whole reports
mod laws; // what holds for any text
mod mistakes; // one mistake each: code and place
mod pairs; // two mistakes in one file
mod several; // several mistakes in one file
mod shipped; // the files in `pipelines/`
mod tables; // what the schema tables must keep to
mod warnings; // what is right and may surprise

use crate::{Pipeline, Report};

fn no_env(_: &str) -> Option<String> {
    None
}

fn parse(text: &str) -> Result<Pipeline, Report> {
    Pipeline::parse("p.yaml", text.as_bytes(), &no_env)
}

/// A file with every key that one with a `parquet` sink can have, none of them at its default.
const EVERYTHING: &str = r#"version: 1
pipeline: every-key
x-note: {anything: [goes, here]}
source:
  file:
    include: ["logs/*.jsonl"]
    once: true
    start: end
    read_chunk: 1MiB
    max_line: 64KiB
    partial_line: 2s
    scan_every: 500ms
    decode:
      regex:
        pattern: '^(?<id>\d+) (?<kind>\w+) (?<at>\S+)$'
        types: {id: int}
        time: {field: at, format: "%FT%T"}
        null: "-"
topic:
  name: events
  queues: 8
  key: body.id
  tag: body.kind
  properties:
    kind: body.kind
    double_id: body.id * 2
steps:
  - filter: kind = 'a' AND double_id > 3
  - filter: {where: body.id > 0, on_unknown: dlq}
  - set:
      day: DATE(body.at)
      next_day: day
  - rename: {next_day: tomorrow}
  - drop: [tomorrow]
  - keep: [kind, id, day]
  - cast:
      day: string
      kind: {to: date, format: "%d.%m.%Y", null: "?"}
  - sample: 0.5
  - wasm:
      module: filters/shop.wasm
      params: {city: Ulm, limit: 3, "names": ["a", "7", null], deep: {on: true, off: 1.5}}
sinks:
  lake:
    where: queue < 4
    steps:
      - set: {hour: "'h'"}
      - filter: hour <> kind
    delivery: at_least_once
    on_error: {then: stop, retry: {initial: 1s, max: 1m, max_elapsed: 1h}, dlq: {max_ratio: 2.5%}}
    parquet:
      to: lake
      partition_by: [day]
      columns: [id, body.kind, day, hour]
      rotate: {rows: 1000, size: none, every: 1m, idle: 10s}
      compression: {zstd: 9}
      metadata: offsets
      row_group: {rows: 5000, bytes: 1MiB}
      max_open: 8
limits: {memory: 1GiB}
tests:
  - name: one of each
    given:
      - raw: "5 a 2026-01-02T03:04:05"
      - file: lines.txt
    expect: {lake: {rows: [{id: 5}], files: ["*/*"], filtered: 1, dlq: 0}, source: {dlq: [{code: E-X}]}}
"#;
