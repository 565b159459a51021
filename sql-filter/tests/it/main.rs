//! What both dialects accept and answer.

mod differences; // where a subscription decides otherwise
mod limits; // what is too long, too deep or too large
mod mistakes; // all that is wrong with one text
mod properties; // random texts and trees
mod rocketmq; // RocketMQ's dialect, rule by rule
mod row;
mod selector_cases; // the cases of other projects' suites
mod strict; // the strict dialect, rule by rule
mod types; // static types // rows of named values
