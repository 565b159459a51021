//! Decides what the broker does with a request.
//!
//! The engine is a step function: no socket, thread or clock (P11). The shell hands it requests with
//! [`Engine::handle`], ends a burst with [`Engine::commit`], tells it what became durable with
//! [`Engine::on_durable`] and that time passes with [`Engine::on_tick`]; answers come out of [`Out`]
//! under the ticket of their request. A pull's answer names records; the shell makes them resident
//! and calls [`finish`]. Records that the engine needs itself are asked for by [`Out::reads`] and
//! handed back to [`Engine::on_read`]. Start reading at [`Engine::handle`].

mod answer; // what the shell gets back
mod appends; // from a request to the log
mod delay_levels; // how long delayed messages wait
mod delays; // which delayed messages are next
mod deletions; // topics that are gone
mod deliveries; // delayed messages, into the log and on to their queues
mod engine;
mod filter; // which messages a pull is given
mod held; // pulls that wait for a message
mod holds; // who needs messages that would go
mod inspection; // the state in a log that nobody serves
mod letters; // messages whose consumption failed
mod limits; // what clients may make the broker remember
mod offsets; // how far groups have got
mod pending; // answers that wait for the log
mod pulls; // from a request to the records it touches
mod reads; // records the engine needs itself
mod request; // what the shell asks
mod restore; // from the log to the state
mod retention; // which segments may go
mod room; // whether there is any on the disk
mod settings; // what administrators set
mod snapshot; // the state, appended again
mod state; // topics, groups and epochs, as records of the log
mod store_clock; // when records were stored, by the monotonic clock
mod topics; // which topics and queues there are
mod transactions; // messages that nobody sees before their producer has decided

#[cfg(test)]
mod tests;

pub use answer::{Answer, Check, Found, Out, Places, PullStatus, Refusal};
pub use appends::QUEUES_MAX;
pub use delay_levels::{DelayLevels, DelayLevelsError};
pub use deliveries::{SCHEDULE_TOPIC, TIMER_TOPIC};
pub use engine::{Engine, EngineConfig, OpenEngineError};
pub use filter::{Conditions, Filter, NoConditions, Verdicts, finish};
pub use held::Held;
pub use holds::{Hold, Loss};
pub use inspection::{NextRemoval, StateInspection};
pub use letters::{DEAD_PREFIX, RETRY_PREFIX};
pub use limits::EngineLimits;
pub use pulls::Extent;
pub use reads::{RECORD_BYTES_MAX, Read, ReadId};
pub use request::{
    Append, Asker, Caller, ConnectionId, Decision, Delay, EndTransaction, Fence, Message, Origin,
    Principal, Pull, PullHold, Request, SendBack, Ticket, Wait,
};
pub use restore::{LostState, StateGap};
pub use retention::RetentionConfig;
pub use settings::{SETTING_BYTES_MAX, SETTINGS_MAX, Space};
pub use topics::{Permission, Topic};
pub use transactions::{HALF_TOPIC, PARKED_TOPIC, TransactionConfig};
