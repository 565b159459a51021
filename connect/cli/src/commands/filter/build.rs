use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::Value;

use super::check::describe;
use super::{load, unwritten};
use crate::exit::{Exit, Failure, codes};
use crate::output::Answer;

/// Build a filter with cargo, put the module beside its source and check it.
#[derive(Args, Debug)]
pub(super) struct Build {
    /// The directory of the filter.
    #[arg(default_value = ".")]
    dir: PathBuf,
}

const TARGET: &str = "wasm32-unknown-unknown";

impl Build {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        if !self.dir.join("Cargo.toml").is_file() {
            let message = format!("{} has no Cargo.toml", self.dir.display());
            return Err(Failure::new(Exit::Input, codes::FILE, message)
                .hint("`millrace filter new NAME` makes one to begin with"));
        }
        self.find_target()?;
        let built = self.cargo()?;
        let module = load(&built)?;
        let dir = self.dir.strip_prefix(".").unwrap_or(&self.dir);
        let path = dir.join(format!("{}.wasm", file_stem(&module.manifest().name)));
        fs::copy(&built, &path).map_err(|error| unwritten(&path, &error))?;
        Ok(describe(&path, &module))
    }

    /// Without the target's library the compiler complains at length, and not about that.
    fn find_target(&self) -> Result<(), Failure> {
        let asked =
            self.run(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]))?;
        let dir = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
        if !asked.status.success() || !Path::new(&dir).is_dir() {
            let message = format!("Rust has nothing to build for {TARGET} with");
            return Err(Failure::new(Exit::Environment, codes::SYSTEM, message)
                .hint(format!("rustup target add {TARGET}")));
        }
        Ok(())
    }

    /// Builds, and says where the module is.
    fn cargo(&self) -> Result<PathBuf, Failure> {
        let built = self.run(
            Command::new("cargo")
                .args(["build", "--release", "--target", TARGET])
                .arg("--message-format=json-render-diagnostics")
                .stderr(Stdio::inherit()),
        )?;
        if !built.status.success() {
            let message = format!("{} cannot be built", self.dir.display());
            return Err(Failure::new(Exit::Input, codes::FILTER, message)
                .hint("cargo says above what is wrong"));
        }
        let messages = String::from_utf8_lossy(&built.stdout);
        let mut modules = messages.lines().filter_map(|line| {
            let message: Value = serde_json::from_str(line).ok()?;
            let files = message.get("filenames")?.as_array()?;
            let wasm = files.iter().filter_map(Value::as_str).find(|file| file.ends_with(".wasm"));
            wasm.map(PathBuf::from)
        });
        modules.next_back().ok_or_else(|| {
            let message = format!("{} makes no module", self.dir.display());
            Failure::new(Exit::Input, codes::FILTER, message)
                .hint("its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`")
        })
    }

    fn run(&self, command: &mut Command) -> Result<std::process::Output, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.current_dir(&self.dir).stdin(Stdio::null()).output().map_err(|error| {
            let message = format!("cannot start {program}: {error}");
            Failure::new(Exit::Environment, codes::SYSTEM, message)
                .hint("a filter in Rust is built with Rust: https://rustup.rs")
                .caused_by(&error)
        })
    }
}

/// What a module calls itself, as the name of a file.
fn file_stem(name: &str) -> String {
    let legal = |char: char| char.is_alphanumeric() || matches!(char, '-' | '_');
    name.chars().map(|char| if legal(char) { char } else { '-' }).collect()
}
