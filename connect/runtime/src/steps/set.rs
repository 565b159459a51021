use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::builder::{
    BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use millrace_config::{Pipeline, SetColumn};
use millrace_connect_api::{Batch, DataType, Reject, Selection, Step, StepError};
use millrace_sql_filter::Value;

use super::{EVAL, View, eval_reject};

/// Gives columns values, one after the other.
pub(crate) struct Set {
    name: String,
    pipeline: Arc<Pipeline>,
    columns: Vec<SetColumn>,
}

impl Set {
    pub(crate) fn new(name: String, pipeline: Arc<Pipeline>, columns: Vec<SetColumn>) -> Self {
        Self { name, pipeline, columns }
    }
}

impl Step for Set {
    fn apply(
        &mut self,
        mut batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        for column in &self.columns {
            let rejects_before = rejects.len();
            let built = {
                let view = View::new(&batch, &column.value.slots, &self.pipeline.schema)
                    .map_err(|reason| StepError { step: self.name.clone(), reason })?;
                build(column, &batch, &view, rejects)
            };
            let refused = &rejects[rejects_before..];
            if !refused.is_empty() {
                // Both are in the order of the rows.
                let mut refused = refused.iter().map(|(row, _)| *row as usize).peekable();
                let kept = batch.selection().iter().filter(|row| refused.next_if_eq(row).is_none());
                let kept: Vec<u32> = kept.map(|row| row as u32).collect();
                batch = batch.with_selection(Selection::Rows(kept.into()));
            }
            batch = batch.with_column(column.name.as_str().into(), built);
        }
        Ok(batch)
    }
}

/// The column, null wherever a row is not selected or has no value.
fn build(
    column: &SetColumn,
    batch: &Batch,
    view: &View<'_>,
    rejects: &mut Vec<(u32, Reject)>,
) -> ArrayRef {
    let mut values = Values::new(column.data_type, batch.messages().len());
    for row in batch.selection().iter() {
        values.fill(row);
        let refused = match column.value.expr.evaluate(&view.row(row)) {
            Ok(value) => match values.push(value) {
                Ok(()) => continue,
                Err(error) => {
                    let error = format!("`{}`: {error}", column.value.text);
                    Reject { code: EVAL, error, field: None }
                }
            },
            Err(error) => eval_reject(&column.value.text, &error),
        };
        let field = Some(column.name.clone());
        rejects.push((row as u32, Reject { field, ..refused }));
    }
    values.fill(batch.messages().len());
    values.finish()
}

struct Values {
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
    fn new(data_type: DataType, rows: usize) -> Self {
        let builder = match data_type {
            DataType::Bool => Builder::Bool(BooleanBuilder::with_capacity(rows)),
            DataType::Int => Builder::Int(Int64Builder::with_capacity(rows)),
            DataType::Double => Builder::Double(Float64Builder::with_capacity(rows)),
            DataType::String => Builder::Text(StringBuilder::with_capacity(rows, 16 * rows)),
            DataType::Timestamp => {
                let builder = TimestampMicrosecondBuilder::with_capacity(rows);
                Builder::Timestamp(builder.with_data_type(data_type.to_arrow()))
            }
            DataType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
        };
        Self { len: 0, builder }
    }

    /// Nulls up to row number `to`.
    fn fill(&mut self, to: usize) {
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
    fn push(&mut self, value: Value<'_>) -> Result<(), String> {
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

    fn finish(self) -> ArrayRef {
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
