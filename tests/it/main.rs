//! Whatever needs more than one crate, in a single binary.

mod consumers; // members of groups on a real broker
mod corpus; // what the fuzzers found, again
mod documents; // what people copy from our pages
mod few_files; // connections that take all files
mod indexed; // what an index has
mod kill_loop; // the real program, killed again and again
mod kill_server; // a broker under load, killed again and again
mod map; // who may use whom
mod oracle; // what a broker owes to those who sent
mod power_cut; // a whole pipeline on a disk that forgets
mod promises; // what code must not do
mod real_faults; // what only the real kernel can do to files
