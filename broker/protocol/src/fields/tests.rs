use millrace_types::{QueueId, QueueOffset};

use super::*;
use crate::HeaderKind;

fields! {
    struct Example<'a> {
        name: Cow<'a, str> = "name",
        count: i32 = "count" or 4,
        queue_id: Option<QueueId> = "queueId",
        offset: Option<QueueOffset> = "offset",
        on: bool = "on" or false,
    }
}

fn json_fields(json: &str) -> Result<Fields<'_>, NotJson> {
    let mut scanner = Scanner::new(json.as_bytes());
    if !scanner.enter(b'{') {
        return Err(NotJson);
    }
    Fields::json(&mut scanner)
}

#[track_caller]
fn check(json: &str, expected: Result<Example<'_>, FieldsError>) {
    assert_eq!(json_fields(json).unwrap().read::<Example<'_>>(), expected, "{json}");
}

fn example(name: &str) -> Example<'_> {
    Example { name: Cow::Borrowed(name), count: 4, queue_id: None, offset: None, on: false }
}

#[test]
fn fields_become_members() {
    check(r#"{"name":"a"}"#, Ok(example("a")));
    check(
        r#"{"on":"TRUE","count":"-1","name":"a","other":"x","queueId":2,"offset":"5"}"#,
        Ok(Example {
            count: -1,
            queue_id: Some(QueueId(2)),
            offset: Some(QueueOffset(5)),
            on: true,
            ..example("a")
        }),
    );
}

#[test]
fn a_negative_offset_means_none() {
    check(r#"{"name":"a","offset":"-1"}"#, Ok(example("a")));
}

#[test]
fn only_true_is_true() {
    check(r#"{"name":"a","on":"1"}"#, Ok(example("a")));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    check("{}", Err(FieldsError::Missing("name")));
    check(r#"{"name":""}"#, Err(FieldsError::Missing("name")));
    check(r#"{"name":"a","count":"1.5"}"#, Err(FieldsError::Invalid("count")));
    check(r#"{"name":"a","count":"2147483648"}"#, Err(FieldsError::Invalid("count")));
    check(r#"{"name":"a","queueId":"-1"}"#, Err(FieldsError::Invalid("queueId")));
    check(r#"{"name":"\q"}"#, Err(FieldsError::Invalid("name")));
}

#[test]
fn what_is_not_an_object_is_refused() {
    for json in ["[\"name\"]", "{\"name\"", "{\"name\":", "{\"name\":\"a\"", "{\"name\":\"a"] {
        assert_eq!(json_fields(json), Err(NotJson), "{json}");
    }
}

#[test]
fn fields_beyond_the_index_are_read_too() {
    for count in INDEXED_MAX - 1..INDEXED_MAX + 2 {
        let others: String = (1..count).map(|n| format!("\"f{n}\":\"x\",")).collect();
        check(&format!("{{{others}\"name\":\"a\"}}"), Ok(example("a")));
        let nulls: String = (1..count).map(|n| format!("\"f{n}\":null,\"g{n}\":\"\",")).collect();
        check(&format!("{{{nulls}{others}\"name\":\"a\"}}"), Ok(example("a")));
    }
}

#[test]
fn the_number_of_fields_is_bounded() {
    let many: Vec<String> = (0..=FIELDS_MAX).map(|n| format!("\"f{n}\":\"x\"")).collect();
    check(&format!("{{{}}}", many.join(",")), Err(FieldsError::TooMany));
    check(&format!("{{{},\"name\":\"a\"}}", many[2..].join(",")), Ok(example("a")));
}

#[test]
fn members_become_fields() {
    let whole = Example {
        count: -1,
        queue_id: Some(QueueId(2)),
        offset: Some(QueueOffset(5)),
        on: true,
        ..example("a\u{1}\"")
    };
    for example in [example("a"), whole] {
        for kind in [HeaderKind::Json, HeaderKind::Binary] {
            let mut out = Vec::new();
            example.write_fields(&mut FieldWriter::new(&mut out, kind));
            let read = match kind {
                HeaderKind::Json => {
                    out.push(b'}');
                    Fields::json(&mut Scanner::new(&out)).unwrap().read::<Example<'_>>()
                }
                HeaderKind::Binary => Fields::binary(&out).read::<Example<'_>>(),
            };
            assert_eq!(read.as_ref(), Ok(&example));
        }
    }
}
