//! `millrace message`: find messages that are stored.

use clap::{Args, Subcommand};
use millrace_client::{
    Admin, FOUND_MAX, MessageQueue, OffsetMessageId, QueueId, QueueOffset, Received,
};
use serde_json::json;

use crate::cluster::{At, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::messages;
use crate::output::Answer;

/// What its help ends with.
const EXAMPLES: &str = "\
For instance:
  millrace message get --topic orders --key order-17
  millrace message get --topic orders --queue 0 --offset 42";

/// Find messages that are stored.
///
/// Works with Millrace and with Apache RocketMQ.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Message {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show messages: by id, by key, or by where they stand. Exit code 4 if there is none.
    Get(Get),
}

#[derive(Args, Debug)]
struct Get {
    /// The id of one message. With --topic this may be the one that its producer made.
    #[arg(long, conflicts_with_all = ["key", "offset"])]
    id: Option<String>,
    /// One of the keys of messages; needs --topic.
    #[arg(long, requires = "topic", conflicts_with = "offset")]
    key: Option<String>,
    /// How many messages with the key each broker gives at most; none gives more than 64.
    #[arg(long, value_name = "COUNT", default_value_t = FOUND_MAX, requires = "key",
        value_parser = clap::value_parser!(i32).range(1..=i64::from(FOUND_MAX)))]
    max: i32,
    /// Where a message stands in its queue; needs --topic.
    #[arg(long, requires = "topic")]
    offset: Option<u64>,
    /// The topic.
    #[arg(long)]
    topic: Option<String>,
    /// The queue, with --offset.
    #[arg(long, default_value_t = 0, requires = "offset")]
    queue: u32,
    /// The broker, with --offset; needed only if several have the topic.
    #[arg(long, value_name = "NAME", requires = "offset")]
    broker: Option<String>,
}

impl Message {
    /// The command with its action.
    pub(crate) fn name(&self) -> &'static str {
        "message get"
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let Action::Get(get) = &self.action;
        let (found, more) = run(async { get.find(&self.at.admin().await?).await })?;
        let lines: Vec<_> = found.iter().map(messages::line).collect();
        let pages: Vec<_> = found.iter().map(messages::page).collect();
        let exit = if found.is_empty() { Exit::No } else { Exit::Done };
        let mut summary = format!("found {}", counted(found.len() as u64, "message"));
        if more {
            summary += match get.max {
                FOUND_MAX => "; there may be more, and brokers give no more of one key",
                _ => "; there may be more (--max)",
            };
        }
        let mut text = pages.join("\n");
        if found.is_empty() || more {
            text += &format!("{summary}\n");
        }
        Ok(Answer { exit, summary, text, result: json!({ "messages": lines, "more": more }) })
    }
}

impl Get {
    /// The messages, and whether there may be more.
    async fn find(&self, admin: &Admin) -> Result<(Vec<Received>, bool), Failure> {
        let all = |found: Vec<Received>| (found, false);
        match (&self.id, &self.key, self.offset, &self.topic) {
            (Some(id), _, _, topic) => by_id(admin, id, topic.as_deref()).await.map(all),
            (None, Some(key), _, Some(topic)) => {
                Ok(admin.found_by_key(topic, key, false, self.max).await?)
            }
            (None, None, Some(offset), Some(topic)) => {
                let queue = self.queue(admin, topic).await?;
                let found = admin.message_in(&queue, QueueOffset(offset)).await?;
                Ok(all(found.into_iter().collect()))
            }
            _ => Err(Failure::new(Exit::Input, codes::ARGUMENT, "nothing says which message")
                .hint("say --id, or --topic with --key or --offset")),
        }
    }

    async fn queue(&self, admin: &Admin, topic: &str) -> Result<MessageQueue, Failure> {
        let mut queues = admin.cluster().queues(topic).await?;
        queues.retain(|queue| {
            let named = self.broker.as_ref().is_none_or(|name| *name == queue.broker_name);
            named && queue.queue_id == QueueId(self.queue)
        });
        match (queues.pop(), queues.len()) {
            (Some(queue), 0) => Ok(queue),
            (Some(_), _) => {
                let message = format!("several brokers have a queue {} of {topic}", self.queue);
                Err(Failure::new(Exit::Input, codes::ARGUMENT, message).hint("say --broker"))
            }
            (None, _) => {
                let message = format!("there is no queue {} of {topic}", self.queue);
                Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                    .hint("`millrace topic status` shows the queues"))
            }
        }
    }
}

/// Both kinds of id look alike: the one that a producer made is tried first, where the topic is
/// known to look in.
async fn by_id(admin: &Admin, id: &str, topic: Option<&str>) -> Result<Vec<Received>, Failure> {
    if let Some(topic) = topic {
        let found = admin.messages_by_key(topic, id, true).await?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let Some(place) = OffsetMessageId::parse(id) else {
        if topic.is_some() {
            return Ok(Vec::new());
        }
        let message = format!("`{id}` does not say where the message is stored");
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, message).hint("say --topic too"));
    };
    match admin.message_at(&place).await {
        Ok(found) => Ok(found.into_iter().collect()),
        // An id that a producer made names the producer's address, where no broker is.
        Err(millrace_client::ClientError::Unreachable { .. }) if topic.is_some() => Ok(Vec::new()),
        Err(error) => {
            let mut failure = Failure::from(error);
            if topic.is_none() {
                failure = failure.hint("if a producer made this id, say --topic too");
            }
            Err(failure)
        }
    }
}
