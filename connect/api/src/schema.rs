use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType as Arrow, Field, Schema as ArrowSchema, TimeUnit};

/// The column types of pipelines: a subset of Arrow's with one spelling each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// `bool`
    Bool,
    /// `int`: 64 bits, signed.
    Int,
    /// `double`: 64 bits.
    Double,
    /// `string`: UTF-8.
    String,
    /// `timestamp`: microseconds since the Unix epoch, UTC.
    Timestamp,
    /// `date`: days since the Unix epoch.
    Date,
    /// `json`: any value of JSON, as it is written.
    Json,
}

/// A named, typed column. Every column may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in files and expressions; a path such as `user.id` reads a nested field.
    pub name: String,
    /// Type.
    pub data_type: DataType,
}

/// Columns in the order in which files have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    /// The columns.
    pub columns: Vec<Column>,
}

impl DataType {
    /// The names by which YAML knows the types.
    pub const NAMES: [(&'static str, DataType); 7] = [
        ("bool", DataType::Bool),
        ("int", DataType::Int),
        ("double", DataType::Double),
        ("string", DataType::String),
        ("timestamp", DataType::Timestamp),
        ("date", DataType::Date),
        ("json", DataType::Json),
    ];

    /// The Arrow type in which such a column is held.
    pub fn to_arrow(self) -> Arrow {
        match self {
            DataType::Bool => Arrow::Boolean,
            DataType::Int => Arrow::Int64,
            DataType::Double => Arrow::Float64,
            DataType::String | DataType::Json => Arrow::Utf8,
            DataType::Timestamp => Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            DataType::Date => Arrow::Date32,
        }
    }
}

impl Schema {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// The same rows with `+00:00` for `UTC` where a column is of timestamps, for whoever writes them as
/// text: without its table of time zones, arrow knows offsets only.
pub fn utc_as_offset(rows: &RecordBatch) -> RecordBatch {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| {
        let column: ArrayRef = match column.as_primitive_opt::<TimestampMicrosecondType>() {
            Some(times) => Arc::new(times.clone().with_timezone("+00:00")),
            None => Arc::clone(column),
        };
        (Field::new(field.name(), column.data_type().clone(), field.is_nullable()), column)
    });
    let (fields, columns): (Vec<_>, Vec<_>) = columns.unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)
        .expect("the columns of a batch, each with the type of its field")
}
