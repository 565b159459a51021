//! A broker in any process: the shell of sockets, threads and clocks around the engine.
//!
//! A [`Core`] is an engine with its store, shared by everybody who talks to it; [`LocalBroker`]
//! does so from within the process, and a [`Server`] lets clients do so over sockets. Start
//! reading at [`Core::open`] or [`Server::start`].

mod answers; // from the engine's terms to the wire's
mod clients; // who consumes, and what
mod clock; // what time it is
mod complaints; // how much is said about peers
mod conditions; // SQL92 subscriptions, for the engine
mod config; // what an operator may choose
mod core; // the engine, and who waits for its answers
mod dispatch; // which handler a request goes to
mod filters; // filters in WebAssembly, attached to groups and topics
mod flushing; // who makes the log durable, and when
mod handlers;
mod judges; // threads for such filters
mod local; // the broker as seen from this process
mod locks; // who consumes in order
mod lookup; // messages by time and by physical offset
mod metrics; // figures for Prometheus
mod producers; // who produces
mod quarantine; // damaged messages, told once
mod reactor; // one thread for all connections
mod readers; // threads for what is not in memory
mod refusal; // from refusals to codes
mod registrar; // the broker at the name servers of other processes
mod relays; // requests that clients answer
mod resets; // groups that were moved
mod rules; // what groups are set to
mod server; // a broker with its threads and ports
mod shell; // what the reactor knows beside the engine
mod traffic; // what was stored and given
mod unique_ids; // ids for messages without one
mod waiting; // requests that wait for the engine

pub use clock::{Clock, system_clock};
pub use conditions::SqlConditions;
pub use config::{Limits, MESSAGE_BYTES_MAX, ServerConfig};
pub use core::{CloseError, Core, CoreConfig, OpenError};
pub use flushing::Flushing;
pub use local::LocalBroker;
pub use millrace_engine::{
    DelayLevels, DelayLevelsError, EngineLimits, Loss, LostState, NextRemoval, QUEUES_MAX,
    RetentionConfig, StateInspection,
};
pub use server::{Addresses, Load, Server, StartError, StopError};
