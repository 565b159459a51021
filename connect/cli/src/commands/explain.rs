//! `millrace explain`: what a code means.

use clap::Args;
use serde_json::json;

use crate::exit::{self, Exit, Failure, codes};
use crate::output::Answer;

/// Explain the code of an error or of a dead letter.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// A code such as E-KEY-01; without one, all of them are listed.
    code: Option<String>,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Explain {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let Some(code) = &self.code else {
            let mut all: Vec<&str> = millrace_config::codes().chain(exit::all_codes()).collect();
            all.sort_unstable();
            let text = all.iter().map(|code| format!("{code}\n")).collect();
            let summary = format!("{} codes", all.len());
            return Ok(Answer { exit: Exit::Done, summary, text, result: json!(all) });
        };
        let text = millrace_config::explain(code).or_else(|| exit::explain(code));
        let text = text.ok_or_else(|| {
            Failure::new(Exit::Input, codes::ARGUMENT, format!("`{code}` is no code"))
                .hint("`millrace explain` without one lists all")
        })?;
        let code = code.to_ascii_uppercase();
        let summary = text.lines().collect::<Vec<_>>().join(" ");
        let result = json!({"code": code, "text": text});
        Ok(Answer { exit: Exit::Done, summary, text: format!("{code}\n{text}\n"), result })
    }
}
