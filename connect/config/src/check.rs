//! A tree to a checked pipeline.

mod names; // what a name in an expression means
mod schema; // the columns of the body, and how bodies are decoded
mod sinks; // where rows go
mod source; // where records come from
mod steps; // what happens in between
mod topic; // the topic and what the source's records get there

use crate::keys;
use crate::model::{Limits, Pipeline};
use crate::parse;
use crate::read::{At, Reader};
use crate::yaml::Node;

/// Checks everything. There is a pipeline only if the reader has no mistake to report.
pub(crate) fn pipeline(reader: &mut Reader<'_>, root: &Node, fingerprint: u64) -> Option<Pipeline> {
    let fields = reader.fields(&keys::PIPELINE, &At::whole_file(), root)?;
    reader.value(&fields, "version", parse::int);
    let name = reader.value(&fields, "pipeline", parse::name);

    let source = fields.get("source").map(|entry| source::source(reader, entry));
    let bodies = schema::bodies(reader, fields.get("schema"), source.as_ref());
    let mut scope = names::Scope::new(&bodies);
    scope.set_body_only(true);
    let topic = fields.get("topic").and_then(|entry| topic::topic(reader, entry, &mut scope));
    scope.set_body_only(false);
    let steps = fields.get("steps").map(|entry| steps::steps(reader, entry, &mut scope));
    let sinks = fields.get("sinks").and_then(|entry| sinks::sinks(reader, entry, &scope));
    let memory = reader
        .nested(&fields, "limits")
        .and_then(|limits| reader.value(&limits, "memory", parse::size));

    if !reader.diagnostics.is_empty() {
        return None;
    }
    Some(Pipeline {
        name: name?,
        source: match source {
            Some(source) => Some(source.spec?),
            None => None,
        },
        topic: topic?,
        decode: bodies.decode?,
        schema: bodies.schema?,
        steps: steps.unwrap_or_default(),
        sinks: sinks?,
        limits: Limits { memory: memory? },
        fingerprint,
    })
}
