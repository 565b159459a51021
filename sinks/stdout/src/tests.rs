use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow_array::{Int64Array, StringArray, TimestampMicrosecondArray};
use millrace_connect_api::{
    Batch, Column, Cut, DataType, FileSink, Messages, QueueRef, Resume, Schema, Selection,
    SinkError,
};
use millrace_types::{Now, PhysicalOffset, QueueId, QueueOffset, TopicName, record};

use crate::{AtOnce, Blackhole, Lines};

fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("these sinks never wait"),
    }
}

const NOW: Now = Now { mono_ms: 0, wall_ms: 0 };

fn queue(queue: u32) -> QueueRef {
    let topic = TopicName::parse("t").expect("a legal name");
    QueueRef { broker: "b".into(), topic, queue: QueueId(queue) }
}

/// Four messages from an offset on, of which two are selected.
fn batch(number: u32, from: u64) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for n in 0..4 {
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
            queue_offset: QueueOffset(from + n),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 0,
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let (from, to) = (QueueOffset(from), QueueOffset(from + 4));
    let messages = Messages::parse(queue(number), from, to, vec![run.into()]);
    let times = TimestampMicrosecondArray::from(vec![None, Some(0), None, None]);
    Batch::new(Arc::new(messages.expect("records just encoded")))
        .with_column("id".into(), Arc::new(Int64Array::from_iter_values(0..4)))
        .with_column("s".into(), Arc::new(StringArray::from(vec!["a", "\"", "c", "d"])))
        .with_column("at".into(), Arc::new(times.with_timezone("UTC")))
        .with_selection(Selection::Rows([1, 3].into()))
}

fn columns(names: &[(&str, DataType)]) -> Schema {
    let column =
        |(name, data_type): &(&str, _)| Column { name: (*name).to_owned(), data_type: *data_type };
    Schema { columns: names.iter().map(column).collect() }
}

/// Where reading resumes after two queues were written to, one of them twice.
#[track_caller]
fn check_position(sink: &mut dyn FileSink) {
    let mut next = |number, from| {
        let written = ready(sink.write(&batch(number, from), NOW)).expect("somebody takes it");
        assert_eq!((written.rows, written.skipped), (2, 0));
        let plan = ready(sink.plan(NOW, Cut::Due)).expect("a plan");
        assert_eq!((plan.parts, plan.resume.ahead), (Vec::new(), Default::default()));
        plan.resume.next
    };
    assert_eq!(next(0, 10), [(queue(0), QueueOffset(14)), (queue(7), QueueOffset(3))].into());
    next(0, 14);
    let expected = [(0, 18), (1, 4), (7, 3)];
    let expected = expected.map(|(number, offset)| (queue(number), QueueOffset(offset)));
    assert_eq!(next(1, 0), expected.into());
}

fn resume() -> Resume {
    Resume { next: [(queue(7), QueueOffset(3))].into(), ahead: Default::default() }
}

#[test]
fn selected_rows_are_lines_at_once() {
    let mut out = Vec::new();
    let schema =
        columns(&[("s", DataType::String), ("id", DataType::Int), ("at", DataType::Timestamp)]);
    let mut sink = AtOnce::new(Lines::new(&mut out, schema), Resume::default());
    ready(sink.write(&batch(0, 0), NOW)).unwrap();
    let expected = concat!(
        r#"{"s":"\"","id":1,"at":"1970-01-01T00:00:00Z"}"#,
        "\n",
        r#"{"s":"d","id":3,"at":null}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn what_is_written_need_not_come_again() {
    let lines = Lines::new(Vec::new(), columns(&[("id", DataType::Int)]));
    check_position(&mut AtOnce::new(lines, resume()));
    check_position(&mut AtOnce::new(Blackhole, resume()));
}

#[test]
fn lines_that_nobody_takes_stop_the_sink() {
    let mut full = [0; 10];
    let lines = Lines::new(&mut full[..], columns(&[("id", DataType::Int)]));
    let mut sink = AtOnce::new(lines, Resume::default());
    let Err(SinkError::Broken(cause)) = ready(sink.write(&batch(0, 0), NOW)) else {
        panic!("it says that it was written")
    };
    assert!(cause.to_string().starts_with("cannot write lines: "), "{cause}");
    assert_eq!(ready(sink.plan(NOW, Cut::All)).unwrap().resume, Resume::default());
}
