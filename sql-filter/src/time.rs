//! Civil dates and the texts that name an instant. All times are UTC; a text with an offset is
//! brought to it, a text without one is taken as UTC.

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Microseconds in a day.
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar. The date must exist.
///
/// Counts in eras of 400 years that begin on 1 March, so that leap days come last.
pub fn days_from_civil(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month as i32 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i32 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day that lie `days` after 1970-01-01.
pub fn civil_from_days(days: i32) -> (i64, u32, u32) {
    let days = i64::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day)
}

/// The day on which an instant lies.
pub fn date_of(micros: i64) -> i32 {
    // 2^63 microseconds are fewer than 2^27 days.
    micros.div_euclid(MICROS_PER_DAY) as i32
}

/// Midnight of a day, in microseconds; `None` beyond the years that 64 bits can count.
pub fn midnight(days: i32) -> Option<i64> {
    i64::from(days).checked_mul(MICROS_PER_DAY)
}

/// Reads an instant, in microseconds since the Unix epoch.
///
/// RFC 3339, `YYYY-MM-DD HH:MM[:SS[.fraction]]`, `YYYY/MM/DD HH:MM[:SS]` and `YYYY-MM-DD`; a `T`
/// may stand for the blank and an offset may follow any time of day. Years are 0001 to 9999,
/// digits beyond the microsecond are dropped, second 60 is the first of the next minute, and
/// blanks around the text are ignored.
pub fn parse_timestamp(text: &str) -> Option<i64> {
    let mut rest = Digits(text.trim_ascii().as_bytes());
    let days = rest.date()?;
    if rest.0.is_empty() {
        return midnight(days);
    }
    let micros_of_day = rest.separator().then(|| rest.time_of_day())??;
    let offset_minutes = rest.offset()?;
    (rest.0.is_empty()).then_some(())?;
    Some(midnight(days)? + micros_of_day - i64::from(offset_minutes) * 60 * MICROS_PER_SECOND)
}

/// Reads a date, `YYYY-MM-DD` or `YYYY/MM/DD`, in days since the Unix epoch.
pub fn parse_date(text: &str) -> Option<i32> {
    let mut rest = Digits(text.trim_ascii().as_bytes());
    let days = rest.date()?;
    rest.0.is_empty().then_some(days)
}

/// An instant as RFC 3339 in UTC, with a fraction of six digits if it is not zero.
pub fn format_timestamp(micros: i64) -> String {
    let in_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = (in_day / MICROS_PER_SECOND, in_day % MICROS_PER_SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = format_date(date_of(micros));
    if fraction == 0 {
        format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
    } else {
        format!("{date}T{hour:02}:{minute:02}:{second:02}.{fraction:06}Z")
    }
}

/// A day as `YYYY-MM-DD`; years beyond four digits keep theirs.
pub fn format_date(days: i32) -> String {
    let (year, month, day) = civil_from_days(days);
    if year < 0 {
        format!("-{:04}-{month:02}-{day:02}", -year)
    } else {
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// The bytes of a time that are not read yet.
struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    fn number(&mut self, digits: usize) -> Option<u32> {
        let (head, tail) = self.0.split_at_checked(digits)?;
        let mut number = 0;
        for byte in head {
            number = number * 10 + u32::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        }
        self.0 = tail;
        Some(number)
    }

    fn skip(&mut self, wanted: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == wanted => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn separator(&mut self) -> bool {
        self.skip(b'T') || self.skip(b't') || self.skip(b' ')
    }

    fn date(&mut self) -> Option<i32> {
        let year = self.number(4)?;
        let dash = *self.0.first().filter(|byte| matches!(byte, b'-' | b'/'))?;
        self.skip(dash);
        let month = self.number(2)?;
        self.skip(dash).then_some(())?;
        let day = self.number(2)?;
        let exists = year >= 1
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day);
        exists.then(|| days_from_civil(year as i32, month, day))
    }

    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.number(2).filter(|hour| *hour < 24)?;
        self.skip(b':').then_some(())?;
        let minute = self.number(2).filter(|minute| *minute < 60)?;
        let second =
            if self.skip(b':') { self.number(2).filter(|second| *second <= 60)? } else { 0 };
        let fraction = if self.skip(b'.') { self.fraction()? } else { 0 };
        let seconds = i64::from(hour * 3600 + minute * 60 + second);
        Some(seconds * MICROS_PER_SECOND + fraction)
    }

    fn fraction(&mut self) -> Option<i64> {
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (head, tail) = self.0.split_at(digits);
        self.0 = tail;
        let micros = (0..6).fold(0, |micros, at| {
            micros * 10 + head.get(at).map_or(0, |byte| i64::from(byte - b'0'))
        });
        (digits > 0).then_some(micros)
    }

    /// Minutes east of UTC; zero if no offset is written.
    fn offset(&mut self) -> Option<i32> {
        if self.0.is_empty() || self.skip(b'Z') || self.skip(b'z') {
            return Some(0);
        }
        let sign = if self.skip(b'+') {
            1
        } else if self.skip(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.number(2).filter(|hours| *hours < 24)?;
        self.skip(b':');
        let minutes = self.number(2).filter(|minutes| *minutes < 60)?;
        Some(sign * (hours * 60 + minutes) as i32)
    }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse_timestamp(text).map(format_timestamp).as_deref(), expected, "{text}");
    }

    #[test]
    fn the_accepted_forms() {
        check("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z"));
        check("2026-01-02t03:04:05.25z", Some("2026-01-02T03:04:05.250000Z"));
        check("2026-01-02T03:04:05+02:00", Some("2026-01-02T01:04:05Z"));
        check("2026-01-02T03:04:05-0530", Some("2026-01-02T08:34:05Z"));
        check("2026-01-02 03:04", Some("2026-01-02T03:04:00Z"));
        check("2026-01-02 03:04:05.1234567", Some("2026-01-02T03:04:05.123456Z"));
        check("2001/01/10 18:20", Some("2001-01-10T18:20:00Z"));
        check("2001/01/10 18:20:07", Some("2001-01-10T18:20:07Z"));
        check(" 2026-01-02 ", Some("2026-01-02T00:00:00Z"));
        check("2016-12-31T23:59:60Z", Some("2017-01-01T00:00:00Z"));
        check("0001-01-01", Some("0001-01-01T00:00:00Z"));
        check("9999-12-31 23:59:59.999999", Some("9999-12-31T23:59:59.999999Z"));
        check("1969-12-31 23:59:59.5", Some("1969-12-31T23:59:59.500000Z"));
    }

    #[test]
    fn what_is_no_instant() {
        for text in [
            "",
            " ",
            "2026",
            "2026-1-2",
            "2026-01-02T",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-01-00",
            "2026-01-32",
            "0000-01-01",
            "2026-01/02",
            "20260102",
            "2026-01-02 24:00",
            "2026-01-02 03:60",
            "2026-01-02 03:04:61",
            "2026-01-02 03:04:05.",
            "2026-01-02 03:04 CET",
            "2026-01-02 03:04+25:00",
            "2026-01-02 03:04:05 Z",
            "１９70-01-01",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn leap_years() {
        assert!(parse_date("2024-02-29").is_some());
        assert!(parse_date("2000-02-29").is_some());
        assert_eq!(parse_date("1900-02-29"), None);
        assert_eq!(parse_date("2024-02-29 10:00"), None);
    }

    #[test]
    fn every_day_of_eight_centuries_comes_back() {
        let first = days_from_civil(1600, 1, 1);
        let mut previous = civil_from_days(first - 1);
        for days in first..days_from_civil(2400, 1, 1) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year as i32, month, day), days);
            assert!((year, month, day) > previous);
            previous = (year, month, day);
        }
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(civil_from_days(0), (1970, 1, 1));
    }

    #[test]
    fn the_ends_of_the_range_do_not_overflow() {
        for micros in [i64::MIN, i64::MAX, 0, -1] {
            assert!(!format_timestamp(micros).is_empty());
        }
        for days in [i32::MIN, i32::MAX] {
            assert!(!format_date(days).is_empty());
            assert_eq!(midnight(days), None);
        }
    }
}
