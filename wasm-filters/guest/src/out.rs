/// What becomes of a record that was given to [`Map::map`](crate::Map::map).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on as it is.
    Keep,
    /// Out with it.
    Drop,
    /// What was given to [`Out::emit`] goes on in its place.
    Replace,
}

/// Takes what goes on in the place of records.
#[derive(Debug, Default)]
pub struct Out {
    bytes: Vec<u8>,
    outputs: Vec<Output>,
    record: u32,
}

/// What goes on in the place of a record. What is `None` is as in the record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Replacement<'a> {
    /// Another key.
    pub key: Option<&'a [u8]>,
    /// Another body.
    pub body: Option<&'a [u8]>,
    /// Properties beside the record's own, of which those of the same name go.
    pub properties: &'a [(&'a str, &'a str)],
}

/// An output by where it lies: begin and length of key, body and properties.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    record: u32,
    flags: u32,
    parts: [(u32, u32); 3],
}

const HAS_KEY: u32 = 1;
const HAS_BODY: u32 = 1 << 1;
const PROPERTIES_BESIDE: u32 = 1 << 3;

impl Out {
    /// Puts this in the place of the record, behind what was emitted for it before.
    pub fn emit(&mut self, replacement: Replacement<'_>) {
        let mut flags = 0;
        let key = self.part(replacement.key, HAS_KEY, &mut flags);
        let body = self.part(replacement.body, HAS_BODY, &mut flags);
        let begin = self.bytes.len();
        for (name, value) in replacement.properties {
            flags |= PROPERTIES_BESIDE;
            for piece in [name.as_bytes(), &[1], value.as_bytes(), &[2]] {
                self.bytes.extend_from_slice(piece);
            }
        }
        let properties = (begin as u32, (self.bytes.len() - begin) as u32);
        self.outputs.push(Output { record: self.record, flags, parts: [key, body, properties] });
    }

    /// Puts a record with this body, and all else as it is, in the place of the record.
    pub fn body(&mut self, body: &[u8]) {
        self.emit(Replacement { body: Some(body), ..Replacement::default() });
    }

    /// The bodies emitted so far, of those that have another body; for tests of a map.
    pub fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        let with_body = self.outputs.iter().filter(|output| output.flags & HAS_BODY != 0);
        with_body.map(|output| {
            let (at, len) = output.parts[1];
            &self.bytes[at as usize..(at + len) as usize]
        })
    }

    fn part(&mut self, part: Option<&[u8]>, flag: u32, flags: &mut u32) -> (u32, u32) {
        let Some(part) = part else {
            return (0, 0);
        };
        *flags |= flag;
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(part);
        (begin as u32, part.len() as u32)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.outputs.clear();
    }

    pub(crate) fn begin(&mut self, record: u32) {
        self.record = record;
    }

    /// Forgets what was emitted for the record, which turned out to fail or to stay as it is.
    pub(crate) fn take_back(&mut self) {
        while self.outputs.pop_if(|output| output.record == self.record).is_some() {}
    }

    /// Writes the outputs as the host reads them, 48 bytes each, with the addresses they have now.
    pub(crate) fn encode(&self, encoded: &mut Vec<u8>) {
        encoded.clear();
        let base = self.bytes.as_ptr() as usize as u32;
        for Output { record, flags, parts } in &self.outputs {
            let mut put = |word: u32| encoded.extend_from_slice(&word.to_le_bytes());
            put(*record);
            put(*flags);
            for (at, len) in parts {
                put(base.wrapping_add(*at));
                put(*len);
            }
            (0..4).for_each(|_| put(0));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.outputs.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_encoded_with_their_addresses() {
        let mut out = Out::default();
        out.begin(7);
        out.emit(Replacement { key: Some(b"k"), body: None, properties: &[("a", "1")] });
        out.begin(8);
        out.body(b"no");
        out.take_back();
        out.begin(9);
        out.body(b"body");
        assert_eq!(out.bodies().collect::<Vec<_>>(), [b"body"]);
        let mut encoded = Vec::new();
        out.encode(&mut encoded);
        assert_eq!((encoded.len(), out.len()), (96, 2));
        let word = |at: usize| u32::from_le_bytes(encoded[at..at + 4].try_into().unwrap());
        let base = out.bytes.as_ptr() as usize as u32;
        assert_eq!([0, 4, 8, 12].map(word), [7, HAS_KEY | PROPERTIES_BESIDE, base, 1]);
        assert_eq!([24, 28].map(word), [base.wrapping_add(1), 4]);
        assert_eq!([48, 52, 64, 68].map(word), [9, HAS_BODY, base.wrapping_add(7), 4]);
        assert_eq!(&out.bytes, b"ka\x011\x02nobody");
    }
}
