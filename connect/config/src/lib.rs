//! Pipeline files: YAML to a checked [`Pipeline`], or all that is wrong with it, with positions.
//!
//! A file goes through three stages. `yaml` makes a tree in which everything knows where it
//! stands; `keys` holds the schema tables, and `read` walks the tree along them; `check` gives
//! the parts their meaning and resolves every name. No stage stops at the first mistake. Start
//! reading at [`Pipeline::parse`]; every key is in `REFERENCE.md`.

mod check; // the tree to the model
mod code; // the codes of mistakes, explained
mod diagnostic; // a mistake as people see it
mod env; // `${env:NAME}`
mod fingerprint; // what a file says, in 64 bits
mod json_schema; // the schema tables for editors
mod keys; // the schema tables
mod mistake; // the mistakes found so far
mod model; // what a checked pipeline is
mod parse; // a scalar to the value that its kind asks for
mod read; // the tree along a table
mod reference; // the schema tables for people
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
pub use json_schema::json_schema;
pub use model::{
    CastColumn, Compression, CsvSpec, DedupeSpec, Delivery, Expected, ExpectedLetter,
    ExpectedLetters, ExpectedRows, FieldKind, FileFormat, FileSpec, FilesSpec, FilterRecord,
    FilterTest, FilterTests, FilterVerdict, GenerateSpec, Generator, Given, GivenMessage,
    HttpAnswer, HttpBatch, HttpBody, HttpSpec, IndexField, IndexSpec, KeptField, Limits, MetaField,
    Metadata, OnMissing, OnReject, OnUnknown, ParquetSpec, Pipeline, PropertySpec, RenamedColumn,
    Resolved, Retry, Rotate, SetColumn, SinkKind, SinkSpec, Slot, SourceSpec, SplitSpec, StartAt,
    StepSpec, Template, TemplatePiece, TestCase, TextCompression, TopicSpec, WasmSpec,
};
pub use reference::{Row, Section, sections};

use mistake::{Mistake, Mistakes};
use read::Reader;
use text::SourceText;

impl Pipeline {
    /// Reads a pipeline file. `file` is what messages call it; `env` gives the variables that
    /// `${env:…}` asks for.
    pub fn parse(file: &str, bytes: &[u8], env: Env<'_>) -> Result<Self, Report> {
        read(file, bytes, env, |reader, root| {
            check::pipeline(reader, root, fingerprint::of(root, env))
        })
    }
}

impl FilterTests {
    /// Reads the tests of a module, as [`Pipeline::parse`] reads a pipeline file.
    pub fn parse(file: &str, bytes: &[u8], env: Env<'_>) -> Result<Self, Report> {
        read(file, bytes, env, check::filter_tests)
    }
}

/// Reads a file of whatever kind; `check` gives nothing if there is a mistake.
fn read<T>(
    file: &str,
    bytes: &[u8],
    env: Env<'_>,
    check: impl FnOnce(&mut Reader<'_>, &yaml::Node) -> Option<T>,
) -> Result<T, Report> {
    let mut mistakes = Mistakes::default();
    let text = match text::decode(bytes) {
        Ok(text) => text,
        Err(refusal) => {
            let end = refusal.readable.len();
            let (message, help) = (refusal.message, refusal.help);
            mistakes.push(Mistake::new(code::YAML_SYNTAX, end..end, message, help));
            return Err(Report::new(&SourceText::new(file, refusal.readable), mistakes));
        }
    };
    let source = SourceText::new(file, text);
    let Some(root) = yaml::parse(&source, &mut mistakes) else {
        return Err(Report::new(&source, mistakes));
    };
    let mut reader = Reader::new(&source, env, mistakes);
    let read = check(&mut reader, &root);
    read.ok_or_else(|| {
        debug_assert!(!reader.mistakes.is_empty(), "a refusal without a reason");
        let (warnings, _) = diagnostic::diagnostics(&source, reader.warnings);
        Report { modules: reader.modules, warnings, ..Report::new(&source, reader.mistakes) }
    })
}
