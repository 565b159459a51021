use millrace_protocol::{AppendGroupWriter, AppendWait, Fence, GroupMessage};
use millrace_types::record::PROPERTIES_BYTES_MAX;

use super::home::frame_bytes_max;
use crate::{Append, BrokerError, Wait};

/// What a frame needs besides the group.
const HEAD_BYTES_MAX: usize = 1 << 10;

/// Encodes a group as one request, unless it is too large for that.
pub(super) fn encode(append: &Append) -> Result<AppendGroupWriter, BrokerError> {
    let max = frame_bytes_max() - HEAD_BYTES_MAX;
    let payload = append.messages.iter().map(|m| m.body.len() + m.properties.len()).sum::<usize>();
    let too_large = || {
        let messages = append.messages.len();
        BrokerError::Refused(format!(
            "a group of {messages} messages with {payload} bytes does not fit a request of {max} \
             bytes"
        ))
    };
    if payload > max {
        return Err(too_large());
    }
    let wait = match append.wait {
        Wait::Policy => AppendWait::Policy,
        Wait::Durable => AppendWait::Durable,
    };
    let fence = append.fence.as_ref().map(|fence| Fence {
        topic: fence.topic.as_str().into(),
        queue_id: fence.queue,
        epoch: fence.epoch,
    });
    let mut group = AppendGroupWriter::new(wait, fence.as_ref());
    for message in append.messages.iter() {
        let len = message.properties.len();
        if len > PROPERTIES_BYTES_MAX {
            return Err(BrokerError::Refused(format!(
                "the properties have {len} bytes, more than the {PROPERTIES_BYTES_MAX} allowed"
            )));
        }
        group.push(&GroupMessage {
            topic: message.topic.as_str(),
            queue_id: message.queue,
            flag: 0,
            sys_flag: 0,
            born_at_ms: message.born_at_ms,
            properties: &message.properties,
            body: &message.body,
        });
        if group.encoded_len() > max {
            return Err(too_large());
        }
    }
    Ok(group)
}
