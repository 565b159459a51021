//! Rows into a file of some format.

mod parquet; // columns, by the row group
mod text; // lines, chunk by chunk

use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millrace_disk::Disk;

use self::parquet::ParquetEncoder;
use self::text::{Lines, TextEncoder};
use crate::error::FileSinkError;
use crate::options::{FilesOptions, Format};
use crate::part_file::Finished;

/// A file being written.
///
/// The same chunks of rows give the same bytes, whatever else happens between them, but for
/// [`Encoder::spill`].
pub(crate) trait Encoder: Send {
    /// Encodes a chunk of rows.
    fn write(&mut self, rows: &RecordBatch) -> Result<(), FileSinkError>;

    /// Writes out what was encoded, so that its memory is free.
    fn spill(&mut self) -> Result<(), FileSinkError>;

    /// Gives the file's handle back until there is something to write to it.
    fn park(&mut self) -> Result<(), FileSinkError>;

    /// Whether the handle was given back.
    fn is_parked(&self) -> bool;

    /// Completes the file and makes it durable, up to its name. `metadata` is for formats that
    /// have a place for it beside the rows.
    fn finish(
        self: Box<Self>,
        metadata: Vec<(&'static str, String)>,
    ) -> Result<Finished, FileSinkError>;

    /// About how many bytes the file would have if it ended here.
    fn bytes(&self) -> u64;

    /// Memory that [`Encoder::spill`] would free.
    fn spillable_bytes(&self) -> usize;

    /// Memory that only the end of the file would free.
    fn kept_bytes(&self) -> usize;
}

/// Creates a file. Its first rows may decide how it is encoded, and are not written yet.
pub(crate) fn create(
    disk: &Arc<dyn Disk>,
    path: &Path,
    schema: &SchemaRef,
    options: &FilesOptions,
    first_rows: &RecordBatch,
) -> Result<Box<dyn Encoder>, FileSinkError> {
    match &options.format {
        Format::Parquet(format) => {
            let row_group_bytes = format.row_group.bytes.min(options.memory_bytes_max / 2);
            let encoder =
                ParquetEncoder::create(disk, path, schema, format, row_group_bytes, first_rows)?;
            Ok(Box::new(encoder))
        }
        Format::Jsonl(compression) => {
            Ok(Box::new(TextEncoder::create(disk, path, Lines::Json, *compression)?))
        }
        Format::Csv(format) => {
            let lines = Lines::Csv(format.clone());
            Ok(Box::new(TextEncoder::create(disk, path, lines, format.compression)?))
        }
    }
}
