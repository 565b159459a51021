//! Messages whose consumption failed.

use std::sync::Arc;

use millrace_protocol::{Done, SendBack};
use millrace_types::{TopicName, keys};
use tracing::{debug, warn};

use super::member::Member;
use crate::{ClientError, Message, Received};

impl Member {
    /// Has the group get a message again later, or as a dead letter. `false` if neither the broker
    /// nor the retry topic takes it, so that it must be consumed again here.
    pub(super) async fn send_back(self: Arc<Self>, message: &Received, delay_level: i32) -> bool {
        if !self.is_clustering() {
            warn!(topic = message.topic, id = message.id(), "a message failed and is not repeated");
            return true;
        }
        match self.hand_back(message, delay_level).await {
            Ok(()) => true,
            Err(error) => {
                debug!(id = message.id(), %error, "a message is sent to the retry topic instead");
                self.send_to_retry_topic(message).await
            }
        }
    }

    /// The broker that holds it makes the copy.
    async fn hand_back(&self, message: &Received, delay_level: i32) -> Result<(), ClientError> {
        let call = SendBack {
            physical_offset: message.physical_offset,
            group: self.group.as_str().into(),
            delay_level,
            origin_message_id: Some(message.id().into()),
            origin_topic: Some(message.topic.as_str().into()),
            unit_mode: false,
            max_reconsume_times: Some(self.reconsume_times_max()),
        };
        let address = self.cluster.master(&message.queue).await?;
        let timeout = self.cluster.options().request_timeout;
        let answered = self.cluster.call(&address, &call, timeout).await?;
        let done = Done::decode(&answered.response.header());
        done.map(|Done| ()).map_err(|error| ClientError::of_answer(error, &answered))
    }

    /// Sends the message itself to the group's retry topic. A broker that finds it there too often
    /// makes it a dead letter.
    pub(super) async fn send_to_retry_topic(&self, message: &Received) -> bool {
        let (again, times) = match again(self.group.as_str(), message) {
            Some(again) => again,
            None => return false,
        };
        let (compression, times_max) = (message.compression, self.reconsume_times_max());
        match self.producer.send_again(&again, compression, times, times_max).await {
            Ok(_) => true,
            Err(error) => {
                warn!(id = message.id(), %error, "a failed message is consumed again here");
                false
            }
        }
    }
}

/// What goes to the retry topic, and how often it has failed then.
fn again(group: &str, message: &Received) -> Option<(Message, i32)> {
    let topic = TopicName::parse(&format!("%RETRY%{group}")).ok()?;
    let times = message.reconsume_times.saturating_add(1);
    let mut again = Message::new(topic, message.body.clone()).flag(message.flag);
    for (name, value) in message.properties() {
        // A message that was committed or moved once is not to be so again.
        if !matches!(name, "TRAN_MSG" | "REAL_TOPIC" | "REAL_QID" | "__CRC32#") && !value.is_empty()
        {
            again = again.with(name, value);
        }
    }
    let origin = message.property(keys::ORIGIN_ID).map_or_else(|| message.id(), str::to_owned);
    // Levels from 3 on: 10 s, 30 s, 1 min and so on, up to the last there is.
    let level = u8::try_from(times.saturating_add(2)).unwrap_or(u8::MAX).min(18);
    let again = again
        .with(keys::RETRY_TOPIC, &message.topic)
        .with(keys::ORIGIN_ID, &origin)
        .delay_level(level);
    Some((again, times))
}
