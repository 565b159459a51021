//! `millrace filter`: filters in WebAssembly, from the first line to a look at what they do.

mod attached; // filters in a broker
mod bench; // what a module costs
mod build; // sources to a module
mod check; // what a module says about itself
mod new; // a filter to begin with
mod run; // a module over the lines of a file
mod test; // what a module has to say about which records

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millrace_wasm_host::{Host, Limits, LoadError, Module, StartError};

use crate::exit::{Exit, Failure, codes};
use crate::output::Answer;

/// Write, build, check and try filters in WebAssembly, and attach them to consumers in a broker.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  millrace filter new my-filter && cd my-filter && millrace filter build
  millrace filter check my-filter.wasm
  millrace filter run my-filter.wasm sample.jsonl --params '{\"words\": [\"now\"]}'
  millrace test my-filter.yaml
  millrace filter test my-filter.tests.yaml
  millrace filter bench my-filter.wasm --params '{\"words\": [\"now\"]}'
  millrace filter attach --group billing --module my-filter.wasm --params '{\"words\": [\"now\"]}'
  millrace filter list")]
pub(crate) struct Filter {
    #[command(subcommand)]
    action: Action,
    /// Answer in one line of JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    New(new::New),
    Build(build::Build),
    Check(check::Check),
    Run(run::Run),
    Test(test::Test),
    Bench(bench::Bench),
    Attach(attached::Attach),
    Detach(attached::Detach),
    List(attached::List),
}

impl Filter {
    /// As it was called.
    pub(crate) fn name(&self) -> &'static str {
        match self.action {
            Action::New(_) => "filter new",
            Action::Build(_) => "filter build",
            Action::Check(_) => "filter check",
            Action::Run(_) => "filter run",
            Action::Test(_) => "filter test",
            Action::Bench(_) => "filter bench",
            Action::Attach(_) => "filter attach",
            Action::Detach(_) => "filter detach",
            Action::List(_) => "filter list",
        }
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        match &self.action {
            Action::New(new) => new.execute(),
            Action::Build(build) => build.execute(),
            Action::Check(check) => check.execute(),
            Action::Run(run) => run.execute(),
            Action::Test(test) => test.execute(self.json),
            Action::Bench(bench) => bench.execute(),
            Action::Attach(attach) => attach.execute(),
            Action::Detach(detach) => detach.execute(),
            Action::List(list) => list.execute(),
        }
    }
}

/// A module from the disk, checked and compiled.
fn load(path: &Path) -> Result<Arc<Module>, Failure> {
    let bytes = module_bytes(path)?;
    Host::new(Limits::default()).load(&bytes).map_err(|error| unusable(path, &error))
}

/// A module's bytes; one that is too long is not read, and of what has no length before it was read,
/// such as a pipe, no more than shows that.
fn module_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let max = Limits::default().module_bytes_max;
    let read = || -> io::Result<(usize, Vec<u8>)> {
        let file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        if len <= max {
            file.take(1 + max as u64).read_to_end(&mut bytes)?;
        }
        Ok((len.max(bytes.len()), bytes))
    };
    let (len, bytes) = read().map_err(|error| unread(path, &error))?;
    match len > max {
        true => Err(unusable(path, &LoadError::TooLong { len, max })),
        false => Ok(bytes),
    }
}

fn unusable(path: &Path, error: &LoadError) -> Failure {
    let message = format!("cannot use {}: {error}", path.display());
    Failure::new(Exit::Input, codes::FILTER, message).hint(error.help()).caused_by(error)
}

/// A module that does not start, or not once more after a fault.
fn not_started(path: &Path, error: &StartError) -> Failure {
    let message = format!("cannot use {}: {error}", path.display());
    let failure = Failure::new(Exit::Input, codes::FILTER, message).caused_by(error);
    let path = path.display();
    match error {
        StartError::Params { .. } => failure.hint(format!(
            "say them with --params, a JSON object; `millrace filter check {path}` says which ones \
             there are"
        )),
        StartError::Refused { .. } => failure.hint("say others with --params, a JSON object"),
        StartError::Fault { .. } => failure,
    }
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", path.display());
    Failure::new(Exit::Input, codes::FILE, message).caused_by(error)
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let mut failure = crate::causes::io_failure(error);
    failure.message = format!("cannot write {}: {error}", path.display());
    failure
}
