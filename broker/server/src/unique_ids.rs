use std::net::{IpAddr, SocketAddr};

use millrace_types::Now;

/// Makes the unique id of messages whose producer made none: 32 upper-case hex digits, as clients
/// make them. (In RocketMQ, `MessageClientIDSetter`.)
///
/// | bytes | content                                       |
/// |-------|-----------------------------------------------|
/// | 4     | IPv4 address of the broker, or the end of v6  |
/// | 2     | port                                          |
/// | 4     | start of the broker, seconds since 1970       |
/// | 6     | count since then                              |
#[derive(Debug)]
pub(crate) struct UniqueIds {
    prefix: [u8; 10],
    count: u64,
}

impl UniqueIds {
    pub(crate) fn new(host: SocketAddr, now: Now) -> Self {
        let mut prefix = [0; 10];
        match host.ip() {
            IpAddr::V4(ip) => prefix[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => prefix[..4].copy_from_slice(&ip.octets()[12..]),
        }
        prefix[4..6].copy_from_slice(&host.port().to_be_bytes());
        prefix[6..].copy_from_slice(&((now.wall_ms / 1000) as u32).to_be_bytes());
        Self { prefix, count: 0 }
    }

    pub(crate) fn next(&mut self) -> [u8; 32] {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        self.count += 1;
        let mut raw = [0; 16];
        raw[..10].copy_from_slice(&self.prefix);
        raw[10..].copy_from_slice(&self.count.to_be_bytes()[2..]);
        let mut text = [0; 32];
        for (pair, byte) in text.chunks_exact_mut(2).zip(raw) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_look_like_those_of_clients() {
        let host = SocketAddr::from(([10, 0, 0, 1], 10911));
        let now = Now { mono_ms: 0, wall_ms: 1_700_000_000_000 };
        let mut ids = UniqueIds::new(host, now);
        assert_eq!(&ids.next(), b"0A0000012A9F6553F100000000000001");
        assert_eq!(&ids.next(), b"0A0000012A9F6553F100000000000002");
    }
}
