//! Members of gzip files (RFC 1952).

const LEVEL: u8 = 6;

/// Deflated, without a name and without a time, from a system that nobody needs to know.
pub(crate) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

pub(crate) const TRAILER_BYTES: usize = 8;

/// A text as a member.
pub(crate) fn member(text: &[u8]) -> Vec<u8> {
    let mut member = HEADER.to_vec();
    member.extend(miniz_oxide::deflate::compress_to_vec(text, LEVEL));
    member.extend(trailer(text));
    member
}

/// What stands behind a deflated text: its CRC-32, and its length modulo 2^32.
pub(crate) fn trailer(text: &[u8]) -> [u8; TRAILER_BYTES] {
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..4].copy_from_slice(&crc32fast::hash(text).to_le_bytes());
    trailer[4..].copy_from_slice(&(text.len() as u32).to_le_bytes());
    trailer
}
