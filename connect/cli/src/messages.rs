//! Messages as a person and a program read them.

use millrace_client::Received;
use serde_json::{Map, Value, json};

use crate::moments::moment;
use crate::plain;
use crate::salvage::put_body;

/// Everything about a message, for a program.
pub(crate) fn line(message: &Received) -> Value {
    let properties: Map<String, Value> =
        message.properties().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut line = json!({
        "id": message.id(),
        "offset_id": message.offset_id().to_string(),
        "topic": message.topic,
        "broker": message.queue.broker_name,
        "queue": message.queue_id().0,
        "queue_offset": message.offset.0,
        "physical_offset": message.physical_offset.0,
        "flag": message.flag,
        "born_at_ms": message.born_at_ms,
        "born_host": message.born_host.to_string(),
        "store_at_ms": message.stored_at_ms,
        "store_host": message.store_host.to_string(),
        "reconsume_times": message.reconsume_times,
        "properties": properties,
    });
    if let Some(reason) = message.still_compressed {
        line["still_compressed"] = json!(reason);
    }
    put_body(&mut line, &message.body);
    line
}

/// Everything about a message, for a person. The body comes last.
pub(crate) fn page(message: &Received) -> String {
    let mut lines = vec![
        format!("id          {}", plain::line(&message.id())),
        format!("stored as   {}", message.offset_id()),
        format!(
            "queue       {} on {}, queue {}, offset {}",
            message.queue.topic,
            message.queue.broker_name,
            message.queue_id(),
            message.offset
        ),
        format!("born        {} by {}", moment(message.born_at_ms), message.born_host),
        format!("stored      {} at {}", moment(message.stored_at_ms), message.store_host),
    ];
    if message.reconsume_times > 0 {
        lines.push(format!("failed      {} times", message.reconsume_times));
    }
    lines.extend(message.properties().map(|(name, value)| {
        format!("property    {} = {}", plain::line(name), plain::line(value))
    }));
    if let Some(reason) = message.still_compressed {
        lines.push(format!("note        {}", plain::line(reason)));
    }
    lines.push(plain::lines(&String::from_utf8_lossy(&message.body)).into_owned());
    lines.join("\n") + "\n"
}
