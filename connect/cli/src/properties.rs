//! Java properties, as RocketMQ's configuration files are written.

/// One key with its value, as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property {
    /// The line that it begins on, from 1 on.
    pub(crate) line: usize,
    pub(crate) key: String,
    /// Without white space at its end, which Java keeps and nobody sees.
    pub(crate) value: String,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum PropertiesError {
    #[error("line {0} is not UTF-8")]
    Encoding(usize),
    #[error("`\\u` in line {0} is not followed by four hexadecimal digits")]
    Escape(usize),
}

/// Reads what `java.util.Properties` reads, in this order: comments, lines that end with `\` and go
/// on in the next, keys that end at `=`, `:` or white space, and escapes. Java takes every byte for
/// a character of ISO 8859-1; here a comment may be in any encoding, anything else is UTF-8.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<Property>, PropertiesError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut properties = Vec::new();
    let mut lines = (1..).zip(natural_lines(bytes));
    while let Some((line, text)) = lines.next() {
        let mut joined = text.trim_ascii_start().to_vec();
        if joined.is_empty() || joined.starts_with(b"#") || joined.starts_with(b"!") {
            continue;
        }
        while goes_on(&joined) {
            joined.pop();
            match lines.next() {
                Some((_, more)) => joined.extend_from_slice(more.trim_ascii_start()),
                None => break,
            }
        }
        let text = String::from_utf8(joined).map_err(|_| PropertiesError::Encoding(line))?;
        let (key, value) = split(&text);
        let plain = |text: &str| unescape(text).ok_or(PropertiesError::Escape(line));
        let value = plain(value)?.trim_end().to_owned();
        properties.push(Property { line, key: plain(key)?, value });
    }
    Ok(properties)
}

fn natural_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Whether a line ends with a `\` that no other one escapes.
fn goes_on(line: &[u8]) -> bool {
    line.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The key and the value, with their escapes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let ends = |c: char| {
        let is_end = !escaped && (matches!(c, '=' | ':') || c.is_ascii_whitespace());
        escaped = c == '\\' && !escaped;
        is_end
    };
    let Some(end) = line.find(ends) else { return (line, "") };
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_ascii_start();
    (key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_ascii_start())
}

/// `None` if `\u` is followed by something else than four digits.
fn unescape(text: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match (c, c == '\\') {
            (c, false) => c,
            (_, true) => match chars.next() {
                None => break,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits = chars.as_str().get(..4)?;
                    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                    let unit = is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()?;
                    chars.nth(3);
                    plain.push(unit);
                    continue;
                }
                Some(c) => c,
            },
        };
        plain.extend_from_slice(c.encode_utf16(&mut [0; 2]));
    }
    // Characters beyond 16 bits are escaped as two.
    Some(String::from_utf16_lossy(&plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[(usize, &str, &str)]) {
        let parsed = parse(bytes).unwrap();
        let parsed: Vec<_> = parsed.iter().map(|p| (p.line, &*p.key, &*p.value)).collect();
        assert_eq!(parsed, expected, "{}", String::from_utf8_lossy(bytes));
    }

    /// Each as `java.util.Properties` has it, except for white space at the end.
    #[test]
    fn lines_are_read_as_java_reads_them() {
        check(b"a=1\r\n\n  b = 2 \n", &[(1, "a", "1"), (3, "b", "2")]);
        check(
            b"key value\nkey: value\nkey\t=\tvalue\nkey\n",
            &[(1, "key", "value"), (2, "key", "value"), (3, "key", "value"), (4, "key", "")],
        );
        check(b"a = b = c\na==b\n", &[(1, "a", "b = c"), (2, "a", "=b")]);
        check(b"# a=1 \\\n! b=2\nc=3", &[(3, "c", "3")]);
        check(b"a=x;\\\n   y;\\\r\n\tz\nb=1\n", &[(1, "a", "x;y;z"), (4, "b", "1")]);
        check(b"a=\\\\\nb=1", &[(1, "a", "\\"), (2, "b", "1")]);
        check(b"a\\ b\\=c=1\n", &[(1, "a b=c", "1")]);
        check(b"a=\\u0064\\u00e9\\ud83d\\ude00\\t.\\q\n", &[(1, "a", "d\u{e9}\u{1f600}\t.q")]);
        check(b"a=1\\", &[(1, "a", "1")]);
    }

    #[test]
    fn a_mark_of_byte_order_is_no_part_of_the_first_key() {
        check(b"\xef\xbb\xbfbrokerName=a\n", &[(1, "brokerName", "a")]);
    }

    #[test]
    fn comments_may_be_in_any_encoding() {
        // A comment in GBK.
        check(b"# \xc5\xe4\xd6\xc3\na=1\n", &[(2, "a", "1")]);
        check("a=\u{914d}\u{7f6e}\n".as_bytes(), &[(1, "a", "\u{914d}\u{7f6e}")]);
        assert_eq!(parse(b"\n\na=\xc5\xe4\n"), Err(PropertiesError::Encoding(3)));
        assert_eq!(parse(b"a=\\u12"), Err(PropertiesError::Escape(1)));
        assert_eq!(parse(b"a=\\u+123"), Err(PropertiesError::Escape(1)));
    }
}
