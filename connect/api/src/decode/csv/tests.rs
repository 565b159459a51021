use proptest::prelude::*;

use super::super::test_messages::{columns, messages, messages_with, rows};
use super::super::{CsvSpec, DecodeSpec, DecodeSpecError, Decoder};
use super::*;
use crate::DataType;

const COLUMNS: [(&str, DataType); 4] = [
    ("id", DataType::Int),
    ("name", DataType::String),
    ("amount", DataType::Double),
    ("day", DataType::Date),
];

fn spec() -> CsvSpec {
    CsvSpec { columns: columns(&COLUMNS), delimiter: b',', quote: b'"', null: String::new() }
}

fn decoder(spec: CsvSpec, wanted: &[(&str, DataType)]) -> Box<dyn Decoder> {
    DecodeSpec::Csv(spec).decoder(&columns(wanted)).expect("a good spec")
}

#[track_caller]
fn check(spec: CsvSpec, cases: &[(&str, &str)]) {
    let lines: Vec<_> = cases.iter().map(|(line, _)| line).collect();
    let expected: Vec<_> = cases.iter().map(|(_, row)| *row).collect();
    let mut decoder = decoder(spec, &COLUMNS);
    let decoded = decoder.decode(&messages(&lines), &Selection::All(lines.len()));
    assert_eq!(rows(&decoded), expected);
    for (row, line) in lines.iter().enumerate() {
        let reject = decoded.rejects.iter().find(|(number, _)| *number as usize == row);
        let expected = reject.map_or(Ok(()), |(_, reject)| Err(reject.clone()));
        assert_eq!(decoder.check(line.as_bytes()), expected, "{line}");
    }
}

/// Lines with the header of their file, and the rows they are in the order of `wanted`.
#[track_caller]
fn check_headers(wanted: &[(&str, DataType)], cases: &[(&str, &str, &str)]) {
    let lines: Vec<_> = cases.iter().map(|(header, line, _)| (*line, Some(*header))).collect();
    let expected: Vec<_> = cases.iter().map(|(_, _, row)| *row).collect();
    let decoded =
        decoder(spec(), wanted).decode(&messages_with(&lines), &Selection::All(lines.len()));
    assert_eq!(rows(&decoded), expected);
}

#[test]
fn a_line_is_a_row_of_the_columns_in_order() {
    check(
        spec(),
        &[
            ("1,one,1.5,2026-01-02", "1|one|1.5|2026-01-02"),
            ("-2,,,", "-2|null|null|null"),
            ("3,\"\",\"2\",2026-01-02", "3||2.0|2026-01-02"),
            ("4,\"a,b\",0,\"2026-01-02\"", "4|a,b|0.0|2026-01-02"),
            ("5,\"\"\"a\"\" b\"\"\",0,", "5|\"a\" b\"|0.0|null"),
            ("6, ä ,1e3,", "6| ä |1000.0|null"),
            (",,,", "null|null|null|null"),
        ],
    );
}

#[test]
fn what_does_not_fit_is_no_row() {
    check(
        spec(),
        &[
            ("1,one,1.5", "E-DECODE-09 -"),
            ("1,one,1.5,,", "E-DECODE-09 -"),
            ("", "E-DECODE-09 -"),
            // That the line is torn says more than what is wrong with its values.
            ("x,one", "E-DECODE-09 -"),
            ("x,one,,", "E-DECODE-03 id"),
            ("1.0,one,,", "E-DECODE-03 id"),
            (" 1,one,,", "E-DECODE-03 id"),
            ("\"\",one,,", "E-DECODE-03 id"),
            ("1,one,1;5,", "E-DECODE-03 amount"),
            ("1,one,,2.1.2026", "E-DECODE-03 day"),
            ("1,\"one,,", "E-DECODE-08 name"),
            ("1,\"one\"\",,", "E-DECODE-08 name"),
            ("1,o\"ne,,", "E-DECODE-08 name"),
            ("1,\"o\"ne,,", "E-DECODE-08 name"),
            ("1,\"one\" ,,", "E-DECODE-08 name"),
            ("1,one,,,\"", "E-DECODE-08 -"),
            ("fine\",1,,", "E-DECODE-08 id"),
        ],
    );
}

#[test]
fn errors_say_where() {
    let error = |line: &[u8]| decoder(spec(), &COLUMNS).check(line).unwrap_err().error;
    assert_eq!(error(b"1,x"), "the line has 2 values, and the schema has 4");
    assert_eq!(error(b"1,a\"b,,"), "the quote at byte 3 is within a value without quotes");
    assert_eq!(error(b"1,\"a\"b,,"), "at byte 5 something follows a closing quote");
    assert_eq!(
        error(b"1,\"a"),
        "the quote at byte 2 is not closed on its line; values with line breaks are not read"
    );
    assert_eq!(error(b"1,\xff,,"), "not UTF-8 at byte 2");
    assert_eq!(error(b"one,,,"), "`one` is not an int");
}

#[test]
fn marks_can_be_others() {
    let other = CsvSpec { delimiter: b'\t', quote: b'\'', null: "-".into(), ..spec() };
    check(
        other,
        &[
            ("1\t'it''s'\t-\t-", "1|it's|null|null"),
            ("2\t'-'\t1\t-", "2|-|1.0|null"),
            ("3\t\t1\t-", "3||1.0|null"),
            ("-\t\"a,b\"\t\t-", "E-DECODE-03 amount"),
        ],
    );
}

#[test]
fn the_header_of_each_file_says_which_value_is_of_which_column() {
    check_headers(
        &COLUMNS,
        &[
            ("id,name,amount,day", "1,one,1,2026-01-02", "1|one|1.0|2026-01-02"),
            ("day,amount,name,id", "2026-01-02,2,two,2", "2|two|2.0|2026-01-02"),
            ("id,name,amount,day", "3,three,3,", "3|three|3.0|null"),
            ("id,more,name,\"amount\",day", "4,x\"\",four,4,", "E-DECODE-08 -"),
            ("id,more,name,\"amount\",day", "4,anything,four,4,", "4|four|4.0|null"),
            ("id,name,amount,day", "5,five", "E-DECODE-09 -"),
            ("id,name,day", "6,six,", "E-DECODE-10 amount"),
            ("id,id,name,amount,day", "7,7,seven,7,", "E-DECODE-10 id"),
            ("ID,name,amount,day", "8,eight,8,", "E-DECODE-10 id"),
            ("\"id,name,amount,day", "9,nine,9,", "E-DECODE-10 -"),
            ("", "10", "E-DECODE-10 id"),
        ],
    );
}

#[test]
fn only_what_is_wanted_is_judged() {
    let name = [("name", DataType::String)];
    check_headers(
        &name,
        &[
            ("x,name,x", "?,one,\"?\"", "one"),
            ("name", "two", "two"),
            ("id", "3", "E-DECODE-10 name"),
        ],
    );
    let mut decoder = decoder(spec(), &name);
    assert_eq!(decoder.check(b"no int,x,no double,no day"), Ok(()));
}

#[test]
fn a_line_without_a_header_is_never_read_by_that_of_another() {
    let lines = [
        ("1,one,,", Some("name,id,amount,day")),
        ("1,one,,", None),
        ("two,2,,", Some("name,id,amount,day")),
    ];
    let decoded = decoder(spec(), &COLUMNS).decode(&messages_with(&lines), &Selection::All(3));
    assert_eq!(rows(&decoded), ["E-DECODE-03 id", "1|one|null|null", "2|two|null|null"]);
}

#[test]
fn the_columns_are_those_of_the_spec() {
    assert_eq!(
        DecodeSpec::Csv(spec()).known_schema().map(|known| known.columns),
        Some(spec().columns)
    );
    let error = |name, data_type| {
        DecodeSpec::Csv(spec()).decoder(&columns(&[(name, data_type)])).err().expect("a mistake")
    };
    assert!(matches!(error("line", DataType::String), DecodeSpecError::UnknownColumn { .. }));
    assert!(matches!(error("id", DataType::String), DecodeSpecError::WrongType { .. }));
}

proptest! {
    #[test]
    fn what_is_written_with_quotes_is_read_as_it_was(
        texts in prop::collection::vec("[a,\"ä \u{7f}]{0,5}", 1..5),
    ) {
        let written: Vec<_> =
            texts.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect();
        let line = written.join(",");
        let marks = Marks { delimiter: b',', quote: b'"' };
        let mut values = Vec::new();
        prop_assert!(marks.split(&line, &mut values).is_ok());
        let read: Vec<_> =
            values.iter().map(|at| marks.unquote(&line[at.start..at.end])).collect();
        prop_assert_eq!(read, texts);
    }

    /// Cut at delimiters that are not between quotes, a line is what it was.
    #[test]
    fn any_line_is_its_values_or_is_refused(line in "[a,\"ä]{0,12}") {
        let marks = Marks { delimiter: b',', quote: b'"' };
        let mut values = Vec::new();
        let whole = marks.split(&line, &mut values).is_ok();
        let again: Vec<_> = values
            .iter()
            .map(|at| match at.is_quoted {
                true => format!("\"{}\"", &line[at.start..at.end]),
                false => line[at.start..at.end].to_owned(),
            })
            .collect();
        if whole {
            prop_assert_eq!(again.join(","), line);
        } else {
            prop_assert!(line.contains('"'), "{}", line);
        }
    }
}
