//! Text to time. Everything is UTC and proleptic Gregorian; there are no leap seconds.

/// Why a text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It does not look like one.
    #[error("not written as {0}")]
    Shape(&'static str),
    /// It does, but there is no such day or hour.
    #[error("no such moment in the calendar")]
    Calendar,
    /// It has digits other than 0 beyond the microsecond, which would be lost.
    #[error("finer than a microsecond")]
    TooFine,
}

const TIMESTAMP_SHAPE: TimeError = TimeError::Shape("RFC 3339, for instance 2026-01-02T03:04:05Z");
const DATE_SHAPE: TimeError = TimeError::Shape("YYYY-MM-DD");

pub(super) const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads a moment as microseconds since the Unix epoch.
///
/// It is RFC 3339 (`2026-01-02T03:04:05.678+01:00`), or one of the forms that logs and databases
/// write: a space in place of the `T`, `/` in place of `-` in the date, no seconds, no offset. A
/// time without an offset is UTC.
pub fn parse_timestamp(text: &str) -> Result<i64, TimeError> {
    timestamp(text.as_bytes())
}

/// Reads a day written `YYYY-MM-DD` as days since the Unix epoch.
pub fn parse_date(text: &str) -> Result<i32, TimeError> {
    date(text.as_bytes())
}

/// [`parse_timestamp`] of bytes that may be no text at all.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64, TimeError> {
    let (date, rest) = bytes.split_at_checked(10).ok_or(TIMESTAMP_SHAPE)?;
    let separator = date[4];
    if separator != b'-' && separator != b'/' {
        return Err(TIMESTAMP_SHAPE);
    }
    let day = day_number(date, separator).ok_or(TIMESTAMP_SHAPE)??;

    let [b'T' | b't' | b' ', h1, h2, b':', m1, m2, rest @ ..] = rest else {
        return Err(TIMESTAMP_SHAPE);
    };
    let hour = two_digits(*h1, *h2).ok_or(TIMESTAMP_SHAPE)?;
    let minute = two_digits(*m1, *m2).ok_or(TIMESTAMP_SHAPE)?;
    let (second, micros, rest) = match rest {
        [b':', s1, s2, rest @ ..] => {
            let second = two_digits(*s1, *s2).ok_or(TIMESTAMP_SHAPE)?;
            match rest {
                [b'.', rest @ ..] => {
                    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let (fraction, rest) = rest.split_at(digits);
                    (second, fraction_micros(fraction).ok_or(TIMESTAMP_SHAPE)??, rest)
                }
                rest => (second, 0, rest),
            }
        }
        rest => (0, 0, rest),
    };
    let offset_seconds = match rest {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = two_digits(*h1, *h2).ok_or(TIMESTAMP_SHAPE)?;
            let minutes = two_digits(*m1, *m2).ok_or(TIMESTAMP_SHAPE)?;
            offset_seconds(*sign == b'-', hours, minutes)?
        }
        _ => return Err(TIMESTAMP_SHAPE),
    };
    Ok(moment(day, hour, minute, second)? + micros - offset_seconds * MICROS_PER_SECOND)
}

/// [`parse_date`] of bytes that may be no text at all.
pub(super) fn date(bytes: &[u8]) -> Result<i32, TimeError> {
    day_number(bytes, b'-').ok_or(DATE_SHAPE)?
}

/// `YYYY-MM-DD` with that separator; `None` if it is written otherwise.
fn day_number(text: &[u8], separator: u8) -> Option<Result<i32, TimeError>> {
    let &[y1, y2, y3, y4, s1, m1, m2, s2, d1, d2] = text else {
        return None;
    };
    if s1 != separator || s2 != separator {
        return None;
    }
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    Some(days_since_epoch(year, two_digits(m1, m2)?, two_digits(d1, d2)?))
}

/// Days from the Unix epoch to a day of the years 0 to 9999.
pub(super) fn days_since_epoch(year: i64, month: i64, day: i64) -> Result<i32, TimeError> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return Err(TimeError::Calendar),
    };
    if !(1..=days_in_month).contains(&day) || !(0..=9999).contains(&year) {
        return Err(TimeError::Calendar);
    }
    // Counted in years that begin in March, the leap day is the last day of its year. The months
    // from March on then begin at day 0, 31, 61, 92, ..., which is (153 * month + 2) / 5.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = year * 365 + leap_days + (153 * month + 2) / 5 + day - 1;
    const FIRST_OF_MARCH_0_TO_EPOCH: i64 = 719_468;
    Ok((days - FIRST_OF_MARCH_0_TO_EPOCH) as i32)
}

/// Microseconds since the Unix epoch at a time of day.
pub(super) fn moment(day: i32, hour: i64, minute: i64, second: i64) -> Result<i64, TimeError> {
    if hour > 23 || minute > 59 || second > 59 {
        return Err(TimeError::Calendar);
    }
    let seconds = i64::from(day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second;
    Ok(seconds * MICROS_PER_SECOND)
}

pub(super) fn offset_seconds(west: bool, hours: i64, minutes: i64) -> Result<i64, TimeError> {
    if hours > 23 || minutes > 59 {
        return Err(TimeError::Calendar);
    }
    let seconds = hours * 3600 + minutes * 60;
    Ok(if west { -seconds } else { seconds })
}

/// The digits after the point as microseconds; `None` if there is none.
pub(super) fn fraction_micros(digits: &[u8]) -> Option<Result<i64, TimeError>> {
    let (kept, beyond) = digits.split_at(digits.len().min(6));
    if kept.is_empty() {
        return None;
    }
    if beyond.iter().any(|digit| *digit != b'0') {
        return Some(Err(TimeError::TooFine));
    }
    let value = kept.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(Ok(value * 10_i64.pow(6 - kept.len() as u32)))
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then_some(i64::from(tens) * 10 + i64::from(ones))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<i64, TimeError>) {
        assert_eq!(parse_timestamp(text), expected, "{text}");
    }

    #[test]
    fn timestamps_are_read_in_every_form() {
        const T: i64 = 1_767_323_045_000_000;
        check("2026-01-02T03:04:05Z", Ok(T));
        check("2026-01-02t03:04:05z", Ok(T));
        check("2026-01-02 03:04:05", Ok(T));
        check("2026/01/02 03:04:05", Ok(T));
        check("2026-01-02 03:04", Ok(T - 5_000_000));
        check("2026/01/02 03:04", Ok(T - 5_000_000));
        check("2026-01-02T03:04:05", Ok(T));
        check("2026-01-02T03:04:05.6Z", Ok(T + 600_000));
        check("2026-01-02T03:04:05.678901", Ok(T + 678_901));
        check("2026-01-02T03:04:05.678901000Z", Ok(T + 678_901));
        check("2026-01-02T04:34:05+01:30", Ok(T));
        check("2026-01-01T23:04:05-04:00", Ok(T));
        check("2026-01-02T03:04:05-00:00", Ok(T));
        check("1970-01-01T00:00:00Z", Ok(0));
        check("1969-12-31T23:59:59.999999Z", Ok(-1));
        check("0000-01-01T00:00:00Z", Ok(-62_167_219_200_000_000));
        check("9999-12-31T23:59:59.999999Z", Ok(253_402_300_799_999_999));
        check("2000-02-29T00:00:00Z", Ok(951_782_400_000_000));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "2026",
            "2026-01-02",
            "2026-01-02T",
            "2026-01-02T03",
            "2026-01-02T03:04:5Z",
            "2026-01-02T03:04:05.",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+01",
            "2026-01-02T03:04:05+0100",
            "2026-01-02T03:04:05Zz",
            "2026-1-02T03:04:05Z",
            "2026-01/02T03:04:05Z",
            "02.01.2026 03:04",
            "1767323045",
            " 2026-01-02T03:04:05Z",
            "2026-01-02_03:04:05Z",
            "+026-01-02T03:04:05Z",
            "2026-01-02T03:04:05 Z",
            "二026-01-02T03:04:05Z",
        ] {
            check(text, Err(TIMESTAMP_SHAPE));
        }
        check("2026-13-01T00:00:00Z", Err(TimeError::Calendar));
        check("2026-00-01T00:00:00Z", Err(TimeError::Calendar));
        check("2026-02-29T00:00:00Z", Err(TimeError::Calendar));
        check("1900-02-29T00:00:00Z", Err(TimeError::Calendar));
        check("2026-01-00T00:00:00Z", Err(TimeError::Calendar));
        check("2026-01-01T24:00:00Z", Err(TimeError::Calendar));
        check("2026-01-01T00:60:00Z", Err(TimeError::Calendar));
        check("2016-12-31T23:59:60Z", Err(TimeError::Calendar));
        check("2026-01-01T00:00:00+24:00", Err(TimeError::Calendar));
        check("2026-01-01T00:00:00.0000001Z", Err(TimeError::TooFine));
    }

    #[test]
    fn dates_are_read_only_as_dates() {
        assert_eq!(parse_date("1970-01-01"), Ok(0));
        assert_eq!(parse_date("2015-05-17"), Ok(16_572));
        assert_eq!(parse_date("1969-12-31"), Ok(-1));
        assert_eq!(parse_date("2015-02-29"), Err(TimeError::Calendar));
        assert_eq!(parse_date("2015/05/17"), Err(DATE_SHAPE));
        assert_eq!(parse_date("2015-05-17T00:00:00Z"), Err(DATE_SHAPE));
        assert_eq!(parse_date("15-05-17"), Err(DATE_SHAPE));
    }

    /// Day by day through four centuries and more, against counting.
    #[test]
    fn days_are_counted_one_by_one() {
        let mut expected = parse_date("1599-01-01").unwrap();
        for year in 1599..2405 {
            for month in 1..=12 {
                for day in 1..=31 {
                    if let Ok(days) = days_since_epoch(year, month, day) {
                        assert_eq!(days, expected, "{year}-{month}-{day}");
                        expected += 1;
                    }
                }
            }
        }
        assert_eq!(expected, parse_date("2405-01-01").unwrap());
    }
}
