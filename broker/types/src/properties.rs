//! A message's properties: `name 0x01 value 0x02`, repeated, the last 0x02 optional.

mod names; // several of them at once

use crate::find_either;

pub use names::{Found, PropertyNames};

/// Names of properties that the broker, the clients or the pipelines give a meaning.
pub mod keys {
    /// The tag, by which consumers filter.
    pub const TAGS: &str = "TAGS";
    /// Blank-separated look-up keys.
    pub const KEYS: &str = "KEYS";
    /// The client-made unique id, which users see as the message id.
    pub const UNIQ_KEY: &str = "UNIQ_KEY";
    /// `false` if the producer does not wait for the disk even in sync-flush mode.
    pub const WAIT: &str = "WAIT";
    /// Delay level, 1 to 18.
    pub const DELAY: &str = "DELAY";
    /// How a producer asks for a timer, first of three: seconds from now.
    pub const TIMER_SECONDS: &str = "TIMER_DELAY_SEC";
    /// Second: milliseconds from now.
    pub const TIMER_MS: &str = "TIMER_DELAY_MS";
    /// Third: ms since the Unix epoch.
    pub const TIMER_AT: &str = "TIMER_DELIVER_MS";
    /// When a timed message is due, ms since the Unix epoch; made by the broker.
    pub const TIMER_DUE: &str = "TIMER_OUT_MS";
    /// How long a message that was sent with a delay still has to wait, ms, since it was stored.
    /// Ours; consumers do not see it.
    pub const TIMER_LEFT: &str = "MR_TIMER_LEFT";
    /// The topic that a delayed or half message is for.
    pub const REAL_TOPIC: &str = "REAL_TOPIC";
    /// The queue that it is for.
    pub const REAL_QUEUE: &str = "REAL_QID";
    /// The client id of a producer that waits for a reply.
    pub const REPLY_TO: &str = "REPLY_TO_CLIENT";
    /// When a broker passed a reply on, ms since the Unix epoch.
    pub const REPLY_PUSHED: &str = "PUSH_REPLY_TIME";
    /// The cluster that a message went through, on those that want a reply.
    pub const CLUSTER: &str = "CLUSTER";
    /// Whether a message is a half message, on its way to the broker.
    pub const TRANSACTION: &str = "TRAN_MSG";
    /// The group of the producer of a half message.
    pub const PRODUCER_GROUP: &str = "PGROUP";
    /// How long its producer is not asked about it, seconds.
    pub const CHECK_IMMUNITY: &str = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// The topic in which a message was first consumed, on its copies for a retry topic.
    pub const RETRY_TOPIC: &str = "RETRY_TOPIC";
    /// The id under which it was stored there.
    pub const ORIGIN_ID: &str = "ORIGIN_MESSAGE_ID";
    /// The whole-record checksum; see [`crate::record`].
    pub const CRC32: &str = "__CRC32#";
    /// Present on every record of a group but the last; see [`crate::record`].
    pub const MORE: &str = "__MORE";
    /// Names of the lite queues that share the record, separated by commas.
    pub const MULTI_DISPATCH: &str = "INNER_MULTI_DISPATCH";
    /// The record's offset in each of them, in the same order.
    pub const MULTI_QUEUE_OFFSET: &str = "INNER_MULTI_QUEUE_OFFSET";
    /// Epoch of the worker that wrote a ledger record, decimal.
    pub const EPOCH: &str = "MR_EPOCH";
    /// As the tag of a record of the broker's state or of a ledger: with it, what the queue says
    /// starts anew, and no record before it counts any more.
    pub const STATE_TAG: &str = "MR_STATE";
    /// On a ledger record: from where on somebody still needs messages, so that retention keeps
    /// them. `name;topic:queue:offset;...`; each record replaces what was said under the name.
    pub const HOLD: &str = "MR_HOLD";
}

const NAME_END: u8 = 1;
const VALUE_END: u8 = 2;

/// Properties as bytes, scanned on demand: a filter that asks for one name pays for one scan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Wraps encoded properties. Nothing is checked; a malformed part reads as absent.
    pub fn new(encoded: &'a [u8]) -> Self {
        Self(encoded)
    }

    /// The encoded form.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The value of a property; `None` if absent or not UTF-8. The last of equal names wins, as
    /// in the map that clients decode into.
    pub fn get(self, name: &str) -> Option<&'a str> {
        let mut found = None;
        for (key, value) in self.raw() {
            if key == name.as_bytes() {
                found = Some(value);
            }
        }
        found.and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of several properties, as [`Properties::get`] gives each, from one scan.
    pub fn pick<const N: usize>(self, names: [&str; N]) -> [Option<&'a str>; N] {
        let mut found = [None; N];
        for (key, value) in self.raw() {
            if let Some(n) = names.iter().position(|name| name.as_bytes() == key) {
                found[n] = Some(value);
            }
        }
        found.map(|value| value.and_then(|value| std::str::from_utf8(value).ok()))
    }

    /// All properties whose name and value are UTF-8, in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.raw().filter_map(|(key, value)| {
            Some((std::str::from_utf8(key).ok()?, std::str::from_utf8(value).ok()?))
        })
    }

    /// A copy in which some properties have new values, or are not there. The others stay as they
    /// are, in order, and precede the new ones.
    pub fn with(self, changes: &[(&str, Option<&str>)]) -> PropertiesBuf {
        let mut copy = PropertiesBuf::new();
        copy.reserve(self.0.len() + 64);
        for (key, value) in self.raw() {
            if changes.iter().all(|(name, _)| name.as_bytes() != key) {
                copy.0.extend_from_slice(key);
                copy.0.push(NAME_END);
                copy.0.extend_from_slice(value);
                copy.0.push(VALUE_END);
            }
        }
        for (name, value) in changes {
            if let Some(value) = value {
                copy.push(name, value);
            }
        }
        copy
    }

    /// All properties in order, as bytes.
    #[inline]
    pub fn raw(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            while !rest.is_empty() {
                let len = find_either::<VALUE_END, VALUE_END>(rest).unwrap_or(rest.len());
                let property = &rest[..len];
                rest = rest.get(len + 1..).unwrap_or_default();
                // Without a name: passed over.
                if let Some(len) = find_either::<NAME_END, NAME_END>(property) {
                    return Some((&property[..len], &property[len + 1..]));
                }
            }
            None
        })
    }
}

/// Properties being built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertiesBuf(Vec<u8>);

impl PropertiesBuf {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Adds a property. The two separator bytes cannot occur in a name or value; they are left out.
    pub fn push(&mut self, name: &str, value: &str) -> &mut Self {
        self.put(name, NAME_END);
        self.put(value, VALUE_END);
        self
    }

    /// Adds a property whose value is a decimal number.
    pub fn push_number(&mut self, name: &str, value: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        let mut left = value;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        self.put(name, NAME_END);
        self.0.extend_from_slice(&digits[at..]);
        self.0.push(VALUE_END);
        self
    }

    fn put(&mut self, text: &str, end: u8) {
        let is_separator = |byte: &u8| *byte == NAME_END || *byte == VALUE_END;
        if text.as_bytes().iter().any(is_separator) {
            self.0.extend(text.bytes().filter(|byte| !is_separator(byte)));
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        self.0.push(end);
    }

    /// Bytes of the encoded form.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no property.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all properties of another one.
    pub fn append(&mut self, other: &PropertiesBuf) {
        self.0.extend_from_slice(&other.0);
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The encoded form.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The encoded form.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// A view to read from.
    pub fn view(&self) -> Properties<'_> {
        Properties(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_pushed_is_found() {
        let mut buf = PropertiesBuf::new();
        buf.push("TAGS", "a").push("KEYS", "k1 k2").push("empty", "");
        let read = buf.view();
        assert_eq!(read.get("TAGS"), Some("a"));
        assert_eq!(read.get("KEYS"), Some("k1 k2"));
        assert_eq!(read.get("empty"), Some(""));
        assert_eq!(read.get("TAG"), None);
        assert_eq!(read.pick(["KEYS", "TAG", "empty"]), [Some("k1 k2"), None, Some("")]);
        assert_eq!(read.iter().count(), 3);
    }

    #[test]
    fn a_copy_has_each_changed_property_once() {
        let before = Properties::new(b"a\x011\x02b\x01\xff\x02a\x012\x02c\x013");
        let after = before.with(&[("a", Some("4")), ("c", None), ("d", Some(""))]);
        assert_eq!(after.as_bytes(), b"b\x01\xff\x02a\x014\x02d\x01\x02");
    }

    #[test]
    fn separators_in_a_value_cannot_forge_a_property() {
        let mut buf = PropertiesBuf::new();
        buf.push("a", "x\u{2}evil\u{1}1");
        assert_eq!(buf.view().get("evil"), None);
        assert_eq!(buf.view().get("a"), Some("xevil1"));
    }

    #[test]
    fn a_number_reads_as_its_digits() {
        for number in [0, 7, 10, 987_654_321, u64::MAX] {
            let mut buf = PropertiesBuf::new();
            buf.push_number("n", number);
            assert_eq!(buf.view().get("n"), Some(number.to_string().as_str()));
        }
    }

    #[test]
    fn whatever_the_bytes_the_properties_are_what_stands_between_separators() {
        for number in 0..3usize.pow(9) {
            let digit = |place: u32| b"\x01\x02a"[number / 3usize.pow(place) % 3];
            let bytes: Vec<u8> = (0..9).map(digit).collect();
            let parts = bytes.split(|&byte| byte == VALUE_END);
            let pairs = parts.filter_map(|part| {
                let name_len = part.iter().position(|&byte| byte == NAME_END)?;
                Some((&part[..name_len], &part[name_len + 1..]))
            });
            assert!(Properties::new(&bytes).raw().eq(pairs), "{bytes:?}");
        }
    }

    #[test]
    fn malformed_bytes_read_as_absent() {
        assert_eq!(Properties::new(b"no separator").get("no"), None);
        assert_eq!(Properties::new(b"a\x01\xff\x02").get("a"), None);
        assert_eq!(Properties::new(b"a\x011").get("a"), Some("1"));
    }
}
