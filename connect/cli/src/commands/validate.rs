//! `millrace validate`: everything wrong with some pipeline files.

use std::path::PathBuf;

use clap::Args;
use millrace_config::{Diagnostic, Pipeline, Report};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::figures::counted;
use crate::output::{Answer, complain, print};
use crate::pipeline_file::{self, Checked, Unusable};

/// Check pipeline files and tell everything that is wrong with them at once.
///
/// Warnings tell what is right and may still surprise: for now, where a condition that reads nothing
/// but properties would let other messages through as the subscription of a RocketMQ client.
#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// Pipeline files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Validate {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let mut good = Vec::new();
        let mut results = Vec::new();
        let mut failures = Vec::new();
        for path in &self.files {
            let file = path.display().to_string();
            match pipeline_file::load(path) {
                Ok(Checked { pipeline, .. }) => {
                    let warned = Report::of_warnings(&file, &pipeline.warnings);
                    let ok = warned.is_none() || !self.strict;
                    results.push(json!({
                        "file": file,
                        "ok": ok,
                        "pipeline": pipeline.name,
                        "warnings": listed(&pipeline.warnings),
                    }));
                    if ok {
                        good.push(format!("{file}: ok: {}\n", tell(&pipeline)));
                    }
                    match warned {
                        Some(report) if ok => complain(&report.to_string()),
                        warned => {
                            failures.extend(warned.map(|it| pipeline_file::from_reports(vec![it])));
                        }
                    }
                }
                Err(Unusable::Wrong(report)) => {
                    results.push(json!({
                        "file": file,
                        "ok": false,
                        "errors": listed(&report.diagnostics),
                        "warnings": listed(&report.warnings),
                    }));
                    failures.push(pipeline_file::from_reports(vec![report]));
                }
                Err(Unusable::Unread(failure)) => {
                    let error = json!({"code": failure.code, "message": failure.message});
                    results.push(json!({"file": file, "ok": false, "errors": [error]}));
                    failures.push(failure);
                }
            }
        }
        let text: String = good.concat();
        let summary = match self.files.len() {
            1 => good.concat().trim_end().to_owned(),
            files => format!("{} of {}", good.len(), counted(files as u64, "file")) + " ok",
        };
        if failures.is_empty() {
            return Ok(Answer { exit: Exit::Done, summary, text, result: json!(results) });
        }
        let mut failure = pipeline_file::from_all(failures);
        if !self.json {
            print(&text);
        }
        failure.result = json!(results);
        Err(failure)
    }
}

fn listed(diagnostics: &[Diagnostic]) -> Value {
    let one = |diagnostic: &Diagnostic| {
        json!({
            "code": diagnostic.code,
            "message": diagnostic.message,
            "line": diagnostic.line,
            "col": diagnostic.column,
            "len": diagnostic.len,
            "help": diagnostic.help,
        })
    };
    diagnostics.iter().map(one).collect()
}

fn tell(pipeline: &Pipeline) -> String {
    format!(
        "pipeline `{}`: {}, {}, {}",
        pipeline.name,
        counted(pipeline.schema.columns.len() as u64, "column"),
        counted(pipeline.steps.len() as u64, "step"),
        counted(pipeline.sinks.len() as u64, "sink"),
    )
}
