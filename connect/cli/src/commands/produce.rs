//! `millrace produce`: lines become messages.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use millrace_client::{ClientError, Message, Producer, ProducerOptions, SendStatus, Sent};
use millrace_types::{GroupName, TopicName};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::cluster::{At, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::output::{Answer, try_print};

/// Send lines as messages to a topic.
///
/// Works with Millrace and with Apache RocketMQ. For instance:
///   echo hello | millrace produce orders --key order-17 --tag new
///   millrace produce access --file access.log --batch 100
#[derive(Args, Debug)]
pub(crate) struct Produce {
    #[command(flatten)]
    pub(crate) at: At,
    /// The topic.
    topic: String,
    /// Read this file instead of stdin.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The producer's group.
    #[arg(long, value_name = "NAME", default_value = "millrace-produce")]
    group: String,
    /// A key by which each message can be looked up.
    #[arg(long)]
    key: Option<String>,
    /// A tag, by which consumers filter.
    #[arg(long)]
    tag: Option<String>,
    /// A property; may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    /// Deliver later: 1 to 18 mean 1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h.
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=18))]
    delay_level: Option<u8>,
    /// Send so many lines as one request, to one queue.
    #[arg(long, value_name = "LINES", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Send at most so many messages a second.
    #[arg(long, value_name = "MESSAGES")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Compress bodies of 4 KiB and more. Consumers decompress them; pipelines do not.
    #[arg(long)]
    compress: bool,
    /// How long a message may take, in seconds, all attempts together.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Requests whose answers are waited for at once.
const IN_FLIGHT_MAX: usize = 64;
/// A batch of lines stays well below the 4 MiB that a broker takes.
const BATCH_BYTES_MAX: usize = 3 << 20;
const BODY_BYTES_MAX: usize = 4 << 20;
const COMPRESS_FROM: usize = 4 << 10;
/// Lines that were read and not sent yet.
const LINES_AHEAD: usize = 256;

type Outcome = Result<Vec<Sent>, ClientError>;

impl Produce {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let topic = parse_name(TopicName::parse(&self.topic))?;
        let group = parse_name(GroupName::parse(&self.group))?;
        let pattern = self.pattern(topic)?;
        let lines = self.open()?;
        run(async {
            let cluster = self.at.cluster().await?;
            let options = ProducerOptions {
                timeout: Duration::from_secs(self.timeout),
                compress_from: self.compress.then_some(COMPRESS_FROM),
                ..ProducerOptions::default()
            };
            let producer = Arc::new(Producer::new(Arc::clone(&cluster), group, options));
            let mut sending = Sending::new(self, producer);
            let outcome = sending.all(read(lines), &pattern).await;
            cluster.close().await;
            sending.told(outcome)
        })
    }

    /// The message that every line becomes, without a body.
    fn pattern(&self, topic: TopicName) -> Result<Message, Failure> {
        let mut message = Message::new(topic, "");
        if let Some(key) = &self.key {
            message = message.keys(key);
        }
        if let Some(tag) = &self.tag {
            message = message.tag(tag);
        }
        if let Some(level) = self.delay_level {
            message = message.delay_level(level);
        }
        for (name, value) in &self.properties {
            message = message.property(name, value)?;
        }
        Ok(message)
    }

    fn open(&self) -> Result<Box<dyn BufRead + Send>, Failure> {
        let Some(path) = &self.file else { return Ok(Box::new(BufReader::new(io::stdin()))) };
        let file = File::open(path).map_err(|error| {
            let message = format!("cannot read {}: {error}", path.display());
            Failure::new(Exit::Input, codes::FILE, message)
        })?;
        Ok(Box::new(BufReader::new(file)))
    }
}

/// Lines that are read on a thread of their own, because reading may block.
fn read(mut lines: Box<dyn BufRead + Send>) -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    // It ends with its input, or when nobody takes its lines; a terminal may keep it until then.
    std::thread::spawn(move || {
        loop {
            let mut line = Vec::new();
            let read = (&mut lines).take(BODY_BYTES_MAX as u64 + 2).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return,
                Ok(_) => {
                    if line.pop_if(|last| *last == b'\n').is_some() {
                        line.pop_if(|last| *last == b'\r');
                    }
                    if sender.blocking_send(Ok(line)).is_err() {
                        return;
                    }
                }
                Err(error) => return drop(sender.blocking_send(Err(error))),
            }
        }
    });
    receiver
}

/// Messages on their way.
struct Sending<'a> {
    command: &'a Produce,
    producer: Arc<Producer>,
    in_flight: VecDeque<JoinHandle<Outcome>>,
    read: u64,
    stored: u64,
    /// Stored, but not as well as was asked for.
    doubtful: u64,
    began: Instant,
}

impl<'a> Sending<'a> {
    fn new(command: &'a Produce, producer: Arc<Producer>) -> Self {
        let (in_flight, began) = (VecDeque::new(), Instant::now());
        Self { command, producer, in_flight, read: 0, stored: 0, doubtful: 0, began }
    }

    /// Sends all lines. After the first failure nothing more is sent, but what is on its way is
    /// waited for.
    async fn all(
        &mut self,
        mut lines: mpsc::Receiver<io::Result<Vec<u8>>>,
        pattern: &Message,
    ) -> Result<(), Failure> {
        let mut failure = self.send_lines(&mut lines, pattern).await.err();
        lines.close();
        while let Some(first) = self.in_flight.pop_front() {
            if let Err(error) = self.settle(first).await {
                failure = failure.or(Some(error));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn send_lines(
        &mut self,
        lines: &mut mpsc::Receiver<io::Result<Vec<u8>>>,
        pattern: &Message,
    ) -> Result<(), Failure> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(line) = lines.recv().await {
            let line = line.map_err(|error| {
                let message = format!("cannot read on after line {}: {error}", self.read);
                Failure::new(Exit::Failed, codes::SOURCE_IO, message)
            })?;
            self.read += 1;
            if bytes + line.len() > BATCH_BYTES_MAX && !batch.is_empty() {
                self.start(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
            bytes += line.len();
            batch.push(pattern.clone().body(line));
            if batch.len() >= self.command.batch as usize || lines.is_empty() {
                self.start(std::mem::take(&mut batch)).await?;
                bytes = 0;
            }
        }
        if batch.is_empty() { Ok(()) } else { self.start(batch).await }
    }

    async fn start(&mut self, messages: Vec<Message>) -> Result<(), Failure> {
        if let Some(rate) = self.command.rate {
            let due = self.read.saturating_sub(messages.len() as u64) as f64 / f64::from(rate);
            sleep_until(self.began + Duration::from_secs_f64(due)).await;
        }
        if self.in_flight.len() >= IN_FLIGHT_MAX
            && let Some(first) = self.in_flight.pop_front()
        {
            self.settle(first).await?;
        }
        let producer = Arc::clone(&self.producer);
        self.in_flight.push_back(tokio::spawn(async move {
            match &*messages {
                [message] => producer.send(message).await.map(|sent| vec![sent]),
                _ => producer.send_batch(&messages).await,
            }
        }));
        Ok(())
    }

    async fn settle(&mut self, sending: JoinHandle<Outcome>) -> Result<(), Failure> {
        let outcome = match sending.await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        for sent in outcome? {
            self.stored += 1;
            self.doubtful += u64::from(sent.status != SendStatus::Ok);
            if self.command.at.json {
                let line = json!({
                    "id": sent.id,
                    "offset_id": sent.offset_id.map(|id| id.to_string()),
                    "topic": sent.queue.topic,
                    "broker": sent.queue.broker_name,
                    "queue": sent.queue.queue_id.0,
                    "queue_offset": sent.offset.0,
                    "status": show_status(sent.status),
                });
                // Messages are sent whether anybody reads about them or not.
                let _ = try_print(format!("{line}\n").as_bytes());
            }
        }
        Ok(())
    }

    fn told(&self, outcome: Result<(), Failure>) -> Result<Answer, Failure> {
        let Self { command, stored, doubtful, .. } = self;
        let result = json!({ "topic": command.topic, "sent": stored, "doubtful": doubtful });
        if let Err(mut failure) = outcome {
            failure.message =
                format!("{}; {} stored before", failure.message, counted(*stored, "message"));
            failure.result = result;
            return Err(failure);
        }
        let mut summary = format!("sent {} to {}", counted(*stored, "message"), command.topic);
        if *doubtful > 0 {
            summary.push_str(&format!(
                "; {} of them stored, but not known to be on disk and replicated in time",
                counted(*doubtful, "message")
            ));
        }
        Ok(Answer::line(Exit::Done, summary, result))
    }
}

fn show_status(status: SendStatus) -> &'static str {
    match status {
        SendStatus::Ok => "ok",
        SendStatus::FlushDiskTimeout => "flush_disk_timeout",
        SendStatus::FlushSlaveTimeout => "flush_slave_timeout",
        SendStatus::SlaveNotAvailable => "slave_not_available",
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
