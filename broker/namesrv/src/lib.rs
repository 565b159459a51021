//! Knows which broker serves which topic.
//!
//! Like the engine a step function: no socket, thread or clock. Brokers are registered, topics
//! put, time passes, and [`RouteTable::route`] says what clients are told.

mod route_table;

pub use route_table::{
    BrokerAddresses, Clusters, Departure, Gone, Link, NotRegistered, QueueRoute, Registered,
    Registration, Route, RouteTable, Stay, TopicQueues, TopicsVersion,
};
