//! Running one pipeline on one broker, with somebody at the other end of the terminal.

use std::collections::BTreeSet;
use std::fs;
use std::process;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_client::Broker;
use millrace_disk::{Disk, RealDisk};
use millrace_runtime::{Connectors, OnLoss, Patience, Run, RunOptions, Summary, Until};
use serde_json::json;

use crate::exit::{Exit, Failure, codes};
use crate::output::complain;
use crate::pipeline_file::Checked;
use crate::progress::ProgressLine;
use crate::signals::Signals;
use crate::{figures, letters, sinks, sources};

/// How to run a pipeline.
pub(crate) struct Manner {
    /// End with what is there now.
    pub(crate) once: bool,
    /// How long to put up with a broker that does not answer.
    pub(crate) patience: Patience,
    /// How long a run that is asked to stop may take.
    pub(crate) grace: Duration,
    /// Sinks that are written again from the oldest message.
    pub(crate) anew: BTreeSet<String>,
    /// What sinks do about messages that are lost.
    pub(crate) on_loss: OnLoss,
}

/// Runs a pipeline until it is done, or a signal stops it after its next commit.
pub(crate) async fn run(
    Checked { pipeline, filters }: &Checked,
    broker: Arc<dyn Broker>,
    manner: Manner,
    mut signals: Signals,
) -> Result<Summary, Failure> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new());
    let source = pipeline.source.as_ref();
    let connectors = Connectors {
        source: source.map(|spec| sources::open(spec, Arc::clone(&disk), manner.once)),
        sink: sinks::open(Arc::clone(pipeline), disk, sinks::network()),
    };
    let (worker, seed) = identity();
    let options = RunOptions {
        seed,
        until: if manner.once { Until::Drained } else { Until::Stopped },
        patience: manner.patience,
        filters: filters.clone(),
        anew: manner.anew,
        on_loss: manner.on_loss,
        ..RunOptions::new(worker)
    };
    let run = Run::new(Arc::clone(pipeline), broker, connectors, options);
    let control = run.control();
    let progress = ProgressLine::show(control.clone());
    let finish = run.finish();
    tokio::pin!(finish);
    let ended = tokio::select! {
        ended = &mut finish => ended,
        () = signals.requested() => {
            control.stop();
            complain("stopping after the next commit; a second signal stops at once\n");
            match tokio::time::timeout(manner.grace, &mut finish).await {
                Ok(ended) => ended,
                Err(_) => {
                    drop(progress);
                    let seconds = manner.grace.as_secs();
                    let message = format!("no commit within {seconds} s of being asked to stop");
                    let failure = Failure::new(Exit::Failed, codes::GRACE, message)
                        .hint("nothing is lost: the next run goes on at the last commit");
                    return Err(with_progress(failure, &control.progress()));
                }
            }
        }
    };
    drop(progress);
    match ended {
        Ok(summary) if summary.balanced => Ok(summary),
        Ok(summary) => {
            let message = format!("records are unaccounted for: {}", tell(&summary));
            let mut failure = Failure::new(Exit::Failed, codes::UNBALANCED, message);
            failure.result = json!(summary);
            Err(failure)
        }
        Err(error) => Err(with_progress(error.into(), &control.progress())),
    }
}

/// A failure with what was done before it.
fn with_progress(mut failure: Failure, summary: &Summary) -> Failure {
    failure.result = json!(summary);
    let has_begun = summary.source.is_some() || !summary.sinks.is_empty();
    failure.so_far = has_begun.then(|| tell(summary));
    failure
}

/// Who this run is, different from every other run; and a number to draw chance from.
pub(crate) fn identity() -> (String, u64) {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "localhost",
        host => host,
    };
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let pid = process::id();
    let seed = since_epoch.as_nanos() as u64 ^ (u64::from(pid) << 32);
    (format!("{host}-{pid}-{}", since_epoch.as_millis()), seed)
}

/// What a run did, in one line.
pub(crate) fn tell(summary: &Summary) -> String {
    let mut parts = Vec::new();
    if let Some(source) = &summary.source {
        let mut part = format!("source read {}", figures::count(source.read));
        if source.skipped > 0 {
            part += &format!(", {} of them already in the topic", figures::count(source.skipped));
        }
        if !source.dead_lettered.is_empty() {
            part += &format!(", {}", letters::told(&source.dead_lettered));
        }
        parts.push(part);
    }
    for (name, sink) in &summary.sinks {
        let mut part = format!("sink {name} read {}", figures::count(sink.read));
        if sink.lost > 0 {
            part += &format!(", passed over {} lost", figures::count(sink.lost));
        }
        if sink.made > 0 {
            part += &format!(", made {} more", figures::counted(sink.made, "row"));
        }
        for (reason, filtered) in &sink.filtered {
            part += &format!(", filtered {} ({reason})", figures::count(*filtered));
        }
        part += &format!(", wrote {}", figures::counted(sink.written, "row"));
        if sink.unseen_rows() > 0 {
            part += &format!(" ({} of them not visible yet)", figures::count(sink.unseen_rows()));
        }
        if sink.skipped > 0 {
            part += &format!(", skipped {} written before", figures::count(sink.skipped));
        }
        part += &format!(", {}", letters::told(&sink.dead_lettered));
        if sink.lettered_before > 0 {
            let before = figures::count(sink.lettered_before);
            part += &format!(", {before} dead letters of before");
        }
        let made = match (sink.files, sink.bulks) {
            // Rows that were seen as they were written.
            (0, 0) if sink.visible_rows > 0 => None,
            (files, 0) => Some(figures::counted(files, "file")),
            (_, bulks) => Some(figures::counted(bulks, "bulk")),
        };
        if let Some(made) = made {
            part += &format!(", {made} ({})", figures::bytes(sink.visible_bytes));
        }
        parts.push(part);
    }
    format!("{}: {}", summary.pipeline, parts.join("; "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use millrace_runtime::{SinkProgress, SourceProgress};

    use super::*;

    #[test]
    fn rows_that_nobody_sees_yet_are_told() {
        let rows = |written, visible_rows, recovered_rows| {
            let sink = SinkProgress { written, visible_rows, recovered_rows, ..Default::default() };
            let sinks = BTreeMap::from([("lake".into(), sink)]);
            tell(&Summary { pipeline: "orders".into(), sinks, ..Default::default() })
        };
        let told = rows(300, 200, 50);
        assert!(
            told.contains("wrote 300 rows (150 of them not visible yet), 0 dead letters"),
            "{told}"
        );
        let told = rows(300, 350, 50);
        assert!(told.contains("wrote 300 rows, 0 dead letters"), "{told}");
    }

    #[test]
    fn a_run_is_told_in_one_line() {
        let source = SourceProgress { read: 10_000, appended: 10_000, ..Default::default() };
        let sink = SinkProgress {
            read: 10_000,
            filtered: BTreeMap::from([("filter 1: false".to_owned(), 4_000)]),
            written: 5_997,
            visible_rows: 5_997,
            dead_lettered: BTreeMap::from([
                ("E-DECODE-01".to_owned(), 1),
                ("E-DECODE-03".to_owned(), 2),
            ]),
            files: 2,
            visible_bytes: 2048,
            ..Default::default()
        };
        let summary = Summary {
            pipeline: "orders".into(),
            source: Some(source),
            sinks: BTreeMap::from([("lake".into(), sink)]),
            balanced: true,
        };
        assert_eq!(
            tell(&summary),
            "orders: source read 10,000; sink lake read 10,000, filtered 4,000 (filter 1: false), \
             wrote 5,997 rows, 3 dead letters (1 E-DECODE-01, 2 E-DECODE-03), 2 files (2 KiB)"
        );
    }
}
