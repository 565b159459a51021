//! What happens to rows between the log and a sink.

mod cast; // gives columns other types
mod chain; // the steps of one sink in the order in which they run
mod dedupe; // takes rows out whose key came shortly before
mod filter; // narrows the selection
mod placed; // a chain and the thread it runs on
mod rename; // gives columns other names
mod sample; // keeps a share of the messages
mod set; // gives columns values
mod split; // makes rows of the elements of an array
#[cfg(test)]
pub(crate) mod tests;
mod values; // a column while its rows come in
mod view; // the columns of an expression over the rows of a batch
mod wasm; // runs a module over the messages

use millrace_connect_api::{Batch, Reject, RejectCode, Selection};
use millrace_sql_filter::EvalError;

pub(crate) use chain::{Chain, Passage, Rejected};
pub(crate) use placed::{Applied, Place, PlacedChain};
pub(crate) use view::View;
pub(crate) use wasm::Wasm;

/// An expression has no value for a row.
const EVAL: RejectCode = "E-EVAL-01";
/// A condition is neither true nor false, and the filter says that this is a mistake.
const UNKNOWN: RejectCode = "E-EVAL-02";

/// The selection without the rows that `rejects` names from number `before` on.
fn without(batch: Batch, rejects: &[(u32, Reject)], before: usize) -> Batch {
    let refused = &rejects[before..];
    if refused.is_empty() {
        return batch;
    }
    // Both are in the order of the rows.
    let mut refused = refused.iter().map(|(row, _)| *row as usize).peekable();
    let kept = batch.selection().iter().filter(|row| refused.next_if_eq(row).is_none());
    let kept: Vec<u32> = kept.map(|row| row as u32).collect();
    batch.with_selection(Selection::Rows(kept.into()))
}

pub(crate) fn eval_reject(expression: &str, error: &EvalError) -> Reject {
    Reject { code: EVAL, error: format!("`{expression}`: {error}"), field: None }
}
