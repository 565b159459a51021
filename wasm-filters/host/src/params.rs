//! Parameters against the schema of the manifest.

use serde_json::{Map, Value};

use crate::manifest::Manifest;

/// The first parameter with which something is wrong, and what; or `None`. Only the part of JSON
/// Schema is looked at that [`Manifest::params`] names; the module itself has the last word.
pub(crate) fn mistake(
    manifest: &Manifest,
    params: &Map<String, Value>,
) -> Option<(String, String)> {
    let Some(schema) = &manifest.params else {
        let first = params.keys().next()?;
        let reason = format!("there is no parameter `{first}`: the filter takes none");
        return Some((first.clone(), reason));
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !params.contains_key(name) {
            return Some((name.to_owned(), format!("the parameter `{name}` is missing")));
        }
    }
    let open = is_open(schema);
    for (name, value) in params {
        match properties.and_then(|properties| properties.get(name)) {
            Some(property) => {
                let expected = types(property).unwrap_or_default();
                if !expected.is_empty() && !expected.iter().any(|kind| is_of(kind, value)) {
                    let expected = expected.join("` or `");
                    let reason = format!("the parameter `{name}` must be of type `{expected}`");
                    return Some((name.clone(), reason));
                }
            }
            None if open => {}
            None => {
                let known = properties.into_iter().flat_map(Map::keys).map(String::as_str);
                let known = known.collect::<Vec<_>>().join(", ");
                let reason = format!("there is no parameter `{name}`; known: {known}");
                return Some((name.clone(), reason));
            }
        }
    }
    None
}

/// Whether parameters may be given that the schema does not name.
fn is_open(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false))
}

/// The types that JSON Schema has.
const TYPES: [&str; 7] = ["string", "integer", "number", "boolean", "array", "object", "null"];

/// The types that a parameter may be of, none for any; or `None` if there is another one among them.
fn types(property: &Value) -> Option<Vec<&str>> {
    let types = match property.get("type") {
        None => Vec::new(),
        Some(Value::Array(types)) => types.iter().map(Value::as_str).collect::<Option<_>>()?,
        Some(one) => vec![one.as_str()?],
    };
    types.iter().all(|kind| TYPES.contains(kind)).then_some(types)
}

/// Why no parameters can ever be right, or anything would be; or `None` if the schema is sound.
pub(crate) fn unusable(schema: &Map<String, Value>) -> Option<String> {
    let none = Map::new();
    let properties = match schema.get("properties") {
        None => &none,
        Some(Value::Object(properties)) => properties,
        Some(_) => return Some("`properties` of its `params` must be an object".to_owned()),
    };
    for (name, property) in properties {
        if types(property).is_none() {
            let (found, known) = (&property["type"], TYPES.join(", "));
            return Some(format!(
                "the parameter `{name}` has the type {found}, which JSON Schema does not have; \
                 there are {known}"
            ));
        }
    }
    let required = match schema.get("required") {
        None => &[][..],
        Some(Value::Array(names)) if names.iter().all(Value::is_string) => names,
        Some(_) => return Some("`required` of its `params` must be a list of names".to_owned()),
    };
    let mut required = required.iter().filter_map(Value::as_str);
    let unknown = required.find(|name| !properties.contains_key(*name) && !is_open(schema))?;
    Some(format!(
        "the parameter `{unknown}` is required, and `properties` of its `params` does not have it, \
         so it can never be given: add `\"properties\": {{\"{unknown}\": {{\"type\": \"string\"}}}}`, \
         or the type that it has"
    ))
}

/// What is wrong with the `params` of a manifest that is no JSON, if all before them is.
///
/// The crate for Rust puts the text of the attribute there as it stands, so that the place within it
/// is what its author can look up.
pub(crate) fn no_json(manifest: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\"params\":";
    let at = manifest.windows(KEY.len()).position(|bytes| bytes == KEY)? + KEY.len();
    let (before, params) = manifest.split_at(at);
    let is_sound = |manifest: &[u8]| serde_json::from_slice::<Value>(manifest).is_ok();
    if !is_sound(&[before, b"null}"].concat()) {
        return None;
    }
    let params = params.strip_suffix(b"}").unwrap_or(params);
    let error = serde_json::from_slice::<Value>(params).err()?;
    Some(format!("its `params`, in Rust those of `#[init(params = ...)]`, are no JSON: {error}"))
}

fn is_of(expected: &str, value: &Value) -> bool {
    match expected {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // The manifest was not taken with any other.
        _ => false,
    }
}
