//! The dialect of pipeline files: RocketMQ's operators, LIKE, arithmetic, functions, dotted names,
//! and three-valued logic without exceptions to remember.

mod cast; // values to other types
mod compare; // two values under an operator
mod difference; // where RocketMQ would decide otherwise
mod evaluate; // a tree and a row to a value or a verdict
mod lexer; // text to tokens
mod list; // IN
mod literal; // numbers as written
mod parser; // tokens to a tree
mod tree; // what is evaluated
mod types; // which types an expression goes with

pub(crate) use cast::{cast, exists as casts};
pub use difference::{Difference, Property, differences};
pub(crate) use evaluate::{truth, value};
pub(crate) use parser::{Parsed, parse};
pub(crate) use tree::Node;
pub(crate) use types::{Columns, check_condition, infer};
