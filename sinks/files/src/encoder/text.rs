//! Rows into a file of lines.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_json::writer::LineDelimited;
use arrow_schema::ArrowError;
use millrace_connect_api::utc_as_offset;
use millrace_disk::Disk;

use super::Encoder;
use crate::error::{At, FileSinkError};
use crate::gzip;
use crate::options::{CsvFormat, TextCompression};
use crate::part_file::{Finished, PartFile};

/// A file being written. Every chunk is compressed by itself, and the file is one such piece after
/// the other: a gzip file of several members, a zstd file of several frames. So nothing of a chunk
/// is in memory once it is written.
pub(super) struct TextEncoder {
    file: PartFile,
    lines: Lines,
    compression: TextCompression,
}

/// What a line is.
pub(super) enum Lines {
    /// An object.
    Json,
    /// Fields.
    Csv(CsvFormat),
}

impl TextEncoder {
    /// Creates the file.
    pub(super) fn create(
        disk: &Arc<dyn Disk>,
        path: &Path,
        lines: Lines,
        compression: TextCompression,
    ) -> Result<Self, FileSinkError> {
        Ok(Self { file: PartFile::create(disk, path).at(path)?, lines, compression })
    }
}

impl Encoder for TextEncoder {
    fn write(&mut self, rows: &RecordBatch) -> Result<(), FileSinkError> {
        let begins = self.file.bytes() == 0;
        let text = self.lines.of(rows, begins).at(self.file.path())?;
        let written =
            compressed(&text, self.compression).and_then(|bytes| self.file.write_all(&bytes));
        written.at(self.file.path())
    }

    fn spill(&mut self) -> Result<(), FileSinkError> {
        Ok(())
    }

    fn park(&mut self) -> Result<(), FileSinkError> {
        let parked = self.file.park();
        parked.at(self.file.path())
    }

    fn is_parked(&self) -> bool {
        self.file.is_parked()
    }

    fn finish(
        self: Box<Self>,
        _metadata: Vec<(&'static str, String)>,
    ) -> Result<Finished, FileSinkError> {
        let path = self.file.path().to_owned();
        self.file.finish().at(&path)
    }

    fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    fn spillable_bytes(&self) -> usize {
        0
    }

    fn kept_bytes(&self) -> usize {
        0
    }
}

impl Lines {
    /// A chunk of rows as text. A file `begins` with its first chunk.
    fn of(&self, rows: &RecordBatch, begins: bool) -> Result<Vec<u8>, ArrowError> {
        let rows = utc_as_offset(rows);
        match self {
            Lines::Json => json_lines(&rows),
            Lines::Csv(format) => csv_lines(&rows, format, begins && format.header),
        }
    }
}

/// One object per row, with every column in each.
fn json_lines(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let builder = arrow_json::WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn csv_lines(rows: &RecordBatch, format: &CsvFormat, header: bool) -> Result<Vec<u8>, ArrowError> {
    let mut writer = arrow_csv::WriterBuilder::new()
        .with_header(header)
        .with_delimiter(format.delimiter)
        .with_quote(format.quote)
        .with_null(format.null.clone())
        .build(Vec::new());
    writer.write(rows)?;
    Ok(writer.into_inner())
}

const ZSTD_LEVEL: i32 = 3;

fn compressed(text: &[u8], compression: TextCompression) -> io::Result<Cow<'_, [u8]>> {
    match compression {
        TextCompression::None => Ok(Cow::Borrowed(text)),
        TextCompression::Gzip => Ok(Cow::Owned(gzip::member(text))),
        TextCompression::Zstd => zstd::bulk::compress(text, ZSTD_LEVEL).map(Cow::Owned),
    }
}
