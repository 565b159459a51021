//! What a command answers: data on stdout, everything else on stderr.

use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::exit::{Exit, Failure, codes};
use crate::pipeline_file;

/// Why standard output could not be written, the first time that it could not. A reader that went
/// away is no reason.
static UNWRITTEN: OnceLock<io::Error> = OnceLock::new();
/// Whether nobody reads standard output, as far as anybody will wait for that.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

/// What a command that did its work has to say.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: Exit,
    /// One line.
    pub(crate) summary: String,
    /// For a person: the summary, or more than that. Nothing if it was said on the way.
    pub(crate) text: String,
    /// For a program.
    pub(crate) result: Value,
}

impl Answer {
    /// One that is no more than a line.
    pub(crate) fn line(exit: Exit, summary: String, result: Value) -> Self {
        Self { exit, text: format!("{summary}\n"), summary, result }
    }
}

/// The one shape of every answer with `--json`.
#[derive(Serialize)]
struct Envelope<'a> {
    command: &'a str,
    ok: bool,
    summary: &'a str,
    result: &'a Value,
    error: Option<ErrorLine<'a>>,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    code: &'a str,
    message: &'a str,
    help: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    col: Option<usize>,
}

/// How a command is asked to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) json: bool,
    /// Causes too.
    pub(crate) verbose: bool,
}

/// Prints what a command came to and tells the exit code.
pub(crate) fn finish(command: &str, outcome: Result<Answer, Failure>, style: Style) -> Exit {
    let exit = match outcome {
        Ok(answer) => {
            if style.json {
                let Answer { exit, summary, result, .. } = &answer;
                let ok = *exit == Exit::Done;
                print_envelope(&Envelope { command, ok, summary, result, error: None });
            } else {
                print(&answer.text);
            }
            answer.exit
        }
        Err(failure) => {
            complain(&failure.shown(style.verbose).to_string());
            if style.json {
                let error = Some(error_line(&failure));
                let summary = failure.message.as_str();
                let result = &failure.result;
                print_envelope(&Envelope { command, ok: false, summary, result, error });
            }
            failure.exit
        }
    };
    let Some(error) = UNWRITTEN.get() else { return exit };
    let failure = unwritten(error);
    complain(&failure.shown(style.verbose).to_string());
    // Why the command itself came to nothing is worth more.
    if matches!(exit, Exit::Done | Exit::No) { failure.exit } else { exit }
}

fn unwritten(error: &io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => codes::DISK_FULL,
        _ => codes::DISK_IO,
    };
    let message = format!("cannot write to standard output: {error}");
    Failure::new(Exit::Environment, code, message)
        .hint("what was to be printed is not whole; send it elsewhere, or make room")
}

fn error_line(failure: &Failure) -> ErrorLine<'_> {
    match pipeline_file::first(&failure.reports) {
        Some(first) => ErrorLine {
            code: first.code,
            message: &first.message,
            help: Some(&first.help),
            file: Some(&first.file),
            line: Some(first.line),
            col: Some(first.column),
        },
        None => ErrorLine {
            code: failure.code,
            message: &failure.message,
            help: failure.hint.as_deref(),
            file: None,
            line: None,
            col: None,
        },
    }
}

fn print_envelope(envelope: &Envelope<'_>) {
    let mut line = serde_json::to_string(envelope).expect("plain data becomes JSON");
    line.push('\n');
    print(&line);
}

/// Writes data. Whoever closed the pipe has read enough; any other failure is told in the end, by
/// [`finish`].
pub(crate) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

/// Writes data that need not be text.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let _ = try_print(bytes);
}

/// The same for who has more to say: an error means that nobody reads any more.
pub(crate) fn try_print(bytes: &[u8]) -> io::Result<()> {
    if GIVEN_UP.load(Ordering::Relaxed) {
        return Err(ErrorKind::BrokenPipe.into());
    }
    if bytes.is_empty() {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| {
        let kind = error.kind();
        if kind != ErrorKind::BrokenPipe {
            // Only the first counts.
            let _ = UNWRITTEN.set(error);
        }
        kind.into()
    })
}

/// Nothing is printed from now on, as if its reader had gone away: a thread is blocked in it, and
/// whoever printed more, the outcome for instance, would wait for that thread.
pub(crate) fn give_up() {
    GIVEN_UP.store(true, Ordering::Relaxed);
}

/// Writes what is not data.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
