use memchr::{memchr, memchr2};

use super::columns::Columns;
use super::spec::pick;
use super::text::{TextColumn, Value};
use super::{CsvSpec, DecodeSpecError, Decoded, Decoder, code, too_much_text, utf8};
use crate::{Column, Messages, Reject, Schema, Selection};

/// Property with the first line of the file that a message is a line of.
///
/// A line of CSV means nothing without it, so it goes with every message, and with every dead
/// letter: which value is of which column does not depend on where reading began, on other files,
/// or on what the pipeline said when the line was read.
pub const FILE_HEADER: &str = "file.header";

/// The body is a line of CSV.
pub(super) struct CsvDecoder {
    schema: Schema,
    columns: Columns,
    lines: CsvLines,
}

struct CsvLines {
    marks: Marks,
    null: String,
    /// The wanted columns.
    wanted: Vec<TextColumn>,
    /// Of lines that come without a header.
    bare: Layout,
    /// The last header, and what it means.
    named: Option<(String, Result<Layout, Reject>)>,
    /// The values of the line at hand.
    values: Vec<ValueAt>,
}

/// The characters that take a line apart.
#[derive(Clone, Copy)]
struct Marks {
    delimiter: u8,
    quote: u8,
}

/// For each value of a line, which of the wanted columns it is of, if of any.
struct Layout {
    places: Vec<Option<usize>>,
    /// What has one name for each value.
    names: &'static str,
}

/// Where a value stands in its line, quotes left out.
#[derive(Clone, Copy)]
struct ValueAt {
    start: usize,
    end: usize,
    is_quoted: bool,
    /// Whether quotes in it are written twice.
    has_quotes: bool,
}

/// A line that cannot be taken apart, at the value of this number.
struct Torn {
    value: usize,
    error: String,
}

impl CsvDecoder {
    pub(super) fn new(spec: &CsvSpec, wanted: &[Column]) -> Result<Self, DecodeSpecError> {
        let schema = Schema { columns: spec.columns.clone() };
        let picked = pick(wanted, &schema)?;
        let mut places = vec![None; spec.columns.len()];
        picked.into_iter().enumerate().for_each(|(column, place)| places[place] = Some(column));
        let lines = CsvLines {
            marks: Marks { delimiter: spec.delimiter, quote: spec.quote },
            null: spec.null.clone(),
            wanted: wanted.iter().map(|column| TextColumn::new(column, None)).collect(),
            bare: Layout { places, names: "the schema" },
            named: None,
            values: Vec::new(),
        };
        Ok(Self { schema, columns: Columns::new(wanted), lines })
    }
}

impl Decoder for CsvDecoder {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded {
        let lines = &mut self.lines;
        super::decode_rows(messages, selection, &mut self.columns, |message, columns| {
            let header = message.properties.get(FILE_HEADER);
            lines.take_apart(message.body, header, |column, value| value.put(columns, column))
        })
    }

    fn check(&mut self, body: &[u8]) -> Result<(), Reject> {
        self.lines.take_apart(body, None, |_, _| true)
    }
}

impl CsvLines {
    /// Hands each value that is wanted and there to `put`, which says whether there was room for
    /// it.
    fn take_apart(
        &mut self,
        body: &[u8],
        header: Option<&str>,
        mut put: impl FnMut(usize, Value<'_>) -> bool,
    ) -> Result<(), Reject> {
        if let Some(header) = header
            && self.named.as_ref().is_none_or(|(known, _)| known != header)
        {
            let layout = Layout::of_header(header, self.marks, &self.wanted);
            self.named = Some((header.to_owned(), layout));
        }
        let layout = match &self.named {
            Some((_, layout)) if header.is_some() => layout.as_ref().map_err(Reject::clone)?,
            _ => &self.bare,
        };
        let line = utf8(body)?;
        self.marks.split(line, &mut self.values).map_err(|Torn { value, error }| {
            let column = layout.places.get(value).copied().flatten();
            let field = column.map(|column| self.wanted[column].name().to_owned());
            Reject { code: code::QUOTE, error, field }
        })?;
        if self.values.len() != layout.places.len() {
            let (values, names) = (self.values.len(), layout.places.len());
            let error = format!("the line has {values} values, and {} has {names}", layout.names);
            return Err(Reject { code: code::COUNT, error, field: None });
        }
        for (at, place) in self.values.iter().zip(&layout.places) {
            let Some(column) = *place else { continue };
            let text = &line[at.start..at.end];
            if !at.is_quoted && text == self.null {
                continue;
            }
            let unquoted = at.has_quotes.then(|| self.marks.unquote(text));
            let value = self.wanted[column].value(unquoted.as_deref().unwrap_or(text))?;
            if !put(column, value) {
                return Err(too_much_text(self.wanted[column].name()));
            }
        }
        Ok(())
    }
}

impl Layout {
    /// What a header says. Columns that it names beside the wanted ones are passed over.
    fn of_header(header: &str, marks: Marks, wanted: &[TextColumn]) -> Result<Self, Reject> {
        let mut names = Vec::new();
        marks.split(header, &mut names).map_err(|Torn { error, .. }| {
            let error = format!("the header of the file: {error}");
            Reject { code: code::HEADER, error, field: None }
        })?;
        let names: Vec<_> =
            names.iter().map(|at| marks.unquote(&header[at.start..at.end])).collect();
        let mut places = vec![None; names.len()];
        for (column, wanted) in wanted.iter().enumerate() {
            let mut found = (0..names.len()).filter(|place| names[*place] == wanted.name());
            let reject = |what: &str| Reject {
                code: code::HEADER,
                error: format!("the header of the file names `{}` {what}", wanted.name()),
                field: Some(wanted.name().to_owned()),
            };
            match (found.next(), found.next()) {
                (Some(place), None) => places[place] = Some(column),
                (Some(_), Some(_)) => return Err(reject("twice")),
                (None, _) => return Err(reject("nowhere")),
            }
        }
        Ok(Self { places, names: "the header of its file" })
    }
}

impl Marks {
    /// Finds the values of a line: at least one, which may be empty.
    fn split(self, line: &str, values: &mut Vec<ValueAt>) -> Result<(), Torn> {
        let Self { delimiter, quote } = self;
        let bytes = line.as_bytes();
        values.clear();
        let mut start = 0;
        loop {
            let torn = |error: String| Err(Torn { value: values.len(), error });
            let (value, after) = if bytes.get(start) == Some(&quote) {
                let mut end = start + 1;
                let mut has_quotes = false;
                loop {
                    let Some(found) = memchr(quote, &bytes[end..]) else {
                        return torn(format!(
                            "the quote at byte {start} is not closed on its line; values with line \
                             breaks are not read"
                        ));
                    };
                    end += found;
                    if bytes.get(end + 1) != Some(&quote) {
                        break;
                    }
                    has_quotes = true;
                    end += 2;
                }
                (ValueAt { start: start + 1, end, is_quoted: true, has_quotes }, end + 1)
            } else {
                let end = memchr2(delimiter, quote, &bytes[start..]);
                let end = end.map_or(bytes.len(), |found| start + found);
                if bytes.get(end) == Some(&quote) {
                    return torn(format!(
                        "the quote at byte {end} is within a value without quotes"
                    ));
                }
                (ValueAt { start, end, is_quoted: false, has_quotes: false }, end)
            };
            match bytes.get(after) {
                None => {
                    values.push(value);
                    return Ok(());
                }
                Some(byte) if *byte == delimiter => start = after + 1,
                Some(_) => {
                    return torn(format!("at byte {after} something follows a closing quote"));
                }
            }
            values.push(value);
        }
    }

    /// A value between quotes as it is meant.
    fn unquote(self, text: &str) -> String {
        let quote = char::from(self.quote);
        text.replace(&format!("{quote}{quote}"), &quote.to_string())
    }
}

#[cfg(test)]
mod tests;
