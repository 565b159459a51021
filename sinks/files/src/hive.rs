//! Partition values as directory names: `day=2015-05-17/region=eu`.
//!
//! The form is Hive's, which Spark, DuckDB, Polars and pyarrow read: a name, `=`, and the value,
//! percent-encoded where it could be misread or lead out of its directory.

use std::fmt::Write;

/// The value that stands for null. Spark refuses a directory `day=`, so empty text is this, too.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The longest name that Linux file systems take, bytes.
const SEGMENT_BYTES_MAX: usize = 255;

/// The longest path of a partition below the sink's directory, bytes.
pub(crate) const PARTITION_BYTES_MAX: usize = 1024;

/// One directory: `name=value`. `None` if it would be too long for a directory name.
pub(crate) fn segment(name: &str, value: Option<&str>) -> Option<String> {
    let mut segment = String::new();
    encode(name, &mut segment);
    segment.push('=');
    match value {
        None | Some("") => segment.push_str(NULL),
        // A text that reads like the null is not null.
        Some(NULL) => {
            segment.push_str("%5F");
            segment.push_str(&NULL[1..]);
        }
        Some(value) => encode(value, &mut segment),
    }
    (segment.len() <= SEGMENT_BYTES_MAX).then_some(segment)
}

/// The column names of a partition path, encoded.
pub(crate) fn names(partition: &str) -> impl Iterator<Item = &str> {
    let segments = partition.split('/').filter(|segment| !segment.is_empty());
    segments.map(|segment| segment.split('=').next().unwrap_or(segment))
}

/// A column's name as it stands in a path.
pub(crate) fn name(column: &str) -> String {
    let mut name = String::new();
    encode(column, &mut name);
    name
}

fn encode(text: &str, out: &mut String) {
    let mut chars = text.chars().peekable();
    let mut before = None;
    while let Some(char) = chars.next() {
        let plain = match char {
            '-' | '_' => true,
            // A dot is plain inside a word (`www.example.com`), but `..` is no word.
            '.' => {
                let is_dot = |other| other == Some('.');
                before.is_some() && !is_dot(before) && !is_dot(chars.peek().copied())
            }
            char => char.is_alphanumeric(),
        };
        if plain {
            out.push(char);
        } else {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                write!(out, "%{byte:02X}").expect("writing to a string works");
            }
        }
        before = Some(char);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: Option<&str>, expected: &str) {
        assert_eq!(segment("k", value).as_deref(), Some(expected));
    }

    #[test]
    fn harmless_values_stay_readable() {
        check(Some("2015-05-17"), "k=2015-05-17");
        check(Some("eu_west-1"), "k=eu_west-1");
        check(Some("www.example.com"), "k=www.example.com");
        check(Some("Köln"), "k=Köln");
        check(Some("-1.5"), "k=-1.5");
    }

    #[test]
    fn values_cannot_leave_their_directory() {
        check(Some("../../etc"), "k=%2E%2E%2F%2E%2E%2Fetc");
        check(Some("."), "k=%2E");
        check(Some("/"), "k=%2F");
        check(Some("a/b=c"), "k=a%2Fb%3Dc");
        check(Some("50%"), "k=50%25");
        check(Some("a\0b\nc"), "k=a%00b%0Ac");
        check(Some(".hidden"), "k=%2Ehidden");
        check(Some("2015-05-17 10:05:03"), "k=2015-05-17%2010%3A05%3A03");
        check(Some("*?[x]"), "k=%2A%3F%5Bx%5D");
        check(Some("\u{202e}x"), "k=%E2%80%AEx");
        assert_eq!(segment("user/id", Some("x")).as_deref(), Some("user%2Fid=x"));
    }

    #[test]
    fn null_has_a_value_of_its_own() {
        check(None, "k=__HIVE_DEFAULT_PARTITION__");
        check(Some(""), "k=__HIVE_DEFAULT_PARTITION__");
        check(Some("__HIVE_DEFAULT_PARTITION__"), "k=%5F_HIVE_DEFAULT_PARTITION__");
    }

    #[test]
    fn a_directory_name_has_a_limit() {
        assert!(segment("k", Some(&"x".repeat(253))).is_some());
        assert_eq!(segment("k", Some(&"x".repeat(254))), None);
        assert_eq!(segment("k", Some(&"/".repeat(85))), None);
    }

    #[test]
    fn the_columns_of_a_path_are_known() {
        let names: Vec<_> = names("day=2015-05-17/a%2Fb=x").collect();
        assert_eq!(names, ["day", &name("a/b")]);
        assert_eq!(super::names("").count(), 0);
    }

    proptest! {
        #[test]
        fn any_value_is_one_directory_and_comes_back(value in any::<String>()) {
            let Some(segment) = segment("k", Some(&value)) else { return Ok(()) };
            prop_assert!(!segment.contains('/') && !segment.contains("..") && segment.len() <= 255);
            let encoded = segment.strip_prefix("k=").unwrap();
            if encoded == NULL {
                prop_assert_eq!(value, "");
                return Ok(());
            }
            let mut bytes = Vec::new();
            let mut rest = encoded.as_bytes();
            while let [first, tail @ ..] = rest {
                rest = tail;
                bytes.push(match first {
                    b'%' => {
                        let (hex, tail) = rest.split_at(2);
                        rest = tail;
                        u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap()
                    }
                    byte => *byte,
                });
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), value);
        }
    }
}
