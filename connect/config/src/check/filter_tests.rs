use serde_json::{Map, Value as Json};

use crate::code;
use crate::keys;
use crate::model::{FilterRecord, FilterTest, FilterTests, FilterVerdict};
use crate::parse;
use crate::read::{At, Entry, Fields, Reader};
use crate::yaml::Node;

/// The tests of a module; only if the reader has no mistake to report.
pub(crate) fn filter_tests(reader: &mut Reader<'_>, root: &Node) -> Option<FilterTests> {
    let fields = reader.fields(&keys::FILTER_TESTS, &At::whole_file(), root)?;
    let module = reader.value(&fields, "module", parse::text);
    let mut tests: Vec<FilterTest> = Vec::new();
    if let Some(entry) = fields.get("tests") {
        for item in reader.items(entry).unwrap_or_default() {
            let Some(fields) = reader.table(&item) else { continue };
            let test = filter_test(reader, &fields);
            if let (Some(test), Some(name)) = (&test, fields.get("name"))
                && tests.iter().any(|other| other.name == test.name)
            {
                let message = format!("another test is called {:?}", test.name);
                reader.error(code::NAME_TAKEN, &name.node.span, message, "choose another name");
            }
            tests.extend(test);
        }
    }
    reader.mistakes.is_empty().then_some(FilterTests { module: module?.into(), tests })
}

fn filter_test(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FilterTest> {
    let name = reader.value(fields, "name", parse::text);
    let mut params = Map::new();
    if let Some(entry) = fields.get("params") {
        for (key, value) in reader.map(entry).unwrap_or_default() {
            if let Some(value) = reader.json(&value) {
                params.insert(key.text.clone(), value);
            }
        }
    }
    let mut records = Vec::new();
    if let Some(entry) = fields.get("records") {
        for item in reader.items(entry).unwrap_or_default() {
            let fields = reader.table(&item);
            records.extend(fields.and_then(|fields| record(reader, &fields)));
        }
    }
    Some(FilterTest { name: name?, params, records })
}

fn record(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<FilterRecord> {
    let key = fields.get("key").and_then(|entry| reader.scalar(entry, parse::text));
    let tag = fields.get("tag").and_then(|entry| reader.scalar(entry, parse::text));
    let mut properties = Vec::new();
    if let Some(entry) = fields.get("props") {
        for (name, value) in reader.map(entry).unwrap_or_default() {
            let value = reader.scalar(&value, parse::text);
            properties.extend(value.map(|value| (name.text.clone(), value)));
        }
    }
    let with = fields.get("with").map(|entry| bodies(reader, entry));
    let error = fields.get("error").and_then(|entry| reader.scalar(entry, parse::text));
    let expect = reader.value(fields, "expect", parse::choice).map(|at| keys::VERDICTS[at]);
    for (name, only) in [("with", "replace"), ("error", "fail")] {
        if let (Some(entry), Some(expect)) = (fields.get(name), expect)
            && expect != only
        {
            let message = format!("there is no `{name}` where a record is to {expect}");
            let help = format!("delete it, or write `expect: {only}`");
            reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
        }
    }
    let expect = match expect? {
        "keep" => FilterVerdict::Keep,
        "drop" => FilterVerdict::Drop,
        "replace" => FilterVerdict::Replace(with),
        _ => FilterVerdict::Fail(error),
    };
    let chosen = fields.component.as_ref()?;
    let body = match chosen.name {
        "body" => reader.json(&chosen.entry)?.to_string(),
        _ => reader.scalar(&chosen.entry, parse::text)?,
    };
    Some(FilterRecord { body, key, tag, properties, expect })
}

/// Bodies: texts stand for themselves, everything else is JSON.
fn bodies(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<String> {
    let items = reader.items(entry).unwrap_or_default();
    items.iter().filter_map(|item| reader.json(item)).map(|value| text_of(&value)).collect()
}

fn text_of(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
