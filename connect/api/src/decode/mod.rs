//! Bodies to columns, strictly: one message is one row or one reject, never both, never neither.

use arrow_array::ArrayRef;

use crate::{Messages, Reject, Schema, Selection};

/// What the bodies of a topic are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeSpec {
    /// One JSON object per body.
    Json,
    /// The body is a line of text; one column `line`.
    Lines,
    /// The body is a line of text that a pattern takes apart.
    Regex(RegexSpec),
}

/// How a pattern takes a line apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexSpec {
    /// A pattern with named groups; each is a column.
    pub pattern: String,
    /// Groups that are not text.
    pub types: Vec<crate::Column>,
    /// The format of a timestamp group: `(group, strftime format)`.
    pub time: Option<(String, String)>,
    /// The text that means "no value", for instance `-`.
    pub null: Option<String>,
}

/// Turns bodies into columns.
pub trait Decoder: Send {
    /// Every column this decoder can give, as far as is known without seeing a body.
    fn schema(&self) -> &Schema;

    /// Decodes the selected messages. Each column has one row per message; a row that is not
    /// selected or is rejected is null.
    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded;

    /// Whether one body would decode.
    fn check(&mut self, body: &[u8]) -> Result<(), Reject>;
}

/// The columns of some messages.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order of the wanted columns.
    pub columns: Vec<ArrayRef>,
    /// By row number, ascending.
    pub rejects: Vec<(u32, Reject)>,
}
