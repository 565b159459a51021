use crate::find::last_of;

/// One record, where the host put it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// Where it stands in its queue.
    pub queue_offset: i64,
    /// When the broker stored it, milliseconds since the Unix epoch.
    pub store_at_ms: i64,
    /// Its topic.
    pub topic: &'a str,
    /// Its queue.
    pub queue: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its body.
    pub body: &'a [u8],
    /// Its properties as RocketMQ stores them; [`Record::property`] reads them.
    pub properties: &'a [u8],
    /// RocketMQ's flags.
    pub sys_flags: u32,
    /// RocketMQ's hash of the tag.
    pub tag_hash: u32,
}

const NAME_END: u8 = 1;
const VALUE_END: u8 = 2;

impl<'a> Record<'a> {
    /// The value of a property. The last of equal names wins, as everywhere.
    #[inline]
    pub fn property(&self, name: &str) -> Option<&'a str> {
        let text = self.properties;
        let mut end = text.len();
        loop {
            let before = last_of(VALUE_END, &text[..end]);
            let begin = before.map_or(0, |at| at + 1);
            if let Some(value) = value_of(&text[begin..end], name) {
                return std::str::from_utf8(value).ok();
            }
            end = before?;
        }
    }

    /// All properties: names and values.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.properties.split(|byte| *byte == VALUE_END).filter_map(|property| {
            let at = property.iter().position(|byte| *byte == NAME_END)?;
            let name = std::str::from_utf8(&property[..at]).ok()?;
            Some((name, std::str::from_utf8(&property[at + 1..]).ok()?))
        })
    }
}

/// The value of a property that has this name.
#[inline]
fn value_of<'a>(property: &'a [u8], name: &str) -> Option<&'a [u8]> {
    // Most names differ in length, and that is seen in one byte.
    let (head, value) = property.split_at_checked(name.len())?;
    let value = value.strip_prefix(&[NAME_END])?;
    // No name has the end of one in it.
    (are_equal(head, name.as_bytes()) && last_of(NAME_END, head).is_none()).then_some(value)
}

/// Whether two pieces of the same length are equal. Short as they are, a call would take longer.
#[inline]
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    match (one.first_chunk::<4>(), one.last_chunk::<4>()) {
        (Some(first), last) if one.len() <= 8 => {
            other.first_chunk() == Some(first) && other.last_chunk() == last
        }
        _ => one == other,
    }
}

/// Records as the host hands them over; the layout is in the host's `batch.rs`.
pub(crate) struct Batch<'a> {
    bytes: &'a [u8],
    count: usize,
    descriptions_at: usize,
    stride: usize,
    topic: &'a str,
    queue: i32,
}

/// What a description has at least.
const DESCRIPTION_BYTES: usize = 48;

impl<'a> Batch<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(b"RMB1")?;
        let topic = part(bytes, word(bytes, 28)?, word(bytes, 32)?)?;
        let topic = std::str::from_utf8(topic).ok()?;
        Some(Self {
            bytes,
            count: word(bytes, 8)? as usize,
            descriptions_at: word(bytes, 12)? as usize,
            stride: word(bytes, 16)? as usize,
            topic,
            queue: word(bytes, 36)? as i32,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn get(&self, number: usize) -> Option<Record<'a>> {
        let at = self.descriptions_at + number * self.stride;
        let description: &[u8; DESCRIPTION_BYTES] = self.bytes.get(at..)?.first_chunk()?;
        let long = |at: usize| long(description, at);
        let word = |at: usize| word(description, at);
        let part = |at: usize| part(self.bytes, word(at)?, word(at + 4)?);
        let key = match word(20)? {
            u32::MAX => None,
            _ => Some(part(16)?),
        };
        Some(Record {
            queue_offset: long(0)?,
            store_at_ms: long(8)?,
            topic: self.topic,
            queue: self.queue,
            key,
            body: part(24)?,
            properties: part(32)?,
            sys_flags: word(40)?,
            tag_hash: word(44)?,
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<i64> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(i64::from_le_bytes(*bytes))
}

/// So many bytes from there on.
fn part(bytes: &[u8], begin: u32, len: u32) -> Option<&[u8]> {
    bytes.get(begin as usize..)?.get(..len as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_where_they_lie() {
        let record = Record {
            properties: b"a\x011\x02b\x01\x02no value\x02c\x01x\x01y",
            ..Record::default()
        };
        let all: Vec<_> = record.properties().collect();
        assert_eq!(all, [("a", "1"), ("b", ""), ("c", "x\u{1}y")]);
        assert_eq!((record.property("b"), record.property("d")), (Some(""), None));
        let twice = Record { properties: b"a\x011\x02a\x012\x02b\x01\xff", ..Record::default() };
        assert_eq!((twice.property("a"), twice.property("b")), (Some("2"), None));
        assert_eq!(Record::default().properties().count(), 0);
    }

    #[test]
    fn what_is_no_batch_has_no_records() {
        assert!(Batch::parse(b"").is_none());
        assert!(Batch::parse(&[0; 64]).is_none());
        let mut bytes = vec![0; 64];
        bytes[..4].copy_from_slice(b"RMB1");
        bytes[8] = 1;
        bytes[12] = 60;
        bytes[16] = 48;
        let batch = Batch::parse(&bytes).unwrap();
        assert_eq!(batch.len(), 1);
        assert!(batch.get(0).is_none());
    }
}
