//! JSON bodies straight into columns, in one pass and without a value in between.
//!
//! The grammar is RFC 8259 and nothing more. [`walk`] goes through a body once; [`shape`] knows
//! which fields are wanted and remembers in which order the keys usually come, so that a key costs
//! one comparison; [`scan`] finds the ends of strings, [`number`] reads numbers exactly.

mod elements; // an array within a body, taken apart
mod number; // digits to values, without loss
mod scan; // where strings end
mod shape; // what is wanted, and the keys seen so far
mod walk; // the grammar

use super::columns::Columns;
use super::{DecodeSpecError, Decoded, Decoder, Dropped};
use crate::{Column, Messages, Reject, Schema, Selection};

pub use elements::{Array, Elements, Taken};
use shape::Shape;
use walk::{Output, walk};

/// One JSON object per body.
pub(super) struct JsonDecoder {
    schema: Schema,
    columns: Columns,
    shape: Shape,
    scratch: Vec<u8>,
}

impl JsonDecoder {
    pub(super) fn new(wanted: &[Column]) -> Result<Self, DecodeSpecError> {
        Ok(Self {
            schema: Schema { columns: wanted.to_vec() },
            columns: Columns::new(wanted),
            shape: Shape::new(wanted)?,
            scratch: Vec::new(),
        })
    }
}

impl Decoder for JsonDecoder {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded {
        let (shape, scratch) = (&mut self.shape, &mut self.scratch);
        super::decode_rows(messages, selection, &mut self.columns, |message, columns| {
            walk(message.body, shape, scratch, columns)
        })
    }

    fn check(&mut self, body: &[u8]) -> Result<(), Reject> {
        walk(body, &mut self.shape, &mut self.scratch, &mut Nowhere)
    }

    fn dropped(&self) -> Dropped {
        self.shape.dropped()
    }
}

impl Output for Columns {
    fn bool(&mut self, column: usize, value: bool) {
        Columns::bool(self, column, value);
    }

    fn int(&mut self, column: usize, value: i64) {
        Columns::int(self, column, value);
    }

    fn double(&mut self, column: usize, value: f64) {
        Columns::double(self, column, value);
    }

    fn timestamp(&mut self, column: usize, micros: i64) {
        Columns::timestamp(self, column, micros);
    }

    fn date(&mut self, column: usize, days: i32) {
        Columns::date(self, column, days);
    }

    fn text(&mut self, column: usize, raw: &[u8], escaped: bool) -> bool {
        Columns::text(self, column, |bytes| match escaped {
            false => bytes.extend_from_slice(raw),
            true => scan::unescape(raw, bytes),
        })
    }
}

/// Whether a text is one value of JSON.
pub(super) fn is_json(text: &[u8]) -> bool {
    let shape = Shape::new(&[]);
    shape.is_ok_and(|mut shape| walk(text, &mut shape, &mut Vec::new(), &mut Nowhere).is_ok())
}

/// Where values go when a body is only checked.
struct Nowhere;

impl Output for Nowhere {
    fn bool(&mut self, _: usize, _: bool) {}
    fn int(&mut self, _: usize, _: i64) {}
    fn double(&mut self, _: usize, _: f64) {}
    fn timestamp(&mut self, _: usize, _: i64) {}
    fn date(&mut self, _: usize, _: i32) {}
    fn text(&mut self, _: usize, _: &[u8], _: bool) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
