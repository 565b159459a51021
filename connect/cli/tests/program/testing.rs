//! `millrace test`.

use crate::rig::Home;

const PIPELINE: &str = r#"version: 1
pipeline: p
topic: t
schema: {id: int, at: timestamp, day: string}
steps:
  - filter: body.id < 10 AND props.region = 'eu'
sinks:
  lake:
    parquet: {to: lake, partition_by: [day]}
tests:
  - name: what is small and from here
    given:
      - {body: {id: 1, at: "2026-01-02T03:04:05Z", day: a/b}, props: {region: eu}}
      - {body: {id: 2}, props: {region: us}}
      - {body: {id: 30}, props: {region: eu}}
      - {raw: "{", key: k, tag: t}
    expect:
      lake:
        rows: [{id: 1, at: "2026-01-02T03:04:05Z", day: a/b}]
        files: [day=a%2Fb/*.parquet]
        filtered: 2
        dlq: [{code: E-DECODE-01, body: "{"}]
"#;

#[test]
fn tests_pass_or_fail_with_what_is_wrong() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    let ran = home.run(&["test", "p.yaml", "--power-cuts", "30"]).expect(0);
    assert_eq!(
        ran.out,
        "p.yaml\n  ok    what is small and from here (30 power cuts)\n\
         1 test of 1 file: 1 passed, 0 failed\n"
    );
    assert_eq!(ran.err, "");

    home.write(
        "wrong.yaml",
        &PIPELINE.replace("[{id: 1,", "[{id: 2,").replace("filtered: 2", "filtered: 3"),
    );
    let ran = home.run(&["test", ".", "--junit", "report.xml"]).expect(4);
    let row = r#"{"at":"2026-01-02T03:04:05Z","day":"a/b","id":"#;
    for line in [
        "p.yaml\n  ok    what is small and from here\n".to_owned(),
        "wrong.yaml\n  FAIL  what is small and from here\n".to_owned(),
        format!(
            "          lake: no such row: {row}2}}\n          lake: one row too many: {row}1}}\n"
        ),
        "          lake: 2 filtered, expected 3: ".to_owned(),
        "2 tests of 2 files: 1 passed, 1 failed\n".to_owned(),
    ] {
        assert!(ran.out.contains(&line), "{line}\n{}", ran.out);
    }
    let report = std::fs::read_to_string(home.path("report.xml")).unwrap();
    assert!(report.contains("failures=\"1\"") && report.contains("failures=\"0\""), "{report}");
    // Nothing was written but the report.
    assert_eq!(home.entries(), ["p.yaml", "report.xml", "wrong.yaml"]);

    let answer = home.run(&["test", "wrong.yaml", "--json"]).expect(4).json();
    assert_eq!(answer["ok"], false);
    let complaints = answer["result"][0]["tests"][0]["complaints"].as_array().unwrap();
    assert_eq!(complaints.len(), 3, "{answer}");
}

#[test]
fn without_a_test_nothing_is_right() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    home.run(&["test", "p.yaml", "-k", "small"]).expect(0);
    home.run(&["test", "p.yaml", "-k", "large"]).expect(2).one_error("E-TEST-01", "large");
    let (no_tests, _) = PIPELINE.split_once("tests:").unwrap();
    home.write("none.yaml", no_tests);
    home.run(&["test", "none.yaml"]).expect(2).one_error("E-TEST-01", "no tests");
    home.write("gone.yaml", &PIPELINE.replace("raw: \"{\", key: k, tag: t", "file: gone.txt"));
    home.run(&["test", "gone.yaml"]).expect(2).one_error("E-FILE-01", "gone.txt");
    home.write("bad.yaml", &PIPELINE.replace("filtered: 2", "filterd: 2"));
    let ran = home.run(&["test", "bad.yaml"]).expect(2);
    assert!(ran.err.contains("E-KEY-01") && ran.out.is_empty(), "{}", ran.err);
}

#[test]
fn a_file_that_cannot_be_used_keeps_no_other_from_its_tests() {
    let home = Home::new();
    home.write("p.yaml", PIPELINE);
    home.write("bad.yaml", &PIPELINE.replace("filtered: 2", "filterd: 2"));
    home.write("gone.yaml", &PIPELINE.replace("raw: \"{\", key: k, tag: t", "file: gone.txt"));
    home.write("wrong.yaml", &PIPELINE.replace("filtered: 2", "filtered: 3"));
    let files = ["test", "bad.yaml", "gone.yaml", "none.yaml", "p.yaml"];
    let ran = home.run(&[&files[..], &["--junit", "report.xml"]].concat()).expect(2);
    let expected = "\
bad.yaml: cannot be tested
gone.yaml: cannot be tested
none.yaml: cannot be tested
p.yaml
  ok    what is small and from here
1 test of 1 file: 1 passed, 0 failed; 3 files cannot be tested
";
    assert_eq!(ran.out, expected);
    for told in ["bad.yaml:21:9", "cannot read none.yaml", "gone.txt"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let report = std::fs::read_to_string(home.path("report.xml")).unwrap();
    assert_eq!(report.matches("errors=\"1\"").count(), 3, "{report}");
    for told in ["<error>error[E-KEY-01]", "<error>error[E-FILE-01]", "name=\"p.yaml\" tests=\"1\""]
    {
        assert!(report.contains(told), "{told}: {report}");
    }
    let answer = home.run(&["test", "bad.yaml", "wrong.yaml", "--json"]).expect(2).json();
    assert_eq!(answer["result"][0]["error"]["code"], "E-KEY-01", "{answer}");
    assert_eq!(answer["result"][1]["tests"][0]["ok"], false, "{answer}");
    assert_eq!(answer["error"]["code"], "E-KEY-01", "{answer}");
}

#[test]
fn the_files_of_a_test_go_through_the_decoder_of_the_source() {
    let home = Home::new();
    home.write("lines.txt", "1 a\n2 b\nthree\n");
    home.write(
        "p.yaml",
        r#"version: 1
pipeline: p
source:
  file:
    include: [nowhere/*]
    start: end
    max_line: 8B
    decode: {regex: {pattern: '^(?<id>[0-9]+) (?<name>\w+)$', types: {id: int}}}
topic: t
sinks:
  lake: {parquet: {to: lake}, where: body.id > 1}
  all: {parquet: {to: lake}}
tests:
  - name: lines
    given:
      - file: lines.txt
      - raw: 4 too_long
    expect:
      lake: {rows: [{id: 2, name: b}], filtered: 1, dlq: 1}
      all: {rows: 2, dlq: [{code: E-DECODE-06, body: three}]}
      source: {dlq: [{code: E-SOURCE-01, error: line 4}]}
"#,
    );
    home.run(&["test", "p.yaml", "--power-cuts", "10", "--seed", "7"]).expect(0);
}

#[test]
fn files_of_every_format_are_read_back() {
    let home = Home::new();
    let sinks = [
        ("parquet", "parquet: {to: x, partition_by: [day]}"),
        ("jsonl", "jsonl: {to: x, partition_by: [day]}"),
        ("jsonl.gz", "jsonl: {to: x, partition_by: [day], compression: gzip}"),
        ("csv", "csv: {to: x, partition_by: [day]}"),
        ("csv.gz", "csv: {to: x, partition_by: [day], compression: gzip, delimiter: ;}"),
        ("jsonl.zst", "jsonl: {to: x, partition_by: [day], compression: zstd}"),
    ];
    for (ending, sink) in sinks {
        let text = PIPELINE
            .replace("parquet: {to: lake, partition_by: [day]}", sink)
            .replace("*.parquet", &format!("*.{ending}"));
        home.write("p.yaml", &text);
        home.run(&["test", "p.yaml", "--power-cuts", "5"]).expect(0);
        home.write("p.yaml", &text.replace("[{id: 1,", "[{id: 2,"));
        let ran = home.run(&["test", "p.yaml"]).expect(4);
        assert!(ran.out.contains("lake: no such row: "), "{}", ran.out);
    }
}

#[test]
fn rows_for_standard_output_are_judged_and_not_printed() {
    let home = Home::new();
    let text = PIPELINE
        .replace("parquet: {to: lake, partition_by: [day]}", "stdout: {columns: [id, at, day]}")
        .replace("        files: [day=a%2Fb/*.parquet]\n", "");
    home.write("p.yaml", &text);
    let ran = home.run(&["test", "p.yaml", "--power-cuts", "5"]).expect(0);
    assert!(ran.out.starts_with("p.yaml\n  ok "), "{}", ran.out);
}

#[test]
fn every_shipped_pipeline_passes_its_tests() {
    let pipelines = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pipelines");
    let home = Home::new();
    // One of them has a module, which is named from where the program is started.
    let modules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wasm-filters");
    std::os::unix::fs::symlink(modules, home.path("wasm-filters")).unwrap();
    let ran = home.run(&["test", pipelines, "--power-cuts", "5"]).expect(0);
    assert!(!ran.out.contains("no tests"), "{}", ran.out);
}

/// What an `http` sink would have sent, which nobody is there to take.
#[test]
fn requests_are_compared_and_not_sent() {
    let home = Home::new();
    let pipeline = r#"version: 1
pipeline: p
topic: t
schema: {id: int, region: string}
sinks:
  hook:
    http: {url: "http://nobody.invalid/{region}", body: ndjson, headers: {x-all: "yes"}}
tests:
  - name: in lines
    given:
      - body: {id: 1, region: eu}
      - body: {id: 2, region: us}
      - body: {id: 3, region: eu}
      - body: {id: 4}
    expect:
      hook:
        rows: [{id: 1}, {id: 2, region: us}, {id: 3}]
        requests:
          - {url: http://nobody.invalid/us, body: [{id: 2}]}
          - {url: http://nobody.invalid/eu, headers: {x-all: "yes"}, body: [{id: 1}, {id: 3}]}
        dlq: [{code: E-HTTP-01, field: region}]
"#;
    home.write("p.yaml", pipeline);
    let ran = home.run(&["test", "p.yaml", "--power-cuts", "60"]).expect(0);
    assert!(ran.out.contains("ok    in lines (60 power cuts)"), "{}", ran.out);
    let wrong = pipeline
        .replace("body: [{id: 2}]", "body: [{id: 3}]")
        .replace("{id: 3}]\n        r", "{id: 9}]\n        r");
    home.write("p.yaml", &wrong);
    let ran = home.run(&["test", "p.yaml"]).expect(4);
    for line in [
        "hook: no such row: {\"id\":9}",
        "hook: one row too many: {\"id\":3,",
        "hook: no such request: {\"body\":[{\"id\":3}],\"url\":\"http://nobody.invalid/us\"}",
        "hook: one request too many: {",
    ] {
        assert!(ran.out.contains(line), "{line}\n{}", ran.out);
    }
}
