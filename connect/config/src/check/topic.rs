use millrace_types::TopicName;

use super::names::{Scope, is_plain_name};
use crate::code;
use crate::keys;
use crate::model::{PropertySpec, TopicSpec};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::yaml::{Key, Value};

/// The topics of the dead letters that the pipeline may write.
pub(super) fn letters(pipeline: Option<&str>, sinks: Option<&Entry<'_>>) -> Vec<String> {
    let Some(pipeline) = pipeline else { return Vec::new() };
    let sinks = match sinks.map(|entry| &entry.node.value) {
        Some(Value::Map(sinks)) => &sinks[..],
        _ => &[],
    };
    let parts = sinks.iter().map(|(sink, _)| sink.text.as_str()).chain(["source"]);
    parts.map(|part| format!("%DLQ%{pipeline}_{part}")).collect()
}

/// A topic as far as it could be read.
pub(super) struct CheckedTopic {
    pub(super) spec: Option<TopicSpec>,
    /// Whether messages take turns among several queues, as far as that is known.
    pub(super) takes_turns: bool,
}

/// The topic. Its properties become names in `scope`.
pub(super) fn topic(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    letters: &[String],
    scope: &mut Scope,
) -> Option<CheckedTopic> {
    if let Value::Scalar(_) = entry.node.value {
        let name = topic_name(reader, entry, letters);
        let queues = reader.value(&Fields::empty(&keys::TOPIC), "queues", parse::int);
        let queues = u32::try_from(queues?).ok()?;
        let spec = |name| TopicSpec { name, queues, key: None, tag: None, properties: Vec::new() };
        return Some(CheckedTopic { spec: name.map(spec), takes_turns: queues > 1 });
    }
    let Some(fields) = reader.fields(&keys::TOPIC, &entry.at, entry.node) else {
        scope.any_bare_name();
        return None;
    };
    if fields.is_misspelled("properties") {
        scope.any_bare_name();
    }
    let name = fields.get("name").and_then(|entry| topic_name(reader, entry, letters));
    let queues = reader.value(&fields, "queues", parse::int);
    let key = fields.get("key").map(|entry| scope.expression(reader, entry));
    let tag = fields.get("tag").map(|entry| scope.expression(reader, entry));
    let properties = fields.get("properties").map(|entry| properties(reader, entry, scope));
    let is_open = fields.is_misspelled("key") || fields.is_misspelled("queues");
    let takes_turns = queues.is_some_and(|queues| queues > 1) && key.is_none() && !is_open;
    let spec = || {
        Some(TopicSpec {
            name: name?,
            queues: u32::try_from(queues?).ok()?,
            key: match key {
                Some(key) => Some(key?.resolved),
                None => None,
            },
            tag: match tag {
                Some(tag) => Some(tag?.resolved),
                None => None,
            },
            properties: match properties {
                Some(properties) => properties?,
                None => Vec::new(),
            },
        })
    };
    Some(CheckedTopic { spec: spec(), takes_turns })
}

fn topic_name(reader: &mut Reader<'_>, entry: &Entry<'_>, letters: &[String]) -> Option<TopicName> {
    let name = reader.scalar(entry, parse::topic_name)?;
    if letters.iter().any(|letters| letters == name.as_str()) {
        let message = format!("`{name}` takes the dead letters of this pipeline");
        let help = "read it with a pipeline of another name, or choose another topic";
        reader.error(code::NAME_TAKEN, &entry.node.span, message, help);
    }
    Some(name)
}

fn properties(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &mut Scope,
) -> Option<Vec<PropertySpec>> {
    let Some(map) = reader.map(entry) else {
        scope.any_bare_name();
        return None;
    };
    if entry.node.has_more() {
        scope.any_bare_name();
    }
    let mut properties = Vec::new();
    let mut names = Vec::new();
    for (key, value) in &map {
        let typed = scope.typed_expression(reader, value);
        names.push((key.text.clone(), typed.as_ref().map(|(_, data_type)| *data_type)));
        let legal = property_name(reader, key);
        if let (true, Some((value, data_type))) = (legal, typed) {
            properties.push(PropertySpec { name: key.text.clone(), value, data_type });
        }
    }
    scope.define_properties(names);
    (properties.len() == map.len()).then_some(properties)
}

/// Property names that RocketMQ's clients and brokers give a meaning, beside all in capitals.
fn property_name(reader: &mut Reader<'_>, key: &Key) -> bool {
    if !is_plain_name(&key.text) {
        let message = format!("`{}` cannot be the name of a property", key.text);
        let help = "letters, digits and `_`, beginning with a letter; no word of the expression \
                    language";
        reader.error(code::NAME_SHAPE, &key.span, message, help);
        return false;
    }
    let reserved = Scope::is_reserved(&key.text);
    let system = key.text.starts_with("dlq_")
        || key.text.starts_with("__")
        || key.text.chars().all(|char| !char.is_ascii_lowercase());
    if reserved || system {
        let message = format!("`{}` already means something else", key.text);
        let help = if reserved {
            "expressions read it of every message; choose another name"
        } else {
            "names in capitals and those that begin with `__` or `dlq_` belong to the broker"
        };
        reader.error(code::NAME_TAKEN, &key.span, message, help);
        return false;
    }
    true
}
