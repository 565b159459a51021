use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::unwritten;
use crate::exit::{Exit, Failure, codes};
use crate::output::Answer;

/// Begin a filter: a directory with its source, a pipeline that uses it, and tests.
///
/// Everything it needs is in there, but for Rust with the target wasm32-unknown-unknown.
#[derive(Args, Debug)]
pub(super) struct New {
    /// What it is called, and the directory: lower-case letters, digits and `-`.
    name: String,
    /// Where the directory is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    within: PathBuf,
}

/// What the template is called; its file names and texts get the new name.
const TEMPLATE: &str = "keep-words";

const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("../../../../../wasm-filters/template/manifest.toml")),
    ("src/lib.rs", include_str!("../../../../../wasm-filters/template/filter.rs")),
    ("keep-words.yaml", include_str!("../../../../../wasm-filters/template/pipeline.yaml")),
    ("keep-words.tests.yaml", include_str!("../../../../../wasm-filters/template/records.yaml")),
    ("sample.jsonl", include_str!("../../../../../wasm-filters/template/sample.jsonl")),
    (".gitignore", "/target\n"),
];

/// Instructions that every host has, and that make copies and searches shorter.
const CARGO_CONFIG: &str = "\
[target.wasm32-unknown-unknown]
rustflags = [\"-C\", \"target-feature=+simd128,+bulk-memory\"]
";

/// What every filter links against; cargo has no package that depends on one of its name.
const GUEST_NAMES: [&str; 2] = ["millrace-wasm-guest", "millrace-wasm-guest-macros"];

const GUEST_MANIFEST: &str = "\
[package]
name = \"millrace-wasm-guest\"
version = \"0.1.0\"
edition = \"2024\"
license = \"Apache-2.0\"

[features]
native = []

[dependencies]
millrace-wasm-guest-macros = { path = \"macros\" }
";

const GUEST_MACROS_MANIFEST: &str = "\
[package]
name = \"millrace-wasm-guest-macros\"
version = \"0.1.0\"
edition = \"2024\"
license = \"Apache-2.0\"

[lib]
proc-macro = true
";

/// A source of the guest crate, by its path in there.
macro_rules! guest {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../../../wasm-filters/guest/", $path)))
    };
}

const GUEST: [(&str, &str); 15] = [
    ("Cargo.toml", GUEST_MANIFEST),
    guest!("src/batch.rs"),
    guest!("src/exports.rs"),
    guest!("src/find.rs"),
    guest!("src/json.rs"),
    guest!("src/lib.rs"),
    guest!("src/module.rs"),
    guest!("src/native.rs"),
    guest!("src/out.rs"),
    guest!("src/params.rs"),
    ("macros/Cargo.toml", GUEST_MACROS_MANIFEST),
    guest!("macros/src/function.rs"),
    guest!("macros/src/lib.rs"),
    guest!("macros/src/mistake.rs"),
    guest!("macros/src/options.rs"),
];

impl New {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let Self { name, within } = self;
        let legal = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
        let is_name = name.starts_with(|char: char| char.is_ascii_lowercase())
            && name.len() <= 48
            && name.chars().all(legal)
            && !name.ends_with('-');
        if !is_name {
            let message = format!("`{name}` cannot be the name of a filter");
            return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                .hint("lower-case letters, digits and `-`, at most 48, a letter first"));
        }
        if GUEST_NAMES.contains(&name.as_str()) {
            let message =
                format!("a filter cannot be called `{name}`, as what it links against is");
            return Err(
                Failure::new(Exit::Input, codes::ARGUMENT, message).hint("choose another name")
            );
        }
        let dir = within.strip_prefix(".").unwrap_or(within).join(name);
        if dir.exists() {
            let message = format!("{} is there already", dir.display());
            return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                .hint("choose another name, or --within another directory"));
        }
        for (file, text) in FILES {
            write(&dir.join(file.replace(TEMPLATE, name)), &text.replace(TEMPLATE, name))?;
        }
        write(&dir.join(".cargo/config.toml"), CARGO_CONFIG)?;
        for (file, text) in GUEST {
            write(&dir.join("guest").join(file), text)?;
        }
        let shown = dir.display();
        let summary = format!("{shown}: a filter to begin with");
        let text = format!(
            "{summary}\n\n  src/lib.rs   what it does; {name}.yaml uses it and says what has to come \
             of what\n\n  cd {shown}\n  millrace filter build\n  \
             millrace filter test {name}.tests.yaml\n  millrace test {name}.yaml\n  \
             millrace filter run {name}.wasm sample.jsonl --params '{{\"words\": [\"now\"]}}'\n"
        );
        Ok(Answer { exit: Exit::Done, summary, text, result: json!({"directory": dir}) })
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let dir = path.parent().expect("it is in the directory of the filter");
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(path, text))
        .map_err(|error| unwritten(path, &error))
}
