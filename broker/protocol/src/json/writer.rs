use crate::wire::push_decimal;

/// Appends a quoted and escaped text.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends a text with its escapes but without quotes.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&b| b < 0x20 || b == b'"' || b == b'\\') {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends an array, one call of `item` per element.
pub(crate) fn push_list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (at, element) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        item(out, element);
    }
    out.push(b']');
}

/// An object being written, compact: Go clients split route bodies at commas and colons and
/// stumble over blanks.
pub(crate) struct ObjectWriter<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Writes one object.
    pub(crate) fn write(out: &'o mut Vec<u8>, members: impl FnOnce(&mut Self)) {
        out.push(b'{');
        let mut object = ObjectWriter { out, empty: true };
        members(&mut object);
        object.out.push(b'}');
    }

    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        push_text(self.name(name), value);
        self
    }

    pub(crate) fn int(&mut self, name: &str, value: i64) -> &mut Self {
        push_decimal(self.name(name), value);
        self
    }

    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name).extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    pub(crate) fn object(
        &mut self,
        name: &str,
        members: impl FnOnce(&mut ObjectWriter<'_>),
    ) -> &mut Self {
        ObjectWriter::write(self.name(name), members);
        self
    }

    pub(crate) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        item: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        push_list(self.name(name), items, item);
        self
    }

    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        push_text(self.out, name);
        self.out.push(b':');
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["", "plain", "a\"b\\c", "TAGS\u{1}a\u{2}", "\n\r\t\u{8}\u{1f}", "日本😀"] {
            let mut out = Vec::new();
            push_text(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn objects_are_compact() {
        let mut out = Vec::new();
        ObjectWriter::write(&mut out, |object| {
            object.text("a", "x").int("b", -1).flag("c", true);
            object.object("d", |inner| {
                inner.list("e", [1, 2], push_decimal);
            });
        });
        assert_eq!(out, br#"{"a":"x","b":-1,"c":true,"d":{"e":[1,2]}}"#);
    }
}
