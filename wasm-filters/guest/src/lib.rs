//! What a filter for Millrace links against. It needs nothing but the standard library.
//!
//! A filter is a function:
//!
//! ```
//! use millrace_wasm_guest::{Record, filter};
//!
//! /// Keeps the orders of one region.
//! #[filter(name = "only-eu", version = "1.0.0")]
//! fn keep(record: &Record<'_>) -> bool {
//!     record.property("region") == Some("eu")
//! }
//! ```
//!
//! One that takes parameters from the pipeline file has a state, which a second function makes of
//! them, once for each instance of the module:
//!
//! ```
//! use millrace_wasm_guest::{Params, Record, Result, filter, init};
//!
//! /// The region whose orders are kept.
//! struct Region(String);
//!
//! #[init(params = r#"{"required": ["region"], "properties": {"region": {"type": "string"}}}"#)]
//! fn init(params: Params<'_>) -> Result<Region> {
//!     Ok(Region(params.text("region")?.ok_or("`region` is missing")?))
//! }
//!
//! #[filter(name = "region", version = "1.0.0")]
//! fn keep(region: &Region, record: &Record<'_>) -> Result<bool> {
//!     Ok(record.property("region") == Some(&region.0))
//! }
//! ```
//!
//! `params` is the JSON Schema of the parameters, which the host compares with the pipeline file
//! before it starts the module. Name and version are those of the package, unless they are given.
//!
//! A map puts other records in the place of those that it is given, a `#[flat_map]` any number for
//! one. What it puts nowhere is dropped:
//!
//! ```
//! use millrace_wasm_guest::{Out, Record, Result, map};
//!
//! #[map(name = "upper", version = "1.0.0")]
//! fn upper(record: &Record<'_>, out: &mut Out<'_>) -> Result<()> {
//!     let body = record.body.to_ascii_uppercase();
//!     out.body(&body).property("shouts", "yes").emit();
//!     Ok(())
//! }
//! ```
//!
//! An `Err` makes the record a dead letter with this reason, and so does a panic; the records beside
//! it go on. The error is a text or anything else that can be displayed. In `init` it keeps the
//! pipeline from starting. A verdict should depend on the record alone, even where the state is
//! taken as `&mut`: batches are cut differently after a restart, and instances come and go.
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` with `panic = "abort"`;
//! `millrace filter new NAME` begins one, and `millrace filter build` builds it.

mod batch; // records as the host hands them over
#[doc(hidden)]
pub mod exports; // what a module's functions are made of
mod find; // bytes in texts
mod json; // JSON that stays where it is
mod module; // what the attributes make of a function
#[cfg(feature = "native")]
#[doc(hidden)]
pub mod native; // what the same function costs outside of a module
mod out; // what goes on in the place of a record
mod params; // what the pipeline file says

pub use batch::Record;
pub use json::{Fields, Items, Json};
pub use millrace_wasm_guest_macros::{filter, flat_map, init, map};
pub use out::{Out, Outputs, Replacement};
pub use params::Params;

/// What functions answer that may fail.
pub type Result<T, E = String> = std::result::Result<T, E>;
