//! RocketMQ's dialect, as its filter module parses and evaluates it.
//!
//! `README.md` describes the behaviour. Where a rule follows from the Java classes behind it, the
//! comment names the Java behaviour. Checked against Apache RocketMQ's filter module, develop at
//! 8fc57f1468.

mod evaluate; // a tree and a row to a verdict
mod lexer; // text to tokens
mod number; // numbers as Java reads them from text
mod parser; // tokens to a tree
mod tree; // what is evaluated

pub(crate) use evaluate::truth;
pub(crate) use lexer::is_name;
pub(crate) use parser::{Parsed, parse};
pub(crate) use tree::Node;
