use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_array::{Int64Array, StringArray, TimestampMicrosecondArray};
use millrace_connect_api::{
    Batch, Cut, FileSink, Messages, Part, Plan, QueueRef, Resume, Selection, SinkError,
};
use millrace_disk::SimDisk;
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, record};

use crate::names::is_published;
use crate::{
    Asked, FieldKind, Found, Hit, IndexOptions, IndexSink, MappedField, Mapping, Order, Search,
    Value,
};

/// Sinks wait for nothing but the disk, so their futures are ready at once.
pub(super) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("an index never waits"),
    }
}

pub(super) const DIR: &str = "/out/index";

/// 2026-01-01, in milliseconds.
pub(super) const NEW_YEAR: i64 = 1_767_225_600_000;

pub(super) fn at(ms: u64) -> Now {
    Now { mono_ms: ms, wall_ms: NEW_YEAR + ms as i64 }
}

pub(super) fn queue(number: u32) -> QueueRef {
    let topic = TopicName::parse("t").expect("a legal name");
    QueueRef { broker: "b".into(), topic, queue: QueueId(number) }
}

/// Messages of one queue. The row at offset `n` has the number `n`, a text and a key that follow
/// from it, and is `n` seconds younger than the new year.
pub(super) fn batch(number: u32, from: u64, to: u64) -> Batch {
    marked(number, from, to, "first")
}

/// The same with another word in its text.
pub(super) fn marked(number: u32, from: u64, to: u64, mark: &str) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for offset in from..to {
        let draft = record::Draft {
            topic: "t",
            queue_id: QueueId(number),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: b"",
            properties: b"",
        };
        let stamp = record::Stamp {
            queue_offset: QueueOffset(offset),
            physical_offset: PhysicalOffset(0),
            store_at_ms: NEW_YEAR,
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let (first, end) = (QueueOffset(from), QueueOffset(to));
    let messages = Messages::parse(queue(number), first, end, vec![run.into()]);
    let rows = || from..to;
    let times = rows().map(|offset| (NEW_YEAR + 1000 * offset as i64) * 1000);
    let times = TimestampMicrosecondArray::from_iter_values(times);
    let word = |offset: u64| if offset.is_multiple_of(2) { "Even" } else { "odd" };
    let texts = rows().map(|offset| format!("The {mark} row, {}", word(offset)));
    let keys = rows().map(|offset| format!("Key-{}", offset % 3));
    Batch::new(Arc::new(messages.expect("records just encoded")))
        .with_column("n".into(), Arc::new(Int64Array::from_iter_values(rows().map(|n| n as i64))))
        .with_column("text".into(), Arc::new(StringArray::from_iter_values(texts)))
        .with_column("key".into(), Arc::new(StringArray::from_iter_values(keys)))
        .with_column("time".into(), Arc::new(times.with_timezone("UTC")))
}

/// A batch of which every other row was filtered out.
pub(super) fn every_other(batch: Batch) -> Batch {
    let rows = (0..batch.messages().len() as u32).filter(|row| row % 2 == 1);
    batch.with_selection(Selection::Rows(rows.collect()))
}

pub(super) fn mapping() -> Mapping {
    let field = |name: &str, kind| MappedField { name: name.to_owned(), kind };
    Mapping {
        fields: vec![
            field("n", FieldKind::Int),
            field("text", FieldKind::Text),
            field("key", FieldKind::Keyword),
            field("time", FieldKind::Timestamp),
        ],
        time: Some("time".to_owned()),
    }
}

pub(super) fn options() -> IndexOptions {
    let options = IndexOptions::new(DIR, mapping(), "pipe-search");
    IndexOptions { memory_bytes_max: 4 << 20, ..options }
}

pub(super) fn open(disk: &SimDisk, options: IndexOptions) -> IndexSink {
    reopen(disk, options, Resume::default(), 1)
}

pub(super) fn reopen(
    disk: &SimDisk,
    options: IndexOptions,
    resume: Resume,
    next_part_id: u64,
) -> IndexSink {
    IndexSink::open(Arc::new(disk.clone()), options, resume, next_part_id).expect("good options")
}

/// Writes a batch and makes it visible, as a run does.
pub(super) fn commit(sink: &mut IndexSink, batch: &Batch, now: Now) -> Result<Plan, SinkError> {
    ready(sink.write(batch, now))?;
    let plan = ready(sink.plan(now, Cut::All))?;
    for part in &plan.parts {
        ready(sink.publish(part))?;
    }
    Ok(plan)
}

pub(super) fn part(plan: &Plan) -> &Part {
    let [part] = &plan.parts[..] else { panic!("one part: {plan:?}") };
    part
}

pub(super) fn asked(query: &str) -> Asked {
    Asked {
        query: query.to_owned(),
        from: None,
        to: None,
        limit: 1_000,
        sort: Some(("n".to_owned(), Order::Ascending)),
        count_by: None,
    }
}

pub(super) fn ask(disk: &SimDisk, asked: &Asked) -> Found {
    let search = Search::open(disk, Path::new(DIR)).expect("a whole index");
    search.ask(asked).expect("a good question")
}

/// The numbers of the documents that a query finds, in order.
pub(super) fn find(disk: &SimDisk, query: &str) -> Vec<i64> {
    numbers(&ask(disk, &asked(query)))
}

pub(super) fn numbers(found: &Found) -> Vec<i64> {
    let number = |hit: &Hit| match &hit.fields[0].value {
        Value::Int(number) => *number,
        other => panic!("no number: {other:?}"),
    };
    found.hits.iter().map(number).collect()
}

fn names(disk: &SimDisk) -> impl Iterator<Item = String> {
    let paths = disk.paths().into_iter().filter(|path| path.starts_with(DIR));
    paths.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
}

/// Names of the files that readers look at.
pub(super) fn visible(disk: &SimDisk) -> Vec<String> {
    names(disk).filter(|name| is_published(name)).collect()
}

/// Names of staged files.
pub(super) fn staged(disk: &SimDisk) -> Vec<String> {
    names(disk).filter(|name| name.starts_with('.')).collect()
}

pub(super) fn next(offsets: &[(u32, u64)]) -> BTreeMap<QueueRef, QueueOffset> {
    offsets.iter().map(|&(number, offset)| (queue(number), QueueOffset(offset))).collect()
}
