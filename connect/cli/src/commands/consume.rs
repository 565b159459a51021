//! `millrace consume`: messages become lines.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millrace_client::{
    Cluster, Filter, MessageQueue, Place, PullConsumer, PushConsumer, PushOptions, QueueId,
    QueueOffset, Received,
};
use millrace_types::{GroupName, TopicName};
use serde_json::json;

use crate::cluster::{At, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::messages;
use crate::moments::{Start, parse_start};
use crate::output::{Answer, try_print};
use crate::plain;
use crate::signals::Signals;

/// Print the messages of a topic, one per line.
///
/// Works with Millrace and with Apache RocketMQ. It ends at the end that the topic has now; with
/// --follow or --group it goes on until ctrl-c. For instance:
///   millrace consume orders --from 2026-01-02T03:04:05Z --sql "region = 'eu'" --json
#[derive(Args, Debug)]
pub(crate) struct Consume {
    #[command(flatten)]
    pub(crate) at: At,
    /// The topic.
    topic: String,
    /// Consume as a member of this group: share the messages with the other members, and commit
    /// each one that was printed.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["queue", "follow"])]
    group: Option<String>,
    /// Where to begin: `earliest`, `latest`, `offset:N`, or a time such as 2026-01-02T03:04:05Z.
    /// A group that has been here goes on where it was.
    #[arg(long, value_name = "PLACE", default_value = "earliest", value_parser = parse_start)]
    from: Start,
    /// Only messages with these tags: `a || b`.
    #[arg(long, value_name = "TAGS", conflicts_with = "sql")]
    tag: Option<String>,
    /// Only messages for which an SQL92 condition over their properties holds.
    #[arg(long, value_name = "CONDITION")]
    sql: Option<String>,
    /// Only this queue.
    #[arg(long, value_name = "NUMBER")]
    queue: Option<u32>,
    /// End after so many messages.
    #[arg(short = 'n', long, value_name = "MESSAGES")]
    count: Option<u64>,
    /// Wait for further messages at the end.
    #[arg(long)]
    follow: bool,
}

/// Who reads, unless a group is named. Nobody's offsets are touched.
const READER: &str = "millrace-consume";
/// Nothing of this program takes longer than printing a line.
const GRACE: Duration = Duration::from_millis(500);
/// How long to wait before looking whether there is anything left to wait for.
const LOOK: Duration = Duration::from_millis(200);

impl Consume {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let filter = self.filter()?;
        let mut signals = Signals::listen()?;
        if let Some(group) = &self.group {
            let group = parse_name(GroupName::parse(group))?;
            let topic = parse_name(TopicName::parse(&self.topic))?;
            return run(self.consume(group, topic, filter, signals));
        }
        run(async {
            let cluster = self.at.cluster().await?;
            let mut printed = Printed::new(self);
            let reading = self.read(&cluster, filter, &mut printed);
            tokio::select! {
                read = reading => read?,
                () = signals.requested() => {}
            }
            cluster.close().await;
            Ok(printed.answer())
        })
    }

    fn filter(&self) -> Result<Filter, Failure> {
        match (&self.tag, &self.sql) {
            (Some(tags), _) => Ok(Filter::tags(tags)?),
            (None, Some(condition)) => Ok(Filter::Sql(condition.clone())),
            (None, None) => Ok(Filter::All),
        }
    }

    /// Prints as a member of a group.
    async fn consume(
        &self,
        group: GroupName,
        topic: TopicName,
        filter: Filter,
        mut signals: Signals,
    ) -> Result<Answer, Failure> {
        let begin = match self.from {
            Start::Earliest => Place::Earliest,
            Start::Latest => Place::Latest,
            Start::Time(at) => Place::Time(at),
            Start::Offset(_) => {
                let message = "a group begins at `earliest`, `latest` or a time";
                return Err(Failure::new(Exit::Input, codes::ARGUMENT, message));
            }
        };
        let options = PushOptions { begin, grace: GRACE, ..PushOptions::default() };
        let topics = [(topic, filter)];
        let mut consumer = PushConsumer::start(&self.at.namesrv, group, topics, options).await?;
        let mut printed = Printed::new(self);
        while !printed.is_enough() {
            let delivery = tokio::select! {
                delivery = consumer.next() => delivery,
                () = signals.requested() => break,
            };
            if printed.print(delivery.message()).is_err() {
                // Nobody read it. Kept until the end, it comes to whoever has the queue next.
                consumer.stop().await;
                drop(delivery);
                return Ok(printed.answer());
            }
            delivery.done();
        }
        consumer.stop().await;
        Ok(printed.answer())
    }

    /// Prints until the end, or for ever. Dropping the future loses nothing that is not printed.
    async fn read(
        &self,
        cluster: &Arc<Cluster>,
        filter: Filter,
        printed: &mut Printed<'_>,
    ) -> Result<(), Failure> {
        let group = GroupName::parse(READER).expect("it is a name");
        let mut consumer = PullConsumer::new(Arc::clone(cluster), group, filter);
        let mut ends = BTreeMap::new();
        for queue in self.queues(cluster).await? {
            let end = cluster.max_offset(&queue).await?;
            let start = match self.from {
                Start::Earliest => cluster.min_offset(&queue).await?,
                Start::Latest => end,
                Start::Time(at) => cluster.offset_at(&queue, at).await?,
                Start::Offset(offset) => QueueOffset(offset),
            };
            if self.follow || start < end {
                consumer.seek(&queue, start);
                ends.insert(queue, end);
            }
        }
        loop {
            let is_done = |(queue, at): (&MessageQueue, QueueOffset)| at >= ends[queue];
            if printed.is_enough() || (!self.follow && consumer.positions().all(is_done)) {
                return Ok(());
            }
            for message in consumer.poll(LOOK).await? {
                // What came after the start is not part of the answer.
                let is_part = self.follow || message.offset < ends[&message.queue];
                if is_part && !printed.is_enough() && printed.print(&message).is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn queues(&self, cluster: &Cluster) -> Result<Vec<MessageQueue>, Failure> {
        let mut queues = cluster.queues(&self.topic).await?;
        if let Some(wanted) = self.queue {
            queues.retain(|queue| queue.queue_id == QueueId(wanted));
            if queues.is_empty() {
                let message = format!("there is no queue {wanted} of {}", self.topic);
                return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                    .hint("`millrace topic status` shows the queues"));
            }
        }
        Ok(queues)
    }
}

/// What was printed so far.
struct Printed<'a> {
    command: &'a Consume,
    /// Whether somebody reads it, and not a file or a program.
    on_terminal: bool,
    count: u64,
}

impl<'a> Printed<'a> {
    fn new(command: &'a Consume) -> Self {
        Self { command, on_terminal: io::stdout().is_terminal(), count: 0 }
    }

    fn is_enough(&self) -> bool {
        self.command.count.is_some_and(|wanted| self.count >= wanted)
    }

    /// Prints a message; an error means that nobody reads any more.
    fn print(&mut self, message: &Received) -> io::Result<()> {
        if self.command.at.json {
            try_print(format!("{}\n", messages::line(message)).as_bytes())?;
        } else {
            try_print(&shown(&message.body, self.on_terminal))?;
        }
        self.count += 1;
        Ok(())
    }

    fn answer(&self) -> Answer {
        let summary = format!("{} of {}", counted(self.count, "message"), self.command.topic);
        let result = json!({ "topic": self.command.topic, "messages": self.count });
        Answer { exit: Exit::Done, summary, text: String::new(), result }
    }
}

/// A body as it is, or what a terminal can show of it.
fn shown(body: &[u8], on_terminal: bool) -> Vec<u8> {
    let mut shown = match on_terminal {
        true => plain::lines(&String::from_utf8_lossy(body)).into_owned().into_bytes(),
        false => body.to_vec(),
    };
    shown.push(b'\n');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_goes_to_programs_as_it_is_and_steers_no_terminal() {
        let body = b"a\x1b[2J\xff\n\tb";
        assert_eq!(shown(body, false), b"a\x1b[2J\xff\n\tb\n");
        assert_eq!(shown(body, true), "a\\u{1b}[2J\u{fffd}\n\tb\n".as_bytes());
    }
}
