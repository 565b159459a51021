use std::borrow::Cow;

use millrace_types::find_either;

use super::NotJson;

/// One key or value, not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// What stands between quotes.
    Text { raw: &'a [u8], escaped: bool },
    /// A number, `true`, `false`, `null`, or an unquoted key.
    Bare(&'a [u8]),
    /// An object or an array, with its brackets.
    Compound(&'a [u8]),
}

impl<'a> Token<'a> {
    /// The bytes as they stand, escapes and all.
    pub(crate) fn raw(self) -> &'a [u8] {
        match self {
            Self::Text { raw, .. } | Self::Bare(raw) | Self::Compound(raw) => raw,
        }
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self, Self::Bare(b"null"))
    }

    pub(crate) fn escaped(self) -> bool {
        matches!(self, Self::Text { escaped: true, .. })
    }

    /// The text without its escapes; `None` if it is null or an escape is malformed.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text { raw, escaped: true } => unescape(raw).map(Cow::Owned),
            _ if self.is_null() => None,
            _ => Some(lossy(self.raw())),
        }
    }

    /// A decimal number, in quotes or not.
    pub(crate) fn int<N: TryFrom<i64>>(self) -> Option<N> {
        parse_int(self.raw())
    }
}

/// Walks over JSON once, handing out tokens that borrow from it.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been walked over.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Steps into an object or array if one starts here.
    pub(crate) fn enter(&mut self, open: u8) -> bool {
        self.skip_blanks();
        self.eat(open)
    }

    /// The next key of the object that was entered, up to and including its colon; `None` at the
    /// object's end, which is stepped over.
    #[inline]
    pub(crate) fn key(&mut self) -> Result<Option<Token<'a>>, NotJson> {
        if self.leave(b'}') {
            return Ok(None);
        }
        let key = self.token()?;
        self.colon()?;
        Ok(Some(key))
    }

    /// The next key if it is one letter, written the way clients write it: quoted, and right
    /// before its colon. Otherwise nothing is stepped over.
    #[inline]
    pub(crate) fn letter(&mut self) -> Option<u8> {
        match self.rest {
            [b'"', letter @ b'a'..=b'z', b'"', b':', rest @ ..] => {
                self.rest = rest;
                Some(*letter)
            }
            _ => None,
        }
    }

    /// Steps over what stands between a key and its value.
    #[inline]
    pub(crate) fn colon(&mut self) -> Result<(), NotJson> {
        self.skip_blanks();
        if self.eat(b':') { Ok(()) } else { Err(NotJson) }
    }

    /// Steps over separators; true if the object or array ends here, stepping over that too.
    #[inline]
    pub(crate) fn leave(&mut self, close: u8) -> bool {
        while let [b',' | b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.eat(close)
    }

    /// The value that starts here.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Token<'a>, NotJson> {
        self.skip_blanks();
        self.token()
    }

    /// Whether only blanks are left.
    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.rest.is_empty()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn token(&mut self) -> Result<Token<'a>, NotJson> {
        match self.rest {
            [b'"', text @ ..] => self.quoted::<b'"'>(text),
            [b'\'', text @ ..] => self.quoted::<b'\''>(text),
            [b'{' | b'[', ..] => self.compound(),
            _ => self.bare(),
        }
    }

    #[inline]
    fn quoted<const QUOTE: u8>(&mut self, text: &'a [u8]) -> Result<Token<'a>, NotJson> {
        let mut len = 0;
        let mut escaped = false;
        loop {
            let rest = text.get(len..).ok_or(NotJson)?;
            len += find_either::<QUOTE, b'\\'>(rest).ok_or(NotJson)?;
            if text[len] == QUOTE {
                break;
            }
            escaped = true;
            len += 2;
        }
        self.rest = &text[len + 1..];
        Ok(Token::Text { raw: &text[..len], escaped })
    }

    fn bare(&mut self) -> Result<Token<'a>, NotJson> {
        let ends = |byte: &u8| {
            matches!(byte, b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b'"')
        };
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        if len == 0 {
            return Err(NotJson);
        }
        let (bare, rest) = self.rest.split_at(len);
        self.rest = rest;
        Ok(Token::Bare(bare))
    }

    /// An object or array as a whole: only strings and brackets are looked at.
    fn compound(&mut self) -> Result<Token<'a>, NotJson> {
        let start = self.rest;
        let mut depth = 0usize;
        loop {
            match self.rest {
                [b'"', text @ ..] => {
                    self.quoted::<b'"'>(text)?;
                    continue;
                }
                [b'\'', text @ ..] => {
                    self.quoted::<b'\''>(text)?;
                    continue;
                }
                [b'{' | b'[', ..] => depth += 1,
                [b'}' | b']', ..] => depth -= 1,
                [] => return Err(NotJson),
                _ => {}
            }
            self.rest = &self.rest[1..];
            if depth == 0 {
                return Ok(Token::Compound(&start[..start.len() - self.rest.len()]));
            }
        }
    }
}

/// Replaces escapes. A surrogate without its partner becomes U+FFFD, as any byte that is not
/// UTF-8 does.
fn unescape(raw: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = find_either::<b'\\', b'\\'>(rest) {
        out.extend_from_slice(&rest[..at]);
        let (&kind, after) = rest[at + 1..].split_first()?;
        rest = after;
        match kind {
            b'u' => {
                let (c, after) = unicode(rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'"' | b'\'' | b'/' | b'\\' => out.push(kind),
            _ => return None,
        }
    }
    out.extend_from_slice(rest);
    Some(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// The text with U+FFFD for what is not UTF-8, as Java reads it.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// A decimal number with an optional sign, and nothing else.
pub(crate) fn parse_int<N: TryFrom<i64>>(bytes: &[u8]) -> Option<N> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut number = 0i64;
    if digits.len() <= DIGITS_SAFE {
        for digit in digits {
            number = number * 10 - i64::from(decimal(*digit)?);
        }
    } else {
        for digit in digits {
            // Downwards, because there is one more negative number than there are positive ones.
            number = number.checked_mul(10)?.checked_sub(i64::from(decimal(*digit)?))?;
        }
    }
    let number = if negative { number } else { number.checked_neg()? };
    N::try_from(number).ok()
}

/// So many digits never leave the range of `i64`.
const DIGITS_SAFE: usize = 18;

#[inline]
fn decimal(digit: u8) -> Option<u8> {
    Some(digit.wrapping_sub(b'0')).filter(|digit| *digit <= 9)
}

/// The character that `\u` introduces, and what follows it.
fn unicode(rest: &[u8]) -> Option<(char, &[u8])> {
    let (unit, rest) = hex4(rest)?;
    if (0xD800..0xDC00).contains(&unit)
        && let Some(low) = rest.strip_prefix(b"\\u")
        && let Some((low, after)) = hex4(low)
        && (0xDC00..0xE000).contains(&low)
    {
        let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        return Some((char::from_u32(code)?, after));
    }
    Some((char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

fn hex4(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let mut unit = 0;
    for &digit in digits {
        unit = unit * 16 + char::from(digit).to_digit(16)?;
    }
    Some((unit, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Option<&str>) {
        let quoted = format!("\"{raw}\"");
        let text = Scanner::new(quoted.as_bytes()).value().unwrap().text();
        assert_eq!(text.as_deref(), expected, "{raw}");
    }

    #[test]
    fn escapes_become_characters() {
        check("plain", Some("plain"));
        check(r"TAGS\u0001a\u0002", Some("TAGS\u{1}a\u{2}"));
        check(r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t"));
        check(r"\uD83D\uDE00!", Some("😀!"));
        check(r"\uD83D!", Some("\u{FFFD}!"));
        check(r"\uD83D\u0041", Some("\u{FFFD}A"));
        check(r"\u00zz", None);
        check(r"\q", None);
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for text in [
            "0",
            "-0",
            "+7",
            "007",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775808",
            "-9223372036854775809",
            "",
            "-",
            "1.5",
            "1e3",
            " 1",
            "0x1",
        ] {
            assert_eq!(parse_int::<i64>(text.as_bytes()), text.parse().ok(), "{text}");
            assert_eq!(parse_int::<i32>(text.as_bytes()), text.parse().ok(), "{text}");
        }
    }

    #[track_caller]
    fn entries(json: &str) -> Result<Vec<(String, String)>, NotJson> {
        let mut scanner = Scanner::new(json.as_bytes());
        let mut found = Vec::new();
        if !scanner.enter(b'{') {
            return Err(NotJson);
        }
        let lossy = |token: Token<'_>| String::from_utf8_lossy(token.raw()).into_owned();
        while let Some(key) = scanner.key()? {
            found.push((lossy(key), lossy(scanner.value()?)));
        }
        if scanner.at_end() { Ok(found) } else { Err(NotJson) }
    }

    #[track_caller]
    fn check_entries(json: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(entries(json), Ok(expected), "{json}");
    }

    #[test]
    fn objects_of_every_clients_dialect_are_walked() {
        check_entries("{}", &[]);
        check_entries(" { \"a\" : 1 , \"b\":\"x\" }\n", &[("a", "1"), ("b", "x")]);
        check_entries("{a:1,'b':'it',}", &[("a", "1"), ("b", "it")]);
        check_entries("{0:\"x\",1:null}", &[("0", "x"), ("1", "null")]);
        check_entries(r#"{{"q":0}:5,"t":[1,"]"]}"#, &[(r#"{"q":0}"#, "5"), ("t", r#"[1,"]"]"#)]);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in ["", "[]", "{", "{\"a\"", "{\"a\":", "{\"a\":\"", "{\"a\":1", "{:1}", "{}x"] {
            assert_eq!(entries(json), Err(NotJson), "{json}");
        }
        assert_eq!(entries("{\"a\":\"\\"), Err(NotJson));
    }
}
