//! The text of a file, with what it takes to say where in it something stands.

use std::ops::Range;

/// A range of bytes of the text.
pub(crate) type Span = Range<usize>;

/// The text of a file without a byte order mark, split into lines.
pub(crate) struct SourceText<'a> {
    /// How messages call the file.
    pub(crate) file: &'a str,
    /// All of it.
    pub(crate) text: &'a str,
    line_starts: Vec<usize>,
}

/// A place for people: both count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl<'a> SourceText<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut line_starts = vec![0];
        for (at, &byte) in bytes.iter().enumerate() {
            // A carriage return ends a line too, unless its line feed is still to come.
            if byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
                line_starts.push(at + 1);
            }
        }
        Self { file, text, line_starts }
    }

    /// The part of the text that `span` names; empty if it names none.
    pub(crate) fn slice(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or("")
    }

    pub(crate) fn place(&self, byte: usize) -> Place {
        let byte = match self.floor(byte) {
            // The two of a line end have one place.
            inside
                if self.text[..inside].ends_with('\r') && self.text[inside..].starts_with('\n') =>
            {
                inside - 1
            }
            byte => byte,
        };
        let line = self.line_starts.partition_point(|&start| start <= byte);
        let start = self.line_starts[line - 1];
        Place { line, column: self.text[start..byte].chars().count() + 1 }
    }

    /// The line of this number, without its end.
    pub(crate) fn line(&self, number: usize) -> &'a str {
        let start = self.line_starts[number - 1];
        let end = self.line_starts.get(number).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// How many characters of `span` stand on the line where it begins; at least 1.
    pub(crate) fn len_on_line(&self, span: &Span) -> usize {
        let start = self.floor(span.start);
        let end = self.floor(span.end).max(start);
        let first_line = self.text[start..end].split(['\n', '\r']).next().unwrap_or("");
        first_line.trim_end().chars().count().max(1)
    }

    /// The nearest character boundary at or before `byte`.
    fn floor(&self, byte: usize) -> usize {
        self.text.floor_char_boundary(byte)
    }
}

/// Why bytes are not a text to parse.
pub(crate) struct Refusal<'a> {
    /// What comes before the place where it fails.
    pub(crate) readable: &'a str,
    pub(crate) message: String,
    pub(crate) help: &'static str,
}

/// The bytes of a file as text, without a byte order mark.
pub(crate) fn decode(bytes: &[u8]) -> Result<&str, Refusal<'_>> {
    let refuse = |readable, message, help| Err(Refusal { readable, message, help });
    if bytes.len() > TEXT_BYTES_MAX {
        let message = format!("the file has {} bytes, the limit is {TEXT_BYTES_MAX}", bytes.len());
        return refuse("", message, "is this the right file?");
    }
    let (text, utf8) = match std::str::from_utf8(bytes) {
        Ok(text) => (text, true),
        Err(error) => (std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""), false),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !utf8 {
        return refuse(text, "this is not UTF-8".into(), "save the file as UTF-8");
    }
    // YAML knows no other control characters, and its parser takes a zero for the end.
    let control = |char: char| char.is_ascii_control() && !matches!(char, '\t' | '\n' | '\r');
    if let Some((at, char)) = text.char_indices().find(|&(_, char)| control(char)) {
        let message = format!("the control character {char:?} cannot stand in YAML");
        return refuse(&text[..at], message, "inside double quotes, write it as `\\x…`");
    }
    Ok(text)
}

/// The longest file, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, byte: usize, line: usize, column: usize) {
        assert_eq!(SourceText::new("f", text).place(byte), Place { line, column });
    }

    #[test]
    fn columns_count_characters() {
        check("é: x", 0, 1, 1);
        check("é: x", 4, 1, 4);
    }

    #[test]
    fn every_kind_of_line_end_counts_once() {
        check("a\nb", 2, 2, 1);
        check("a\r\nb", 2, 1, 2);
        check("a\r\nb", 3, 2, 1);
        check("a\rb", 2, 2, 1);
        check("a\n\nb", 3, 3, 1);
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        check("ab", 99, 1, 3);
        check("", 0, 1, 1);
    }

    #[test]
    fn lines_come_without_their_ends() {
        let text = SourceText::new("f", "a\r\nb\n");
        assert_eq!([text.line(1), text.line(2), text.line(3)], ["a", "b", ""]);
    }
}
