//! Puts `***` in the place of personal data in JSON bodies.

use millrace_wasm_guest::{Json, Out, Params, Record, Result, init, map};

/// Masks the values of these fields, wherever they stand in the body.
pub struct Mask {
    fields: Vec<String>,
    instead: String,
}

#[init(params = r#"{
    "required": ["fields"],
    "properties": {"fields": {"type": "array"}, "instead": {"type": "string"}}
}"#)]
fn init(params: Params<'_>) -> Result<Mask> {
    let fields = params.texts("fields")?;
    if fields.is_empty() {
        return Err("`fields` names no field to mask".to_owned());
    }
    let instead = params.text("instead")?.unwrap_or_else(|| "***".to_owned());
    if instead.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
        return Err("`instead` must be a text without quotes and backslashes".to_owned());
    }
    Ok(Mask { fields, instead: format!("\"{instead}\"") })
}

#[map(name = "mask", version = "1.0.0")]
fn mask(mask: &Mask, record: &Record<'_>, out: &mut Out<'_>) -> Result<()> {
    let body = Json::parse(record.body)?;
    let mut masked = Vec::with_capacity(record.body.len());
    let mut found = false;
    mask.copy(body, &mut masked, &mut found);
    match found {
        true => out.body(&masked).emit(),
        false => out.keep(),
    }
    Ok(())
}

impl Mask {
    /// Copies a value with all that is to be masked in it.
    fn copy(&self, value: Json<'_>, masked: &mut Vec<u8>, found: &mut bool) {
        if let Some(items) = value.items() {
            masked.push(b'[');
            for (number, item) in items.enumerate() {
                separate(number, masked);
                self.copy(item, masked, found);
            }
            masked.push(b']');
        } else if let Some(fields) = value.fields() {
            masked.push(b'{');
            for (number, (key, value)) in fields.enumerate() {
                separate(number, masked);
                masked.extend_from_slice(key.raw());
                masked.push(b':');
                let name = key.text();
                if self.fields.iter().any(|field| Some(field.as_str()) == name.as_deref()) {
                    masked.extend_from_slice(self.instead.as_bytes());
                    *found = true;
                } else {
                    self.copy(value, masked, found);
                }
            }
            masked.push(b'}');
        } else {
            masked.extend_from_slice(value.raw());
        }
    }
}

fn separate(number: usize, masked: &mut Vec<u8>) {
    if number > 0 {
        masked.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use millrace_wasm_guest::Outputs;

    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let params = Params::parse(r#"{"fields": ["email", "na\u006de"]}"#).unwrap();
        let mut outputs = Outputs::default();
        let record = Record { body: body.as_bytes(), ..Record::default() };
        mask(&init(params).unwrap(), &record, &mut outputs.of(0)).unwrap();
        let bodies = outputs.bodies().map(|body| std::str::from_utf8(body).unwrap());
        assert_eq!(bodies.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn fields_are_masked_at_any_depth() {
        check(r#"{"a": 1, "email": "x@y.z"}"#, Some(r#"{"a":1,"email":"***"}"#));
        check(r#"{"to": [{"name": {"first": "A"}}, 2]}"#, Some(r#"{"to":[{"name":"***"},2]}"#));
        check(r#"{"\u0065mail": null}"#, Some(r#"{"\u0065mail":"***"}"#));
        check(r#"{"a": "email", "b": [ ]}"#, None);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let params = Params::parse(r#"{"fields": ["a"]}"#).unwrap();
        let record = Record { body: b"{", ..Record::default() };
        let mut outputs = Outputs::default();
        assert!(mask(&init(params).unwrap(), &record, &mut outputs.of(0)).is_err());
        assert!(init(Params::parse("{}").unwrap()).is_err());
    }
}
