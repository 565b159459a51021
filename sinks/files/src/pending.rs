//! Rows that wait until there are enough of them to encode.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int32Builder, Int64Builder, PrimitiveBuilder,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch};
use arrow_schema::{DataType, SchemaRef, TimeUnit};

/// Rows copied out of batches, so that no batch stays in memory for the sake of a few of its rows.
#[derive(Debug)]
pub(crate) struct Pending {
    schema: SchemaRef,
    columns: Vec<Column>,
    len: usize,
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
    pub(crate) fn new(schema: &SchemaRef) -> Self {
        let columns = schema.fields().iter().map(|field| Column::new(field.data_type()));
        Self { columns: columns.collect(), schema: Arc::clone(schema), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies some rows of a batch, whose columns are those of the schema in order.
    pub(crate) fn append(&mut self, columns: &[ArrayRef], rows: &[u32]) {
        for (column, from) in self.columns.iter_mut().zip(columns) {
            column.append(from, rows);
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
            DataType::Boolean => Column::Bool(BooleanBuilder::new()),
            DataType::Int32 => Column::Int32(Int32Builder::new()),
            DataType::Int64 => Column::Int(Int64Builder::new()),
            DataType::Float64 => Column::Double(Float64Builder::new()),
            DataType::Utf8 => Column::Text(StringBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Column::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
            ),
            DataType::Date32 => Column::Date(Date32Builder::new()),
            other => unreachable!("no column of a pipeline is of type {other}"),
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
            Column::Text(column) => column.values_slice().len() + column.offsets_slice().len() * 4,
            Column::Timestamp(column) => column.capacity() * 8,
            Column::Date(column) => column.capacity() * 4,
        }
    }
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
