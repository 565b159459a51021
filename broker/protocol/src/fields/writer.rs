use crate::json::push_escaped;
use crate::wire::push_decimal;
use crate::{HeaderKind, OffsetMessageId};

const IDS_MAX: usize = 1 << 16;

/// Writes fields into a frame's header, in that header's form.
pub struct FieldWriter<'o> {
    out: &'o mut Vec<u8>,
    kind: HeaderKind,
    empty: bool,
}

impl<'o> FieldWriter<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>, kind: HeaderKind) -> Self {
        Self { out, kind, empty: true }
    }

    /// A field with any text.
    pub fn text(&mut self, name: &str, value: &str) {
        match self.kind {
            HeaderKind::Json => self.json(name, |out| push_escaped(out, value)),
            HeaderKind::Binary => self.binary(name, |out| out.extend_from_slice(value.as_bytes())),
        }
    }

    /// A field with a number.
    pub fn int(&mut self, name: &str, value: i64) {
        self.plain(name, |out| push_decimal(out, value));
    }

    /// A field with message ids, separated by commas. After 65,536 of them it ends: clients show
    /// the list and do not count it, and a header must stay below 16 MiB.
    pub(crate) fn message_ids(&mut self, name: &str, ids: &[OffsetMessageId]) {
        self.plain(name, |out| {
            for (at, id) in ids.iter().take(IDS_MAX).enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                id.push(out);
            }
        });
    }

    /// A value that needs no escapes.
    fn plain(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        match self.kind {
            HeaderKind::Json => self.json(name, value),
            HeaderKind::Binary => self.binary(name, value),
        }
    }

    fn json(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":\"");
        value(self.out);
        self.out.push(b'"');
    }

    fn binary(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
        let name_len = i16::try_from(name.len()).expect("field names are a few letters");
        self.out.extend_from_slice(&name_len.to_be_bytes());
        self.out.extend_from_slice(name.as_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        value(self.out);
        let len = u32::try_from(self.out.len() - at - 4).expect("a header is below 16 MiB");
        self.out[at..at + 4].copy_from_slice(&len.to_be_bytes());
    }
}
