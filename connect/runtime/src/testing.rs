//! A broker, a source and a sink in memory, with the failures that real ones have.

mod broker; // a log with groups, fences, lost answers and power cuts
mod clock; // time as the simulation has it
mod crash; // futures that end early
mod sink; // parts that become visible
mod source; // files with lines

pub(crate) use broker::{Chances, MemoryBroker, SYS_FLAG};
pub(crate) use clock::SimClock;
pub(crate) use crash::{crash_after, seeds};
pub(crate) use sink::{Destination, REFUSED_FROM};
pub(crate) use source::{Files, Line};
