//! Destinations without files, to try a pipeline with: standard output, and nowhere.
//!
//! A row is done once it is written, so these sinks never have a part: a plan only says how far
//! they got, and after a crash what was written since the last commit is written again.

mod at_once; // a sink without parts
mod blackhole; // forgets rows
mod lines; // rows as lines of JSON

pub use at_once::{AtOnce, Rows};
pub use blackhole::Blackhole;
pub use lines::{Lines, LinesError};

#[cfg(test)]
mod tests;
