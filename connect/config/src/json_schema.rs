//! The schema tables as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use crate::keys;
use crate::parse::NAME_CHARS_MAX;
use crate::scalar::{DURATION_UNITS, SIZE_UNITS};
use crate::table::{Components, Field, Kind, Need, Table};

/// What a pipeline file looks like, as JSON Schema 2020-12. Editors complete keys with it, show what
/// they mean, and mark most mistakes while one types; `millrace validate` finds all of them.
pub fn json_schema() -> Value {
    let mut schema = of_table(&keys::PIPELINE);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Millrace pipeline",
        "$defs": {
            "from_environment": {
                "description": "A value from the environment.",
                "type": "string",
                "pattern": r"\$\{env:",
            },
        },
    });
    for (key, value) in head.as_object().into_iter().flatten() {
        schema[key] = value.clone();
    }
    schema
}

fn of_table(table: &Table) -> Value {
    let mut properties = Map::new();
    for field in table.fields {
        properties.insert(field.name.to_owned(), of_field(field));
    }
    let is_required = |field: &&Field| matches!(field.need, Need::Required);
    let required: Vec<_> =
        table.fields.iter().filter(is_required).map(|field| field.name).collect();
    let mut schema = closed(table.doc, properties);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if let Some(all) = table.components {
        for field in all.fields {
            schema["properties"][field.name] = of_field(field);
        }
        let one = |field: &Field| json!({"required": [field.name]});
        schema["oneOf"] = all.fields.iter().map(one).collect();
    }
    schema
}

fn of_components(all: &Components) -> Value {
    let properties = all.fields.iter().map(|field| (field.name.to_owned(), of_field(field)));
    let mut schema = closed(&format!("Exactly one {}.", all.noun), properties.collect());
    let one = |field: &Field| json!({"required": [field.name]});
    schema["oneOf"] = all.fields.iter().map(one).collect();
    schema
}

/// A map with these keys, and notes.
fn closed(doc: &str, properties: Map<String, Value>) -> Value {
    json!({
        "description": doc,
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": true},
        "additionalProperties": false,
    })
}

fn of_field(field: &Field) -> Value {
    let mut schema = of_kind(&field.kind);
    schema["description"] = field.doc.into();
    if let Need::Default(text) = field.need
        && !matches!(field.kind, Kind::OneOf(_))
    {
        // Defaults are written as in YAML, and every scalar among them is JSON too, or a text.
        schema["default"] = serde_json::from_str(text).unwrap_or_else(|_| text.into());
    }
    schema
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Int { min, max } => {
            scalar(json!({"type": "integer", "minimum": min, "maximum": max}))
        }
        Kind::Number => scalar(json!({"type": "number"})),
        Kind::Bool => scalar(json!({"type": "boolean"})),
        Kind::Char => text("^[\t -~]$"),
        Kind::Text | Kind::Expr => json!({"type": ["string", "number", "boolean"]}),
        Kind::Name => text(&format!("^[a-z][a-z0-9-]{{0,{}}}$", NAME_CHARS_MAX - 1)),
        Kind::TopicName => text("^[A-Za-z0-9_|%-]{1,127}$"),
        Kind::Instant => json!({"type": "string", "examples": [kind.example()]}),
        Kind::Duration { .. } => with_unit(DURATION_UNITS),
        Kind::Percent => text(r"^[0-9]+(\.[0-9]+)?%$"),
        Kind::Size { .. } => with_unit(SIZE_UNITS),
        Kind::Choice(choices) => scalar(json!({"enum": choices})),
        Kind::OrNone(kind) => json!({"anyOf": [{"const": "none"}, of_kind(kind)]}),
        Kind::List(kind) => json!({"type": "array", "items": of_kind(kind)}),
        Kind::Map(_, kind) => {
            json!({"type": "object", "additionalProperties": of_kind(kind)})
        }
        Kind::Table(table) => of_table(table),
        Kind::OneOf(all) => of_components(all),
        Kind::Json => json!({}),
        Kind::Either(short, long) => json!({"anyOf": [of_kind(short), of_kind(long)]}),
    }
}

/// A scalar, or where in the environment it is found.
fn scalar(schema: Value) -> Value {
    json!({"anyOf": [schema, {"$ref": "#/$defs/from_environment"}]})
}

fn text(pattern: &str) -> Value {
    scalar(json!({"type": "string", "pattern": pattern}))
}

fn with_unit(units: &[(&str, u64)]) -> Value {
    let units: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    text(&format!("^[0-9]+({})$", units.join("|")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_schema_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipeline.schema.json");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let current = format!("{:#}\n", json_schema());
        if written != current {
            std::fs::write(&path, current).unwrap();
            panic!("pipeline.schema.json was stale and has been rewritten; look and commit it");
        }
    }
}
