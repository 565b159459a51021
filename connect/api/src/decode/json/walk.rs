//! The grammar of JSON, once through a body.

use super::super::{code, excerpt, parse_date, parse_timestamp, too_much_text};
use super::number::Number;
use super::scan::{self, Span};
use super::shape::{Duplicate, Shape, Target};
use crate::{DataType, Reject};

/// Objects and arrays within each other, the outermost counted.
pub(super) const DEPTH_MAX: usize = 64;

/// Where the values of wanted columns go, each at most once per body.
pub(super) trait Output {
    fn bool(&mut self, column: usize, value: bool);
    fn int(&mut self, column: usize, value: i64);
    fn double(&mut self, column: usize, value: f64);
    fn timestamp(&mut self, column: usize, micros: i64);
    fn date(&mut self, column: usize, days: i32);
    /// `raw` is what stands between the quotes; false if there is no room for it.
    #[must_use]
    fn text(&mut self, column: usize, raw: &[u8], escaped: bool) -> bool;
}

/// Reads a body and hands out its wanted values.
///
/// A body that is no JSON is refused for that, whatever else is wrong with it; of other mistakes
/// the first is reported. After a reject `out` may have got some of the values.
pub(super) fn walk(
    body: &[u8],
    shape: &mut Shape,
    scratch: &mut Vec<u8>,
    out: &mut impl Output,
) -> Result<(), Reject> {
    let mut walk = Walk { bytes: body, at: 0, shape, scratch, out, mistake: None };
    match walk.document() {
        Ok(()) => walk.mistake.map_or(Ok(()), Err),
        Err(Fault::Syntax { at, expected }) => Err(Reject {
            code: code::SYNTAX,
            error: format!("not valid JSON at byte {at}: {expected}"),
            field: None,
        }),
        Err(Fault::TooDeep { at }) => Err(Reject {
            code: code::TOO_DEEP,
            error: format!("more than {DEPTH_MAX} levels of objects and arrays at byte {at}"),
            field: None,
        }),
    }
}

/// What ends the walk at once.
enum Fault {
    Syntax { at: usize, expected: &'static str },
    TooDeep { at: usize },
}

struct Walk<'a, O> {
    bytes: &'a [u8],
    at: usize,
    shape: &'a mut Shape,
    scratch: &'a mut Vec<u8>,
    out: &'a mut O,
    /// The first mistake in a body that may be valid JSON.
    mistake: Option<Reject>,
}

impl<'a, O: Output> Walk<'a, O> {
    fn document(&mut self) -> Result<(), Fault> {
        self.skip_space();
        match self.byte() {
            b'{' => self.object(0, 1)?,
            _ => {
                self.skip_value(0)?;
                if self.shape.wants_columns() {
                    self.mistake = Some(Reject {
                        code: code::NOT_AN_OBJECT,
                        error: "the body is not a JSON object".to_owned(),
                        field: None,
                    });
                }
            }
        }
        self.skip_space();
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => Err(self.syntax("nothing may follow the value")),
        }
    }

    /// An object that begins here and is the `depth`th around its values.
    fn object(&mut self, object: usize, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.byte() == b'}' {
            self.at += 1;
            return Ok(());
        }
        let mut visit = self.shape.enter(object);
        loop {
            if self.byte() != b'"' {
                return Err(self.syntax("a key must follow"));
            }
            self.at += 1;
            let rest = &self.bytes[self.at..];
            let target = match self.shape.usual_key(&mut visit, rest) {
                Some((target, len)) => {
                    self.at += len;
                    target
                }
                None => {
                    let (start, span) = self.string()?;
                    let raw = &self.bytes[start..span.end];
                    let key = if span.escaped {
                        self.scratch.clear();
                        scan::unescape(raw, self.scratch);
                        self.scratch.as_slice()
                    } else {
                        raw
                    };
                    match self.shape.key(&mut visit, key) {
                        Ok(target) => target,
                        Err(Duplicate(path)) => {
                            self.duplicate(path);
                            Target::Skip
                        }
                    }
                }
            };
            self.skip_space();
            if self.byte() != b':' {
                return Err(self.syntax("a colon must follow the key"));
            }
            self.at += 1;
            self.skip_space();
            match target {
                Target::Column(column, data_type) => self.column(column, data_type, depth)?,
                Target::Object(inner) => self.inner_object(inner, depth)?,
                Target::Skip => self.skip_value(depth)?,
            }
            self.skip_space();
            match self.byte() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.syntax("a comma or `}` must follow")),
            }
            self.skip_space();
        }
    }

    /// The value of a field of which an inner field is wanted.
    fn inner_object(&mut self, inner: usize, depth: usize) -> Result<(), Fault> {
        match self.byte() {
            b'{' => self.object(inner, depth + 1),
            b'n' => self.word(b"null"),
            _ => {
                if self.mistake.is_none() {
                    let field = self.shape.path(inner).to_owned();
                    let error = "an object was expected".to_owned();
                    self.mistake = Some(Reject { code: code::VALUE, error, field: Some(field) });
                }
                self.skip_value(depth)
            }
        }
    }

    /// The value of a wanted field.
    #[inline]
    fn column(&mut self, column: usize, data_type: DataType, depth: usize) -> Result<(), Fault> {
        match self.byte() {
            b'"' => {
                self.at += 1;
                let (start, span) = self.string()?;
                self.text(column, data_type, start, span);
                Ok(())
            }
            b'-' | b'0'..=b'9' => {
                let from = self.at;
                let number = self.number()?;
                let misfit = match data_type {
                    DataType::Int => number.int().map(|value| self.out.int(column, value)).err(),
                    DataType::Double => {
                        number.double().map(|value| self.out.double(column, value)).err()
                    }
                    _ => Some("is a number"),
                };
                if let Some(misfit) = misfit {
                    self.misfit(column, data_type, from, misfit);
                }
                Ok(())
            }
            b'n' => self.word(b"null"),
            first @ (b't' | b'f') => {
                let from = self.at;
                let value = first == b't';
                self.word(if value { b"true" } else { b"false" })?;
                match data_type {
                    DataType::Bool => self.out.bool(column, value),
                    _ => self.misfit(column, data_type, from, "is a bool"),
                }
                Ok(())
            }
            first => {
                self.skip_value(depth)?;
                let what = if first == b'{' { "an object" } else { "an array" };
                let error = format!("{what} is not {}", with_article(data_type));
                self.value_mistake(column, error);
                Ok(())
            }
        }
    }

    /// A wanted string.
    #[inline]
    fn text(&mut self, column: usize, data_type: DataType, start: usize, span: Span) {
        let raw = &self.bytes[start..span.end];
        if data_type == DataType::String {
            if !self.out.text(column, raw, span.escaped) && self.mistake.is_none() {
                self.mistake = Some(too_much_text(self.shape.name(column)));
            }
            return;
        }
        let text = if span.escaped {
            self.scratch.clear();
            scan::unescape(raw, self.scratch);
            self.scratch.as_slice()
        } else {
            raw
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        let misfit = match data_type {
            DataType::Timestamp => match parse_timestamp(text) {
                Ok(micros) => return self.out.timestamp(column, micros),
                Err(error) => error.to_string(),
            },
            DataType::Date => match parse_date(text) {
                Ok(days) => return self.out.date(column, days),
                Err(error) => error.to_string(),
            },
            _ => "a string is never converted".to_owned(),
        };
        let error = format!("{} is not {}: {misfit}", excerpt(text), with_article(data_type));
        self.value_mistake(column, error);
    }

    /// A value that nobody wants, inside `depth` objects and arrays.
    fn skip_value(&mut self, depth: usize) -> Result<(), Fault> {
        match self.byte() {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b'{' => self.object(self.shape.skipped(depth + 1), depth + 1),
            b'[' => self.skip_array(depth + 1),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(self.syntax("a value must follow")),
        }
    }

    fn skip_array(&mut self, depth: usize) -> Result<(), Fault> {
        self.open(depth)?;
        if self.byte() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_value(depth)?;
            self.skip_space();
            match self.byte() {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.syntax("a comma or `]` must follow")),
            }
            self.skip_space();
        }
    }

    /// Steps over a bracket and the space behind it.
    fn open(&mut self, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep { at: self.at });
        }
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    /// A string whose opening quote is behind us; gives where it starts and ends.
    #[inline]
    fn string(&mut self) -> Result<(usize, Span), Fault> {
        let start = self.at;
        match scan::string(self.bytes, start) {
            Ok(span) => {
                self.at = span.end + 1;
                Ok((start, span))
            }
            Err((at, expected)) => Err(Fault::Syntax { at, expected }),
        }
    }

    #[inline]
    fn number(&mut self) -> Result<Number<'a>, Fault> {
        match Number::scan(self.bytes, self.at) {
            Ok((number, end)) => {
                self.at = end;
                Ok(number)
            }
            Err((at, expected)) => Err(Fault::Syntax { at, expected }),
        }
    }

    #[inline]
    fn word(&mut self, word: &'static [u8]) -> Result<(), Fault> {
        match self.bytes[self.at..].starts_with(word) {
            true => {
                self.at += word.len();
                Ok(())
            }
            false => Err(self.syntax("a value must follow")),
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\t' | b'\r') {
            self.at += 1;
        }
    }

    /// The next byte; 0, which nothing begins with, at the end.
    #[inline]
    fn byte(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    fn syntax(&self, expected: &'static str) -> Fault {
        Fault::Syntax { at: self.at, expected }
    }

    #[cold]
    fn duplicate(&mut self, path: String) {
        if self.mistake.is_none() {
            let error = format!("the key {} is there twice", excerpt(&path));
            self.mistake = Some(Reject { code: code::DUPLICATE_KEY, error, field: Some(path) });
        }
    }

    #[cold]
    fn misfit(&mut self, column: usize, data_type: DataType, from: usize, misfit: &str) {
        let text = String::from_utf8_lossy(&self.bytes[from..self.at]);
        let error = format!("{} is not {}: it {misfit}", excerpt(&text), with_article(data_type));
        self.value_mistake(column, error);
    }

    #[cold]
    fn value_mistake(&mut self, column: usize, error: String) {
        if self.mistake.is_none() {
            let field = Some(self.shape.name(column).to_owned());
            self.mistake = Some(Reject { code: code::VALUE, error, field });
        }
    }
}

fn with_article(data_type: DataType) -> &'static str {
    match data_type {
        DataType::Bool => "a bool",
        DataType::Int => "an int",
        DataType::Double => "a double",
        DataType::String => "a string",
        DataType::Timestamp => "a timestamp",
        DataType::Date => "a date",
    }
}
