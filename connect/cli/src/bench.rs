//! Load for any broker that speaks RocketMQ's remoting protocol, and what it came to.
//!
//! One thread drives all connections, so that the load costs little beside the broker it is made
//! for: requests are copied from templates, answers are looked into no further than needed. Start
//! reading at [`drive::drive_watched`].

mod consume; // pulls, one after the other
mod drive; // the connections and their loop
mod latencies; // how long things took
mod latency; // sends on a schedule, and what becomes of them
mod meter; // CPU and memory of processes
mod produce; // sends, as many in flight as wanted
mod target; // the broker that is driven, and its topic
mod template; // requests ready to be copied

pub(crate) use consume::{Consume, consume};
pub(crate) use drive::Lasting;
pub(crate) use latencies::Latencies;
pub(crate) use latency::{STAMP_BYTES, Schedule, measure};
pub(crate) use meter::Used;
pub(crate) use produce::{Mode, Produce, produce};
pub(crate) use target::Target;
