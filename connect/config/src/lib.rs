//! Pipeline files: YAML to a checked [`Pipeline`], or all that is wrong with it, with positions.
//!
//! A file goes through three stages. `yaml` makes a tree in which everything knows where it
//! stands; `keys` holds the schema tables, and `read` walks the tree along them; `check` gives
//! the parts their meaning and resolves every name. No stage stops at the first mistake. Start
//! reading at [`Pipeline::parse`]; every key is in `REFERENCE.md`.

mod check; // the tree to the model
mod code; // the codes of mistakes, explained
mod diagnostic; // a mistake, and how people see it
mod env; // `${env:NAME}`
mod fingerprint; // what a file says, in 64 bits
mod keys; // the schema tables
mod model; // what a checked pipeline is
mod parse; // a scalar to the value that its kind asks for
mod read; // the tree along a table
mod reference; // the schema tables as a document
mod scalar; // durations and sizes
mod suggest; // what somebody may have meant
mod table; // the shape of the schema tables
mod text; // the text and its lines
mod yaml; // the tree

#[cfg(test)]
mod tests;

pub use code::{codes, explain};
pub use diagnostic::{Diagnostic, Report};
pub use env::Env;
pub use model::{
    Compression, Delivery, FileSpec, GenerateSpec, Generator, Limits, MetaField, Metadata,
    OnReject, OnUnknown, ParquetSpec, Pipeline, PropertySpec, Resolved, Rotate, SetColumn,
    SinkKind, SinkSpec, Slot, SourceSpec, StartAt, StepSpec, TopicSpec,
};
pub use reference::reference;

use text::SourceText;

impl Pipeline {
    /// Reads a pipeline file. `file` is what messages call it; `env` gives the variables that
    /// `${env:…}` asks for.
    pub fn parse(file: &str, bytes: &[u8], env: Env<'_>) -> Result<Self, Report> {
        let mut diagnostics = Vec::new();
        let pipeline = parse(file, bytes, env, &mut diagnostics);
        match pipeline {
            Some(pipeline) if diagnostics.is_empty() => Ok(pipeline),
            _ => {
                diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
                diagnostics.dedup();
                debug_assert!(!diagnostics.is_empty(), "a refusal without a reason");
                Err(Report { file: file.to_owned(), diagnostics })
            }
        }
    }
}

fn parse(
    file: &str,
    bytes: &[u8],
    env: Env<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Pipeline> {
    let text = match text::decode(bytes) {
        Ok(text) => text,
        Err(refusal) => {
            let source = SourceText::new(file, refusal.readable);
            let at = refusal.readable.len();
            let message = refusal.message;
            diagnostics.push(Diagnostic::new(
                &source,
                code::YAML_SYNTAX,
                &(at..at),
                message,
                refusal.help,
            ));
            return None;
        }
    };
    let source = SourceText::new(file, text);
    let root = yaml::parse(&source, diagnostics)?;
    let mut reader = read::Reader::new(&source, env);
    let pipeline = check::pipeline(&mut reader, &root, fingerprint::of(&root, env));
    diagnostics.append(&mut reader.diagnostics);
    pipeline
}
