use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use millrace_connect_api::DataType;
use millrace_sql_filter::Value;

/// Values of one type, each for the next row.
pub(crate) struct Values {
    len: usize,
    builder: Builder,
}

enum Builder {
    Bool(BooleanBuilder),
    Int(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
}

impl Values {
    pub(crate) fn new(data_type: DataType, rows: usize) -> Self {
        let builder = match data_type {
            DataType::Bool => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int => Builder::Int(Int64Builder::with_capacity(rows)),
            DataType::Double => Builder::Double(Float64Builder::with_capacity(rows)),
            DataType::String | DataType::Json => {
                Builder::Text(StringBuilder::with_capacity(rows, 16 * rows))
            }
            DataType::Timestamp => {
                let builder = TimestampMicrosecondBuilder::with_capacity(rows);
                Builder::Timestamp(builder.with_data_type(data_type.to_arrow()))
            }
            DataType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
        };
        Self { len: 0, builder }
    }

    /// Nulls up to row number `to`.
    pub(crate) fn fill(&mut self, to: usize) {
        while self.len < to {
            self.null();
        }
    }

    fn null(&mut self) {
        self.len += 1;
        match &mut self.builder {
            Builder::Bool(builder) => builder.append_null(),
            Builder::Int(builder) => builder.append_null(),
            Builder::Double(builder) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
        }
    }

    /// The next row's value. If it is of another type, nothing is added.
    pub(crate) fn push(&mut self, value: Value<'_>) -> Result<(), String> {
        match (&mut self.builder, value) {
            (_, Value::Null) => {
                self.null();
                return Ok(());
            }
            (Builder::Bool(builder), Value::Bool(value)) => builder.append_value(value),
            (Builder::Int(builder), Value::Int(value)) => builder.append_value(value),
            (Builder::Double(builder), Value::Double(value)) => builder.append_value(value),
            (Builder::Double(builder), Value::Int(value)) => {
                let double = value as f64;
                if double as i128 != i128::from(value) {
                    return Err(format!("{value} is not exact as a double"));
                }
                builder.append_value(double);
            }
            (Builder::Text(builder), Value::Text(value)) => builder.append_value(value),
            (Builder::Timestamp(builder), Value::Timestamp(value)) => builder.append_value(value),
            (Builder::Date(builder), Value::Date(value)) => builder.append_value(value),
            (_, value) => return Err(format!("{value} is not of the column's type")),
        }
        self.len += 1;
        Ok(())
    }

    pub(crate) fn finish(self) -> ArrayRef {
        match self.builder {
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Int(mut builder) => Arc::new(builder.finish()),
            Builder::Double(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
            Builder::Timestamp(mut builder) => Arc::new(builder.finish()),
            Builder::Date(mut builder) => Arc::new(builder.finish()),
        }
    }
}
