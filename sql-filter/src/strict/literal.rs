//! Numbers as they are written in an expression: the literals of Java, which JMS prescribes.
//!
//! `12`, `12L`, `1_000`, `0xFF`, `0b101`, octal `017`; `1.5`, `5.`, `.5`, `1e3`, `1.5f`, `0x1p3`.

use crate::number::{Shape, hexadecimal_float, shape};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Literal {
    Int(i64),
    /// 9223372036854775808, which only a minus before it makes a number.
    MinMagnitude,
    Double(f64),
}

/// How many bytes from the start of `text` were meant as one number, right or wrong.
pub(super) fn length(text: &str) -> usize {
    let hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    let mut previous = 0;
    text.bytes()
        .take_while(|byte| {
            let exponent = if hexadecimal { b"pP" } else { b"eE" };
            let belongs = match byte {
                b'+' | b'-' => exponent.contains(&previous),
                b'.' | b'_' | b'$' => true,
                _ => byte.is_ascii_alphanumeric(),
            };
            previous = *byte;
            belongs
        })
        .count()
}

/// Reads a number, or says why it is none.
pub(super) fn read(written: &str) -> Result<Literal, &'static str> {
    let digits: String = written.chars().filter(|char| *char != '_').collect();
    if written.ends_with('_') || written.contains("_.") || written.contains("._") {
        return Err("an underscore stands between digits");
    }
    let lower = digits.to_ascii_lowercase();
    if let Some(rest) = lower.strip_prefix("0x") {
        return if rest.contains(['p', '.']) {
            let rest = rest.strip_suffix(['f', 'd']).filter(|rest| !rest.ends_with('p'));
            let digits = rest.unwrap_or(&lower[2..]);
            double(
                hexadecimal_float(digits).ok_or("a hexadecimal float looks like `0x1.8p3`")?,
                digits,
            )
        } else {
            bits(rest, 16)
        };
    }
    if let Some(rest) = lower.strip_prefix("0b") {
        return bits(rest, 2);
    }
    let unsuffixed = lower.strip_suffix(['f', 'd']).unwrap_or(&lower);
    match shape(unsuffixed.as_bytes()) {
        Some(Shape::Whole) if unsuffixed.len() == lower.len() => whole(&lower),
        Some(_) => double(unsuffixed.parse().map_err(|_| MALFORMED)?, unsuffixed),
        None => whole(lower.strip_suffix('l').ok_or(MALFORMED)?),
    }
}

const MALFORMED: &str = "a name cannot begin with a digit, and a number has one point at most";
const TOO_LARGE: &str = "whole numbers have 64 bits";

fn whole(digits: &str) -> Result<Literal, &'static str> {
    if !matches!(shape(digits.as_bytes()), Some(Shape::Whole)) {
        return Err(MALFORMED);
    }
    if digits.len() > 1 && digits.starts_with('0') {
        if digits.contains(['8', '9']) {
            return Err("a number that begins with 0 is octal, as in Java");
        }
        return bits(&digits[1..], 8);
    }
    match digits.parse() {
        Ok(number) => Ok(Literal::Int(number)),
        Err(_) if digits == "9223372036854775808" => Ok(Literal::MinMagnitude),
        Err(_) => Err(TOO_LARGE),
    }
}

/// Digits that write down 64 bits, so that the highest one is the sign.
fn bits(digits: &str, radix: u32) -> Result<Literal, &'static str> {
    let digits = digits.strip_suffix('l').unwrap_or(digits);
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(MALFORMED);
    }
    let bits = u64::from_str_radix(digits, radix).map_err(|_| TOO_LARGE)?;
    Ok(Literal::Int(bits.cast_signed()))
}

fn double(value: f64, written: &str) -> Result<Literal, &'static str> {
    let mantissa = written.split(['e', 'p']).next().unwrap_or_default();
    let is_zero = !mantissa.contains(|digit: char| digit != '0' && digit != '.');
    if value.is_infinite() {
        Err("the number is too large for 64 bits")
    } else if value == 0.0 && !is_zero && written.contains(['e', 'p']) {
        Err("the number is too small for 64 bits")
    } else {
        Ok(Literal::Double(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, expected: Option<Literal>) {
        assert_eq!(length(written), written.len(), "{written}");
        assert_eq!(read(written).ok(), expected, "{written}");
    }

    #[test]
    fn whole_numbers() {
        check("0", Some(Literal::Int(0)));
        check("12L", Some(Literal::Int(12)));
        check("1_000l", Some(Literal::Int(1000)));
        check("0xFF", Some(Literal::Int(255)));
        check("0Xff_ffL", Some(Literal::Int(65535)));
        check("0x8000_0000_0000_0001", Some(Literal::Int(-9_223_372_036_854_775_807)));
        check("0b111_111", Some(Literal::Int(63)));
        check("077L", Some(Literal::Int(63)));
        check("00", Some(Literal::Int(0)));
        check("9223372036854775807", Some(Literal::Int(i64::MAX)));
        check("9223372036854775808", Some(Literal::MinMagnitude));
    }

    #[test]
    fn fractions() {
        check("5.", Some(Literal::Double(5.0)));
        check(".5E1", Some(Literal::Double(5.0)));
        check("1e-3", Some(Literal::Double(0.001)));
        check("0.0", Some(Literal::Double(0.0)));
        check("0e9", Some(Literal::Double(0.0)));
        check("1_000_020.4f", Some(Literal::Double(1_000_020.4)));
        check("3d", Some(Literal::Double(3.0)));
        check("09.5", Some(Literal::Double(9.5)));
        check("0x800p-3", Some(Literal::Double(256.0)));
        check("0x1.8p1f", Some(Literal::Double(3.0)));
        check("4.9E-324", Some(Literal::Double(f64::from_bits(1))));
        check("1.7976931348623157E308", Some(Literal::Double(f64::MAX)));
    }

    #[test]
    fn what_is_no_number() {
        for written in [
            "1a",
            "1.2.3",
            "1..2",
            "1e",
            "1e+",
            "0x",
            "0xG",
            "0x1.8",
            "0x1pf",
            "0b2",
            "089",
            "1_",
            "1_.5",
            "9223372036854775809",
            "0x10000000000000000",
            "1e400",
            "1e-400",
            "1.5L",
            "12$",
        ] {
            check(written, None);
        }
    }

    #[test]
    fn a_sign_belongs_only_to_an_exponent() {
        assert_eq!(length("1-17"), 1);
        assert_eq!(length("1e-17+2"), 5);
        assert_eq!(length("0xe-1"), 3);
        assert_eq!(length("5 "), 1);
    }
}
