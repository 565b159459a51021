use super::*;

#[track_caller]
fn decode(json: &str) -> Result<Header<'_>, HeaderError> {
    Header::decode(HeaderKind::Json, json.as_bytes())
}

#[track_caller]
fn check(json: &str, field: &str, expected: Option<&str>) {
    let header = decode(json).unwrap();
    assert_eq!((header.code, header.opaque), (105, 3), "{json}");
    assert_eq!(header.fields.get(field).as_deref(), expected, "{json}");
}

#[test]
fn headers_of_every_client_are_read() {
    // Java
    check(
        r#"{"code":105,"extFields":{"topic":"T1"},"flag":0,"language":"JAVA","opaque":3,"serializeTypeCurrentRPC":"JSON","version":401}"#,
        "topic",
        Some("T1"),
    );
    // Go
    check(
        r#"{"code":105,"language":"GO","version":317,"opaque":3,"flag":0,"remark":"","extFields":{"topic":"T1"}}"#,
        "topic",
        Some("T1"),
    );
    // C++
    check(
        "{\"code\":105,\"extFields\":{\"d\":4,\"k\":true,\"r\":1.50},\"flag\":0,\"language\":\"CPP\",\"opaque\":3,\"version\":333}\n",
        "d",
        Some("4"),
    );
}

#[test]
fn values_need_not_be_texts() {
    check(r#"{"code":105,"opaque":3,"extFields":{"a":1.50}}"#, "a", Some("1.50"));
    check(r#"{"code":105,"opaque":3,"extFields":{"a":true}}"#, "a", Some("true"));
    check(
        r#"{"code":"105","opaque":"3","extFields":{"a":[1,{"b":2}]}}"#,
        "a",
        Some(r#"[1,{"b":2}]"#),
    );
}

#[test]
fn null_empty_and_missing_are_the_same() {
    check(r#"{"code":105,"opaque":3,"extFields":{"a":null}}"#, "a", None);
    check(r#"{"code":105,"opaque":3,"extFields":{"a":""}}"#, "a", None);
    check(r#"{"code":105,"opaque":3,"extFields":{}}"#, "a", None);
    check(r#"{"code":105,"opaque":3,"extFields":null,"flag":null,"remark":null}"#, "a", None);
    check(r#"{"code":105,"opaque":3}"#, "a", None);
}

#[test]
fn unknown_members_of_any_shape_are_ignored() {
    check(
        r#"{"x":{"code":1,"y":["}"]},"code":105,"opaque":3,"z":[{}],"extFields":{"a":"b"}}"#,
        "a",
        Some("b"),
    );
}

#[test]
fn the_last_of_equal_fields_wins() {
    check(r#"{"code":1,"code":105,"opaque":3,"extFields":{"a":"1","a":"2"}}"#, "a", Some("2"));
}

#[test]
fn flags_language_and_remark_are_read() {
    let header =
        decode(r#"{"code":0,"opaque":-7,"flag":3,"language":"GO","remark":"a\nb","version":317}"#)
            .unwrap();
    assert!(header.is_response() && header.is_oneway());
    assert_eq!(header.opaque, -7);
    assert_eq!(header.language, Language::GO);
    assert_eq!(header.remark, "a\nb");
    assert_eq!(header.version, 317);
    let unknown = decode(r#"{"code":0,"opaque":1,"language":"COBOL"}"#).unwrap();
    assert_eq!(unknown.language, Language::OTHER);
}

#[test]
fn what_is_not_utf8_becomes_a_replacement_character() {
    let header = Header::decode(
        HeaderKind::Json,
        b"{\"code\":1,\"opaque\":1,\"extFields\":{\"a\":\"\xff\"}}",
    )
    .unwrap();
    assert_eq!(header.fields.get("a").as_deref(), Some("\u{FFFD}"));
}

#[test]
fn a_header_without_correlation_is_refused() {
    assert_eq!(decode("{}"), Err(HeaderError::Number("code")));
    assert_eq!(decode(r#"{"code":1}"#), Err(HeaderError::Number("opaque")));
    assert_eq!(decode(r#"{"code":4294967296,"opaque":1}"#), Err(HeaderError::Number("code")));
    assert_eq!(decode(r#"{"code":1,"opaque":1"#), Err(HeaderError::Json));
    assert_eq!(decode(r#"{"code":1,"opaque":1}x"#), Err(HeaderError::Json));
    assert_eq!(decode(""), Err(HeaderError::Json));
}

#[test]
fn binary_lengths_stay_inside() {
    let mut bytes = vec![0, 105, 0, 1, 0x91, 0, 0, 0, 3, 0, 0, 0, 0];
    assert_eq!(Header::decode(HeaderKind::Binary, &bytes), Err(HeaderError::Lengths));
    bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(Header::decode(HeaderKind::Binary, &bytes), Err(HeaderError::Lengths));
    bytes.push(7);
    let header = Header::decode(HeaderKind::Binary, &bytes).unwrap();
    assert_eq!((header.code, header.version, header.opaque), (105, 401, 3));
    assert_eq!(header.fields.iter().next(), Some(Err(crate::FieldsError::Malformed)));
}
