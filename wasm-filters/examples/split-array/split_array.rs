//! Makes a record of each item of a JSON list.

use millrace_wasm_guest::{Json, Out, Params, Record, Result, flat_map, init};

/// Where the list is: in this field, or it is the body itself.
pub struct List {
    field: Option<String>,
}

#[init(params = r#"{"properties": {"field": {"type": "string"}}}"#)]
fn init(params: Params<'_>) -> Result<List> {
    Ok(List { field: params.text("field")? })
}

#[flat_map(name = "split-array", version = "1.0.0")]
fn split(list: &List, record: &Record<'_>, out: &mut Out<'_>) -> Result<()> {
    let body = Json::parse(record.body)?;
    let list = match &list.field {
        Some(path) => body.at(path).ok_or_else(|| format!("there is no field `{path}`"))?,
        None => body,
    };
    for (number, item) in list.items().ok_or("this is not a list")?.enumerate() {
        out.body(item.raw()).property("split_index", &number.to_string()).emit();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millrace_wasm_guest::Outputs;

    use super::*;

    #[track_caller]
    fn check(params: &str, body: &str, expected: Result<&[&str], &str>) {
        let mut outputs = Outputs::default();
        let record = Record { body: body.as_bytes(), ..Record::default() };
        let list = init(Params::parse(params).unwrap()).unwrap();
        let answer = split(&list, &record, &mut outputs.of(0));
        let bodies = outputs.bodies().map(|body| std::str::from_utf8(body).unwrap());
        let bodies: Vec<_> = bodies.collect();
        assert_eq!(answer.map(|()| &bodies[..]), expected.map_err(str::to_owned));
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
