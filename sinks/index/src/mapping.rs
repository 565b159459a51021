use serde::{Deserialize, Serialize};
use tantivy::schema::{
    DateOptions, DateTimePrecision, FAST, Field, INDEXED, JsonObjectOptions, STORED, STRING,
    Schema, SchemaBuilder, TEXT, TextOptions,
};

use crate::error::OptionsError;

/// What the columns of a row become in a document. It is in every part, and all parts of an index
/// have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// The fields, in the order in which a document shows them.
    pub fields: Vec<MappedField>,
    /// Which field says how old a document is: one of timestamps. Without one, and where it has no
    /// value, it is the time at which the broker stored the message.
    pub time: Option<String>,
}

/// One field of a document, of the column with the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedField {
    /// Its name.
    pub name: String,
    /// What can be asked about it.
    pub kind: FieldKind,
}

/// What a field is, which decides what can be asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Text that is found by its words, whatever their case.
    Text,
    /// A text that is found as a whole, sorted by and counted.
    Keyword,
    /// A whole number of 64 bits.
    Int,
    /// A floating-point number of 64 bits.
    Double,
    /// True or false.
    Bool,
    /// An instant, to the microsecond.
    Timestamp,
    /// A text that is a JSON object; its fields are asked for as `field.inner`.
    Json,
}

impl FieldKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::Text => "text",
            FieldKind::Keyword => "keyword",
            FieldKind::Int => "int",
            FieldKind::Double => "double",
            FieldKind::Bool => "bool",
            FieldKind::Timestamp => "timestamp",
            FieldKind::Json => "json",
        }
    }
}

/// The queue of the message, as text.
pub(crate) const QUEUE: &str = "_queue";
/// The offset of the message in its queue.
pub(crate) const OFFSET: &str = "_offset";
/// When the broker stored the message.
pub(crate) const STORE_TIME: &str = "_store_time";

/// The fields that every document has beside those of the mapping.
pub(crate) const RESERVED: [&str; 3] = [QUEUE, OFFSET, STORE_TIME];

/// A mapping as tantivy has it.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    /// In the order of the mapping.
    pub(crate) mapped: Vec<Field>,
    pub(crate) queue: Field,
    pub(crate) offset: Field,
    pub(crate) store_time: Field,
}

impl Mapping {
    /// Looks whether it can work.
    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        for (index, field) in self.fields.iter().enumerate() {
            let name = &field.name;
            if RESERVED.contains(&name.as_str()) || name.starts_with('-') || name.is_empty() {
                return Err(OptionsError::Reserved { name: name.clone() });
            }
            if self.fields[..index].iter().any(|other| other.name == *name) {
                return Err(OptionsError::Twice { name: name.clone() });
            }
        }
        if self.fields.is_empty() {
            return Err(OptionsError::NoFields);
        }
        match &self.time {
            Some(name) if self.kind(name) != Some(FieldKind::Timestamp) => {
                Err(OptionsError::NoTime { name: name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// What a field is.
    pub fn kind(&self, name: &str) -> Option<FieldKind> {
        self.fields.iter().find(|field| field.name == name).map(|field| field.kind)
    }

    /// The field that documents are as old as.
    pub(crate) fn time(&self) -> &str {
        self.time.as_deref().unwrap_or(STORE_TIME)
    }

    /// The first difference to another one, for people.
    pub(crate) fn difference(&self, other: &Mapping) -> Option<String> {
        let told = |kind: Option<FieldKind>| kind.map_or("not there", FieldKind::name);
        let all = self.fields.iter().chain(&other.fields);
        let mut fields = all.map(|field| (&field.name, self.kind(&field.name)));
        let changed = fields.find(|(name, kind)| *kind != other.kind(name));
        if let Some((name, kind)) = changed {
            let (here, there) = (told(kind), told(other.kind(name)));
            return Some(format!("`{name}` is {here} in the index and {there} in the pipeline"));
        }
        if self.time != other.time {
            let told = |mapping: &Mapping| mapping.time().to_owned();
            let (here, there) = (told(self), told(other));
            return Some(format!("`time` is `{here}` in the index and `{there}` in the pipeline"));
        }
        let differs = self.fields != other.fields;
        differs.then(|| "the fields are in another order".to_owned())
    }

    pub(crate) fn to_tantivy(&self) -> Fields {
        self.with_queue(TextOptions::from(FAST))
    }

    /// The schema by which queries are read. It is the same but for the queue, which it calls a
    /// term, because otherwise nothing may be asked about a text.
    pub(crate) fn to_be_asked(&self) -> Schema {
        self.with_queue(STRING | FAST).schema
    }

    fn with_queue(&self, queue: TextOptions) -> Fields {
        let mut builder = Schema::builder();
        let mapped = self.fields.iter().map(|field| field.add_to(&mut builder)).collect();
        let queue = builder.add_text_field(QUEUE, queue);
        let offset = builder.add_u64_field(OFFSET, FAST);
        let times = DateOptions::from(FAST).set_precision(DateTimePrecision::Microseconds);
        let store_time = builder.add_date_field(STORE_TIME, times);
        Fields { schema: builder.build(), mapped, queue, offset, store_time }
    }
}

impl MappedField {
    fn add_to(&self, builder: &mut SchemaBuilder) -> Field {
        let name = &self.name;
        match self.kind {
            FieldKind::Text => builder.add_text_field(name, TEXT | STORED),
            FieldKind::Keyword => builder.add_text_field(name, STRING | STORED | FAST),
            FieldKind::Int => builder.add_i64_field(name, INDEXED | STORED | FAST),
            FieldKind::Double => builder.add_f64_field(name, INDEXED | STORED | FAST),
            FieldKind::Bool => builder.add_bool_field(name, INDEXED | STORED | FAST),
            FieldKind::Timestamp => {
                let options = DateOptions::from(INDEXED | STORED | FAST);
                let options = options.set_precision(DateTimePrecision::Microseconds);
                builder.add_date_field(name, options)
            }
            FieldKind::Json => {
                let options = JsonObjectOptions::from(TEXT | STORED).set_expand_dots_enabled();
                builder.add_json_field(name, options)
            }
        }
    }
}
