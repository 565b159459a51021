//! The sink on simulated disks, judged by what a reader finds.

mod crashes; // nothing lost, nothing doubled, wherever it stops
mod rig; // a log, a sink, a ledger, and a judge
