use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use crate::{Column, DataType};

/// The columns of a batch while its rows come in.
///
/// A row may put a value into each column, in any order and at most one. [`Columns::end_row`]
/// makes the columns it left out null; [`Columns::undo_row`] takes back what a row that turned
/// out to be bad has put so far, and makes the whole row null.
#[derive(Debug)]
pub(super) struct Columns {
    columns: Vec<ColumnBuf>,
    rows: usize,
    /// Values that the row at hand has put.
    put: usize,
}

#[derive(Debug)]
struct ColumnBuf {
    values: Values,
    /// Which values are there, once one is not.
    valid: Option<BooleanBufferBuilder>,
    len: usize,
    /// Bytes of text the last batch had: what to reserve for the next one.
    text_bytes: usize,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBufferBuilder),
    Int(Vec<i64>),
    Double(Vec<f64>),
    Text { ends: Vec<i32>, bytes: Vec<u8> },
    Timestamp(Vec<i64>),
    Date(Vec<i32>),
}

impl Columns {
    pub(super) fn new(columns: &[Column]) -> Self {
        let columns = columns.iter().map(|column| ColumnBuf::new(column.data_type)).collect();
        Self { columns, rows: 0, put: 0 }
    }

    /// Makes room for the rows of a batch.
    pub(super) fn start(&mut self, rows: usize) {
        debug_assert_eq!(self.rows, 0, "the last batch was taken");
        self.columns.iter_mut().for_each(|column| column.reserve(rows));
    }

    /// Ends a row that is good.
    pub(super) fn end_row(&mut self) {
        self.rows += 1;
        if std::mem::take(&mut self.put) == self.columns.len() {
            return;
        }
        for column in &mut self.columns {
            if column.len < self.rows {
                column.push_null();
            }
        }
    }

    /// Ends a row that is bad.
    pub(super) fn undo_row(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(self.rows));
        self.put = 0;
        self.end_row();
    }

    /// Adds null rows until there are `rows`.
    pub(super) fn fill(&mut self, rows: usize) {
        while self.rows < rows {
            self.end_row();
        }
    }

    /// The finished columns.
    pub(super) fn take(&mut self) -> Vec<ArrayRef> {
        self.rows = 0;
        self.columns.iter_mut().map(ColumnBuf::take).collect()
    }

    pub(super) fn bool(&mut self, column: usize, value: bool) {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Bool(values) = &mut column.values else { unreachable!("a column of bool") };
        values.append(value);
        column.added();
    }

    pub(super) fn int(&mut self, column: usize, value: i64) {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Int(values) = &mut column.values else { unreachable!("a column of int") };
        values.push(value);
        column.added();
    }

    pub(super) fn double(&mut self, column: usize, value: f64) {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Double(values) = &mut column.values else { unreachable!("a column of double") };
        values.push(value);
        column.added();
    }

    pub(super) fn timestamp(&mut self, column: usize, micros: i64) {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Timestamp(values) = &mut column.values else {
            unreachable!("a column of timestamp")
        };
        values.push(micros);
        column.added();
    }

    pub(super) fn date(&mut self, column: usize, days: i32) {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Date(values) = &mut column.values else { unreachable!("a column of date") };
        values.push(days);
        column.added();
    }

    /// Adds the text that `write` appends to the bytes it is given. False if the column would
    /// hold more text than an array can (2 GiB); the row must then be undone.
    #[must_use]
    pub(super) fn text(&mut self, column: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        self.put += 1;
        let column = &mut self.columns[column];
        let Values::Text { ends, bytes } = &mut column.values else {
            unreachable!("a column of string")
        };
        write(bytes);
        let Ok(end) = i32::try_from(bytes.len()) else {
            return false;
        };
        ends.push(end);
        column.added();
        true
    }
}

impl ColumnBuf {
    fn new(data_type: DataType) -> Self {
        let values = match data_type {
            DataType::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            DataType::Int => Values::Int(Vec::new()),
            DataType::Double => Values::Double(Vec::new()),
            DataType::String | DataType::Json => Values::Text { ends: vec![0], bytes: Vec::new() },
            DataType::Timestamp => Values::Timestamp(Vec::new()),
            DataType::Date => Values::Date(Vec::new()),
        };
        Self { values, valid: None, len: 0, text_bytes: 0 }
    }

    #[inline]
    fn added(&mut self) {
        self.len += 1;
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    fn push_null(&mut self) {
        match &mut self.values {
            Values::Bool(values) => values.append(false),
            Values::Int(values) | Values::Timestamp(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Text { ends, bytes } => ends.push(bytes.len() as i32),
            Values::Date(values) => values.push(0),
        }
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(self.len + 1);
            valid.append_n(self.len, true);
            valid
        });
        valid.append(false);
        self.len += 1;
    }

    fn truncate(&mut self, len: usize) {
        match &mut self.values {
            Values::Bool(values) => values.truncate(len),
            Values::Int(values) | Values::Timestamp(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Text { ends, bytes } => {
                ends.truncate(len + 1);
                bytes.truncate(ends[len] as usize);
            }
            Values::Date(values) => values.truncate(len),
        }
        if let Some(valid) = &mut self.valid {
            valid.truncate(len);
        }
        self.len = self.len.min(len);
    }

    fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Bool(values) => values.reserve(rows),
            Values::Int(values) | Values::Timestamp(values) => values.reserve_exact(rows),
            Values::Double(values) => values.reserve_exact(rows),
            Values::Text { ends, bytes } => {
                ends.reserve_exact(rows);
                bytes.reserve(self.text_bytes + self.text_bytes / 16);
            }
            Values::Date(values) => values.reserve_exact(rows),
        }
    }

    fn take(&mut self) -> ArrayRef {
        let nulls = self.valid.take().map(|mut valid| NullBuffer::new(valid.finish()));
        self.len = 0;
        match &mut self.values {
            Values::Bool(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => Arc::new(Int64Array::new(take(values), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values), nulls)),
            Values::Timestamp(values) => {
                let array = TimestampMicrosecondArray::new(take(values), nulls);
                Arc::new(array.with_timezone("UTC"))
            }
            Values::Date(values) => Arc::new(Date32Array::new(take(values), nulls)),
            Values::Text { ends, bytes } => {
                self.text_bytes = bytes.len();
                let ends = std::mem::replace(ends, vec![0]);
                let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
                let bytes = Buffer::from_vec(std::mem::take(bytes));
                Arc::new(StringArray::new(ends, bytes, nulls))
            }
        }
    }
}

fn take<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(std::mem::take(values))
}
