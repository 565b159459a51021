/// Writes text in quotes.
pub(super) fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                out.extend(b"\\u00");
                hex(&[byte], out);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// Writes a number with at least `width` digits, zeros in front.
pub(super) fn unsigned(mut number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while number > 0 {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend(&digits[at.min(digits.len() - width.clamp(1, digits.len()))..]);
}

pub(super) fn signed(number: i64, out: &mut Vec<u8>) {
    decimal(number, 0, out);
}

/// Writes `number` with its last `decimals` digits after a point.
pub(super) fn decimal(number: i64, decimals: u32, out: &mut Vec<u8>) {
    if number < 0 {
        out.push(b'-');
    }
    let scale = 10_u64.pow(decimals);
    unsigned(number.unsigned_abs() / scale, 1, out);
    if decimals > 0 {
        out.push(b'.');
        unsigned(number.unsigned_abs() % scale, decimals as usize, out);
    }
}

/// Writes a moment, microseconds since 1970, as RFC 3339 in UTC. Moments before year 0 and after
/// 9999 become the nearest one that can be written.
pub(super) fn time(micros: i64, out: &mut Vec<u8>) {
    const FIRST: i64 = -62_167_219_200_000_000;
    const LAST: i64 = 253_402_300_799_999_999;
    const DAY: i64 = 86_400_000_000;
    let micros = micros.clamp(FIRST, LAST);
    let (year, month, day) = date(micros.div_euclid(DAY));
    let within = micros.rem_euclid(DAY) as u64;
    let seconds = within / 1_000_000;
    let parts = [
        (b'"', year, 4),
        (b'-', month, 2),
        (b'-', day, 2),
        (b'T', seconds / 3600, 2),
        (b':', seconds / 60 % 60, 2),
        (b':', seconds % 60, 2),
        (b'.', within % 1_000_000, 6),
    ];
    for (before, number, width) in parts {
        out.push(before);
        unsigned(number, width, out);
    }
    out.extend(b"Z\"");
}

/// Year, month and day of a day counted from 1970-01-01, for years from 0 on.
///
/// Counted from March 1 of year 0, so that the leap day is the last of its year and of its 4, 100
/// and 400 years.
fn date(days: i64) -> (u64, u64, u64) {
    const ERA: i64 = 146_097; // days in 400 years
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    ((era * 400 + year) as u64, month as u64, day as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn texts() {
        check(|out| text("plain é", out), r#""plain é""#);
        check(|out| text("a\"b\\c\nd\te\r\u{1}", out), r#""a\"b\\c\nd\te\r\u0001""#);
    }

    #[test]
    fn numbers() {
        check(|out| unsigned(0, 1, out), "0");
        check(|out| unsigned(u64::MAX, 1, out), "18446744073709551615");
        check(|out| unsigned(7, 3, out), "007");
        check(|out| signed(i64::MIN, out), "-9223372036854775808");
        check(|out| decimal(-5, 2, out), "-0.05");
        check(|out| decimal(12_345, 2, out), "123.45");
        check(|out| decimal(100, 2, out), "1.00");
    }

    #[test]
    fn times() {
        check(|out| time(0, out), "\"1970-01-01T00:00:00.000000Z\"");
        check(|out| time(-1, out), "\"1969-12-31T23:59:59.999999Z\"");
        check(|out| time(951_782_400_000_000, out), "\"2000-02-29T00:00:00.000000Z\"");
        check(|out| time(4_107_542_400_000_000, out), "\"2100-03-01T00:00:00.000000Z\"");
        check(|out| time(1_767_225_599_123_456, out), "\"2025-12-31T23:59:59.123456Z\"");
        check(|out| time(i64::MAX, out), "\"9999-12-31T23:59:59.999999Z\"");
        check(|out| time(i64::MIN, out), "\"0000-01-01T00:00:00.000000Z\"");
    }

    /// The calendar rule, day by day, for 800 years.
    #[test]
    fn dates_follow_each_other() {
        let (mut year, mut month, mut day) = (1600, 1, 1);
        for days in -135_140.. {
            assert_eq!(date(days), (year, month, day));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month > 12 {
                (month, year) = (1, year + 1);
            }
            if year == 2400 {
                break;
            }
        }
    }
}
