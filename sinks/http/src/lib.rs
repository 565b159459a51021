//! Rows to an HTTP server, with a key by which the server can tell what it has already.
//!
//! [`HttpSink`] makes requests of items and outcomes of answers; what carries a request is a
//! [`Transport`], of which [`Client`] is the real one. A bulk is sent in one request or in several,
//! and each request says in `Idempotency-Key` of which messages it is. Start reading at
//! [`HttpSink::send`](millrace_connect_api::RowSink::send).

mod answer; // what a server's answer means
mod client; // requests over the network
mod encode; // rows to items
mod key; // what a request is called
mod options; // what a sink does
mod request; // items to requests
mod sink; // all of it

pub use answer::Answer;
pub use client::{Authorities, Client, ClientError, ClientOptions};
pub use options::{Answering, Body, HttpOptions, Piece, Template};
pub use request::Request;
pub use sink::{HttpError, HttpSink, NoAnswer, Transport};

#[cfg(test)]
mod tests;
