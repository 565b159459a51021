//! The line that shows how far a run is, while somebody watches.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace_runtime::{Control, Summary};

use crate::figures;

/// What is over sooner needs no line.
const AFTER: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(200);

/// A line on stderr that is brought up to date until it is dropped, and then wiped. On a thread of
/// its own, so that it moves while the run computes.
pub(crate) struct ProgressLine {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ProgressLine {
    /// Shows the progress of a run if stderr is a terminal.
    pub(crate) fn show(control: Control) -> Self {
        if !io::stderr().is_terminal() {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = mpsc::channel();
        let start = Instant::now();
        let thread = thread::Builder::new().name("millrace-progress".into()).spawn(move || {
            let mut wait = AFTER;
            let mut shown = false;
            while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let text = line(&control.progress(), start.elapsed());
                shown |= write!(io::stderr(), "\r\x1b[2K{text}").is_ok();
                wait = EVERY;
            }
            if shown {
                let _ = write!(io::stderr(), "\r\x1b[2K");
            }
        });
        // A run does not depend on being watched.
        Self { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn line(summary: &Summary, elapsed: Duration) -> String {
    let mut text = summary.pipeline.clone();
    if let Some(source) = &summary.source {
        let per_second = source.read as f64 / elapsed.as_secs_f64().max(0.001);
        text += &format!(
            "  read {} ({}/s)",
            figures::count(source.read),
            figures::count(per_second as u64)
        );
    }
    for (name, sink) in &summary.sinks {
        text += &format!("  {name}: {} rows", figures::count(sink.written));
        if sink.files > 0 {
            text += &format!(", {}", figures::counted(sink.files, "file"));
        }
        if sink.bulks > 0 {
            text += &format!(", {}", figures::counted(sink.bulks, "bulk"));
        }
        let letters: u64 = sink.dead_lettered.values().sum();
        if letters > 0 {
            text += &format!(", {}", figures::counted(letters, "dead letter"));
        }
        if sink.lag > 0 {
            text += &format!(", {} to go", figures::count(sink.lag));
        }
    }
    // A longer line would wrap and could not be wiped.
    text.chars().take(118).collect()
}
