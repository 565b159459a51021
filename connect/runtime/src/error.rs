use std::path::PathBuf;

use millrace_client::BrokerError;
use millrace_connect_api::{DamagedRun, QueueRef, SinkError, SourceError, StepError};
use millrace_types::{NameError, QueueOffset, TopicName};

/// Why a run ended before it was done. Whatever is committed stays; another run goes on from it.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another worker took the pipeline over. Nothing is wrong, but this one must not go on.
    #[error("another worker runs this pipeline now (epoch {current})")]
    Fenced {
        /// The epoch of the pipeline's lease.
        current: u64,
    },

    /// The broker will not do what the pipeline needs, or did not come back in time.
    #[error("cannot {doing}")]
    Broker {
        /// What was to be done.
        doing: String,
        /// The broker's reason.
        source: BrokerError,
    },

    /// The ledger says something that this program does not understand.
    #[error("ledger record at {topic}/{queue} offset {at} cannot be used: {reason}")]
    Ledger {
        /// The ledger's topic.
        topic: TopicName,
        /// The pipeline's queue in it.
        queue: u32,
        /// The record.
        at: QueueOffset,
        /// What is wrong with it.
        reason: String,
    },

    /// A name made from the pipeline's and the sink's is not one a topic or group may have.
    #[error("`{name}` cannot be the name of a topic or group")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        source: NameError,
    },

    /// The source cannot go on.
    #[error("the source failed")]
    Source(#[from] SourceError),

    /// A sink cannot go on.
    #[error("sink `{sink}` failed")]
    Sink {
        /// Its name.
        sink: String,
        /// Its reason.
        source: SinkError,
    },

    /// A step cannot go on, whatever the record.
    #[error(transparent)]
    Step(#[from] StepError),

    /// A record that cannot go on, where the pipeline says `on_error: {then: stop}`.
    #[error("{at} has a record that cannot go on: {code}: {error}")]
    Rejected {
        /// Where the record is.
        at: String,
        /// What kind of mistake.
        code: &'static str,
        /// Why.
        error: String,
    },

    /// So many records were refused that the pipeline itself is probably wrong.
    #[error(
        "sink `{sink}` stopped: {rejected} of the last {of} records were refused, the latest \
         because of {code}: {error}"
    )]
    TooManyRejects {
        /// The sink, or `source`.
        sink: String,
        /// How many were refused.
        rejected: u64,
        /// Of how many.
        of: u64,
        /// Code of the latest.
        code: &'static str,
        /// Reason of the latest.
        error: String,
    },

    /// Messages were removed before a sink had read them.
    #[error(
        "sink `{sink}` lost {} messages of {queue}: {from} up to {to} were removed before they \
         were read", .to.since(*.from)
    )]
    Lost {
        /// The sink.
        sink: String,
        /// The queue.
        queue: QueueRef,
        /// The first message lost.
        from: QueueOffset,
        /// One past the last.
        to: QueueOffset,
    },

    /// Queue offsets have no message any more, because damage to the log took it. A few of them may
    /// never have had one: where nobody can tell, the broker leaves offsets out.
    #[error(
        "sink `{sink}` cannot be given {queue} offset {from} up to {to}: the log lost {} \
         to damage", messages(.to.since(*.from))
    )]
    Gap {
        /// The sink.
        sink: String,
        /// The queue.
        queue: QueueRef,
        /// The first message lost.
        from: QueueOffset,
        /// One past the last.
        to: QueueOffset,
    },

    /// A queue ends before a place that it already had: the broker lost messages which it had
    /// accepted and not yet brought to its disk.
    #[error("{queue} had messages up to {known} and now ends at {end}: the broker lost some")]
    WentBack {
        /// The queue.
        queue: QueueRef,
        /// Where it ended before.
        known: QueueOffset,
        /// Where it ends now.
        end: QueueOffset,
    },

    /// A staged part vanished while a later part of its partition is visible, so its rows can
    /// neither be written again nor left out without a person's decision.
    #[error(
        "sink `{sink}`: part `{gone}` was planned and is neither staged nor visible, but a later \
         part of its partition is; bring it back, or remove `{visible}`"
    )]
    PartLost {
        /// The sink.
        sink: String,
        /// The part that is nowhere.
        gone: String,
        /// The later one.
        visible: String,
    },

    /// Of the files of a replay that did not finish some are visible and some are nowhere, so its
    /// letters can neither be replayed again nor be taken for replayed.
    #[error(
        "sink `{sink}`: of a replay that did not finish, `{gone}` is neither staged nor visible and \
         `{visible}` is visible; bring back what is gone, or remove what is visible"
    )]
    ReplayTorn {
        /// The sink.
        sink: String,
        /// The parts that are nowhere.
        gone: String,
        /// The others.
        visible: String,
    },

    /// After a crash some partitions are committed further than others, and the pipeline now
    /// assigns messages to partitions in another way, so nobody can tell which rows are there.
    #[error(
        "sink `{sink}` did not finish what it began, and the pipeline now partitions in another \
         way: run the earlier file{with} once more until it stops by itself or is stopped, then \
         this one",
        with = earlier(.modules)
    )]
    Repartitioned {
        /// The sink.
        sink: String,
        /// Modules that may be what is other than before.
        modules: Vec<PathBuf>,
    },

    /// Pulled bytes are not messages.
    #[error("{queue} gave bytes that are not messages")]
    Damaged {
        /// The queue.
        queue: QueueRef,
        /// Where.
        source: DamagedRun,
    },

    /// The pipeline and what was handed to it do not fit together.
    #[error("{0}")]
    Setup(String),

    /// A test asked for this; it takes the feature `faults`.
    #[error("failpoint `{0}`")]
    Failpoint(&'static str),
}

impl RunError {
    pub(crate) fn broker(doing: impl Into<String>, source: BrokerError) -> Self {
        match source {
            BrokerError::Fenced { current } => RunError::Fenced { current },
            source => RunError::Broker { doing: doing.into(), source },
        }
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "this message".to_owned() } else { format!("these {count} messages") }
}

/// What else must be as it was, beside the pipeline's file.
fn earlier(modules: &[PathBuf]) -> String {
    let names: Vec<_> = modules.iter().map(|module| format!("`{}`", module.display())).collect();
    match &names[..] {
        [] => String::new(),
        [name] => format!(", with {name} as it was,"),
        names => format!(", with {} as they were,", names.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_that_partitions_anew_is_told_which_modules_may_be_why() {
        let told = |modules: &[&str]| {
            let modules = modules.iter().map(PathBuf::from).collect();
            let error = RunError::Repartitioned { sink: "s".to_owned(), modules }.to_string();
            error.split_once("run the ").unwrap().1.split_once(" once more").unwrap().0.to_owned()
        };
        assert_eq!(told(&[]), "earlier file");
        assert_eq!(told(&["mask.wasm"]), "earlier file, with `mask.wasm` as it was,");
        let both = "earlier file, with `a.wasm` and `b.wasm` as they were,";
        assert_eq!(told(&["a.wasm", "b.wasm"]), both);
    }
}
