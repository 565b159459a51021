//! SQL92 conditions and expressions: parsed once, evaluated for every message.
//!
//! [`Expr`] is the way in. Two dialects share it and nothing else: [`Dialect::Strict`] is what
//! pipeline files are written in, [`Dialect::RocketMq`] is what Apache RocketMQ makes of a
//! subscription, oddities included. `README.md` states the rules of both; this crate does no I/O
//! and knows neither messages nor topics, it asks a [`Row`] for the value of a column by its slot.

mod columns; // which columns an expression reads
mod draft; // an expression that may have mistakes, and all of them
mod error; // what can be wrong with a text, with types, with a row
mod expr; // an expression of either dialect
mod limits; // how long and how deep a text may be
mod number; // numbers exactly: reading, comparing, hexadecimal floats
mod operator; // the six comparison operators
mod pattern; // LIKE, CONTAINS, STARTSWITH and ENDSWITH
mod rocketmq; // RocketMQ's dialect
mod strict; // the dialect of pipeline files
pub mod time; // civil dates and the texts that name an instant
mod value; // values, types, verdicts, rows

pub use columns::Column;
pub use draft::Draft;
pub use error::{EvalError, SyntaxError};
pub use expr::{Dialect, Expr};
pub use limits::{DEPTH_MAX, NESTING_MAX, TEXT_BYTES_MAX, TOKENS_MAX};
pub use strict::{Difference, Property, differences};
pub use value::{Row, Truth, Type, Value};
