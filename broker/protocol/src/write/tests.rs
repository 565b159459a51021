use super::*;
use crate::{Frame, Limits, Split};

#[track_caller]
fn written(head: &Head<'_>, fields: impl FnOnce(&mut FieldWriter<'_>), body: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let mut frame = FrameWriter::begin(&mut out, head, fields);
    frame.out().extend_from_slice(body);
    frame.finish();
    out.split_off(6)
}

fn route_head(kind: HeaderKind) -> Head<'static> {
    Head { kind, code: 105, language: Language::JAVA, version: 401, opaque: 3, flag: 0, remark: "" }
}

/// As the Java client writes it.
#[test]
fn a_binary_frame_is_javas_to_the_byte() {
    let bytes = written(&route_head(HeaderKind::Binary), |to| to.text("topic", "T1"), b"");
    let expected = [
        &[0, 0, 0, 0x26, 1, 0, 0, 0x22][..],
        &[0, 0x69, 0, 1, 0x91, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0x0d, 0, 5],
        b"topic",
        &[0, 0, 0, 2],
        b"T1",
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn a_json_header_says_what_javas_says() {
    let bytes = written(&route_head(HeaderKind::Json), |to| to.text("topic", "T1"), b"body");
    let Ok(Split::Frame(frame, total)) = Frame::split(&bytes, &Limits::default()) else {
        panic!("not a frame");
    };
    assert_eq!(total, bytes.len());
    assert_eq!(frame.body, b"body");
    let java = r#"{"code":105,"extFields":{"topic":"T1"},"flag":0,"language":"JAVA","opaque":3,"version":401}"#;
    let value = |bytes| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(value(frame.header), value(java.as_bytes()));
}

#[test]
fn a_body_that_follows_is_counted() {
    let mut out = Vec::new();
    FrameWriter::begin(&mut out, &route_head(HeaderKind::Json), |_| {}).finish_with(1000);
    let len = u32::from_be_bytes(*out.first_chunk().unwrap()) as usize;
    assert_eq!(len, out.len() - 4 + 1000);
}

#[test]
fn remarks_and_values_are_escaped_and_cut() {
    for kind in [HeaderKind::Json, HeaderKind::Binary] {
        let remark = format!("\"quoted\"\n{}", "é".repeat(REMARK_BYTES_MAX));
        let head = Head { remark: &remark, ..route_head(kind) };
        let bytes = written(&head, |to| to.text("p", "TAGS\u{1}a\"\u{2}"), b"");
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("not a frame");
        };
        let header = frame.header().unwrap();
        assert!(remark.starts_with(&*header.remark));
        assert!(header.remark.len() > REMARK_BYTES_MAX - 2);
        assert_eq!(header.fields.get("p").as_deref(), Some("TAGS\u{1}a\"\u{2}"));
    }
}
