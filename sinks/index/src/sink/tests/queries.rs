//! What a query finds, beside what a reader of it would find.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{StringArray, TimestampMicrosecondArray};
use millrace_disk::SimDisk;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use super::rig::*;
use crate::{Asked, QueryError, Search};

/// As many documents as there are numbers below this.
const DOCUMENTS: i64 = 14;

/// In two parts.
fn written() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 9), at(0)).unwrap();
    commit(&mut sink, &batch(0, 9, DOCUMENTS as u64), at(1)).unwrap();
    disk
}

/// A piece of a query, and which numbers it is about.
type Term = (&'static str, fn(i64) -> bool);

const TERMS: [Term; 13] = [
    ("even", |n| n % 2 == 0),
    ("text:ODD", |n| n % 2 == 1),
    ("text:\"row even\"", |n| n % 2 == 0),
    ("text:\"first row od\"*", |n| n % 2 == 1),
    ("key:\"Key-1\"", |n| n % 3 == 1),
    ("key:Key-2", |n| n % 3 == 2),
    ("key:(Key-0 OR Key-1)", |n| n % 3 < 2),
    ("n:7", |n| n == 7),
    ("n: IN [1 2 12]", |n| [1, 2, 12].contains(&n)),
    ("n:[3 TO 10}", |n| (3..10).contains(&n)),
    ("time:>=2026-01-01T00:00:05Z", |n| n >= 5),
    ("nowhere", |_| false),
    ("*", |_| true),
];

#[derive(Clone, Debug)]
enum Asking {
    Piece(usize),
    /// How it is written, and what is excluded.
    Not(&'static str, Box<Asking>),
    /// What stands before each but the first, and it.
    All(Vec<(&'static str, Asking)>),
    Any(Vec<(&'static str, Asking)>),
}

impl Asking {
    /// With no more brackets than it needs.
    fn written(&self) -> String {
        let joined = |parts: &[(&str, Asking)], within: fn(&Asking) -> bool| {
            let mut query = String::new();
            for (index, (before, part)) in parts.iter().enumerate() {
                query += if index == 0 { "" } else { before };
                query += &match within(part) {
                    true => format!("({})", part.written()),
                    false => part.written(),
                };
            }
            query
        };
        match self {
            Asking::Piece(term) => TERMS[*term].0.to_owned(),
            Asking::Not(sign, part) => match **part {
                Asking::Piece(_) | Asking::Not(..) => format!("{sign}{}", part.written()),
                _ => format!("{sign}({})", part.written()),
            },
            Asking::All(parts) => joined(parts, |part| matches!(part, Asking::Any(_))),
            Asking::Any(parts) => joined(parts, |_| false),
        }
    }

    fn is_about(&self, n: i64) -> bool {
        match self {
            Asking::Piece(term) => TERMS[*term].1(n),
            Asking::Not(_, part) => !part.is_about(n),
            Asking::All(parts) => parts.iter().all(|(_, part)| part.is_about(n)),
            Asking::Any(parts) => parts.iter().any(|(_, part)| part.is_about(n)),
        }
    }
}

fn askings() -> impl Strategy<Value = Asking> {
    let piece = (0..TERMS.len()).prop_map(Asking::Piece);
    piece.prop_recursive(5, 24, 4, |part| {
        let not = (select(vec!["NOT ", "-", "!"]), part.clone())
            .prop_map(|(sign, part)| Asking::Not(sign, Box::new(part)));
        let and = select(vec![" ", " AND ", "\n&& "]);
        let or = select(vec![" OR ", " || "]);
        let all = prop::collection::vec((and, part.clone()), 2..4).prop_map(Asking::All);
        let any = prop::collection::vec((or, part), 2..4).prop_map(Asking::Any);
        prop_oneof![not, all, any]
    })
}

#[test]
fn a_query_finds_what_its_reader_would() {
    let disk = written();
    let search = Search::open(&disk, Path::new(DIR)).unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&askings(), |asking| {
        let query = asking.written();
        let expected: Vec<i64> = (0..DOCUMENTS).filter(|n| asking.is_about(*n)).collect();
        let found = search.ask(&asked(&query)).unwrap();
        prop_assert_eq!(numbers(&found), &*expected, "{}", query);
        prop_assert_eq!(found.total, expected.len() as u64, "{}", query);
        // Tantivy goes other ways where it orders by how well a document matches.
        let best = search.ask(&Asked { sort: None, ..asked(&query) }).unwrap();
        let mut best = numbers(&best);
        best.sort_unstable();
        prop_assert_eq!(best, expected, "{}", query);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn what_only_excludes_means_all_but_that() {
    let disk = written();
    let odd = [1, 3, 5, 7, 9, 11, 13];
    for query in [
        "NOT even",
        "-even",
        "!even",
        "* AND NOT even",
        "odd AND NOT even",
        "odd AND (NOT even)",
        "NOT even AND odd",
        "(-even)",
        "NOT NOT NOT even",
        "text:(NOT even)",
        "n:99 OR NOT even",
        "n:99 OR -even",
    ] {
        assert_eq!(find(&disk, query), odd, "{query}");
    }
    assert_eq!(find(&disk, "n:[0 TO 3] AND NOT n:1"), [0, 2, 3]);
    assert_eq!(find(&disk, "NOT n:>2 AND NOT n:1"), [0, 2]);
    assert_eq!(find(&disk, "* -text:\"row even\""), odd);
    assert_eq!(find(&disk, "NOT (n:[2 TO 10} n:[2 TO 12})"), [0, 1, 10, 11, 12, 13]);
}

#[test]
fn a_blank_is_and_and_binds_tighter_than_or() {
    let disk = written();
    assert_eq!(find(&disk, "n:1 OR n:<5 even"), [0, 1, 2, 4]);
    assert_eq!(find(&disk, "n:<5 even OR n:1"), [0, 1, 2, 4]);
    assert_eq!(find(&disk, "n:1 OR n:<5 AND even"), [0, 1, 2, 4]);
    assert_eq!(find(&disk, "(n:1 OR n:<5) even"), [0, 2, 4]);
    assert_eq!(find(&disk, "n:1 || n:<5 && even"), [0, 1, 2, 4]);
    assert_eq!(find(&disk, "+even +n:<5"), [0, 2, 4]);
    assert_eq!(find(&disk, "n:[* TO *] n:<3"), [0, 1, 2]);
    assert_eq!(find(&disk, "(even OR odd)^2 n:1^3"), [1]);
}

#[test]
fn what_other_languages_mean_otherwise_is_refused() {
    let disk = written();
    let search = Search::open(&disk, Path::new(DIR)).unwrap();
    for (query, place, part) in [
        ("", "", "`*` finds everything"),
        (" \t", "", "`*` finds everything"),
        ("()", ")", "something to look for is missing"),
        ("even AND", "", "something to look for is missing"),
        ("OR even", "OR", "a part before it is missing"),
        ("even AND OR odd", "OR", "a part before it is missing"),
        ("even )", ")", "nothing is opened"),
        ("(even OR (odd)", "(", "this bracket is not closed"),
        ("even \"odd", "\"", "this quote is not closed"),
        ("n:[1 TO 2", "[", "this bracket is not closed"),
        ("(even)odd", "o", "a blank before it is missing"),
        ("even(odd)", "(", "a bracket within a word"),
        ("even - odd", "-", "`-` stands before nothing"),
        ("even OR +odd", "+", "`+` beside `OR`"),
        ("text:!even", "!", "write `!field:word`"),
        ("even or odd", "or", "`or` is no operator here"),
        ("even and odd", "and", "in capitals"),
        ("even&&odd", "even&&odd", "between blanks"),
        ("even | odd", "|", "no operator here"),
        ("key:K?y-1", "K?y-1", "do not stand for other characters"),
        ("key:*y", "*y", "do not stand for other characters"),
        ("key:K*y", "K*y", "do not stand for other characters"),
        ("text:eve?", "eve?", "in quotes `*` and `?` are characters"),
        ("_queue:b/orders*", "b/orders*", "as a whole"),
        ("text:\"!!\"", "\"!!\"", "there is no word in it"),
        ("key:/Key.*/", "/Key.*/", "patterns are not looked for"),
        ("kee:*", "kee", "no field is called `kee`"),
        ("n.x:*", "n.x", "no field is called `n`"),
        ("even text:[* TO *]", "text", "`*` finds nothing"),
    ] {
        let Err(QueryError::Wrong { at, message, help }) = search.ask(&asked(query)) else {
            panic!("`{query}` finds something")
        };
        assert_eq!(at.map_or("", |at| &query[at]), place, "{query}: {message}");
        assert!(format!("{message}; {help}").contains(part), "{query}: {message}; {help}");
    }
    for query in
        ["text:\"or\"", "\"Key-1?\"", "key:\"K?y\"", "key:K\\?y", "\"a && b\"", "'(' OR '\"'"]
    {
        assert!(find(&disk, query).is_empty(), "{query}");
    }
}

#[test]
fn signs_that_are_escaped_or_quoted_are_characters() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    let keys = StringArray::from_iter_values(["a*b", "a?b", "a&&b", "!a", "it's", "a (b"]);
    let batch = batch(0, 0, 6).with_column("key".into(), Arc::new(keys));
    commit(&mut sink, &batch, at(0)).unwrap();
    for (query, found) in [
        ("key:a\\*b", 0),
        ("key:'a*b'", 0),
        ("key:a\\?b", 1),
        ("key:\"a&&b\"", 2),
        ("key:\"!a\"", 3),
        ("key:\"it's\"", 4),
        ("key:it\\'s", 4),
        ("key:\"a (b\"", 5),
        ("key: IN ['a (b' \"]\"]", 5),
    ] {
        assert_eq!(find(&disk, query), [found], "{query}");
    }
}

#[test]
fn an_instant_is_found_to_the_microsecond() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    let micros = [0, 123_455, 123_456, 123_457, 999_999, 1_000_000];
    let times = micros.map(|micros| NEW_YEAR * 1000 + micros);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let batch = batch(0, 0, 6).with_column("time".into(), Arc::new(times));
    commit(&mut sink, &batch, at(0)).unwrap();
    for (query, found) in [
        ("time:\"2026-01-01T00:00:00.123456Z\"", &[2][..]),
        ("time:\"2026-01-01T01:00:00.123456+01:00\"", &[2]),
        // Of what is less than a microsecond, documents keep nothing either.
        ("time:\"2026-01-01T00:00:00.123456789Z\"", &[2]),
        ("time:\"2026-01-01T00:00:00Z\"", &[0]),
        ("time:(\"2026-01-01T00:00:01Z\" OR \"2026-01-01T00:00:00.5Z\")", &[5]),
        ("time: IN [\"2026-01-01T00:00:01Z\" \"2026-01-01T00:00:00.999999Z\"]", &[4, 5]),
        ("NOT time:\"2026-01-01T00:00:00Z\"", &[1, 2, 3, 4, 5]),
    ] {
        assert_eq!(find(&disk, query), found, "{query}");
    }
}

#[test]
fn no_query_is_too_long_or_too_deep_for_the_stack() {
    let disk = written();
    let search = Search::open(&disk, Path::new(DIR)).unwrap();
    let ask = |query: &str| search.ask(&asked(query)).map(|found| found.total);
    let refused = |query: &str| match ask(query) {
        Err(QueryError::Wrong { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    // Twice no is yes, so these need no depth.
    assert_eq!(ask(&format!("* {}even", "NOT ".repeat(5_000))).unwrap(), 7);
    assert_eq!(ask(&format!("* {}even", "-".repeat(5_001))).unwrap(), 7);
    assert_eq!(ask(&format!("{}even{}", "-(".repeat(100), ")".repeat(100))).unwrap(), 7);
    let deep = "more than 100 brackets within each other";
    for before in ["'\"' ", "", "\"'\" ", "* \\\" "] {
        assert_eq!(refused(&format!("{before}{}", "(".repeat(20_000))), deep, "{before}");
    }
    assert_eq!(refused(&"text:(".repeat(101)), deep);
    assert_eq!(refused(&"NOT (".repeat(101)), deep);
    assert_eq!(refused(&"a".repeat(65_537)), "the query has more than 65536 bytes");
    assert_eq!(ask(&format!("{}n:2", "n:1 OR ".repeat(9_000))).unwrap(), 2);
    assert_eq!(ask(&format!("{}even", "* ".repeat(30_000))).unwrap(), 7);
}
