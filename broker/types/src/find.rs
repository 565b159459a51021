/// Where the first of two bytes is. Looks at eight bytes at a time without a call, because what is
/// searched here is short: the texts of a header, names and values of properties. Give the same
/// byte twice to look for one.
#[inline]
pub fn find_either<const ONE: u8, const OTHER: u8>(bytes: &[u8]) -> Option<usize> {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    // The lowest set bit marks the first zero byte; bits above it may be wrong.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let hits = zeros(word ^ (LOW * u64::from(ONE))) | zeros(word ^ (LOW * u64::from(OTHER)));
        if hits != 0 {
            let before = bytes.len() - rest.len();
            return Some(before + (hits.trailing_zeros() / 8) as usize);
        }
        rest = after;
    }
    let before = bytes.len() - rest.len();
    let found = rest.iter().position(|&byte| byte == ONE || byte == OTHER);
    found.map(|at| before + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_bytes_is_found() {
        for len in 0..40 {
            for at in 0..len {
                let mut bytes = vec![b'x'; len];
                bytes[at..].fill(b'\\' + 1);
                bytes[at] = b'"';
                assert_eq!(find_either::<b'"', b'\\'>(&bytes), Some(at), "{at} of {len}");
                assert_eq!(find_either::<b'\\', b'"'>(&bytes), Some(at), "{at} of {len}");
                assert_eq!(find_either::<b'"', b'\\'>(&bytes[..at]), None, "{at} of {len}");
            }
        }
    }
}
