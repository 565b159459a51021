//! The commands, one module each.

pub(crate) mod bench;
pub(crate) mod consume;
pub(crate) mod dlq;
pub(crate) mod docs;
pub(crate) mod explain;
pub(crate) mod filter;
pub(crate) mod group;
pub(crate) mod inspect;
pub(crate) mod message;
pub(crate) mod produce;
pub(crate) mod quickstart;
pub(crate) mod run;
pub(crate) mod search;
pub(crate) mod server;
pub(crate) mod test;
pub(crate) mod top;
pub(crate) mod topic;
pub(crate) mod validate;
