//! `millrace filter`: filters in WebAssembly, from the first line to a look at what they do.

mod attached; // filters in a broker
mod bench; // what a module costs
mod build; // sources to a module
mod check; // what a module says about itself
mod new; // a filter to begin with
mod run; // a module over the lines of a file
mod test; // what a module has to say about which records

use std::fs;
use std::path::Path;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millrace_wasm_host::{Host, Limits, Module};

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
            Action::Test(test) => test.execute(),
            Action::Bench(bench) => bench.execute(),
            Action::Attach(attach) => attach.execute(),
            Action::Detach(detach) => detach.execute(),
            Action::List(list) => list.execute(),
        }
    }
}

/// A module from the disk, checked and compiled.
fn load(path: &Path) -> Result<Arc<Module>, Failure> {
    let bytes = fs::read(path).map_err(|error| unread(path, &error))?;
    Host::new(Limits::default()).load(&bytes).map_err(|error| {
        let message = format!("cannot use {}: {error}", path.display());
        Failure::new(Exit::Input, codes::FILTER, message)
            .hint("`wasm-filters/host/README.md` says what a module has")
            .caused_by(&error)
    })
}

fn unread(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", path.display());
    Failure::new(Exit::Input, codes::FILE, message).caused_by(error)
}

fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let mut failure = crate::causes::io_failure(error);
    failure.message = format!("cannot write {}: {error}", path.display());
    failure
}
