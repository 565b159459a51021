//! Columns into a Parquet file.

use std::collections::HashSet;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, SchemaRef};
use millrace_disk::Disk;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{
    DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT, EnabledStatistics, WriterProperties,
};
use parquet::schema::types::ColumnPath;

use super::Encoder;
use crate::error::{At, FileSinkError};
use crate::options::{Compression, ParquetFormat};
use crate::part_file::{Finished, PartFile};

/// What zstd takes for each column of a row group, and what it takes more from the first page on.
/// Measured; the writer does not count it.
const ZSTD_CODEC_BYTES: usize = 64 << 10;
const ZSTD_CONTEXT_BYTES: usize = 1 << 20;

/// About what is kept of each column of a complete row group: offsets, sizes, statistics of pages.
const COLUMN_CHUNK_METADATA_BYTES: usize = 1 << 10;

/// A file being written.
pub(super) struct ParquetEncoder {
    writer: ArrowWriter<PartFile>,
    /// Columns that zstd compresses.
    zstd_columns: usize,
}

impl ParquetEncoder {
    /// Creates the file. The first rows decide how columns are encoded.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        path: &Path,
        schema: &SchemaRef,
        format: &ParquetFormat,
        row_group_bytes: u64,
        first_rows: &RecordBatch,
    ) -> Result<Self, FileSinkError> {
        let file = PartFile::create(disk, path).at(path)?;
        let properties = properties(format, row_group_bytes, first_rows);
        // Readers learn the types from Parquet's own schema.
        let arrow_options =
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer =
            ArrowWriter::try_new_with_options(file, Arc::clone(schema), arrow_options).at(path)?;
        let zstd_columns = match format.compression {
            Compression::Zstd(_) => schema.fields().len(),
            Compression::None | Compression::Snappy => 0,
        };
        Ok(Self { writer, zstd_columns })
    }

    fn failed(&self, error: parquet::errors::ParquetError) -> FileSinkError {
        FileSinkError::from_parquet(self.writer.inner().path(), error)
    }
}

impl Encoder for ParquetEncoder {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), FileSinkError> {
        self.writer.write(rows).map_err(|error| self.failed(error))
    }

    /// Ends the row group early.
    fn spill(&mut self) -> Result<(), FileSinkError> {
        self.writer.flush().map_err(|error| self.failed(error))
    }

    /// Rows go on being encoded, as that takes memory only, until a row group is complete.
    fn park(&mut self) -> Result<(), FileSinkError> {
        self.writer.sync().map_err(|error| self.failed(error.into()))?;
        let parked = self.writer.inner_mut().park();
        parked.map_err(|error| self.failed(error.into()))
    }

    fn is_parked(&self) -> bool {
        self.writer.inner().is_parked()
    }

    /// The metadata goes into the footer.
    fn finish(
        mut self: Box<Self>,
        metadata: Vec<(&'static str, String)>,
    ) -> Result<Finished, FileSinkError> {
        for (key, value) in metadata {
            self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let path = self.writer.inner().path().to_owned();
        self.writer.into_inner().at(&path)?.finish().at(&path)
    }

    fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// The row group.
    fn spillable_bytes(&self) -> usize {
        let codec_bytes = match self.writer.in_progress_rows() {
            0 => 0,
            rows if rows < DEFAULT_DATA_PAGE_ROW_COUNT_LIMIT => ZSTD_CODEC_BYTES,
            _ => ZSTD_CODEC_BYTES + ZSTD_CONTEXT_BYTES,
        };
        // What the writer counts is what is in its buffers; what they take is half as much more.
        self.writer.memory_size() * 3 / 2 + self.zstd_columns * codec_bytes
    }

    /// What the footer will say.
    fn kept_bytes(&self) -> usize {
        let groups = self.writer.flushed_row_groups();
        let columns: usize = groups.iter().map(|group| group.num_columns()).sum();
        columns * COLUMN_CHUNK_METADATA_BYTES
    }
}

fn properties(
    format: &ParquetFormat,
    row_group_bytes: u64,
    first_rows: &RecordBatch,
) -> WriterProperties {
    let codec = match format.compression {
        Compression::None => Codec::UNCOMPRESSED,
        Compression::Snappy => Codec::SNAPPY,
        Compression::Zstd(level) => {
            Codec::ZSTD(ZstdLevel::try_new(level).expect("`ParquetFormat::check` knows the levels"))
        }
    };
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(codec)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(saturate(format.row_group.rows)))
        .set_max_row_group_bytes(Some(saturate(row_group_bytes.max(1))));
    for (field, column) in first_rows.schema().fields().iter().zip(first_rows.columns()) {
        let path = ColumnPath::new(vec![field.name().clone()]);
        properties = properties.set_column_dictionary_enabled(path, repeats(column));
    }
    properties.build()
}

/// The form `name version … (build …)` is the one that readers look for when they decide whether
/// statistics can be trusted.
const CREATED_BY: &str = concat!("millrace version ", env!("CARGO_PKG_VERSION"), " (build 0)");

fn saturate(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// Whether values come again often enough for a dictionary to pay: at most half of them are
/// different.
fn repeats(column: &ArrayRef) -> bool {
    let different = match column.data_type() {
        DataType::Utf8 => different(column.as_string::<i32>().iter().flatten()),
        DataType::Int64 => different(column.as_primitive::<Int64Type>().values().iter()),
        DataType::Timestamp(..) => {
            different(column.as_primitive::<TimestampMicrosecondType>().values().iter())
        }
        DataType::Date32 => different(column.as_primitive::<Date32Type>().values().iter()),
        DataType::Int32 => 1,
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            different(values.iter().map(|value| value.to_bits()))
        }
        // There is no dictionary of bits.
        _ => return false,
    };
    different * 2 <= column.len()
}

fn different<T: Eq + Hash>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<HashSet<_>>().len()
}
