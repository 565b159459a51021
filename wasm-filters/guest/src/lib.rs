//! What a filter for Millrace links against. It needs nothing but the standard library.
//!
//! ```
//! use millrace_wasm_guest::{Filter, Params, Record};
//!
//! /// Keeps the orders of one region.
//! struct Region(String);
//!
//! impl Filter for Region {
//!     fn new(params: &Params<'_>) -> Result<Self, String> {
//!         Ok(Self(params.text("region")?.ok_or("`region` is missing")?))
//!     }
//!
//!     fn keep(&mut self, record: &Record<'_>) -> Result<bool, String> {
//!         Ok(record.property("region") == Some(&self.0))
//!     }
//! }
//!
//! millrace_wasm_guest::filter! {
//!     Region,
//!     name: "region",
//!     version: "1.0.0",
//!     params: r#"{"required": ["region"], "properties": {"region": {"type": "string"}}}"#,
//! }
//! ```
//!
//! Build it as a `cdylib` for `wasm32-unknown-unknown` with `panic = "abort"`. An `Err` makes the
//! record a dead letter with this reason, and so does a panic; the records beside it go on.

mod batch; // records as the host hands them over
#[doc(hidden)]
pub mod exports; // what the macros make functions of
mod find; // bytes in texts
mod json; // JSON that stays where it is
mod out; // what goes on in the place of a record
mod params; // what the pipeline file says

pub use batch::Record;
pub use json::{Fields, Items, Json};
pub use out::{Next, Out, Replacement};
pub use params::Params;

/// Decides which records go on.
pub trait Filter: Sized {
    /// Prepares the filter, once for each instance of the module.
    ///
    /// # Errors
    /// If the parameters make no sense; the pipeline does not start then.
    fn new(params: &Params<'_>) -> Result<Self, String>;

    /// Whether a record goes on. The verdict should depend on the record alone: batches are cut
    /// differently after a restart, and instances come and go.
    ///
    /// # Errors
    /// If that cannot be told; the record becomes a dead letter.
    fn keep(&mut self, record: &Record<'_>) -> Result<bool, String>;
}

/// Puts records in the place of others.
pub trait Map: Sized {
    /// As [`Filter::new`].
    ///
    /// # Errors
    /// If the parameters make no sense; the pipeline does not start then.
    fn new(params: &Params<'_>) -> Result<Self, String>;

    /// Says what goes on in the place of a record. It should depend on the record alone.
    ///
    /// # Errors
    /// If that cannot be told; the record becomes a dead letter.
    fn map(&mut self, record: &Record<'_>, out: &mut Out) -> Result<Next, String>;
}

/// Makes a module of a type that is a [`Filter`].
#[macro_export]
macro_rules! filter {
    ($filter:ty, name: $name:literal, version: $version:literal $(, params: $params:literal)? $(,)?) => {
        $crate::module!($filter, $crate::Filter, "filter", $name, $version $(, $params)?);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn mr_filter(batch: *const u8, len: usize, verdicts: *mut u8) -> i32 {
                // SAFETY: the host hands over what its contract says.
                unsafe { $crate::exports::filter(&__MILLRACE, batch, len, verdicts) }
            }
        };
    };
}

/// Makes a module of a type that is a [`Map`] and gives one record for one at most.
#[macro_export]
macro_rules! map {
    ($map:ty, name: $name:literal, version: $version:literal $(, params: $params:literal)? $(,)?) => {
        $crate::mapping!($map, "map", $name, $version $(, $params)?);
    };
}

/// Makes a module of a type that is a [`Map`] and gives any number of records for one. Pipelines
/// refuse such modules yet.
#[macro_export]
macro_rules! flat_map {
    ($map:ty, name: $name:literal, version: $version:literal $(, params: $params:literal)? $(,)?) => {
        $crate::mapping!($map, "flat-map", $name, $version $(, $params)?);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! mapping {
    ($map:ty, $kind:literal, $name:literal, $version:literal $(, $params:literal)?) => {
        $crate::module!($map, $crate::Map, $kind, $name, $version $(, $params)?);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[unsafe(no_mangle)]
            extern "C" fn mr_map(batch: *const u8, len: usize, out: *mut u8) -> i32 {
                // SAFETY: the host hands over what its contract says.
                unsafe { $crate::exports::map(&__MILLRACE, batch, len, out) }
            }
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! module {
    ($type:ty, $trait:path, $kind:literal, $name:literal, $version:literal) => {
        $crate::module!($type, $trait, $kind, $name, $version, "null");
    };
    ($type:ty, $trait:path, $kind:literal, $name:literal, $version:literal, $params:literal) => {
        /// What the host reads of this module without running it.
        #[doc(hidden)]
        #[allow(dead_code, reason = "on other machines nobody reads it")]
        const __MILLRACE_MANIFEST: &str = concat!(
            "{\"abi\":1,\"sdk\":\"rust\",\"name\":\"",
            $name,
            "\",\"version\":\"",
            $version,
            "\",\"kinds\":[\"",
            $kind,
            "\"],\"params\":",
            $params,
            "}"
        );

        #[cfg(target_arch = "wasm32")]
        static __MILLRACE: $crate::exports::Loaded<$type> = $crate::exports::Loaded::new();

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const LEN: usize = __MILLRACE_MANIFEST.len();
            #[used]
            #[unsafe(link_section = "millrace.filter")]
            static MANIFEST: [u8; LEN] = $crate::exports::bytes(__MILLRACE_MANIFEST);

            #[unsafe(no_mangle)]
            extern "C" fn mr_abi_v1() {}

            #[unsafe(no_mangle)]
            extern "C" fn mr_alloc(len: usize, align: usize) -> *mut u8 {
                $crate::exports::alloc(len, align)
            }

            #[unsafe(no_mangle)]
            extern "C" fn mr_free(at: *mut u8, len: usize, align: usize) {
                // SAFETY: the host gives back what it got, once, with the same length.
                unsafe { $crate::exports::free(at, len, align) }
            }

            #[unsafe(no_mangle)]
            extern "C" fn mr_init(params: *const u8, len: usize) -> i32 {
                // SAFETY: the host hands over what its contract says.
                unsafe { $crate::exports::init(&__MILLRACE, params, len, <$type as $trait>::new) }
            }
        };
    };
}
