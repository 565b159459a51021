//! Destinations without files, to try a pipeline with: standard output, and nowhere.
//!
//! A row is done once it is written, so these sinks never have a part: a plan only says how far
//! they got, and after a crash what was written since the last commit is written again.

mod blackhole; // counts
mod lines; // rows as lines of JSON
mod position; // how far a sink got

pub use blackhole::Blackhole;
pub use lines::{LinesError, LinesSink};

#[cfg(test)]
mod tests;
