//! The [`Broker`] that everything outside of the broker talks to, and its implementation over the
//! wire. (`millrace-server` implements it for a broker in the same process.)
//!
//! Start reading at [`Broker`], then [`RemoteBroker::connect`].

mod broker; // what a broker does for a pipeline
mod remote; // a broker in another process

pub use broker::{
    Append, Appended, Broker, BrokerError, Fence, Outgoing, PullRequest, Pulled, Wait,
};
pub use remote::{RemoteBroker, RemoteOptions};
