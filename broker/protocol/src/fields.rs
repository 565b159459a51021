use std::borrow::Cow;

use crate::json::{NotJson, Scanner, Token, lossy, parse_int};
use crate::wire::Reader;

mod value; // what one field's text may be
mod writer;

pub use value::FieldValue;
pub use writer::FieldWriter;

/// More fields than any request has; walking stops there.
pub const FIELDS_MAX: usize = 256;
/// As many as a Java client sends with a pull, its longest header.
const INDEXED_MAX: usize = 20;

/// The name-value pairs of a header, as the bytes they came in. Every value is a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields<'a> {
    pairs: Pairs<'a>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack for one request; a box would be an allocation per request"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pairs<'a> {
    /// In a binary header the next pair is found by lengths, so there is nothing to remember.
    Binary(&'a [u8]),
    /// The inside of a JSON object has to be walked over to find its end; that walk is remembered.
    Indexed { object: &'a [u8], spans: [Span; INDEXED_MAX], len: usize },
    /// The inside of a JSON object with more pairs than the index holds.
    Json(&'a [u8]),
}

/// Where a name and its value lie in their object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    name_at: u32,
    name_len: u32,
    value_at: u32,
    value_len: u32,
    escaped: bool,
}

/// Why fields do not make up the type asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// The pairs themselves cannot be told apart.
    #[error("the header's fields are malformed")]
    Malformed,
    /// More pairs than any request has.
    #[error("the header has more than {FIELDS_MAX} fields")]
    TooMany,
    /// A field without which the request means nothing.
    #[error("the field `{0}` is missing")]
    Missing(&'static str),
    /// A value that is not of its field's type or range.
    #[error("the field `{0}` has a value that is not allowed")]
    Invalid(&'static str),
}

impl<'a> Fields<'a> {
    /// No fields.
    pub fn none() -> Self {
        Self::binary(&[])
    }

    pub(crate) fn binary(bytes: &'a [u8]) -> Self {
        Self { pairs: Pairs::Binary(bytes) }
    }

    /// Walks over the object that was entered, up to its end.
    pub(crate) fn json(scanner: &mut Scanner<'a>) -> Result<Self, NotJson> {
        let object = scanner.rest();
        let at = |part: &[u8]| part.as_ptr().addr() - object.as_ptr().addr();
        let mut spans = [Span::default(); INDEXED_MAX];
        let mut len = 0;
        while let Some(name) = scanner.key()? {
            let value = FieldText::of(scanner.value()?);
            if value.is_absent() {
                continue;
            }
            if let Some(span) = spans.get_mut(len) {
                let (name, raw) = (name.raw(), value.raw);
                // A frame is below 4 GiB.
                *span = Span {
                    name_at: at(name) as u32,
                    name_len: name.len() as u32,
                    value_at: at(raw) as u32,
                    value_len: raw.len() as u32,
                    escaped: value.escaped,
                };
            }
            len += 1;
        }
        let pairs = if len <= INDEXED_MAX {
            Pairs::Indexed { object, spans, len }
        } else {
            Pairs::Json(object)
        };
        Ok(Self { pairs })
    }

    /// The pairs in order, without those whose value is null or empty.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&'a [u8], FieldText<'a>), FieldsError>> {
        let mut walk = Walk::new(self);
        std::iter::from_fn(move || walk.next().transpose())
    }

    /// One field's text; `None` if absent. The last of equal names wins.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut found = None;
        for pair in self.iter() {
            match pair {
                Ok((key, text)) if key == name.as_bytes() => found = Some(text),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        found.and_then(FieldText::text)
    }

    /// The fields as the type that a code gives them.
    pub fn read<T: FromFields<'a>>(&self) -> Result<T, FieldsError> {
        T::from_fields(self)
    }
}

struct Walk<'f, 'a> {
    left: usize,
    steps: Steps<'f, 'a>,
}

enum Steps<'f, 'a> {
    Binary(Reader<'a>),
    Indexed(&'a [u8], std::slice::Iter<'f, Span>),
    Json(Scanner<'a>),
}

impl<'f, 'a> Walk<'f, 'a> {
    fn new(fields: &'f Fields<'a>) -> Self {
        let steps = match &fields.pairs {
            Pairs::Binary(bytes) => Steps::Binary(Reader::new(bytes)),
            Pairs::Indexed { object, spans, len } => Steps::Indexed(object, spans[..*len].iter()),
            Pairs::Json(object) => Steps::Json(Scanner::new(object)),
        };
        Self { left: FIELDS_MAX, steps }
    }

    #[inline]
    fn next(&mut self) -> Result<Option<(&'a [u8], FieldText<'a>)>, FieldsError> {
        loop {
            let (name, value) = match &mut self.steps {
                Steps::Indexed(object, spans) => {
                    let Some(span) = spans.next() else {
                        return Ok(None);
                    };
                    let part = |at: u32, len: u32| &object[at as usize..][..len as usize];
                    let raw = part(span.value_at, span.value_len);
                    let value = FieldText { raw, escaped: span.escaped };
                    return Ok(Some((part(span.name_at, span.name_len), value)));
                }
                Steps::Json(scanner) => {
                    let name = scanner.key().map_err(|NotJson| FieldsError::Malformed)?;
                    let Some(name) = name else {
                        return Ok(None);
                    };
                    let value = scanner.value().map_err(|NotJson| FieldsError::Malformed)?;
                    (name.raw(), FieldText::of(value))
                }
                Steps::Binary(reader) => {
                    if reader.is_empty() {
                        return Ok(None);
                    }
                    let (name, raw) = binary_pair(reader).ok_or(FieldsError::Malformed)?;
                    (name, FieldText { raw, escaped: false })
                }
            };
            self.left = self.left.checked_sub(1).ok_or(FieldsError::TooMany)?;
            if !value.is_absent() {
                return Ok(Some((name, value)));
            }
        }
    }
}

fn binary_pair<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let key_len = usize::try_from(reader.i16()?).ok()?;
    Some((reader.take(key_len)?, reader.bytes32()?))
}

/// A field's value, not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldText<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> FieldText<'a> {
    pub(crate) fn of(token: Token<'a>) -> Self {
        let raw = if token.is_null() { &[] } else { token.raw() };
        Self { raw, escaped: token.escaped() }
    }

    /// Null and empty: the binary form cannot tell them from absent ones, and Java does not either.
    pub(crate) fn is_absent(self) -> bool {
        self.raw.is_empty()
    }

    /// The text, borrowed unless it had escapes; `None` if an escape is malformed. What is not
    /// UTF-8 becomes U+FFFD, as in Java.
    pub fn text(self) -> Option<Cow<'a, str>> {
        if !self.escaped {
            return Some(lossy(self.raw));
        }
        Token::Text { raw: self.raw, escaped: true }.text()
    }

    /// A decimal number.
    pub fn int<N: TryFrom<i64>>(self) -> Option<N> {
        parse_int(self.raw)
    }

    /// `true` in any case is true, everything else is false.
    pub fn flag(self) -> bool {
        self.raw.eq_ignore_ascii_case(b"true")
    }
}

/// A type that is read from a header's fields.
pub trait FromFields<'a>: Sized {
    /// Reads it; fields it does not know are ignored.
    fn from_fields(fields: &Fields<'a>) -> Result<Self, FieldsError>;
}

/// Declares a struct whose members are header fields: `member: Type = "wireName"`, with `or value`
/// where an absent field has a meaning of its own.
macro_rules! fields {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(<$lt:lifetime>)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $wire:literal $(or $default:expr)?,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        $vis struct $name $(<$lt>)? {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        impl $(<$lt>)? $name $(<$lt>)? {
            /// Writes the members as header fields.
            $vis fn write_fields(&self, to: &mut $crate::FieldWriter<'_>) {
                $($crate::FieldValue::write(&self.$field, $wire, to);)*
            }
        }

        $crate::fields::fields!(@from $name $(<$lt>)? {
            $($field: $type = $wire $(or $default)?,)*
        });
    };
    (@from $name:ident <$lt:lifetime> { $($body:tt)* }) => {
        impl<$lt> $crate::FromFields<$lt> for $name<$lt> {
            $crate::fields::fields!(@read $lt { $($body)* });
        }
    };
    (@from $name:ident { $($body:tt)* }) => {
        impl<'x> $crate::FromFields<'x> for $name {
            $crate::fields::fields!(@read 'x { $($body)* });
        }
    };
    (@read $lt:lifetime {
        $($field:ident: $type:ty = $wire:literal $(or $default:expr)?,)*
    }) => {
        fn from_fields(fields: &$crate::Fields<$lt>) -> Result<Self, $crate::FieldsError> {
            $(let mut $field: Option<$type> = None;)*
            for pair in fields.iter() {
                let (name, text) = pair?;
                $(if name == $wire.as_bytes() {
                    let value = <$type as $crate::FieldValue>::read(text);
                    $field = Some(value.ok_or($crate::FieldsError::Invalid($wire))?);
                    continue;
                })*
                let _ = (name, text);
            }
            Ok(Self {
                $($field: {
                    $(let $field = $field.or(Some($default));)?
                    let absent = <$type as $crate::FieldValue>::absent;
                    $field.or_else(absent).ok_or($crate::FieldsError::Missing($wire))?
                },)*
            })
        }
    };
}
pub(crate) use fields;

#[cfg(test)]
mod tests;
