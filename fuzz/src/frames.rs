use millrace_protocol::{
    AppendGroup, Appended, CallMode, ClusterInfo, ConsumerList, Done, Fenced, Frame, Header,
    HeaderKind, HelloAnswer, Limits, LockedQueues, OffsetAnswer, PullAnswer, PullStored, QuickSend,
    Registry, Request, RequestCode, ResponseCode, SendAnswer, Split, StoredAnswer, TopicRoute,
    batch_items,
};

const LIMITS: Limits = Limits { frame_bytes_max: 1 << 20, header_bytes_max: 1 << 18 };

/// Bytes as they come from a connection.
pub fn frame(mut bytes: &[u8]) {
    while let Ok(split) = Frame::split(bytes, &LIMITS) {
        let (frame, total) = match split {
            Split::Frame(frame, total) => (frame, total),
            Split::Partial(more) => {
                assert!(more > 0 && bytes.len() + more <= LIMITS.frame_bytes_max);
                return;
            }
        };
        assert!(total <= bytes.len() && frame.header.len() + frame.body.len() + 8 == total);
        if let Ok(header) = frame.header() {
            read_header(&header);
            std::hint::black_box(Request::decode(&header, frame.body).is_ok());
            read_quickly(&frame, &header);
        }
        bytes = &bytes[total..];
    }
}

/// A header in JSON.
pub fn header_json(bytes: &[u8]) {
    header(HeaderKind::Json, bytes);
}

/// A header in RocketMQ's own layout.
pub fn header_binary(bytes: &[u8]) {
    header(HeaderKind::Binary, bytes);
}

fn header(header_kind: HeaderKind, header: &[u8]) {
    let frame = Frame { header_kind, header, body: &[] };
    if let Ok(header) = frame.header() {
        read_header(&header);
        read_quickly(&frame, &header);
    }
}

/// What is read the quick way is what the general way makes of it.
fn read_quickly(frame: &Frame<'_>, header: &Header<'_>) {
    if let Some(quick) = QuickSend::read(frame) {
        let Ok(Request::Send(message)) = Request::decode(header, frame.body) else {
            panic!("read the quick way only");
        };
        assert_eq!(quick.message, message);
        let is_oneway = quick.mode == CallMode::Oneway;
        assert_eq!(
            (quick.opaque, is_oneway, quick.language, quick.version),
            (header.opaque, header.is_oneway(), header.language, header.version)
        );
    }
}

fn read_header(header: &Header<'_>) {
    let flags = (header.is_response(), header.is_oneway(), header.language.name());
    std::hint::black_box((flags, header.remark.len()));
    for pair in header.fields.iter() {
        let Ok((name, text)) = pair else {
            return;
        };
        std::hint::black_box((text.int::<i32>(), text.flag(), text.text()));
        if let Ok(name) = std::str::from_utf8(name) {
            std::hint::black_box(header.fields.get(name));
        }
    }
}

/// A code, the fields of a header and a body: what a handler or a client sees.
///
/// | bytes | field                                      |
/// |-------|--------------------------------------------|
/// | 1     | which of the known codes                   |
/// | 2     | bytes of the fields; the highest bit: JSON |
/// | n     | the fields, as the kind of header has them |
/// | rest  | the body                                   |
pub fn request(bytes: &[u8]) {
    let Some((&[code, high, low], rest)) = bytes.split_first_chunk::<3>() else {
        return;
    };
    let code = RequestCode::ALL[usize::from(code) % RequestCode::ALL.len()];
    let len = usize::from(high & 0x7F) << 8 | usize::from(low);
    let (fields, body) = rest.split_at(len.min(rest.len()));
    let (header_kind, header) = match high & 0x80 {
        0 => (HeaderKind::Binary, binary_header(code, fields)),
        _ => (HeaderKind::Json, json_header(code, fields)),
    };
    let frame = Frame { header_kind, header: &header, body };
    let Ok(header) = frame.header() else {
        return;
    };
    read(&header, body);
}

fn binary_header(code: RequestCode, fields: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&(code.0 as i16).to_be_bytes());
    out.push(0); // language
    out.extend_from_slice(&479i16.to_be_bytes());
    out.extend_from_slice(&[0; 4]); // opaque
    out.extend_from_slice(&[0; 4]); // flag
    out.extend_from_slice(&[0; 4]); // remark
    out.extend_from_slice(&(fields.len() as i32).to_be_bytes());
    out.extend_from_slice(fields);
    out
}

fn json_header(code: RequestCode, fields: &[u8]) -> Vec<u8> {
    let head = r#"{"language":"JAVA","version":479,"opaque":1,"flag":0,"code":"#;
    let mut out = format!(r#"{head}{},"extFields":{{"#, code.0).into_bytes();
    out.extend_from_slice(fields);
    out.extend_from_slice(b"}}");
    out
}

/// A request as a handler reads it, and the same bytes as the answers that a client reads.
pub(crate) fn read(header: &Header<'_>, body: &[u8]) {
    match Request::decode(header, body) {
        Ok(Request::AppendGroup(group)) => assert_eq!(group.messages().count(), group.len()),
        Ok(Request::Registry(Registry::Register(register))) => {
            std::hint::black_box(register.topics().is_ok());
        }
        _ => {}
    }
    let success = &Header { code: ResponseCode::SUCCESS.0, ..header.clone() };
    let fenced = &Header { code: ResponseCode::MR_FENCED.0, ..header.clone() };
    let answers = [
        Done::decode(success).is_ok(),
        SendAnswer::decode(success).is_ok_and(|sent| sent.message_ids.iter().count() > 0),
        PullAnswer::decode(success).is_ok(),
        OffsetAnswer::decode(success).is_ok(),
        HelloAnswer::decode(success).is_ok(),
        Appended::decode(success, body).is_ok(),
        StoredAnswer::decode(success, body).is_ok(),
        Fenced::decode(fenced).is_some(),
        TopicRoute::decode(body).is_ok(),
        ClusterInfo::decode(body).is_ok(),
        ConsumerList::decode(body).is_ok(),
        LockedQueues::decode(body).is_ok(),
        AppendGroup::decode(body).is_ok(),
        PullStored::decode(body).is_ok(),
        batch_items(body).all(|item| item.is_ok()),
    ];
    std::hint::black_box(answers);
}
