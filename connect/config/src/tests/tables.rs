use millrace_connect_api::DataType;

use crate::keys;
use crate::parse;
use crate::table::{Components, Field, Kind, Need, Table};

/// Calls `visit` with every key there is, its siblings, and the siblings of later versions.
fn each_field(visit: &mut dyn FnMut(&'static Field, &[&str])) {
    each_in_table(&keys::PIPELINE, visit);
}

fn each_in_table(table: &'static Table, visit: &mut dyn FnMut(&'static Field, &[&str])) {
    for field in table.fields {
        visit(field, table.later);
        each_in_kind(&field.kind, visit);
    }
    if let Some(all) = table.components {
        each_in_components(all, visit);
    }
}

fn each_in_components(all: &'static Components, visit: &mut dyn FnMut(&'static Field, &[&str])) {
    for field in all.fields {
        visit(field, all.later);
        each_in_kind(&field.kind, visit);
    }
}

fn each_in_kind(kind: &'static Kind, visit: &mut dyn FnMut(&'static Field, &[&str])) {
    match kind {
        Kind::Table(table) => each_in_table(table, visit),
        Kind::OneOf(all) => each_in_components(all, visit),
        Kind::Map(_, kind) | Kind::List(kind) | Kind::OrNone(kind) => each_in_kind(kind, visit),
        Kind::Either(short, long) => {
            each_in_kind(short, visit);
            each_in_kind(long, visit);
        }
        _ => {}
    }
}

/// Whether a text is a value of its kind. Lists and maps are not looked into.
fn fits(kind: &Kind, text: &str) -> bool {
    match kind {
        Kind::Int { .. } => parse::int(kind, text).is_ok(),
        Kind::Number => parse::number(kind, text).is_ok(),
        Kind::Bool => parse::bool(kind, text).is_ok(),
        Kind::Char => parse::char(kind, text.trim_matches('"')).is_ok() || text == "\"",
        Kind::Duration { .. } => parse::duration(kind, text).is_ok(),
        Kind::Size { .. } => parse::size(kind, text).is_ok(),
        Kind::Percent => parse::percent(kind, text).is_ok(),
        Kind::Choice(_) => parse::choice(kind, text).is_ok(),
        Kind::OrNone(kind) => text == "none" || fits(kind, text),
        Kind::Either(short, _) => fits(short, text),
        Kind::Instant => parse::instant(kind, text).is_ok(),
        Kind::List(_) => text == "[]",
        Kind::OneOf(_) => text == "{json: {}}",
        Kind::Text | Kind::Name | Kind::TopicName | Kind::Expr | Kind::Json => true,
        Kind::Table(_) => text.starts_with('{'),
        Kind::Map(..) => false,
    }
}

#[test]
fn defaults_and_examples_are_values_of_their_kind() {
    let mut defaults = 0;
    each_field(&mut |field, _| {
        if let Need::Default(text) = field.need {
            defaults += 1;
            assert!(fits(&field.kind, text), "`{}: {text}`", field.name);
        }
        let example = field.kind.example();
        if !example.contains('…') && !matches!(field.kind, Kind::List(_)) {
            assert!(fits(&field.kind, &example), "`{}: {example}`", field.name);
        }
    });
    assert!(defaults > 20, "{defaults}");
}

#[test]
fn every_key_says_what_it_means() {
    each_field(&mut |field, _| {
        assert!(field.doc.ends_with('.'), "`{}`: {}", field.name, field.doc);
        assert!(!field.doc.contains('|'), "`{}` breaks its table", field.name);
    });
}

#[test]
fn what_is_here_is_not_for_later() {
    each_field(&mut |field, later| {
        assert!(!later.contains(&field.name), "`{}` is both", field.name);
    });
}

#[test]
fn the_types_of_columns_are_those_of_the_connectors() {
    assert_eq!(keys::TYPES, DataType::NAMES.map(|(name, _)| name));
}
