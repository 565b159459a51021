//! The commands, one module each.

pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod quickstart;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod top;
pub(crate) mod validate;
