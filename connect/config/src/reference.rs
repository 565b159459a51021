//! The schema tables for people.

use crate::keys;
use crate::table::{Components, Field, Kind, Need, Table, list_or};

/// What there is at one place of a pipeline file.
#[derive(Clone, Debug)]
pub struct Section {
    /// The place, as in `sinks.<sink>.parquet`; nothing for the top level.
    pub path: String,
    /// What it is.
    pub doc: &'static str,
    /// Its keys.
    pub keys: Vec<Row>,
    /// Keys of which there is exactly one beside them, and what they are called.
    pub components: Vec<Row>,
    /// What one of those is called, for instance `sink`.
    pub noun: &'static str,
}

/// One key.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: String,
    /// What holds without it. Nothing for a component, which has no default.
    pub default: Option<&'static str>,
    /// Whether the place needs it.
    pub is_required: bool,
    /// What it means.
    pub doc: &'static str,
}

/// Every place of a pipeline file, in the order in which one reads them.
pub fn sections() -> Vec<Section> {
    let mut places = Places { todo: vec![(String::new(), Part::Table(&keys::PIPELINE))] };
    let mut sections = Vec::new();
    while let Some((path, part)) = places.todo.get(sections.len()).cloned() {
        let (doc, fields, components) = match part {
            Part::Table(table) => (table.doc, table.fields, table.components),
            Part::Components(all) => ("Exactly one of these.", &[][..], Some(all)),
        };
        let others = components.map_or(&[][..], |all| all.fields);
        for field in fields.iter().chain(others) {
            places.visit(&join(&path, field.name), &field.kind);
        }
        sections.push(Section {
            path,
            doc,
            keys: fields.iter().map(row).collect(),
            components: others.iter().map(row).collect(),
            noun: components.map_or("", |all| all.noun),
        });
    }
    sections
}

fn row(field: &Field) -> Row {
    let (default, is_required) = match field.need {
        Need::Required => (None, true),
        Need::Optional => (None, false),
        Need::Default(text) => (Some(text), false),
    };
    let kind = type_name(&field.kind);
    Row { name: field.name, kind, default, is_required, doc: field.doc }
}

#[derive(Clone, Copy)]
enum Part {
    Table(&'static Table),
    Components(&'static Components),
}

/// The places by their path, each part once.
struct Places {
    todo: Vec<(String, Part)>,
}

impl Places {
    /// Notes the places that a kind has.
    fn visit(&mut self, path: &str, kind: &'static Kind) {
        match kind {
            Kind::Table(table) if !table.fields.is_empty() => self.add(path, Part::Table(table)),
            Kind::OneOf(all) => self.add(path, Part::Components(all)),
            Kind::Map(noun, kind) => self.visit(&join(path, &format!("<{noun}>")), kind),
            Kind::List(kind) | Kind::OrNone(kind) => self.visit(path, kind),
            Kind::Either(short, long) => {
                self.visit(path, short);
                self.visit(path, long);
            }
            _ => {}
        }
    }

    fn add(&mut self, path: &str, part: Part) {
        let known = self.todo.iter().any(|(_, other)| match (other, &part) {
            (Part::Table(a), Part::Table(b)) => std::ptr::eq(*a, *b),
            (Part::Components(a), Part::Components(b)) => std::ptr::eq(*a, *b),
            _ => false,
        });
        if !known {
            self.todo.push((path.to_owned(), part));
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Int { .. } => "whole number".into(),
        Kind::Number => "number".into(),
        Kind::Bool => "`true` or `false`".into(),
        Kind::Char => "one character".into(),
        Kind::Text => "text".into(),
        Kind::Name => "name: `a-z`, `0-9` and `-`, at most 48".into(),
        Kind::TopicName => "topic name".into(),
        Kind::Instant => "instant, as in `2026-01-02T03:04:05Z`".into(),
        Kind::Duration { .. } => "duration".into(),
        Kind::Percent => "share".into(),
        Kind::Size { .. } => "size".into(),
        Kind::Choice(choices) => list_or(choices),
        Kind::OrNone(kind) => format!("{}, or `none`", type_name(kind)),
        Kind::Expr => "expression".into(),
        Kind::List(kind) => format!("list, each: {}", type_name(kind)),
        Kind::Map(noun, kind) => format!("map from {noun}: {}", type_name(kind)),
        Kind::Table(table) if table.fields.is_empty() => "`{}`".into(),
        Kind::Table(_) => "map".into(),
        Kind::OneOf(all) => format!("one {}", all.noun),
        Kind::Json => "any".into(),
        Kind::Either(short, long) => format!("{}; or {}", type_name(short), type_name(long)),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    const HEAD: &str = "\
# Pipeline files: every key

A key that is not here is an error, except those that begin with `x-`, which are notes. A text may
take values from the environment, with `${env:NAME}` or `${env:NAME:-default}`; an expression may
not. This page is made from the tables in `src/keys.rs`; `millrace docs KEY` shows parts of it.
";

    fn page() -> String {
        let mut page = HEAD.to_owned();
        for Section { path, doc, keys, components, noun } in sections() {
            let title = if path.is_empty() { "The top level".into() } else { format!("`{path}`") };
            write!(page, "\n## {title}\n\n{doc}\n\n").unwrap();
            if !keys.is_empty() {
                page.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
            }
            for Row { name, kind, default, is_required, doc } in &keys {
                let without = if *is_required { "required" } else { "none" };
                let default = default.map_or(without.to_owned(), |text| format!("`{text}`"));
                writeln!(page, "| `{name}` | {kind} | {default} | {doc} |").unwrap();
            }
            if components.is_empty() {
                continue;
            }
            if !keys.is_empty() {
                write!(page, "\nBeside them there is exactly one {noun}:\n\n").unwrap();
            }
            page.push_str("| Key | Type | Meaning |\n|---|---|---|\n");
            for Row { name, kind, doc, .. } in &components {
                writeln!(page, "| `{name}` | {kind} | {doc} |").unwrap();
            }
        }
        page
    }

    #[test]
    fn the_reference_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let current = page();
        if written != current {
            std::fs::write(&path, current).unwrap();
            panic!("REFERENCE.md was stale and has been rewritten; look at it and commit it");
        }
    }
}
