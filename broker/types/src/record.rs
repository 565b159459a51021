//! One message as RocketMQ stores it, sends it, and as its clients read it.
//!
//! | field                       | bytes   | notes                                                |
//! |-----------------------------|---------|------------------------------------------------------|
//! | total size                  | 4       | counts itself                                        |
//! | magic                       | 4       | `0xDAA320A7` (V1) or `0xDAA320AB` (V2)               |
//! | body CRC                    | 4       | CRC-32 of the body, 31 bits                          |
//! | queue id                    | 4       |                                                      |
//! | flag                        | 4       | the producer's, kept as it is                        |
//! | queue offset                | 8       |                                                      |
//! | physical offset             | 8       | where this record starts in the CommitLog            |
//! | system flag                 | 4       | compression, transaction state, IPv6 hosts           |
//! | born time                   | 8       | ms, the producer's clock                             |
//! | born host                   | 8 or 20 | address and port                                     |
//! | store time                  | 8       | ms, the broker's clock                               |
//! | store host                  | 8 or 20 |                                                      |
//! | reconsume times             | 4       |                                                      |
//! | prepared transaction offset | 8       | physical offset of the half message, else 0          |
//! | body                        | 4 + n   |                                                      |
//! | topic                       | 1/2 + n | one length byte in V1, two in V2                     |
//! | properties                  | 2 + n   | at most 32,767                                       |
//!
//! All integers are big-endian. Sources: `MessageExtEncoder.java` and `CommitLog.java`, Apache
//! RocketMQ 5.3.
//!
//! Every record we write ends with the property `__CRC32#`: ten decimal digits, least significant
//! first, of the CRC-32 (31 bits) of all bytes before it. It is RocketMQ's own optional
//! whole-record check (`enabledAppendPropCRC`), so RocketMQ can read our records. A record that is
//! not the last of its group has the property `__MORE` just before it. Both are ours: clients are
//! given [`Record::write_for_client`], which leaves them out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use crc32fast::Hasher;

use crate::{PhysicalOffset, Properties, QueueId, QueueOffset, TagsCode, keys};

/// Magic of a record whose topic length takes one byte.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Magic of a record whose topic length takes two bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Magic of the filler that ends a segment; its size field holds the bytes left.
pub const MAGIC_BLANK: u32 = 0xCBD4_3194;

/// The size and the magic: what every position of the log begins with.
pub const PREFIX_BYTES: usize = 8;
/// The longest properties a producer may send: RocketMQ's limit less our two properties.
pub const PROPERTIES_BYTES_MAX: usize = 32_767 - TRAILER_BYTES - MORE_PROPERTY.len() - 1;

/// Bits of the system flag.
pub mod sys_flag {
    /// The body is compressed.
    pub const COMPRESSED: u32 = 0x1;
    /// A half message.
    pub const TRANSACTION_PREPARED: u32 = 0x4;
    /// The transaction bits of a committed message.
    pub const TRANSACTION_COMMITTED: u32 = 0x8;
    /// Both transaction bits.
    pub const TRANSACTION_MASK: u32 = 0xC;
    /// The born host is an IPv6 address.
    pub const BORN_HOST_V6: u32 = 0x10;
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: u32 = 0x20;
    /// The bits that name how a compressed body is compressed; without any of them it is zlib.
    pub const COMPRESSION_MASK: u32 = 0x700;
    /// Frames of LZ4. (In RocketMQ, `CompressionType.LZ4`, as the next two.)
    pub const COMPRESSION_LZ4: u32 = 0x100;
    /// Frames of zstd.
    pub const COMPRESSION_ZSTD: u32 = 0x200;
    /// zlib.
    pub const COMPRESSION_ZLIB: u32 = 0x300;
}

const CRC_MASK: u32 = 0x7FFF_FFFF;
/// `__CRC32#`, 0x01, ten digits, 0x02.
const TRAILER_BYTES: usize = 20;
const MORE_PROPERTY: &[u8] = b"__MORE\x011\x02";
/// Up to the born host everything lies at a fixed place.
const BORN_HOST_AT: usize = 48;

/// What a producer decided about a message.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Destination. Checked by whoever made the draft.
    pub topic: &'a str,
    /// Queue within the topic.
    pub queue_id: QueueId,
    /// The producer's own flag.
    pub flag: i32,
    /// Compression and transaction bits; the IPv6 bits are set by [`encode`].
    pub sys_flag: u32,
    /// Milliseconds since the Unix epoch, by the producer's clock.
    pub born_at_ms: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// How often consumption failed.
    pub reconsume_times: i32,
    /// Physical offset of the half message this record commits, else 0.
    pub prepared_offset: PhysicalOffset,
    /// The payload.
    pub body: &'a [u8],
    /// Encoded properties of at most [`PROPERTIES_BYTES_MAX`] bytes.
    pub properties: &'a [u8],
}

/// What the broker adds when it appends.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Position in the queue.
    pub queue_offset: QueueOffset,
    /// Position in the CommitLog.
    pub physical_offset: PhysicalOffset,
    /// Milliseconds since the Unix epoch, by the broker's clock.
    pub store_at_ms: i64,
    /// The broker's advertised address.
    pub store_host: SocketAddr,
    /// Whether the next record belongs to the same group.
    pub more: bool,
}

/// Bytes that [`encode`] will append for a draft.
pub fn encoded_len(draft: &Draft<'_>, store_host: SocketAddr, more: bool) -> usize {
    let topic_len_bytes = if draft.topic.len() <= 127 { 1 } else { 2 };
    BORN_HOST_AT
        + host_len(draft.born_host)
        + 8
        + host_len(store_host)
        + 12
        + 4
        + draft.body.len()
        + topic_len_bytes
        + draft.topic.len()
        + 2
        + properties_len(draft.properties, more)
}

/// Appends one record to `out`. The mark of a group is ours alone: if the draft's properties end with
/// one, it is left out, or a producer could leave a group open that never ends.
pub fn encode(draft: &Draft<'_>, stamp: &Stamp, out: &mut Vec<u8>) {
    let start = out.len();
    let total = encoded_len(draft, stamp.store_host, stamp.more);
    out.resize(start + total, 0);
    encode_into(draft, stamp, &mut out[start..]);
}

/// Writes one record over all of `out`, as [`encode`] appends it.
///
/// # Panics
/// If `out` does not have as many bytes as [`encoded_len`] says.
pub fn encode_into(draft: &Draft<'_>, stamp: &Stamp, out: &mut [u8]) {
    let total = out.len();
    let Draft { topic, body, .. } = *draft;
    // RocketMQ reads this length as a signed byte, so 127 and not 255 is the limit of version 1.
    let v1 = topic.len() <= 127;
    let mut sys_flag = draft.sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6);
    if draft.born_host.is_ipv6() {
        sys_flag |= sys_flag::BORN_HOST_V6;
    }
    if stamp.store_host.is_ipv6() {
        sys_flag |= sys_flag::STORE_HOST_V6;
    }

    // What is still to be written.
    let mut rest = &mut *out;
    let head = take::<BORN_HOST_AT>(&mut rest);
    head[0..4].copy_from_slice(&size_field(total));
    head[4..8].copy_from_slice(&(if v1 { MAGIC_V1 } else { MAGIC_V2 }).to_be_bytes());
    head[8..12].copy_from_slice(&(checksum(body) & CRC_MASK).to_be_bytes());
    head[12..16].copy_from_slice(&draft.queue_id.0.to_be_bytes());
    head[16..20].copy_from_slice(&draft.flag.to_be_bytes());
    head[20..28].copy_from_slice(&stamp.queue_offset.0.to_be_bytes());
    head[28..36].copy_from_slice(&stamp.physical_offset.0.to_be_bytes());
    head[36..40].copy_from_slice(&sys_flag.to_be_bytes());
    head[40..48].copy_from_slice(&draft.born_at_ms.to_be_bytes());
    put_host(&mut rest, draft.born_host);
    *take(&mut rest) = stamp.store_at_ms.to_be_bytes();
    put_host(&mut rest, stamp.store_host);
    *take(&mut rest) = draft.reconsume_times.to_be_bytes();
    *take(&mut rest) = draft.prepared_offset.0.to_be_bytes();
    *take(&mut rest) = size_field(body.len());
    put(&mut rest, body);
    if v1 {
        *take(&mut rest) = [topic.len() as u8];
    } else {
        *take(&mut rest) = (topic.len() as u16).to_be_bytes();
    }
    put(&mut rest, topic.as_bytes());
    let len = rest.len().checked_sub(2).expect(ROOM);
    *take(&mut rest) = (len as u16).to_be_bytes();
    let properties = without_marks(draft.properties);
    put(&mut rest, properties);
    if needs_separator(properties) {
        *take(&mut rest) = [2];
    }
    if stamp.more {
        put(&mut rest, MORE_PROPERTY);
    }
    assert_eq!(rest.len(), TRAILER_BYTES, "{ROOM}");
    let crc = checksum(covered(&out[..total - TRAILER_BYTES])) & CRC_MASK;
    out[total - TRAILER_BYTES..].copy_from_slice(&trailer(crc));
}

const ROOM: &str = "as many bytes as encoded_len() says";

/// Takes the next bytes of `rest`, to be written.
fn take<'a, const N: usize>(rest: &mut &'a mut [u8]) -> &'a mut [u8; N] {
    let (taken, after) = std::mem::take(rest).split_first_chunk_mut().expect(ROOM);
    *rest = after;
    taken
}

/// Writes the next bytes of `rest`.
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (taken, after) = std::mem::take(rest).split_at_mut_checked(bytes.len()).expect(ROOM);
    taken.copy_from_slice(bytes);
    *rest = after;
}

/// The CRC-32 of some bytes.
fn checksum(bytes: &[u8]) -> u32 {
    /// Knows what the processor can do. To find out costs more than to add up a short record.
    static EMPTY: LazyLock<Hasher> = LazyLock::new(Hasher::new);
    let mut hasher = EMPTY.clone();
    hasher.update(bytes);
    hasher.finalize()
}

/// How much of a record's content has been proven by a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Every byte: written by us, or by RocketMQ with `enabledAppendPropCRC`.
    Whole,
    /// The body only: written by RocketMQ without the whole-record check.
    BodyOnly,
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The magic is not that of a record.
    #[error("no record starts here")]
    Magic,
    /// A length field points outside of the record, or the record outside of the bytes given.
    #[error("the lengths in the record do not fit together")]
    Lengths,
    /// A checksum does not hold.
    #[error("the checksum of the {0} does not hold")]
    Checksum(&'static str),
}

/// A record whose lengths fit together. Whether its checksum holds is [`Record::verify`]'s answer.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    bytes: &'a [u8],
    born_host_len: usize,
    store_host_len: usize,
    body_at: usize,
    body_len: usize,
    topic_at: usize,
    topic_len: usize,
    properties_at: usize,
}

impl<'a> Record<'a> {
    /// Reads the record that starts at the first byte; what follows it is left alone.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let fixed = bytes.get(..BORN_HOST_AT).ok_or(Malformed::Lengths)?;
        let v1 = match be32(fixed, 4) {
            MAGIC_V1 => true,
            MAGIC_V2 => false,
            _ => return Err(Malformed::Magic),
        };
        let total = be32(fixed, 0) as usize;
        let bytes = bytes.get(..total).ok_or(Malformed::Lengths)?;
        let sys_flag = be32(fixed, 36);
        let host_len = |v6: u32| if sys_flag & v6 != 0 { 20 } else { 8 };
        let born_host_len = host_len(sys_flag::BORN_HOST_V6);
        let store_host_len = host_len(sys_flag::STORE_HOST_V6);

        let body_len_at = BORN_HOST_AT + born_host_len + 8 + store_host_len + 12;
        let body_len = checked_be32(bytes, body_len_at)? as usize;
        let body_at = body_len_at + 4;
        let topic_len_at = body_at.checked_add(body_len).ok_or(Malformed::Lengths)?;
        let (topic_len, topic_at) = if v1 {
            (*bytes.get(topic_len_at).ok_or(Malformed::Lengths)? as usize, topic_len_at + 1)
        } else {
            (checked_be16(bytes, topic_len_at)? as usize, topic_len_at + 2)
        };
        let properties_len_at = topic_at + topic_len;
        let properties_len = checked_be16(bytes, properties_len_at)? as usize;
        let properties_at = properties_len_at + 2;
        if properties_at + properties_len != total {
            return Err(Malformed::Lengths);
        }
        Ok(Self {
            bytes,
            born_host_len,
            store_host_len,
            body_at,
            body_len,
            topic_at,
            topic_len,
            properties_at,
        })
    }

    /// Checks the whole-record checksum if the record has one, else that of the body.
    pub fn verify(&self) -> Result<Verified, Malformed> {
        if let Some(expected) = self.whole_checksum() {
            let before = &self.bytes[..self.bytes.len() - TRAILER_BYTES];
            return if checksum(covered(before)) & CRC_MASK == expected {
                Ok(Verified::Whole)
            } else {
                Err(Malformed::Checksum("record"))
            };
        }
        if checksum(self.body()) & CRC_MASK == be32(self.bytes, 8) & CRC_MASK {
            Ok(Verified::BodyOnly)
        } else {
            Err(Malformed::Checksum("body"))
        }
    }

    /// Whether the next record belongs to the same group.
    pub fn more(&self) -> bool {
        self.whole_checksum().is_some() && without_mark(self.without_trailer()).is_some()
    }

    /// Checks the whole-record checksum and insists that there is one. Whoever knows that every
    /// record was written with it must use this: a record whose end was torn off has lost the
    /// checksum too, and [`Record::verify`] would then be content with the body's.
    pub fn verify_whole(&self) -> Result<(), Malformed> {
        match self.verify()? {
            Verified::Whole => Ok(()),
            Verified::BodyOnly => Err(Malformed::Checksum("record")),
        }
    }

    /// All bytes as stored.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Queue within the topic.
    pub fn queue_id(&self) -> QueueId {
        QueueId(be32(self.bytes, 12))
    }

    /// The producer's own flag.
    pub fn flag(&self) -> i32 {
        be32(self.bytes, 16) as i32
    }

    /// Position in the queue.
    pub fn queue_offset(&self) -> QueueOffset {
        QueueOffset(be64(self.bytes, 20))
    }

    /// Position in the CommitLog, as the record says.
    pub fn physical_offset(&self) -> PhysicalOffset {
        PhysicalOffset(be64(self.bytes, 28))
    }

    /// Compression, transaction and address bits.
    pub fn sys_flag(&self) -> u32 {
        be32(self.bytes, 36)
    }

    /// Milliseconds since the Unix epoch, by the producer's clock.
    pub fn born_at_ms(&self) -> i64 {
        be64(self.bytes, 40) as i64
    }

    /// The producer's address.
    pub fn born_host(&self) -> SocketAddr {
        get_host(&self.bytes[BORN_HOST_AT..][..self.born_host_len])
    }

    /// Milliseconds since the Unix epoch, by the broker's clock.
    pub fn store_at_ms(&self) -> i64 {
        be64(self.bytes, BORN_HOST_AT + self.born_host_len) as i64
    }

    /// The broker's advertised address.
    pub fn store_host(&self) -> SocketAddr {
        get_host(&self.bytes[BORN_HOST_AT + self.born_host_len + 8..][..self.store_host_len])
    }

    /// How often consumption failed.
    pub fn reconsume_times(&self) -> i32 {
        be32(self.bytes, self.body_at - 16) as i32
    }

    /// Physical offset of the half message, else 0.
    pub fn prepared_offset(&self) -> PhysicalOffset {
        PhysicalOffset(be64(self.bytes, self.body_at - 12))
    }

    /// The payload.
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[self.body_at..][..self.body_len]
    }

    /// Where the payload lies within [`Record::as_bytes`].
    pub fn body_range(&self) -> std::ops::Range<usize> {
        self.body_at..self.body_at + self.body_len
    }

    /// The topic; empty if it is not UTF-8, which no broker writes.
    pub fn topic(&self) -> &'a str {
        std::str::from_utf8(&self.bytes[self.topic_at..][..self.topic_len]).unwrap_or("")
    }

    /// The properties without those that are the log's own business.
    pub fn properties(&self) -> Properties<'a> {
        Properties::new(&self.bytes[self.properties_range()])
    }

    /// Where [`Record::properties`] lie within [`Record::as_bytes`].
    pub fn properties_range(&self) -> std::ops::Range<usize> {
        self.properties_at..self.bytes.len() - self.own_len()
    }

    /// The hash of the tag, 0 without one.
    pub fn tags_code(&self) -> TagsCode {
        self.properties().get(keys::TAGS).map_or(TagsCode(0), TagsCode::of)
    }

    /// Appends the record as clients see it: without the log's own properties.
    pub fn write_for_client(&self, out: &mut Vec<u8>) {
        let own = self.own_len();
        let start = out.len();
        let kept = self.bytes.len() - own;
        out.extend_from_slice(&self.bytes[..kept]);
        if own > 0 {
            out[start..start + 4].copy_from_slice(&size_field(kept));
            let properties = (kept - self.properties_at) as u16;
            let at = start + self.properties_at - 2;
            out[at..at + 2].copy_from_slice(&properties.to_be_bytes());
        }
    }

    /// Bytes of the log's own properties at the end.
    fn own_len(&self) -> usize {
        if self.whole_checksum().is_none() {
            return 0;
        }
        let mark = without_mark(self.without_trailer()).map_or(0, |_| MORE_PROPERTY.len());
        TRAILER_BYTES + mark
    }

    fn without_trailer(&self) -> &'a [u8] {
        &self.bytes[self.properties_at..self.bytes.len() - TRAILER_BYTES]
    }

    fn whole_checksum(&self) -> Option<u32> {
        let properties = &self.bytes[self.properties_at..];
        let at = properties.len().checked_sub(TRAILER_BYTES)?;
        let value = properties[at..].strip_prefix(b"__CRC32#\x01")?.strip_suffix(b"\x02")?;
        let mut crc = 0u64;
        for &digit in value.iter().rev() {
            if !digit.is_ascii_digit() {
                return None;
            }
            crc = crc * 10 + u64::from(digit - b'0');
        }
        u32::try_from(crc).ok()
    }
}

/// The records that follow one another in `bytes`, as in a pull's answer. Ends with an error at
/// the first bytes that are not a record.
pub fn iter(mut bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let record = Record::parse(bytes);
        bytes = record.map_or(&[], |r| &bytes[r.as_bytes().len()..]);
        Some(record)
    })
}

/// What the whole-record checksum covers: everything before it.
#[cfg(not(feature = "faults"))]
fn covered(before: &[u8]) -> &[u8] {
    before
}

#[cfg(feature = "faults")]
use planted::covered;
#[cfg(feature = "faults")]
pub use planted::shorten_checksum;

/// A checksum over one byte less, for the tests that must find out.
#[cfg(feature = "faults")]
mod planted {
    use std::cell::Cell;

    thread_local!(static SHORTENED: Cell<bool> = const { Cell::new(false) });

    /// Leaves the last byte out of all checksums that this thread makes and compares.
    pub fn shorten_checksum(yes: bool) {
        SHORTENED.set(yes);
    }

    pub(super) fn covered(before: &[u8]) -> &[u8] {
        &before[..before.len() - usize::from(SHORTENED.get())]
    }
}

fn trailer(crc: u32) -> [u8; TRAILER_BYTES] {
    let mut out = *b"__CRC32#\x010000000000\x02";
    let [low, high] = [crc % 100_000_000, crc / 100_000_000].map(u64::from);
    // Eight digits at once: in each step every lane is split into what is left over, which stays,
    // and what is carried, which becomes the lane above. The products stay within their lanes.
    let low = low % 10_000 + ((low / 10_000) << 32);
    let carried = ((low * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let low = low - carried * 100 + (carried << 16);
    let carried = ((low * 103) >> 10) & 0x000F_000F_000F_000F;
    let low = low - carried * 10 + (carried << 8);
    out[9..17].copy_from_slice(&(low | 0x3030_3030_3030_3030).to_le_bytes());
    out[17] = b'0' + (high % 10) as u8;
    out[18] = b'0' + (high / 10) as u8;
    out
}

/// The properties before the mark of a group, if they end with one.
fn without_mark(properties: &[u8]) -> Option<&[u8]> {
    let before = properties.strip_suffix(MORE_PROPERTY)?;
    (before.is_empty() || before.ends_with(&[2])).then_some(before)
}

/// The properties without marks of a group at their end, separated or not.
fn without_marks(mut properties: &[u8]) -> &[u8] {
    let unseparated = &MORE_PROPERTY[..MORE_PROPERTY.len() - 1];
    if let Some(before) = properties.strip_suffix(unseparated)
        && (before.is_empty() || before.ends_with(&[2]))
    {
        properties = before;
    }
    while let Some(before) = without_mark(properties) {
        properties = before;
    }
    properties
}

fn properties_len(properties: &[u8], more: bool) -> usize {
    let properties = without_marks(properties);
    properties.len()
        + usize::from(needs_separator(properties))
        + if more { MORE_PROPERTY.len() } else { 0 }
        + TRAILER_BYTES
}

fn needs_separator(properties: &[u8]) -> bool {
    properties.last().is_some_and(|&last| last != 2)
}

fn size_field(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("records are far below 4 GiB").to_be_bytes()
}

fn host_len(host: SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

/// Writes a host: its address, and its port in four bytes.
fn put_host(rest: &mut &mut [u8], host: SocketAddr) {
    match host {
        SocketAddr::V4(host) => *take(rest) = host.ip().octets(),
        SocketAddr::V6(host) => *take(rest) = host.ip().octets(),
    }
    *take(rest) = u32::from(host.port()).to_be_bytes();
}

fn get_host(bytes: &[u8]) -> SocketAddr {
    let (ip, port) = bytes.split_at(bytes.len() - 4);
    let ip = match <[u8; 4]>::try_from(ip) {
        Ok(v4) => IpAddr::V4(Ipv4Addr::from(v4)),
        Err(_) => {
            let mut v6 = [0; 16];
            v6.copy_from_slice(ip);
            IpAddr::V6(Ipv6Addr::from(v6))
        }
    };
    SocketAddr::new(ip, be32(port, 0) as u16)
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(raw)
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(raw)
}

fn checked_be32(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    if bytes.len() < at + 4 { Err(Malformed::Lengths) } else { Ok(be32(bytes, at)) }
}

fn checked_be16(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let raw = bytes.get(at..at + 2).ok_or(Malformed::Lengths)?;
    Ok(u16::from_be_bytes([raw[0], raw[1]]))
}

#[cfg(test)]
mod tests;
