//! `millrace dlq`: what became of records that could not go on.

mod discard; // letters that nobody wants
mod list; // whose letters there are
mod replay; // letters that go through their pipeline again
mod show; // what they say

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millrace_client::{Broker, RemoteBroker};
use millrace_runtime::RunError;
use millrace_runtime::dlq::{Condition, Whose};
use millrace_server::RetentionConfig;

use crate::cluster::run;
use crate::commands::dlq::replay::Replay;
use crate::commands::inspect::check_is_data_dir;
use crate::exit::{Exit, Failure, codes};
use crate::output::{Answer, complain};
use crate::wire::{self, parse_namesrv};
use crate::{embedded, figures};

/// Look at the dead letters of pipelines, replay them, and drop them.
///
/// A record that a sink cannot take becomes a message of `%DLQ%<pipeline>_<sink>`, one that the
/// source can make no message of goes to `%DLQ%<pipeline>_source`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Dlq {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  millrace dlq list --fail-if-any
  millrace dlq show orders/lake --where \"dlq_code = 'E-DECODE-03'\" --limit 10
  millrace dlq replay orders.yaml --sink lake --dry-run
  millrace dlq drop orders/source --where \"dlq_code = 'E-DECODE-01'\" --yes";

#[derive(Debug, Subcommand)]
enum Action {
    /// Count the letters of all pipelines, by code.
    List {
        /// Exit code 4 if any is open: neither replayed nor dropped.
        #[arg(long)]
        fail_if_any: bool,
    },
    /// Print letters, oldest first: what is wrong, where they come from, and their bytes.
    Show {
        /// Whose: `orders/lake`, or `orders/source`.
        #[arg(value_name = "PIPELINE/SINK", value_parser = parse_whose)]
        whose: Whose,
        #[command(flatten)]
        which: Which,
    },
    /// Put open letters through the steps of their pipeline again, into their sink and no other.
    ///
    /// Each comes there once, however often this is called or killed, and beside a run. What fails
    /// again is told and stays open; then the exit code is 4.
    Replay(Replay),
    /// Give open letters up, for good. Their bytes stay as long as the broker keeps messages.
    Drop {
        /// Whose: `orders/lake`, or `orders/source`.
        #[arg(value_name = "PIPELINE/SINK", value_parser = parse_whose)]
        whose: Whose,
        /// Only those for which an SQL92 condition over their properties holds.
        #[arg(long = "where", value_name = "CONDITION", value_parser = parse_condition)]
        condition: Option<Condition>,
        /// Yes, I mean it.
        #[arg(long)]
        yes: bool,
    },
}

/// Where the letters are, and how to answer.
#[derive(Args, Debug)]
pub(crate) struct At {
    /// The data directory that a pipeline has run on. Nothing else may have it open.
    #[arg(long, global = true, value_name = "DIR", default_value = "./millrace-data")]
    data_dir: PathBuf,
    /// Use the broker that this name server knows instead of a data directory.
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = parse_namesrv)]
    #[arg(conflicts_with = "data_dir")]
    namesrv: Option<String>,
    /// Which broker to use if the name server knows several.
    #[arg(long, global = true, value_name = "NAME", requires = "namesrv")]
    broker: Option<String>,
    /// Answer in JSON: one line, or one line per letter and a last one for the outcome.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Which letters are meant; all if nothing is said.
#[derive(Args, Clone, Debug)]
pub(super) struct Which {
    /// Only those for which an SQL92 condition over their properties holds, such as
    /// "dlq_code = 'E-DECODE-03' AND dlq_field = 'amount'".
    #[arg(long = "where", value_name = "CONDITION", value_parser = parse_condition)]
    condition: Option<Condition>,
    /// At most so many, the oldest first.
    #[arg(long, value_name = "LETTERS")]
    limit: Option<u64>,
}

impl Dlq {
    /// The command with its action.
    pub(crate) fn name(&self) -> &'static str {
        match &self.action {
            Action::List { .. } => "dlq list",
            Action::Show { .. } => "dlq show",
            Action::Replay(_) => "dlq replay",
            Action::Drop { .. } => "dlq drop",
        }
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let (at, json) = (&self.at, self.at.json);
        match &self.action {
            Action::List { fail_if_any } => {
                at.with_broker(async |broker| list::list(&broker, *fail_if_any).await)
            }
            Action::Show { whose, which } => {
                at.with_broker(async |broker| show::show(&broker, whose, which, json).await)
            }
            Action::Replay(replay) => replay.execute(at),
            Action::Drop { whose, condition, yes } => at.with_broker(async |broker| {
                discard::discard(&broker, whose, condition.as_ref(), *yes).await
            }),
        }
    }
}

impl At {
    /// Works with the broker, in this process or elsewhere, and closes it.
    fn with_broker<T>(
        &self,
        work: impl AsyncFnOnce(Arc<dyn Broker>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(namesrv) = &self.namesrv else {
            check_is_data_dir(&self.data_dir)?;
            let (core, found) =
                embedded::open(&self.data_dir, SEGMENT_BYTES, RetentionConfig::default())?;
            for line in embedded::findings(&found) {
                complain(&format!("{line}\n"));
            }
            let done = run(work(Arc::new(core.local())));
            let closed = core.close();
            let done = done?;
            closed?;
            return Ok(done);
        };
        run(async {
            let broker = Arc::new(wire::connect(namesrv, self.broker.as_deref()).await?);
            let done = work(Arc::<RemoteBroker>::clone(&broker)).await;
            broker.close().await;
            done
        })
    }
}

/// As `millrace run` has it.
const SEGMENT_BYTES: u64 = 128 << 20;

fn parse_whose(text: &str) -> Result<Whose, String> {
    let whose = text
        .split_once('/')
        .filter(|(pipeline, sink)| !pipeline.is_empty() && !sink.is_empty() && !sink.contains('/'));
    let (pipeline, sink) = whose.ok_or("write it as `pipeline/sink`, or `pipeline/source`")?;
    let whose = Whose { pipeline: pipeline.to_owned(), sink: sink.to_owned() };
    whose.topic().map_err(|error| error.to_string())?;
    Ok(whose)
}

fn parse_condition(text: &str) -> Result<Condition, String> {
    Condition::parse(text).map_err(|error| error.to_string())
}

/// Whoever replays or drops letters of a sink has the lease of these letters, and no run has it.
fn at_once(error: RunError, whose: &Whose) -> Failure {
    match error {
        RunError::Fenced { .. } => {
            let whose = told(whose);
            let message = format!("another replay or drop of letters of {whose} has begun");
            Failure::new(Exit::Environment, codes::FENCED, message)
                .hint("one at a time; wait for it, then start again: nothing is done twice")
                .caused_by(&error)
        }
        error => error.into(),
    }
}

/// Nobody ever wrote a letter of that name.
fn no_letters(whose: &Whose) -> Failure {
    let message = format!("there are no dead letters of {}", told(whose));
    Failure::new(Exit::Input, codes::ARGUMENT, message)
        .hint("`millrace dlq list` shows whose there are")
}

fn told(whose: &Whose) -> String {
    format!("{}/{}", whose.pipeline, whose.sink)
}

fn letters(number: u64) -> String {
    figures::counted(number, "dead letter")
}
