//! What happens to rows between the log and a sink.

mod chain; // the steps of one sink in the order in which they run
mod filter; // narrows the selection
mod rename; // gives columns other names
mod sample; // keeps a share of the messages
mod set; // gives columns values
#[cfg(test)]
mod tests;
mod view; // the columns of an expression over the rows of a batch
mod wasm; // runs a module over the messages

use millrace_connect_api::{Reject, RejectCode};
use millrace_sql_filter::EvalError;

pub(crate) use chain::{Chain, Rejected};
pub(crate) use view::View;
pub(crate) use wasm::Wasm;

/// An expression has no value for a row.
const EVAL: RejectCode = "E-EVAL-01";
/// A condition is neither true nor false, and the filter says that this is a mistake.
const UNKNOWN: RejectCode = "E-EVAL-02";

pub(crate) fn eval_reject(expression: &str, error: &EvalError) -> Reject {
    Reject { code: EVAL, error: format!("`{expression}`: {error}"), field: None }
}
