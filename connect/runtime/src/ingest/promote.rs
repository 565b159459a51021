use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use millrace_config::{Pipeline, Resolved, Slot};
use millrace_connect_api::decode::{Decoder, FILE_HEADER};
use millrace_connect_api::{Batch, Chunk, Messages, QueueRef, Reject, Selection, Span};
use millrace_sql_filter::Value;
use millrace_types::record::{Draft, PROPERTIES_BYTES_MAX, Stamp, encode};
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, java_hash, keys};

use crate::error::RunError;
use crate::steps::{View, eval_reject};

/// The step of records whose body cannot be decoded.
const DECODE: &str = "decode";
/// The step of records whose expressions have no value.
const TOPIC: &str = "topic";
/// The promoted values do not fit into a message.
const UNFIT: &str = "E-EVAL-03";
/// What stands between properties and their values.
const SEPARATORS: [char; 2] = ['\u{1}', '\u{2}'];
/// Room for what [`super::stamp`] adds beside the header.
const STAMP_BYTES_MAX: usize = 1024;

/// Takes properties, tag and key from the bodies.
pub(super) struct Promotion {
    pipeline: Arc<Pipeline>,
    decoder: Box<dyn Decoder>,
    names: Vec<Arc<str>>,
    values: Vec<(Target, Resolved)>,
}

#[derive(Clone)]
enum Target {
    Key,
    Tag,
    Property(String),
}

/// What a body gave.
pub(super) struct Promoted {
    pub(super) properties: PropertiesBuf,
    /// Decides the queue, if there is a key.
    pub(super) key_hash: Option<i32>,
}

/// A body that gave nothing.
pub(super) struct Refused {
    pub(super) step: &'static str,
    pub(super) reject: Reject,
}

impl Promotion {
    /// `None` if the topic takes nothing from the bodies. Then nobody decodes them before they are
    /// in the topic, and those that cannot be decoded become letters of the sinks.
    pub(super) fn new(pipeline: &Arc<Pipeline>) -> Result<Option<Self>, RunError> {
        let topic = &pipeline.topic;
        let key = topic.key.iter().map(|key| (Target::Key, key.clone()));
        let tag = topic.tag.iter().map(|tag| (Target::Tag, tag.clone()));
        let properties = topic.properties.iter();
        let properties = properties
            .map(|property| (Target::Property(property.name.clone()), property.value.clone()));
        let values: Vec<_> = key.chain(tag).chain(properties).collect();
        if values.is_empty() {
            return Ok(None);
        }
        let read = |index: usize| {
            let mut slots = values.iter().flat_map(|(_, value)| &value.slots);
            slots.any(|slot| *slot == Slot::Body(index))
        };
        let columns = pipeline.schema.columns.iter().enumerate();
        let wanted: Vec<_> =
            columns.filter(|(index, _)| read(*index)).map(|(_, column)| column.clone()).collect();
        let decoder = pipeline.decode.decoder(&wanted).map_err(|error| {
            RunError::Setup(format!("the source's records cannot be decoded: {error}"))
        })?;
        let names = wanted.iter().map(|column| column.name.as_str().into()).collect();
        Ok(Some(Self { pipeline: Arc::clone(pipeline), decoder, names, values }))
    }

    /// One answer for each record, in order.
    pub(super) fn promote(
        &mut self,
        chunk: &Chunk,
        records: &[Span],
    ) -> Result<Vec<Result<Promoted, Refused>>, RunError> {
        let messages = as_messages(chunk, records, &self.pipeline);
        let decoded = self.decoder.decode(&messages, &Selection::All(messages.len()));
        let mut batch = Batch::new(Arc::new(messages));
        for (name, column) in self.names.iter().zip(decoded.columns) {
            batch = batch.with_column(Arc::clone(name), column);
        }
        let mut views = Vec::with_capacity(self.values.len());
        for (_, value) in &self.values {
            let view = View::new(&batch, &value.slots, &self.pipeline.schema);
            views.push(view.map_err(|reason| RunError::Setup(format!("topic: {reason}")))?);
        }
        let mut undecodable = decoded.rejects.into_iter().peekable();
        let stamp_bytes = STAMP_BYTES_MAX + chunk.origin.header.as_ref().map_or(0, |it| it.len());
        let rows = (0..records.len()).map(|row| {
            if let Some((_, reject)) = undecodable.next_if(|(number, _)| *number as usize == row) {
                return Err(Refused { step: DECODE, reject });
            }
            self.row(&views, row, stamp_bytes).map_err(|reject| Refused { step: TOPIC, reject })
        });
        Ok(rows.collect())
    }

    fn row(&self, views: &[View<'_>], row: usize, stamp_bytes: usize) -> Result<Promoted, Reject> {
        let mut promoted = Promoted { properties: PropertiesBuf::new(), key_hash: None };
        for ((target, expression), view) in self.values.iter().zip(views) {
            let value = expression.expr.evaluate(&view.row(row));
            let text = match value.map_err(|error| eval_reject(&expression.text, &error))? {
                Value::Null => continue,
                Value::Text(text) => text,
                other => other.to_string().into(),
            };
            let name = match target {
                Target::Key => {
                    promoted.key_hash = Some(java_hash(&text));
                    keys::KEYS
                }
                Target::Tag => keys::TAGS,
                Target::Property(name) => name,
            };
            if text.contains(SEPARATORS) {
                let error = format!(
                    "the value for `{name}` has a character U+0001 or U+0002, which no property can hold"
                );
                return Err(Reject { code: UNFIT, error, field: None });
            }
            promoted.properties.push(name, &text);
        }
        let bytes = promoted.properties.as_bytes().len();
        if bytes + stamp_bytes > PROPERTIES_BYTES_MAX {
            let error = format!("its properties take {bytes} bytes, which no message can hold");
            return Err(Reject { code: UNFIT, error, field: None });
        }
        Ok(promoted)
    }
}

/// Records in the form in which decoders take them, as if they were a queue of their own.
fn as_messages(chunk: &Chunk, records: &[Span], pipeline: &Pipeline) -> Messages {
    let host = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let mut properties = PropertiesBuf::new();
    let Chunk { origin, data, .. } = chunk;
    if let Some(header) = &origin.header {
        properties.push(FILE_HEADER, header);
    }
    let each = 128 + properties.len();
    let mut run = Vec::with_capacity(data.len() + each * records.len());
    for (number, span) in records.iter().enumerate() {
        let draft = Draft {
            topic: pipeline.topic.name.as_str(),
            queue_id: QueueId(0),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 0,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: &data[span.at as usize..(span.at + span.len) as usize],
            properties: properties.as_bytes(),
        };
        let stamp = Stamp {
            queue_offset: QueueOffset(number as u64),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 0,
            store_host: host,
            more: false,
        };
        encode(&draft, &stamp, &mut run);
    }
    let queue =
        QueueRef { broker: "".into(), topic: pipeline.topic.name.clone(), queue: QueueId(0) };
    let to = QueueOffset(records.len() as u64);
    Messages::parse(queue, QueueOffset(0), to, vec![Bytes::from(run)])
        .expect("whole records of ascending offsets were just encoded")
}

#[cfg(test)]
mod tests {
    use millrace_connect_api::{Origin, Position};

    use super::*;

    /// The properties of one record, or the code of its refusal.
    fn promoted(body: &str) -> Result<Vec<u8>, &'static str> {
        let text = "version: 1\npipeline: p\n\
                    topic: {name: t, key: body.k, properties: {n: body.n}}\n\
                    schema: {k: string, n: string}\nsinks: {s: {parquet: {to: out}}}\n";
        let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
        let pipeline = Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")));
        let mut promotion = Promotion::new(&pipeline).unwrap().expect("it promotes");
        let position = Position { offset: 0, line: 0 };
        let span = Span { at: 0, len: body.len() as u32, position, next: position };
        let origin = Origin { identity: "i".into(), path: "/i".into(), header: None };
        let data = Bytes::copy_from_slice(body.as_bytes());
        let chunk = Chunk { origin: Arc::new(origin), data, records: vec![span] };
        let mut rows = promotion.promote(&chunk, &[span]).unwrap();
        let row = rows.remove(0);
        row.map(|row| row.properties.into_bytes()).map_err(|refused| refused.reject.code)
    }

    #[test]
    fn a_line_of_csv_gives_what_its_header_says() {
        let text = "version: 1\npipeline: p\ntopic: {name: t, key: body.k}\n\
                    schema: {k: string, n: int}\nsinks: {s: {parquet: {to: out}}}\n\
                    source: {file: {include: [a], decode: {csv: {}}}}\n";
        let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
        let pipeline = Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")));
        let mut promotion = Promotion::new(&pipeline).unwrap().expect("it promotes");
        let mut keys = |header: Option<&str>| {
            let header = header.map(Arc::from);
            let origin = Origin { identity: "i".into(), path: "/i".into(), header };
            let position = Position { offset: 4, line: 1 };
            let span = Span { at: 0, len: 3, position, next: position };
            let data = Bytes::from_static(b"1,2");
            let chunk = Chunk { origin: Arc::new(origin), data, records: vec![span] };
            let row = promotion.promote(&chunk, &[span]).unwrap().remove(0);
            row.map(|row| row.properties.into_bytes()).map_err(|refused| refused.reject.code)
        };
        assert_eq!(keys(None).unwrap(), b"KEYS\x011\x02");
        assert_eq!(keys(Some("n,k")).unwrap(), b"KEYS\x012\x02");
        assert_eq!(keys(Some("n,m")), Err("E-DECODE-10"));
    }

    #[test]
    fn a_value_that_no_property_can_hold_is_refused_and_not_shortened() {
        assert_eq!(promoted(r#"{"k":"a","n":"b"}"#).unwrap(), b"KEYS\x01a\x02n\x01b\x02");
        assert_eq!(promoted(r#"{"k":"a","n":"b\u0001c"}"#), Err(UNFIT));
        assert_eq!(promoted(r#"{"k":"\u0002","n":"b"}"#), Err(UNFIT));
        let long = format!(r#"{{"k":"a","n":"{}"}}"#, "x".repeat(PROPERTIES_BYTES_MAX));
        assert_eq!(promoted(&long), Err(UNFIT));
    }
}
