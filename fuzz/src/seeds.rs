use millrace_protocol::{
    AppendGroupWriter, AppendWait, BatchItem, Call, CallMode, GroupMessage, HeaderKind,
    RequestCode, SendMessage, push_batch_item,
};
use millrace_types::record::{self, Draft, Stamp};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset};

use super::stores;

/// Where the fuzzer of a target starts.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "record" => records(),
        "batch" => vec![batch_of(1), batch_of(3)],
        "properties" => vec![b"TAGS\x01t\x02KEYS\x01a b\x02UNIQ_KEY\x017F\x02".to_vec()],
        "queue_index" => stores::runs(),
        "recovery" => recoveries(),
        "snapshot" => vec![vec![0], b"\x01topic\x00".to_vec()],
        "frame" => vec![frame_of(HeaderKind::Json), frame_of(HeaderKind::Binary)],
        "header_json" => vec![header_of(HeaderKind::Json)],
        "header_binary" => vec![header_of(HeaderKind::Binary)],
        "request" => requests(),
        other => panic!("no target is called {other}"),
    }
}

/// Without the checksum, which the target adds.
fn records() -> Vec<Vec<u8>> {
    let long = "t".repeat(200);
    let hosts = [([127, 0, 0, 1], 9).into(), "[::1]:9".parse().expect("an address")];
    let mut out = Vec::new();
    for (topic, host) in [("orders", hosts[0]), ("a", hosts[1]), (long.as_str(), hosts[0])] {
        for more in [false, true] {
            let draft = Draft {
                topic,
                queue_id: QueueId(3),
                flag: 0,
                sys_flag: 0,
                born_at_ms: 1,
                born_host: host,
                reconsume_times: 0,
                prepared_offset: PhysicalOffset(0),
                body: b"body",
                properties: b"TAGS\x01t\x02",
            };
            let stamp = Stamp {
                queue_offset: QueueOffset(7),
                physical_offset: PhysicalOffset(4096),
                store_at_ms: 2,
                store_host: host,
                more,
            };
            let mut bytes = Vec::new();
            record::encode(&draft, &stamp, &mut bytes);
            bytes.truncate(bytes.len() - 20);
            out.push(bytes);
        }
    }
    out
}

fn batch_of(count: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for n in 0..count {
        let body = &b"a body"[n..];
        push_batch_item(
            &BatchItem { flag: n as i32, body, properties: b"TAGS\x01t\x02" },
            &mut out,
        );
    }
    out
}

/// Every kind of change once, to each of the directories.
fn recoveries() -> Vec<Vec<u8>> {
    let change = |which: u8, file: u8, what: u8| vec![which, file, what, 1, 44, 0xFF, 1, 2, 3];
    let all = (0..3).flat_map(|which| (0..10).map(move |what| (which, what)));
    all.map(|(which, what)| change(which, which * 3 + what, what)).collect()
}

fn frame_of(kind: HeaderKind) -> Vec<u8> {
    let mut out = Vec::new();
    let mut send = SendMessage::new("orders", b"a body");
    send.properties = "TAGS\u{1}t\u{2}".into();
    send.write(kind, 7, CallMode::Answered, &mut out);
    out
}

fn header_of(kind: HeaderKind) -> Vec<u8> {
    let frame = frame_of(kind);
    let len = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]) as usize;
    frame[8..8 + len].to_vec()
}

fn requests() -> Vec<Vec<u8>> {
    let fields = r#""a":"group","b":"orders","e":"1","consumerGroup":"group","topic":"orders","queueId":"1","queueOffset":"5","maxMsgNums":"32","sysFlag":"1","commitOffset":"3","offset":"3","key":"k","timestamp":"9","clientID":"c""#;
    let mut group = AppendGroupWriter::new(AppendWait::Durable, None);
    group.push(&GroupMessage {
        topic: "orders",
        queue_id: QueueId(1),
        flag: 0,
        sys_flag: 0,
        born_at_ms: 1,
        properties: b"TAGS\x01t\x02",
        body: b"a body",
    });
    let heartbeat = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[{"topic":"t","subString":"*","tagsSet":[],"codeSet":[],"subVersion":1}]}],"producerDataSet":[{"groupName":"p"}]}"#;
    let route = br#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:1"},"brokerName":"b","cluster":"c"}],"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;
    let bodies = [group.as_bytes(), heartbeat, route, &batch_of(2), b""];
    let codes = 0..RequestCode::ALL.len() as u8;
    codes
        .map(|code| {
            let mut out = vec![code, 0x80 | (fields.len() >> 8) as u8, fields.len() as u8];
            out.extend_from_slice(fields.as_bytes());
            out.extend_from_slice(bodies[usize::from(code) % bodies.len()]);
            out
        })
        .collect()
}
