//! How the program ends: the exit code, and one line that a person can act on.

use std::fmt;
use std::ops::{Deref, DerefMut};

use millrace_config::Report;
use serde_json::Value;

use crate::plain;

/// What the shell is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It is done.
    Done = 0,
    /// It was begun and could not be finished.
    Failed = 1,
    /// What the user gave is wrong: arguments, a pipeline file, an input that is not there.
    Input = 2,
    /// What the program finds around it is wrong: the disk, the network, permissions.
    Environment = 3,
    /// It is done, and the answer is no.
    No = 4,
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure(Box<Told>);

/// What is told about a failure.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) exit: Exit,
    /// One of [`codes`], or the code of a mistake in a pipeline file.
    pub(crate) code: &'static str,
    /// One line, lowercase, no full stop.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// What led to it, outermost first; shown with `--verbose`.
    pub(crate) causes: Vec<String>,
    /// Mistakes in pipeline files. If there are any they are shown instead of the message.
    pub(crate) reports: Vec<Report>,
    /// What there is to say all the same, for `--json`.
    pub(crate) result: Value,
    /// The same for people, one line.
    pub(crate) so_far: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Told {
            exit,
            code,
            message: message.into(),
            hint: None,
            causes: Vec::new(),
            reports: Vec::new(),
            result: Value::Null,
            so_far: None,
        }))
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Remembers the error that this is about, with all that caused it.
    pub(crate) fn caused_by(mut self, error: &dyn std::error::Error) -> Self {
        self.causes.push(error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            self.causes.push(error.to_string());
            cause = error.source();
        }
        self.causes.dedup();
        self
    }

    /// Everything for a person, ready to be printed.
    pub(crate) fn shown(&self, verbose: bool) -> Shown<'_> {
        Shown { failure: self, verbose }
    }
}

impl Deref for Failure {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

/// A failure on its way to a terminal.
pub(crate) struct Shown<'a> {
    failure: &'a Failure,
    verbose: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told { code, message, hint, causes, reports, .. } = &**self.failure;
        if !reports.is_empty() {
            for report in reports {
                write!(f, "{report}")?;
            }
            return Ok(());
        }
        writeln!(f, "error[{code}]: {}", one_line(message))?;
        if let Some(hint) = hint {
            writeln!(f, "  hint: {}", one_line(hint))?;
        }
        if self.verbose {
            for cause in causes {
                writeln!(f, "  because: {}", one_line(cause))?;
            }
        }
        Ok(())
    }
}

/// Errors quote what messages, files and peers say.
fn one_line(text: &str) -> String {
    let text = text.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    plain::line(&text).into_owned()
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])* pub(crate) const $name: &str = $code;)*

        pub(super) const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc, "\n"),*))),*];
    };
}

/// The codes of what goes wrong outside of pipeline files.
pub(crate) mod codes {
    codes! {
        /// A file named on the command line is not there or cannot be read.
        FILE = "E-FILE-01";
        /// An argument that makes no sense. `millrace <command> --help` shows what does.
        ARGUMENT = "E-ARG-01";
        /// A line of a `broker.conf` that cannot be obeyed: a value that is none, or one that promises
        /// what this broker does not keep, such as replication or access control. The message names
        /// the file and the line.
        BROKER_CONF = "E-CONF-01";
        /// A test of a pipeline fails, or cannot be made.
        TEST = "E-TEST-01";
        /// The module of a `wasm` step cannot be used: it is not there, is no filter for this
        /// version, breaks a limit, or does not take its parameters.
        FILTER = "E-WASM-01";
        /// The input that a pipeline is to read is not there. A `file` source with `once: true`
        /// needs every path and pattern of `include` to match a file; without `once` it waits.
        SOURCE_MISSING = "E-SOURCE-02";
        /// The input of a pipeline cannot be read.
        SOURCE_IO = "E-SOURCE-03";
        /// A path of `include` leads to something that no lines can be read from: a directory, a
        /// pipe, a compressed file.
        SOURCE_UNSUITABLE = "E-SOURCE-04";
        /// Another process has the data directory open. One process at a time writes a data
        /// directory; others talk to it over the wire, or look at it with `millrace inspect`.
        DATA_IN_USE = "E-DATA-01";
        /// The directory is not a data directory of this version of the program.
        DATA_FORMAT = "E-DATA-02";
        /// A file is missing from the middle of the CommitLog. The messages in it are gone unless
        /// the file is brought back.
        DATA_SEGMENT = "E-DATA-03";
        /// The log has stretches that are not what was written, or queue offsets without a
        /// message. Everything else in it is served.
        DATA_DAMAGED = "E-DATA-04";
        /// The log does not hold what the program needs to go on.
        DATA_STATE = "E-DATA-05";
        /// The disk is full. Nothing that was acknowledged or committed is lost: make room and
        /// start again, and the pipeline goes on where its ledger says.
        DISK_FULL = "E-DISK-01";
        /// A file or directory cannot be read or written: permission, a read-only or failing disk.
        DISK_IO = "E-DISK-02";
        /// The broker does not answer.
        BROKER_AWAY = "E-NET-01";
        /// The address cannot be listened on: another program has it, or it is not an address of
        /// this machine, or only root may use it.
        LISTEN = "E-NET-02";
        /// The broker answered, and will not do what it was asked for.
        BROKER_REFUSED = "E-NET-03";
        /// The destination of a sink does not take what it is sent, and the run was to end. What
        /// was not delivered is sent by the next run.
        DESTINATION = "E-NET-04";
        /// The name servers know no broker that serves the topic.
        TOPIC_MISSING = "E-TOPIC-01";
        /// The topic is there already.
        TOPIC_EXISTS = "E-TOPIC-02";
        /// The group is set to something on every broker already.
        GROUP_EXISTS = "E-GROUP-01";
        /// No broker knows the group: nobody made it, no member of it is online, and it has no
        /// offsets. `millrace group list` shows those that are known.
        GROUP_MISSING = "E-GROUP-02";
        /// Another process runs the same pipeline. One worker at a time may; the one that started
        /// last has it, and nothing is written twice.
        FENCED = "E-RUN-01";
        /// So many records were refused that the pipeline itself is probably wrong. It stopped
        /// before the first record of which nobody knows what should become of it.
        REJECTS = "E-RUN-02";
        /// The pipeline could not go on. What is committed stays, and the next run goes on there.
        RUN = "E-RUN-03";
        /// Records were read of which the run cannot tell what became. This is a mistake in the
        /// program.
        UNBALANCED = "E-RUN-04";
        /// A pipeline that was asked to stop did not reach a commit in time. The next run repeats
        /// what was not committed.
        GRACE = "E-RUN-05";
        /// The files that an earlier quickstart wrote are gone, and its data directory says that
        /// they were written, so they are not written again. Delete the data directory to begin
        /// anew.
        FILES_GONE = "E-RUN-06";
        /// A query for an index that cannot be answered: it is no query, or it asks for a field that
        /// the documents do not have. `millrace search --help` shows the language.
        QUERY = "E-QUERY-01";
        /// A part of a search index is not as it was written. `millrace run --rebuild` writes the
        /// index again from the topic.
        INDEX_DAMAGED = "E-INDEX-02";
        /// The documents of a search index have other fields than the pipeline says. They cannot be
        /// mixed: write to another directory, or write this one again with `millrace run --rebuild`.
        INDEX_MAPPING = "E-INDEX-03";
        /// The directory has the search index of another pipeline or sink, whose name the message
        /// has. An index is one sink's alone, and so is its directory: a document is known by the
        /// queue and the offset of its message, and those of another topic would replace it. Write
        /// to another directory. `millrace dlq replay` writes into the index of its sink.
        INDEX_TAKEN = "E-INDEX-04";
        /// The directory has parts of this sink that the ledger of its pipeline never planned, so the
        /// broker's data directory, in which the ledger is, was lost, or is another one, or was put
        /// back from a copy. Queues count from 0 again there, and other messages would replace
        /// documents of before. Write the index again from what the topic has now with `millrace run
        /// FILE --rebuild SINK`, or keep it and write to another directory.
        INDEX_UNKNOWN = "E-INDEX-05";
        /// The system does not give the program a thread, a timer or a signal handler.
        SYSTEM = "E-SYS-01";
    }

    /// Codes that dead letters carry in `dlq_code`, or fail with when they are replayed.
    pub(super) const LETTERS: &[(&str, &str)] = &[
        ("E-SOURCE-01", "A line longer than `max_line`. The letter has its first 4 KiB."),
        (
            "E-SOURCE-05",
            "A line of a file whose first line can be no header: it is longer than 8 KiB, is not \
             UTF-8, or has control characters in it.",
        ),
        (
            "E-CAST-01",
            "A value that the type which `cast` gives its column cannot hold exactly, or that is \
             not written in the format of the cast. `dlq_field` names the column.",
        ),
        ("E-DECODE-01", "A body that is not JSON."),
        ("E-DECODE-02", "A body that is JSON but not an object."),
        (
            "E-DECODE-03",
            "A value that does not fit its column. Nothing is converted silently: a text is no \
             number, and a number with a fraction is no `int`.",
        ),
        ("E-DECODE-04", "A body with the same key twice in one object."),
        ("E-DECODE-05", "A body with too many levels of objects and arrays."),
        ("E-DECODE-06", "A line that the pattern does not match."),
        ("E-DECODE-07", "A body that is not UTF-8."),
        (
            "E-DECODE-08",
            "A line of CSV with a quote where none can be: not closed on its line, within a value \
             without quotes, or with something behind a closing one. A value with a line break in it \
             is not read, so each of its lines is a letter.",
        ),
        (
            "E-DECODE-09",
            "A line of CSV with more or fewer values than the header of its file has names, or \
             `schema` columns.",
        ),
        (
            "E-DECODE-10",
            "A line of a CSV file whose header, the property `file.header`, does not name a column \
             of `schema`, or names it twice. Once `schema` is mended, the letter can be replayed.",
        ),
        (
            "E-DECODE-11",
            "A body that its producer compressed, and that is not what zlib, LZ4 or zstd makes, or \
             takes more than 64 MiB once it is decompressed. `dlq_flags` has the system flag that \
             tells how it is compressed.",
        ),
        (
            "E-DLQ-01",
            "A letter that cannot be replayed, because it does not say which message it was made \
             of, or another one is of the same message, or it is of one of the rows that steps made \
             of its message and they make no such row any more. `millrace dlq drop` gives it up.",
        ),
        ("E-EVAL-01", "An expression that has no value for this record, such as a division by 0."),
        ("E-EVAL-02", "A filter that is neither true nor false, where `on_unknown` says `dlq`."),
        ("E-EVAL-03", "A key, tag or properties that do not fit into a message."),
        (
            "E-SPLIT-01",
            "A message in which `split` finds something else than an array, or nothing: \
             `on_missing: reject` filters the latter out.",
        ),
        (
            "E-SPLIT-02",
            "A message whose array has more elements than `max` of `split` allows, or whose rows \
             would take more than 16 MiB together because each keeps so much of the message.",
        ),
        (
            "E-SPLIT-03",
            "An element that is no object, so that it cannot be a row: give it a name with `as` of \
             `split`. `dlq_index` says which element of the message it is, from 0 on.",
        ),
        (
            "E-WASM-REFUSED",
            "A message that the module of a `wasm` step says it cannot handle; `dlq_error` has its \
             reason and `dlq_step` its name, version and hash.",
        ),
        (
            "E-WASM-TRAP",
            "A message at which the module of a `wasm` step trapped, did not end within its \
             deadline, or gave an answer that makes no sense. It was tried alone, in an instance \
             that had seen no other message.",
        ),
        (
            "E-HTTP-01",
            "A record whose values fit into no URL or header: one that the URL needs is missing, a \
             part of the path would be `..`, or a header would have a line break.",
        ),
        (
            "E-HTTP-02",
            "A record that an HTTP server refuses; `dlq_error` has its status and what it says.",
        ),
        ("E-HTTP-03", "A record that alone is too large for an HTTP server (413)."),
        (
            "E-SINK-01",
            "A record that could not be delivered within `on_error.retry.max_elapsed`. It may have \
             arrived all the same, if an answer was lost.",
        ),
        (
            "E-INDEX-01",
            "A value that a search index cannot hold: a `json` field whose text is no JSON object, a \
             keyword of more than 65,000 bytes, or an instant before 1677 or after 2262.",
        ),
        ("E-PATH-02", "A partition value that is too long to be the name of a directory."),
    ];
}

/// What there is to say about a code that is not one of pipeline files.
pub(crate) fn explain(code: &str) -> Option<String> {
    let mut known = codes::ALL.iter().chain(codes::LETTERS);
    let (_, text) = known.find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    Some(text.lines().map(str::trim).collect::<Vec<_>>().join("\n"))
}

/// All codes that [`explain`] knows.
pub(crate) fn all_codes() -> impl Iterator<Item = &'static str> {
    codes::ALL.iter().chain(codes::LETTERS).map(|(code, _)| *code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_and_a_hint() {
        let failure = Failure::new(Exit::Environment, codes::DISK_FULL, "the disk is\n full")
            .hint("make room")
            .caused_by(&std::io::Error::other("no space"));
        let expected = "error[E-DISK-01]: the disk is full\n  hint: make room\n";
        assert_eq!(failure.shown(false).to_string(), expected);
        let verbose = format!("{expected}  because: no space\n");
        assert_eq!(failure.shown(true).to_string(), verbose);
    }

    #[test]
    fn every_code_is_explained_once() {
        let mut seen = std::collections::BTreeSet::new();
        for code in all_codes().chain(millrace_config::codes()) {
            assert!(seen.insert(code), "{code} twice");
        }
        for code in all_codes() {
            assert!(explain(code).is_some_and(|text| text.ends_with('.')), "{code}");
        }
    }
}
