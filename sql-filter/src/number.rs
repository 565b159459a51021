//! Numbers exactly: read from text, compared without rounding, and hexadecimal floats.

use std::cmp::Ordering;

use crate::Value;

/// A number of either type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Double(f64),
}

impl Number {
    /// Reads a decimal number: a sign, digits, a point, an exponent, blanks around it. Whatever
    /// is whole and fits 64 bits is an `Int`. Hexadecimal, `NaN`, `inf` and suffixes are text.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if let Some(int) = digits_alone(text.as_bytes()) {
            return Some(Self::Int(int));
        }
        let text = text.trim_ascii();
        match shape(text.as_bytes())? {
            Shape::Whole => match text.parse() {
                Ok(int) => Some(Self::Int(int)),
                Err(_) => finite(text),
            },
            Shape::Fractional => finite(text),
        }
    }

    /// The order of two numbers by their exact values; `None` if one is not a number at all.
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right),
            (Self::Int(left), Self::Double(right)) => compare_mixed(left, right),
            (Self::Double(left), Self::Int(right)) => {
                compare_mixed(right, left).map(Ordering::reverse)
            }
        }
    }

    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Double(double) => double,
        }
    }
}

impl From<Number> for Value<'_> {
    fn from(number: Number) -> Self {
        match number {
            Number::Int(int) => Self::Int(int),
            Number::Double(double) => Self::Double(double),
        }
    }
}

/// A number as most are written: digits, no more than always fit.
fn digits_alone(bytes: &[u8]) -> Option<i64> {
    const DIGITS_MAX: usize = 18;
    if bytes.is_empty() || bytes.len() > DIGITS_MAX {
        return None;
    }
    bytes.iter().try_fold(0, |int, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| 10 * int + i64::from(digit))
    })
}

fn finite(text: &str) -> Option<Number> {
    let double = text.parse().ok().filter(|double: &f64| double.is_finite())?;
    Some(Number::Double(double))
}

/// Compares without converting the integer, which would round it beyond 2^53.
fn compare_mixed(int: i64, double: f64) -> Option<Ordering> {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if double.is_nan() {
        return None;
    }
    if double >= TWO_TO_63 {
        return Some(Ordering::Less);
    }
    if double < -TWO_TO_63 {
        return Some(Ordering::Greater);
    }
    let whole = double.trunc();
    let by_whole = int.cmp(&(whole as i64));
    Some(by_whole.then(0.0.partial_cmp(&(double - whole))?))
}

pub(crate) enum Shape {
    Whole,
    Fractional,
}

/// Whether the bytes have the shape of a decimal number, and of which kind.
pub(crate) fn shape(bytes: &[u8]) -> Option<Shape> {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = match bytes {
        [b'+' | b'-', rest @ ..] => rest,
        all => all,
    };
    let before = digits(unsigned);
    let mut rest = &unsigned[before..];
    if before > 0 && rest.is_empty() {
        return Some(Shape::Whole);
    }
    let mut after = 0;
    if let [b'.', fraction @ ..] = rest {
        after = digits(fraction);
        rest = &fraction[after..];
    }
    if before + after == 0 {
        return None;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = match exponent {
            [b'+' | b'-', unsigned @ ..] => unsigned,
            all => all,
        };
        let count = digits(exponent);
        if count == 0 {
            return None;
        }
        rest = &exponent[count..];
    }
    rest.is_empty().then_some(Shape::Fractional)
}

/// Reads what follows `0x` in a hexadecimal float as Java writes them: `1.8p3` is 12.
/// The exponent is required.
pub(crate) fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Beyond this the result is zero or infinite whatever the mantissa, which is at most a whole
    // expression or message long.
    const EXPONENT_MAX: i64 = 1 << 40;
    let magnitude = unsigned.parse::<i64>().unwrap_or(EXPONENT_MAX).min(EXPONENT_MAX);
    let mut exponent = if exponent.starts_with('-') { -magnitude } else { magnitude };

    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (mut bits, mut lost) = (0_u64, false);
    for (is_fraction, digit) in
        whole.chars().map(|digit| (false, digit)).chain(fraction.chars().map(|digit| (true, digit)))
    {
        let digit = u64::from(digit.to_digit(16)?);
        if bits >> 60 == 0 {
            bits = bits << 4 | digit;
            exponent -= if is_fraction { 4 } else { 0 };
        } else {
            lost |= digit != 0;
            exponent += if is_fraction { 0 } else { 4 };
        }
    }
    Some(scaled(bits, lost, exponent))
}

/// `bits * 2^exponent` rounded to the nearest double, ties to even. `lost` says that digits below
/// the last bit were cut off.
fn scaled(bits: u64, lost: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let width = i64::from(u64::BITS - bits.leading_zeros());
    let top = exponent + width - 1;
    if top > 1023 {
        return f64::INFINITY;
    }
    if top < -1075 {
        return 0.0;
    }
    // Subnormal numbers have fewer bits.
    let precision = if top < -1022 { 53 - (-1022 - top) } else { 53 };
    let cut = width - precision;
    if cut <= 0 {
        return bits as f64 * power_of_two(exponent);
    }
    let (kept, rest) = (u128::from(bits) >> cut, u128::from(bits) & ((1 << cut) - 1));
    let half = 1 << (cut - 1);
    let up = rest > half || rest == half && (lost || kept & 1 == 1);
    (kept + u128::from(up)) as f64 * power_of_two(exponent + cut)
}

/// 2^exponent for the exponents a finite double can need; `scaled` guarantees the range.
fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        _ if exponent > 0 => f64::INFINITY,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<Number>) {
        assert_eq!(Number::read(text), expected, "{text}");
    }

    #[test]
    fn what_reads_as_a_number() {
        check("12", Some(Number::Int(12)));
        check("+12", Some(Number::Int(12)));
        check(" -7\t", Some(Number::Int(-7)));
        check("007", Some(Number::Int(7)));
        check("1.50", Some(Number::Double(1.5)));
        check("5.", Some(Number::Double(5.0)));
        check("-.5", Some(Number::Double(-0.5)));
        check("1e3", Some(Number::Double(1000.0)));
        check("1.E+1", Some(Number::Double(10.0)));
        check("9223372036854775807", Some(Number::Int(i64::MAX)));
        check("9223372036854775808", Some(Number::Double(9_223_372_036_854_775_808.0)));
    }

    #[test]
    fn what_does_not() {
        for text in [
            "", " ", ".", "-", "+-1", "1 2", "1e", "1e+", "0x10", "NaN", "inf", "1f", "1_000",
            "1e999",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn mixed_numbers_compare_exactly() {
        let cases = [
            (9_007_199_254_740_993, 9_007_199_254_740_992.0, Some(Ordering::Greater)),
            (i64::MAX, 9_223_372_036_854_775_808.0, Some(Ordering::Less)),
            (i64::MIN, -9_223_372_036_854_775_808.0, Some(Ordering::Equal)),
            (0, 0.5, Some(Ordering::Less)),
            (0, -0.5, Some(Ordering::Greater)),
            (-1, -1.5, Some(Ordering::Greater)),
            (0, -0.0, Some(Ordering::Equal)),
            (0, f64::NEG_INFINITY, Some(Ordering::Greater)),
            (0, f64::NAN, None),
        ];
        for (int, double, expected) in cases {
            let (int, double) = (Number::Int(int), Number::Double(double));
            assert_eq!(int.compare(double), expected, "{int:?} {double:?}");
            assert_eq!(double.compare(int), expected.map(Ordering::reverse));
        }
    }

    #[test]
    fn hexadecimal_floats_round_to_the_nearest() {
        let cases = [
            ("1p3", 8.0),
            ("1.8p3", 12.0),
            (".8p0", 0.5),
            ("a.p1", 20.0),
            ("800p-3", 256.0),
            ("1p-1074", f64::from_bits(1)),
            ("1p-1075", 0.0),
            ("1.8p-1075", f64::from_bits(1)),
            ("1.fffffffffffffp1023", f64::MAX),
            ("1p1024", f64::INFINITY),
            ("1.00000000000008p0", 1.0),
            ("1.000000000000080000000000000001p0", 1.0 + f64::EPSILON),
            ("1.00000000000018p0", 1.0 + 2.0 * f64::EPSILON),
            ("0p99999999999999999999", 0.0),
            ("1p-99999999999999999999", 0.0),
            ("0.0000000000000001p64", 1.0),
            ("10000000000000000p-64", 1.0),
        ];
        for (text, expected) in cases {
            assert_eq!(hexadecimal_float(text), Some(expected), "{text}");
        }
        for text in ["", "1", "p1", ".p1", "1p", "1p+", "1p1x", "g p1", "1.1.1p1"] {
            assert_eq!(hexadecimal_float(text), None, "{text}");
        }
    }
}
