/// Where a map puts what goes on in the place of a record; nothing goes on of which it puts nothing
/// there.
#[derive(Debug)]
pub struct Out<'a>(&'a mut Outputs);

impl Out<'_> {
    /// Puts the record there as it is.
    pub fn keep(&mut self) {
        self.replace().emit();
    }

    /// Begins a record with this key, and all else as it is.
    pub fn key<'a>(&'a mut self, key: &'a [u8]) -> Replacement<'a> {
        self.replace().key(key)
    }

    /// Begins a record with this body, and all else as it is.
    pub fn body<'a>(&'a mut self, body: &'a [u8]) -> Replacement<'a> {
        self.replace().body(body)
    }

    /// Begins a record with this property beside its own, and all else as it is.
    pub fn property(&mut self, name: &str, value: &str) -> Replacement<'_> {
        self.replace().property(name, value)
    }

    fn replace(&mut self) -> Replacement<'_> {
        let properties_at = self.0.bytes.len();
        Replacement { outputs: self.0, key: None, body: None, properties_at }
    }
}

/// What goes on in the place of a record, behind what was put there before.
#[derive(Debug)]
#[must_use = "it goes on with `emit`, and nothing does without"]
pub struct Replacement<'a> {
    outputs: &'a mut Outputs,
    key: Option<&'a [u8]>,
    body: Option<&'a [u8]>,
    /// From there to the end are properties.
    properties_at: usize,
}

impl<'a> Replacement<'a> {
    /// It has this key.
    pub fn key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    /// It has this body.
    pub fn body(self, body: &'a [u8]) -> Self {
        Self { body: Some(body), ..self }
    }

    /// It has this property, instead of one of that name and beside all others.
    pub fn property(self, name: &str, value: &str) -> Self {
        for piece in [name.as_bytes(), &[1], value.as_bytes(), &[2]] {
            self.outputs.bytes.extend_from_slice(piece);
        }
        self
    }

    /// Puts it there.
    pub fn emit(self) {
        let Self { outputs, key, body, properties_at } = self;
        let properties_len = outputs.bytes.len() - properties_at;
        let mut flags = if properties_len > 0 { PROPERTIES_BESIDE } else { 0 };
        let key = outputs.part(key, HAS_KEY, &mut flags);
        let body = outputs.part(body, HAS_BODY, &mut flags);
        let properties = (properties_at as u32, properties_len as u32);
        outputs.outputs.push(Output {
            record: outputs.record,
            flags,
            parts: [key, body, properties],
        });
    }
}

/// What a map put out; for tests of one.
#[derive(Debug, Default)]
pub struct Outputs {
    bytes: Vec<u8>,
    outputs: Vec<Output>,
    /// The number of the record that the map is at, and how many outputs there were before it.
    record: u32,
    settled: usize,
}

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on as it is.
    Keep,
    /// Out with it.
    Drop,
    /// What was put out goes on in its place.
    Replace,
}

/// An output by where it lies: begin and length of key, body and properties.
#[derive(Clone, Copy, Debug)]
struct Output {
    record: u32,
    flags: u32,
    parts: [(u32, u32); 3],
}

const HAS_KEY: u32 = 1;
const HAS_BODY: u32 = 1 << 1;
const PROPERTIES_BESIDE: u32 = 1 << 3;

impl Outputs {
    /// Takes what is put out for a record, by its number in the batch.
    pub fn of(&mut self, record: u32) -> Out<'_> {
        self.record = record;
        self.settled = self.outputs.len();
        Out(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// The bodies of those that have another one than the record.
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

    /// What the outputs of the record mean. A record that is all there is, and as it was, is one
    /// that the host need not copy.
    pub(crate) fn settle(&mut self) -> Next {
        match &self.outputs[self.settled..] {
            [] => Next::Drop,
            [Output { flags: 0, .. }] => {
                self.take_back();
                Next::Keep
            }
            _ => Next::Replace,
        }
    }

    /// Forgets what was put out for the record.
    pub(crate) fn take_back(&mut self) {
        self.outputs.truncate(self.settled);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_encoded_with_their_addresses() {
        let mut outputs = Outputs::default();
        outputs.of(7).key(b"k").property("a", "1").emit();
        assert_eq!(outputs.settle(), Next::Replace);
        outputs.of(8).body(b"no").emit();
        outputs.take_back();
        outputs.of(9).property("b", "").body(b"body").property("c", "2").emit();
        assert_eq!(outputs.settle(), Next::Replace);
        assert_eq!(outputs.bodies().collect::<Vec<_>>(), [b"body"]);
        let mut encoded = Vec::new();
        outputs.encode(&mut encoded);
        assert_eq!((encoded.len(), outputs.len()), (96, 2));
        let word = |at: usize| u32::from_le_bytes(encoded[at..at + 4].try_into().unwrap());
        let base = outputs.bytes.as_ptr() as usize as u32;
        let at = |at: u32| base.wrapping_add(at);
        assert_eq!([0, 4, 8, 12].map(word), [7, HAS_KEY | PROPERTIES_BESIDE, at(4), 1]);
        assert_eq!([24, 28].map(word), [at(0), 4]);
        assert_eq!([48, 52, 64, 68].map(word), [9, HAS_BODY | PROPERTIES_BESIDE, at(14), 4]);
        assert_eq!([72, 76].map(word), [at(7), 7]);
        assert_eq!(&outputs.bytes, b"a\x011\x02knob\x01\x02c\x012\x02body");
    }

    #[test]
    fn what_was_put_out_says_what_becomes_of_a_record() {
        let mut outputs = Outputs::default();
        let _ = outputs.of(0);
        assert_eq!(outputs.settle(), Next::Drop);
        outputs.of(1).keep();
        assert_eq!((outputs.settle(), outputs.len()), (Next::Keep, 0));
        let mut out = outputs.of(2);
        out.keep();
        out.body(b"a").emit();
        assert_eq!((outputs.settle(), outputs.len()), (Next::Replace, 2));
        outputs.of(3).key(b"").emit();
        assert_eq!((outputs.settle(), outputs.len()), (Next::Replace, 3));
    }
}
