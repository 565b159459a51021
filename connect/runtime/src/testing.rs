//! A broker, a source and a sink in memory, with the failures that real ones have.

mod broker; // a log with groups, fences, lost answers and power cuts
mod clock; // time as the simulation has it

pub(crate) use broker::{Chances, MemoryBroker};
pub(crate) use clock::SimClock;
