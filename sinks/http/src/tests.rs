//! Rows, requests, and servers that behave or do not, on loopback.

mod encoding; // rows to requests
mod server; // a server with a script
mod trouble; // servers that do not behave

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_array::{Int64Array, StringArray, TimestampMicrosecondArray};
use millrace_connect_api::{Batch, Column, DataType, Item, Messages, QueueRef, RowSink, Selection};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName, record};

use crate::{Answering, Body, HttpOptions, HttpSink, Piece, Template};

fn queue(number: u32) -> QueueRef {
    let topic = TopicName::parse("orders").expect("a legal name");
    QueueRef { broker: "b".into(), topic, queue: QueueId(number) }
}

/// Messages from an offset on, as many as there are names, with the columns `id`, `name` and `at`.
fn batch(number: u32, from: u64, names: &[Option<&str>]) -> Batch {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let body = format!("raw {}", name.unwrap_or("nothing"));
        let draft = record::Draft {
            topic: "orders",
            queue_id: QueueId(number),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: body.as_bytes(),
            properties: b"",
        };
        let stamp = record::Stamp {
            queue_offset: QueueOffset(from + n as u64),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 0,
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let len = names.len() as u64;
    let (from, to) = (QueueOffset(from), QueueOffset(from + len));
    let messages = Messages::parse(queue(number), from, to, vec![run.into()]);
    let ids = (from.0..to.0).map(|id| id as i64);
    let times = TimestampMicrosecondArray::from(vec![Some(1_500_000); names.len()]);
    Batch::new(Arc::new(messages.expect("records just encoded")))
        .with_column("id".into(), Arc::new(Int64Array::from_iter_values(ids)))
        .with_column("name".into(), Arc::new(StringArray::from(names.to_vec())))
        .with_column("at".into(), Arc::new(times.with_timezone("UTC")))
}

fn rows(number: u32, from: u64, count: usize) -> Batch {
    batch(number, from, &vec![Some("x"); count])
}

fn text(text: &str) -> Piece {
    Piece::Text(text.to_owned())
}

fn column(name: &str) -> Piece {
    Piece::Column(name.to_owned())
}

fn options(url: Vec<Piece>, body: Body) -> HttpOptions {
    let columns = [("id", DataType::Int), ("name", DataType::String)];
    let columns = columns.map(|(name, data_type)| Column { name: name.to_owned(), data_type });
    HttpOptions {
        pipeline: "p".to_owned(),
        sink: "hook".to_owned(),
        url: Template(url),
        method: "POST",
        headers: Vec::new(),
        body,
        columns: if body == Body::Raw { Vec::new() } else { columns.to_vec() },
        answering: Answering::Status,
        in_flight: 4,
    }
}

/// The items of a batch, all of which can be sent.
fn items<T: crate::Transport>(sink: &mut HttpSink<T>, batches: &[Batch]) -> Vec<Item> {
    let mut items = Vec::new();
    for batch in batches {
        let encoded = sink.encode(batch).expect("the columns are there");
        assert_eq!(encoded.rejected, []);
        items.extend(encoded.items);
    }
    items
}

fn select(batch: Batch, rows: &[u32]) -> Batch {
    batch.with_selection(Selection::Rows(rows.into()))
}
