//! Whatever needs more than one crate, in a single binary.

mod map; // who may use whom
mod power_cut; // a whole pipeline on a disk that forgets
