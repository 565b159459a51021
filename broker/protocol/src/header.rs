use std::borrow::Cow;

use crate::fields::Fields;
use crate::json::{NotJson, Scanner, Token, lossy};
use crate::wire::Reader;
use crate::{HeaderKind, RequestCode, ResponseCode};

/// The version we send: `V5_3_3` of `MQVersion.java`. Java clients refuse SQL subscriptions on a
/// broker that answers a heartbeat with less than 232.
pub const VERSION: i32 = 479;

pub(crate) const RESPONSE: i32 = 1;
pub(crate) const ONEWAY: i32 = 2;

/// What a peer's client is written in. (In RocketMQ, `LanguageCode`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP",
    "OMS", "RUST", "NODE_JS",
];

impl Language {
    /// Java.
    pub const JAVA: Self = Self(0);
    /// C++, and Python, which wraps it.
    pub const CPP: Self = Self(1);
    /// Anything we have no name for.
    pub const OTHER: Self = Self(7);
    /// Go.
    pub const GO: Self = Self(9);
    /// Rust: ourselves.
    pub const RUST: Self = Self(12);

    /// The name that JSON headers use.
    pub fn name(self) -> &'static str {
        LANGUAGES.get(usize::from(self.0)).copied().unwrap_or("OTHER")
    }

    fn of_token(token: Token<'_>) -> Self {
        let text = match token {
            Token::Text { raw, .. } | Token::Bare(raw) => raw,
            Token::Compound(_) => return Self::OTHER,
        };
        Self::named(text)
    }

    /// The language of that name.
    pub(crate) fn named(name: &[u8]) -> Self {
        let known = LANGUAGES.iter().position(|known| known.as_bytes() == name);
        known.and_then(|at| u8::try_from(at).ok()).map_or(Self::OTHER, Self)
    }
}

/// Why a header cannot be read. Without its correlation id nothing can be answered, so the
/// connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// A length in a binary header points outside of it.
    #[error("the lengths in the header do not fit together")]
    Lengths,
    /// Not a JSON object.
    #[error("the header is not a JSON object")]
    Json,
    /// A number is missing, not a number, or too large.
    #[error("`{0}` in the header is not a number in range")]
    Number(&'static str),
}

/// The head of a request or a response. Its fields stay bytes until someone asks for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// How it was written; answers use the same.
    pub kind: HeaderKind,
    /// The request's code, or the response's.
    pub code: i32,
    /// What the sender is written in.
    pub language: Language,
    /// The sender's version, as an ordinal of RocketMQ's `MQVersion`.
    pub version: i32,
    /// Correlates a response with its request.
    pub opaque: i32,
    /// The raw flag; see [`Header::is_response`] and [`Header::is_oneway`].
    pub flag: i32,
    /// An error text or a diagnostic; empty if there is none.
    pub remark: Cow<'a, str>,
    /// Everything that depends on the code. (In RocketMQ, `extFields`.)
    pub fields: Fields<'a>,
}

impl<'a> Header<'a> {
    pub(crate) fn decode(kind: HeaderKind, bytes: &'a [u8]) -> Result<Self, HeaderError> {
        match kind {
            HeaderKind::Json => Self::decode_json(bytes),
            HeaderKind::Binary => Self::decode_binary(bytes).ok_or(HeaderError::Lengths),
        }
    }

    /// Whether this answers a request of ours.
    pub fn is_response(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// Whether the sender wants no answer, not even an error.
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }

    /// The code of a request.
    pub fn request_code(&self) -> RequestCode {
        RequestCode(self.code)
    }

    /// The code of a response.
    pub fn response_code(&self) -> ResponseCode {
        ResponseCode(self.code)
    }

    /// | bytes | field                                                                     |
    /// |-------|---------------------------------------------------------------------------|
    /// | 2     | code, signed                                                              |
    /// | 1     | language                                                                  |
    /// | 2     | version, signed                                                           |
    /// | 4     | opaque                                                                    |
    /// | 4     | flag                                                                      |
    /// | 4 + n | remark                                                                    |
    /// | 4 + n | fields, each a name with two length bytes and a value with four           |
    fn decode_binary(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let code = i32::from(reader.i16()?);
        let language = Language(reader.u8()?);
        let version = i32::from(reader.i16()?);
        let opaque = reader.i32()?;
        let flag = reader.i32()?;
        let remark = lossy(reader.bytes32()?);
        let fields = Fields::binary(reader.bytes32()?);
        Some(Self {
            kind: HeaderKind::Binary,
            code,
            language,
            version,
            opaque,
            flag,
            remark,
            fields,
        })
    }

    fn decode_json(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let mut fields = Fields::none();
        let head = JsonHead::scan(bytes, |scanner| {
            fields = Fields::json(scanner)?;
            Ok(())
        })?;
        Ok(Self {
            kind: HeaderKind::Json,
            code: head.code,
            language: head.language,
            version: head.version,
            opaque: head.opaque,
            flag: head.flag,
            remark: head.remark,
            fields,
        })
    }
}

/// A JSON header without its fields.
pub(crate) struct JsonHead<'a> {
    pub(crate) code: i32,
    pub(crate) language: Language,
    pub(crate) version: i32,
    pub(crate) opaque: i32,
    pub(crate) flag: i32,
    pub(crate) remark: Cow<'a, str>,
}

impl<'a> JsonHead<'a> {
    /// Walks over a header once. `fields` walks over those where it comes to them, from behind the
    /// bracket that opens them to behind the one that closes them.
    #[inline]
    pub(crate) fn scan(
        bytes: &'a [u8],
        mut fields: impl FnMut(&mut Scanner<'a>) -> Result<(), NotJson>,
    ) -> Result<Self, HeaderError> {
        let mut scanner = Scanner::new(bytes);
        let (mut code, mut opaque) = (None, None);
        let (mut flag, mut version) = (0, 0);
        let mut language = Language::OTHER;
        let mut remark = Cow::Borrowed("");
        if !scanner.enter(b'{') {
            return Err(HeaderError::Json);
        }
        while let Some(key) = scanner.key().map_err(|_| HeaderError::Json)? {
            if key.raw() == b"extFields" && scanner.enter(b'{') {
                fields(&mut scanner).map_err(|_| HeaderError::Json)?;
                continue;
            }
            let value = scanner.value().map_err(|_| HeaderError::Json)?;
            let number = |name| value.int().ok_or(HeaderError::Number(name));
            match key.raw() {
                b"code" => code = Some(number("code")?),
                b"opaque" => opaque = Some(number("opaque")?),
                b"flag" if !value.is_null() => flag = number("flag")?,
                b"version" if !value.is_null() => version = number("version")?,
                b"language" => language = Language::of_token(value),
                b"remark" => remark = value.text().unwrap_or_default(),
                _ => {}
            }
        }
        let code = code.ok_or(HeaderError::Number("code"))?;
        let opaque = opaque.ok_or(HeaderError::Number("opaque"))?;
        if !scanner.at_end() {
            return Err(HeaderError::Json);
        }
        Ok(Self { code, language, version, opaque, flag, remark })
    }
}

#[cfg(test)]
mod tests;
