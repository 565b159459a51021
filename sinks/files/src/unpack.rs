//! Files of text as they were before they were compressed.

use std::io;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::gzip;

/// What a file of text that a sink wrote says. Its name tells how it is compressed.
pub fn unpacked(name: &str, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    match name.rsplit_once('.') {
        Some((_, "gz")) => gunzip(&bytes),
        Some((_, "zst")) => zstd::stream::decode_all(&bytes[..]),
        _ => Ok(bytes),
    }
}

fn gunzip(mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    while !bytes.is_empty() {
        let (member, rest) =
            member(bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, NOT_OURS))?;
        text.extend(member);
        bytes = rest;
    }
    Ok(text)
}

const NOT_OURS: &str = "it is no gzip file of ours";

/// The first member, and what follows it.
fn member(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let bytes = bytes.strip_prefix(&gzip::HEADER)?;
    let mut state = DecompressorOxide::new();
    let mut text = vec![0; 64 << 10];
    let (mut read, mut written) = (0, 0);
    loop {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, more_read, more_written) =
            decompress(&mut state, &bytes[read..], &mut text, written, flags);
        read += more_read;
        written += more_written;
        match status {
            TINFLStatus::Done => break,
            TINFLStatus::HasMoreOutput => text.resize(2 * text.len(), 0),
            _ => return None,
        }
    }
    text.truncate(written);
    let (trailer, rest) = bytes[read..].split_at_checked(gzip::TRAILER_BYTES)?;
    (trailer == gzip::trailer(&text)).then_some((text, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        [gzip::member(b"a line\n"), gzip::member(&b"another\n".repeat(5_000))].concat()
    }

    #[test]
    fn every_member_is_unpacked() {
        let text = unpacked("x.jsonl.gz", packed()).unwrap();
        assert_eq!(text, [b"a line\n".to_vec(), b"another\n".repeat(5_000)].concat());
    }

    #[test]
    fn damage_is_an_error() {
        let whole = packed();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(unpacked("x.gz", damaged).is_err(), "a flipped bit at {at}");
            if at > 0 && at != gzip::member(b"a line\n").len() {
                assert!(unpacked("x.gz", whole[..at].to_vec()).is_err(), "cut off at {at}");
            }
        }
    }
}
