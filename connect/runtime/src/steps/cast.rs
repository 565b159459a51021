use arrow_array::ArrayRef;
use millrace_config::{CastColumn, Slot};
use millrace_connect_api::decode::TimeFormat;
use millrace_connect_api::{Batch, DataType, Reject, RejectCode, Schema, Step, StepError};
use millrace_sql_filter::{Row, Type, Value, time};

use super::values::Values;
use super::{View, without};
use crate::error::RunError;

/// A value that the new type of its column cannot hold.
const CAST: RejectCode = "E-CAST-01";

/// Gives columns other types.
pub(crate) struct Cast {
    name: String,
    columns: Vec<Of>,
}

/// One column.
struct Of {
    spec: CastColumn,
    slot: [Slot; 1],
    format: Option<TimeFormat>,
}

impl Cast {
    pub(crate) fn new(name: String, columns: &[CastColumn]) -> Result<Self, RunError> {
        let of = |spec: &CastColumn| {
            let format = spec.format.as_deref().map(TimeFormat::parse).transpose();
            let format = format
                .map_err(|error| RunError::Setup(format!("{name}: {}: {error}", spec.name)))?;
            // Columns of the body are found by their names as well.
            let slot = [Slot::Set(spec.name.clone())];
            Ok(Of { spec: spec.clone(), slot, format })
        };
        let columns = columns.iter().map(of).collect::<Result<_, RunError>>()?;
        Ok(Self { name, columns })
    }
}

impl Step for Cast {
    fn apply(
        &mut self,
        mut batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let no_body = Schema { columns: Vec::new() };
        for of in &self.columns {
            let before = rejects.len();
            let column = {
                let view = View::new(&batch, &of.slot, &no_body)
                    .map_err(|reason| StepError::Failed { step: self.name.clone(), reason })?;
                of.build(&batch, &view, rejects)
            };
            batch = without(batch, rejects, before);
            batch = batch.with_column(of.spec.name.as_str().into(), column);
        }
        Ok(batch)
    }
}

impl Of {
    /// The column, null wherever a row is not selected or has no value.
    fn build(&self, batch: &Batch, view: &View<'_>, rejects: &mut Vec<(u32, Reject)>) -> ArrayRef {
        let mut values = Values::new(self.spec.to, batch.messages().len());
        for row in batch.selection().iter() {
            values.fill(row);
            let cast = self.cast(view.row(row).value(0));
            if let Err(error) = cast.and_then(|value| values.push(value)) {
                let field = Some(self.spec.name.clone());
                rejects.push((row as u32, Reject { code: CAST, error, field }));
            }
        }
        values.fill(batch.messages().len());
        values.finish()
    }

    fn cast<'a>(&self, value: Value<'a>) -> Result<Value<'a>, String> {
        if let (Value::Text(text), Some(null)) = (&value, &self.spec.null)
            && text == null
        {
            return Ok(Value::Null);
        }
        if let (Some(format), false) = (&self.format, value == Value::Null) {
            let text = value.to_string();
            let micros = format.timestamp(&text).ok_or_else(|| {
                let format = self.spec.format.as_deref().unwrap_or_default();
                format!("`{}` is not a time of the format `{format}`", shortened(&text))
            })?;
            return Ok(match self.spec.to {
                DataType::Date => Value::Date(time::date_of(micros)),
                _ => Value::Timestamp(micros),
            });
        }
        let to = match (self.spec.to, &value) {
            (DataType::Int, Value::Double(double)) if double.fract() != 0.0 => {
                return Err(format!("{double} has a fraction, which an int would lose"));
            }
            // The column takes it if it is exact.
            (DataType::Double, Value::Int(_)) => return Ok(value),
            (DataType::Bool, _) => Type::Bool,
            (DataType::Int, _) => Type::Int,
            (DataType::Double, _) => Type::Double,
            (DataType::String | DataType::Json, _) => Type::Text,
            (DataType::Timestamp, _) => Type::Timestamp,
            (DataType::Date, _) => Type::Date,
        };
        value.cast(to).map_err(|error| error.to_string())
    }
}

/// The start of a text, short enough for an error.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}
