use std::path::{Path, PathBuf};

use clap::Args;
use millrace_wasm_host::{Kind, Module};
use serde_json::{Value, json};

use super::load;
use crate::exit::{Exit, Failure};
use crate::output::Answer;

/// Say whether a module can be used, and what it says about itself.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The module.
    module: PathBuf,
}

impl Check {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let module = load(&self.module)?;
        Ok(describe(&self.module, &module))
    }
}

/// What there is to say of a module that can be used.
pub(super) fn describe(path: &Path, module: &Module) -> Answer {
    let manifest = module.manifest();
    let kind = match module.kind() {
        Kind::Filter => "filter",
        Kind::Map => "map",
        Kind::FlatMap => "flat map",
        Kind::Aggregate => "aggregate",
    };
    let summary =
        format!("{}: the {kind} `{}`, version {}", path.display(), manifest.name, manifest.version);
    let mut text = format!("{summary}\n  sha256      {}\n", module.hash());
    let params = manifest.params.as_ref();
    let properties = params.and_then(|params| params.get("properties")?.as_object());
    let required = params.and_then(|params| params.get("required")?.as_array());
    for (name, schema) in properties.into_iter().flatten() {
        let is_required = required.is_some_and(|names| names.contains(&json!(name)));
        let must = if is_required { ", required" } else { "" };
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or("anything");
        text.push_str(&format!("  parameter   {name}: {kind}{must}\n"));
    }
    let result = json!({
        "module": path,
        "kind": kind,
        "name": manifest.name,
        "version": manifest.version,
        "sha256": module.hash().to_string(),
        "params": manifest.params,
    });
    Answer { exit: Exit::Done, summary, text, result }
}
