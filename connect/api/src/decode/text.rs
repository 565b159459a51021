use super::columns::Columns;
use super::json::is_json;
use super::{TimeFormat, code, excerpt, parse_date, parse_timestamp};
use crate::{Column, DataType, Reject};

/// A column whose values are cut out of a text.
pub(super) struct TextColumn {
    name: String,
    data_type: DataType,
    /// Without one, timestamps are in RFC 3339.
    time: Option<TimeFormat>,
}

/// A value, in the type of its column.
pub(super) enum Value<'a> {
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(&'a str),
    Timestamp(i64),
    Date(i32),
}

impl Value<'_> {
    /// Puts it into the row at hand; false if there is no room for it.
    pub(super) fn put(self, columns: &mut Columns, column: usize) -> bool {
        match self {
            Value::Bool(value) => columns.bool(column, value),
            Value::Int(value) => columns.int(column, value),
            Value::Double(value) => columns.double(column, value),
            Value::Timestamp(micros) => columns.timestamp(column, micros),
            Value::Date(days) => columns.date(column, days),
            Value::Text(text) => {
                return columns.text(column, |bytes| bytes.extend_from_slice(text.as_bytes()));
            }
        }
        true
    }
}

impl TextColumn {
    pub(super) fn new(column: &Column, time: Option<TimeFormat>) -> Self {
        Self { name: column.name.clone(), data_type: column.data_type, time }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn value<'a>(&self, text: &'a str) -> Result<Value<'a>, Reject> {
        self.read(text).ok_or_else(|| self.reject(text))
    }

    fn read<'a>(&self, text: &'a str) -> Option<Value<'a>> {
        Some(match self.data_type {
            DataType::String => Value::Text(text),
            DataType::Json => is_json(text.as_bytes()).then_some(Value::Text(text))?,
            DataType::Bool => Value::Bool(text.parse().ok()?),
            DataType::Int => Value::Int(text.parse().ok()?),
            DataType::Double => Value::Double(double(text)?),
            DataType::Date => Value::Date(parse_date(text).ok()?),
            DataType::Timestamp => Value::Timestamp(match &self.time {
                Some(format) => format.timestamp(text)?,
                None => parse_timestamp(text).ok()?,
            }),
        })
    }

    fn reject(&self, text: &str) -> Reject {
        let what = match self.data_type {
            DataType::Bool => "a bool, `true` or `false`",
            DataType::Int => "an int",
            DataType::Double => "a double",
            DataType::String => "a string",
            DataType::Timestamp => "a timestamp of the expected format",
            DataType::Date => "a date, YYYY-MM-DD",
            DataType::Json => "a value of JSON",
        };
        Reject {
            code: code::VALUE,
            error: format!("{} is not {what}", excerpt(text)),
            field: Some(self.name.clone()),
        }
    }
}

/// A decimal number. Rust also reads `inf` and `nan`, and reads what is too large as infinity.
fn double(text: &str) -> Option<f64> {
    let numeric = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let value: f64 = text.bytes().all(numeric).then(|| text.parse().ok())??;
    value.is_finite().then_some(value)
}
