use millrace_protocol::{Answer, FrameWriter, Head, Refused, ResponseCode, ViewMessage};
use millrace_types::{is_system_topic, record};

use crate::dispatch::Exchange;
use crate::handlers::offsets::write_lookup_error;
use crate::lookup::Lookup;
use crate::reactor::Output;

/// Code 33. Only where the queue index says that a message starts is one looked for, so no offset
/// a client makes up is read.
pub(crate) fn view(exchange: &mut Exchange<'_, '_>, request: &ViewMessage<'_>) {
    let topic = request.topic.as_deref().filter(|topic| !topic.is_empty());
    // Older clients do not say which topic. The broker's own topics are nobody's business.
    let known = exchange.step.engine.topics().map(|topic| &topic.name);
    let topics = known.filter(|name| !is_system_topic(name));
    let topics = topics.filter(|name| topic.is_none_or(|topic| name.as_str() == topic));
    let topics: Vec<String> = topics.map(ToString::to_string).collect();
    let (at, to) = (request.physical_offset, exchange.to);
    let lookup = Lookup::new(&exchange.shell.shared);
    exchange.job(move || {
        let mut output = Output::default();
        match lookup.stored_at(&topics, at) {
            Ok(Some(run)) => output.write(|out| {
                let head = Head::answer(to.kind, ResponseCode::SUCCESS.0, to.opaque, "");
                let mut frame = FrameWriter::begin(out, &head, |_| {});
                record::iter(&run)
                    .map_while(Result::ok)
                    .for_each(|record| record.write_for_client(frame.out()));
                frame.finish();
            }),
            Ok(None) => {
                let remark = format!("can not find message by the offset: {at}");
                let refused = Refused::new(ResponseCode::SYSTEM_ERROR, remark);
                output.write(|out| refused.write(to.kind, to.opaque, out));
            }
            Err(error) => write_lookup_error(&error, to, &mut output),
        }
        output
    });
}
