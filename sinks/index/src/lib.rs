//! Writes rows into a search index in a directory, and searches it.
//!
//! An index is a directory of *parts*. A part is one file: a whole tantivy segment, a checksum for
//! each of its blocks, and a table of contents. It never changes, and it appears under its name by
//! one rename, so the ledger treats it as it treats a Parquet file: PLANNED, rename, COMMITTED. There
//! is no list of parts beside the directory that could say something else. What other search
//! indexes keep in such a list is in the parts:
//!
//! - A part says which parts it *replaces*. Small parts are merged into one, and from the moment it
//!   is there, those it replaces are not looked at, whether they are removed yet or not.
//! - A document is known by the queue and the offset of its message. Where two parts have the same
//!   one, that of the part with the higher *serial* counts: what is read again replaces, and never
//!   doubles.
//!
//! tantivy sees a part through [`Shelf`](shelf::Shelf), its `Directory` over our `Disk`; it starts
//! no thread and writes no file of its own. Start reading at [`IndexSink`], then at [`Library`].

mod builder; // documents on their way into a part
mod document; // rows to documents
mod error; // what goes wrong
mod frontier; // how far each queue got
mod library; // the parts of a directory
mod mapping; // what columns become
mod names; // what parts are called
mod options; // what a sink is told
mod part_file; // the layout of a part
mod search; // questions and answers
mod shelf; // parts as tantivy sees them
mod sink; // the sink itself
mod staging; // parts on the disk: staged, published, probed
mod upkeep; // merging, and forgetting by age

pub use error::{BatchError, IndexError, OptionsError};
pub use library::{Library, is_index};
pub use mapping::{FieldKind, MappedField, Mapping};
pub use options::{IndexOptions, Rotate};
pub use search::{Asked, Found, Hit, Order, QueryError, Search, Shown, Value};
pub use sink::IndexSink;
pub use staging::erase;
