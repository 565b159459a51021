use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema};
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use millrace_connect_api::{Batch, Encoded, Item, Reject, Selection, utc_as_offset};

use crate::options::{Body, HttpOptions, Piece, Template};

/// A record whose values fit into no URL or header.
const NO_PLACE: &str = "E-HTTP-01";

/// Rows that cannot be encoded, whatever is in them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the rows have no column `{0}`")]
    MissingColumn(String),
    #[error("cannot encode the rows: {0}")]
    Arrow(#[from] ArrowError),
}

/// The selected rows of a batch as they are sent, each with its URL and headers.
pub(crate) fn encode(options: &HttpOptions, batch: &Batch) -> Result<Encoded, EncodeError> {
    let mut encoded = Encoded::default();
    if batch.selection().is_empty() {
        return Ok(encoded);
    }
    let routes = Routes::new(options, batch)?;
    let mut bodies = match options.body {
        Body::Raw => None,
        Body::Single | Body::Lines | Body::Array => Some(lines(options, batch)?.into_iter()),
    };
    let mut last: Option<Arc<str>> = None;
    for row in batch.selection().iter() {
        let message = batch.messages().get(row);
        let bytes = match &mut bodies {
            Some(lines) => lines.next().expect("a line for each row"),
            None => Bytes::copy_from_slice(message.body),
        };
        let route = match routes.of(options, row) {
            Ok(route) => route,
            Err(reject) => {
                encoded.rejected.push((row as u32, reject));
                continue;
            }
        };
        // Most rows go where the one before went.
        let route = match last.take().filter(|last| **last == *route) {
            Some(last) => last,
            None => Arc::from(route),
        };
        last = Some(Arc::clone(&route));
        let messages = Arc::clone(batch.messages());
        encoded.items.push(Item { messages, row: row as u32, route, bytes });
    }
    Ok(encoded)
}

/// A JSON object for each selected row.
fn lines(options: &HttpOptions, batch: &Batch) -> Result<Vec<Bytes>, EncodeError> {
    let columns = options.columns.iter().map(|column| column_of(batch, &column.name));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let fields = options.columns.iter().map(|column| {
        let data_type = column.data_type.to_arrow();
        Field::new(&column.name, data_type, true)
    });
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    let count = RecordBatchOptions::new().with_row_count(Some(batch.messages().len()));
    let rows = RecordBatch::try_new_with_options(schema, columns, &count)?;
    let rows = match batch.selection() {
        Selection::All(_) => rows,
        Selection::Rows(selected) => {
            take_record_batch(&rows, &UInt32Array::from(selected.to_vec()))?
        }
    };
    let builder = WriterBuilder::new().with_explicit_nulls(true);
    let mut writer = builder.build::<_, LineDelimited>(Vec::new());
    writer.write(&utc_as_offset(&rows))?;
    writer.finish()?;
    let all = Bytes::from(writer.into_inner());
    // No line break is in a row: in texts they are escaped.
    let mut at = 0;
    let ends = all.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    Ok(ends.map(|end| all.slice(std::mem::replace(&mut at, end + 1)..end)).collect())
}

fn column_of(batch: &Batch, name: &str) -> Result<ArrayRef, EncodeError> {
    let column = batch.column(name).cloned();
    column.ok_or_else(|| EncodeError::MissingColumn(name.to_owned()))
}

/// Where rows go: the URL, and on lines of their own the headers.
struct Routes {
    /// The columns that templates name, each with its name.
    columns: Vec<(String, ArrayRef)>,
}

impl Routes {
    fn new(options: &HttpOptions, batch: &Batch) -> Result<Self, EncodeError> {
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        let templates =
            std::iter::once(&options.url).chain(options.headers.iter().map(|(_, it)| it));
        for piece in templates.flat_map(|template| &template.0) {
            let Piece::Column(name) = piece else { continue };
            if columns.iter().any(|(known, _)| known == name) {
                continue;
            }
            let field = Field::new(name, column_of(batch, name)?.data_type().clone(), true);
            let schema = Arc::new(ArrowSchema::new(vec![field]));
            let column = RecordBatch::try_new(schema, vec![column_of(batch, name)?])?;
            columns.push((name.clone(), Arc::clone(utc_as_offset(&column).column(0))));
        }
        Ok(Self { columns })
    }

    fn of(&self, options: &HttpOptions, row: usize) -> Result<String, Reject> {
        let mut route = self.url(&options.url, row)?;
        'headers: for (name, template) in &options.headers {
            let mut text = String::new();
            for piece in &template.0 {
                match piece {
                    Piece::Text(part) => text.push_str(part),
                    Piece::Column(column) => match self.value(column, row) {
                        Some(value) => text.push_str(&value),
                        None => continue 'headers,
                    },
                }
            }
            if text.contains(char::is_control) {
                let column = template.0.iter().find_map(|piece| match piece {
                    Piece::Text(_) => None,
                    Piece::Column(column) => Some(column.clone()),
                });
                let error = format!("the header `{name}` cannot have line breaks and the like");
                return Err(Reject { code: NO_PLACE, error, field: column });
            }
            let _ = write!(route, "\n{name}: {text}");
        }
        Ok(route)
    }

    fn url(&self, template: &Template, row: usize) -> Result<String, Reject> {
        let mut url = String::new();
        for piece in &template.0 {
            match piece {
                Piece::Text(part) => url.push_str(part),
                Piece::Column(column) => match self.value(column, row) {
                    Some(value) => percent_encode(&value, &mut url),
                    None => {
                        let error = format!("`{column}` has no value, and the URL needs one");
                        let field = Some(column.clone());
                        return Err(Reject { code: NO_PLACE, error, field });
                    }
                },
            }
        }
        // Whoever reads a URL takes these out, and the segment before them, too.
        let path = url.split('?').next().unwrap_or_default();
        let is_dots = |segment: &str| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        };
        if path.split('/').skip(3).any(is_dots) {
            let error = "a part of the path of the URL would be `.` or `..`".to_owned();
            return Err(Reject { code: NO_PLACE, error, field: None });
        }
        Ok(url)
    }

    fn value(&self, name: &str, row: usize) -> Option<String> {
        let (_, column) = self.columns.iter().find(|(known, _)| known == name)?;
        if column.is_null(row) {
            return None;
        }
        let options = FormatOptions::new();
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options).ok()?;
        Some(formatter.value(row).to_string())
    }
}

/// All but the characters that mean nothing in a URL.
fn percent_encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
