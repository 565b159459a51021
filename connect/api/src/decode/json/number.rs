//! Numbers: read once, then made an `int` or a `double` only if nothing is lost.

/// A number of the grammar, not yet of a type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a> {
    text: &'a [u8],
    negative: bool,
    /// All digits, before and after the point, if [`Number::DIGITS_MAX`] are enough.
    digits: u64,
    digit_count: usize,
    /// The value is `digits * 10^exponent`.
    exponent: i64,
    /// Written without a point and without an exponent.
    whole: bool,
}

/// Why a number is not of a type.
pub(super) type Misfit = &'static str;

impl<'a> Number<'a> {
    /// So many decimal digits always fit 64 bits.
    const DIGITS_MAX: usize = 19;

    /// Reads a number that starts at `at` and gives it with the index of what follows.
    #[inline]
    pub(super) fn scan(
        bytes: &'a [u8],
        start: usize,
    ) -> Result<(Self, usize), (usize, &'static str)> {
        let byte = |at: usize| bytes.get(at).copied().unwrap_or(0);
        let negative = byte(start) == b'-';
        let first = start + usize::from(negative);
        let mut at = first;
        let mut digits = 0_u64;
        let take_digits = |at: &mut usize, digits: &mut u64| {
            let from = *at;
            while byte(*at).is_ascii_digit() {
                *digits = digits.wrapping_mul(10).wrapping_add(u64::from(byte(*at) - b'0'));
                *at += 1;
            }
            *at - from
        };

        let mut digit_count = take_digits(&mut at, &mut digits);
        if digit_count == 0 {
            return Err((at, "a digit must follow"));
        }
        if digit_count > 1 && byte(first) == b'0' {
            return Err((first, "a number cannot begin with a zero"));
        }
        let mut exponent = 0;
        let mut whole = true;
        if byte(at) == b'.' {
            at += 1;
            let fraction = take_digits(&mut at, &mut digits);
            if fraction == 0 {
                return Err((at, "a digit must follow the point"));
            }
            digit_count += fraction;
            exponent = -(fraction as i64);
            whole = false;
        }
        if byte(at) | 0x20 == b'e' {
            at += 1;
            let minus = byte(at) == b'-';
            at += usize::from(minus || byte(at) == b'+');
            let from = at;
            let mut value = 0_i64;
            while byte(at).is_ascii_digit() {
                value = value.saturating_mul(10).saturating_add(i64::from(byte(at) - b'0'));
                at += 1;
            }
            if at == from {
                return Err((at, "a digit must follow the exponent"));
            }
            exponent = exponent.saturating_add(if minus { -value } else { value });
            whole = false;
        }
        let text = &bytes[start..at];
        Ok((Self { text, negative, digits, digit_count, exponent, whole }, at))
    }

    /// The value as an `int`. `1.0` and `1e2` are integers, `1.5` is not.
    #[inline]
    pub(super) fn int(&self) -> Result<i64, Misfit> {
        if self.whole && self.digit_count <= Self::DIGITS_MAX && self.digits <= i64::MAX as u64 {
            let value = self.digits as i64;
            return Ok(if self.negative { -value } else { value });
        }
        self.int_digit_by_digit()
    }

    #[cold]
    fn int_digit_by_digit(&self) -> Result<i64, Misfit> {
        const TOO_LARGE: Misfit = "does not fit 64 bits";
        let digits = self.significant_digits();
        let trailing_zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        let digits = &digits[..digits.len() - trailing_zeros];
        let exponent = self.exponent.saturating_add(trailing_zeros as i64);
        if digits.is_empty() {
            return Ok(0);
        }
        if exponent < 0 {
            return Err("is not a whole number");
        }
        if exponent.saturating_add(digits.len() as i64) > Self::DIGITS_MAX as i64 {
            return Err(TOO_LARGE);
        }
        let digit_value = |value, digit: &u8| value * 10 + i128::from(digit - b'0');
        let value = digits.iter().fold(0, digit_value) * 10_i128.pow(exponent as u32);
        i64::try_from(if self.negative { -value } else { value }).map_err(|_| TOO_LARGE)
    }

    /// The value as a `double`: a whole number exactly, a decimal one as the nearest there is.
    #[inline]
    pub(super) fn double(&self) -> Result<f64, Misfit> {
        // Up to here both factors are exact, so the result is rounded once, to the nearest.
        const DIGITS_EXACT: u64 = 1 << 53;
        const POWERS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        if self.digit_count <= Self::DIGITS_MAX && self.digits <= DIGITS_EXACT {
            let power = POWERS.get(self.exponent.unsigned_abs() as usize);
            if let Some(power) = power {
                let digits = self.digits as f64;
                let value = if self.exponent < 0 { digits / power } else { digits * power };
                return Ok(if self.negative { -value } else { value });
            }
        }
        self.double_by_parsing()
    }

    #[cold]
    fn double_by_parsing(&self) -> Result<f64, Misfit> {
        let text = std::str::from_utf8(self.text).map_err(|_| "is not a number")?;
        let value: f64 = text.parse().map_err(|_| "is not a number")?;
        if value.is_infinite() {
            return Err("is too large for a double");
        }
        let digits = self.significant_digits();
        if value == 0.0 && !digits.is_empty() {
            return Err("is too small for a double");
        }
        // Printed without a fraction, a double shows all its digits.
        if self.whole && format!("{:.0}", value.abs()).as_bytes() != digits {
            return Err("has more digits than a double holds");
        }
        Ok(value)
    }

    /// The digits before and after the point, without leading zeros.
    fn significant_digits(&self) -> Vec<u8> {
        let before_exponent = self.text.split(|byte| byte | 0x20 == b'e').next().unwrap_or(&[]);
        let digits = before_exponent.iter().copied().filter(u8::is_ascii_digit);
        digits.skip_while(|digit| *digit == b'0').collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number<'_> {
        let (number, end) = Number::scan(text.as_bytes(), 0).expect("a number of this test");
        assert_eq!(end, text.len(), "{text}");
        number
    }

    #[track_caller]
    fn check_int(text: &str, expected: Option<i64>) {
        assert_eq!(number(text).int().ok(), expected, "{text}");
    }

    #[track_caller]
    fn check_double(text: &str, expected: Option<f64>) {
        let bits = |value: f64| value.to_bits();
        assert_eq!(number(text).double().ok().map(bits), expected.map(bits), "{text}");
    }

    #[test]
    fn whole_values_are_ints_however_they_are_written() {
        check_int("0", Some(0));
        check_int("-0", Some(0));
        check_int("42", Some(42));
        check_int("-42", Some(-42));
        check_int("1.0", Some(1));
        check_int("1.50e1", Some(15));
        check_int("1e2", Some(100));
        check_int("-12.5E+1", Some(-125));
        check_int("100e-2", Some(1));
        check_int("0e999999999999999999999", Some(0));
        check_int("0.000", Some(0));
        check_int("9223372036854775807", Some(i64::MAX));
        check_int("-9223372036854775808", Some(i64::MIN));
        check_int("9223372036854775807.000", Some(i64::MAX));
        check_int("1e18", Some(1_000_000_000_000_000_000));
    }

    #[test]
    fn ints_are_never_narrowed() {
        check_int("1.5", None);
        check_int("1e-1", None);
        check_int("0.9999999999999999999999", None);
        check_int("9223372036854775808", None);
        check_int("-9223372036854775809", None);
        check_int("18446744073709551616", None);
        check_int("18446744073709551617", None);
        check_int("1e19", None);
        check_int("1e99999999999999999999", None);
        check_int("1e-99999999999999999999", None);
    }

    #[test]
    fn doubles_are_the_nearest_and_whole_ones_exact() {
        check_double("0", Some(0.0));
        check_double("-0", Some(-0.0));
        check_double("0.1", Some(0.1));
        check_double("-12.75", Some(-12.75));
        check_double("1e400", None);
        check_double("-1e400", None);
        check_double("1e-400", None);
        check_double("0e-400", Some(0.0));
        check_double("5e-324", Some(5e-324));
        check_double("1.7976931348623157e308", Some(f64::MAX));
        check_double("9007199254740992", Some(9_007_199_254_740_992.0));
        check_double("9007199254740993", None);
        check_double("9007199254740994", Some(9_007_199_254_740_994.0));
        check_double("18446744073709551616", Some(18_446_744_073_709_551_616.0));
        check_double("18446744073709551617", None);
        check_double("100000000000000000000", Some(1e20));
        check_double("-100000000000000000001", None);
        check_double("3.14159265358979323846264338327950288", Some(std::f64::consts::PI));
        check_double("0.00000000000000000000000000000000000001", Some(1e-38));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["-", "01", "-01", "1.", ".5", "-.5", "1e", "1e+", "+1", "1.e1", "0.e1", "00"] {
            let scanned = Number::scan(text.as_bytes(), 0);
            assert!(scanned.is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_double_survives_its_text(value in any::<f64>().prop_filter("", |v| v.is_finite())) {
            let text = format!("{value:e}");
            prop_assert_eq!(number(&text).double().map(f64::to_bits), Ok(value.to_bits()));
        }

        #[test]
        fn every_int_survives_its_text(value in any::<i64>()) {
            prop_assert_eq!(number(&value.to_string()).int(), Ok(value));
        }

        #[test]
        fn decimals_agree_with_the_standard_library(
            text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})(e-?[0-9]{1,2})?"
        ) {
            prop_assert_eq!(number(&text).double(), Ok(text.parse::<f64>().unwrap()));
        }
    }
}
