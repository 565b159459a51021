//! What holds for every input, and for whatever a peer may send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millrace_types::{QueueId, QueueOffset};
use proptest::prelude::*;

use crate::{
    Answer, AppendGroup, AppendGroupWriter, AppendWait, BatchItem, Call, CallMode, Fence, Frame,
    GroupMessage, Header, HeaderKind, Heartbeat, Limits, OffsetMessageId, PullMessage, Refused,
    Request, RequestCode, ResponseCode, SendMessage, Split, batch_items, push_batch_item,
};

/// What the fuzzer does with frames, so that the laws do the same.
#[allow(unreachable_pub, dead_code, reason = "a part of the fuzzer's library, and a module here")]
#[path = "../../../fuzz/src/frames.rs"]
mod frames;

/// Does with a peer's bytes everything that anyone may do with them.
fn read_everything(mut bytes: &[u8]) {
    let limits = Limits { frame_bytes_max: 1 << 20, header_bytes_max: 1 << 18 };
    while let Ok(Split::Frame(frame, total)) = Frame::split(bytes, &limits) {
        if let Ok(header) = frame.header() {
            frames::read(&header, frame.body);
            // The code decides which decoder sees the rest, so every one gets its turn.
            for code in RequestCode::ALL {
                frames::read(&Header { code: code.0, ..header.clone() }, frame.body);
            }
        }
        bytes = &bytes[total..];
    }
}

fn frame(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    out.extend_from_slice(&((u32::from(kind) << 24) | header.len() as u32).to_be_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    out
}

fn kinds() -> impl Strategy<Value = HeaderKind> {
    prop_oneof![Just(HeaderKind::Json), Just(HeaderKind::Binary)]
}

/// Texts that are not empty, which the binary form cannot tell from absent ones.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9%|_-]{1,20}", "\\PC{1,20}", "[\u{0}-\u{20}\"\\\\a-c\u{e9}😀]{1,20}"]
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60)
}

/// Something that JSON parsers stumble over.
fn near_json() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\\ud800".to_owned()),
        Just("null".to_owned()),
        Just("\"code\":10".to_owned()),
        Just("\"opaque\":1".to_owned()),
        Just("\"extFields\":{".to_owned()),
        Just("\"$ref\":\"$..[0]\"".to_owned()),
        Just("\"consumerDataSet\":[{\"groupName\":\"g\"".to_owned()),
        Just("\"brokerDatas\":[".to_owned()),
        "\\PC{0,3}",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn sends() -> impl Strategy<Value = (String, String, String, Option<u32>, i32, bool, Vec<u8>)> {
    let queue = prop::option::of(0..=i32::MAX as u32);
    (texts(), texts(), texts(), queue, any::<i32>(), any::<bool>(), bodies())
}

fn send<'a>(
    sent: &'a (String, String, String, Option<u32>, i32, bool, Vec<u8>),
) -> SendMessage<'a> {
    let (topic, group, properties, queue, flag, batch, body) = sent;
    SendMessage {
        producer_group: group.into(),
        properties: properties.into(),
        queue_id: queue.map(QueueId),
        flag: *flag,
        born_at_ms: i64::from(*flag) * 1_000,
        batch: *batch,
        ..SendMessage::new(topic, body)
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn any_header_and_body_are_read_without_a_panic(
        kind in 0u8..2, header in bodies(), body in bodies(),
    ) {
        read_everything(&frame(kind, &header, &body));
    }

    #[test]
    fn anything_like_json_is_read_without_a_panic(header in near_json(), body in near_json()) {
        read_everything(&frame(0, header.as_bytes(), body.as_bytes()));
        let valid = br#"{"code":34,"opaque":1}"#;
        read_everything(&frame(0, valid, body.as_bytes()));
    }

    #[test]
    fn a_damaged_frame_is_read_without_a_panic(
        kind in kinds(), sent in sends(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = Vec::new();
        send(&sent).write(kind, 7, CallMode::Answered, &mut bytes);
        Heartbeat { client_id: sent.0.clone(), ..Heartbeat::default() }
            .write(kind, 8, CallMode::Answered, &mut bytes);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_everything(&bytes);
    }

    #[test]
    fn a_send_arrives_as_it_was_sent(kind in kinds(), opaque in any::<i32>(), sent in sends()) {
        let sent = send(&sent);
        let mut bytes = Vec::new();
        sent.write(kind, opaque, CallMode::Answered, &mut bytes);
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("not a frame");
        };
        let header = frame.header().unwrap();
        prop_assert_eq!(header.opaque, opaque);
        prop_assert_eq!(Request::decode(&header, frame.body).unwrap(), Request::Send(sent));
    }

    #[test]
    fn a_pull_arrives_as_it_was_sent(
        kind in kinds(), group in texts(), topic in texts(), expression in prop::option::of(texts()),
        numbers in any::<(u16, i32, i32)>(), offsets in prop::array::uniform2(0..=i64::MAX as u64),
    ) {
        let pull = PullMessage {
            group: group.into(),
            topic: topic.into(),
            queue_id: QueueId(u32::from(numbers.0)),
            offset: Some(QueueOffset(offsets[0])),
            messages_max: numbers.1,
            sys_flag: numbers.2 & !crate::pull_flag::LITE_PULL,
            commit_offset: Some(QueueOffset(offsets[1])),
            suspend_ms: -1,
            subscription: expression.map(Cow::Owned),
            subscription_version: i64::MIN,
            expression_type: None,
            bytes_max: Some(numbers.1),
        };
        let mut bytes = Vec::new();
        pull.write(kind, 1, CallMode::Answered, &mut bytes);
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("not a frame");
        };
        let header = frame.header().unwrap();
        prop_assert_eq!(Request::decode(&header, frame.body).unwrap(), Request::Pull(pull));
    }

    #[test]
    fn fields_are_those_that_a_standard_parser_finds(
        fields in prop::collection::btree_map(texts(), texts(), 0..30), pretty in any::<bool>(),
    ) {
        // A name with escapes is nobody's and reads as unknown.
        let fields: BTreeMap<_, _> = fields
            .into_iter()
            .filter(|(name, _)| serde_json::to_string(name).unwrap().len() == name.len() + 2)
            .collect();
        let value = serde_json::json!({"opaque": 5, "extFields": &fields, "code": 105});
        let json = if pretty {
            serde_json::to_vec_pretty(&value).unwrap()
        } else {
            serde_json::to_vec(&value).unwrap()
        };
        let header = Header::decode(HeaderKind::Json, &json).unwrap();
        prop_assert_eq!((header.code, header.opaque), (105, 5));
        prop_assert_eq!(header.fields.iter().count(), fields.len());
        for (name, text) in &fields {
            let found = header.fields.get(name);
            prop_assert_eq!(found.as_deref(), Some(&**text));
        }
    }

    #[test]
    fn what_is_written_is_standard_json(remark in texts(), code in any::<i32>()) {
        let mut bytes = Vec::new();
        Refused::new(ResponseCode(code), remark.clone()).write(HeaderKind::Json, 1, &mut bytes);
        let value: serde_json::Value = serde_json::from_slice(&bytes[8..]).unwrap();
        prop_assert_eq!(value["remark"].as_str(), Some(&*remark));
        prop_assert_eq!(value["code"].as_i64(), Some(i64::from(code)));
    }

    #[test]
    fn a_group_arrives_as_it_was_sent(
        topics in prop::collection::vec("[ab]{1,2}", 0..12), body in bodies(),
        numbers in any::<(u32, i32, u32, i64, u64)>(), fenced in any::<bool>(),
    ) {
        let fence = fenced.then(|| Fence {
            topic: "L".into(),
            queue_id: QueueId(numbers.0),
            epoch: numbers.4,
        });
        let messages: Vec<_> = topics
            .iter()
            .map(|topic| GroupMessage {
                topic,
                queue_id: QueueId(numbers.0),
                flag: numbers.1,
                sys_flag: numbers.2,
                born_at_ms: numbers.3,
                properties: topic.as_bytes(),
                body: &body,
            })
            .collect();
        let mut writer = AppendGroupWriter::new(AppendWait::Policy, fence.as_ref());
        for message in &messages {
            writer.push(message);
        }
        let read = AppendGroup::decode(writer.as_bytes()).unwrap();
        prop_assert_eq!(&read.fence, &fence);
        prop_assert_eq!(read.messages().collect::<Vec<_>>(), messages);
    }

    #[test]
    fn a_batch_arrives_as_it_was_sent(items in prop::collection::vec((any::<i32>(), bodies(), bodies()), 0..8)) {
        let items: Vec<_> = items
            .iter()
            .map(|(flag, body, properties)| BatchItem { flag: *flag, body, properties })
            .collect();
        let mut out = Vec::new();
        for item in &items {
            push_batch_item(item, &mut out);
        }
        let read: Result<Vec<_>, _> = batch_items(&out).collect();
        prop_assert_eq!(read.unwrap(), items);
    }

    #[test]
    fn any_text_is_a_message_id_or_is_not(text in "[0-9A-F]{32}|[0-9a-fA-F]{56}|\\PC{0,60}") {
        if let Some(id) = OffsetMessageId::parse(&text) {
            prop_assert_eq!(OffsetMessageId::parse(&id.to_string()), Some(id));
        }
    }
}
