//! `millrace`: a RocketMQ-compatible broker and the pipelines around it, in one program.
//!
//! A command reads its arguments, calls the crates that do the work, and comes to an `Answer` or
//! a `Failure`; `output` prints either and tells the exit code. Nothing below this crate reads
//! the environment. Start reading at `main`.

mod bench; // load for any broker
mod broker_conf; // RocketMQ's configuration files
mod causes; // errors of the libraries as failures
mod cluster; // a cluster elsewhere
mod commands; // what the program can do
mod embedded; // the broker inside this process
mod exit; // exit codes, and why a command fails
mod figures; // numbers and sizes for people, and from them
mod keeping; // how long messages are kept
mod ledgers; // the ledgers in a log
mod letters; // the dead letters in a log
mod logging; // events on stderr
mod messages; // messages on stdout
mod moments; // times and offsets for people, and from them
mod output; // answers on stdout
mod own_state; // the broker's state in a log
mod pipeline_file; // pipeline files from the disk
mod plain; // texts of messages on a terminal
mod progress; // the line that shows how far a run is
mod properties; // Java's configuration files
mod running; // one pipeline on one broker
mod salvage; // what verifies, for another life
mod signals; // the wish to end
mod sinks; // which sink a pipeline file means
mod sources; // which source a pipeline file means
mod table; // rows for a terminal
mod trial; // a pipeline in memory, and what has to come of it
mod wire; // a broker elsewhere

use std::process::ExitCode;

use clap::{ArgAction, Parser, Subcommand};

use commands::bench::Bench;
use commands::consume::Consume;
use commands::dlq::Dlq;
use commands::docs::Docs;
use commands::explain::Explain;
use commands::filter::Filter;
use commands::group::Group;
use commands::inspect::Inspect;
use commands::message::Message;
use commands::produce::Produce;
use commands::quickstart::Quickstart;
use commands::run::RunPipeline;
use commands::search::SearchIndex;
use commands::server::RunServer;
use commands::test::Test;
use commands::top::Top;
use commands::topic::Topic;
use commands::validate::Validate;
use output::Style;

/// A RocketMQ-compatible message broker, and pipelines that bring records in and out of it exactly
/// once.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Log more and tell the causes of errors; twice or three times for even more. The variable
    /// MILLRACE_LOG (for instance `info` or `millrace_runtime=debug`) chooses exactly.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed on the way; 2 the input is wrong; 3 the environment is wrong (data
directory in use, disk full, broker unreachable, port taken); 4 the answer is no; 130 and 143
ended by a second signal.";

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(Quickstart),
    Validate(Validate),
    Explain(Explain),
    Docs(Docs),
    Test(Test),
    Filter(Filter),
    Run(RunPipeline),
    Server(RunServer),
    Search(SearchIndex),
    Top(Top),
    Inspect(Inspect),
    Dlq(Dlq),
    Topic(Topic),
    Group(Group),
    Message(Message),
    Produce(Produce),
    Consume(Consume),
    Bench(Bench),
}

impl Command {
    /// What it logs if nobody says anything else.
    fn usual_log(&self) -> &'static str {
        match self {
            Command::Quickstart(_) => logging::BROKER_INSIDE,
            Command::Run(command) if command.brings_its_broker() => logging::BROKER_INSIDE,
            Command::Test(_) => logging::NOTHING,
            _ => logging::USUAL,
        }
    }
}

fn main() -> ExitCode {
    let Arguments { command, verbose } = Arguments::parse();
    logging::start(verbose, command.usual_log());
    let (name, json, outcome) = match command {
        Command::Quickstart(command) => ("quickstart", command.json, command.execute()),
        Command::Validate(command) => ("validate", command.json, command.execute()),
        Command::Explain(command) => ("explain", command.json, command.execute()),
        Command::Docs(command) => ("docs", command.json, command.execute()),
        Command::Filter(command) => (command.name(), command.json, command.execute()),
        Command::Test(command) => ("test", command.json, command.execute()),
        Command::Run(command) => ("run", command.json, command.execute()),
        Command::Top(command) => ("top", command.json, command.execute()),
        Command::Server(command) => ("server", command.json, command.execute()),
        Command::Search(command) => ("search", command.json, command.execute()),
        Command::Inspect(command) => ("inspect", command.json, command.execute()),
        Command::Dlq(command) => (command.name(), command.at.json, command.execute()),
        Command::Topic(command) => (command.name(), command.at.json, command.execute()),
        Command::Group(command) => (command.name(), command.at.json, command.execute()),
        Command::Message(command) => (command.name(), command.at.json, command.execute()),
        Command::Produce(command) => ("produce", command.at.json, command.execute()),
        Command::Consume(command) => ("consume", command.at.json, command.execute()),
        Command::Bench(command) => ("bench", command.json(), command.execute()),
    };
    let style = Style { json, verbose: verbose > 0 };
    ExitCode::from(output::finish(name, outcome, style) as u8)
}
