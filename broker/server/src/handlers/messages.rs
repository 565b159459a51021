use millrace_engine::Refusal;
use millrace_protocol::{
    Answer, FieldWriter, FrameWriter, Head, QueryAnswer, QueryMessage, Refused, ResponseCode,
    ViewMessage,
};
use millrace_store::{KeyQuery, KeysFound};
use millrace_types::record;

use crate::dispatch::Exchange;
use crate::handlers::offsets::write_lookup_error;
use crate::handlers::pull::BYTES_MAX;
use crate::lookup::Lookup;
use crate::reactor::Output;

/// As many messages as one query gives at most, and as one by the client-made id gives always.
/// (`maxMsgsNumBatch`, `defaultQueryMaxNum`)
const QUERY_MAX: i32 = 64;
const UNIQUE_MAX: i32 = 32;

/// Code 12. Candidates may have to be read from disk.
pub(crate) fn query(exchange: &mut Exchange<'_, '_>, request: &QueryMessage<'_>) {
    let lookup = match exchange.step.engine.keys_of(&request.topic) {
        Ok(lookup) => lookup,
        // As in RocketMQ, a topic that nobody knows has no messages.
        Err(Refusal::UnknownTopic(_)) => return exchange.answer(&Records::default()),
        Err(refusal) => return exchange.refuse_as(&refusal),
    };
    let unique_only = request.by_unique_key;
    let count = if unique_only { UNIQUE_MAX } else { request.messages_max.clamp(0, QUERY_MAX) };
    let (topic, key) = (request.topic.to_string(), request.key.to_string());
    let (from_ms, until_ms, to) = (request.begin_ms, request.end_ms, exchange.to);
    exchange.job(move || {
        let found = lookup.find(&KeyQuery {
            topic: &topic,
            key: &key,
            unique_only,
            count_max: count as usize,
            bytes_max: BYTES_MAX as usize,
            from_ms,
            until_ms,
        });
        let mut output = Output::default();
        match found {
            Ok(found) => {
                let head = QueryAnswer {
                    index_updated_at_ms: lookup.last_store_ms(),
                    index_end: i64::try_from(lookup.limit().0).unwrap_or(i64::MAX),
                };
                let answer = Records { head, found };
                output.write(|out| answer.write(to.kind, to.opaque, out));
            }
            Err(error) => {
                let remark = format!("the key index cannot be read: {error}");
                let refused = Refused::new(ResponseCode::SYSTEM_ERROR, remark);
                output.write(|out| refused.write(to.kind, to.opaque, out));
            }
        }
        output
    });
}

/// The answer to a query by key. Its head is there even if nothing was found.
#[derive(Default)]
struct Records {
    head: QueryAnswer,
    found: KeysFound,
}

impl Answer for Records {
    fn code(&self) -> ResponseCode {
        match self.found.records.is_empty() {
            true => ResponseCode::QUERY_NOT_FOUND,
            false => ResponseCode::SUCCESS,
        }
    }

    fn remark(&self) -> &str {
        match self.found.records.is_empty() {
            true => "can not find message, maybe time range not correct",
            false => "",
        }
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        self.head.fields(to);
    }

    fn body(&self, out: &mut Vec<u8>) {
        for bytes in &self.found.records {
            record::iter(bytes)
                .map_while(Result::ok)
                .for_each(|record| record.write_for_client(out));
        }
    }
}

/// Code 33. The topic that newer clients name tells nothing: the id of a delayed message, or of one
/// that is tried again, points to where it waited.
pub(crate) fn view(exchange: &mut Exchange<'_, '_>, request: &ViewMessage<'_>) {
    let (at, to) = (request.physical_offset, exchange.to);
    let lookup = Lookup::new(&exchange.shell.shared);
    exchange.job(move || {
        let mut output = Output::default();
        match lookup.stored_at(at) {
            Ok(Some(run)) => output.write(|out| {
                let head = Head::answer(to.kind, ResponseCode::SUCCESS.0, to.opaque, "");
                let mut frame = FrameWriter::begin(out, &head, |_| {});
                record::iter(&run)
                    .map_while(Result::ok)
                    .for_each(|record| record.write_for_client(frame.out()));
                frame.finish();
            }),
            Ok(None) => {
                let remark = format!("can not find message by the offset, {at}");
                let refused = Refused::new(ResponseCode::SYSTEM_ERROR, remark);
                output.write(|out| refused.write(to.kind, to.opaque, out));
            }
            Err(error) => write_lookup_error(&error, to, &mut output),
        }
        output
    });
}
