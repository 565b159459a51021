//! The grammar of JSON, once through a body.

use std::ops::Range;

use super::super::{code, excerpt, time, too_much_text, utf8};
use super::number::Number;
use super::scan;
use super::shape::{Duplicate, Shape, Target, Visit};
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
/// the first is reported. After a reject `out` may have got some of the values, and texts among
/// them may not even be UTF-8.
pub(super) fn walk(
    body: &[u8],
    shape: &mut Shape,
    scratch: &mut Vec<u8>,
    out: &mut impl Output,
) -> Result<(), Reject> {
    let mut walk =
        Walk { bytes: body, shape, scratch, out, high_bits: 0, mistake: None, fault: None };
    let end = walk.document();
    // What is not ASCII is looked at as a whole, which most bodies are spared.
    if end.is_err() || walk.high_bits != 0 {
        utf8(body)?;
    }
    match (walk.fault, walk.mistake) {
        (None, None) => Ok(()),
        (None, Some(mistake)) => Err(mistake),
        (Some(Fault::Syntax { at, expected }), _) => Err(Reject {
            code: code::SYNTAX,
            error: format!("not valid JSON at byte {at}: {expected}"),
            field: None,
        }),
        (Some(Fault::TooDeep { at }), _) => Err(Reject {
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

/// The walk has ended; `Walk::fault` says why. Positions are passed and returned by value, and
/// this is nothing, so that both stay in registers.
struct Stop;

/// Where the next thing begins.
type Next = Result<usize, Stop>;

struct Walk<'a, O> {
    bytes: &'a [u8],
    shape: &'a mut Shape,
    scratch: &'a mut Vec<u8>,
    out: &'a mut O,
    /// Not 0 if a string had a byte that is not ASCII.
    high_bits: u64,
    /// The first mistake in a body that may be valid JSON.
    mistake: Option<Reject>,
    fault: Option<Fault>,
}

impl<'a, O: Output> Walk<'a, O> {
    fn document(&mut self) -> Next {
        let at = self.space(0);
        let end = match self.byte(at) {
            b'{' => self.object(at, 0, 1)?,
            _ => {
                let end = self.skip_value(at, 0)?;
                if self.shape.wants_columns() {
                    self.mistake = Some(Reject {
                        code: code::NOT_AN_OBJECT,
                        error: "the body is not a JSON object".to_owned(),
                        field: None,
                    });
                }
                end
            }
        };
        let end = self.space(end);
        match end == self.bytes.len() {
            true => Ok(end),
            false => self.syntax(end, "nothing may follow the value"),
        }
    }

    /// An object that begins at `at` and is the `depth`th around its values.
    fn object(&mut self, at: usize, object: usize, depth: usize) -> Next {
        let mut at = self.open(at, depth)?;
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        let mut visit = self.shape.enter(object);
        loop {
            if self.byte(at) != b'"' {
                return self.syntax(at, "a key must follow");
            }
            let target;
            (target, at) = match self.shape.usual_key(&mut visit, self.bytes, at + 1) {
                Some(found) => found,
                None => self.key(&mut visit, at + 1)?,
            };
            at = self.space(at);
            at = match target {
                Target::Column(column, data_type) => self.column(at, column, data_type, depth)?,
                Target::Object(inner) => self.inner_object(at, inner, depth)?,
                Target::Skip => self.skip_value(at, depth)?,
            };
            at = self.space(at);
            match self.byte(at) {
                b',' => at = self.space(at + 1),
                b'}' => return Ok(at + 1),
                _ => return self.syntax(at, "a comma or `}` must follow"),
            }
        }
    }

    /// Any key, from behind its opening quote to behind its colon.
    #[inline(never)]
    fn key(&mut self, visit: &mut Visit, at: usize) -> Result<(Target, usize), Stop> {
        let (raw, escaped, end) = self.string(at)?;
        let key = if escaped {
            self.scratch.clear();
            scan::unescape(raw, self.scratch);
            self.scratch.as_slice()
        } else {
            raw
        };
        let target = match self.shape.key(visit, key) {
            Ok(target) => target,
            Err(Duplicate(path)) => {
                self.duplicate(path);
                Target::Skip
            }
        };
        let colon = self.space(end);
        match self.byte(colon) {
            b':' => Ok((target, colon + 1)),
            _ => self.syntax(colon, "a colon must follow the key").map(|at| (target, at)),
        }
    }

    /// The value of a field of which an inner field is wanted.
    fn inner_object(&mut self, at: usize, inner: usize, depth: usize) -> Next {
        match self.byte(at) {
            b'{' => self.object(at, inner, depth + 1),
            b'n' => self.word(at, b"null"),
            _ => {
                if self.mistake.is_none() {
                    let field = self.shape.path(inner).to_owned();
                    let error = "an object was expected".to_owned();
                    self.mistake = Some(Reject { code: code::VALUE, error, field: Some(field) });
                }
                self.skip_value(at, depth)
            }
        }
    }

    /// The value of a wanted field.
    #[inline]
    fn column(&mut self, at: usize, column: usize, data_type: DataType, depth: usize) -> Next {
        match self.byte(at) {
            b'n' => self.word(at, b"null"),
            _ if data_type == DataType::Json => {
                let end = self.skip_value(at, depth)?;
                if !self.out.text(column, &self.bytes[at..end], false) && self.mistake.is_none() {
                    self.mistake = Some(too_much_text(self.shape.name(column)));
                }
                Ok(end)
            }
            b'"' => {
                let (raw, escaped, end) = self.string(at + 1)?;
                if data_type != DataType::String {
                    self.parsed_text(column, data_type, raw, escaped);
                } else if !self.out.text(column, raw, escaped) && self.mistake.is_none() {
                    self.mistake = Some(too_much_text(self.shape.name(column)));
                }
                Ok(end)
            }
            b'-' | b'0'..=b'9' => {
                let (number, end) = self.number(at)?;
                let misfit = match data_type {
                    DataType::Int => number.int().map(|value| self.out.int(column, value)).err(),
                    DataType::Double => {
                        number.double().map(|value| self.out.double(column, value)).err()
                    }
                    _ => Some("is a number"),
                };
                if let Some(misfit) = misfit {
                    self.misfit(column, data_type, at..end, misfit);
                }
                Ok(end)
            }
            first @ (b't' | b'f') => {
                let value = first == b't';
                let end = self.word(at, if value { b"true" } else { b"false" })?;
                match data_type {
                    DataType::Bool => self.out.bool(column, value),
                    _ => self.misfit(column, data_type, at..end, "is a bool"),
                }
                Ok(end)
            }
            first => {
                let end = self.skip_value(at, depth)?;
                let what = if first == b'{' { "an object" } else { "an array" };
                let error = format!("{what} is not {}", with_article(data_type));
                self.value_mistake(column, error);
                Ok(end)
            }
        }
    }

    /// A string in a column that is not of strings.
    fn parsed_text(&mut self, column: usize, data_type: DataType, raw: &[u8], escaped: bool) {
        let text = if escaped {
            self.scratch.clear();
            scan::unescape(raw, self.scratch);
            self.scratch.as_slice()
        } else {
            raw
        };
        let misfit = match data_type {
            DataType::Timestamp => match time::timestamp(text) {
                Ok(micros) => return self.out.timestamp(column, micros),
                Err(error) => error.to_string(),
            },
            DataType::Date => match time::date(text) {
                Ok(days) => return self.out.date(column, days),
                Err(error) => error.to_string(),
            },
            _ => "a string is never converted".to_owned(),
        };
        let text = excerpt(&String::from_utf8_lossy(text));
        let error = format!("{text} is not {}: {misfit}", with_article(data_type));
        self.value_mistake(column, error);
    }

    /// A value that nobody wants, inside `depth` objects and arrays.
    fn skip_value(&mut self, at: usize, depth: usize) -> Next {
        match self.byte(at) {
            b'"' => self.string(at + 1).map(|(_, _, end)| end),
            b'-' | b'0'..=b'9' => self.number(at).map(|(_, end)| end),
            b'{' => self.object(at, self.shape.skipped(depth + 1), depth + 1),
            b'[' => self.skip_array(at, depth + 1),
            b't' => self.word(at, b"true"),
            b'f' => self.word(at, b"false"),
            b'n' => self.word(at, b"null"),
            _ => self.syntax(at, "a value must follow"),
        }
    }

    fn skip_array(&mut self, at: usize, depth: usize) -> Next {
        let mut at = self.open(at, depth)?;
        if self.byte(at) == b']' {
            return Ok(at + 1);
        }
        loop {
            at = self.skip_value(at, depth)?;
            at = self.space(at);
            match self.byte(at) {
                b',' => at = self.space(at + 1),
                b']' => return Ok(at + 1),
                _ => return self.syntax(at, "a comma or `]` must follow"),
            }
        }
    }

    /// Steps over a bracket and the space behind it.
    #[inline]
    fn open(&mut self, at: usize, depth: usize) -> Next {
        if depth > DEPTH_MAX {
            self.fault = Some(Fault::TooDeep { at });
            return Err(Stop);
        }
        Ok(self.space(at + 1))
    }

    /// A string from behind its opening quote: what stands between the quotes, whether something
    /// in it is escaped, and where the next thing begins.
    #[inline]
    fn string(&mut self, start: usize) -> Result<(&'a [u8], bool, usize), Stop> {
        let (end, escaped) = match scan::plain_string(self.bytes, start, &mut self.high_bits) {
            Some(end) => (end, false),
            None => match scan::string(self.bytes, start, &mut self.high_bits) {
                Ok(span) => (span.end, span.escaped),
                Err((at, expected)) => {
                    self.fault = Some(Fault::Syntax { at, expected });
                    return Err(Stop);
                }
            },
        };
        Ok((&self.bytes[start..end], escaped, end + 1))
    }

    #[inline]
    fn number(&mut self, at: usize) -> Result<(Number<'a>, usize), Stop> {
        Number::scan(self.bytes, at).map_err(|(at, expected)| {
            self.fault = Some(Fault::Syntax { at, expected });
            Stop
        })
    }

    #[inline]
    fn word(&mut self, at: usize, word: &'static [u8]) -> Next {
        match self.bytes[at..].starts_with(word) {
            true => Ok(at + word.len()),
            false => self.syntax(at, "a value must follow"),
        }
    }

    /// Steps over white space.
    #[inline]
    fn space(&self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\t' | b'\r') {
            at += 1;
        }
        at
    }

    /// A byte; 0, which nothing begins with, behind the end.
    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    #[cold]
    fn syntax(&mut self, at: usize, expected: &'static str) -> Next {
        self.fault = Some(Fault::Syntax { at, expected });
        Err(Stop)
    }

    #[cold]
    fn duplicate(&mut self, path: String) {
        if self.mistake.is_none() {
            let error = format!("the key {} is there twice", excerpt(&path));
            self.mistake = Some(Reject { code: code::DUPLICATE_KEY, error, field: Some(path) });
        }
    }

    #[cold]
    fn misfit(&mut self, column: usize, data_type: DataType, at: Range<usize>, misfit: &str) {
        let text = String::from_utf8_lossy(&self.bytes[at]);
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
        DataType::Json => "a value of JSON",
    }
}
