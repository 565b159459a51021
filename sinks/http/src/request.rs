use std::collections::BTreeMap;

use bytes::Bytes;
use millrace_connect_api::Item;

use crate::key::key;
use crate::options::{Body, HttpOptions};

/// A request as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// For instance `POST`.
    pub method: &'static str,
    /// Where it goes.
    pub url: String,
    /// Names in lower case and values, each name once.
    pub headers: BTreeMap<String, String>,
    /// What is in it.
    pub body: Bytes,
    /// The value of `idempotency-key`, by which a server knows it again.
    pub key: String,
}

/// Which items a request has, by their place among those that are sent.
pub(crate) type Lot = Vec<usize>;

impl Request {
    pub(crate) fn new(options: &HttpOptions, items: &[&Item], lot: &[usize]) -> Self {
        let key = key(&options.pipeline, &options.sink, lot.iter().map(|at| items[*at]));
        let route = lot.first().map_or("", |first| &*items[*first].route);
        let mut lines = route.split('\n');
        let url = lines.next().unwrap_or_default().to_owned();
        let mut headers = BTreeMap::new();
        headers.insert("content-type".to_owned(), options.body.content_type().to_owned());
        headers.extend(lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.to_owned()))
        }));
        headers.insert("idempotency-key".to_owned(), key.clone());
        let mut bodies = lot.iter().map(|at| &items[*at].bytes);
        let body = match options.body {
            Body::Single | Body::Raw => bodies.next_back().cloned().unwrap_or_default(),
            Body::Lines => bodies
                .fold(Vec::new(), |mut all, bytes| {
                    all.extend_from_slice(bytes);
                    all.push(b'\n');
                    all
                })
                .into(),
            Body::Array => {
                let mut all = b"[".to_vec();
                for (number, bytes) in bodies.enumerate() {
                    if number > 0 {
                        all.push(b',');
                    }
                    all.extend_from_slice(bytes);
                }
                all.push(b']');
                all.into()
            }
        };
        Self { method: options.method, url, headers, body, key }
    }
}

/// Items in lots, one for each request, and lots in lanes: those of one lane follow one another.
/// With one message in a request, messages of a queue stay in order; with several, those of a URL.
pub(crate) fn lanes(options: &HttpOptions, items: &[&Item]) -> Vec<Vec<Lot>> {
    let mut lanes: Vec<Vec<Lot>> = Vec::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        let is_single = options.body.is_single();
        let of = if is_single { item.queue().to_string() } else { item.route.to_string() };
        let next = place.len();
        let lane = *place.entry(of).or_insert(next);
        if lane == lanes.len() {
            lanes.push(Vec::new());
        }
        match lanes[lane].last_mut() {
            Some(lot) if !is_single => lot.push(at),
            _ => lanes[lane].push(vec![at]),
        }
    }
    // More than may be under way at once wait for one another.
    let most = options.in_flight.max(1);
    let rest = lanes.split_off(most.min(lanes.len()));
    for (number, lane) in rest.into_iter().enumerate() {
        lanes[number % most].extend(lane);
    }
    lanes
}
