//! `millrace run`: one pipeline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use millrace_client::{Broker, RemoteBroker};
use millrace_config::{Pipeline, SinkKind};
use millrace_disk::RealDisk;
use millrace_runtime::{OnLoss, Patience, Summary};
use serde_json::json;
use tokio::runtime::{self, Runtime};

use crate::causes::source_failure;
use crate::exit::{Exit, Failure, codes};
use crate::figures::{parse_size, seconds};
use crate::keeping::Room;
use crate::output::{Answer, complain, print};
use crate::pipeline_file::{self, Checked};
use crate::running::{self, Manner};
use crate::signals::Signals;
use crate::wire::parse_namesrv;
use crate::{embedded, sinks, sources, wire};

/// Run one pipeline, on a broker of its own or over the wire.
///
/// The first SIGINT or SIGTERM ends it after its next commit, the second at once. Whatever ends
/// it, also kill -9 or a power cut: start it again, and it goes on where its ledger says.
///
/// When the broker's disk is full, a pipeline whose source ends (or that runs with --once) ends
/// with exit code 3; one that goes on until it is stopped waits for room.
#[derive(Args, Debug)]
pub(crate) struct RunPipeline {
    /// The pipeline file.
    file: PathBuf,
    /// Where the broker inside this process keeps its log.
    #[arg(long, value_name = "DIR", default_value = "./millrace-data")]
    data_dir: PathBuf,
    /// Use the broker that this name server knows instead of one inside this process.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_namesrv)]
    #[arg(conflicts_with_all = ["data_dir", "segment_size", "refuse_at"])]
    namesrv: Option<String>,
    /// Which broker to use if the name server knows several.
    #[arg(long, value_name = "NAME", requires = "namesrv")]
    broker: Option<String>,
    /// End with what is there now: files at their ends, topics at their present ends.
    #[arg(long)]
    once: bool,
    /// How long an orderly end may take once it is asked for, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    grace: u64,
    /// Write the search index of this sink again, from the oldest message that the topic has. What
    /// is in its directory goes; documents whose messages are gone do not come back.
    #[arg(long, value_name = "SINK")]
    rebuild: Vec<String>,
    /// Go on behind messages that nobody can be given any more, because damage to the log took them
    /// or they were removed before they were read. Each gap is a warning, and they are counted.
    /// Without this, the pipeline stops there and names them.
    #[arg(long)]
    skip_lost: bool,
    /// Bytes that the log of the broker inside this process reserves at a time.
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = parse_size)]
    segment_size: u64,
    #[command(flatten)]
    room: Room,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Attempts at a broker over the wire that does not answer, for a run that is to end: about a minute.
const ATTEMPTS_ONCE: u32 = 12;

impl RunPipeline {
    pub(crate) fn brings_its_broker(&self) -> bool {
        self.namesrv.is_none()
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let start = Instant::now();
        let checked = pipeline_file::load(&self.file)?;
        if let Some(spec) = &checked.pipeline.source {
            sources::check(spec, Arc::new(RealDisk::new()), self.once)
                .map_err(|error| source_failure(&error).caused_by(&error))?;
        }
        self.check_rebuild(&checked.pipeline)?;
        let signals = Signals::listen()?;
        let runtime = one_thread()?;
        let summary = match &self.namesrv {
            Some(namesrv) => self.over_the_wire(&checked, namesrv, signals, &runtime),
            None => self.embedded(&checked, signals, &runtime),
        };
        let elapsed = start.elapsed();
        let prints_rows = sinks::print_rows(&checked.pipeline);
        let summary = summary.inspect_err(|failure| {
            if let (Some(so_far), false) = (&failure.so_far, self.json) {
                let line = format!("{so_far}; {}\n", seconds(elapsed));
                if prints_rows { complain(&line) } else { print(&line) }
            }
        })?;
        let line = format!("{}; {}", running::tell(&summary), seconds(elapsed));
        let mut result = json!(summary);
        result["elapsed_ms"] = json!(elapsed.as_millis() as u64);
        let mut answer = Answer::line(Exit::Done, line, result);
        if prints_rows {
            complain(&std::mem::take(&mut answer.text));
        }
        Ok(answer)
    }

    fn embedded(
        &self,
        checked: &Checked,
        signals: Signals,
        runtime: &Runtime,
    ) -> Result<Summary, Failure> {
        let (core, found) = embedded::open(&self.data_dir, self.segment_size, self.room.config())?;
        for line in embedded::findings(&found) {
            complain(&format!("{line}\n"));
        }
        // What a broker inside this process cannot do now it will not be able to in a moment.
        let manner = self.manner(&checked.pipeline, Some(Patience::FEW));
        let broker = Arc::new(core.local());
        let ended = runtime.block_on(running::run(checked, broker, manner, signals));
        let closed = core.close();
        let summary = ended?;
        closed?;
        Ok(summary)
    }

    fn over_the_wire(
        &self,
        checked: &Checked,
        namesrv: &str,
        signals: Signals,
        runtime: &Runtime,
    ) -> Result<Summary, Failure> {
        let manner = self.manner(&checked.pipeline, self.once.then_some(ATTEMPTS_ONCE));
        runtime.block_on(async {
            let broker = Arc::new(wire::connect(namesrv, self.broker.as_deref()).await?);
            let through: Arc<dyn Broker> = Arc::<RemoteBroker>::clone(&broker);
            let ended = running::run(checked, through, manner, signals).await;
            broker.close().await;
            ended
        })
    }

    /// How to run, with so many attempts at a broker that does not answer.
    ///
    /// A full disk is the same wherever the broker is. A run that ends by itself has somebody or
    /// something that waits for it, so it soon says that it cannot go on. One that goes on until it
    /// is stopped waits for room, because retention or a person will make some; it says so in the
    /// log, and nothing is lost by waiting.
    fn manner(&self, pipeline: &Pipeline, attempts: Option<u32>) -> Manner {
        let source = pipeline.source.as_ref();
        let ends = self.once || source.is_some_and(sources::ends);
        let attempts_when_full = ends.then_some(Patience::FEW);
        Manner {
            once: self.once,
            patience: Patience { attempts, attempts_when_full, ..Patience::ENDLESS },
            grace: Duration::from_secs(self.grace),
            anew: self.rebuild.iter().cloned().collect(),
            on_loss: if self.skip_lost { OnLoss::GoOn } else { OnLoss::Stop },
        }
    }

    fn check_rebuild(&self, pipeline: &Pipeline) -> Result<(), Failure> {
        let indexes = pipeline.sinks.iter().filter(|sink| matches!(sink.kind, SinkKind::Index(_)));
        let indexes: Vec<&str> = indexes.map(|sink| sink.name.as_str()).collect();
        let Some(other) = self.rebuild.iter().find(|name| !indexes.contains(&name.as_str())) else {
            return Ok(());
        };
        let hint = match indexes.is_empty() {
            true => "only an `index` sink can be written again, and this pipeline has none".into(),
            false => format!("the indexes of this pipeline are: {}", indexes.join(", ")),
        };
        let message = format!("--rebuild: no sink `{other}` writes an index");
        Err(Failure::new(Exit::Input, codes::ARGUMENT, message).hint(hint))
    }
}

/// A pipeline is one future, and waking another thread costs more than a poll of it.
pub(crate) fn one_thread() -> Result<Runtime, Failure> {
    runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        Failure::new(Exit::Environment, codes::SYSTEM, format!("cannot start a runtime: {error}"))
    })
}
