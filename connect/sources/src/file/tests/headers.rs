//! First lines that are no records, but go with all others of their file.

use proptest::prelude::*;

use super::super::*;
use super::support::*;

fn with_header(options: FileOptions) -> FileOptions {
    FileOptions { header: true, ..options }
}

/// What came: the header and the line, or the code and the line.
fn told(records: &[Record]) -> Vec<String> {
    let tell = |record: &Record| match &record.body {
        Ok(body) => format!("{} | {body}", record.header.as_deref().unwrap_or("-")),
        Err((code, body)) => format!("{code} | {body}"),
    };
    records.iter().map(tell).collect()
}

#[track_caller]
fn check(file: impl AsRef<[u8]>, expected: &[&str]) {
    for read_chunk in [1, 3, 256 * 1024] {
        in_simulated_time(async {
            let writer = Writer::simulated();
            writer.append("a", &file);
            let options = FileOptions { read_chunk, ..with_header(writer.once(&["a"])) };
            let records = writer.open(options, &[]).records().await;
            assert_eq!(told(&records), expected, "{read_chunk} bytes at a time");
        });
    }
}

#[test]
fn the_first_line_goes_with_all_others() {
    check("a,b\n1,2\n3,4", &["a,b | 1,2", "a,b | 3,4"]);
    check("\u{feff}a,b\r\n1,2\r\n", &["a,b | 1,2"]);
    check("a,b\n\n1,2\n", &["a,b | 1,2"]);
    check("\n1,2\n", &[" | 1,2"]);
    check("a,b\n", &[]);
    check("a,b", &[]);
    check("", &[]);
}

#[test]
fn what_can_be_no_header_makes_letters_of_its_lines() {
    check(b"a\xff\n1\n2\n", &["E-SOURCE-05 | 1", "E-SOURCE-05 | 2"]);
    check("a\u{1}b\n1\n", &["E-SOURCE-05 | 1"]);
    let header = "x".repeat(8 << 10);
    check(format!("{header}\r\n1\n"), &[&format!("{header} | 1")]);
    check(format!("\u{feff}{header}\n1\n"), &[&format!("{header} | 1")]);
    check(format!("{header}x\n1\n"), &["E-SOURCE-05 | 1"]);
    let long = "x".repeat(3 << 20);
    check(format!("{long}\n1\n"), &["E-SOURCE-05 | 1"]);
}

#[test]
fn each_file_has_its_own() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        writer.append("a.csv", "a,b\n1,2\n");
        writer.append("b.csv", "b,a\n2,1\n");
        let mut reader = writer.open(with_header(writer.once(&["*.csv"])), &[]);
        assert_eq!(told(&reader.records().await), ["a,b | 1,2", "b,a | 2,1"]);
    });
}

#[test]
fn a_file_waits_for_the_end_of_its_first_line() {
    on_both_disks(async |writer| {
        let mut options = with_header(writer.options(&["a"]));
        options.partial_line_ms = 0;
        writer.append("a", "a,");
        let mut reader = writer.open(options.clone(), &[]);
        assert_eq!(told(&reader.records().await), [""; 0]);
        assert_eq!(told(&reader.records().await), [""; 0]);
        writer.append("a", "b\n1,2\n");
        assert_eq!(told(&reader.records().await), ["a,b | 1,2"]);
        // Another one in its place has another header.
        writer.truncate("a", 0);
        writer.append("a", "b\n7\n");
        assert_eq!(told(&reader.records().await), ["b | 7"]);
    });
}

#[test]
fn a_file_that_begins_at_its_end_has_its_header() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        writer.append("a", "a,b\n1,2\n");
        let options = FileOptions { start_at_end: true, ..with_header(writer.options(&["a"])) };
        let mut reader = writer.open(options, &[]);
        assert_eq!(told(&reader.records().await), [""; 0]);
        writer.append("a", "3,4\n");
        assert_eq!(told(&reader.records().await), ["a,b | 3,4"]);
    });
}

proptest! {
    /// Whatever is appended, and whenever reading stops or is killed.
    #[test]
    fn every_line_has_its_header_over_restarts(
        appended in prop::collection::vec(("[a-c\n]{0,6}", 0..3_u8), 1..8),
    ) {
        in_simulated_time(async {
            let writer = Writer::simulated();
            let options = FileOptions {
                partial_line_ms: 1 << 40,
                read_chunk: 3,
                ..with_header(writer.options(&["a"]))
            };
            writer.append("a", "head,");
            let mut reader = writer.open(options.clone(), &[]);
            let mut found = told(&reader.records().await);
            let mut text = String::from("head,");
            for (number, (more, what)) in appended.into_iter().enumerate() {
                let more = if number == 0 { format!("er\n{more}") } else { more };
                writer.append("a", &more);
                text.push_str(&more);
                match what {
                    0 => reader = writer.open_after_stop(&options, &reader),
                    1 => reader = writer.open_after_crash(&options, reader),
                    _ => {}
                }
                found.extend(told(&reader.records().await));
            }
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let expected: Vec<_> = whole.lines().skip(1).filter(|line| !line.is_empty())
                .map(|line| format!("head,er | {line}")).collect();
            assert_eq!(found, expected);
        });
    }
}
