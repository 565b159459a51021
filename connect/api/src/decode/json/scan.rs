//! Strings: where they end, and what they say.

/// A string between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Index of the closing quote.
    pub(super) end: usize,
    /// Whether a backslash is in it.
    pub(super) escaped: bool,
}

/// Why a string is none, and where that shows.
pub(super) type Malformed = (usize, &'static str);

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// The index of the closing quote of a string that starts at `at`, behind the opening one, if
/// nothing in it is escaped. `None` if something is, or is wrong, or if the body ends so soon that
/// [`string`] must have a closer look.
#[inline]
pub(super) fn plain_string(bytes: &[u8], mut at: usize, high_bits: &mut u64) -> Option<usize> {
    // Eight bytes at a time up to the first that is special.
    let (words, _) = bytes.get(at..)?.as_chunks::<8>();
    for eight in words {
        let word = u64::from_le_bytes(*eight);
        let special = special_bytes(word);
        if special == 0 {
            *high_bits |= word & HIGH_BITS;
            at += 8;
            continue;
        }
        // All bits below the first special byte's.
        *high_bits |= word & HIGH_BITS & (special & special.wrapping_neg()).wrapping_sub(1);
        at += (special.trailing_zeros() / 8) as usize;
        return (bytes.get(at) == Some(&b'"')).then_some(at);
    }
    None
}

/// The high bit of each byte that is a quote, a backslash or a control character. Bytes above the
/// first such byte may be marked wrongly.
///
/// A byte below `n` loses its clear high bit to a borrow when `n` is subtracted; a quote becomes 0
/// when combined with a quote by exclusive or, and 0 is below 1.
#[inline]
fn special_bytes(word: u64) -> u64 {
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control | quote | backslash) & !word & HIGH_BITS
}

#[cold]
fn escape_ends(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let unit = hex(bytes, at + 2).ok_or((at, "four hex digits must follow `\\u`"))?;
            if !(0xD800..=0xDFFF).contains(&unit) {
                return Ok(at + 6);
            }
            let low = match bytes.get(at + 6..at + 8) {
                Some(b"\\u") => hex(bytes, at + 8),
                _ => None,
            };
            match (unit, low) {
                (0xD800..=0xDBFF, Some(0xDC00..=0xDFFF)) => Ok(at + 12),
                _ => Err((at, "half of a surrogate pair")),
            }
        }
        _ => Err((at, "no such escape")),
    }
}

/// Finds the end of the string that starts at `at`, behind the opening quote, checking escapes and
/// control characters on the way. `high_bits` becomes something else than 0 if the string is not
/// ASCII.
#[inline(never)]
pub(super) fn string(bytes: &[u8], mut at: usize, high_bits: &mut u64) -> Result<Span, Malformed> {
    let mut escaped = false;
    loop {
        while let Some(eight) = bytes.get(at..at + 8) {
            let word = u64::from_le_bytes(eight.try_into().expect("eight bytes"));
            if special_bytes(word) != 0 {
                break;
            }
            *high_bits |= word & HIGH_BITS;
            at += 8;
        }
        match bytes.get(at) {
            Some(b'"') => return Ok(Span { end: at, escaped }),
            Some(b'\\') => {
                at = escape_ends(bytes, at)?;
                escaped = true;
            }
            Some(0..0x20) => return Err((at, "a control character in a string")),
            Some(byte) => {
                *high_bits |= u64::from(*byte & 0x80);
                at += 1;
            }
            None => return Err((at, "a string without an end")),
        }
    }
}

/// Appends what a string says. `raw` is what [`string`] found between the quotes.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let len = match rest[at + 1] {
            b'u' => {
                let (char, len) = unicode_escape(&rest[at..]);
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                len
            }
            other => {
                out.push(match other {
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    quote_backslash_or_slash => quote_backslash_or_slash,
                });
                2
            }
        };
        rest = &rest[at + len..];
    }
    out.extend_from_slice(rest);
}

/// The character of a checked `\u` escape or pair of them, and its bytes.
fn unicode_escape(text: &[u8]) -> (char, usize) {
    let unit = |at| hex(text, at).expect("checked by `escape_ends`");
    let (code, len) = match unit(2) {
        high @ 0xD800..=0xDBFF => (0x10000 + ((high - 0xD800) << 10) + (unit(8) - 0xDC00), 12),
        code => (code, 6),
    };
    (char::from_u32(code).expect("no lone surrogate passes `escape_ends`"), len)
}

fn hex(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(raw: &str, expected: Option<&str>) {
        // At every distance from the eight-byte steps, and with something behind it.
        for padding in 0..9 {
            let text = format!("{}{raw}\",\"next\":1", "x".repeat(padding));
            let (mut high, mut high_of_plain) = (0, 0);
            let span = string(text.as_bytes(), 0, &mut high).ok();
            let found = span.map(|span| {
                if let Some(end) = plain_string(text.as_bytes(), 0, &mut high_of_plain) {
                    assert_eq!((end, high_of_plain != 0), (span.end, high != 0));
                } else {
                    assert!(span.escaped || span.end + 8 > text.len(), "{raw} is plain");
                }
                assert_eq!(high != 0, !text[..span.end].is_ascii());
                assert_eq!(span.escaped, raw.contains('\\'));
                let mut out = Vec::new();
                unescape(&text.as_bytes()[..span.end], &mut out);
                String::from_utf8(out).expect("unescaped text is UTF-8")
            });
            let expected = expected.map(|text| format!("{}{text}", "x".repeat(padding)));
            assert_eq!(found, expected, "{raw} after {padding} bytes");
        }
    }

    #[test]
    fn strings_end_where_they_should() {
        check("", Some(""));
        check("abc", Some("abc"));
        check("exactly8", Some("exactly8"));
        check("more than sixteen bytes", Some("more than sixteen bytes"));
        check("grün – 緑 🟢 \u{7f}", Some("grün – 緑 🟢 \u{7f}"));
        check(r#"\"\\\/\b\f\n\r\t"#, Some("\"\\/\u{8}\u{c}\n\r\t"));
        check(r"a\u00e9\u20AC\uD83D\ude00z", Some("aé€😀z"));
        check(r"\u0000", Some("\0"));
        check(r"ends with \\", Some("ends with \\"));
    }

    #[test]
    fn what_is_no_string_is_refused() {
        for raw in [
            "\n",
            "tab\there",
            "\0",
            "\u{1f}",
            r"\x",
            r"\u12",
            r"\u12g4",
            r"\ud800",
            r"\ud800x",
            r"\ud800\n",
            r"\ud800\u0041",
            r"\udc00",
            r"\udc00\ud800",
            r"\u+123",
        ] {
            check(raw, None);
        }
        assert_eq!(string(b"no end", 0, &mut 0), Err((6, "a string without an end")));
        assert_eq!(string(b"no end\\", 0, &mut 0), Err((6, "no such escape")));
        assert_eq!(string(b"no end \\\"", 0, &mut 0), Err((9, "a string without an end")));
    }
}
