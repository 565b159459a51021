//! Runs pipelines: a source into a topic, and from the topic through steps into sinks, so that
//! every record arrives exactly once whatever crashes.
//!
//! Everything durable is in the broker's log. [`ledger`] describes the records by which a run
//! knows what earlier ones did. Start reading at [`Run`].

mod bulks; // rows that are sent together
mod clock; // what time it is
mod decompression; // bodies that producers compressed
mod delivery; // from the topic into one sink
pub mod dlq; // dead letters after the fact
mod error; // why a run ended
pub mod fault; // where tests make a run fail
mod filters; // the modules of a pipeline
mod ingest; // from the source into the topic
pub mod ledger; // what a pipeline did, in the log
mod letter; // dead letters
mod link; // a broker that is asked again
mod origins; // where records come from, for people
mod progress; // what a run did
mod rng; // seeded chance
mod run; // all parts of one pipeline
mod steps; // between the log and a sink
mod stop; // the request to end
#[cfg(test)]
mod testing; // a broker, a source and a sink in memory

pub use bulks::{BulkLimits, Bulks};
pub use clock::{Clock, SystemClock};
pub use delivery::{OnLoss, OpenSink, SinkOpening};
pub use error::RunError;
pub use filters::{FilterError, FilterFault, Filters};
pub use ingest::{FILE_ID, FILE_LINE, FILE_OFFSET, FILE_PATH, OpenSource};
pub use link::Patience;
pub use progress::{SinkProgress, SourceProgress, Summary};
pub use run::{Connectors, Control, Run, RunOptions, Until};
