/// The hash of a message's tag, which a ConsumeQueue entry carries so that a pull can skip
/// messages without reading them. Zero when the message has no tag. (RocketMQ widens it to 64 bits,
/// with its sign.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagsCode(pub i32);

impl TagsCode {
    /// The code of one tag: `String.hashCode`, which is zero for the empty text.
    pub fn of(tag: &str) -> Self {
        Self(java_hash(tag))
    }
}

/// `String.hashCode` of Java: over UTF-16 units, modulo 2³².
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("TagA"), 2598919);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_hash("日本"), 835047);
    }
}
