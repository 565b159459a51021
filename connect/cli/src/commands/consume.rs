//! `millrace consume`: messages become lines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use millrace_client::{
    ClientError, Cluster, Delivery, Filter, MessageQueue, Place, PullConsumer, PushConsumer,
    PushOptions, QueueId, QueueOffset, Received, Young,
};
use millrace_types::{GroupName, TopicName};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::cluster::{At, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::messages;
use crate::moments::{Start, now_ms, parse_start};
use crate::output::{Answer, complain, give_up, try_print};
use crate::plain;
use crate::signals::Signals;

/// What its help ends with.
const EXAMPLES: &str = "\
For instance:
  millrace consume orders --from 2026-01-02T03:04:05Z --sql \"region = 'eu'\" --json";

/// Print the messages of a topic, one per line.
///
/// Works with Millrace and with Apache RocketMQ. It ends at the end that the topic has now; with
/// --follow or --group it goes on until ctrl-c.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
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
/// How often to look for further queues. A name server is asked only when the client's route is old,
/// after 30 s, or a broker in it does not answer.
const SEARCH: Duration = Duration::from_secs(1);
/// How long a broker may be away of which messages are missing. One that starts anew is back by
/// then.
const AWAY_MAX: Duration = Duration::from_secs(10);
/// Messages that wait for their turn to be printed: enough that the thread need not be woken for
/// each, and few to come again if nobody reads on.
const PRINTED_AHEAD: usize = 16;

impl Consume {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let filter = self.filter()?;
        let topic = parse_name(&self.topic, TopicName::parse)?;
        let mut signals = Signals::listen()?;
        if let Some(group) = &self.group {
            let group = parse_name(group, GroupName::parse)?;
            return run(self.consume(group, topic, filter, signals));
        }
        run(async {
            let cluster = self.at.cluster().await?;
            let Printer { messages, count, ended } = Printer::start(self.lines())?;
            let read = tokio::select! {
                read = self.read(&cluster, filter, messages) => read,
                () = signals.requested() => Ok(()),
            };
            all_printed(ended, &mut signals).await;
            cluster.close().await;
            read?;
            Ok(self.answer(count.load(Ordering::Relaxed)))
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
        let young = Young::Begin;
        // Whoever reads may take its time, and gets nothing twice for that.
        let consume_timeout = None;
        let options =
            PushOptions { begin, young, consume_timeout, grace: GRACE, ..PushOptions::default() };
        let topics = [(topic, filter)];
        let mut consumer = PushConsumer::start(&self.at.namesrv, group, topics, options).await?;
        let Printer { messages: deliveries, count, ended } = Printer::start(self.lines())?;
        let mut wanted = self.count.unwrap_or(u64::MAX);
        while wanted > 0 {
            // Only what there is a place for is taken: a delivery that is dropped has failed.
            let place = tokio::select! {
                place = deliveries.reserve() => place,
                () = signals.requested() => break,
            };
            let Ok(place) = place else { break };
            tokio::select! {
                delivery = consumer.next() => place.send(delivery),
                () = deliveries.closed() => break,
                () = signals.requested() => break,
            }
            wanted -= 1;
        }
        drop(deliveries);
        // Whoever reads may take its time, and the member stays one as long.
        let unprinted = all_printed(ended, &mut signals).await;
        consumer.stop().await;
        // What nobody read is kept until here, so that it comes to whoever has the queue next.
        drop(unprinted);
        Ok(self.answer(count.load(Ordering::Relaxed)))
    }

    fn lines(&self) -> Lines {
        Lines { json: self.at.json, on_terminal: io::stdout().is_terminal() }
    }

    fn answer(&self, count: u64) -> Answer {
        let summary = format!("{} of {}", counted(count, "message"), self.topic);
        let result = json!({ "topic": self.topic, "messages": count });
        Answer { exit: Exit::Done, summary, text: String::new(), result }
    }

    /// Gives messages to be printed until the end, or for ever.
    async fn read(
        &self,
        cluster: &Arc<Cluster>,
        filter: Filter,
        printed: mpsc::Sender<Received>,
    ) -> Result<(), Failure> {
        let mut wanted = self.count.unwrap_or(u64::MAX);
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
        let mut away = BTreeSet::new();
        let mut newcomers = self.follow.then(|| Newcomers::search(self, cluster, ends.keys()));
        loop {
            while let Some((queue, start)) = newcomers.as_mut().and_then(Newcomers::next) {
                consumer.seek(&queue, start);
            }
            let is_done = |(queue, at): (&MessageQueue, QueueOffset)| at >= ends[queue];
            if wanted == 0 || (!self.follow && consumer.positions().all(is_done)) {
                return Ok(());
            }
            let polled = match consumer.poll(LOOK).await {
                Err(error) if may_pass(&error) => Vec::new(),
                polled => polled?,
            };
            if self.follow {
                tell_of(&consumer, &mut away);
            } else {
                all_comes(&consumer, &ends)?;
            }
            for message in polled {
                // What came after the start is not part of the answer.
                let is_part = self.follow || message.offset < ends[&message.queue];
                if is_part && wanted > 0 {
                    if printed.send(message).await.is_err() {
                        return Ok(());
                    }
                    wanted -= 1;
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

/// Queues that a topic gets while it is followed, or that a broker brings which joins. Those that
/// go are kept: they may only be away.
struct Newcomers {
    found: mpsc::Receiver<(MessageQueue, QueueOffset)>,
    /// The search, which ends with this.
    _search: JoinSet<()>,
}

impl Newcomers {
    fn search<'q>(
        command: &Consume,
        cluster: &Arc<Cluster>,
        known: impl Iterator<Item = &'q MessageQueue>,
    ) -> Self {
        let (topic, number) = (command.topic.clone(), command.queue);
        let from = match command.from {
            // A broker that was away has older messages, too.
            Start::Latest => Start::Time(now_ms()),
            from => from,
        };
        let (cluster, mut known) = (Arc::clone(cluster), known.cloned().collect::<BTreeSet<_>>());
        // All are taken at every look.
        let (newcomers, found) = mpsc::channel(16);
        let mut search = JoinSet::new();
        search.spawn(async move {
            loop {
                sleep(SEARCH).await;
                let mut queues = cluster.queues(&topic).await.unwrap_or_default();
                queues.retain(|queue| {
                    number.is_none_or(|number| queue.queue_id == QueueId(number))
                        && !known.contains(queue)
                });
                let mut silent = BTreeSet::new();
                for queue in queues {
                    if silent.contains(&queue.broker_name) {
                        continue;
                    }
                    let start = match from {
                        Start::Time(at) => cluster.offset_at(&queue, at).await,
                        // All of it came after the start.
                        Start::Earliest | Start::Latest | Start::Offset(_) => {
                            cluster.min_offset(&queue).await
                        }
                    };
                    let Ok(start) = start else {
                        silent.insert(queue.broker_name);
                        continue;
                    };
                    known.insert(queue.clone());
                    if newcomers.send((queue, start)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Self { found, _search: search }
    }

    fn next(&mut self) -> Option<(MessageQueue, QueueOffset)> {
        self.found.try_recv().ok()
    }
}

/// Whether a broker that cannot be read may be there again in a moment.
fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. }
        | ClientError::Unanswered { .. }
        | ClientError::NoBroker(_) => true,
        ClientError::Refused { .. } => Failure::from(error.clone()).exit == Exit::Environment,
        // A route that was known is forgotten only once a broker says that the topic is gone.
        ClientError::NoRoute(_) | ClientError::Garbled { .. } | ClientError::Invalid(_) => false,
    }
}

/// Says once of each broker that it cannot be read, and that it can again.
fn tell_of(consumer: &PullConsumer, away: &mut BTreeSet<String>) {
    let failing: BTreeMap<_, _> =
        consumer.failures().map(|(queue, _, error)| (queue.broker_name.clone(), error)).collect();
    away.retain(|broker| {
        let is_away = failing.contains_key(broker);
        if !is_away {
            complain(&format!("the broker `{}` is read again\n", plain::line(broker)));
        }
        is_away
    });
    for (broker, error) in failing {
        if !away.contains(&broker) {
            let (broker, error) = (plain::line(&broker), error.to_string());
            let error = plain::line(&error);
            complain(&format!("warning: the broker `{broker}` is waited for: {error}\n"));
            away.insert(broker.into_owned());
        }
    }
}

/// Fails if a queue that is not read to its end has not been readable for a while.
fn all_comes(
    consumer: &PullConsumer,
    ends: &BTreeMap<MessageQueue, QueueOffset>,
) -> Result<(), Failure> {
    let positions: BTreeMap<_, _> = consumer.positions().collect();
    let missing = consumer
        .failures()
        .find(|(queue, since, _)| *since >= AWAY_MAX && positions[queue] < ends[*queue]);
    let Some((MessageQueue { broker_name, queue_id, .. }, _, error)) = missing else {
        return Ok(());
    };
    let mut failure = Failure::from(error.clone());
    failure.exit = Exit::Environment;
    failure.message =
        format!("queue {queue_id} of the broker `{broker_name}` cannot be read: {error}");
    Err(failure.hint("not all messages were printed; consume again once the broker answers"))
}

/// How messages are printed.
#[derive(Clone, Copy, Debug)]
struct Lines {
    json: bool,
    /// Whether somebody reads it, and not a file or a program.
    on_terminal: bool,
}

impl Lines {
    /// Prints a message; an error means that nobody reads any more.
    fn print(self, message: &Received) -> io::Result<()> {
        if self.json {
            try_print(format!("{}\n", messages::line(message)).as_bytes())
        } else {
            try_print(&shown(&message.body, self.on_terminal))
        }
    }
}

/// Prints on a thread of its own, and says of each message when it is done with. Standard output
/// may block for hours; brokers take a member for gone that is not heard of meanwhile, and nobody
/// would see a signal.
struct Printer<T> {
    messages: mpsc::Sender<T>,
    /// Messages that were printed.
    count: Arc<AtomicU64>,
    /// What was not printed, once nobody reads any more or no more comes.
    ended: oneshot::Receiver<Vec<T>>,
}

/// What is printed.
trait Printable: Send + 'static {
    fn message(&self) -> &Received;

    /// It is printed.
    fn done(self);
}

impl Printable for Delivery {
    fn message(&self) -> &Received {
        self.message()
    }

    fn done(self) {
        self.done();
    }
}

impl Printable for Received {
    fn message(&self) -> &Received {
        self
    }

    fn done(self) {}
}

impl<T: Printable> Printer<T> {
    fn start(lines: Lines) -> Result<Self, Failure> {
        let (messages, mut given) = mpsc::channel::<T>(PRINTED_AHEAD);
        let (end, ended) = oneshot::channel();
        let count = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&count);
        let print = move || {
            let mut unprinted = Vec::new();
            while let Some(message) = given.blocking_recv() {
                if !unprinted.is_empty() || lines.print(message.message()).is_err() {
                    given.close();
                    unprinted.push(message);
                    continue;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                message.done();
            }
            // Without a receiver the consumer is stopped already.
            let _ = end.send(unprinted);
        };
        // Nobody joins it: it may be blocked for good, and then the process ends without it.
        let started = thread::Builder::new().name("millrace-printer".into()).spawn(print);
        started.map_err(|error| {
            let message = format!("cannot start a thread: {error}");
            Failure::new(Exit::Environment, codes::SYSTEM, message)
        })?;
        Ok(Self { messages, count, ended })
    }
}

/// Waits until everything is printed, but after a signal only as long as that takes if somebody
/// reads. Gives what was not printed, as far as it is not with a thread that is blocked.
async fn all_printed<T>(ended: oneshot::Receiver<Vec<T>>, signals: &mut Signals) -> Vec<T> {
    let patience = async {
        signals.requested().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        unprinted = ended => unprinted.unwrap_or_default(),
        () = patience => {
            give_up();
            Vec::new()
        }
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
