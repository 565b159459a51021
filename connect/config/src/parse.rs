//! A scalar's text to the value that its kind asks for.

use std::time::Duration;

use millrace_types::TopicName;

use crate::scalar::{self, UnitError};
use crate::table::Kind;

/// Why a text is not a value of its kind.
#[derive(Debug, PartialEq)]
pub(crate) enum Wrong {
    Type,
    Choice(&'static [&'static str]),
    Duration {
        bare: bool,
    },
    Size {
        bare: bool,
    },
    /// Beyond limits, which are named as what follows "must be".
    Range(String),
    /// Why it is no name, and what to do.
    Name(String, &'static str),
}

/// The longest name of a pipeline or a sink. Two of them make a consumer group, which may have
/// 120 bytes.
pub(crate) const NAME_CHARS_MAX: usize = 48;

pub(crate) fn int(kind: &Kind, text: &str) -> Result<i64, Wrong> {
    let number: i64 = match text.parse() {
        Ok(number) if !text.starts_with('+') => number,
        _ if is_whole(text) => return Err(out_of_range(kind)),
        _ => return Err(Wrong::Type),
    };
    match kind {
        Kind::Int { min, max } if !(*min..=*max).contains(&number) => Err(out_of_range(kind)),
        _ => Ok(number),
    }
}

/// A whole number, whatever the kind's limits are.
pub(crate) fn any_int(_: &Kind, text: &str) -> Result<i64, Wrong> {
    int(&Kind::Int { min: i64::MIN, max: i64::MAX }, text)
}

fn out_of_range(kind: &Kind) -> Wrong {
    Wrong::Range(match kind {
        Kind::Int { min, max: i64::MAX } if *min > i64::MIN => format!("at least {min}"),
        Kind::Int { min, max } if min == max => format!("{min}"),
        Kind::Int { min, max } if *min > i64::MIN => format!("from {min} to {max}"),
        _ => "a number that fits into 64 bits".into(),
    })
}

fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text reads as a number, for messages.
pub(crate) fn is_number(text: &str) -> bool {
    text.starts_with(|char: char| char.is_ascii_digit() || char == '-')
        && text.parse::<f64>().is_ok()
}

pub(crate) fn number(_: &Kind, text: &str) -> Result<f64, Wrong> {
    if !is_number(text) {
        return Err(Wrong::Type);
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or(Wrong::Type)
}

pub(crate) fn bool(_: &Kind, text: &str) -> Result<bool, Wrong> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Wrong::Type),
    }
}

pub(crate) fn char(_: &Kind, text: &str) -> Result<u8, Wrong> {
    match text.as_bytes() {
        [byte @ (b'\t' | b' '..=b'~')] => Ok(*byte),
        _ => Err(Wrong::Type),
    }
}

pub(crate) fn text(_: &Kind, text: &str) -> Result<String, Wrong> {
    Ok(text.to_owned())
}

pub(crate) fn duration(kind: &Kind, text: &str) -> Result<Duration, Wrong> {
    let millis = scalar::duration(text).map_err(|error| match error {
        UnitError::Bare => Wrong::Duration { bare: true },
        UnitError::Form => Wrong::Duration { bare: false },
        UnitError::TooLarge => Wrong::Range("a duration that fits into 64 bits".into()),
    })?;
    match kind {
        Kind::Duration { min, max } if !(*min..=*max).contains(&millis) => Err(Wrong::Range(
            format!("from {} to {}", scalar::show_duration(*min), scalar::show_duration(*max)),
        )),
        _ => Ok(Duration::from_millis(millis)),
    }
}

pub(crate) fn size(kind: &Kind, text: &str) -> Result<u64, Wrong> {
    let bytes = scalar::size(text).map_err(|error| match error {
        UnitError::Bare => Wrong::Size { bare: true },
        UnitError::Form => Wrong::Size { bare: false },
        UnitError::TooLarge => Wrong::Range("a size that fits into 64 bits".into()),
    })?;
    match kind {
        Kind::Size { min, max } if !(*min..=*max).contains(&bytes) => Err(Wrong::Range(format!(
            "from {} to {}",
            scalar::show_size(*min),
            scalar::show_size(*max)
        ))),
        _ => Ok(bytes),
    }
}

/// Parts of a million.
pub(crate) fn percent(_: &Kind, text: &str) -> Result<u32, Wrong> {
    let share = text.strip_suffix('%').filter(|share| is_number(share)).ok_or(Wrong::Type)?;
    match share.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok((share * 10_000.0).round() as u32),
        _ => Err(Wrong::Range("from 0% to 100%".into())),
    }
}

/// One of the choices, by its number.
pub(crate) fn choice(kind: &Kind, text: &str) -> Result<usize, Wrong> {
    match kind {
        Kind::Choice(choices) => {
            choices.iter().position(|choice| *choice == text).ok_or(Wrong::Choice(choices))
        }
        Kind::Either(short, _) => choice(short, text),
        _ => Err(Wrong::Type),
    }
}

/// `none` is `None`; anything else is as `parse` reads it.
pub(crate) fn or_none<T>(
    kind: &Kind,
    text: &str,
    parse: fn(&Kind, &str) -> Result<T, Wrong>,
) -> Result<Option<T>, Wrong> {
    match kind {
        Kind::OrNone(_) if text == "none" => Ok(None),
        Kind::OrNone(kind) => parse(kind, text).map(Some),
        _ => parse(kind, text).map(Some),
    }
}

pub(crate) fn name(_: &Kind, text: &str) -> Result<String, Wrong> {
    let help = "lowercase letters, digits and `-`, beginning with a letter";
    if text.chars().count() > NAME_CHARS_MAX {
        let reason = format!("it is longer than {NAME_CHARS_MAX} characters");
        return Err(Wrong::Name(reason, "shorten it"));
    }
    if text.starts_with("x-") {
        let reason = "keys that begin with `x-` are notes".to_owned();
        return Err(Wrong::Name(reason, "begin it with another letter"));
    }
    let legal = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
    match text.chars().find(|&char| !legal(char)) {
        Some(char) => Err(Wrong::Name(format!("it contains {char:?}"), help)),
        None if !text.starts_with(|char: char| char.is_ascii_lowercase()) => {
            Err(Wrong::Name("it does not begin with a letter".into(), help))
        }
        None => Ok(text.to_owned()),
    }
}

pub(crate) fn topic_name(_: &Kind, text: &str) -> Result<TopicName, Wrong> {
    let legal = "letters, digits, `_`, `-`, `|` and `%`, at most 127";
    let name = TopicName::parse(text).map_err(|error| Wrong::Name(error.to_string(), legal))?;
    if millrace_types::is_reserved_topic(&name) {
        let reason = "a topic of this name belongs to the broker".to_owned();
        return Err(Wrong::Name(reason, "choose another name"));
    }
    Ok(name)
}

/// Microseconds since the Unix epoch.
pub(crate) fn instant(_: &Kind, text: &str) -> Result<i64, Wrong> {
    millrace_sql_filter::time::parse_timestamp(text).ok_or(Wrong::Type)
}
