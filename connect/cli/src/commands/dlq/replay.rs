use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use millrace_client::Broker;
use millrace_disk::RealDisk;
use millrace_runtime::dlq::{Failed, Replayed, SOURCE, Selected, Whose, rehearse, replay};
use millrace_runtime::{Patience, RunOptions};
use serde_json::json;

use super::{At, Which, at_once, letters, no_letters, told};
use crate::exit::{Exit, Failure, codes};
use crate::figures::{bytes, count, counted};
use crate::output::{Answer, complain};
use crate::pipeline_file::{self, Checked};
use crate::plain;
use crate::running::identity;
use crate::signals::Signals;
use crate::sinks;

#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The pipeline file, mended or not.
    file: PathBuf,
    /// The sink whose letters are meant.
    #[arg(long, value_name = "NAME")]
    sink: String,
    #[command(flatten)]
    which: Which,
    /// Only tell what the steps would make of them. The sink is not asked, and nothing changes.
    #[arg(long)]
    dry_run: bool,
}

impl Replay {
    pub(super) fn execute(&self, at: &At) -> Result<Answer, Failure> {
        let checked = pipeline_file::load(&self.file)?;
        let pipeline = checked.pipeline.name.clone();
        let whose = Whose { pipeline, sink: self.sink.clone() };
        if self.sink == SOURCE {
            return Err(of_source(&whose, checked.pipeline.topic.name.as_str()));
        }
        let names: Vec<&str> =
            checked.pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
        if !names.contains(&&*self.sink) {
            let message = format!("{} has no sink `{}`", whose.pipeline, self.sink);
            return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                .hint(format!("it has {}", names.join(", "))));
        }
        let mut signals = Signals::listen()?;
        let replayed = at.with_broker(async |broker| {
            tokio::select! {
                replayed = self.replay(&checked, broker) => {
                    replayed.map_err(|error| at_once(error, &whose))
                }
                () = signals.requested() => {
                    let message = "stopped before all letters were tried";
                    Err(Failure::new(Exit::Failed, codes::RUN, message)
                        .hint("start it again: what is replayed is not replayed twice"))
                }
            }
        })?;
        let replayed = replayed.ok_or_else(|| no_letters(&whose))?;
        let mut answer = self.answer(&whose, &replayed);
        if sinks::print_rows(&checked.pipeline) {
            complain(&std::mem::take(&mut answer.text));
        }
        Ok(answer)
    }

    async fn replay(
        &self,
        Checked { pipeline, filters }: &Checked,
        broker: Arc<dyn Broker>,
    ) -> Result<Option<Replayed>, millrace_runtime::RunError> {
        let Which { condition, limit } = self.which.clone();
        let selected = Selected { condition, limit };
        let (worker, seed) = identity();
        let options = RunOptions {
            seed,
            patience: Patience::SHORT,
            filters: filters.clone(),
            ..RunOptions::new(worker)
        };
        let of = Arc::clone(pipeline);
        if self.dry_run {
            return rehearse(of, &self.sink, broker, selected, options).await;
        }
        let disk = Arc::new(RealDisk::new());
        let open = sinks::open(Arc::clone(pipeline), disk, sinks::network());
        replay(of, &self.sink, broker, open, selected, options).await
    }

    fn answer(&self, whose: &Whose, replayed: &Replayed) -> Answer {
        let summary = tell(whose, replayed, self.dry_run);
        let mut text = format!("{summary}\n");
        for Failed { letter, step, code, error, .. } in &replayed.failures {
            let (code, error) = (plain::line(code), plain::line(error));
            let _ = writeln!(text, "letter {letter}: {code} at {step}: {error}");
        }
        let failed: u64 = replayed.failed.values().sum();
        let more = failed - replayed.failures.len() as u64;
        if more > 0 {
            let _ = writeln!(text, "and {} more", count(more));
        }
        let mut result = json!(replayed);
        result["pipeline"] = json!(whose.pipeline);
        result["sink"] = json!(whose.sink);
        result["dry_run"] = json!(self.dry_run);
        let exit = if failed > 0 { Exit::No } else { Exit::Done };
        Answer { exit, summary, text, result }
    }
}

/// Records of the source that never were messages.
fn of_source(whose: &Whose, topic: &str) -> Failure {
    let whose = told(whose);
    let message = format!("letters of {whose} never were messages, so no sink waits for them");
    Failure::new(Exit::Input, codes::ARGUMENT, message).hint(format!(
        "mend the bytes that `millrace dlq show {whose}` prints, bring them into the topic with \
         `millrace produce {topic}`, then drop the letters: `millrace dlq drop {whose} --yes`"
    ))
}

/// What a replay did, or would do, in one line.
fn tell(whose: &Whose, replayed: &Replayed, dry_run: bool) -> String {
    let tried = letters(replayed.tried);
    let rows = counted(replayed.rows, "row");
    let mut line = match dry_run {
        true => format!("{}: {tried} would give {rows}", told(whose)),
        false => format!("{}: {tried} gave {rows}", told(whose)),
    };
    if replayed.made > 0 {
        line += &format!(", made {} more", counted(replayed.made, "row"));
    }
    for (reason, filtered) in &replayed.filtered {
        line += &format!(", filtered {} ({reason})", count(*filtered));
    }
    let by_code: Vec<_> =
        replayed.failed.iter().map(|(code, failed)| format!("{} {code}", count(*failed))).collect();
    if !by_code.is_empty() {
        line += &format!(", failed again and stay open: {}", by_code.join(", "));
    }
    if replayed.settled > 0 {
        line += &format!(", {} of an earlier replay settled", letters(replayed.settled));
    }
    if !dry_run {
        let made = match replayed.bulks {
            0 => counted(replayed.files, "file"),
            bulks => counted(bulks, "bulk"),
        };
        line += &format!("; {made} ({})", bytes(replayed.bytes));
    }
    line
}
