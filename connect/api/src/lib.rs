//! A connector's contract: what a source gives, what a step changes, what a sink is handed and
//! what it must answer.
//!
//! A source or sink sees this crate and nothing else of the runtime. Start reading at [`Batch`],
//! then at [`FileSink`] and [`RowSink`].

mod batch; // messages of one queue, a selection among them, and their columns
pub mod decode; // bodies to columns, strictly
mod letter; // what becomes of a record that cannot go on
mod queue; // a queue, wherever it lies
mod row_sink; // where records leave one by one
mod schema; // the column types of pipelines
mod sink; // where records leave
mod source; // where records come from
mod step; // what happens in between

pub use batch::{Batch, Change, DamagedRun, Message, Messages, Piece, PieceBody, Selection};
pub use letter::{Reject, RejectCode};
pub use queue::{OffsetRange, QueueRef, RowAt};
pub use row_sink::{Encoded, Hindrance, Item, Outcome, RowSink, offset_ranges};
pub use schema::{Column, DataType, Schema, utc_as_offset};
pub use sink::{
    Cut, FileSink, Part, PartState, Plan, Published, Refused, Resume, SinkError, Written,
};
pub use source::{
    Chunk, Origin, Polled, Position, Source, SourceCursor, SourceError, Span, Standing,
};
pub use step::{Step, StepError};
