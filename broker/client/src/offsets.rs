//! What a group and its queues are at: questions to the broker that takes the queue's writes.

use millrace_protocol::{
    Call, Done, GetMaxOffset, GetMinOffset, MessageQueue, OffsetAnswer, QueryConsumerOffset,
    ResponseCode, SearchOffset, UpdateConsumerOffset,
};
use millrace_types::{GroupName, QueueOffset};

use crate::{ClientError, Cluster};

impl Cluster {
    /// The queues of a topic that can be read, by broker name and number.
    pub async fn queues(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        self.readable(topic).await
    }

    /// Where a queue begins.
    pub async fn min_offset(&self, queue: &MessageQueue) -> Result<QueueOffset, ClientError> {
        let call = GetMinOffset { topic: queue.topic.as_str().into(), queue_id: queue.queue_id };
        self.ask_offset(queue, &call).await
    }

    /// Where a queue ends: the offset of the next message.
    pub async fn max_offset(&self, queue: &MessageQueue) -> Result<QueueOffset, ClientError> {
        let call = GetMaxOffset {
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            committed: true,
        };
        self.ask_offset(queue, &call).await
    }

    /// The first message of a queue that was stored at a time or later; the end if there is none.
    pub async fn offset_at(
        &self,
        queue: &MessageQueue,
        time_ms: i64,
    ) -> Result<QueueOffset, ClientError> {
        let call = SearchOffset {
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            timestamp_ms: time_ms,
            boundary: Some("LOWER".into()),
        };
        self.ask_offset(queue, &call).await
    }

    /// The offset that a group has committed; `None` if it has none. On a young queue brokers say
    /// 0 for none unless `exactly` is asked for.
    pub(crate) async fn committed(
        &self,
        group: &GroupName,
        queue: &MessageQueue,
        exactly: bool,
    ) -> Result<Option<QueueOffset>, ClientError> {
        let call = QueryConsumerOffset {
            group: group.as_str().into(),
            topic: queue.topic.as_str().into(),
            queue_id: queue.queue_id,
            zero_if_not_found: exactly.then_some(false),
        };
        match self.ask_offset(queue, &call).await {
            Ok(offset) => Ok(Some(offset)),
            Err(ClientError::Refused { refused, .. })
                if refused.code == ResponseCode::QUERY_NOT_FOUND =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Commits a group's offset, and waits until the broker has it.
    pub(crate) async fn commit(
        &self,
        group: &GroupName,
        queue: &MessageQueue,
        offset: QueueOffset,
    ) -> Result<(), ClientError> {
        let address = self.master(queue).await?;
        let answered = self.ask(&address, &commit(group, queue, offset)).await?;
        let done = Done::decode(&answered.response.header());
        done.map(|Done| ()).map_err(|error| ClientError::of_answer(error, &answered))
    }

    async fn ask_offset(
        &self,
        queue: &MessageQueue,
        call: &(dyn Call + Sync),
    ) -> Result<QueueOffset, ClientError> {
        let address = self.master(queue).await?;
        let answered = self.ask(&address, call).await?;
        let answer = OffsetAnswer::decode(&answered.response.header());
        answer.map(|answer| answer.offset).map_err(|error| ClientError::of_answer(error, &answered))
    }
}

fn commit<'a>(
    group: &'a GroupName,
    queue: &'a MessageQueue,
    offset: QueueOffset,
) -> UpdateConsumerOffset<'a> {
    UpdateConsumerOffset {
        group: group.as_str().into(),
        topic: queue.topic.as_str().into(),
        queue_id: queue.queue_id,
        offset,
    }
}
