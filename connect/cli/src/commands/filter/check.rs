use std::path::{Path, PathBuf};

use std::sync::Arc;

use clap::Args;
use millrace_wasm_host::{Filter, Kind, Module, StartError};
use serde_json::{Map, Value, json};

use super::run::parse_params;
use super::{load, not_started};
use crate::exit::{Exit, Failure};
use crate::output::Answer;

/// Say whether a module can be used, and what it says about itself.
///
/// It is started once, as a pipeline or a broker would. Without parameters that it needs it cannot
/// be, which is told.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// The module.
    module: PathBuf,
    /// Parameters, a JSON object.
    #[arg(long, value_name = "JSON", value_parser = parse_params)]
    params: Option<Map<String, Value>>,
}

impl Check {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let module = load(&self.module)?;
        let mut answer = describe(&self.module, &module);
        let started = Filter::start(Arc::clone(&module), self.params.clone().unwrap_or_default());
        let not_started = match started {
            Ok(_) => None,
            // Nobody said which ones it should be started with.
            Err(error @ (StartError::Params { .. } | StartError::Refused { .. }))
                if self.params.is_none() =>
            {
                Some(error.to_string())
            }
            Err(error) => return Err(not_started(&self.module, &error)),
        };
        answer.text.push_str(&match &not_started {
            None => "  started     yes\n".to_owned(),
            Some(reason) => format!("  started     no: {reason}; give it --params\n"),
        });
        answer.result["started"] = json!(not_started.is_none());
        answer.result["not_started"] = json!(not_started);
        Ok(answer)
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
