//! `millrace bench`: what a broker takes and gives per second.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::bench::{
    Consume, Lasting, Latencies, Mode, Produce, STAMP_BYTES, Schedule, Target, Used, consume,
    measure, produce,
};
use crate::exit::{Exit, Failure, codes};
use crate::figures::{bytes, count};
use crate::output::Answer;

/// Drive a broker that speaks RocketMQ's protocol and show what it does per second.
///
/// The load goes to the first broker that the name server knows. With --target-pid the broker's
/// CPU time and memory are read from /proc, and messages per second of its CPU time are shown: the
/// figure that bears other work on the machine best.
#[derive(Args, Debug)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Produce(ProduceArguments),
    Consume(ConsumeArguments),
    Latency(LatencyArguments),
}

#[derive(Args, Debug)]
struct Common {
    /// The name server.
    #[arg(long, value_name = "ADDR")]
    namesrv: String,
    /// The topic; it is created.
    #[arg(long, default_value = "MillraceBench")]
    topic: String,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    queues: u32,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", value_parser = seconds)]
    seconds: f64,
    /// How long to run before measuring, in seconds.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    warm_up: f64,
    /// Process id of the broker, if it runs on this machine.
    #[arg(long, value_name = "PID")]
    target_pid: Option<u32>,
    /// One JSON object with all figures.
    #[arg(long)]
    json: bool,
}

/// Send messages as fast as answers come.
#[derive(Args, Debug)]
struct ProduceArguments {
    #[command(flatten)]
    common: Common,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=4 << 20))]
    size: u32,
    /// Connections.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    producers: u32,
    /// Sends in flight on each connection, with --mode async.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    window: u32,
    /// Messages in one send.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch: u32,
    /// What a producer does after a send.
    #[arg(long, value_enum, default_value_t = Mode::Async)]
    mode: Mode,
}

/// Pull messages as fast as answers come, from the first on.
#[derive(Args, Debug)]
struct ConsumeArguments {
    #[command(flatten)]
    common: Common,
    /// Connections, with one pull in flight on each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    consumers: u32,
    /// Messages that a pull asks for.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..))]
    pull: i32,
    /// Bytes that a pull asks for, which 5.x brokers heed.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i32).range(1..))]
    pull_bytes: Option<i32>,
    /// Read everything once instead of again and again for some seconds.
    #[arg(long, conflicts_with_all = ["seconds", "warm_up"])]
    until_end: bool,
}

/// Send messages on schedule and show when they are answered and when consumers have them.
///
/// Both are counted from the moment at which a message was due, so a broker that stops for a moment
/// shows it in every message that was due meanwhile.
#[derive(Args, Debug)]
struct LatencyArguments {
    #[command(flatten)]
    common: Common,
    /// Messages per second.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Bytes of a message.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(STAMP_BYTES as i64..=4 << 20))]
    size: u32,
    /// Connections that send; one for each queue receives.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    producers: u32,
}

fn seconds(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=86_400.0).contains(number));
    number.ok_or_else(|| "a number of seconds from 0 to 86400".to_owned())
}

impl Bench {
    pub(crate) fn json(&self) -> bool {
        match &self.what {
            What::Produce(arguments) => arguments.common.json,
            What::Consume(arguments) => arguments.common.json,
            What::Latency(arguments) => arguments.common.json,
        }
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        match &self.what {
            What::Produce(arguments) => arguments.execute(),
            What::Consume(arguments) => arguments.execute(),
            What::Latency(arguments) => arguments.execute(),
        }
    }
}

impl Common {
    fn target(&self) -> Result<Target, Failure> {
        Target::find(&self.namesrv, &self.topic, self.queues)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    fn lasting(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn no_process(&self) -> Failure {
        let pid = self.target_pid.unwrap_or_default();
        let message = format!("there is no process {pid}, or it ended");
        Failure::new(Exit::Input, codes::ARGUMENT, message)
    }
}

impl ProduceArguments {
    fn execute(&self) -> Result<Answer, Failure> {
        let target = self.common.target()?;
        let before = target.messages()?;
        let plan = Produce {
            target,
            size: self.size as usize,
            producers: self.producers as usize,
            window: self.window as usize,
            batch: self.batch as usize,
            mode: self.mode,
            warm_up: self.common.warm_up(),
            lasting: self.common.lasting(),
            pid: self.common.target_pid,
        };
        let sends = produce(&plan)?.ok_or_else(|| self.common.no_process())?;
        let stored = plan.target.messages()?.saturating_sub(before);
        let mut report = Report::of(sends.messages, sends.used);
        report.add(
            "refused",
            json!(sends.refused),
            format!("{} sends refused", count(sends.refused)),
        );
        // What one-way sends came to nobody else says.
        let note = format!("{} messages stored, warm-up included", count(stored));
        report.add("stored", json!(stored), note);
        report.add_latencies("answered", &sends.latencies);
        Ok(report.answer())
    }
}

impl ConsumeArguments {
    fn execute(&self) -> Result<Answer, Failure> {
        let warm_up = if self.until_end { Duration::ZERO } else { self.common.warm_up() };
        let lasting = match self.until_end {
            true => Lasting::UntilDone,
            false => Lasting::For(self.common.lasting()),
        };
        let plan = Consume {
            target: self.common.target()?,
            consumers: self.consumers as usize,
            pull: self.pull,
            pull_bytes: self.pull_bytes,
            warm_up,
            lasting,
            pid: self.common.target_pid,
        };
        let pulls = consume(&plan)?.ok_or_else(|| self.common.no_process())?;
        let mut report = Report::of(pulls.messages, pulls.used);
        let rate = pulls.bytes as f64 / pulls.used.seconds;
        let note = format!("{} of records per second", bytes(rate as u64));
        report.add("bytes_per_second", json!(rate), note);
        report.add_latencies("answered", &pulls.latencies);
        Ok(report.answer())
    }
}

impl LatencyArguments {
    fn execute(&self) -> Result<Answer, Failure> {
        let plan = Schedule {
            target: self.common.target()?,
            rate: self.rate,
            size: self.size as usize,
            producers: self.producers as usize,
            warm_up: self.common.warm_up(),
            lasting: self.common.lasting(),
            pid: self.common.target_pid,
        };
        let found = measure(&plan)?.ok_or_else(|| self.common.no_process())?;
        let delivered = found.delivered.count();
        let mut report = Report::of(found.acknowledged.count(), found.used);
        let missing = found.due.saturating_sub(delivered);
        report.add("due", json!(found.due), format!("{} messages were due", count(found.due)));
        report.add(
            "refused",
            json!(found.refused),
            format!("{} sends refused", count(found.refused)),
        );
        report.add("missing", json!(missing), format!("{} not delivered in time", count(missing)));
        report.add_latencies("acknowledged", &found.acknowledged);
        report.add_latencies("delivered", &found.delivered);
        Ok(report.answer())
    }
}

/// What was measured, for a person and for a program.
struct Report {
    summary: String,
    text: String,
    result: serde_json::Map<String, Value>,
}

impl Report {
    fn of(messages: u64, used: Used) -> Self {
        let rate = messages as f64 / used.seconds;
        let summary = format!(
            "{} messages in {:.1} s, {} per second",
            count(messages),
            used.seconds,
            count(rate as u64)
        );
        let mut result = serde_json::Map::new();
        result.insert("messages".into(), json!(messages));
        result.insert("per_second".into(), json!(rate));
        result.insert("used".into(), json!(used));
        let mut report = Self { text: format!("{summary}\n"), summary, result };
        if let Some(cpu) = used.target_cpu_seconds {
            let per_cpu = messages as f64 / cpu.max(0.01);
            let note = format!("{} per second of the broker's CPU time", count(per_cpu as u64));
            report.add("per_cpu_second", json!(per_cpu), note);
        }
        if let (Some(all), Some(anon)) = (used.target_rss_bytes, used.target_rss_anon_bytes) {
            let _ = writeln!(
                report.text,
                "  the broker has {} in memory, {} of it not of files",
                bytes(all),
                bytes(anon)
            );
        }
        let _ = writeln!(
            report.text,
            "  this load used {:.2} CPUs, others {:.0} % of the machine",
            used.generator_cpus,
            used.others_share * 100.0
        );
        report
    }

    fn add(&mut self, name: &str, value: Value, note: String) {
        let _ = writeln!(self.text, "  {note}");
        self.result.insert(name.into(), value);
    }

    fn add_latencies(&mut self, name: &str, latencies: &Latencies) {
        let [Some(p50), Some(p99), Some(p999)] = [0.5, 0.99, 0.999].map(|q| latencies.at(q)) else {
            return;
        };
        let max = latencies.max();
        let note = format!(
            "{name} within {p50:.3} ms (50 %), {p99:.3} ms (99 %), {p999:.3} ms (99.9 %), {max:.3} ms (all)"
        );
        let value = json!({"p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "max_ms": max});
        self.add(name, value, note);
    }

    fn answer(self) -> Answer {
        let Self { summary, text, result } = self;
        Answer { exit: Exit::Done, summary, text, result: Value::Object(result) }
    }
}
