use super::*;

fn message(topic: &'static str, queue: u32) -> GroupMessage<'static> {
    GroupMessage {
        topic,
        queue_id: QueueId(queue),
        flag: -1,
        sys_flag: 0x100,
        born_at_ms: 1_700_000_000_000,
        properties: b"TAGS\x01a\x02",
        body: b"body",
    }
}

fn fence() -> Fence<'static> {
    Fence { topic: "LEDGER".into(), queue_id: QueueId(3), epoch: u64::MAX }
}

fn encoded(fence: Option<&Fence<'_>>, messages: &[GroupMessage<'_>]) -> Vec<u8> {
    let mut writer = AppendGroupWriter::new(AppendWait::Durable, fence);
    for message in messages {
        writer.push(message);
    }
    assert_eq!(writer.len(), messages.len());
    writer.as_bytes().to_vec()
}

#[track_caller]
fn check(fence: Option<Fence<'static>>, messages: &[GroupMessage<'_>]) {
    let body = encoded(fence.as_ref(), messages);
    let read = AppendGroup::decode(&body).unwrap();
    assert_eq!((read.wait, read.fence.as_ref()), (AppendWait::Durable, fence.as_ref()));
    assert_eq!(read.len(), messages.len());
    assert_eq!(read.messages().collect::<Vec<_>>(), messages);
}

#[test]
fn groups_come_back_as_they_were() {
    check(None, &[]);
    check(Some(fence()), &[message("A", 0)]);
    check(None, &[message("A", 0), message("A", 1), message("B", 0), message("A", 0)]);
}

#[test]
fn a_topic_that_repeats_is_written_once() {
    let one = encoded(None, &[message("A", 0)]).len();
    let longer = encoded(None, &[message("A", 0), message("A", 0)]).len() - one;
    let fresh = encoded(None, &[message("A", 0), message("B", 0)]).len() - one;
    assert_eq!(longer + 1, fresh);
}

#[test]
fn every_cut_and_every_excess_is_refused() {
    let body = encoded(Some(&fence()), &[message("A", 0), message("B", 1)]);
    for len in 0..body.len() {
        assert!(AppendGroup::decode(&body[..len]).is_err(), "{len} bytes");
    }
    let excess = [&body[..], &[0]].concat();
    assert_eq!(AppendGroup::decode(&excess), Err(BodyError::Lengths));
    for (at, error) in [
        (0, BodyError::Version(2)),
        (1, BodyError::Missing("wait")),
        (2, BodyError::Missing("fence")),
    ] {
        let mut newer = body.clone();
        newer[at] = 2;
        assert_eq!(AppendGroup::decode(&newer), Err(error));
    }
}

#[test]
fn a_first_message_without_a_topic_is_refused() {
    let body = encoded(None, &[message("", 0)]);
    assert_eq!(AppendGroup::decode(&body), Err(BodyError::Missing("topic")));
}

#[test]
fn a_count_that_lies_is_refused() {
    let mut body = encoded(None, &[message("A", 0)]);
    body[3..7].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(AppendGroup::decode(&body), Err(BodyError::Lengths));
}

#[test]
fn a_pull_comes_back_as_it_was() {
    let pull = PullStored {
        topic: "orders".into(),
        queue_id: QueueId(7),
        offset: QueueOffset(1 << 40),
        bytes_max: 1 << 20,
        wait_ms: 15_000,
    };
    let mut body = Vec::new();
    pull.body(&mut body);
    assert_eq!(PullStored::decode(&body), Ok(pull));
    for len in 0..body.len() {
        assert!(PullStored::decode(&body[..len]).is_err(), "{len} bytes");
    }
    body.push(0);
    assert_eq!(PullStored::decode(&body), Err(BodyError::Lengths));
}
