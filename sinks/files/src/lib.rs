//! Files as a destination: rows go into parts, parts become visible whole, and no row twice.
//!
//! [`FilesSink`] takes batches apart by partition, encodes each partition's rows as they come
//! into a file that nobody sees yet, and closes files when their rotation is due. Which rows are
//! in which file, and where reading goes on after a crash, is decided in `frontier`, without any
//! I/O; start reading there, then at [`FilesSink`].

mod encoder; // rows into a file of some format
mod error; // what goes wrong with files, batches and options
mod frontier; // which offsets are in which part, and where reading resumes
mod grouping; // the rows of a batch by partition
mod gzip; // members of gzip files
mod hive; // partition values as directory names
mod names; // what parts are called, staged and published
mod open_part; // a part that still takes rows
mod options; // what a user can choose
mod part_file; // bytes into a file, counted and checksummed
mod pending; // rows that wait to be encoded
mod sink; // the sink itself
mod staging; // publish, probe, abort, sweep
mod unpack; // files of text, read back

pub use error::{BatchError, FileSinkError, OptionsError};
pub use options::{
    Compression, CsvFormat, FilesOptions, Format, Metadata, ParquetFormat, Rotate, RowGroup,
    TextCompression,
};
pub use sink::FilesSink;
pub use unpack::unpacked;
