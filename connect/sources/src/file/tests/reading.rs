use proptest::prelude::*;

use super::super::*;
use super::support::*;

#[track_caller]
fn check(text: &str, expected: &[(u64, u64, &str)]) {
    for read_chunk in [1, 2, 3, 7, 64, 256 * 1024] {
        in_simulated_time(async {
            let writer = Writer::simulated();
            writer.append("a", text);
            let options = FileOptions { read_chunk, line_max: 8, ..writer.once(&["a"]) };
            let records = writer.open(options, &[]).records().await;
            let records: Vec<_> = records
                .iter()
                .map(|record| {
                    let body = match &record.body {
                        Ok(body) => body,
                        Err((code, body)) => {
                            assert_eq!(*code, "E-SOURCE-01");
                            body
                        }
                    };
                    (record.position.offset, record.position.line, &body[..])
                })
                .collect();
            assert_eq!(records, expected, "{text:?}, {read_chunk} bytes at a time");
        });
    }
}

#[test]
fn positions_are_exact() {
    check("", &[]);
    check("one\ntwo\n", &[(0, 0, "one"), (4, 1, "two")]);
    check("one\r\ntwo", &[(0, 0, "one"), (5, 1, "two")]);
    check("\n\none\n\ntwo\n\n", &[(2, 2, "one"), (7, 4, "two")]);
    check("123456789\ntwo\n", &[(0, 0, "12345678"), (10, 1, "two")]);
    check("one\n123456789abcdefghijkl", &[(0, 0, "one"), (4, 1, "12345678")]);
}

#[test]
fn a_very_long_line_is_a_letter_of_4_kib() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        writer.append("a", "first\n");
        for _ in 0..64 {
            writer.append("a", "x".repeat(64 * 1024));
        }
        writer.append("a", "\nlast\n");
        let mut reader = writer.open(writer.once(&["a"]), &[]);
        let records = reader.records().await;
        assert_eq!(records.len(), 3);
        assert_eq!(records[1].body, Err(("E-SOURCE-01", "x".repeat(4096))));
        assert_eq!(records[1].next, records[2].position);
        assert_eq!(records[2].position, Position { offset: 4 * 1024 * 1024 + 7, line: 2 });
        assert_eq!(records[2].body, Ok("last".into()));
    });
}

#[test]
fn a_tail_gives_lines_as_they_come() {
    on_both_disks(async |writer| {
        writer.append("a", "one\ntw");
        let mut reader = writer.open(writer.options(&["a"]), &[]);
        assert_eq!(reader.bodies().await, ["one"]);
        writer.append("a", "o\nthree\n");
        assert_eq!(reader.bodies().await, ["two", "three"]);
        assert_eq!(reader.bodies().await, [""; 0]);
    });
}

#[test]
fn an_idle_source_looks_again_after_scan_every() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        let options = FileOptions { scan_every_ms: 300, ..writer.options(&["a"]) };
        let mut reader = writer.open(options, &[]);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(matches!(reader.source.poll().await, Ok(Polled::Idle)));
        }
        assert_eq!(start.elapsed(), Duration::from_millis(900));
    });
}

#[test]
fn an_impatient_caller_gets_there_too() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        let mut reader = writer.open(writer.options(&["a"]), &[]);
        let patience = Duration::from_millis(150);
        let mut polls = 0;
        writer.append("a", "one\n");
        let first = loop {
            polls += 1;
            if let Ok(polled) = tokio::time::timeout(patience, reader.source.poll()).await {
                break polled.unwrap();
            }
        };
        assert!(matches!(first, Polled::Idle));
        assert_eq!(polls, 7);
        assert_eq!(reader.bodies().await, ["one"]);
    });
}

#[test]
fn a_last_line_without_end_is_given_after_a_time() {
    on_both_disks(async |writer| {
        writer.append("a", "one\ntw");
        let mut reader = writer.open(writer.options(&["a"]), &[]);
        assert_eq!(reader.bodies_for(Duration::from_secs(4)).await, ["one"]);
        writer.append("a", "o");
        assert_eq!(reader.bodies_for(Duration::from_secs(4)).await, [""; 0]);
        assert_eq!(reader.bodies_for(Duration::from_secs(3)).await, ["two"]);

        writer.append("a", " and a half\nthree\n");
        let records = reader.records().await;
        assert_eq!(records[0].body, Ok(" and a half".into()));
        assert_eq!(records[0].position, Position { offset: 7, line: 1 });
        assert_eq!(records[1].position, Position { offset: 19, line: 2 });
    });
}

#[test]
fn a_last_line_that_is_too_long_is_given_after_a_time() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        writer.append("a", "123456789abcdef");
        let options = FileOptions { line_max: 8, ..writer.options(&["a"]) };
        let mut reader = writer.open(options, &[]);
        let mut records = Vec::new();
        for _ in 0..7 {
            records.extend(reader.records().await);
        }
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].next, Position { offset: 15, line: 0 });
        writer.append("a", "g\nb\n");
        let next = reader.records().await;
        assert_eq!(next[0].body, Ok("g".into()));
        assert_eq!(next[1].position, Position { offset: 17, line: 1 });
    });
}

#[test]
fn starting_at_the_end_starts_at_the_last_line() {
    on_both_disks(async |writer| {
        writer.append("a", "one\ntwo\nthr");
        writer.append("b", "one\n");
        let options = FileOptions { start_at_end: true, ..writer.options(&["*"]) };
        let mut reader = writer.open(options, &[]);
        assert_eq!(reader.bodies().await, [""; 0]);
        writer.append("a", "ee\n");
        writer.append("b", "two\n");
        writer.append("c", "found later\n");
        let records = reader.records().await;
        let came: Vec<_> =
            records.iter().map(|r| (&r.name[..], r.position.offset, r.body.as_deref())).collect();
        assert_eq!(came, [("a", 8, Ok("three")), ("b", 4, Ok("two")), ("c", 0, Ok("found later"))]);
    });
}

#[test]
fn a_bad_sector_is_an_error_after_what_lies_before_it() {
    in_simulated_time(async {
        let disk = millrace_disk::SimDisk::new(3);
        let writer = Writer::on(Arc::new(disk.clone()));
        writer.append("a", lines(0..1000));
        disk.inject(millrace_disk::Fault::BadSector { path: writer.path("a").into(), sector: 9 });
        let options = FileOptions { read_chunk: 1000, ..writer.once(&["a"]) };
        let mut reader = writer.open(options, &[]);
        let mut records = Vec::new();
        let error = loop {
            match reader.source.poll().await {
                Ok(Polled::Chunk(chunk)) => records.extend(reader.take(chunk, None)),
                Ok(polled) => panic!("{polled:?}"),
                Err(error) => break error,
            }
        };
        let SourceError::Io { path, .. } = error else { panic!("{error}") };
        assert_eq!(path, "/logs/a");
        assert_eq!(records.len(), 4000 / 20);
        assert!(reader.source.poll().await.is_err());
    });
}

#[test]
fn a_failed_read_is_tried_again_and_nothing_is_lost() {
    in_simulated_time(async {
        for every in 0..40 {
            let writer = Writer::simulated();
            writer.append("a", lines(0..1000));
            writer.append("b", lines(1000..1010) + "last");
            let options = FileOptions { read_chunk: 1000, ..writer.once(&["*"]) };
            let mut reader = writer.flaky(every).open_at_last(&options, &[]);
            let mut bodies = reader.bodies().await;
            assert_eq!(bodies.pop().as_deref(), Some("last"));
            assert_eq!(bodies, numbered(0..1010));
        }
    });
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[a-z]{1,12}",
        1 => Just(String::new()),
        1 => "[a-z]{20,60}",
        1 => "[a-z]{900,1300}",
    ];
    let end = prop_oneof![4 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r")];
    (proptest::collection::vec((line, end), 0..30), "[a-z]{0,5}").prop_map(|(lines, last)| {
        let text: String = lines.into_iter().map(|(line, end)| line + end).collect();
        (text + &last).into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reading_on_from_any_cursor_gives_exactly_the_rest(
        bytes in contents(),
        read_chunk in 1_usize..100,
    ) {
        in_simulated_time(async {
            let writer = Writer::simulated();
            writer.append("a", &bytes);
            let options = FileOptions { read_chunk, line_max: 40, ..writer.once(&["a"]) };
            let all = writer.open(options.clone(), &[]).records().await;
            for (index, record) in all.iter().enumerate() {
                let cursor =
                    SourceCursor {
                        identity: record.identity.clone(),
                        path: String::new(),
                        position: record.next,
                        standing: Standing::Open,
                    };
                let rest = writer.open(options.clone(), &[cursor]).records().await;
                assert_eq!(rest, all[index + 1..]);
            }
            for record in &all {
                if let Ok(body) = &record.body {
                    let at = record.position.offset as usize;
                    assert_eq!(body.as_bytes(), &bytes[at..at + body.len()]);
                    let before = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
                    assert_eq!(record.position.line, before as u64);
                }
            }
        });
    }

    /// The file grows in pieces and the source is started anew between them.
    #[test]
    fn a_file_that_grows_across_restarts_is_read_once(
        bytes in contents(),
        cuts in proptest::collection::vec((1_usize..1500, 0..3), 1..12),
        read_chunk in 1_usize..600,
    ) {
        in_simulated_time(async {
            let writer = Writer::simulated();
            writer.append("a", "");
            let options = FileOptions { read_chunk, line_max: 100_000, ..writer.options(&["a"]) };
            let mut reader = writer.open(options.clone(), &[]);
            let mut came = Vec::new();
            let mut rest = &bytes[..];
            for (len, restart) in cuts {
                let piece;
                (piece, rest) = rest.split_at(len.min(rest.len()));
                writer.append("a", piece);
                came.extend(reader.bodies().await);
                match restart {
                    0 => {}
                    1 => reader = writer.open_after_stop(&options, &reader),
                    _ => reader = writer.open_after_crash(&options, reader),
                }
            }
            writer.append("a", rest);
            came.extend(reader.bodies_for(Duration::from_secs(10)).await);
            let text = String::from_utf8(bytes).unwrap();
            let expected: Vec<_> = text
                .split_inclusive('\n')
                .map(|line| match line.strip_suffix('\n') {
                    Some(line) => line.strip_suffix('\r').unwrap_or(line),
                    None => line,
                })
                .filter(|line| !line.is_empty())
                .collect();
            assert_eq!(came, expected);
        });
    }
}
