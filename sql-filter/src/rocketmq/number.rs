//! Numbers as Java reads them from text.

use crate::number::{hexadecimal_float, shape};

/// `Integer.valueOf`: a sign and digits, 32 bits, no blanks.
pub(super) fn read_int(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// `Long.valueOf`: a sign and digits, 64 bits, no blanks.
pub(super) fn read_long(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `Double.valueOf`: blanks and control characters around it are ignored, `NaN`, `Infinity` and
/// hexadecimal floats are numbers, and one of `f F d D` may follow.
pub(super) fn read_double(text: &str) -> Option<f64> {
    let text = text.trim_matches(|char| char <= ' ');
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match unsigned {
        // Java has one NaN, whatever its sign.
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => {
            let digits = unsigned.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(unsigned);
            match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
                Some(hexadecimal) => hexadecimal_float(hexadecimal)?,
                None if digits.starts_with(['+', '-']) => return None,
                None => {
                    shape(digits.as_bytes())?;
                    digits.parse().ok()?
                }
            }
        }
    };
    Some(if negative { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<f64>) {
        let read = read_double(text);
        assert_eq!(read.map(f64::to_bits), expected.map(f64::to_bits), "{text}: {read:?}");
    }

    #[test]
    fn doubles_of_java() {
        check("1.5", Some(1.5));
        check(" \u{1}6 \n", Some(6.0));
        check("1d", Some(1.0));
        check("1e3F", Some(1000.0));
        check("0x1p3", Some(8.0));
        check("-0X1.8P1d", Some(-3.0));
        check("-0", Some(-0.0));
        check("-NaN", Some(f64::NAN));
        check("+Infinity", Some(f64::INFINITY));
        check("1e999", Some(f64::INFINITY));
        for text in ["", " ", "nan", "inf", "infinity", "1L", "0x10", "--1", "1 2", "1_0", "f", "."]
        {
            check(text, None);
        }
    }

    #[test]
    fn integers_of_java() {
        assert_eq!(read_int("+10"), Some(10));
        assert_eq!(read_int("007"), Some(7));
        for text in ["", " 6", "6L", "5.5", "2147483648", "+", "-+1", "0x1"] {
            assert_eq!(read_int(text), None, "{text}");
        }
        assert_eq!(read_long("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(read_long("9223372036854775808"), None);
    }
}
