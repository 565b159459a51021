//! Keeps records that have a certain value of a property.

use millrace_wasm_guest::{Params, Record, Result, filter, init};

/// A property, and the value that is wanted.
pub struct Wanted {
    name: String,
    value: String,
}

/// Both parameters are needed.
#[init(params = r#"{
    "required": ["name", "value"],
    "properties": {"name": {"type": "string"}, "value": {"type": "string"}}
}"#)]
pub fn init(params: Params<'_>) -> Result<Wanted> {
    let text = |name: &str| params.text(name)?.ok_or_else(|| format!("`{name}` is missing"));
    Ok(Wanted { name: text("name")?, value: text("value")? })
}

/// Whether the property has the value.
#[filter(name = "keep-property", version = "1.0.0")]
pub fn keep(wanted: &Wanted, record: &Record<'_>) -> bool {
    record.property(&wanted.name) == Some(&wanted.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_one_property_counts() {
        let params = Params::parse(r#"{"name": "region", "value": "eu"}"#).unwrap();
        let wanted = init(params).unwrap();
        let keeps = |properties: &[u8]| keep(&wanted, &Record { properties, ..Record::default() });
        assert!(keeps(b"other\x01eu\x02region\x01eu\x02"));
        assert!(keeps(b"region\x01eu"), "the last one need not end");
        for other in [&b"region\x01us\x02other\x01eu\x02"[..], b"region\x01europe\x02", b""] {
            assert!(!keeps(other));
        }
        let incomplete = Params::parse(r#"{"name": "region"}"#).unwrap();
        assert_eq!(init(incomplete).err().as_deref(), Some("`value` is missing"));
    }
}
