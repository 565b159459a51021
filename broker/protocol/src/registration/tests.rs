use super::*;
use crate::{CallMode, Frame, HeaderKind, Limits, Request, Split, TopicConfig};

fn topics() -> RegisteredTopics {
    let topic = |name: &str, queues| TopicConfig {
        topic: name.into(),
        read_queues: queues,
        write_queues: queues,
        permission: 6,
        ..TopicConfig::default()
    };
    RegisteredTopics {
        version: DataVersion { counter: 12, state: 0, timestamp: 1_700_000_000_000 },
        topics: vec![topic("Orders", 4), topic("%RETRY%g", 1)],
    }
}

fn identity() -> BrokerIdentity<'static> {
    BrokerIdentity {
        broker_name: "b-a".into(),
        address: "10.0.0.1:10911".into(),
        cluster: "C1".into(),
        broker_id: 0,
    }
}

/// What a name server sees of a call.
#[track_caller]
fn received<T>(call: &dyn Call, kind: HeaderKind, look: impl FnOnce(Request<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    call.write(kind, 1, CallMode::Answered, &mut bytes);
    let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
        panic!("no frame");
    };
    look(Request::decode(&frame.header().unwrap(), frame.body).unwrap())
}

#[test]
fn a_registration_is_read_in_both_encodings() {
    for compression in [Compression::None, Compression::Zlib] {
        for kind in [HeaderKind::Json, HeaderKind::Binary] {
            let sent = RegisterBroker::new(identity(), "10.0.0.1:10912", &topics(), compression);
            received(&sent, kind, |request| {
                let Request::Registry(Registry::Register(got)) = request else {
                    panic!("{request:?}");
                };
                assert_eq!((&got.broker, &*got.terms.ha_address), (&identity(), "10.0.0.1:10912"));
                assert_eq!(got.topics(), Ok(topics()));
            });
        }
    }
}

#[test]
fn a_body_that_was_changed_on_the_way_is_not_taken() {
    for compression in [Compression::None, Compression::Zlib] {
        let mut sent = RegisterBroker::new(identity(), "", &topics(), compression);
        let last = sent.body.len() - 1;
        sent.body.to_mut()[last] ^= 1;
        assert_eq!(sent.topics(), Err(RegistrationError::Checksum));
        // Without a checksum the zlib stream has one of its own.
        sent.terms.body_crc = 0;
        assert!(sent.topics().is_err(), "{compression:?}");
    }
}

#[test]
fn every_cut_of_a_body_is_refused_or_empty() {
    let mut lines = Vec::new();
    for compression in [Compression::None, Compression::Zlib] {
        let mut sent = RegisterBroker::new(identity(), "", &topics(), compression);
        let whole = std::mem::take(sent.body.to_mut());
        sent.terms.body_crc = 0;
        for len in 1..whole.len() {
            sent.body = Cow::Borrowed(&whole[..len]);
            assert!(sent.topics().is_err(), "{compression:?} cut to {len}");
        }
        sent.body = Cow::Borrowed(&[]);
        assert_eq!(sent.topics(), Ok(RegisteredTopics::default()));
        lines.push(whole);
    }
}

#[test]
fn a_body_that_inflates_without_end_is_refused() {
    let bomb = miniz_oxide::deflate::compress_to_vec_zlib(&vec![0; 33 << 20], 1);
    assert!(bomb.len() < 16 << 20);
    let mut sent = RegisterBroker::new(identity(), "", &topics(), Compression::Zlib);
    sent.terms.body_crc = 0;
    sent.body = Cow::Owned(bomb);
    assert_eq!(sent.topics(), Err(RegistrationError::Zlib));
}

#[test]
fn a_body_that_inflates_to_much_more_than_topics_do_is_refused() {
    let mut sent = RegisterBroker::new(identity(), "", &topics(), Compression::Zlib);
    sent.terms.body_crc = 0;
    let mut inflated = |count: usize, line: &dyn Fn(usize) -> String| {
        let mut lines = Vec::new();
        crate::wire::push_bytes32(&mut lines, b"{\"counter\":1,\"timestamp\":2}");
        lines.extend_from_slice(&(count as u32).to_be_bytes());
        for n in 0..count {
            crate::wire::push_bytes32(&mut lines, line(n).as_bytes());
        }
        sent.body = Cow::Owned(miniz_oxide::deflate::compress_to_vec_zlib(&lines, 9));
        sent.topics().map(|topics| topics.topics.len())
    };
    // As alike as topics may be, with attributes that are long and alike.
    let (name, attributes) = ("t".repeat(120), "a".repeat(100));
    let alike = |n| format!("{name}{n:05} 8 8 6 SINGLE_TAG {{{attributes}}}");
    assert_eq!(inflated(57_000, &alike), Ok(57_000));
    let same = |_| "t 8 8 6 SINGLE_TAG {}".to_owned();
    assert_eq!(inflated(30_000, &same), Ok(30_000));
    assert_eq!(inflated(100_000, &same), Err(RegistrationError::Zlib));
}

#[test]
fn lines_without_end_are_refused_by_their_number() {
    let mut lines = Vec::new();
    crate::wire::push_bytes32(&mut lines, b"{\"counter\":1,\"timestamp\":2}");
    lines.extend_from_slice(&600_000u32.to_be_bytes());
    let line = [&[0, 0, 0, 7][..], b"t 1 1 6"].concat();
    lines.extend(line.repeat(600_000));
    assert!(RegisteredTopics::from_lines(&lines).is_err());
}

#[test]
fn lines_of_old_brokers_have_five_parts() {
    let mut lines = Vec::new();
    crate::wire::push_bytes32(&mut lines, b"{\"counter\":1,\"timestamp\":2}");
    lines.extend_from_slice(&1u32.to_be_bytes());
    crate::wire::push_bytes32(&mut lines, b"T1 4 8 6 SINGLE_TAG");
    let mut sent = RegisterBroker::new(identity(), "", &topics(), Compression::Zlib);
    sent.terms.body_crc = 0;
    sent.body = Cow::Owned(miniz_oxide::deflate::compress_to_vec_zlib(&lines, 6));
    let got = sent.topics().unwrap();
    assert_eq!((got.version.counter, got.version.timestamp), (1, 2));
    let topic = &got.topics[0];
    assert_eq!((&*topic.topic, topic.read_queues, topic.write_queues), ("T1", 4, 8));
}

#[test]
fn a_broker_says_that_it_is_there_and_that_it_goes() {
    let BrokerIdentity { broker_name, address, cluster, broker_id } = identity();
    let leaves = UnregisterBroker { broker_name, address, cluster, broker_id };
    received(&leaves, HeaderKind::Json, |request| {
        assert_eq!(request, Request::Registry(Registry::Unregister(leaves.clone())));
    });
}

#[test]
fn answers_say_what_brokers_and_tools_look_for() {
    let answer = |answer: &dyn Answer| {
        let mut bytes = Vec::new();
        answer.write(HeaderKind::Json, 1, &mut bytes);
        String::from_utf8_lossy(&bytes[8..]).into_owned()
    };
    let known = Some(topics().version);
    let version = answer(&VersionAnswer { changed: false, known });
    assert!(version.contains(r#""changed":"false""#), "{version}");
    let body = r#"{"counter":12,"stateVersion":0,"timestamp":1700000000000}"#;
    assert!(version.ends_with(body), "{version}");
    assert!(answer(&TouchedTopics::Wiped(3)).contains(r#""wipeTopicCount":"3""#));
    assert!(answer(&TouchedTopics::Added(0)).contains(r#""addTopicCount":"0""#));
    let header = RegistrationAnswer { ha_address: None, master_address: Some("h:1".into()) };
    let registered = answer(&Registered { header, orders: crate::KvTable::default() });
    assert!(registered.contains(r#""masterAddr":"h:1""#) && registered.ends_with('}'));
}
