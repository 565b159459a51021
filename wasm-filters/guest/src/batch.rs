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

impl<'a> Record<'a> {
    /// The value of a property.
    pub fn property(&self, name: &str) -> Option<&'a str> {
        self.properties().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All properties: names and values.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.properties.split(|byte| *byte == 2).filter_map(|property| {
            let at = property.iter().position(|byte| *byte == 1)?;
            let name = std::str::from_utf8(&property[..at]).ok()?;
            Some((name, std::str::from_utf8(&property[at + 1..]).ok()?))
        })
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

impl<'a> Batch<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        bytes.strip_prefix(b"RMB1")?;
        let topic = std::str::from_utf8(part(bytes, 28)?).ok()?;
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
        let bytes = self.bytes;
        let key = match word(bytes, at + 20)? {
            u32::MAX => None,
            _ => Some(part(bytes, at + 16)?),
        };
        Some(Record {
            queue_offset: long(bytes, at)?,
            store_at_ms: long(bytes, at + 8)?,
            topic: self.topic,
            queue: self.queue,
            key,
            body: part(bytes, at + 24)?,
            properties: part(bytes, at + 32)?,
            sys_flags: word(bytes, at + 40)?,
            tag_hash: word(bytes, at + 44)?,
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

/// What the offset and the length at `at` point to.
fn part(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (begin, len) = (word(bytes, at)? as usize, word(bytes, at + 4)? as usize);
    bytes.get(begin..begin.checked_add(len)?)
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
