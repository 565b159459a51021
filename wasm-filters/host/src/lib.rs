//! Runs filters that people compile to WebAssembly, inside limits.
//!
//! A filter sees records and says which go on; a map may put others in their place. A module has its
//! own memory, and nothing leaves it but the answers and some lines for the log. Time, memory and
//! what it may put out are limited; what it answers is checked before it is believed. Start reading at [`Host`], then at
//! [`Filter`]. The contract with modules is in the README beside this crate, the layout of a batch
//! in the source of [`Batch`].

mod answer; // what a module answered, read from its memory
mod batch; // records as a module sees them
mod decisions; // what became of records
mod error; // what can be wrong with a module, and with what it does
mod filter; // a module with its parameters, over batches
mod hash; // a module's identity
mod host; // compiles modules
mod imports; // what a module is given
mod instance; // a running copy of a module
mod limits; // what modules may use
mod manifest; // what a module says about itself
mod module; // a module that was checked and compiled
mod params; // parameters against the manifest
mod sections; // what can be known of a module before it is compiled
mod state; // what the host remembers of an instance
#[cfg(test)]
mod tests;
mod ticker; // the thread that measures time

pub use batch::{Batch, Record};
pub use decisions::{Decisions, Output, Properties, Verdict};
pub use error::{Fault, LoadError, StartError};
pub use filter::Filter;
pub use hash::ModuleHash;
pub use host::Host;
pub use limits::Limits;
pub use manifest::{Kind, Manifest};
pub use module::Module;
