//! Where records come from: files that grow and rotate, and made-up records.
//!
//! A source gives records with exact positions and keeps nothing on disk; the runtime stores the
//! positions with the records and hands them back at the next start. Start reading at
//! [`FileSource`]; [`Lines`] is the part that cuts bytes into records.

mod checksum; // FNV-1a, for identities
mod file; // lines of files, followed through rotation
mod generate; // records that depend on a seed and their number only
mod lines; // bytes to lines with exact positions

pub use file::{FileOptions, FileSource};
pub use generate::{FieldGen, GenerateOptions, GenerateSource};
pub use lines::{Lines, Piece};
