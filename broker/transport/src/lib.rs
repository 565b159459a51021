//! One connection to a broker or name server: many requests in flight, each with its answer.
//!
//! A [`Connection`] is a cheap handle. One task behind it reads, and writes whatever has gathered
//! since its last write. When the connection ends, every waiting call fails; connecting again is
//! the caller's business. Start reading at [`Connection::connect`].

mod callback; // what the peer asks of us
mod connection; // the handle that calls go through
mod error; // why there is no answer
mod link; // what the handle and its task share
mod task; // reads and writes

pub use callback::{Callback, Callbacks};
pub use connection::{Config, Connection, Response};
pub use error::{CallError, Cause, Closed, ConnectError};
