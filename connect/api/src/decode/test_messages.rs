//! What the tests of this module share: messages from bodies, and columns as text.

use std::net::SocketAddr;

use arrow_array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow_cast::display::array_value_to_string;
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TopicName, record};

use super::{Decoded, FILE_HEADER};
use crate::{Column, DataType, Messages, QueueRef};

/// The messages of one queue with these bodies.
pub(super) fn messages<B: AsRef<[u8]>>(bodies: &[B]) -> Messages {
    messages_with(&bodies.iter().map(|body| (body, None)).collect::<Vec<_>>())
}

/// The same, of files with these headers.
pub(super) fn messages_with<B: AsRef<[u8]>>(lines: &[(B, Option<&str>)]) -> Messages {
    let host = SocketAddr::from(([127, 0, 0, 1], 10911));
    let mut run = Vec::new();
    for (offset, (body, header)) in lines.iter().enumerate() {
        let mut properties = PropertiesBuf::new();
        if let Some(header) = header {
            properties.push(FILE_HEADER, header);
        }
        let draft = record::Draft {
            topic: "t",
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: body.as_ref(),
            properties: properties.as_bytes(),
        };
        let stamp = record::Stamp {
            queue_offset: QueueOffset(offset as u64),
            physical_offset: PhysicalOffset(run.len() as u64),
            store_at_ms: 0,
            store_host: host,
            more: false,
        };
        record::encode(&draft, &stamp, &mut run);
    }
    let topic = TopicName::parse("t").expect("a legal name");
    let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(0) };
    let to = QueueOffset(lines.len() as u64);
    Messages::parse(queue, QueueOffset(0), to, vec![run.into()]).expect("records just encoded")
}

pub(super) fn columns(wanted: &[(&str, DataType)]) -> Vec<Column> {
    let column =
        |(name, data_type): &(&str, _)| Column { name: (*name).to_owned(), data_type: *data_type };
    wanted.iter().map(column).collect()
}

/// A row as text, values separated by `|`, nulls as `null`.
pub(super) fn row(columns: &[ArrayRef], row: usize) -> String {
    let value = |column: &ArrayRef| match column.is_null(row) {
        true => "null".to_owned(),
        false => {
            // The formatter knows offsets and no zone names.
            let in_utc = |times: &TimestampMicrosecondArray| times.clone().with_timezone("+00:00");
            let times = column.as_any().downcast_ref().map(in_utc);
            let column = times.as_ref().map_or(&**column, |times| times as &dyn Array);
            array_value_to_string(column, row).expect("a value that can be shown")
        }
    };
    columns.iter().map(value).collect::<Vec<_>>().join("|")
}

/// All rows as text, with the code and the field of a reject in place of its row.
pub(super) fn rows(decoded: &Decoded) -> Vec<String> {
    let len = decoded.columns.first().map_or(0, |column| column.len());
    (0..len)
        .map(|number| {
            let reject = decoded.rejects.iter().find(|(row, _)| *row as usize == number);
            let text = row(&decoded.columns, number);
            match reject {
                None => text,
                Some((_, reject)) => {
                    assert!(text.split('|').all(|value| value == "null"), "a rejected row is null");
                    format!("{} {}", reject.code, reject.field.as_deref().unwrap_or("-"))
                }
            }
        })
        .collect()
}

/// Files that are input to tests and no part of the project lie where this variable says. Tests
/// that want them pass without a look where it is not set.
pub(super) fn test_data(name: &str) -> Option<std::path::PathBuf> {
    std::env::var_os("MILLRACE_TEST_DATA").map(|dir| std::path::Path::new(&dir).join(name))
}
