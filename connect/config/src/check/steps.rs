mod cast; // columns that get other types
mod split; // rows of elements

use std::collections::BTreeMap;

use serde_json::Map;

use super::columns::{Available, columns};
use super::names::{Scope, is_plain_name};
use super::schema::COLUMNS_MAX;
use crate::code;
use crate::keys;
use crate::model::{DedupeSpec, OnUnknown, RenamedColumn, SetColumn, StepSpec, WasmSpec};
use crate::parse;
use crate::read::{Chosen, Entry, Reader};
use crate::text::Span;
use crate::yaml::{Key, Value};

pub(super) use split::kept as kept_by_split;

/// Whose steps they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    AllSinks,
    OneSink,
}

/// The steps in order. Their columns become names in `scope`. One with a mistake in its settings
/// is among them where later steps have to know of it; there is no pipeline then.
pub(super) fn steps(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &mut Scope,
    before: Before,
) -> Vec<StepSpec> {
    let Some(items) = reader.items(entry) else {
        scope.any_bare_name();
        return Vec::new();
    };
    let mut steps = Vec::new();
    let mut beside = split::Beside::of(&items);
    for item in &items {
        let chosen = reader.choose(&keys::STEPS, &item.at, item.node).unwrap_or_default();
        let named = match &item.node.value {
            Value::Map(map) => map.iter().filter(|(key, _)| !key.text.starts_with("x-")).count(),
            Value::Scalar(_) | Value::Seq(_) | Value::Alias => 1,
        };
        if chosen.len() < named.max(1) {
            // Whatever was meant may have defined any column, and given others other types.
            scope.any_bare_name();
            scope.any_type();
        }
        for Chosen { name, entry } in &chosen {
            match *name {
                "split" | "dedupe" if before == Before::OneSink => {
                    let message = format!("`{name}` is a step before all sinks");
                    let help = "move it into the pipeline's own `steps`";
                    reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
                }
                "split" => {
                    let split = split::split(reader, entry, scope, &steps, &mut beside);
                    steps.extend(split);
                }
                "filter" => steps.extend(filter(reader, entry, scope)),
                "dedupe" => steps.extend(dedupe(reader, entry, scope, &steps)),
                "wasm" => {
                    scope.other_properties();
                    steps.extend(wasm(reader, entry));
                }
                "drop" => steps.extend(drop_columns(reader, entry, scope)),
                "keep" => steps.extend(keep(reader, entry, scope)),
                "rename" => steps.extend(rename(reader, entry, scope)),
                "cast" => steps.extend(cast::cast(reader, entry, scope)),
                "sample" => steps.extend(sample(reader, entry)),
                _ => steps.extend(set(reader, entry, scope)),
            }
        }
    }
    steps
}

fn filter(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &Scope) -> Option<StepSpec> {
    let Value::Map(_) = entry.node.value else {
        let condition = scope.condition(reader, entry)?;
        scope.compare_with_subscription(reader, entry, &condition);
        return Some(StepSpec::Filter { condition, on_unknown: OnUnknown::Reject });
    };
    let fields = reader.fields(&keys::FILTER, &entry.at, entry.node)?;
    let condition = fields.get("where").and_then(|entry| scope.condition(reader, entry));
    let on_unknown = reader.value(&fields, "on_unknown", parse::choice);
    let on_unknown = on_unknown.map_or(OnUnknown::Dlq, |choice| {
        [OnUnknown::Reject, OnUnknown::Keep, OnUnknown::Dlq][choice]
    });
    // A subscription has no other use for what is neither true nor false.
    if let (OnUnknown::Reject, Some(entry), Some(condition)) =
        (on_unknown, fields.get("where"), &condition)
    {
        scope.compare_with_subscription(reader, entry, condition);
    }
    Some(StepSpec::Filter { condition: condition?, on_unknown })
}

fn dedupe(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    scope: &Scope,
    steps: &[StepSpec],
) -> Option<StepSpec> {
    let is_second = steps.iter().any(|step| matches!(step, StepSpec::Dedupe(_)));
    if is_second {
        let message = "a pipeline looks for duplicates once";
        reader.error(code::KEY_CONFLICT, &entry.at.span, message, "delete one of the two steps");
    }
    let fields = reader.table(entry)?;
    let by = fields.get("by").and_then(|entry| scope.typed_expression(reader, entry));
    let within = fields.get("within").map(|entry| reader.scalar(entry, parse::duration));
    let offsets = fields.get("offsets").map(|entry| reader.scalar(entry, parse::int));
    let max_keys = reader.value(&fields, "max_keys", parse::int);
    let is_misspelled = fields.is_misspelled("within") || fields.is_misspelled("offsets");
    if within.is_none() && offsets.is_none() && !is_misspelled {
        let message = "`dedupe` has no window";
        let help = "add `within: 10m`, or `offsets: 10000`";
        reader.error(code::KEY_MISSING, &entry.at.span, message, help);
        return None;
    }
    let spec = DedupeSpec {
        by: by?.0,
        offsets: offsets.flatten().map(|offsets| u64::try_from(offsets).unwrap_or(u64::MAX)),
        within: within.flatten(),
        max_keys: max_keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(usize::MAX),
    };
    (!is_second).then_some(StepSpec::Dedupe(spec))
}

/// Where a `dedupe` step stands.
pub(super) fn dedupe_at<'n>(steps: &Entry<'n>) -> Option<&'n Span> {
    step_at(steps, "dedupe")
}

/// Where a `split` step stands.
pub(super) fn split_at<'n>(steps: &Entry<'n>) -> Option<&'n Span> {
    step_at(steps, "split")
}

fn step_at<'n>(steps: &Entry<'n>, name: &str) -> Option<&'n Span> {
    let Value::Seq(items) = &steps.node.value else { return None };
    items.iter().find_map(|item| match &item.value {
        Value::Map(map) => map.iter().find(|(key, _)| key.text == name).map(|(key, _)| &key.span),
        Value::Scalar(_) | Value::Seq(_) | Value::Alias => None,
    })
}

fn wasm(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<StepSpec> {
    let fields = reader.table(entry)?;
    let module = reader.value(&fields, "module", parse::text);
    let (mut params, mut param_at) = (Map::new(), BTreeMap::new());
    let mut is_whole = true;
    let given = fields.get("params");
    if let Some(entry) = given {
        for (key, value) in reader.map(entry)? {
            param_at.insert(key.text.clone(), key.span.clone());
            match reader.json(&value) {
                Some(value) => drop(params.insert(key.text.clone(), value)),
                None => is_whole = false,
            }
        }
    }
    let module_at = fields.get("module")?.node.span.clone();
    let params_at = given.map(|entry| entry.at.span.clone());
    let spec = WasmSpec { module: module?.into(), module_at, params, params_at, param_at };
    reader.modules.push(spec.clone());
    is_whole.then_some(StepSpec::Wasm(spec))
}

fn set(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &mut Scope) -> Option<StepSpec> {
    let Some(map) = reader.map(entry) else {
        scope.any_bare_name();
        return None;
    };
    if entry.node.has_more() {
        scope.any_bare_name();
    }
    if scope.set_columns() + map.len() > COLUMNS_MAX {
        let message = format!("steps may set {COLUMNS_MAX} columns, and here they become more");
        reader.error(code::RANGE, &entry.at.span, message, "set fewer columns");
        scope.any_bare_name();
        return None;
    }
    let mut columns = Vec::new();
    for (key, value) in &map {
        let typed = scope.typed_expression(reader, value);
        let legal = column_name(reader, key, scope, &[]);
        scope.define_set(&key.text, typed.as_ref().map(|(_, data_type)| *data_type));
        if let (true, Some((value, data_type))) = (legal, typed) {
            columns.push(SetColumn { name: key.text.clone(), value, data_type });
        }
    }
    (columns.len() == map.len()).then_some(StepSpec::Set(columns))
}

fn drop_columns(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &mut Scope) -> Option<StepSpec> {
    let listed = columns(reader, entry, &Available::of(scope));
    listed.columns.iter().for_each(|column| scope.take_out(&column.name));
    listed.whole.then_some(StepSpec::Drop)
}

fn keep(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &mut Scope) -> Option<StepSpec> {
    let available = Available::of(scope);
    let listed = columns(reader, entry, &available);
    if listed.whole && listed.columns.is_empty() {
        let first = available.columns.first().map_or("id", |(name, _)| name.as_str());
        let help = format!("name what stays, for example `keep: [{first}]`");
        reader.error(code::RANGE, &entry.node.span, "`keep` leaves no column", help);
        return None;
    }
    if !listed.whole {
        // Nobody knows which ones were meant to stay.
        return None;
    }
    for (name, _) in &available.columns {
        if !listed.columns.iter().any(|column| column.name == *name) {
            scope.take_out(name);
        }
    }
    Some(StepSpec::Drop)
}

fn rename(reader: &mut Reader<'_>, entry: &Entry<'_>, scope: &mut Scope) -> Option<StepSpec> {
    let Some(map) = reader.map(entry) else {
        scope.any_bare_name();
        return None;
    };
    if entry.node.has_more() {
        scope.any_bare_name();
    }
    let available = Available::of(scope);
    let mut columns: Vec<RenamedColumn> = Vec::new();
    let mut unnamed: Vec<&str> = Vec::new();
    let mut defined = Vec::new();
    // Their names are free for others of the same step.
    let renamed = map.iter().filter_map(|(key, _)| available.find(&key.text));
    let renamed: Vec<&str> = renamed.map(|(name, _)| name.as_str()).collect();
    for (key, value) in &map {
        let found = available.find(&key.text);
        if found.is_none() && !available.open {
            available.refuse(reader, &key.text, &key.span);
        }
        let to = reader.scalar(value, parse::text);
        let Some(to) = to else {
            // Nobody knows what it was meant to be called.
            scope.any_bare_name();
            unnamed.extend(found.map(|(name, _)| name.as_str()));
            continue;
        };
        let new = Key { text: to, span: value.node.span.clone() };
        let is_same = found.is_some_and(|(name, _)| *name == new.text);
        let free = if is_same { &[][..] } else { &renamed[..] };
        let is_there = |(name, _): &(String, _)| *name == new.text && !free.contains(&&**name);
        let is_new = !available.columns.iter().any(is_there)
            && !columns.iter().any(|column| column.to == new.text);
        let legal = column_name(reader, &new, scope, free);
        if legal && !is_new {
            let message = format!("there is a column `{}` already", new.text);
            reader.error(code::COLUMN_TWICE, &new.span, message, "choose another name");
        }
        defined.push((new.text.clone(), found.and_then(|(_, data_type)| *data_type)));
        if let (Some((name, _)), true, true) = (found, legal, is_new) {
            columns.push(RenamedColumn { from: name.clone(), to: new.text });
        }
    }
    scope.rename(&columns);
    unnamed.into_iter().for_each(|name| scope.take_out(name));
    defined.iter().for_each(|(name, data_type)| scope.define_set(name, *data_type));
    Some(StepSpec::Rename(columns))
}

fn sample(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<StepSpec> {
    let rate = reader.scalar(entry, parse::number)?;
    if !(0.0..=1.0).contains(&rate) {
        let message = format!("a share is from 0 to 1, found {rate}");
        reader.error(code::RANGE, &entry.node.span, message, "write `0.1` for one of ten");
    }
    Some(StepSpec::Sample { rate })
}

/// Whether a step can give a column this name; those of columns that it renames are `free`.
fn column_name(reader: &mut Reader<'_>, key: &Key, scope: &mut Scope, free: &[&str]) -> bool {
    let Key { span, text } = key;
    let mut refuse = |code, span: &Span, message, help: &str| {
        reader.error(code, span, message, help);
        false
    };
    if !is_plain_name(text) {
        scope.refuse_name(text);
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
    if scope.is_body_column(text) && !free.contains(&text.as_str()) {
        let message = format!("the body already has a column `{text}`");
        let help = "choose another name, or `drop` or `rename` the column of the body before";
        return refuse(code::COLUMN_TWICE, span, message, help);
    }
    true
}
