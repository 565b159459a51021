//! Whatever needs more than one crate, in a single binary.

mod map; // who may use whom
