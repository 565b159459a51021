use std::borrow::Cow;
use std::cell::RefCell;
use std::net::IpAddr;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use millrace_config::{MetaField, Slot};
use millrace_connect_api::decode::{parse_date, parse_timestamp};
use millrace_connect_api::{Batch, DataType, Messages, Schema};
use millrace_sql_filter::{Row, Value};
use millrace_types::{Found, PropertyNames, keys};

/// What an expression reads, for all rows of a batch.
pub(crate) struct View<'b> {
    messages: &'b Messages,
    cells: Vec<Cell<'b>>,
    names: PropertyNames,
    read: RefCell<Read<'b>>,
}

/// The properties of the row that was asked for one last: an expression that asks for several, or
/// for one twice, has them found at once.
#[derive(Default)]
struct Read<'b> {
    row: Option<usize>,
    found: Found<'b>,
}

/// One row of a [`View`].
pub(crate) struct RowOf<'v, 'b> {
    view: &'v View<'b>,
    row: usize,
}

enum Cell<'b> {
    Bool(&'b BooleanArray),
    Int(&'b Int64Array),
    Double(&'b Float64Array),
    Text(&'b StringArray),
    Timestamp(&'b TimestampMicrosecondArray),
    Date(&'b Date32Array),
    /// The place of its name among those that are looked for.
    Property(usize, DataType),
    Meta(MetaField),
}

impl<'b> View<'b> {
    /// Finds the columns that `slots` name. An error names the column that is not there, or is of
    /// a type that no column has.
    pub(crate) fn new(
        batch: &'b Batch,
        slots: &'b [Slot],
        schema: &'b Schema,
    ) -> Result<Self, String> {
        let column = |name: &str| {
            let column = batch.column(name).ok_or_else(|| format!("no column `{name}`"))?;
            Cell::of(column)
                .ok_or_else(|| format!("column `{name}` is of the type {}", column.data_type()))
        };
        let mut names = Vec::new();
        let cells = slots.iter().map(|slot| match slot {
            Slot::Body(index) => match schema.columns.get(*index) {
                Some(known) => column(&known.name),
                None => Err(format!("no body column number {index}")),
            },
            Slot::Set(name) => column(name),
            Slot::Property { name, data_type } => {
                names.push(name.as_str());
                Ok(Cell::Property(names.len() - 1, *data_type))
            }
            Slot::Meta(field) => Ok(Cell::Meta(*field)),
        });
        let cells = cells.collect::<Result<_, _>>()?;
        let names = PropertyNames::new(names);
        Ok(Self { messages: batch.messages(), cells, names, read: RefCell::default() })
    }

    pub(crate) fn row(&self, row: usize) -> RowOf<'_, 'b> {
        RowOf { view: self, row }
    }

    fn property(&self, row: usize, place: usize) -> Option<&'b str> {
        let mut read = self.read.borrow_mut();
        if read.row != Some(row) {
            self.names.find(self.messages.get(row).properties, &mut read.found);
            read.row = Some(row);
        }
        read.found.get(place)
    }
}

impl<'b> Cell<'b> {
    fn of(column: &'b ArrayRef) -> Option<Self> {
        let any = column.as_ref();
        None.or_else(|| any.as_boolean_opt().map(Cell::Bool))
            .or_else(|| any.as_primitive_opt::<Int64Type>().map(Cell::Int))
            .or_else(|| any.as_primitive_opt::<Float64Type>().map(Cell::Double))
            .or_else(|| any.as_string_opt::<i32>().map(Cell::Text))
            .or_else(|| any.as_primitive_opt::<TimestampMicrosecondType>().map(Cell::Timestamp))
            .or_else(|| any.as_primitive_opt::<Date32Type>().map(Cell::Date))
    }
}

impl<'b> Row<'b> for RowOf<'_, 'b> {
    fn value(&self, slot: usize) -> Value<'b> {
        let row = self.row;
        let Some(cell) = self.view.cells.get(slot) else { return Value::Null };
        match *cell {
            Cell::Bool(column) => value(column, row, |row| Value::Bool(column.value(row))),
            Cell::Int(column) => value(column, row, |row| Value::Int(column.value(row))),
            Cell::Double(column) => value(column, row, |row| Value::Double(column.value(row))),
            Cell::Text(column) => value(column, row, |row| Value::text(column.value(row))),
            Cell::Timestamp(column) => {
                value(column, row, |row| Value::Timestamp(column.value(row)))
            }
            Cell::Date(column) => value(column, row, |row| Value::Date(column.value(row))),
            Cell::Property(place, data_type) => {
                let text = self.view.property(row, place);
                text.map_or(Value::Null, |text| property(text, data_type))
            }
            Cell::Meta(field) => meta(self.view.messages, row, field),
        }
    }
}

fn value<'b>(column: &dyn Array, row: usize, get: impl FnOnce(usize) -> Value<'b>) -> Value<'b> {
    if column.is_null(row) { Value::Null } else { get(row) }
}

/// A property's text as the type it was promoted from. Anybody can write a property, so one that
/// is not of its type is as if it were missing.
fn property(text: &str, data_type: DataType) -> Value<'_> {
    let value = match data_type {
        DataType::String | DataType::Json => Some(Value::text(text)),
        DataType::Bool => text.parse().ok().map(Value::Bool),
        DataType::Int => text.parse().ok().map(Value::Int),
        DataType::Double => text.parse().ok().map(Value::Double),
        DataType::Timestamp => parse_timestamp(text).ok().map(Value::Timestamp),
        DataType::Date => parse_date(text).ok().map(Value::Date),
    };
    value.unwrap_or(Value::Null)
}

fn meta(messages: &Messages, row: usize, field: MetaField) -> Value<'_> {
    let message = messages.get(row);
    let text = |text: Option<_>| text.map_or(Value::Null, Value::text);
    match field {
        MetaField::MessageId => {
            let own = message.properties.get(keys::UNIQ_KEY).map(Cow::Borrowed);
            let id = own.or_else(|| offset_id(messages, row).map(Cow::Owned));
            let id = id.map(|id| match message.index {
                None => id,
                // The pieces of a message must not take each other's place where ids are unique.
                Some(index) => Cow::Owned(format!("{id}#{index}")),
            });
            id.map_or(Value::Null, Value::Text)
        }
        MetaField::Key => text(message.properties.get(keys::KEYS)),
        MetaField::Tag => text(message.properties.get(keys::TAGS)),
        MetaField::Topic => Value::text(messages.queue().topic.as_str()),
        MetaField::Queue => Value::Int(i64::from(messages.queue().queue.0)),
        MetaField::Offset => Value::Int(message.queue_offset.to_wire()),
        MetaField::Index => message.index.map_or(Value::Null, |index| Value::Int(index.into())),
        MetaField::BornTime => {
            messages.record(row).map_or(Value::Null, |record| micros(record.born_at_ms()))
        }
        MetaField::StoreTime => micros(message.store_at_ms),
    }
}

fn micros(millis: i64) -> Value<'static> {
    Value::Timestamp(millis.saturating_mul(1000))
}

/// The id of a message whose client gave it none: store address, port and physical offset in
/// hexadecimal. (In RocketMQ, `MessageDecoder.createMessageId`.)
fn offset_id(messages: &Messages, row: usize) -> Option<String> {
    let record = messages.record(row)?;
    let host = record.store_host();
    let ip: Vec<u8> = match host.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let port = u32::from(host.port()).to_be_bytes();
    let at = record.physical_offset().0.to_be_bytes();
    let bytes = ip.iter().chain(&port).chain(&at);
    Some(bytes.map(|byte| format!("{byte:02X}")).collect())
}
