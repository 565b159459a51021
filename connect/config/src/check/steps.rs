use serde_json::Map;

use super::names::{Scope, is_plain_name};
use super::schema::COLUMNS_MAX;
use crate::code;
use crate::keys;
use crate::model::{OnUnknown, SetColumn, StepSpec, WasmSpec};
use crate::parse;
use crate::read::{Chosen, Entry, Reader};
use crate::text::Span;
use crate::yaml::{Key, Value};

/// The steps in order. Their columns become names in `scope`.
pub(super) fn steps(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &mut Scope,
) -> Vec<StepSpec> {
    let Some(items) = reader.items(entry) else {
        scope.any_bare_name();
        return Vec::new();
    };
    let mut steps = Vec::new();
    for item in &items {
        let chosen = reader.choose(&keys::STEPS, &item.at, item.node).unwrap_or_default();
        let named = match &item.node.value {
            Value::Map(map) => map.iter().filter(|(key, _)| !key.text.starts_with("x-")).count(),
            Value::Scalar(_) | Value::Seq(_) => 1,
        };
        if chosen.len() < named.max(1) {
            // Whatever was meant may have defined any column.
            scope.any_bare_name();
        }
        for Chosen { name, entry } in &chosen {
            match *name {
                "filter" => steps.extend(filter(reader, entry, scope)),
                "wasm" => steps.extend(wasm(reader, entry)),
                _ => steps.extend(set(reader, entry, scope)),
            }
        }
    }
    steps
}

fn filter(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &Scope) -> Option<StepSpec> {
    let Value::Map(_) = entry.node.value else {
        let condition = scope.condition(reader, entry)?;
        return Some(StepSpec::Filter { condition, on_unknown: OnUnknown::Reject });
    };
    let fields = reader.fields(&keys::FILTER, &entry.at, entry.node)?;
    let condition = fields.get("where").and_then(|entry| scope.condition(reader, entry));
    let on_unknown = reader.value(&fields, "on_unknown", parse::choice);
    Some(StepSpec::Filter {
        condition: condition?,
        on_unknown: [OnUnknown::Reject, OnUnknown::Keep, OnUnknown::Dlq][on_unknown?],
    })
}

fn wasm(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<StepSpec> {
    let fields = reader.table(entry)?;
    let module = reader.value(&fields, "module", parse::text);
    let mut params = Map::new();
    let mut is_whole = true;
    if let Some(entry) = fields.get("params") {
        for (key, value) in reader.map(entry)? {
            match reader.json(&value) {
                Some(value) => drop(params.insert(key.text.clone(), value)),
                None => is_whole = false,
            }
        }
    }
    let module_at = fields.get("module")?.node.span.clone();
    let spec = WasmSpec { module: module?.into(), module_at, params };
    is_whole.then(|| {
        reader.modules.push(spec.clone());
        StepSpec::Wasm(spec)
    })
}

fn set(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &mut Scope) -> Option<StepSpec> {
    let Some(map) = reader.map(entry) else {
        scope.any_bare_name();
        return None;
    };
    if scope.set_columns() + map.len() > COLUMNS_MAX {
        let message = format!("steps may set {COLUMNS_MAX} columns, and here they become more");
        reader.error(code::RANGE, &entry.at.span, message, "set fewer columns");
        scope.any_bare_name();
        return None;
    }
    let mut columns = Vec::new();
    for (key, value) in &map {
        let typed = scope.typed_expression(reader, value);
        let legal = column_name(reader, key, scope);
        scope.define_set(&key.text, typed.as_ref().map(|(_, data_type)| *data_type));
        if let (true, Some((value, data_type))) = (legal, typed) {
            columns.push(SetColumn { name: key.text.clone(), value, data_type });
        }
    }
    (columns.len() == map.len()).then_some(StepSpec::Set(columns))
}

fn column_name(reader: &mut Reader<'_>, key: &Key, scope: &Scope) -> bool {
    let Key { span, text } = key;
    let mut refuse = |code, span: &Span, message, help: &str| {
        reader.error(code, span, message, help);
        false
    };
    if !is_plain_name(text) {
        let message = format!("`{text}` cannot be the name of a column");
        let help = "letters, digits and `_`, beginning with a letter; no word of the expression \
                    language";
        return refuse(code::NAME_SHAPE, span, message, help);
    }
    if Scope::is_reserved(text) {
        let message = format!("`{text}` already means something else");
        let help = "expressions read it of every message; choose another name";
        return refuse(code::NAME_TAKEN, span, message, help);
    }
    if scope.is_body_column(text) {
        let message = format!("the body already has a column `{text}`");
        let help = "a file cannot hold both; choose another name, and leave one out with `columns`";
        return refuse(code::COLUMN_TWICE, span, message, help);
    }
    true
}
