use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use millrace_connect_api::{Batch, Reject};
use tantivy::schema::{Field, OwnedValue};
use tantivy::{DateTime, TantivyDocument};

use crate::error::BatchError;
use crate::mapping::{FieldKind, Fields, Mapping};

/// The columns of a batch that become fields.
pub(crate) struct Rows<'a> {
    mapping: &'a Mapping,
    fields: &'a Fields,
    queue: &'a str,
    columns: Vec<Values<'a>>,
    /// Which of them says how old a document is.
    time: Option<usize>,
}

/// A column, as its field takes it.
enum Values<'a> {
    Text(&'a StringArray),
    Keyword(&'a StringArray),
    Json(&'a StringArray),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
    IntAsDouble(&'a Int64Array),
    Bool(&'a BooleanArray),
    Timestamp(&'a TimestampMicrosecondArray),
    Date(&'a Date32Array),
}

/// A document that can be added.
pub(crate) struct Made {
    pub(crate) document: TantivyDocument,
    /// How old it is, microseconds.
    pub(crate) at_micros: i64,
}

/// The code of a value that an index cannot hold.
const REFUSED: &str = "E-INDEX-01";

/// Tantivy passes over longer terms without a word; it counts a few bytes of its own.
const KEYWORD_BYTES_MAX: usize = 65_000;

/// Instants are counted in nanoseconds of 64 bits.
const MICROS_MAX: i64 = i64::MAX / 1000;

const DAY_MICROS: i64 = 86_400_000_000;

impl<'a> Rows<'a> {
    pub(crate) fn new(
        mapping: &'a Mapping,
        fields: &'a Fields,
        queue: &'a str,
        batch: &'a Batch,
    ) -> Result<Self, BatchError> {
        let column = |(name, kind): (&String, FieldKind)| {
            let missing = || BatchError::MissingColumn { name: name.clone() };
            Values::new(name, kind, batch.column(name).ok_or_else(missing)?)
        };
        let columns = mapping.fields.iter().map(|field| column((&field.name, field.kind)));
        let columns = columns.collect::<Result<_, _>>()?;
        let is_time = |name: &String| mapping.fields.iter().position(|field| field.name == *name);
        let time = mapping.time.as_ref().and_then(is_time);
        Ok(Self { mapping, fields, queue, columns, time })
    }

    /// The document of a row.
    pub(crate) fn make(&self, row: usize, offset: u64, stored_ms: i64) -> Result<Made, Reject> {
        let stored = stored_ms.saturating_mul(1000).clamp(-MICROS_MAX, MICROS_MAX);
        let mut at_micros = stored;
        let mut document = TantivyDocument::with_capacity(512);
        for (index, values) in self.columns.iter().enumerate() {
            if values.as_array().is_null(row) {
                continue;
            }
            let field = self.fields.mapped[index];
            let instant = values.add_to(&mut document, field, row).map_err(|error| Reject {
                code: REFUSED,
                error,
                field: Some(self.mapping.fields[index].name.clone()),
            })?;
            if let Some(instant) = instant.filter(|_| self.time == Some(index)) {
                at_micros = instant;
            }
        }
        document.add_text(self.fields.queue, self.queue);
        document.add_u64(self.fields.offset, offset);
        document.add_date(self.fields.store_time, DateTime::from_timestamp_micros(stored));
        Ok(Made { document, at_micros })
    }
}

impl<'a> Values<'a> {
    fn new(name: &str, kind: FieldKind, column: &'a ArrayRef) -> Result<Self, BatchError> {
        let text = || column.as_string_opt::<i32>();
        let int = || column.as_primitive_opt::<Int64Type>();
        let found = match kind {
            FieldKind::Text => text().map(Values::Text),
            FieldKind::Keyword => text().map(Values::Keyword),
            FieldKind::Json => text().map(Values::Json),
            FieldKind::Int => int().map(Values::Int),
            FieldKind::Double => match column.as_primitive_opt::<Float64Type>() {
                Some(values) => Some(Values::Double(values)),
                None => int().map(Values::IntAsDouble),
            },
            FieldKind::Bool => column.as_boolean_opt().map(Values::Bool),
            FieldKind::Timestamp => match column.as_primitive_opt::<TimestampMicrosecondType>() {
                Some(values) => Some(Values::Timestamp(values)),
                None => column.as_primitive_opt::<Date32Type>().map(Values::Date),
            },
        };
        found.ok_or_else(|| BatchError::ColumnType {
            name: name.to_owned(),
            found: column.data_type().to_string(),
            kind: kind.name(),
        })
    }

    fn as_array(&self) -> &dyn Array {
        match self {
            Values::Text(values) | Values::Keyword(values) | Values::Json(values) => *values,
            Values::Int(values) | Values::IntAsDouble(values) => *values,
            Values::Double(values) => *values,
            Values::Bool(values) => *values,
            Values::Timestamp(values) => *values,
            Values::Date(values) => *values,
        }
    }

    /// Adds the value of a row; if it is an instant, that is the answer, in microseconds.
    fn add_to(
        &self,
        document: &mut TantivyDocument,
        field: Field,
        row: usize,
    ) -> Result<Option<i64>, String> {
        match self {
            Values::Text(values) => document.add_text(field, values.value(row)),
            Values::Keyword(values) => {
                let text = values.value(row);
                if text.len() > KEYWORD_BYTES_MAX {
                    let len = text.len();
                    return Err(format!(
                        "a keyword has at most {KEYWORD_BYTES_MAX} bytes, and this one has {len}"
                    ));
                }
                document.add_text(field, text);
            }
            Values::Json(values) => {
                let parsed: serde_json::Value = serde_json::from_str(values.value(row))
                    .map_err(|error| format!("it is not JSON: {error}"))?;
                let serde_json::Value::Object(map) = parsed else {
                    return Err("it is JSON, but not an object".to_owned());
                };
                let object = map.into_iter().map(|(name, value)| (name, owned(value))).collect();
                document.add_field_value(field, &OwnedValue::Object(object));
            }
            Values::Int(values) => document.add_i64(field, values.value(row)),
            Values::IntAsDouble(values) => document.add_f64(field, values.value(row) as f64),
            Values::Double(values) => {
                // No number is no value: nothing is less or greater than it.
                if !values.value(row).is_nan() {
                    document.add_f64(field, values.value(row));
                }
            }
            Values::Bool(values) => document.add_bool(field, values.value(row)),
            Values::Timestamp(values) => return instant(document, field, values.value(row)),
            Values::Date(values) => {
                return instant(document, field, i64::from(values.value(row)) * DAY_MICROS);
            }
        }
        Ok(None)
    }
}

/// A value of JSON as it is. Tantivy's own way would take texts that look like an instant for one,
/// and show them in another spelling.
fn owned(value: serde_json::Value) -> OwnedValue {
    use serde_json::Value;
    match value {
        Value::Null => OwnedValue::Null,
        Value::Bool(value) => OwnedValue::Bool(value),
        Value::String(text) => OwnedValue::Str(text),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => OwnedValue::I64(value),
            (None, Some(value)) => OwnedValue::U64(value),
            (None, None) => number.as_f64().map_or(OwnedValue::Null, OwnedValue::F64),
        },
        Value::Array(values) => OwnedValue::Array(values.into_iter().map(owned).collect()),
        Value::Object(map) => {
            OwnedValue::Object(map.into_iter().map(|(name, value)| (name, owned(value))).collect())
        }
    }
}

fn instant(
    document: &mut TantivyDocument,
    field: Field,
    micros: i64,
) -> Result<Option<i64>, String> {
    if !(-MICROS_MAX..=MICROS_MAX).contains(&micros) {
        return Err("an index has instants from 1677 to 2262 only".to_owned());
    }
    document.add_date(field, DateTime::from_timestamp_micros(micros));
    Ok(Some(micros))
}

/// The name of a queue in documents.
pub(crate) fn queue_name(queue: &millrace_connect_api::QueueRef) -> Arc<str> {
    queue.to_string().into()
}
