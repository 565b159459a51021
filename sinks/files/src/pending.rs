//! Rows that wait until there are enough of them to encode.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, PrimitiveBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch, StringArray};
use arrow_schema::{DataType, SchemaRef, TimeUnit};

/// Rows given to the encoder at once, in a sink as users have it. Always so many, whatever the size
/// of the batches they came in, because page ends depend on it: so the same rows give the same
/// bytes.
pub(crate) const CHUNK_ROWS: usize = 2048;

/// Fewer rows are a chunk if they have so much text: long rows should not pile up in memory.
const CHUNK_TEXT_BYTES: usize = 4 << 20;

/// Rows copied out of batches, so that no batch stays in memory for the sake of a few of its rows.
#[derive(Debug)]
pub(crate) struct Pending {
    schema: SchemaRef,
    columns: Vec<Column>,
    len: usize,
    chunk_rows: usize,
}

#[derive(Debug)]
enum Column {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
}

impl Pending {
    pub(crate) fn new(schema: &SchemaRef, chunk_rows: usize) -> Self {
        let columns = schema.fields().iter().map(|field| Column::new(field.data_type()));
        Self { columns: columns.collect(), schema: Arc::clone(schema), len: 0, chunk_rows }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether these are rows enough to encode.
    pub(crate) fn is_chunk(&self) -> bool {
        self.len == self.chunk_rows || self.text_bytes() >= CHUNK_TEXT_BYTES
    }

    /// How many of these rows belong to the same chunk as those that are here. Depends on nothing
    /// but the rows, so that chunks end at the same rows whatever the batches.
    pub(crate) fn room(&self, columns: &[ArrayRef], rows: &[u32]) -> usize {
        let rows = &rows[..rows.len().min(self.chunk_rows - self.len)];
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return 0 };
        let texts = || columns.iter().filter_map(|column| column.as_string_opt::<i32>());
        let bytes_of = |text: &StringArray, first: u32, last: u32| {
            let offsets = text.value_offsets();
            (offsets[last as usize + 1] - offsets[first as usize]) as usize
        };
        let mut bytes = self.text_bytes();
        // With all rows in between counted it may be too much, but hardly ever is.
        let at_most: usize = texts().map(|text| bytes_of(text, *first, *last)).sum();
        if bytes + at_most < CHUNK_TEXT_BYTES {
            return rows.len();
        }
        let last_that_fits = rows.iter().position(|row| {
            bytes += texts().map(|text| bytes_of(text, *row, *row)).sum::<usize>();
            bytes >= CHUNK_TEXT_BYTES
        });
        last_that_fits.map_or(rows.len(), |last| last + 1)
    }

    fn text_bytes(&self) -> usize {
        let bytes = |column: &Column| match column {
            Column::Text(column) => column.values_slice().len(),
            _ => 0,
        };
        self.columns.iter().map(bytes).sum()
    }

    /// Copies some rows of a batch, whose columns are those of the schema in order.
    pub(crate) fn append(&mut self, columns: &[ArrayRef], rows: &[u32]) {
        let in_one_piece = one_piece(rows);
        for (column, from) in self.columns.iter_mut().zip(columns) {
            match &in_one_piece {
                Some(piece) => column.append_all(&from.slice(piece.start, piece.len())),
                None => column.append(from, rows),
            }
        }
        self.len += rows.len();
    }

    /// Takes all rows out.
    pub(crate) fn take(&mut self) -> RecordBatch {
        self.len = 0;
        let columns = self.columns.iter_mut().map(Column::take).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .expect("each builder is of its field's type and got every row")
    }

    /// Memory the rows take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.columns.iter().map(Column::memory_bytes).sum()
    }
}

impl Column {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Column::Bool(BooleanBuilder::with_capacity(0)),
            DataType::Int32 => Column::Int32(Int32Builder::with_capacity(0)),
            DataType::Int64 => Column::Int(Int64Builder::with_capacity(0)),
            DataType::Float64 => Column::Double(Float64Builder::with_capacity(0)),
            DataType::Utf8 => Column::Text(StringBuilder::with_capacity(0, 0)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Column::Timestamp(
                TimestampMicrosecondBuilder::with_capacity(0).with_data_type(data_type.clone()),
            ),
            DataType::Date32 => Column::Date(Date32Builder::with_capacity(0)),
            other => unreachable!("no column of a pipeline is of type {other}"),
        }
    }

    fn append_all(&mut self, from: &ArrayRef) {
        match self {
            Column::Bool(to) => to.append_array(from.as_boolean()),
            Column::Int32(to) => to.append_array(from.as_primitive()),
            Column::Int(to) => to.append_array(from.as_primitive()),
            Column::Double(to) => to.append_array(from.as_primitive()),
            Column::Timestamp(to) => to.append_array(from.as_primitive()),
            Column::Date(to) => to.append_array(from.as_primitive()),
            Column::Text(to) => to
                .append_array(from.as_string::<i32>())
                .expect("a chunk of rows is far from 2 GiB of text"),
        }
    }

    fn append(&mut self, from: &ArrayRef, rows: &[u32]) {
        match self {
            Column::Bool(to) => {
                let from = from.as_boolean();
                for row in rows.iter().map(|row| *row as usize) {
                    to.append_option(from.is_valid(row).then(|| from.value(row)));
                }
            }
            Column::Text(to) => {
                let from = from.as_string::<i32>();
                for row in rows.iter().map(|row| *row as usize) {
                    to.append_option(from.is_valid(row).then(|| from.value(row)));
                }
            }
            Column::Int32(to) => append::<Int32Type>(to, from, rows),
            Column::Int(to) => append::<Int64Type>(to, from, rows),
            Column::Double(to) => append::<Float64Type>(to, from, rows),
            Column::Timestamp(to) => append::<TimestampMicrosecondType>(to, from, rows),
            Column::Date(to) => append::<Date32Type>(to, from, rows),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Column::Bool(column) => Arc::new(column.finish()),
            Column::Int32(column) => Arc::new(column.finish()),
            Column::Int(column) => Arc::new(column.finish()),
            Column::Double(column) => Arc::new(column.finish()),
            Column::Text(column) => Arc::new(column.finish()),
            Column::Timestamp(column) => Arc::new(column.finish()),
            Column::Date(column) => Arc::new(column.finish()),
        }
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Column::Bool(column) => column.capacity() / 8,
            Column::Int32(column) => column.capacity() * 4,
            Column::Int(column) => column.capacity() * 8,
            Column::Double(column) => column.capacity() * 8,
            // Their capacity is not told; it is up to twice this.
            Column::Text(column) => {
                (column.values_slice().len() + column.offsets_slice().len() * 4) * 3 / 2
            }
            Column::Timestamp(column) => column.capacity() * 8,
            Column::Date(column) => column.capacity() * 4,
        }
    }
}

/// The rows as a range, if they follow each other.
pub(crate) fn one_piece(rows: &[u32]) -> Option<Range<usize>> {
    let (first, last) = (*rows.first()? as usize, *rows.last()? as usize);
    (last - first + 1 == rows.len()).then_some(first..last + 1)
}

fn append<T: ArrowPrimitiveType>(to: &mut PrimitiveBuilder<T>, from: &ArrayRef, rows: &[u32]) {
    let from = from.as_primitive::<T>();
    let values = from.values();
    match from.nulls() {
        None => rows.iter().for_each(|row| to.append_value(values[*row as usize])),
        Some(nulls) => {
            for row in rows.iter().map(|row| *row as usize) {
                to.append_option(nulls.is_valid(row).then(|| values[row]));
            }
        }
    }
}
