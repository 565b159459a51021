/// A 64-bit FNV-1a checksum, built up piece by piece.
///
/// It tells files and option sets apart that differ by accident; it is no defence against someone
/// who wants two of them to look alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checksum(u64);

impl Checksum {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self
    }

    pub(crate) fn add_u64(&mut self, number: u64) -> &mut Self {
        self.add(&number.to_be_bytes())
    }

    /// Adds text so that `("ab", "c")` and `("a", "bc")` differ.
    pub(crate) fn add_text(&mut self, text: &str) -> &mut Self {
        self.add_u64(text.len() as u64).add(text.as_bytes())
    }

    pub(crate) fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors published with the FNV reference code.
    #[test]
    fn agrees_with_the_published_vectors() {
        let of = |text: &str| Checksum::new().add(text.as_bytes()).value();
        assert_eq!(of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(of("foobar"), 0x8594_4171_f739_67e8);
    }
}
