use super::super::test_messages::{columns, messages, rows, test_data};
use super::super::{DecodeSpec, code};
use super::*;

/// The combined log format. The closing quote is optional: servers cut long lines off.
const COMBINED: &str = r#"^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>[^\]]+)\] "(?<request>[^"]*)" (?<status>\d{3}) (?<bytes>\d+|-) "(?<referrer>[^"]*)" "(?<agent>[^"]*)"?$"#;

fn combined() -> RegexSpec {
    RegexSpec {
        pattern: COMBINED.to_owned(),
        types: columns(&[("status", DataType::Int), ("bytes", DataType::Int)]),
        time: Some(("time".to_owned(), "%d/%b/%Y:%H:%M:%S %z".to_owned())),
        null: Some("-".to_owned()),
    }
}

fn spec(pattern: &str) -> RegexSpec {
    RegexSpec { pattern: pattern.to_owned(), types: Vec::new(), time: None, null: None }
}

#[track_caller]
fn check(spec: RegexSpec, wanted: &[(&str, DataType)], lines: &[(&str, &str)]) {
    let mut decoder = DecodeSpec::Regex(spec).decoder(&columns(wanted)).expect("a good spec");
    let (lines, expected): (Vec<_>, Vec<_>) = lines.iter().copied().unzip();
    let decoded = decoder.decode(&messages(&lines), &Selection::All(lines.len()));
    assert_eq!(rows(&decoded), expected);
    for (line, expected) in lines.iter().zip(expected) {
        let refused = decoder.check(line.as_bytes()).is_err();
        assert_eq!(refused, expected.starts_with("E-"), "check of {line}");
    }
}

#[track_caller]
fn check_error(spec: RegexSpec, wanted: &[(&str, DataType)], expected: &str) {
    let error = DecodeSpec::Regex(spec).decoder(&columns(wanted)).err().expect("an error");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_combined_log_line_comes_apart() {
    check(
        combined(),
        &[
            ("time", DataType::Timestamp),
            ("status", DataType::Int),
            ("bytes", DataType::Int),
            ("referrer", DataType::String),
            ("request", DataType::String),
        ],
        &[
            (
                r#"10.0.0.1 - - [17/May/2015:10:05:03 +0200] "GET / HTTP/1.1" 200 512 "-" "curl""#,
                "2015-05-17T08:05:03Z|200|512|null|GET / HTTP/1.1",
            ),
            (
                r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "" 304 - "http://x/" "cut off"#,
                "2015-05-17T10:05:03Z|304|null|http://x/|",
            ),
            (r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET" x - "-" "-""#, "E-DECODE-06 -"),
            (
                r#"10.0.0.1 - - [17/Mai/2015:10:05:03 +0000] "GET" 304 - "-" "-""#,
                "E-DECODE-03 time",
            ),
            (r#"10.0.0.1 - - [-] "GET" 304 99999999999999999999 "-" "-""#, "E-DECODE-03 bytes"),
            ("", "E-DECODE-06 -"),
        ],
    );
}

#[test]
fn groups_have_types() {
    let types = [("b", DataType::Bool), ("d", DataType::Date), ("x", DataType::Double)];
    let pattern = "^b=(?<b>[^;]*);d=(?<d>[^;]*);x=(?<x>[^;]*)(;t=(?<t>.*))?$";
    let spec = RegexSpec { types: columns(&types), ..spec(pattern) };
    check(
        spec,
        &[types[0], types[1], types[2], ("t", DataType::String)],
        &[
            ("b=true;d=2015-05-17;x=1.5", "true|2015-05-17|1.5|null"),
            ("b=false;d=2015-05-17;x=-2e3;t=", "false|2015-05-17|-2000.0|"),
            ("b=yes;d=2015-05-17;x=1", "E-DECODE-03 b"),
            ("b=true;d=17.5.2015;x=1", "E-DECODE-03 d"),
            ("b=true;d=2015-05-17;x=nan", "E-DECODE-03 x"),
            ("b=true;d=2015-05-17;x=inf", "E-DECODE-03 x"),
            ("b=true;d=2015-05-17;x=1e999", "E-DECODE-03 x"),
            ("b=true;d=2015-05-17;x=", "E-DECODE-03 x"),
        ],
    );
}

#[test]
fn only_what_is_wanted_is_judged() {
    let mut spec = spec(r"^(?<a>\S+) (?<b>\S+)$");
    spec.types = columns(&[("a", DataType::Int)]);
    check(spec.clone(), &[("b", DataType::String)], &[("x y", "y")]);
    check(spec, &[("a", DataType::Int)], &[("x y", "E-DECODE-03 a")]);
}

#[test]
fn a_line_that_is_not_utf8_is_refused() {
    let mut decoder = DecodeSpec::Regex(spec("(?<a>.*)")).decoder(&[]).expect("a good spec");
    let reject = decoder.check(b"abc\xff").unwrap_err();
    assert_eq!((reject.code, reject.error.as_str()), (code::NOT_UTF8, "not UTF-8 at byte 3"));
}

#[test]
fn the_schema_is_the_groups_in_order() {
    let schema = DecodeSpec::Regex(combined()).known_schema().expect("a good pattern");
    let names: Vec<_> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    let expected =
        ["host", "ident", "user", "time", "request", "status", "bytes", "referrer", "agent"];
    assert_eq!(names, expected);
    assert_eq!(schema.columns[3].data_type, DataType::Timestamp);
    assert_eq!(schema.columns[5].data_type, DataType::Int);
    assert_eq!(DecodeSpec::Regex(spec("(")).known_schema(), None);
}

#[test]
fn specs_that_cannot_work_are_refused() {
    check_error(spec("("), &[], "the pattern is not a regular expression");
    check_error(spec("a(b)"), &[], "the pattern has no named group, such as `(?<status>[0-9]+)`");
    check_error(spec("(?<a>b)"), &[("c", DataType::String)], "there is no column `c`");
    check_error(
        spec("(?<a>b)"),
        &[("a", DataType::Int)],
        "the column `a` is not of the wanted type",
    );
    let a_as_string = [("a", DataType::String)];
    check_error(
        spec("(?<a>b)"),
        &[a_as_string, a_as_string].concat(),
        "the column `a` is there twice",
    );
    let types = columns(&[("x", DataType::Int)]);
    check_error(RegexSpec { types, ..spec("(?<a>b)") }, &[], "the pattern has no group `x`");
    let time = |group: &str, format: &str| Some((group.to_owned(), format.to_owned()));
    check_error(
        RegexSpec { time: time("x", "%s"), ..spec("(?<a>b)") },
        &[],
        "the pattern has no group `x`",
    );
    check_error(
        RegexSpec { time: time("a", "%d"), ..spec("(?<a>b)") },
        &[],
        "the time format of `a` cannot be used",
    );
    let types = columns(&[("a", DataType::Int)]);
    check_error(
        RegexSpec { types, time: time("a", "%s"), ..spec("(?<a>b)") },
        &[],
        "`a` has a time format, so it cannot be of another type than `timestamp`",
    );
}

#[test]
fn every_line_of_a_real_log_decodes() {
    let Some(path) = test_data("apache_access.log") else {
        return;
    };
    let log = std::fs::read(path).expect("the log");
    let lines: Vec<_> = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let spec = DecodeSpec::Regex(combined());
    let wanted = spec.known_schema().expect("a good pattern").columns;
    let mut decoder = spec.decoder(&wanted).expect("a good spec");
    let decoded = decoder.decode(&messages(&lines), &Selection::All(lines.len()));
    assert_eq!((lines.len(), decoded.rejects), (10_000, Vec::new()));
}
