//! Parameters against the schema of the manifest.

use serde_json::{Map, Value};

use crate::manifest::Manifest;

/// The first parameter with which something is wrong, and what; or `None`. Only the part of JSON Schema is looked at that
/// [`Manifest::params`] names; the module itself has the last word.
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
    let open = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    for (name, value) in params {
        match properties.and_then(|properties| properties.get(name)) {
            Some(property) => {
                if let Some(expected) = property.get("type").and_then(Value::as_str)
                    && !is_of(expected, value)
                {
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

fn is_of(expected: &str, value: &Value) -> bool {
    match expected {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        // A type that JSON Schema does not have is left to the module.
        _ => true,
    }
}
