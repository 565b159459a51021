use super::{NAME_END, Properties, VALUE_END};

/// Names that many messages are asked for, made ready so that one pass over the properties of a
/// message finds all of them.
#[derive(Clone, Debug, Default)]
pub struct PropertyNames {
    names: Vec<Beginning>,
    /// A bit for each byte with which one of them begins: most properties are others, and known by
    /// that.
    firsts: u64,
}

/// What one message has under [`PropertyNames`]. It can be used again for the next message.
#[derive(Clone, Debug, Default)]
pub struct Found<'a>(Vec<Option<&'a str>>);

/// With what a property of a certain name begins: the name and its end.
#[derive(Clone, Debug)]
struct Beginning {
    /// Up to eight bytes of it, and all ones where they are.
    word: u64,
    mask: u64,
    /// Those behind them.
    rest: Box<[u8]>,
    len: usize,
}

const WORD: usize = 8;

impl PropertyNames {
    /// These names. What is found is known by their places.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let names: Vec<_> = names.into_iter().map(Beginning::new).collect();
        let firsts = names.iter().fold(0, |firsts, name| firsts | bit_of(name.word as u8));
        Self { names, firsts }
    }

    /// Looks for all names: one pass, however many there are.
    pub fn find<'a>(&self, properties: Properties<'a>, found: &mut Found<'a>) {
        found.0.clear();
        found.0.resize(self.names.len(), None);
        let text = properties.as_bytes();
        let mut begin = 0;
        let mut property_to = |end: usize| {
            if text.get(begin).is_some_and(|first| self.firsts & bit_of(*first) != 0) {
                self.note(text, begin, end, found);
            }
            begin = end + 1;
        };
        let mut ends_at = |at: usize, mut ends: u64| {
            while ends != 0 {
                property_to(at + ends.trailing_zeros() as usize / 8);
                ends &= ends - 1;
            }
        };
        let (words, rest) = text.as_chunks();
        for (number, word) in words.iter().enumerate() {
            ends_at(WORD * number, value_ends(u64::from_le_bytes(*word)));
        }
        let rest_at = text.len() - rest.len();
        ends_at(rest_at, value_ends(word_at(text, rest_at)));
        property_to(text.len());
    }

    /// Takes the value of one property if it has one of the names. Apart from the pass, which is
    /// short without it.
    #[inline(never)]
    fn note<'a>(&self, text: &'a [u8], begin: usize, end: usize, found: &mut Found<'a>) {
        let word = word_at(text, begin);
        for (name, value) in self.names.iter().zip(&mut found.0) {
            if (word ^ name.word) & name.mask == 0 && name.rest_is_at(text, begin + WORD) {
                // The last of equal names wins, even if it is not UTF-8.
                let found = text.get(begin + name.len..end);
                *value = found.and_then(|value| std::str::from_utf8(value).ok());
            }
        }
    }
}

impl<'a> Found<'a> {
    /// The value under the name at `place`, as [`Properties::get`] gives it.
    pub fn get(&self, place: usize) -> Option<&'a str> {
        self.0.get(place).copied().flatten()
    }
}

impl Beginning {
    fn new(name: &str) -> Self {
        // No name has a separator in it, and no property begins with the end of a value.
        let is_name = !name.bytes().any(|byte| byte == NAME_END || byte == VALUE_END);
        let bytes = match is_name {
            true => [name.as_bytes(), &[NAME_END]].concat(),
            false => vec![VALUE_END],
        };
        let (head, rest) = bytes.split_at(bytes.len().min(WORD));
        Self {
            word: word_at(head, 0),
            mask: u64::MAX >> (8 * (WORD - head.len())),
            rest: rest.into(),
            len: bytes.len(),
        }
    }

    fn rest_is_at(&self, text: &[u8], at: usize) -> bool {
        self.rest.is_empty() || text.get(at..).is_some_and(|text| text.starts_with(&self.rest))
    }
}

fn bit_of(first: u8) -> u64 {
    1 << (first % 64)
}

/// Eight bytes of a text, with zeros behind its end.
#[inline]
fn word_at(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match (rest.first_chunk(), text.last_chunk()) {
        (Some(word), _) => u64::from_le_bytes(*word),
        (None, _) if rest.is_empty() => 0,
        (None, Some(word)) => u64::from_le_bytes(*word) >> (8 * (WORD - rest.len())),
        (None, None) => rest.iter().rfold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The highest bit of each byte that ends a value.
fn value_ends(word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([1; WORD]);
    const HIGH: u64 = LOW << 7;
    let others = word ^ (LOW * VALUE_END as u64);
    // Adding sets the highest bit of a byte that is not 0, and carries nothing into the next one.
    !(((others & !HIGH) + !HIGH) | others) & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], names: &[&str]) {
        let properties = Properties::new(text);
        let mut found = Found::default();
        PropertyNames::new(names.iter().copied()).find(properties, &mut found);
        for (place, name) in names.iter().enumerate() {
            assert_eq!(found.get(place), properties.get(name), "{name:?} in {text:?}");
        }
        assert_eq!(found.get(names.len()), None);
    }

    #[test]
    fn all_names_are_found_at_once() {
        let text = b"UNIQ_KEY\x01AB\x02TAGS\x01a\x02a name that is longer\x01than a word\x02a\x01\x02x\x011";
        check(text, &["x", "TAGS", "a name that is longer", "UNIQ_KEY", "a", "TAG", "TAGSa", ""]);
        check(text, &["a name that is longee", "UNIQ_KEX", "UNIQ_KE", "TAGS", "TAGS"]);
        check(text, &[]);
    }

    #[test]
    fn the_same_is_found_as_one_by_one() {
        for len in [5, 8] {
            for number in 0..4usize.pow(len) {
                let byte = |place: u32| b"\x01\x02ab"[number / 4usize.pow(place) % 4];
                let text: Vec<u8> = (0..len).map(byte).collect();
                let names = ["", "a", "b", "ab", "aaa", "a\u{1}b", "a\u{2}b", "\u{1}", "\u{2}"];
                check(&text, &names);
                // The same where words begin elsewhere, and where the text is longer than one.
                let shifted = [b"name\x01", &text[..], b"\x02b\x012", &text[..]].concat();
                check(&shifted, &names);
            }
        }
    }

    #[test]
    fn what_one_message_had_is_not_there_in_the_next() {
        let names = PropertyNames::new(["a", "b"]);
        let mut found = Found::default();
        names.find(Properties::new(b"a\x011\x02b\x01\xff"), &mut found);
        assert_eq!((found.get(0), found.get(1)), (Some("1"), None));
        names.find(Properties::new(b"b\x012"), &mut found);
        assert_eq!((found.get(0), found.get(1)), (None, Some("2")));
    }
}
