//! What went wrong below, told as a person at a terminal needs to hear it: every error of a
//! library to an exit code, a line and what to do about it.

use std::error::Error;
use std::io::{self, ErrorKind};

use millrace_client::BrokerError;
use millrace_connect_api::{SinkError, SourceError};
use millrace_runtime::RunError;
use millrace_server::{CloseError, OpenError, StartError, StopError};
use millrace_sink_files::{FileSinkError, OptionsError};
use millrace_sink_http::ClientError;
use millrace_sink_index::IndexError;
use millrace_store::OpenError as OpenStoreError;

use crate::exit::{Exit, Failure, codes};
use crate::sinks::Unread;

const MAKE_ROOM: &str =
    "make room and start again: nothing that was committed is lost, and nothing is written twice";

pub(crate) const LOOK_AT_DISK: &str =
    "look at the disk, then start the broker again: recovery keeps what is on it";

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let failure = match &error {
            OpenError::Store(store) => open_store(store),
            OpenError::State(_) => {
                Failure::new(Exit::Environment, codes::DATA_STATE, chain(&error))
                    .hint("`millrace inspect` shows what the log still holds")
            }
            OpenError::Thread(_) => Failure::new(Exit::Environment, codes::SYSTEM, chain(&error)),
        };
        failure.caused_by(&error)
    }
}

/// Why a data directory cannot be opened, also for reading only.
pub(crate) fn open_store(error: &OpenStoreError) -> Failure {
    match error {
        OpenStoreError::InUse(_) => in_use(error),
        OpenStoreError::Format { .. } | OpenStoreError::NotOurs(_) => foreign(error.to_string()),
        OpenStoreError::FormatMissing(_) => {
            Failure::new(Exit::Environment, codes::DATA_FORMAT, error.to_string())
                .hint("`millrace server --repair` writes it again")
        }
        OpenStoreError::TailNotCopied { .. } => tail_not_copied(error.to_string()),
        OpenStoreError::MissingSegment { .. } => {
            Failure::new(Exit::Environment, codes::DATA_SEGMENT, error.to_string())
                .hint("bring the file back from where it went; without it messages are missing")
        }
        OpenStoreError::DiskFull { source, .. } => disk_full_at_start(full(source)),
        OpenStoreError::Io(error) => io_failure(error),
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = match &error {
            StartError::InUse(_) => in_use(&error),
            StartError::PortTaken { vip_of: Some(_), .. } => {
                Failure::new(Exit::Environment, codes::LISTEN, error.to_string()).hint(
                    "brokers listen two ports below their own as well, for RocketMQ's clients \
                     before 4.5: start that one with --no-vip-port, or choose other ports with \
                     --listen and --namesrv-listen",
                )
            }
            StartError::PortTaken { vip_of: None, .. } => {
                Failure::new(Exit::Environment, codes::LISTEN, error.to_string()).hint(
                    "stop what listens there, or choose other ports with --listen and \
                     --namesrv-listen; port 0 takes any free one",
                )
            }
            StartError::SameAddress { .. } => {
                Failure::new(Exit::Input, codes::ARGUMENT, error.to_string()).hint(
                    "give each its own with --listen and --namesrv-listen; port 0 takes any free \
                     one",
                )
            }
            StartError::Listen { .. } => {
                Failure::new(Exit::Environment, codes::LISTEN, error.to_string())
            }
            StartError::Nowhere => Failure::new(Exit::Input, codes::ARGUMENT, error.to_string()),
            StartError::NotAdvertised(_) => {
                Failure::new(Exit::Input, codes::ARGUMENT, error.to_string())
                    .hint("say with --advertise which address clients can reach")
            }
            StartError::DiskFull(what) => {
                let what = what.strip_prefix("the disk is full: ").unwrap_or(what);
                disk_full_at_start(format!("the disk is full: {what}"))
            }
            StartError::Foreign(what) => foreign(what.clone()),
            StartError::TailNotCopied(what) => tail_not_copied(what.clone()),
            StartError::Damaged(_) => {
                Failure::new(Exit::Environment, codes::DATA_STATE, error.to_string()).hint(
                    "`millrace inspect` shows what the log still holds; with --repair the server \
                     says what is lost and goes on without it",
                )
            }
            StartError::Data(source) => io_failure(source),
            StartError::Resources(_) => {
                Failure::new(Exit::Environment, codes::SYSTEM, error.to_string())
            }
        };
        failure.caused_by(&error)
    }
}

impl From<StopError> for Failure {
    fn from(error: StopError) -> Self {
        Failure::new(Exit::Failed, codes::RUN, chain(&error))
            .hint("the next start recovers what is on disk")
            .caused_by(&error)
    }
}

fn in_use(error: &dyn Error) -> Failure {
    Failure::new(Exit::Environment, codes::DATA_IN_USE, error.to_string()).hint(
        "stop that process, choose another directory with --data-dir, or talk to its broker with \
         --namesrv",
    )
}

/// A directory of another program or version, with which `--repair` does nothing.
fn foreign(message: String) -> Failure {
    Failure::new(Exit::Environment, codes::DATA_FORMAT, message).hint(
        "open it with the program that wrote it, or choose another with --data-dir; `millrace \
         inspect` reads one of Apache RocketMQ, too, and changes nothing",
    )
}

fn tail_not_copied(message: String) -> Failure {
    Failure::new(Exit::Environment, codes::DISK_FULL, message)
        .hint("make that much room in the data directory's file system and start again")
}

fn disk_full_at_start(message: String) -> Failure {
    Failure::new(Exit::Environment, codes::DISK_FULL, message)
        .hint("make room, or ask for smaller files with --segment-size; nothing stored is lost")
}

impl From<CloseError> for Failure {
    fn from(error: CloseError) -> Self {
        Failure::new(Exit::Failed, codes::RUN, chain(&error))
            .hint("the next start recovers what is on disk")
            .caused_by(&error)
    }
}

impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        broker(&error, None).caused_by(&error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        run(&error).caused_by(&error)
    }
}

fn run(error: &RunError) -> Failure {
    match error {
        RunError::Fenced { .. } => {
            Failure::new(Exit::Environment, codes::FENCED, error.to_string())
                .hint("one worker at a time runs a pipeline; the one that started last has it now")
        }
        RunError::Broker { doing, source } => broker(source, Some(doing)),
        RunError::Source(source) => source_failure(source),
        RunError::Sink { sink, source } => sink_failure(sink, source),
        RunError::Repartitioned { .. } => Failure::new(Exit::Input, codes::ARGUMENT, chain(error)),
        RunError::Name { .. } => Failure::new(Exit::Input, codes::ARGUMENT, chain(error)),
        RunError::Rejected { code, .. } | RunError::TooManyRejects { code, .. } => {
            Failure::new(Exit::Failed, codes::REJECTS, chain(error)).hint(about_rejects(code))
        }
        RunError::Gap { .. } => {
            Failure::new(Exit::Failed, codes::DATA_DAMAGED, chain(error)).hint(SKIP_LOST)
        }
        RunError::Lost { .. } => {
            Failure::new(Exit::Failed, codes::RUN, chain(error)).hint(SKIP_LOST)
        }
        RunError::Ledger { .. }
        | RunError::Step(_)
        | RunError::WentBack { .. }
        | RunError::PartLost { .. }
        | RunError::ReplayTorn { .. }
        | RunError::Damaged { .. }
        | RunError::Setup(_)
        | RunError::Failpoint(_) => Failure::new(Exit::Failed, codes::RUN, chain(error)),
    }
}

/// What to look at when records are refused, by the code of the last one.
fn about_rejects(code: &str) -> String {
    let kind = code.split('-').nth(1).unwrap_or_default();
    let look = match kind {
        "WASM" => "try the module alone, with `millrace filter run MODULE FILE` or `filter test`",
        "HTTP" | "SINK" | "INDEX" | "PATH" => "see what the destination takes",
        _ => "compare the schema of the pipeline with the records it gets",
    };
    format!("{look}; `millrace explain {code}` says what that is")
}

/// How a pipeline gets past messages that are gone.
const SKIP_LOST: &str = "everything before them is committed, and nobody can be given them any more: \
                         `millrace run --skip-lost` warns of them, counts them, and goes on behind \
                         them";

fn broker(error: &BrokerError, doing: Option<&String>) -> Failure {
    let (exit, code, hint) = match error {
        BrokerError::Unreachable { .. } => {
            let hint = "is the address that of a name server (--namesrv), and is it running?";
            (Exit::Environment, codes::BROKER_AWAY, Some(hint))
        }
        BrokerError::OutcomeUnknown(_) => {
            let hint = "start again once the broker answers: nothing is lost or written twice";
            (Exit::Environment, codes::BROKER_AWAY, Some(hint))
        }
        BrokerError::DiskFull(_) => {
            return Failure::new(Exit::Environment, codes::DISK_FULL, error.to_string())
                .hint(MAKE_ROOM);
        }
        BrokerError::Poisoned(_) => (Exit::Environment, codes::DISK_IO, Some(LOOK_AT_DISK)),
        BrokerError::Unreadable(_) => {
            let hint = "`millrace inspect` tells which stretches of the log cannot be read; once the \
                        disk or the file is mended the next try goes on, and a broker that is \
                        started with `millrace server --repair` goes on without them";
            (Exit::Failed, codes::DATA_DAMAGED, Some(hint))
        }
        BrokerError::Fenced { .. } => (Exit::Environment, codes::FENCED, None),
        BrokerError::NoSuchQueue { .. } | BrokerError::Refused(_) => {
            (Exit::Failed, codes::BROKER_REFUSED, None)
        }
    };
    let message = match doing {
        Some(doing) => format!("cannot {doing}: {error}"),
        None => error.to_string(),
    };
    let failure = Failure::new(exit, code, message);
    if let Some(hint) = hint { failure.hint(hint) } else { failure }
}

/// Why a source cannot be opened or read.
pub(crate) fn source_failure(error: &SourceError) -> Failure {
    match error {
        SourceError::Missing(what) => Failure::new(Exit::Input, codes::SOURCE_MISSING, what)
            .hint("paths are relative to the directory in which the program is started"),
        SourceError::Unsuitable { .. } => {
            Failure::new(Exit::Input, codes::SOURCE_UNSUITABLE, error.to_string())
                .hint("name files, or write a pattern for files such as `logs/*.log`")
        }
        SourceError::Io { .. } => Failure::new(Exit::Environment, codes::SOURCE_IO, chain(error)),
    }
}

fn sink_failure(sink: &str, error: &SinkError) -> Failure {
    let cause: &(dyn Error + 'static) = error.cause();
    if let SinkError::Unavailable(_) | SinkError::Busy { .. } = error {
        let message = format!("sink `{sink}`: {}", chain(cause));
        return Failure::new(Exit::Environment, codes::DESTINATION, message).hint(
            "nothing is lost: the next run sends what was not delivered, under the same keys",
        );
    }
    if cause.is::<Unread>() || matches!(cause.downcast_ref(), Some(ClientError::NoCertificate(_))) {
        return Failure::new(Exit::Input, codes::FILE, format!("sink `{sink}`: {cause}"));
    }
    if let Some(OptionsError::File(file)) = cause.downcast_ref() {
        return io_of_sink(sink, &file.source);
    }
    if let Some(FileSinkError { source, .. }) = cause.downcast_ref() {
        return io_of_sink(sink, source);
    }
    if let Some(index) = index_of_sink(cause) {
        let mut failure = index_failure(index);
        failure.message = format!("sink `{sink}`: {}", failure.message);
        return failure;
    }
    let is_input = cause.is::<OptionsError>() || cause.is::<millrace_sink_index::OptionsError>();
    let exit = if is_input { Exit::Input } else { Exit::Failed };
    Failure::new(exit, codes::RUN, format!("sink `{sink}`: {}", chain(cause)))
}

/// The index that a sink could not write.
fn index_of_sink<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e IndexError> {
    match cause.downcast_ref() {
        Some(millrace_sink_index::OptionsError::Index(index)) => Some(index),
        _ => cause.downcast_ref(),
    }
}

/// Why an index cannot be read or written.
pub(crate) fn index_failure(error: &IndexError) -> Failure {
    match error {
        IndexError::Io(io) => io_failure(io),
        IndexError::Damaged { .. } => {
            Failure::new(Exit::Failed, codes::INDEX_DAMAGED, error.to_string()).hint(
                "`millrace run` with --rebuild and the sink's name writes the index again from \
                 the topic",
            )
        }
        IndexError::Mapping { .. } => {
            Failure::new(Exit::Input, codes::INDEX_MAPPING, error.to_string()).hint(
                "write to another directory, or write this index again with --rebuild and the \
                 sink's name",
            )
        }
        IndexError::Taken { .. } => {
            Failure::new(Exit::Input, codes::INDEX_TAKEN, error.to_string())
                .hint("an index is one sink's alone: write to another directory")
        }
        IndexError::Unknown { .. } => {
            Failure::new(Exit::Failed, codes::INDEX_UNKNOWN, error.to_string()).hint(
                "write the index again from the topic, with what the topic has now: \
                 `millrace run FILE --rebuild SINK`; or keep it, and write to another directory",
            )
        }
        IndexError::Newer { .. }
        | IndexError::Other { .. }
        | IndexError::Restless(_)
        | IndexError::Engine(_) => Failure::new(Exit::Failed, codes::RUN, error.to_string()),
    }
}

fn io_of_sink(sink: &str, error: &io::Error) -> Failure {
    let mut failure = io_failure(error);
    failure.message = format!("sink `{sink}`: {}", failure.message);
    failure
}

/// An error of the disk, which names the file by itself.
pub(crate) fn io_failure(error: &io::Error) -> Failure {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Failure::new(Exit::Environment, codes::DISK_FULL, full(error)).hint(MAKE_ROOM)
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Failure::new(Exit::Environment, codes::DISK_IO, error.to_string())
                .hint("the program may not write there")
        }
        _ => Failure::new(Exit::Environment, codes::DISK_IO, error.to_string()),
    }
}

fn full(error: &io::Error) -> String {
    format!("the disk is full: {error}")
}

/// An error with its causes in one line, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failure: Failure, exit: Exit, code: &str, part: &str) {
        assert_eq!((failure.exit, failure.code), (exit, code), "{failure:?}");
        assert!(failure.message.contains(part), "{failure:?}");
    }

    fn no_space() -> io::Error {
        io::Error::from(ErrorKind::StorageFull)
    }

    #[test]
    fn a_full_disk_is_told_as_one_wherever_it_shows() {
        let path = || "/x".into();
        let store = OpenStoreError::DiskFull { path: path(), source: no_space() };
        check(OpenError::Store(store).into(), Exit::Environment, "E-DISK-01", "the disk is full");
        let store = OpenStoreError::Io(no_space());
        check(OpenError::Store(store).into(), Exit::Environment, "E-DISK-01", "the disk is full");

        let source = BrokerError::DiskFull("no room for a segment".into());
        let error = RunError::Broker { doing: "append".into(), source };
        check(error.into(), Exit::Environment, "E-DISK-01", "the broker's disk is full: no");

        let file = FileSinkError { path: path(), source: no_space() };
        let source = SinkError::Broken(Box::new(file));
        let error = RunError::Sink { sink: "lake".into(), source };
        check(error.into(), Exit::Environment, "E-DISK-01", "sink `lake`: the disk is full");

        let file = FileSinkError { path: path(), source: no_space() };
        let source = SinkError::Broken(Box::new(OptionsError::File(file)));
        let error = RunError::Sink { sink: "lake".into(), source };
        check(error.into(), Exit::Environment, "E-DISK-01", "sink `lake`: the disk is full");
    }

    #[test]
    fn what_the_user_gave_is_told_from_what_is_around() {
        let missing = || SourceError::Missing("no file matches `x`".into());
        check(RunError::from(missing()).into(), Exit::Input, "E-SOURCE-02", "no file matches");
        let source = SinkError::Broken(Box::new(OptionsError::NoColumns));
        let error = RunError::Sink { sink: "lake".into(), source };
        check(error.into(), Exit::Input, "E-RUN-03", "sink `lake`: no column is left");

        let in_use = OpenStoreError::InUse("/data".into());
        check(OpenError::Store(in_use).into(), Exit::Environment, "E-DATA-01", "/data");
        let source = BrokerError::Unreachable { address: "b:1".into(), reason: "refused".into() };
        let error = RunError::Broker { doing: "read orders/0".into(), source };
        check(error.into(), Exit::Environment, "E-NET-01", "cannot read orders/0: broker unre");
    }

    #[test]
    fn causes_are_said_once() {
        let denied = io::Error::new(ErrorKind::PermissionDenied, "permission denied");
        let error = SourceError::Io { path: "a.log".into(), source: denied };
        assert_eq!(
            chain(&RunError::from(error)),
            "the source failed: cannot read a.log: \
                   permission denied"
        );
    }
}
