//! Puts `***` in the place of personal data in JSON bodies.

use millrace_wasm_guest::{Json, Map, Next, Out, Params, Record};

/// Masks the values of these fields, wherever they stand in the body.
pub struct Mask {
    fields: Vec<String>,
    instead: String,
}

impl Map for Mask {
    fn new(params: &Params<'_>) -> Result<Self, String> {
        let fields = params.texts("fields")?;
        if fields.is_empty() {
            return Err("`fields` names no field to mask".to_owned());
        }
        let instead = params.text("instead")?.unwrap_or_else(|| "***".to_owned());
        if instead.contains(|c: char| c == '"' || c == '\\' || c.is_control()) {
            return Err("`instead` must be a text without quotes and backslashes".to_owned());
        }
        Ok(Self { fields, instead: format!("\"{instead}\"") })
    }

    fn map(&mut self, record: &Record<'_>, out: &mut Out) -> Result<Next, String> {
        let body = Json::parse(record.body)?;
        let mut masked = Vec::with_capacity(record.body.len());
        let mut found = false;
        self.copy(body, &mut masked, &mut found);
        if !found {
            return Ok(Next::Keep);
        }
        out.body(&masked);
        Ok(Next::Replace)
    }
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

millrace_wasm_guest::map! {
    Mask,
    name: "mask",
    version: "1.0.0",
    params: r#"{"required": ["fields"], "properties": {"fields": {"type": "array"}, "instead": {"type": "string"}}}"#,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let params = Params::parse(r#"{"fields": ["email", "na\u006de"]}"#).unwrap();
        let mut out = Out::default();
        let record = Record { body: body.as_bytes(), ..Record::default() };
        let next = Mask::new(&params).unwrap().map(&record, &mut out).unwrap();
        let bodies: Vec<_> = out.bodies().map(|body| std::str::from_utf8(body).unwrap()).collect();
        assert_eq!(next, if expected.is_some() { Next::Replace } else { Next::Keep });
        assert_eq!(bodies, expected.into_iter().collect::<Vec<_>>());
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
        assert!(Mask::new(&params).unwrap().map(&record, &mut Out::default()).is_err());
        assert!(Mask::new(&Params::parse("{}").unwrap()).is_err());
    }
}
