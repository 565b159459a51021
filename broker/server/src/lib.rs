//! A broker in any process: the shell of sockets, threads and clocks around the engine.
//!
//! A [`Core`] is an engine with its store, shared by everybody who talks to it; [`LocalBroker`]
//! does so from within the process. Start reading at [`Core::open`].

mod clock; // what time it is
mod conditions; // SQL92 subscriptions, for the engine
mod core; // the engine, and who waits for its answers
mod flushing; // who makes the log durable, and when
mod local; // the broker as seen from this process

pub use clock::{Clock, system_clock};
pub use conditions::SqlConditions;
pub use core::{CloseError, Core, CoreConfig, OpenError};
pub use flushing::Flushing;
pub use local::LocalBroker;
