//! Keeps records that have a certain value of a property.

use millrace_wasm_guest::{Filter, Params, Record};

/// A property, and the value that is wanted.
pub struct KeepProperty {
    name: String,
    value: String,
}

impl Filter for KeepProperty {
    fn new(params: &Params<'_>) -> Result<Self, String> {
        let text = |name: &str| params.text(name)?.ok_or_else(|| format!("`{name}` is missing"));
        Ok(Self { name: text("name")?, value: text("value")? })
    }

    fn keep(&mut self, record: &Record<'_>) -> Result<bool, String> {
        Ok(record.property(&self.name) == Some(&self.value))
    }
}

millrace_wasm_guest::filter! {
    KeepProperty,
    name: "keep-property",
    version: "1.0.0",
    params: r#"{
        "required": ["name", "value"],
        "properties": {"name": {"type": "string"}, "value": {"type": "string"}}
    }"#,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_one_property_counts() {
        let params = Params::parse(r#"{"name": "region", "value": "eu"}"#).unwrap();
        let mut filter = KeepProperty::new(&params).unwrap();
        let mut keeps =
            |properties: &[u8]| filter.keep(&Record { properties, ..Record::default() });
        assert_eq!(keeps(b"other\x01eu\x02region\x01eu\x02"), Ok(true));
        assert_eq!(keeps(b"region\x01eu"), Ok(true), "the last one need not end");
        for other in [&b"region\x01us\x02other\x01eu\x02"[..], b"region\x01europe\x02", b""] {
            assert_eq!(keeps(other), Ok(false));
        }
        let incomplete = Params::parse(r#"{"name": "region"}"#).unwrap();
        assert_eq!(KeepProperty::new(&incomplete).err().as_deref(), Some("`value` is missing"));
    }
}
