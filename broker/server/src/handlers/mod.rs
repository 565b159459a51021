//! What the broker does with each family of requests: from the wire's terms to the engine's.

pub(crate) mod admin; // what tools ask of a broker
pub(crate) mod clients; // 34, 35, 38, 46: who consumes
pub(crate) mod figures; // 28: what a broker has done
pub(crate) mod filters; // 9005 to 9007: filters in WebAssembly
pub(crate) mod inquiry; // what tools ask about clients and settings
pub(crate) mod letters; // 36: messages whose consumption failed
pub(crate) mod locks; // 41, 42: who consumes in order
pub(crate) mod messages; // 12, 33: messages by key and by id
pub(crate) mod names; // what tools ask of a name server
pub(crate) mod offsets; // 14, 15, 29 to 32: where groups are and queues go
pub(crate) mod private; // 9001 to 9004: our own requests
pub(crate) mod pull; // 11, 361: reading
pub(crate) mod registry; // brokers that come, stay and go
pub(crate) mod replies; // 324, 325: to who waits for them
pub(crate) mod routes; // 105, 106: which broker
pub(crate) mod send; // 10, 310, 320: writing
pub(crate) mod topics; // 17: creating topics
pub(crate) mod transactions; // 37, 39: what becomes of half messages
