use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Float64Array, StringArray, TimestampMicrosecondArray};
use millrace_connect_api::{Cut, FileSink, PartState, Resume, SinkError};
use millrace_disk::{Access, Disk, SimDisk};

use super::rig::*;
use crate::{
    Asked, FieldKind, IndexError, IndexSink, MappedField, OptionsError, Order, QueryError, Search,
    Value,
};

#[test]
fn documents_are_found_by_words_keywords_numbers_and_times() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 6), at(0)).unwrap();
    commit(&mut sink, &every_other(batch(1, 10, 14)), at(1)).unwrap();
    assert_eq!(find(&disk, "*"), [0, 1, 2, 3, 4, 5, 11, 13]);
    assert_eq!(find(&disk, "even"), [0, 2, 4]);
    assert_eq!(find(&disk, "text:EVEN first"), [0, 2, 4]);
    assert_eq!(find(&disk, "text:\"row odd\""), [1, 3, 5, 11, 13]);
    assert_eq!(find(&disk, "key:\"Key-1\""), [1, 4, 13]);
    assert!(find(&disk, "key:\"key-1\"").is_empty());
    assert_eq!(find(&disk, "n:3 OR n:[12 TO 13]"), [3, 13]);
    assert_eq!(find(&disk, "n:>4 -n:11"), [5, 13]);
    let second = |n: i64| (NEW_YEAR + n * 1000) * 1000;
    let between = Asked { from: Some(second(2)), to: Some(second(5)), ..asked("*") };
    assert_eq!(numbers(&ask(&disk, &between)), [2, 3, 4]);
    let between = Asked { from: Some(second(2) + 1), ..between };
    assert_eq!(numbers(&ask(&disk, &between)), [3, 4]);
}

#[test]
fn a_hit_tells_where_it_comes_from_and_what_matched() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(3, 7, 9), at(0)).unwrap();
    let found = ask(&disk, &asked("even"));
    let [hit] = &found.hits[..] else { panic!("{found:?}") };
    assert_eq!((hit.queue.as_str(), hit.offset), ("b/t/3", 8));
    assert_eq!(hit.store_time, NEW_YEAR * 1000);
    let names: Vec<_> = hit.fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["n", "text", "key", "time"]);
    assert_eq!(hit.fields[1].value, Value::Text("The first row, Even".to_owned()));
    assert_eq!(hit.fields[1].matched, vec![15..19]);
    assert_eq!(hit.fields[3].value, Value::Timestamp((NEW_YEAR + 8_000) * 1000));
    assert!(hit.fields[2].matched.is_empty());
}

#[test]
fn documents_are_sorted_limited_and_counted() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 4), at(0)).unwrap();
    commit(&mut sink, &batch(0, 4, 8), at(1)).unwrap();
    let by = |field: &str, order| {
        let found =
            ask(&disk, &Asked { sort: Some((field.to_owned(), order)), limit: 3, ..asked("*") });
        assert_eq!(found.total, 8);
        numbers(&found)
    };
    assert_eq!(by("time", Order::Descending), [7, 6, 5]);
    assert_eq!(by("_offset", Order::Ascending), [0, 1, 2]);
    let mut of_the_last_key = by("key", Order::Descending);
    of_the_last_key[..2].sort_unstable();
    assert_eq!(of_the_last_key[..2], [2, 5]);
    let counted = Asked { count_by: Some("key".to_owned()), limit: 0, ..asked("n:<7") };
    let expected = [("Key-0", 3), ("Key-1", 2), ("Key-2", 2)];
    let expected = expected.map(|(key, count)| (Some(key.to_owned()), count));
    assert_eq!(ask(&disk, &counted).counts, expected);
}

#[test]
fn a_document_is_found_by_where_its_message_is() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 8), at(0)).unwrap();
    commit(&mut sink, &batch(1, 0, 4), at(1)).unwrap();
    let found = |query: &str| {
        let sort = Some(("n".to_owned(), Order::Ascending));
        numbers(&ask(&disk, &Asked { sort, ..asked(query) }))
    };
    assert_eq!(found("_offset:5"), [5]);
    assert_eq!(found("_offset:2"), [2, 2]);
    assert_eq!(found("_queue:\"b/t/1\""), [0, 1, 2, 3]);
    assert_eq!(found("_queue:\"b/t/1\" _offset:[1 TO 2]"), [1, 2]);
    assert_eq!(found("odd -_offset:5 _offset:>=4"), [7]);
    assert_eq!(found("_offset: IN [1 6 99]"), [1, 1, 6]);
    assert_eq!(found("_store_time:\"2026-01-01T00:00:00Z\"").len(), 12);
    assert_eq!(found("_store_time:>2026-01-01T00:00:00Z").len(), 0);
    assert_eq!(found("_offset:*").len(), 12);
}

#[test]
fn a_wrong_question_is_told_with_its_place() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 4), at(0)).unwrap();
    let search = Search::open(&disk, Path::new(DIR)).unwrap();
    let wrong = |query: &str| match search.ask(&asked(query)) {
        Err(QueryError::Wrong { at, message, .. }) => {
            (at.map(|at| query[at].to_owned()).unwrap_or_default(), message)
        }
        other => panic!("{query}: {other:?}"),
    };
    let expected = |at: &str, message: &str| (at.to_owned(), message.to_owned());
    assert_eq!(wrong("even kee:x"), expected("kee", "no field is called `kee`"));
    assert_eq!(wrong("n:1 n:abc"), expected("abc", "`n` is a whole number"));
    assert_eq!(wrong("n:[1 TO x]"), expected("[1 TO x]", "`n` is a whole number"));
    assert_eq!(wrong("n:1 _offset:abc"), expected("abc", "`_offset` is a whole number"));
    let whole = "`_queue` is asked for as a whole or by a range";
    assert_eq!(wrong("_queue:\"b/t\"*"), expected("", whole));
    assert_eq!(wrong("time:yesterday"), expected("yesterday", "`time` is an instant in RFC 3339"));
    let (at, message) = wrong("even (odd");
    assert!(message.starts_with("this is no query") && at.len() < 9, "{at}: {message}");
    let any = "of `text`, which is of kind `text`, `*` finds nothing";
    assert_eq!(wrong("even text:*"), expected("text", any));
    let rest = "`*` does not stand for the rest of a word";
    assert_eq!(wrong("odd text:(even eve*)"), expected("eve*", rest));
    assert_eq!(wrong("key:Key*"), expected("Key*", rest));
    assert_eq!(wrong("n:1 -eve*"), expected("eve*", rest));
    let deep = |depth: usize| format!("{}even{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(search.ask(&asked(&deep(100))).unwrap().total, 2);
    let (at, message) = wrong(&deep(1_000));
    assert_eq!((&*at, &*message), ("(", "more than 100 brackets within each other"));
    assert_eq!(search.ask(&asked(&format!("key:\"{}\"", "(".repeat(200)))).unwrap().total, 0);
    for (name, told) in [("text", "which is of kind `text`"), ("x", "no field is called `x`")] {
        let sort = Some((name.to_owned(), Order::Ascending));
        let Err(QueryError::Wrong { message, .. }) = search.ask(&Asked { sort, ..asked("*") })
        else {
            panic!("it sorts by {name}")
        };
        assert!(message.starts_with("cannot sort by `") && message.contains(told), "{message}");
    }
    let Err(QueryError::Wrong { help, .. }) = search.ask(&asked("Eve*")) else {
        panic!("it looks for what begins so")
    };
    assert!(help.contains("as in `text:[eve TO evf}`"), "{help}");
    let count_by = Some("time".to_owned());
    assert!(search.ask(&Asked { count_by, ..asked("*") }).is_err());
}

#[test]
fn what_begins_so_is_found_by_a_range() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 6), at(0)).unwrap();
    assert_eq!(find(&disk, "text:[eve TO evf}"), [0, 2, 4]);
    assert_eq!(find(&disk, "text:[o TO p}"), [1, 3, 5]);
    assert_eq!(find(&disk, "key:[Ke TO Kf} -n:2"), [0, 1, 3, 4, 5]);
    assert!(find(&disk, "key:[Kf TO Kg}").is_empty());
    // A character like others: in a keyword, in quotes, after `\`.
    for query in ["key:\"Key*\"", "key:'Key*'", "key:Key\\*"] {
        assert!(find(&disk, query).is_empty(), "{query}");
    }
    assert_eq!(find(&disk, "text:\"row ev\"*"), [0, 2, 4]);
}

#[test]
fn json_is_asked_for_by_its_fields_and_shown_as_it_is() {
    let disk = SimDisk::new(1);
    let mut options = options();
    let field = |name: &str, kind| MappedField { name: name.to_owned(), kind };
    options.mapping.fields.push(field("extra", FieldKind::Json));
    options.mapping.fields.push(field("ratio", FieldKind::Double));
    let mut sink = open(&disk, options);
    let texts = [r#"{"user":{"id":7,"at":"2026-01-01T00:00:00+01:00"}}"#, "[1]", "{", "{}"];
    let ratios = [Some(0.5), None, None, Some(f64::NAN)];
    let batch = batch(0, 0, 4)
        .with_column("extra".into(), Arc::new(StringArray::from_iter_values(texts)))
        .with_column("ratio".into(), Arc::new(Float64Array::from_iter(ratios)));
    let written = ready(sink.write(&batch, at(0))).unwrap();
    assert_eq!(written.rows, 2);
    let rejected = written.rejected.iter().map(|(row, reject)| (*row, reject.code));
    assert_eq!(rejected.collect::<Vec<_>>(), [(1, "E-INDEX-01"), (2, "E-INDEX-01")]);
    assert_eq!(written.rejected[0].1.field.as_deref(), Some("extra"));
    let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
    ready(sink.publish(part(&plan))).unwrap();
    let found = ask(&disk, &asked("extra.user.id:7 ratio:>0.4"));
    let [hit] = &found.hits[..] else { panic!("{found:?}") };
    let Value::Json(value) = &hit.fields[4].value else { panic!("{hit:?}") };
    let given: serde_json::Value = serde_json::from_str(texts[0]).unwrap();
    assert_eq!(*value, given);
    assert_eq!(hit.fields[5].value, Value::Double(0.5));
    let search = Search::open(&disk, Path::new(DIR)).unwrap();
    for query in ["n:0 extra.user.id:>=7", "extra.user.id:[7 TO 9}", "n:0 OR extra:<7"] {
        let Err(QueryError::Wrong { at: Some(at), message, .. }) = search.ask(&asked(query)) else {
            panic!("{query}")
        };
        assert!(query[at].starts_with("extra") && message.ends_with("no ranges"), "{message}");
    }
    assert_eq!(find(&disk, "n:3"), [3]);
}

#[test]
fn what_an_index_cannot_hold_is_refused_by_row() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    let long = "x".repeat(70_000);
    let times = TimestampMicrosecondArray::from(vec![Some(i64::MAX), None, Some(0)]);
    let batch = batch(0, 0, 3)
        .with_column("time".into(), Arc::new(times.with_timezone("UTC")))
        .with_column("key".into(), Arc::new(StringArray::from_iter_values(["a", &long, "b"])));
    let written = ready(sink.write(&batch, at(0))).unwrap();
    let fields = written.rejected.iter().map(|(row, reject)| (*row, reject.field.as_deref()));
    assert_eq!(fields.collect::<Vec<_>>(), [(0, Some("time")), (1, Some("key"))]);
    assert_eq!(written.rows, 1);
}

#[test]
fn a_part_is_staged_planned_and_published() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    ready(sink.write(&batch(0, 0, 5), at(0))).unwrap();
    ready(sink.write(&batch(1, 0, 2), at(0))).unwrap();
    let early = ready(sink.plan(at(9_999), Cut::Due)).unwrap();
    assert_eq!((early.parts.len(), early.resume.next), (0, next(&[(0, 0), (1, 0)])));
    let plan = ready(sink.plan(at(10_000), Cut::Due)).unwrap();
    assert_eq!((part(&plan).rows, plan.resume.next.clone()), (7, next(&[(0, 5), (1, 2)])));
    assert_eq!((visible(&disk).len(), find(&disk, "*").len()), (0, 0));
    assert_eq!(ready(sink.probe(part(&plan))).unwrap(), PartState::Staged);
    ready(sink.publish(part(&plan))).unwrap();
    ready(sink.publish(part(&plan))).unwrap();
    assert_eq!(ready(sink.probe(part(&plan))).unwrap(), PartState::Published);
    assert_eq!((visible(&disk), staged(&disk)), (vec![part(&plan).name.clone()], vec![]));
    assert_eq!(find(&disk, "*").len(), 7);
}

#[test]
fn parts_are_closed_by_rows_and_by_memory() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.rotate.rows = Some(3);
    let mut sink = open(&disk, options.clone());
    ready(sink.write(&batch(0, 0, 8), at(0))).unwrap();
    let plan = ready(sink.plan(at(0), Cut::Due)).unwrap();
    assert_eq!(plan.parts.iter().map(|part| part.rows).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(plan.resume.next, next(&[(0, 6)]));

    options.rotate.rows = None;
    options.memory_bytes_max = 256 << 10;
    let mut sink = reopen(&disk, options, Resume::default(), 10);
    for from in 0..100 {
        ready(sink.write(&batch(1, 100 * from, 100 * (from + 1)), at(0))).unwrap();
    }
    let plan = ready(sink.plan(at(0), Cut::Due)).unwrap();
    assert!((2..50).contains(&plan.parts.len()), "{} parts", plan.parts.len());
}

#[test]
fn what_is_committed_ahead_is_not_written_again() {
    let disk = SimDisk::new(1);
    let ahead = [(String::new(), next(&[(0, 3)]))].into();
    let mut sink = reopen(&disk, options(), Resume { next: next(&[(0, 0)]), ahead }, 1);
    let written = ready(sink.write(&batch(0, 0, 2), at(0))).unwrap();
    assert_eq!((written.rows, written.skipped), (0, 2));
    let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
    assert_eq!((plan.parts.len(), plan.resume.ahead.len()), (0, 1));
    let written = ready(sink.write(&batch(0, 2, 5), at(0))).unwrap();
    assert_eq!((written.rows, written.skipped), (2, 1));
    let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
    assert_eq!((part(&plan).rows, plan.resume.ahead.len()), (2, 0));
}

#[test]
fn a_gap_between_batches_stops_the_sink() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    ready(sink.write(&batch(0, 0, 2), at(0))).unwrap();
    assert!(ready(sink.write(&batch(0, 3, 4), at(0))).is_err());
    let Err(SinkError::Broken(cause)) = ready(sink.plan(at(0), Cut::All)) else {
        panic!("it goes on")
    };
    assert!(cause.to_string().contains("failed before"), "{cause}");
}

#[test]
fn another_mapping_is_refused() {
    let disk = SimDisk::new(1);
    commit(&mut open(&disk, options()), &batch(0, 0, 2), at(0)).unwrap();
    let mut other = options();
    other.mapping.fields[2].kind = FieldKind::Text;
    let opened = IndexSink::open(Arc::new(disk.clone()), other, Resume::default(), 1);
    let Err(OptionsError::Index(IndexError::Mapping { difference, .. })) = opened else {
        panic!("it opens")
    };
    assert_eq!(difference, "`key` is keyword in the index and text in the pipeline");
}

#[test]
fn any_flipped_byte_is_found_before_it_is_believed() {
    let base = SimDisk::new(1);
    commit(&mut open(&base, options()), &batch(0, 0, 40), at(0)).unwrap();
    let path = Path::new(DIR).join(&visible(&base)[0]);
    let bytes = base.file_bytes(&path).unwrap();
    let mut found = 0;
    for at in (0..bytes.len()).step_by(37).chain(bytes.len() - 32..bytes.len()) {
        let disk = base.image(at as u64);
        let file = disk.open(&path, Access::ReadWrite).unwrap();
        file.write_at(&[IoSlice::new(&[bytes[at] ^ 1])], at as u64).unwrap();
        let seen = Search::open(&disk, Path::new(DIR)).map_err(QueryError::Index);
        match seen.and_then(|search| search.ask(&asked("even"))) {
            Err(QueryError::Index(IndexError::Damaged { path: named, .. })) => {
                assert_eq!(named, path);
                found += 1;
            }
            Err(QueryError::Index(IndexError::Newer { .. })) => {}
            // Nothing of that block was needed for the answer.
            Ok(answer) => assert_eq!(answer.total, 20, "byte {at}"),
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(found > 40, "{found} flipped bytes were found");
}
