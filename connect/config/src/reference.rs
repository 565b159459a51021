//! The schema tables as a document.

use crate::keys;
use crate::table::{Components, Field, Kind, Need, Table, list_or};

/// Every key of a pipeline file with its type, its default and its meaning, as Markdown.
pub fn reference() -> String {
    let mut document = Document { text: HEAD.to_owned(), todo: Vec::new(), done: 0 };
    document.write_table("", &keys::PIPELINE);
    while let Some((path, part)) = document.todo.get(document.done).cloned() {
        document.done += 1;
        match part {
            Part::Table(table) => document.write_table(&path, table),
            Part::Components(all) => document.write_components(&path, all),
        }
    }
    document.text
}

const HEAD: &str = "\
# Pipeline files: every key

A key that is not here is an error, except those that begin with `x-`, which are notes. A text may
take values from the environment, with `${env:NAME}` or `${env:NAME:-default}`; an expression may
not. This page is made from the tables in `src/keys.rs`.
";

#[derive(Clone, Copy)]
enum Part {
    Table(&'static Table),
    Components(&'static Components),
}

struct Document {
    text: String,
    /// The sections by their path in a pipeline file, each part once.
    todo: Vec<(String, Part)>,
    done: usize,
}

impl Document {
    fn write_table(&mut self, path: &str, table: &'static Table) {
        let title = if path.is_empty() { "The top level".into() } else { format!("`{path}`") };
        self.text.push_str(&format!("\n## {title}\n\n{}\n\n", table.doc));
        self.text.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
        for field in table.fields {
            let default = match field.need {
                Need::Required => "required".to_owned(),
                Need::Optional => "none".to_owned(),
                Need::Default(text) => format!("`{text}`"),
            };
            self.write_row(field, Some(&default));
            self.visit(&join(path, field.name), &field.kind);
        }
        if let Some(all) = table.components {
            self.text.push_str(&format!("\nBeside them there is exactly one {}:\n\n", all.noun));
            self.write_component_rows(path, all);
        }
    }

    fn write_components(&mut self, path: &str, all: &'static Components) {
        self.text.push_str(&format!("\n## `{path}`\n\nExactly one of these.\n\n"));
        self.write_component_rows(path, all);
    }

    fn write_component_rows(&mut self, path: &str, all: &'static Components) {
        self.text.push_str("| Key | Type | Meaning |\n|---|---|---|\n");
        for field in all.fields {
            self.write_row(field, None);
            self.visit(&join(path, field.name), &field.kind);
        }
    }

    fn write_row(&mut self, field: &Field, default: Option<&str>) {
        let default = default.map_or(String::new(), |default| format!(" {default} |"));
        let kind = type_name(&field.kind);
        self.text.push_str(&format!("| `{}` | {kind} |{default} {} |\n", field.name, field.doc));
    }

    /// Notes the sections that a kind needs.
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
        Kind::Text => "text".into(),
        Kind::Name => "name: `a-z`, `0-9` and `-`, at most 48".into(),
        Kind::TopicName => "topic name".into(),
        Kind::Instant => "instant, as in `2026-01-02T03:04:05Z`".into(),
        Kind::Duration { .. } => "duration".into(),
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
    use super::*;
    use std::path::Path;

    #[test]
    fn the_reference_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let current = reference();
        if written != current {
            std::fs::write(&path, current).unwrap();
            panic!("REFERENCE.md was stale and has been rewritten; look at it and commit it");
        }
    }
}
