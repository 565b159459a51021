//! The [`Broker`] that everything outside of the broker talks to, and its implementation over the
//! wire. (`millrace-server` implements it for a broker in the same process.)

mod broker;

pub use broker::{
    Append, Appended, Broker, BrokerError, Fence, Outgoing, PullRequest, Pulled, Wait,
};
