//! Bodies to columns, strictly: one message is one row or one reject, never both, never neither.
//!
//! Nothing is narrowed in silence. A value that its column cannot hold exactly is a reject that
//! names the field: 1.5 in an `int`, 9007199254740993 in a `double`, `"42"` in either, nanoseconds
//! in a `timestamp`. Start reading at [`DecodeSpec::decoder`].
//!
//! | code          | the body                                                    |
//! |---------------|-------------------------------------------------------------|
//! | `E-DECODE-01` | is not valid JSON; the error says at which byte             |
//! | `E-DECODE-02` | is JSON, but not an object                                  |
//! | `E-DECODE-03` | has a value that does not fit its column                    |
//! | `E-DECODE-04` | has a key twice in one object                               |
//! | `E-DECODE-05` | nests deeper than 64 levels                                 |
//! | `E-DECODE-06` | does not match the pattern                                  |
//! | `E-DECODE-07` | is not UTF-8                                                |
//! | `E-DECODE-08` | is a line of CSV with a quote where none can be             |
//! | `E-DECODE-09` | is a line of CSV with more or fewer values than columns     |
//! | `E-DECODE-10` | is of a CSV file whose header does not name a column once   |
//! | `E-DECODE-11` | is compressed, and cannot be decompressed                   |

mod columns; // column buffers whose last row can be taken back
mod csv; // the body is a line of CSV
mod json; // one object per body
mod lines; // the body is a line
mod regex; // the body is a line that a pattern takes apart
mod spec; // from a description to a decoder
#[cfg(test)]
mod test_messages;
mod text; // text to a value of a type
mod time; // text to microseconds and days
mod time_format; // the same by a strftime format

use arrow_array::ArrayRef;

pub use csv::FILE_HEADER;
pub use json::{Array, Elements, Taken};
pub use spec::{CsvSpec, DecodeSpec, DecodeSpecError, RegexSpec};
pub use time::{TimeError, parse_date, parse_timestamp};
pub use time_format::{TimeFormat, TimeFormatError};

use crate::{Message, Messages, Reject, Schema, Selection};

/// The codes of this module's rejects.
pub mod code {
    use crate::RejectCode;

    /// Not valid JSON.
    pub const SYNTAX: RejectCode = "E-DECODE-01";
    /// JSON, but not an object.
    pub const NOT_AN_OBJECT: RejectCode = "E-DECODE-02";
    /// A value does not fit its column.
    pub const VALUE: RejectCode = "E-DECODE-03";
    /// A key occurs twice in one object.
    pub const DUPLICATE_KEY: RejectCode = "E-DECODE-04";
    /// Too many levels of objects and arrays.
    pub const TOO_DEEP: RejectCode = "E-DECODE-05";
    /// The line does not match the pattern.
    pub const NO_MATCH: RejectCode = "E-DECODE-06";
    /// Not UTF-8.
    pub const NOT_UTF8: RejectCode = "E-DECODE-07";
    /// A quote where none can be.
    pub const QUOTE: RejectCode = "E-DECODE-08";
    /// Another number of values than columns.
    pub const COUNT: RejectCode = "E-DECODE-09";
    /// The header does not name a column, or names it twice.
    pub const HEADER: RejectCode = "E-DECODE-10";
    /// The body cannot be decompressed.
    pub const COMPRESSION: RejectCode = "E-DECODE-11";
}

/// Turns bodies into columns.
pub trait Decoder: Send {
    /// Every column this decoder can give, as far as is known without seeing a body.
    fn schema(&self) -> &Schema;

    /// Decodes the selected messages. Each column has one row per message; a row that is not
    /// selected or is rejected is null.
    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded;

    /// Whether one body would decode. Builds no columns, so it costs a fraction of `decode`.
    fn check(&mut self, body: &[u8]) -> Result<(), Reject>;

    /// What decoded bodies held besides the wanted columns.
    fn dropped(&self) -> Dropped {
        Dropped::default()
    }
}

/// The columns of some messages.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order of the wanted columns.
    pub columns: Vec<ArrayRef>,
    /// By row number, ascending.
    pub rejects: Vec<(u32, Reject)>,
}

/// Fields that bodies had and no column wanted, since the decoder was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many values were left out.
    pub fields: u64,
    /// The first hundred names, as paths, in the order in which they were first seen, each with
    /// its own count.
    pub names: Vec<(String, u64)>,
}

/// Names in [`Dropped`].
const DROPPED_NAMES_MAX: usize = 100;

/// The start of a value, short enough for an error.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    match text.char_indices().nth(CHARS_MAX) {
        None => format!("`{text}`"),
        Some((end, _)) => format!("`{}…`", &text[..end]),
    }
}

/// The body as text.
fn utf8(body: &[u8]) -> Result<&str, Reject> {
    std::str::from_utf8(body).map_err(|error| Reject {
        code: code::NOT_UTF8,
        error: format!("not UTF-8 at byte {}", error.valid_up_to()),
        field: None,
    })
}

/// Runs one row after the other through `decode_row`, keeping columns and messages in step.
fn decode_rows(
    messages: &Messages,
    selection: &Selection,
    columns: &mut columns::Columns,
    mut decode_row: impl FnMut(Message<'_>, &mut columns::Columns) -> Result<(), Reject>,
) -> Decoded {
    let mut rejects = Vec::new();
    columns.start(messages.len());
    for row in selection.iter() {
        columns.fill(row);
        match decode_row(messages.get(row), columns) {
            Ok(()) => columns.end_row(),
            Err(reject) => {
                columns.undo_row();
                rejects.push((row as u32, reject));
            }
        }
    }
    columns.fill(messages.len());
    Decoded { columns: columns.take(), rejects }
}

fn too_much_text(field: &str) -> Reject {
    Reject {
        code: code::VALUE,
        error: "one batch cannot hold more than 2 GiB of text in one column".to_owned(),
        field: Some(field.to_owned()),
    }
}
