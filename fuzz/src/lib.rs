//! What each fuzz target does with some bytes. Panics are bugs.
//!
//! `cargo +nightly fuzz run TARGET` drives these; `tests/it/corpus.rs` replays the corpus through
//! them without nightly.

mod frames; // the remoting protocol
mod records; // records, batches, properties
mod seeds; // where a fuzzer starts
mod stores; // files of a data directory

pub use frames::{frame, header_binary, header_json, request};
pub use records::{batch, properties, record};
pub use seeds::seeds;
pub use stores::{queue_index, recovery, snapshot};

/// The inputs in a packed corpus: each after its length, four bytes, big-endian.
pub fn unpack(mut packed: &[u8]) -> Vec<&[u8]> {
    let mut inputs = Vec::new();
    while let Some((len, rest)) = packed.split_first_chunk::<4>() {
        let (input, rest) = rest.split_at(u32::from_be_bytes(*len) as usize);
        inputs.push(input);
        packed = rest;
    }
    inputs
}

/// A name and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("record", record),
    ("batch", batch),
    ("properties", properties),
    ("queue_index", queue_index),
    ("recovery", recovery),
    ("snapshot", snapshot),
    ("frame", frame),
    ("header_json", header_json),
    ("header_binary", header_binary),
    ("request", request),
];

/// CRC-32 (IEEE), bit by bit, so that it is not the code under test.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}
