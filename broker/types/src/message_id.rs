use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::PhysicalOffset;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Where a message is stored, as clients carry it around: the broker's address, then the physical
/// offset, in 32 upper-case hex digits, or 56 with an IPv6 address. (In RocketMQ, `offsetMsgId`.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OffsetMessageId {
    /// The broker's advertised address.
    pub store_host: SocketAddr,
    /// Where the record starts in its CommitLog.
    pub physical_offset: PhysicalOffset,
}

impl OffsetMessageId {
    /// Reads an id; `None` if the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut raw = [0u8; 28];
        let len = match bytes.len() {
            32 => 16,
            56 => 28,
            _ => return None,
        };
        for (byte, pair) in raw.iter_mut().zip(bytes.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high << 4 | low) as u8;
        }
        let (ip, rest) = raw[..len].split_at(len - 12);
        let ip = match <[u8; 4]>::try_from(ip) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        };
        let (port, offset) = rest.split_first_chunk::<4>()?;
        let port = u16::try_from(u32::from_be_bytes(*port)).ok()?;
        let offset = u64::from_be_bytes(*offset.first_chunk::<8>()?);
        let store_host = SocketAddr::new(ip, port);
        Some(Self { store_host, physical_offset: PhysicalOffset(offset) })
    }

    /// Appends the text.
    pub fn push(&self, out: &mut Vec<u8>) {
        let mut raw = [0; 12];
        raw[..4].copy_from_slice(&u32::from(self.store_host.port()).to_be_bytes());
        raw[4..].copy_from_slice(&self.physical_offset.0.to_be_bytes());
        match self.store_host.ip() {
            IpAddr::V4(ip) => push_hex(out, ip.octets()),
            IpAddr::V6(ip) => push_hex(out, ip.octets()),
        }
        push_hex(out, raw);
    }
}

fn push_hex<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N]) {
    let digits = bytes.map(|byte| [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    out.extend_from_slice(digits.as_flattened());
}

impl fmt::Display for OffsetMessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Vec::with_capacity(56);
        self.push(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, offset: u64, text: &str) {
        let store_host = host.parse().unwrap();
        let id = OffsetMessageId { store_host, physical_offset: PhysicalOffset(offset) };
        assert_eq!(id.to_string(), text);
        assert_eq!(OffsetMessageId::parse(text), Some(id));
    }

    #[test]
    fn an_id_is_address_and_offset() {
        check("10.0.0.1:10911", 1000, "0A00000100002A9F00000000000003E8");
        check(
            "[fe80::1]:10911",
            u64::MAX,
            "FE80000000000000000000000000000100002A9FFFFFFFFFFFFFFFFF",
        );
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in
            ["", "0A", "0A00000100002A9F00000000000003EX", "0A000001FFFFFFFF00000000000003E8"]
        {
            assert_eq!(OffsetMessageId::parse(text), None, "{text}");
        }
        assert_eq!(OffsetMessageId::parse(&"é".repeat(16)), None);
    }
}
