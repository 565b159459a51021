use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::*;
use crate::{Frame, Limits, LockedQueues, MessageQueue, OffsetMessageId, Split};

/// Writes an answer in both forms and hands over what a peer receives.
#[track_caller]
fn received(answer: &dyn Answer, check: impl Fn(&Header<'_>, &[u8])) {
    for kind in [HeaderKind::Json, HeaderKind::Binary] {
        let mut bytes = Vec::new();
        answer.write(kind, 77, &mut bytes);
        with_frame(&bytes, |header, body| {
            assert_eq!((header.kind, header.opaque), (kind, 77));
            check(header, body);
        });
    }
}

#[track_caller]
fn with_frame(bytes: &[u8], check: impl Fn(&Header<'_>, &[u8])) {
    let Ok(Split::Frame(frame, total)) = Frame::split(bytes, &Limits::default()) else {
        panic!("not a frame");
    };
    assert_eq!(total, bytes.len());
    let header = frame.header().unwrap();
    assert!(header.is_response() && !header.is_oneway());
    check(&header, frame.body);
}

fn id(offset: u64) -> OffsetMessageId {
    let store_host = "10.0.0.1:10911".parse().unwrap();
    OffsetMessageId { store_host, physical_offset: PhysicalOffset(offset) }
}

fn sent(message_ids: MessageIds<'_>) -> SendAnswer<'_> {
    SendAnswer {
        status: SendStatus::Ok,
        message_ids,
        queue_id: QueueId(3),
        queue_offset: QueueOffset(42),
        transaction_id: Some("AC".into()),
    }
}

#[test]
fn a_send_is_confirmed_with_every_field_java_reads() {
    received(&sent(MessageIds::One(id(1000))), |header, body| {
        assert!(body.is_empty());
        let text = |name| header.fields.get(name).map(Cow::into_owned);
        assert_eq!(text("msgId").as_deref(), Some("0A00000100002A9F00000000000003E8"));
        assert_eq!(text("queueId").as_deref(), Some("3"));
        assert_eq!(text("queueOffset").as_deref(), Some("42"));
        assert_eq!(text("transactionId").as_deref(), Some("AC"));
        assert_eq!(text("MSG_REGION").as_deref(), Some("DefaultRegion"));
        assert_eq!(text("TRACE_ON").as_deref(), Some("false"));
        let read = SendAnswer::decode(header).unwrap();
        assert_eq!(read.message_ids.iter().collect::<Vec<_>>(), [id(1000)]);
        assert_eq!((read.queue_id, read.queue_offset), (QueueId(3), QueueOffset(42)));
    });
}

#[test]
fn a_batch_is_confirmed_with_every_id() {
    let ids = [id(0), id(200), id(400)];
    received(&sent(MessageIds::Many(&ids)), |header, _| {
        let read = SendAnswer::decode(header).unwrap();
        assert_eq!(read.message_ids.iter().collect::<Vec<_>>(), ids);
    });
}

#[test]
fn a_batch_of_any_size_fits_a_header() {
    let ids = vec![id(0); 1 << 19];
    received(&sent(MessageIds::Many(&ids)), |header, _| {
        let read = SendAnswer::decode(header).unwrap();
        assert_eq!(read.message_ids.iter().count(), 1 << 16);
    });
}

#[test]
fn a_stored_message_is_no_error_whatever_its_status() {
    for status in [
        SendStatus::Ok,
        SendStatus::FlushDiskTimeout,
        SendStatus::FlushSlaveTimeout,
        SendStatus::SlaveNotAvailable,
    ] {
        let answer = SendAnswer { status, ..sent(MessageIds::One(id(0))) };
        received(&answer, |header, _| {
            assert_eq!(SendAnswer::decode(header).unwrap().status, status);
        });
    }
}

#[test]
fn a_pull_tells_where_to_go_on_however_it_ends() {
    for status in [
        PullStatus::Found,
        PullStatus::NotFound,
        PullStatus::NothingMatched,
        PullStatus::OffsetMoved,
    ] {
        let answer = PullAnswer {
            status,
            next: QueueOffset(5),
            min: QueueOffset(0),
            max: QueueOffset(9),
            suggested_broker: 0,
        };
        received(&answer, |header, _| assert_eq!(PullAnswer::decode(header), Ok(answer)));
        let mut bytes = Vec::new();
        write_pull_head(&answer, HeaderKind::Json, 1, 7, &mut bytes);
        bytes.extend_from_slice(b"records");
        with_frame(&bytes, |header, body| {
            assert_eq!(PullAnswer::decode(header), Ok(answer));
            assert_eq!(body, b"records");
        });
    }
}

#[test]
fn a_refusal_is_an_error_for_every_answer() {
    let refused = Refused::new(ResponseCode::TOPIC_NOT_EXIST, "no such topic");
    received(&refused, |header, body| {
        let expected = AnswerError::Refused(refused.clone());
        assert_eq!(Done::decode(header), Err(expected.clone()));
        assert_eq!(SendAnswer::decode(header), Err(expected.clone()));
        assert_eq!(PullAnswer::decode(header), Err(expected.clone()));
        assert_eq!(OffsetAnswer::decode(header), Err(expected.clone()));
        assert_eq!(Appended::decode(header, body), Err(expected.clone()));
        assert_eq!(StoredAnswer::decode(header, body), Err(expected));
        assert_eq!(Fenced::decode(header), None);
    });
    assert_eq!(refused.to_string(), "17 TOPIC_NOT_EXIST: no such topic");
}

#[test]
fn small_answers_come_back_as_they_were() {
    received(&Done, |header, _| assert_eq!(Done::decode(header), Ok(Done)));
    let offset = OffsetAnswer { offset: QueueOffset(9) };
    received(&offset, |header, _| assert_eq!(OffsetAnswer::decode(header).as_ref(), Ok(&offset)));
    let time = TimestampAnswer { timestamp_ms: -1 };
    received(&time, |header, _| assert_eq!(TimestampAnswer::decode(header).as_ref(), Ok(&time)));
    let beat = HeartbeatAnswer { supports_v2: false, subscriptions_changed: true };
    received(&beat, |header, _| {
        assert_eq!(HeartbeatAnswer::decode(header).as_ref(), Ok(&beat));
        // Java refuses SQL subscriptions below this.
        assert!(header.version >= 232);
    });
    let hello =
        HelloAnswer { product: "Millrace".into(), version: "0.1.0".into(), broker: "b-a".into() };
    received(&hello, |header, _| assert_eq!(HelloAnswer::decode(header).as_ref(), Ok(&hello)));
    let topic = TopicAnswer { queues: 8 };
    received(&topic, |header, _| assert_eq!(TopicAnswer::decode(header).as_ref(), Ok(&topic)));
}

#[test]
fn lists_come_back_as_they_were() {
    let members = ConsumerList(vec!["10.0.0.9@7".into()]);
    received(&members, |_, body| {
        assert_eq!(body, br#"{"consumerIdList":["10.0.0.9@7"]}"#);
        assert_eq!(ConsumerList::decode(body).as_ref(), Ok(&members));
    });
    let locked = LockedQueues(vec![MessageQueue {
        topic: "T1".into(),
        broker_name: "b-a".into(),
        queue_id: QueueId(0),
    }]);
    received(&locked, |_, body| {
        assert_eq!(body, br#"{"lockOKMQSet":[{"brokerName":"b-a","queueId":0,"topic":"T1"}]}"#);
        assert_eq!(LockedQueues::decode(body).as_ref(), Ok(&locked));
    });
}

#[test]
fn a_group_is_confirmed_or_fenced() {
    let appended = Appended(Cow::Owned(vec![QueueOffset(0), QueueOffset(1 << 40)]));
    received(&appended, |header, body| {
        assert_eq!(Appended::decode(header, body).as_ref(), Ok(&appended));
        assert_eq!(
            Appended::decode(header, &body[1..]),
            Err(AnswerError::Body(BodyError::Version(0)))
        );
        assert_eq!(
            Appended::decode(header, &body[..body.len() - 1]),
            Err(AnswerError::Body(BodyError::Lengths))
        );
    });
    let fenced = Fenced { epoch: u64::MAX };
    received(&fenced, |header, body| {
        assert_eq!(Fenced::decode(header), Some(fenced));
        assert!(Appended::decode(header, body).is_err());
    });
}

#[test]
fn stored_records_follow_their_offsets() {
    let answer = StoredAnswer {
        next: QueueOffset(3),
        min: QueueOffset(1),
        max: QueueOffset(9),
        visible_end: QueueOffset(8),
    };
    let mut bytes = Vec::new();
    write_stored_head(&answer, HeaderKind::Binary, 1, 7, &mut bytes);
    bytes.extend_from_slice(b"records");
    with_frame(&bytes, |header, body| {
        assert_eq!(body.len(), StoredAnswer::encoded_len() + 7);
        assert_eq!(StoredAnswer::decode(header, body), Ok((answer, &b"records"[..])));
        assert!(StoredAnswer::decode(header, &body[..20]).is_err());
    });
}
