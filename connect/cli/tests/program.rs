//! The program as a user runs it: arguments and files in, an exit code and text out.

#[path = "program/rig.rs"]
mod rig; // a directory, processes in it, and what they came to

#[path = "program/benching.rs"]
mod benching; // load for a broker, and what it came to
#[path = "program/consuming.rs"]
mod consuming; // consumers, also when nobody reads and brokers go
#[path = "program/daily.rs"]
mod daily; // topics, groups, messages
#[path = "program/environment.rs"]
mod environment; // disks that fill, ports that are taken, brokers that are not there
#[path = "program/examples.rs"]
mod examples; // the pipelines in `pipelines/`, with data
#[path = "program/filters.rs"]
mod filters; // modules in WebAssembly, from the first line on
#[path = "program/hooks.rs"]
mod hooks; // requests to a server, also when the run is killed
#[path = "program/letters.rs"]
mod letters; // what became of records that could not go on
#[path = "program/mistakes.rs"]
mod mistakes; // what the user got wrong
#[path = "program/repairing.rs"]
mod repairing; // directories that lack what a start needs
#[path = "program/runs.rs"]
mod runs; // pipelines, also when they are killed
#[path = "program/salvaging.rs"]
mod salvaging; // directories that are damaged, or Apache RocketMQ's
#[path = "program/searching.rs"]
mod searching; // search indexes
#[path = "program/serving.rs"]
mod serving; // the server, and pipelines over the wire
#[path = "program/testing.rs"]
mod testing; // the tests in pipeline files
