//! Bytes in texts, many at a time: whoever steps through a text byte by byte pays in a module for a
//! look at the clock with each.

const BLOCK: usize = 16;
const WORD: usize = 8;

/// The last place of a byte.
#[inline]
pub(crate) fn last_of(byte: u8, text: &[u8]) -> Option<usize> {
    let mut rest = text;
    while let Some((before, block)) = rest.split_last_chunk() {
        if let Some(at) = last_in_block(byte, block) {
            return Some(before.len() + at);
        }
        rest = before;
    }
    if let Some((before, word)) = rest.split_last_chunk() {
        if let Some(at) = last_in_word(byte, u64::from_le_bytes(*word)) {
            return Some(before.len() + at);
        }
        rest = before;
    }
    rest.iter().rposition(|known| *known == byte)
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline]
fn last_in_block(byte: u8, block: &[u8; BLOCK]) -> Option<usize> {
    use std::arch::wasm32::{u8x16_bitmask, u8x16_eq, u8x16_splat, u64x2};
    let block = u128::from_le_bytes(*block);
    let block = u64x2(block as u64, (block >> 64) as u64);
    let places = u8x16_bitmask(u8x16_eq(block, u8x16_splat(byte)));
    places.checked_ilog2().map(|at| at as usize)
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline]
fn last_in_block(byte: u8, block: &[u8; BLOCK]) -> Option<usize> {
    let block = u128::from_le_bytes(*block);
    let last = last_in_word(byte, (block >> 64) as u64).map(|at| WORD + at);
    last.or_else(|| last_in_word(byte, block as u64))
}

#[inline]
fn last_in_word(byte: u8, word: u64) -> Option<usize> {
    const LOW: u64 = u64::from_le_bytes([1; WORD]);
    const REST: u64 = LOW * 0x7f;
    let others = word ^ (LOW * u64::from(byte));
    // Adding sets the highest bit of a byte that is not 0, and carries nothing into the next.
    let places = !(((others & REST) + REST) | others | REST);
    places.checked_ilog2().map(|at| at as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_of_a_byte_is_found() {
        for len in 0..70 {
            for other in [0x00, 0x01, 0x03, 0x80, 0x82, 0xff] {
                let mut text = vec![other; len];
                assert_eq!(last_of(2, &text), None, "{other:#x}, {len} times");
                for at in 0..len {
                    text[at] = 2;
                    assert_eq!(last_of(2, &text), Some(at), "{other:#x}, {len} times");
                }
            }
        }
    }
}
