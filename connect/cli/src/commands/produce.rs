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
use crate::signals::Signals;

/// What its help ends with.
const EXAMPLES: &str = "\
For instance:
  echo hello | millrace produce orders --key order-17 --tag new
  millrace produce access --file access.log --batch 100";

/// Send lines as messages to a topic.
///
/// Works with Millrace and with Apache RocketMQ.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
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
    /// Compress bodies of 4 KiB and more. Consumers and pipelines decompress them.
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
        let topic = parse_name(&self.topic, TopicName::parse)?;
        let group = parse_name(&self.group, GroupName::parse)?;
        let pattern = self.pattern(topic)?;
        let lines = self.open()?;
        let mut signals = Signals::listen()?;
        run(async {
            let cluster = self.at.cluster().await?;
            let options = ProducerOptions {
                timeout: Duration::from_secs(self.timeout),
                compress_from: self.compress.then_some(COMPRESS_FROM),
                ..ProducerOptions::default()
            };
            let producer = Arc::new(Producer::new(Arc::clone(&cluster), group, options));
            let mut sending = Sending::new(self, producer);
            let outcome = sending.all(read(lines), &pattern, &mut signals).await;
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

/// What came of reading a line.
type Line = Result<Vec<u8>, Unread>;

enum Unread {
    TooLong,
    Failed(io::Error),
}

/// Lines that are read on a thread of their own, because reading may block.
fn read(mut lines: Box<dyn BufRead + Send>) -> mpsc::Receiver<Line> {
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
                    if line.len() > BODY_BYTES_MAX {
                        // Its rest is no message.
                        return drop(sender.blocking_send(Err(Unread::TooLong)));
                    }
                    if sender.blocking_send(Ok(line)).is_err() {
                        return;
                    }
                }
                Err(error) => return drop(sender.blocking_send(Err(Unread::Failed(error)))),
            }
        }
    });
    receiver
}

/// Messages on their way.
struct Sending<'a> {
    command: &'a Produce,
    producer: Arc<Producer>,
    in_flight: VecDeque<InFlight>,
    read: u64,
    stored: u64,
    /// Those among them that come after a line that failed.
    stored_behind: u64,
    /// Of the first line that failed, what is told of it.
    failure: Option<Failure>,
    stopped: bool,
    /// Stored, but not as well as was asked for.
    doubtful: u64,
    began: Instant,
}

/// A request on its way.
struct InFlight {
    first_line: u64,
    lines: u64,
    sending: JoinHandle<Outcome>,
}

impl InFlight {
    /// What its outcome is about.
    fn name(&self) -> String {
        let Self { first_line, lines, .. } = self;
        match lines {
            1 => format!("line {first_line}"),
            _ => format!("lines {first_line} to {}", first_line + lines - 1),
        }
    }
}

impl<'a> Sending<'a> {
    fn new(command: &'a Produce, producer: Arc<Producer>) -> Self {
        let (in_flight, began) = (VecDeque::new(), Instant::now());
        Self {
            command,
            producer,
            in_flight,
            read: 0,
            stored: 0,
            stored_behind: 0,
            failure: None,
            stopped: false,
            doubtful: 0,
            began,
        }
    }

    /// Sends all lines. After the first failure, and after a signal, nothing more is sent, but what
    /// is on its way is waited for.
    async fn all(
        &mut self,
        mut lines: mpsc::Receiver<Line>,
        pattern: &Message,
        signals: &mut Signals,
    ) -> Result<(), Failure> {
        let unread = tokio::select! {
            sent = self.send_lines(&mut lines, pattern) => sent.err(),
            () = signals.requested() => {
                self.stopped = true;
                None
            }
        };
        lines.close();
        while !self.in_flight.is_empty() {
            self.settle_first().await;
        }
        // A line that could not be read comes after all that were sent.
        self.failure.take().or(unread).map_or(Ok(()), Err)
    }

    async fn send_lines(
        &mut self,
        lines: &mut mpsc::Receiver<Line>,
        pattern: &Message,
    ) -> Result<(), Failure> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut unread = None;
        while let Some(line) = lines.recv().await {
            let line = match line {
                Ok(line) => line,
                Err(reason) => {
                    unread = Some(self.unread(&reason));
                    break;
                }
            };
            if bytes + line.len() > BATCH_BYTES_MAX && !batch.is_empty() {
                self.start(std::mem::take(&mut batch)).await;
                bytes = 0;
            }
            self.read += 1;
            bytes += line.len();
            batch.push(pattern.clone().body(line));
            if batch.len() >= self.command.batch as usize || lines.is_empty() {
                self.start(std::mem::take(&mut batch)).await;
                bytes = 0;
            }
            if self.failure.is_some() {
                return Ok(());
            }
        }
        if !batch.is_empty() {
            self.start(batch).await;
        }
        unread.map_or(Ok(()), Err)
    }

    /// Why the next line is not sent.
    fn unread(&self, reason: &Unread) -> Failure {
        match reason {
            Unread::TooLong => {
                let line = self.read + 1;
                let message = format!("line {line}: a body has at most {BODY_BYTES_MAX} bytes");
                Failure::new(Exit::Input, codes::ARGUMENT, message)
            }
            Unread::Failed(error) => {
                let message = format!("cannot read on after line {}: {error}", self.read);
                Failure::new(Exit::Failed, codes::SOURCE_IO, message)
            }
        }
    }

    /// Sends the last lines that were read, once there is a place for them and if none before has
    /// failed.
    async fn start(&mut self, messages: Vec<Message>) {
        let lines = messages.len() as u64;
        let before = self.read.saturating_sub(lines);
        if let Some(rate) = self.command.rate {
            let due = before as f64 / f64::from(rate);
            sleep_until(self.began + Duration::from_secs_f64(due)).await;
        }
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            self.settle_first().await;
        }
        if self.failure.is_some() {
            return;
        }
        let producer = Arc::clone(&self.producer);
        let sending = tokio::spawn(async move {
            match &*messages {
                [message] => producer.send(message).await.map(|sent| vec![sent]),
                _ => producer.send_batch(&messages).await,
            }
        });
        self.in_flight.push_back(InFlight { first_line: before + 1, lines, sending });
    }

    /// Waits for what was sent first. Dropping the future loses nothing.
    async fn settle_first(&mut self) {
        let Some(first) = self.in_flight.front_mut() else { return };
        let outcome = match (&mut first.sending).await {
            Ok(outcome) => outcome,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let first = self.in_flight.pop_front().expect("it was there");
        let stored = match outcome {
            Ok(stored) => stored,
            Err(error) => {
                let mut failure = Failure::from(error);
                failure.message = format!("{}: {}", first.name(), failure.message);
                self.failure.get_or_insert(failure);
                return;
            }
        };
        for sent in stored {
            self.stored += 1;
            self.stored_behind += u64::from(self.failure.is_some());
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
    }

    fn told(&self, outcome: Result<(), Failure>) -> Result<Answer, Failure> {
        let Self { command, stored, stored_behind: behind, doubtful, .. } = self;
        let before = stored - behind;
        let result = json!({
            "topic": command.topic,
            "sent": stored,
            "sent_before_failure": before,
            "doubtful": doubtful,
        });
        if let Err(mut failure) = outcome {
            let message = &mut failure.message;
            message.push_str(&format!("; {} stored before it", counted(before, "message")));
            if *behind > 0 {
                message.push_str(&format!(", and {behind} of those behind it"));
            }
            failure.result = result;
            return Err(failure);
        }
        let mut summary = format!("sent {} to {}", counted(*stored, "message"), command.topic);
        if self.stopped {
            summary.push_str(" until it was stopped");
        }
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
