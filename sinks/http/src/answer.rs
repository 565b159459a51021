use std::time::Duration;

use millrace_connect_api::{Hindrance, Reject};
use serde::Deserialize;

use crate::options::Answering;
use crate::sink::HttpError;

/// What a server says to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// For instance 200.
    pub status: u16,
    /// How long it wants to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// Its body, up to the limit.
    pub body: Vec<u8>,
    /// The body is longer.
    pub is_cut: bool,
}

/// What an answer means for the items of its request, by their place in it.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// Delivered, but for these.
    Taken { rejected: Vec<(usize, Reject)>, again: Vec<(usize, String)> },
    /// All of it again, later.
    Again(Hindrance),
    /// All of it never.
    Refused(Reject),
    /// Too large; less of it may do.
    TooLarge,
}

/// The server refused it.
const REFUSED: &str = "E-HTTP-02";
/// The server takes nothing that is so large, and it is one message.
pub(crate) const TOO_LARGE: &str = "E-HTTP-03";

/// Characters of an answer that are shown.
const SHOWN_CHARS: usize = 300;

/// Statuses after which the same request may be taken later: too slow, too early, too many, and
/// trouble of the server, but not what it does not know how to do.
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || ((500..600).contains(&status) && status != 501)
}

/// What the answer to a request of so many items means. `is_repeated` is whether an earlier attempt
/// at it may still be under way.
pub(crate) fn meaning(
    answer: &Answer,
    answering: Answering,
    items: usize,
    is_repeated: bool,
    hide: &dyn Fn(&str) -> String,
) -> Result<Meaning, HttpError> {
    let status = answer.status;
    let told = || match shown(&answer.body, hide) {
        text if text.is_empty() => format!("the server answered {status}"),
        text => format!("the server answered {status}: {text}"),
    };
    match status {
        200..300 => match answering {
            Answering::Status => Ok(Meaning::Taken { rejected: Vec::new(), again: Vec::new() }),
            Answering::Items => taken(answer, items, hide),
        },
        413 => Ok(Meaning::TooLarge),
        // By the rules of the key: an earlier attempt at the same is still being worked on.
        409 if is_repeated => Ok(Meaning::Again(again(told(), answer.retry_after))),
        status if may_pass(status) => Ok(Meaning::Again(again(told(), answer.retry_after))),
        400..500 => Ok(Meaning::Refused(Reject { code: REFUSED, error: told(), field: None })),
        _ => Err(HttpError::Unexpected(told())),
    }
}

pub(crate) fn again(reason: String, after: Option<Duration>) -> Hindrance {
    Hindrance { source: reason.into(), after }
}

#[derive(Deserialize)]
struct Items {
    failed: Vec<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    item: usize,
    #[serde(default = "bad_request")]
    status: u16,
    #[serde(default)]
    error: String,
}

fn bad_request() -> u16 {
    400
}

/// What an answer says that names items. One that cannot be understood is no success: nobody knows
/// what was delivered.
fn taken(
    answer: &Answer,
    items: usize,
    hide: &dyn Fn(&str) -> String,
) -> Result<Meaning, HttpError> {
    if answer.is_cut {
        return Err(HttpError::Answer("it is longer than `max_response`".to_owned()));
    }
    let Items { failed } = serde_json::from_slice(&answer.body)
        .map_err(|error| HttpError::Answer(error.to_string()))?;
    let (mut rejected, mut again) = (Vec::new(), Vec::new());
    let mut seen = vec![false; items];
    for Failed { item, status, error } in failed {
        let Some(seen) = seen.get_mut(item) else {
            let what = format!("it names item {item}, and the request had {items}");
            return Err(HttpError::Answer(what));
        };
        if std::mem::replace(seen, true) {
            return Err(HttpError::Answer(format!("it names item {item} twice")));
        }
        let error = format!("the server answered {status} for it: {}", hide(&cut(&error)));
        let error = error.trim_end_matches([':', ' ']).to_owned();
        if may_pass(status) {
            again.push((item, error));
        } else {
            rejected.push((item, Reject { code: REFUSED, error, field: None }));
        }
    }
    again.sort();
    Ok(Meaning::Taken { rejected, again })
}

fn shown(body: &[u8], hide: &dyn Fn(&str) -> String) -> String {
    hide(&cut(&String::from_utf8_lossy(body)))
}

/// The beginning of a text, on one line.
fn cut(text: &str) -> String {
    let text: String = text.chars().take(SHOWN_CHARS).collect();
    text.split(|char: char| char.is_whitespace() || char.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}
