//! Makes a record of each item of a JSON list.

use millrace_wasm_guest::{Json, Map, Next, Out, Params, Record, Replacement};

/// Splits the list in this field, or the body itself.
pub struct SplitArray {
    field: Option<String>,
}

impl Map for SplitArray {
    fn new(params: &Params<'_>) -> Result<Self, String> {
        Ok(Self { field: params.text("field")? })
    }

    fn map(&mut self, record: &Record<'_>, out: &mut Out) -> Result<Next, String> {
        let body = Json::parse(record.body)?;
        let list = match &self.field {
            Some(path) => body.at(path).ok_or_else(|| format!("there is no field `{path}`"))?,
            None => body,
        };
        for (number, item) in list.items().ok_or("this is not a list")?.enumerate() {
            let number = number.to_string();
            out.emit(Replacement {
                body: Some(item.raw()),
                properties: &[("split_index", &number)],
                ..Replacement::default()
            });
        }
        Ok(Next::Replace)
    }
}

millrace_wasm_guest::flat_map! {
    SplitArray,
    name: "split-array",
    version: "1.0.0",
    params: r#"{"properties": {"field": {"type": "string"}}}"#,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(params: &str, body: &str, expected: Result<&[&str], &str>) {
        let mut out = Out::default();
        let record = Record { body: body.as_bytes(), ..Record::default() };
        let params = Params::parse(params).unwrap();
        let next = SplitArray::new(&params).unwrap().map(&record, &mut out);
        let bodies: Vec<_> = out.bodies().map(|body| std::str::from_utf8(body).unwrap()).collect();
        match expected {
            Ok(expected) => assert_eq!((next, &bodies[..]), (Ok(Next::Replace), expected)),
            Err(reason) => assert_eq!(next, Err(reason.to_owned())),
        }
    }

    #[test]
    fn each_item_is_a_record() {
        check("{}", r#"[1, {"a": [2]}, "x"]"#, Ok(&["1", r#"{"a": [2]}"#, "\"x\""]));
        check("{}", "[]", Ok(&[]));
        check(r#"{"field": "a.b"}"#, r#"{"a": {"b": [1]}}"#, Ok(&["1"]));
        check(r#"{"field": "c"}"#, "{}", Err("there is no field `c`"));
        check("{}", "{}", Err("this is not a list"));
    }
}
