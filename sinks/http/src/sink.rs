use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use async_trait::async_trait;
use millrace_connect_api::{Batch, Encoded, Hindrance, Item, Outcome, Reject, RowSink, SinkError};

use crate::answer::{Answer, Meaning, TOO_LARGE, again, meaning};
use crate::encode::encode;
use crate::options::HttpOptions;
use crate::request::{Lot, Request, lanes};

/// What carries requests.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends a request once. Without an answer nobody knows whether it arrived.
    async fn send(&self, request: &Request) -> Result<Answer, NoAnswer>;
}

/// A request that was not answered. It says why, and shows neither the URL nor a header, which may
/// have secrets in them.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

#[async_trait]
impl Transport for Box<dyn Transport> {
    async fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        self.as_ref().send(request).await
    }
}

/// Why a sink cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server says something that neither takes nor refuses a request.
    #[error("{0}, which is neither a success nor a refusal")]
    Unexpected(String),
    /// The server names items in a way that cannot be understood.
    #[error(
        "the answer does not say which items failed: {0}; with `answer: items` it has to be such \
         as {{\"failed\": []}}"
    )]
    Answer(String),
}

/// The `http` sink.
pub struct HttpSink<T> {
    options: HttpOptions,
    transport: T,
    /// Requests of which an attempt was not answered, and how often the server said since that it
    /// is still working on it.
    unanswered: BTreeMap<String, u32>,
}

/// How often a server may say that it is still working on an earlier attempt.
const CONFLICTS_MAX: u32 = 8;
/// Shorter values of headers are words, which it would be odd to hide.
const SECRET_CHARS_MIN: usize = 8;

impl<T> HttpSink<T> {
    /// A sink that sends by `transport`.
    pub fn new(options: HttpOptions, transport: T) -> Self {
        Self { options, transport, unanswered: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(crate) fn options_mut(&mut self) -> &mut HttpOptions {
        &mut self.options
    }

    /// A text of the server without the secrets that it may have been told.
    fn hide(&self, text: &str) -> String {
        let headers = self.options.headers.iter();
        let secrets = headers
            .filter(|(name, _)| name != "content-type")
            .filter_map(|(_, value)| value.constant())
            .flat_map(|value| [value, value.split_once(' ').map_or(value, |(_, rest)| rest)])
            .filter(|value| value.chars().count() >= SECRET_CHARS_MIN);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

/// What became of the lots of a lane.
#[derive(Default)]
struct Lane {
    rejected: Vec<(usize, Reject)>,
    again: Vec<usize>,
    reason: Option<Hindrance>,
    /// By key, whether the request was answered.
    answered: Vec<(String, Told)>,
}

enum Told {
    Answered,
    Conflict,
    Nothing,
}

type Running<'a> = Pin<Box<dyn Future<Output = Result<Lane, HttpError>> + Send + 'a>>;

impl<T: Transport> HttpSink<T> {
    /// Sends the lots of a lane one after the other. Behind one that is not taken for now nothing
    /// is sent, so that what belongs together stays in order.
    async fn run(&self, items: &[&Item], lots: Vec<Lot>) -> Result<Lane, HttpError> {
        let mut lane = Lane::default();
        let mut lots = VecDeque::from(lots);
        while let Some(lot) = lots.pop_front() {
            let request = Request::new(&self.options, items, &lot);
            let answer = match self.transport.send(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    lane.answered.push((request.key, Told::Nothing));
                    lane.stop(again(error.to_string(), None), lot, lots);
                    return Ok(lane);
                }
            };
            let conflicts = self.unanswered.get(&request.key);
            let is_repeated = conflicts.is_some_and(|conflicts| *conflicts < CONFLICTS_MAX);
            let told = match answer.status {
                409 if is_repeated => Told::Conflict,
                _ => Told::Answered,
            };
            lane.answered.push((request.key, told));
            let answering = self.options.answering;
            match meaning(&answer, answering, lot.len(), is_repeated, &|text| self.hide(text))? {
                Meaning::Taken { rejected, again } => {
                    lane.rejected.extend(rejected.into_iter().map(|(at, why)| (lot[at], why)));
                    if let Some((_, why)) = again.first() {
                        let why = format!("{} of {} items: {why}", again.len(), lot.len());
                        let after = answer.retry_after;
                        lane.reason.get_or_insert(self::again(why, after));
                    }
                    lane.again.extend(again.into_iter().map(|(at, _)| lot[at]));
                }
                Meaning::Again(reason) => {
                    lane.stop(reason, lot, lots);
                    return Ok(lane);
                }
                Meaning::Refused(reject) => {
                    lane.rejected.extend(lot.into_iter().map(|at| (at, reject.clone())));
                }
                Meaning::TooLarge if lot.len() > 1 => {
                    let (first, second) = lot.split_at(lot.len() / 2);
                    lots.push_front(second.to_vec());
                    lots.push_front(first.to_vec());
                }
                Meaning::TooLarge => {
                    let bytes = request_bytes(items, &lot);
                    let error = format!("the server answered 413 to {bytes} bytes");
                    let reject = Reject { code: TOO_LARGE, error, field: None };
                    lane.rejected.extend(lot.into_iter().map(|at| (at, reject.clone())));
                }
            }
        }
        Ok(lane)
    }
}

fn request_bytes(items: &[&Item], lot: &[usize]) -> usize {
    lot.iter().map(|at| items[*at].bytes.len()).sum()
}

impl Lane {
    fn stop(&mut self, reason: Hindrance, lot: Lot, rest: VecDeque<Lot>) {
        self.again.extend(lot);
        self.again.extend(rest.into_iter().flatten());
        self.reason = Some(reason);
    }
}

#[async_trait]
impl<T: Transport> RowSink for HttpSink<T> {
    fn encode(&mut self, batch: &Batch) -> Result<Encoded, SinkError> {
        encode(&self.options, batch).map_err(|error| SinkError::Broken(Box::new(error)))
    }

    async fn send(&mut self, items: &[&Item]) -> Result<Outcome, SinkError> {
        let lanes = lanes(&self.options, items);
        let running = lanes.into_iter().map(|lots| Some(Box::pin(self.run(items, lots)) as _));
        let done = all(running.collect()).await;
        let mut outcome = Outcome::default();
        for lane in done {
            let lane = lane.map_err(|error| SinkError::Broken(Box::new(error)))?;
            for (key, told) in lane.answered {
                match told {
                    Told::Answered => drop(self.unanswered.remove(&key)),
                    Told::Conflict => *self.unanswered.entry(key).or_default() += 1,
                    Told::Nothing => drop(self.unanswered.entry(key).or_default()),
                }
            }
            outcome.rejected.extend(lane.rejected);
            outcome.again.extend(lane.again);
            outcome.reason = match (outcome.reason, lane.reason) {
                // The longest pause that anybody wants.
                (Some(a), Some(b)) => Some(if a.after >= b.after { a } else { b }),
                (a, b) => a.or(b),
            };
        }
        outcome.again.sort_unstable();
        Ok(outcome)
    }
}

/// Drives all to their ends.
async fn all(mut running: Vec<Option<Running<'_>>>) -> Vec<Result<Lane, HttpError>> {
    let mut done = Vec::new();
    poll_fn(|context| {
        for slot in &mut running {
            let Some(lane) = slot else { continue };
            if let Poll::Ready(result) = lane.as_mut().poll(context) {
                *slot = None;
                done.push(result);
            }
        }
        if running.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}
