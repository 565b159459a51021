//! `millrace quickstart`: everything once, in a few seconds.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use millrace_client::Broker;
use millrace_config::Pipeline;
use millrace_disk::RealDisk;
use millrace_runtime::{Filters, OnLoss, Patience, Summary};
use millrace_server::{Addresses, Limits, Server, ServerConfig};
use serde_json::json;

use super::run::one_thread;
use crate::causes::io_failure;
use crate::embedded;
use crate::exit::{Exit, Failure, codes};
use crate::figures::{bytes, count, counted, seconds};
use crate::keeping::Room;
use crate::letters::{self, Letter};
use crate::output::{Answer, complain};
use crate::pipeline_file::{Checked, from_reports};
use crate::running::{self, Manner};
use crate::signals::Signals;

/// The pipeline, which the program brings along so that it works from anywhere.
const PIPELINE: &str = include_str!("../../../../pipelines/orders.yaml");
const PIPELINE_NAME: &str = "pipelines/orders.yaml";

/// Bytes of a segment: the orders are a few megabytes.
const SEGMENT_BYTES: u64 = 32 << 20;

/// Start a broker, bring 10,000 made-up orders through it into Parquet files, and end.
///
/// The orders are the same ones every time, and one of them is broken on purpose. When it is
/// started again it goes on where it was, also after kill -9, and nothing is written twice.
#[derive(Args, Debug)]
pub(crate) struct Quickstart {
    /// Where the broker keeps its log.
    #[arg(long, value_name = "DIR", default_value = "./millrace-quickstart/data")]
    data_dir: PathBuf,
    /// Where the Parquet files go.
    #[arg(long, value_name = "DIR", default_value = "./millrace-quickstart/lake")]
    out: PathBuf,
    #[command(flatten)]
    room: Room,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What there is to show in the end.
struct Shown<'a> {
    quickstart: &'a Quickstart,
    pipeline: &'a Pipeline,
    addresses: Addresses,
    summary: Summary,
    letter: Option<Letter>,
    /// Relative to the current directory, if `out` is, in order.
    files: Vec<(PathBuf, u64)>,
    elapsed: Duration,
}

impl Quickstart {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let start = Instant::now();
        let lake = self.out.display().to_string();
        let environment = |name: &str| (name == "LAKE").then(|| lake.clone());
        let pipeline = Pipeline::parse(PIPELINE_NAME, PIPELINE.as_bytes(), &environment)
            .map_err(|report| from_reports(vec![report]))?;
        let checked = Checked { pipeline: Arc::new(pipeline), filters: Filters::default() };
        let pipeline = &checked.pipeline;
        let signals = Signals::listen()?;
        let runtime = one_thread()?;

        let server = Server::start(Arc::new(RealDisk::new()), self.config())?;
        let addresses = server.addresses();
        for line in embedded::findings(server.recovered()) {
            complain(&format!("{line}\n"));
        }
        let broker: Arc<dyn Broker> = Arc::new(server.local());
        let manner = Manner {
            once: true,
            patience: Patience::SHORT,
            grace: Duration::from_secs(30),
            anew: BTreeSet::new(),
            on_loss: OnLoss::Stop,
        };
        let ended = runtime.block_on(async {
            let run = running::run(&checked, Arc::clone(&broker), manner, signals);
            let summary = run.await?;
            let sinks = pipeline.sinks.iter().map(|sink| sink.name.as_str());
            let letter = letters::first(&broker, &pipeline.name, sinks).await?;
            Ok::<_, Failure>((summary, letter))
        });
        let stopped = server.stop();
        let (summary, letter) = ended?;
        stopped?;

        let mut files = Vec::new();
        parquet_files(&self.out, &mut files).map_err(|error| io_failure(&error))?;
        files.sort();
        if files.is_empty() {
            return Err(self.files_gone());
        }
        let shown = Shown {
            quickstart: self,
            pipeline,
            addresses,
            summary,
            letter,
            files,
            elapsed: start.elapsed(),
        };
        Ok(shown.answer())
    }

    /// Every quickstart that came this far has files, or an earlier one had.
    fn files_gone(&self) -> Failure {
        let (data_dir, out) = (self.data_dir.display(), self.out.display());
        let message = format!(
            "the files that an earlier quickstart wrote to {out} are gone, and are not written \
             again: its data directory {data_dir} says that they are there"
        );
        Failure::new(Exit::Failed, codes::FILES_GONE, message)
            .hint(format!("delete {data_dir} to begin anew, or bring the files back"))
    }

    /// A broker like that of `millrace server`, but on any free ports and in smaller files.
    fn config(&self) -> ServerConfig {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        ServerConfig {
            namesrv_listen: Some(any),
            broker_listen: Some(any),
            segment_bytes: SEGMENT_BYTES,
            retention: self.room.config(),
            // For whoever tries it out; no system is short of files for so many.
            limits: Limits { connections_max: 100, ..Limits::default() },
            ..ServerConfig::new(&self.data_dir)
        }
    }
}

/// The files that a reader would find.
fn parquet_files(dir: &Path, found: &mut Vec<(PathBuf, u64)>) -> std::io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            parquet_files(&path, found)?;
        } else if name.ends_with(".parquet") && !name.starts_with('.') {
            found.push((path, entry.metadata()?.len()));
        }
    }
    Ok(())
}

impl Shown<'_> {
    fn answer(&self) -> Answer {
        let summary = format!("{}; {}", running::tell(&self.summary), seconds(self.elapsed));
        let letter = self.letter.as_ref().map(|letter| {
            json!({
                "topic": letter.topic,
                "code": letter.code,
                "error": letter.error,
                "body": letter.body,
            })
        });
        let result = json!({
            "broker": self.addresses.advertised,
            "namesrv": self.addresses.namesrv,
            "data_dir": self.quickstart.data_dir,
            "lake": self.quickstart.out,
            "files": self.files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
            "dead_letter": letter,
            "run": self.summary,
            "elapsed_ms": self.elapsed.as_millis() as u64,
        });
        Answer { exit: Exit::Done, text: self.text(&summary), summary, result }
    }

    fn text(&self, summary: &str) -> String {
        let Quickstart { data_dir, out, .. } = self.quickstart;
        let mut text = format!(
            "broker      {} for as long as this ran, log in {}\npipeline    {} ({PIPELINE_NAME})\n\
             summary     {summary}\n",
            self.addresses.advertised,
            data_dir.display(),
            self.pipeline.name,
        );
        let source = self.summary.source.as_ref();
        if source.is_some_and(|source| source.appended == 0 && source.dead_lettered.is_empty()) {
            text +=
                "            an earlier quickstart brought all orders into the topic already;\n";
            text += "            nothing is made or written twice\n";
        }
        if let Some((first, size)) = self.files.first() {
            let all: u64 = self.files.iter().map(|(_, size)| size).sum();
            let files = counted(self.files.len() as u64, "file");
            text += &format!(
                "files       {files}, {} together; the first is\n            {} ({})\n",
                bytes(all),
                first.display(),
                bytes(*size)
            );
        }
        if let Some(letter) = &self.letter {
            text += &format!(
                "dead letter order 4,711 is broken on purpose; it went to {}\n            {}: {}\n\
                 \x20           body: {}\n",
                letter.topic, letter.code, letter.error, letter.body
            );
        }
        let orders = out.join("orders");
        let orders = orders.display();
        text += &format!(
            "\nQuery the files (each finds {} orders in two days):\n\n  \
             duckdb -c \"SELECT day, count(*), round(sum(amount), 2) FROM \
             read_parquet('{orders}/*/*.parquet', hive_partitioning = true) GROUP BY day ORDER BY \
             day\"\n  \
             python3 -c \"import pyarrow.dataset as d; print(d.dataset('{orders}', \
             partitioning='hive').to_table().group_by('day').aggregate([([], 'count_all')]))\"\n",
            count(9_999),
        );
        text += &format!(
            "\nLook into the log: millrace inspect {}\nStart it again, or kill -9 it in between: \
             the count stays the same.\n",
            data_dir.display()
        );
        text
    }
}
