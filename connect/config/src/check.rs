//! A tree to a checked pipeline.

mod columns; // lists of columns
mod filter_tests; // what a module has to say about which records
mod names; // what a name in an expression means
mod pattern; // what is wrong with a regular expression
mod schema; // the columns of the body, and how bodies are decoded
mod sinks; // where rows go
mod source; // where records come from
mod steps; // what happens in between
mod test_cases; // what has to come of which messages
mod topic; // the topic and what the source's records get there

use crate::code;
use crate::diagnostic;
use crate::keys;
use crate::model::{Limits, Pipeline};
use crate::parse;
use crate::read::{At, Fields, Reader};
use crate::yaml::Node;

pub(crate) use filter_tests::filter_tests;
use steps::Before;

/// Checks everything. There is a pipeline only if the reader has no mistake to report.
pub(crate) fn pipeline(reader: &mut Reader<'_>, root: &Node, fingerprint: u64) -> Option<Pipeline> {
    let fields = reader.fields(&keys::PIPELINE, &At::whole_file(), root)?;
    version(reader, &fields);
    let name = reader.value(&fields, "pipeline", parse::name);

    let source = fields.get("source").map(|entry| source::source(reader, entry));
    let bodies = if fields.is_misspelled("source") || fields.is_misspelled("schema") {
        schema::Bodies::unknown()
    } else {
        let topic_at = fields.get("topic").map(|entry| entry.at.span.clone());
        schema::bodies(reader, fields.get("schema"), source.as_ref(), topic_at)
    };
    if let (Some(source), Some(entry)) = (&source, fields.get("schema")) {
        schema::against_generator(reader, entry, &bodies, source);
    }
    let mut scope = names::Scope::new(&bodies);
    scope.set_body_only(true);
    scope.set_of_message(fields.get("steps").and_then(|it| steps::kept_by_split(reader, it)));
    let letters = topic::letters(name.as_deref(), fields.get("sinks"));
    let topic =
        fields.get("topic").and_then(|entry| topic::topic(reader, entry, &letters, &mut scope));
    scope.set_body_only(false);
    if fields.is_misspelled("topic") || fields.is_misspelled("steps") {
        scope.any_bare_name();
    }
    let steps =
        fields.get("steps").map(|entry| steps::steps(reader, entry, &mut scope, Before::AllSinks));
    if let (true, Some(topic), Some(at)) =
        (source.is_some(), &topic, fields.get("steps").and_then(steps::dedupe_at))
        && topic.takes_turns
    {
        let message = "`dedupe` looks for duplicates within a queue, and here queues take turns";
        let help = "give the topic a `key` that follows from the same field, or `queues: 1`";
        reader.error(code::KEY_CONFLICT, at, message, help);
    }
    let sinks = fields.get("sinks").and_then(|entry| sinks::sinks(reader, entry, &scope));
    if let (Some(sinks), Some(at)) = (&sinks, fields.get("steps").and_then(steps::split_at))
        && let Some(sink) = &sinks.without_pieces
    {
        let message = format!("the sink `{sink}` cannot tell several rows of one message apart");
        let help = "write the rows into files, or split the arrays before they are produced";
        reader.error(code::KEY_CONFLICT, at, message, help);
    }
    let memory = reader
        .nested(&fields, "limits")
        .and_then(|limits| reader.value(&limits, "memory", parse::size));
    let subject = test_cases::Subject {
        has_source: source.is_some() || fields.is_misspelled("source"),
        decode: bodies.decode.as_ref(),
        sinks: fields.get("sinks").and_then(|entry| sinks::names(entry)),
    };
    let tests = fields.get("tests").map(|entry| test_cases::test_cases(reader, entry, &subject));

    if !reader.mistakes.is_empty() {
        return None;
    }
    Some(Pipeline {
        name: name?,
        source: match source {
            Some(source) => Some(source.spec?),
            None => None,
        },
        topic: topic?.spec?,
        decode: bodies.decode?,
        schema: bodies.schema?,
        steps: steps.unwrap_or_default(),
        sinks: sinks?.specs?,
        limits: Limits { memory: memory? },
        tests: tests.unwrap_or_default(),
        fingerprint,
        warnings: diagnostic::diagnostics(reader.source, std::mem::take(&mut reader.warnings)).0,
    })
}

fn version(reader: &mut Reader<'_>, fields: &Fields<'_>) {
    let version = reader.value(fields, "version", parse::any_int);
    if let (Some(version), Some(entry)) = (version, fields.get("version"))
        && version != VERSION
    {
        let message =
            format!("this file is of version {version}, and this millrace reads {VERSION}");
        let help = match version > VERSION {
            true => "use a newer millrace".to_owned(),
            false => format!("write `version: {VERSION}`"),
        };
        reader.error(code::RANGE, &entry.node.span, message, help);
    }
}

/// The version of the file format.
const VERSION: i64 = 1;
