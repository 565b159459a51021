//! The sink on simulated disks, judged by what a reader finds.

mod crashes; // nothing lost, nothing doubled, wherever it stops
mod files; // what is in a file, and when it is closed
mod rig; // a log, a sink, a ledger, and a judge
mod text; // what is in a file of text
