//! Times written by a strftime format, such as `%d/%b/%Y:%H:%M:%S %z`.

use super::time::{MICROS_PER_SECOND, days_since_epoch, fraction_micros, moment, offset_seconds};

/// A strftime format, read once.
///
/// | item      | matches                                                                 |
/// |-----------|-------------------------------------------------------------------------|
/// | `%Y` `%y` | year in four digits; in two, where 69 to 99 mean 1969 to 1999           |
/// | `%m` `%d` `%e` | month and day in two digits; day padded with a space instead       |
/// | `%b` `%B` | month in English, short or long, in any case                            |
/// | `%j`      | day of the year in three digits, in place of month and day              |
/// | `%H` `%M` `%S` | hour, minute, second in two digits                                 |
/// | `%f`      | one to nine digits of a fraction of a second                            |
/// | `%s`      | seconds since the Unix epoch, in place of everything else               |
/// | `%z`      | `+hhmm`, `+hh:mm`, `+hh` or `Z`                                         |
/// | `%Z`      | `UTC`, `GMT` or `Z`; no other zone has one meaning                      |
/// | `%T` `%F` | `%H:%M:%S` and `%Y-%m-%d`                                               |
/// | `%%`      | a percent sign                                                          |
///
/// Anything else stands for itself. Hour, minute and second default to 0, the zone to UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeFormat(Vec<Item>);

/// Why a format cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeFormatError {
    /// An item we do not know.
    #[error("`%{0}` is not known")]
    UnknownItem(char),
    /// The format ends in the middle of an item.
    #[error("a single `%` at the end; write `%%` for a percent sign")]
    Unfinished,
    /// The text would not say which day it is.
    #[error("a time needs a year, a month and a day, or `%s`")]
    NoDay,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Literal(u8),
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    PaddedDay,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Fraction,
    EpochSeconds,
    Offset,
    Zone,
}

/// What a text has said so far.
#[derive(Default)]
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    epoch_seconds: Option<i64>,
    offset_seconds: i64,
}

impl TimeFormat {
    /// Reads a format.
    pub fn parse(format: &str) -> Result<Self, TimeFormatError> {
        let mut items = Vec::new();
        let mut chars = format.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                items.extend(char.encode_utf8(&mut [0; 4]).bytes().map(Item::Literal));
                continue;
            }
            let item: &[Item] = match chars.next().ok_or(TimeFormatError::Unfinished)? {
                'Y' => &[Item::Year],
                'y' => &[Item::ShortYear],
                'm' => &[Item::Month],
                'b' | 'B' | 'h' => &[Item::MonthName],
                'd' => &[Item::Day],
                'e' => &[Item::PaddedDay],
                'j' => &[Item::DayOfYear],
                'H' => &[Item::Hour],
                'M' => &[Item::Minute],
                'S' => &[Item::Second],
                'f' => &[Item::Fraction],
                's' => &[Item::EpochSeconds],
                'z' => &[Item::Offset],
                'Z' => &[Item::Zone],
                '%' => &[Item::Literal(b'%')],
                'T' => {
                    const COLON: Item = Item::Literal(b':');
                    &[Item::Hour, COLON, Item::Minute, COLON, Item::Second]
                }
                'F' => {
                    const HYPHEN: Item = Item::Literal(b'-');
                    &[Item::Year, HYPHEN, Item::Month, HYPHEN, Item::Day]
                }
                other => return Err(TimeFormatError::UnknownItem(other)),
            };
            items.extend_from_slice(item);
        }
        let has = |one_of: &[Item]| one_of.iter().any(|item| items.contains(item));
        let names_a_day = has(&[Item::Year, Item::ShortYear])
            && (has(&[Item::DayOfYear])
                || has(&[Item::Month, Item::MonthName]) && has(&[Item::Day, Item::PaddedDay]));
        if !names_a_day && !has(&[Item::EpochSeconds]) {
            return Err(TimeFormatError::NoDay);
        }
        Ok(Self(items))
    }

    /// Reads a text of this format, all of it, as microseconds since the Unix epoch. `None` if it
    /// is of another format, is no moment in the calendar, or is finer than a microsecond.
    pub fn timestamp(&self, text: &str) -> Option<i64> {
        let mut fields = Fields::default();
        let mut rest = text.as_bytes();
        for item in &self.0 {
            rest = fields.read(item, rest)?;
        }
        if rest.is_empty() { fields.timestamp() } else { None }
    }
}

impl Fields {
    /// Takes one item from the front of a text and gives the rest.
    fn read<'a>(&mut self, item: &Item, text: &'a [u8]) -> Option<&'a [u8]> {
        let (value, rest) = match item {
            Item::Literal(byte) => return text.strip_prefix(&[*byte]),
            Item::Zone => {
                let zones: [&[u8]; 3] = [b"UTC", b"GMT", b"Z"];
                return zones.iter().find_map(|zone| text.strip_prefix(*zone));
            }
            Item::Year => number(text, 4)?,
            Item::DayOfYear => number(text, 3)?,
            Item::ShortYear | Item::Month | Item::Day => number(text, 2)?,
            Item::Hour | Item::Minute | Item::Second => number(text, 2)?,
            Item::PaddedDay => match text {
                [b' ', rest @ ..] => number(rest, 1)?,
                text => number(text, digits_up_to(text, 2))?,
            },
            Item::MonthName => month_name(text)?,
            Item::Fraction => {
                let (digits, rest) = text.split_at(digits_up_to(text, 9));
                (fraction_micros(digits)?.ok()?, rest)
            }
            Item::EpochSeconds => epoch_seconds(text)?,
            Item::Offset => offset(text)?,
        };
        match item {
            Item::Literal(_) | Item::Zone => {}
            Item::Year => self.year = value,
            Item::ShortYear => self.year = if value >= 69 { 1900 + value } else { 2000 + value },
            Item::Month | Item::MonthName => self.month = value,
            Item::Day | Item::PaddedDay => self.day = value,
            Item::DayOfYear => self.day_of_year = Some(value),
            Item::Hour => self.hour = value,
            Item::Minute => self.minute = value,
            Item::Second => self.second = value,
            Item::Fraction => self.micros = value,
            Item::EpochSeconds => self.epoch_seconds = Some(value),
            Item::Offset => self.offset_seconds = value,
        }
        Some(rest)
    }

    fn timestamp(&self) -> Option<i64> {
        if let Some(seconds) = self.epoch_seconds {
            return Some(seconds * MICROS_PER_SECOND + self.micros);
        }
        let day = match self.day_of_year {
            None => days_since_epoch(self.year, self.month, self.day).ok()?,
            Some(day_of_year) => {
                let first = days_since_epoch(self.year, 1, 1).ok()?;
                let last = days_since_epoch(self.year, 12, 31).ok()?;
                let day = first + i32::try_from(day_of_year - 1).ok()?;
                (first..=last).contains(&day).then_some(day)?
            }
        };
        let local = moment(day, self.hour, self.minute, self.second).ok()?;
        Some(local + self.micros - self.offset_seconds * MICROS_PER_SECOND)
    }
}

fn digits_up_to(text: &[u8], max: usize) -> usize {
    text.iter().take(max).take_while(|byte| byte.is_ascii_digit()).count()
}

/// Exactly that many digits, at least one.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    if digits == 0 || digits_up_to(text, digits) < digits {
        return None;
    }
    let (digits, rest) = text.split_at(digits);
    Some((digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')), rest))
}

fn epoch_seconds(text: &[u8]) -> Option<(i64, &[u8])> {
    // Twelve digits reach beyond the year 9999, and their microseconds fit.
    const DIGITS_MAX: usize = 12;
    let (sign, text) = match text {
        [b'-', rest @ ..] => (-1, rest),
        text => (1, text),
    };
    let (seconds, rest) = number(text, digits_up_to(text, DIGITS_MAX))?;
    Some((sign * seconds, rest))
}

fn offset(text: &[u8]) -> Option<(i64, &[u8])> {
    let (west, rest) = match text {
        [b'Z', rest @ ..] => return Some((0, rest)),
        [b'+', rest @ ..] => (false, rest),
        [b'-', rest @ ..] => (true, rest),
        _ => return None,
    };
    let (hours, rest) = number(rest, 2)?;
    let after_colon = rest.strip_prefix(b":").unwrap_or(rest);
    let (minutes, rest) = number(after_colon, 2).unwrap_or((0, rest));
    Some((offset_seconds(west, hours, minutes).ok()?, rest))
}

fn month_name(text: &[u8]) -> Option<(i64, &[u8])> {
    const NAMES: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let starts_with = |name: &str| {
        text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let month = NAMES.iter().position(|name| starts_with(&name[..3]))?;
    let len = if starts_with(NAMES[month]) { NAMES[month].len() } else { 3 };
    Some((month as i64 + 1, &text[len..]))
}

#[cfg(test)]
mod tests {
    use super::super::parse_timestamp;
    use super::*;

    #[track_caller]
    fn check(format: &str, text: &str, expected: Option<&str>) {
        let format = TimeFormat::parse(format).expect("a format of this test");
        let expected = expected.map(|text| parse_timestamp(text).expect("a time of this test"));
        assert_eq!(format.timestamp(text), expected, "{text}");
    }

    #[test]
    fn the_formats_of_logs_are_read() {
        let apache = "%d/%b/%Y:%H:%M:%S %z";
        check(apache, "17/May/2015:10:05:03 +0000", Some("2015-05-17T10:05:03Z"));
        check(apache, "17/may/2015:10:05:03 -0130", Some("2015-05-17T11:35:03Z"));
        check("%e %B %y %T.%f %Z", " 7 March 69 01:02:03.25 GMT", Some("1969-03-07T01:02:03.25Z"));
        check("%e %B %y", "17 March 68", Some("2068-03-17T00:00:00Z"));
        check("%e %b %Y", "7 MARCH 2015", Some("2015-03-07T00:00:00Z"));
        check("%FT%T%z", "2015-05-17T10:05:03Z", Some("2015-05-17T10:05:03Z"));
        check("%FT%T%z", "2015-05-17T10:05:03+02:00", Some("2015-05-17T08:05:03Z"));
        check("%FT%T%z!", "2015-05-17T10:05:03+02!", Some("2015-05-17T08:05:03Z"));
        check("%Y.%j", "2016.366", Some("2016-12-31T00:00:00Z"));
        check("%s.%f", "1431857103.5", Some("2015-05-17T10:05:03.5Z"));
        check("%s", "-1", Some("1969-12-31T23:59:59Z"));
        check("%d%%%m – %Y", "17%05 – 2015", Some("2015-05-17T00:00:00Z"));
    }

    #[test]
    fn other_text_is_refused() {
        let apache = "%d/%b/%Y:%H:%M:%S %z";
        check(apache, "", None);
        check(apache, "17/Mai/2015:10:05:03 +0000", None);
        check(apache, "31/Feb/2015:10:05:03 +0000", None);
        check(apache, "17/May/2015:24:05:03 +0000", None);
        check(apache, "17/May/2015:10:05:03 +0060", None);
        check(apache, "17/May/2015:10:05:03 0000", None);
        check(apache, "17/May/2015:10:05:03 +0000 ", None);
        check(apache, "7/May/2015:10:05:03 +0000", None);
        check("%Y.%j", "2015.366", None);
        check("%Y.%j", "2015.000", None);
        check("%s", "-", None);
        check("%s", "1431857103000000000", None);
        check("%s.%f", "1.0000001", None);
        check("%F %Z", "2015-05-17 CET", None);
        check("%e %b %Y", "  7 May 2015", None);
    }

    #[test]
    fn formats_that_cannot_work_are_refused() {
        assert_eq!(TimeFormat::parse("%Y-%m-%d %Q"), Err(TimeFormatError::UnknownItem('Q')));
        assert_eq!(TimeFormat::parse("%F %"), Err(TimeFormatError::Unfinished));
        assert_eq!(TimeFormat::parse("%b %d %T"), Err(TimeFormatError::NoDay));
        assert_eq!(TimeFormat::parse("%T"), Err(TimeFormatError::NoDay));
    }
}
