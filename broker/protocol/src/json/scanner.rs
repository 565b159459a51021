use std::borrow::Cow;

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
            _ => Some(String::from_utf8_lossy(self.raw())),
        }
    }

    /// A decimal number, in quotes or not.
    pub(crate) fn int<N: std::str::FromStr>(self) -> Option<N> {
        std::str::from_utf8(self.raw()).ok()?.parse().ok()
    }
}

/// Walks over JSON once, handing out tokens that borrow from it.
#[derive(Clone, Debug)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Steps into an object or array if one starts here.
    pub(crate) fn enter(&mut self, open: u8) -> bool {
        self.skip_blanks();
        let found = self.peek() == Some(open);
        self.at += usize::from(found);
        found
    }

    /// The next key of the object that was entered, up to and including its colon; `None` at the
    /// object's end, which is stepped over.
    pub(crate) fn key(&mut self) -> Result<Option<Token<'a>>, NotJson> {
        if self.leave(b'}') {
            return Ok(None);
        }
        let key = match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote)?,
            Some(b'{' | b'[') => self.compound()?,
            Some(_) => self.bare()?,
            None => return Err(NotJson),
        };
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Steps over separators; true if the object or array ends here, stepping over that too.
    pub(crate) fn leave(&mut self, close: u8) -> bool {
        while let Some(b',' | b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
        let ends = self.peek() == Some(close);
        self.at += usize::from(ends);
        ends
    }

    /// The value that starts here.
    pub(crate) fn value(&mut self) -> Result<Token<'a>, NotJson> {
        self.skip_blanks();
        match self.peek() {
            Some(quote @ (b'"' | b'\'')) => self.quoted(quote),
            Some(b'{' | b'[') => self.compound(),
            Some(_) => self.bare(),
            None => Err(NotJson),
        }
    }

    /// Whether only blanks are left.
    pub(crate) fn at_end(&mut self) -> bool {
        self.skip_blanks();
        self.at >= self.bytes.len()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<Token<'a>, NotJson> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            match *self.bytes.get(at).ok_or(NotJson)? {
                b'\\' => {
                    escaped = true;
                    at += 2;
                }
                byte if byte == quote => break,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        Ok(Token::Text {
            raw: &self.bytes[start..at],
            escaped,
        })
    }

    fn bare(&mut self) -> Result<Token<'a>, NotJson> {
        let rest = &self.bytes[self.at..];
        let ends = |byte: &u8| {
            matches!(
                byte,
                b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n' | b'"'
            )
        };
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        if len == 0 {
            return Err(NotJson);
        }
        self.at += len;
        Ok(Token::Bare(&rest[..len]))
    }

    /// An object or array as a whole: only strings and brackets are looked at.
    fn compound(&mut self) -> Result<Token<'a>, NotJson> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match self.peek().ok_or(NotJson)? {
                quote @ (b'"' | b'\'') => {
                    self.quoted(quote)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(Token::Compound(&self.bytes[start..self.at]));
            }
        }
    }
}

/// Replaces escapes. A surrogate without its partner becomes U+FFFD, as any byte that is not
/// UTF-8 does.
fn unescape(raw: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
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
    Some((
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
        rest,
    ))
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
        if scanner.at_end() {
            Ok(found)
        } else {
            Err(NotJson)
        }
    }

    #[track_caller]
    fn check_entries(json: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        assert_eq!(entries(json), Ok(expected), "{json}");
    }

    #[test]
    fn objects_of_every_clients_dialect_are_walked() {
        check_entries("{}", &[]);
        check_entries(" { \"a\" : 1 , \"b\":\"x\" }\n", &[("a", "1"), ("b", "x")]);
        check_entries("{a:1,'b':'it',}", &[("a", "1"), ("b", "it")]);
        check_entries("{0:\"x\",1:null}", &[("0", "x"), ("1", "null")]);
        check_entries(
            r#"{{"q":0}:5,"t":[1,"]"]}"#,
            &[(r#"{"q":0}"#, "5"), ("t", r#"[1,"]"]"#)],
        );
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for json in [
            "",
            "[]",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":\"",
            "{\"a\":1",
            "{:1}",
            "{}x",
        ] {
            assert_eq!(entries(json), Err(NotJson), "{json}");
        }
        assert_eq!(entries("{\"a\":\"\\"), Err(NotJson));
    }
}
