//! The message store: an append-only CommitLog and the queue index derived from it.
//!
//! Everything here is synchronous. A message is staged, then committed to the CommitLog together
//! with all others of its burst; the queue index is fed from what was staged and can be deleted
//! and rebuilt. Two watermarks say how far the log is written and how far it is durable, and all
//! visibility is a function of them. Start reading at [`Store::open`].

mod buffers; // what cold reads are read into
mod checkpoint; // how far the log is known to be durable
mod commit_log; // segments, and the bytes staged for them
mod config; // what an operator may choose
mod dispatch; // what one record adds to the indexes
mod error; // what can go wrong, by operation
mod fill; // going on without segments
mod flush; // what makes the log durable
mod format; // whose a directory is
mod inspect; // reading a store that nobody serves
mod key_index; // key -> records
mod lost; // what damage took, queue by queue
mod missing; // what a log that nobody opened lacks
#[cfg(feature = "faults")]
mod planted; // mistakes made on purpose
mod queue_index; // queue offset -> record
mod read; // records by physical offset, verified
mod recovery; // what to trust after a crash
mod scan; // one position of the log after the other
mod segment; // one file of the CommitLog
mod snapshot; // the broker's state, beside the log
mod store;
mod tail; // what lies behind the end of the log
mod tally; // how many entries were made
mod watermark; // appended and durable
mod whole; // reads that give all they were asked for

#[cfg(test)]
mod tests;

#[cfg(feature = "faults")]
pub use config::Faults;
pub use config::{FlushMode, StoreConfig};
pub use error::{AppendError, FlushError, OpenError, ReadError};
pub use fill::{Losses, fill_missing, forget_index, losses, missing_segments};
pub use flush::Flusher;
pub use format::repair_format;
pub use inspect::{
    InspectedRecord, Inspection, MissingMessages, OLDEST_SEGMENTS, QueueInspection, QueuePart,
    SegmentInspection, inspect,
};
pub use key_index::{KeyLookup, KeyQuery, KeysFound};
pub use lost::LostMessages;
pub use missing::MissingBytes;
pub use queue_index::{Entry, QueueNo};
pub use read::{LogReader, ReadPast};
pub use recovery::{Damage, Recovered};
pub use snapshot::Snapshot;
pub use store::{Bounds, Placed, Plan, Space, Store};
pub use tail::{CutOff, CutOffMessages, TornCopy};
pub use watermark::Watermarks;
