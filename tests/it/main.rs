//! Whatever needs more than one crate, in a single binary.

mod consumers; // members of groups on a real broker
mod corpus; // what the fuzzers found, again
mod kill_loop; // the real program, killed again and again
mod map; // who may use whom
mod power_cut; // a whole pipeline on a disk that forgets
