//! Moments and offsets as a person writes and reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use millrace_client::Place;
use millrace_connect_api::decode::parse_timestamp;

/// A place in the queues of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Earliest,
    Latest,
    /// The first message stored at this time or later, ms.
    Time(i64),
    /// The same offset in every queue.
    Offset(u64),
}

/// What time it is, ms.
pub(crate) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Reads `earliest`, `latest`, a time such as `2026-01-02T03:04:05Z`, or `offset:N`.
pub(crate) fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => return Ok(Start::Earliest),
        "latest" => return Ok(Start::Latest),
        _ => {}
    }
    if let Some(offset) = text.strip_prefix("offset:") {
        return offset.parse().map(Start::Offset).map_err(|_| "write `offset:17`".to_owned());
    }
    let moment = parse_timestamp(text).map_err(|error| {
        format!("it is none of `earliest`, `latest`, `offset:17`, and as a time it is {error}")
    })?;
    Ok(Start::Time(moment.div_euclid(1000)))
}

/// The same where each queue has a place of its own.
pub(crate) fn parse_place(text: &str) -> Result<Place, String> {
    const WRITE: &str = "say `earliest`, `latest` or a time";
    match parse_start(text) {
        _ if text.starts_with("offset:") => Err(WRITE.to_owned()),
        Ok(Start::Earliest) => Ok(Place::Earliest),
        Ok(Start::Latest) => Ok(Place::Latest),
        Ok(Start::Time(at)) => Ok(Place::Time(at)),
        Ok(Start::Offset(_)) => Err(WRITE.to_owned()),
        Err(error) => Err(error.replace(", `offset:17`", "")),
    }
}

/// A time in ms as RFC 3339; `-` for none.
pub(crate) fn moment(ms: i64) -> String {
    match ms.checked_mul(1000) {
        Some(micros) if ms > 0 => millrace_sql_filter::time::format_timestamp(micros),
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_a_time_or_an_offset() {
        assert_eq!(parse_start("earliest"), Ok(Start::Earliest));
        assert_eq!(parse_start("latest"), Ok(Start::Latest));
        assert_eq!(parse_start("offset:17"), Ok(Start::Offset(17)));
        assert_eq!(parse_start("2023-11-14T22:13:20Z"), Ok(Start::Time(1_700_000_000_000)));
        for wrong in ["", "first", "offset:-1", "offset:", "2023-13-01T00:00:00Z"] {
            assert!(parse_start(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_place_is_no_offset() {
        assert_eq!(parse_place("latest"), Ok(Place::Latest));
        assert_eq!(parse_place("2023-11-14T22:13:20Z"), Ok(Place::Time(1_700_000_000_000)));
        for wrong in ["offset:17", "offset:x", "yesterday"] {
            let error = parse_place(wrong).unwrap_err();
            assert!(error.contains("`latest`") && !error.contains("offset"), "{error}");
        }
    }

    #[test]
    fn moments_are_utc() {
        assert_eq!(moment(1_700_000_000_000), "2023-11-14T22:13:20Z");
        assert_eq!(moment(0), "-");
        assert_eq!(moment(i64::MAX), "-");
    }
}
