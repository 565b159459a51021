use arrow_array::Array;
use proptest::prelude::*;

use super::super::test_messages::{columns, messages, row, rows, test_data};
use super::super::{DecodeSpec, code};
use super::*;
use crate::DataType::{self, Bool, Date, Double, Int, Json, String as Text, Timestamp};

fn decoder(wanted: &[(&str, DataType)]) -> Box<dyn Decoder> {
    DecodeSpec::Json.decoder(&columns(wanted)).expect("columns of this test")
}

/// Decodes bodies together, and checks each alone.
#[track_caller]
fn check(wanted: &[(&str, DataType)], bodies: &[(&str, &str)]) {
    let mut decoder = decoder(wanted);
    let (bodies, expected): (Vec<_>, Vec<_>) = bodies.iter().copied().unzip();
    let messages = messages(&bodies);
    let decoded = decoder.decode(&messages, &Selection::All(bodies.len()));
    assert_eq!(rows(&decoded), expected);
    for (body, expected) in bodies.iter().zip(expected) {
        let checked = match decoder.check(body.as_bytes()) {
            Ok(()) => None,
            Err(reject) => Some(format!("{} {}", reject.code, reject.field.unwrap_or("-".into()))),
        };
        let expected = expected.starts_with("E-").then(|| expected.to_owned());
        assert_eq!(checked, expected, "check of {body}");
    }
}

/// The code of a body of which nothing is wanted; `ok` if it is fine.
#[track_caller]
fn check_grammar(body: &[u8], expected: &str) {
    let checked = decoder(&[]).check(body).map_err(|reject| reject.code);
    assert_eq!(checked.err().unwrap_or("ok"), expected, "{}", String::from_utf8_lossy(body));
}

#[test]
fn fields_become_columns_in_any_order() {
    check(
        &[("id", Int), ("name", Text), ("paid", Bool), ("price", Double)],
        &[
            (r#"{"id":1,"name":"a","paid":true,"price":1.5}"#, "1|a|true|1.5"),
            (r#"{"price":2,"paid":false,"name":"b","id":2}"#, "2|b|false|2.0"),
            (r#" { "name" : "c" , "id" : 3 } "#, "3|c|null|null"),
            ("{}", "null|null|null|null"),
            (r#"{"id":null,"name":null,"paid":null,"price":null}"#, "null|null|null|null"),
            (r#"{"x":{"id":9},"id":4,"y":[{"id":8}],"z":"id"}"#, "4|null|null|null"),
            (r#"{"n\u0061me":"d","id":5}"#, "5|d|null|null"),
            (r#"{"name":"\u00e9\n","id":6}"#, "6|é\n|null|null"),
        ],
    );
}

#[test]
fn paths_reach_into_objects() {
    check(
        &[("user.id", Int), ("user.address.city", Text), ("id", Int)],
        &[
            (r#"{"user":{"id":1,"address":{"city":"Ulm"}},"id":2}"#, "1|Ulm|2"),
            (r#"{"id":2,"user":{"address":{"zip":"x"},"other":1}}"#, "null|null|2"),
            (r#"{"user":null}"#, "null|null|null"),
            (r#"{"user":{"address":null,"id":3}}"#, "3|null|null"),
            (r#"{"user.id":7}"#, "null|null|null"),
            (r#"{"user":"x","id":2}"#, "E-DECODE-03 user"),
            (r#"{"user":[{"id":1}]}"#, "E-DECODE-03 user"),
            (r#"{"user":{"address":5}}"#, "E-DECODE-03 user.address"),
            (r#"{"user":{"id":"5"}}"#, "E-DECODE-03 user.id"),
        ],
    );
}

#[test]
fn any_value_stays_as_it_is_written() {
    check(
        &[("v", Json), ("id", Int)],
        &[
            (r#"{"v":{"a": [1, {"b":"\u00e9"}]},"id":1}"#, r#"{"a": [1, {"b":"\u00e9"}]}|1"#),
            (r#"{"v":[],"id":2}"#, "[]|2"),
            (r#"{"v":"x","id":3}"#, r#""x"|3"#),
            (r#"{"id":4,"v":-1.50e3}"#, "-1.50e3|4"),
            (r#"{"v":true}"#, "true|null"),
            (r#"{"v":null}"#, "null|null"),
            (r#"{"v":{"a":}}"#, "E-DECODE-01 -"),
            (r#"{"v":tru}"#, "E-DECODE-01 -"),
        ],
    );
    check(&[("u.v", Json)], &[(r#"{"u":{"v":{"w":7}}}"#, r#"{"w":7}"#)]);
}

#[test]
fn values_are_never_converted_or_narrowed() {
    let refused = "E-DECODE-03 v";
    check(
        &[("v", Int)],
        &[
            (r#"{"v":1.0}"#, "1"),
            (r#"{"v":1.5}"#, refused),
            (r#"{"v":"42"}"#, refused),
            (r#"{"v":true}"#, refused),
            (r#"{"v":9223372036854775808}"#, refused),
            (r#"{"v":{}}"#, refused),
            (r#"{"v":[1]}"#, refused),
        ],
    );
    check(
        &[("v", Double)],
        &[
            (r#"{"v":1}"#, "1.0"),
            (r#"{"v":1e400}"#, refused),
            (r#"{"v":9007199254740993}"#, refused),
            (r#"{"v":"1"}"#, refused),
        ],
    );
    check(
        &[("v", Text)],
        &[(r#"{"v":1}"#, refused), (r#"{"v":false}"#, refused), (r#"{"v":{"a":1}}"#, refused)],
    );
    check(&[("v", Bool)], &[(r#"{"v":1}"#, refused), (r#"{"v":"true"}"#, refused)]);
}

#[test]
fn times_are_text_and_dates_are_dates() {
    check(
        &[("at", Timestamp), ("day", Date)],
        &[
            (
                r#"{"at":"2026-01-02T03:04:05.678Z","day":"2026-01-02"}"#,
                "2026-01-02T03:04:05.678Z|2026-01-02",
            ),
            (r#"{"at":"2001\/01\/01 00:47"}"#, "2001-01-01T00:47:00Z|null"),
            (r#"{"at":1767323045}"#, "E-DECODE-03 at"),
            (r#"{"at":"yesterday"}"#, "E-DECODE-03 at"),
            (r#"{"at":"2026-01-02T03:04:05.123456789Z"}"#, "E-DECODE-03 at"),
            (r#"{"day":"2026-02-30"}"#, "E-DECODE-03 day"),
            (r#"{"day":20455}"#, "E-DECODE-03 day"),
        ],
    );
}

#[test]
fn keys_may_not_come_twice() {
    check(
        &[("id", Int), ("user.id", Int)],
        &[
            (r#"{"id":1,"id":1}"#, "E-DECODE-04 id"),
            (r#"{"id":1,"x":1,"x":2}"#, "E-DECODE-04 x"),
            (r#"{"id":1,"\u0069d":2}"#, "E-DECODE-04 id"),
            (r#"{"user":{"id":1},"user":{}}"#, "E-DECODE-04 user"),
            (r#"{"user":{"id":1,"id":2}}"#, "E-DECODE-04 user.id"),
            (r#"{"x":{"a":1,"a":2}}"#, "E-DECODE-04 a"),
            (r#"{"x":{"a":{"a":{"a":1}}},"y":{"a":1},"a":1}"#, "null|null"),
            (r#"{"x":[{"a":1},{"a":1}],"id":1}"#, "1|null"),
            (r#"{"x":{"a":{"b":1},"a":2}}"#, "E-DECODE-04 a"),
            (r#"{"":1,"":2}"#, "E-DECODE-04 "),
        ],
    );
}

#[test]
fn a_key_that_looks_like_another_once_escaped_is_not_that_key() {
    check(
        &[("a\\b", Int), ("a\"b", Int), ("c", Int)],
        &[
            (r#"{"a\\b":1,"a\"b":2,"c":3}"#, "1|2|3"),
            (r#"{"a\\b":1,"a\"b":2,"c":3}"#, "1|2|3"),
            (r#"{"a\b":1,"a\"b":2,"c":3}"#, "null|2|3"),
            (r#"{"a\\b":1,"a"b":2,"c":3}"#, "E-DECODE-01 -"),
        ],
    );
}

#[test]
fn objects_with_very_many_keys_are_still_checked() {
    let object = |twice: &str| {
        let keys = (0..5_000).map(|n| format!("\"k{n}\":{n},"));
        format!("{{{}\"{twice}\":0}}", keys.collect::<String>())
    };
    let (fine, early, late) = (object("k5000"), object("k3"), object("k4999"));
    check(
        &[("k7", Int), ("k4000", Int)],
        &[
            (fine.as_str(), "7|4000"),
            (early.as_str(), "E-DECODE-04 k3"),
            (late.as_str(), "E-DECODE-04 k4999"),
            (fine.as_str(), "7|4000"),
        ],
    );
}

#[test]
fn a_body_is_one_object() {
    check(
        &[("id", Int)],
        &[
            ("", "E-DECODE-01 -"),
            ("  ", "E-DECODE-01 -"),
            (r#"{"id":1}{"id":2}"#, "E-DECODE-01 -"),
            (r#"{"id":1} x"#, "E-DECODE-01 -"),
            (r#"{"id":1,"us"#, "E-DECODE-01 -"),
            (r#"er":"x"}"#, "E-DECODE-01 -"),
            (r#"[{"id":1}]"#, "E-DECODE-02 -"),
            ("null", "E-DECODE-02 -"),
            ("17", "E-DECODE-02 -"),
            ("[1", "E-DECODE-01 -"),
            ("\u{feff}{}", "E-DECODE-01 -"),
            (r#"{"id":1}"#, "1"),
        ],
    );
}

#[test]
fn bad_syntax_outweighs_a_bad_value() {
    check(
        &[("id", Int)],
        &[
            (r#"{"id":"x","y":}"#, "E-DECODE-01 -"),
            (r#"{"id":"x","y":1,"y":2}"#, "E-DECODE-03 id"),
            (r#"{"y":1,"y":2,"id":"x"}"#, "E-DECODE-04 y"),
        ],
    );
}

#[test]
fn syntax_errors_say_where() {
    let error = |body: &[u8]| decoder(&[]).check(body).unwrap_err().error;
    assert_eq!(error(b"{\"a\":1,}"), "not valid JSON at byte 7: a key must follow");
    assert_eq!(error(b"{\"a\" 1}"), "not valid JSON at byte 5: a colon must follow the key");
    assert_eq!(error(b"{\"a\":\"\\x\"}"), "not valid JSON at byte 6: no such escape");
    assert_eq!(error(b"{\"a\":\"\xff\"}"), "not UTF-8 at byte 6");
}

#[test]
fn nesting_ends_at_64_levels() {
    let nested =
        |open: &str, close: &str, levels| open.repeat(levels) + "1" + &close.repeat(levels);
    check_grammar(nested("[", "]", 64).as_bytes(), "ok");
    check_grammar(nested("[", "]", 65).as_bytes(), code::TOO_DEEP);
    check_grammar(nested("{\"a\":", "}", 64).as_bytes(), "ok");
    check_grammar(nested("{\"a\":", "}", 65).as_bytes(), code::TOO_DEEP);
    check_grammar("[".repeat(100_000).as_bytes(), code::TOO_DEEP);
    let inside = |levels| format!("{{\"a\":{}}}", nested("[", "]", levels));
    check(
        &[("b", Int), ("c.d", Int)],
        &[(&inside(63), "null|null"), (&inside(64), "E-DECODE-05 -")],
    );
}

#[test]
fn the_grammar_is_the_standards() {
    for body in [
        "0",
        "-0",
        "1.25e-3",
        "\"\"",
        "true",
        "false",
        "null",
        "[]",
        "{}",
        "[1,2]",
        " [ 1 , 2 ] ",
        "\t\r\n[]",
        "{\"a\":{\"b\":[{}]}}",
        "\"\u{7f}\u{2028}\"",
        "[\"\\ud83d\\ude00\"]",
        "1E+2",
    ] {
        check_grammar(body.as_bytes(), "ok");
    }
    for body in [
        "",
        "nul",
        "nulll",
        "True",
        "NaN",
        "Infinity",
        "-",
        "+1",
        "01",
        "1.",
        ".5",
        "1e",
        "0x1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1",
        "]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "\"",
        "\"\t\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "'a'",
        "// x\n1",
        "1 2",
        "[]]",
        "\u{a0}1",
        "\u{c}1",
        "{\"a\":1}}",
        "[\"a\",\n4\n,1,",
        "\0",
        "1\0",
    ] {
        check_grammar(body.as_bytes(), code::SYNTAX);
    }
    check_grammar(b"\"\xff\"", code::NOT_UTF8);
    check_grammar(b"\"\xed\xa0\x80\"", code::NOT_UTF8);
}

#[test]
fn text_that_is_not_utf8_is_refused_wherever_it_is() {
    let mut decoder = decoder(&[("a", Int), ("ключ", Int), ("t", Text), ("at", Timestamp)]);
    let bad: [&[u8]; 8] = [
        b"{\"k\xff\":1,\"a\":1}",
        b"{\"k\xff\":1,\"a\":1}",
        b"{\"t\":\"\xff\"}",
        b"{\"t\":\"twelve bytes\xc3\"}",
        b"{\"skipped\":[\"more than eight bytes \xe2\x82\"]}",
        b"{\"at\":\"\xff\"}",
        b"{\"a\":\xff}",
        b"\xff",
    ];
    let good = "{\"a\":1,\"ключ\":2,\"t\":\"é – longer than eight bytes\",\"é\":3}".as_bytes();
    let bodies = [&bad[..], &[good, good]].concat();
    for _ in 0..2 {
        let decoded = decoder.decode(&messages(&bodies), &Selection::All(bodies.len()));
        let rows = rows(&decoded);
        assert!(rows[..bad.len()].iter().all(|row| row == "E-DECODE-07 -"), "{rows:?}");
        assert_eq!(rows[bad.len()..], ["1|2|é – longer than eight bytes|null"; 2]);
    }
}

/// All of the JSON test suite. A duplicate key is valid JSON, and refused as what it is.
#[test]
fn the_json_test_suite_passes() {
    let Some(dir) = test_data("json-test-suite") else {
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(dir).expect("the suite") {
        let path = entry.expect("a file of the suite").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let body = std::fs::read(&path).expect("a file of the suite");
        let result = decoder(&[]).check(&body).map_err(|reject| reject.code);
        match &name[..2] {
            "y_" if name.starts_with("y_object_duplicated_key") => {
                assert_eq!(result, Err(code::DUPLICATE_KEY), "{name}");
            }
            "y_" => assert_eq!(result, Ok(()), "{name}"),
            "n_" => assert!(result.is_err(), "{name}"),
            "i_" => {}
            _ => panic!("{name} is no case of the suite"),
        }
        let wanted = decoder(&[("a", Int)]).check(&body).map_err(|reject| reject.code);
        if name.starts_with("n_") {
            assert!(!matches!(wanted, Ok(()) | Err(code::NOT_AN_OBJECT)), "{name}");
        }
        files += 1;
    }
    assert_eq!(files, 318);
}

#[test]
fn every_flight_decodes() {
    let Some(path) = test_data("flights-20k.jsonl") else { return };
    let flights = std::fs::read(path).expect("the flights");
    let rows: Vec<_> = flights.split(|byte| *byte == b'\n').filter(|row| !row.is_empty()).collect();
    let wanted = [
        ("date", Timestamp),
        ("delay", Int),
        ("distance", Int),
        ("origin", Text),
        ("destination", Text),
    ];
    let mut decoder = decoder(&wanted);
    let decoded = decoder.decode(&messages(&rows), &Selection::All(rows.len()));
    assert_eq!((rows.len(), decoded.rejects), (20_000, Vec::new()));
    assert_eq!(row(&decoded.columns, 0), "2001-01-01T00:47:00Z|66|1750|DTW|LAS");
    assert!(decoded.columns.iter().all(|column| column.null_count() == 0));
    assert_eq!(decoder.dropped(), Dropped::default());
}

#[test]
fn rows_that_are_not_selected_are_null() {
    let bodies = [r#"{"id":0}"#, "broken", r#"{"id":2}"#, r#"{"id":"x"}"#, r#"{"id":4}"#];
    let mut decoder = decoder(&[("id", Int)]);
    let selection = Selection::Rows([2, 3].into());
    let decoded = decoder.decode(&messages(&bodies), &selection);
    assert_eq!(rows(&decoded), ["null", "null", "2", "E-DECODE-03 id", "null"]);
    let decoded = decoder.decode(&messages(&bodies), &Selection::Rows([].into()));
    assert_eq!(rows(&decoded), ["null"; 5]);
    let decoded = decoder.decode(&messages(&bodies), &Selection::All(5));
    assert_eq!(rows(&decoded), ["0", "E-DECODE-01 -", "2", "E-DECODE-03 id", "4"]);
}

#[test]
fn dropped_fields_are_counted_by_path() {
    let bodies = [r#"{"a":1,"b":{"c":1,"d":[{"e":1}]},"f":{"g":1}}"#, r#"{"b":{"d":1},"h":null}"#];
    let mut decoder = decoder(&[("a", Int), ("b.c", Int)]);
    decoder.decode(&messages(&bodies), &Selection::All(2));
    let names = [("b.d", 2), ("f", 1), ("h", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(decoder.dropped(), Dropped { fields: 4, names: names.into() });
}

#[test]
fn columns_that_contradict_each_other_are_refused() {
    let error = |wanted: &[(&str, DataType)]| {
        DecodeSpec::Json.decoder(&columns(wanted)).err().expect("an error").to_string()
    };
    let nested = "`user.id` lies inside `user`, so they cannot both be columns";
    assert_eq!(error(&[("user", Text), ("user.id", Int)]), nested);
    assert_eq!(error(&[("user.id", Int), ("user", Text)]), nested);
    assert_eq!(
        error(&[("a.b.c", Int), ("a.b", Int)]),
        "`a.b.c` lies inside `a.b`, so they cannot both be columns"
    );
    assert_eq!(error(&[("a", Int), ("a", Int)]), "the column `a` is there twice");
    assert_eq!(error(&[("a..b", Int)]), "`a..b` is not a path: a part of it is empty");
    assert_eq!(error(&[("", Int)]), "`` is not a path: a part of it is empty");
    assert!(DecodeSpec::Json.decoder(&columns(&[("userid", Int), ("user.id", Int)])).is_ok());
}

/// A JSON value and how it is written.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec(("[a-d\"\\\\é]{0,3}", inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What another parser calls JSON, ours does, and the other way round, duplicates aside.
    #[test]
    fn damaged_documents_are_judged_as_by_another_parser(
        value in json_value(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut text = serde_json::to_vec(&value).expect("a value");
        prop_assert_eq!(decoder(&[]).check(&text).err(), None);
        let at = at.index(text.len());
        text[at] = byte;
        let theirs = serde_json::from_slice::<serde_json::Value>(&text).is_ok();
        let ours = match decoder(&[]).check(&text) {
            Ok(()) => true,
            Err(reject) => reject.code == code::DUPLICATE_KEY,
        };
        // Theirs also refuses numbers that no double holds.
        prop_assert!(ours == theirs || ours && serde_json::from_slice::<&serde_json::value::RawValue>(&text).is_ok());
    }

    /// Whatever the bytes, there is a row or a reject, and the good rows around stay good.
    #[test]
    fn any_bytes_are_a_row_or_a_reject(bodies in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
        let mut all: Vec<Vec<u8>> = vec![br#"{"id":1,"name":"a"}"#.to_vec()];
        all.extend(bodies);
        all.push(br#"{"name":"b","id":2}"#.to_vec());
        let mut decoder = decoder(&[("id", Int), ("name", Text)]);
        let decoded = decoder.decode(&messages(&all), &Selection::All(all.len()));
        let rows = rows(&decoded);
        prop_assert_eq!(rows.len(), all.len());
        prop_assert_eq!(rows.first().map(String::as_str), Some("1|a"));
        prop_assert_eq!(rows.last().map(String::as_str), Some("2|b"));
        for (row, body) in all.iter().enumerate() {
            let rejected = decoded.rejects.iter().any(|(rejected, _)| *rejected == row as u32);
            prop_assert_eq!(decoder.check(body).is_err(), rejected);
        }
    }
}
