use super::SendMessage;
use crate::fields::FieldText;
use crate::header::{JsonHead, ONEWAY, RESPONSE};
use crate::json::{NotJson, Scanner};
use crate::{CallMode, Frame, HeaderKind, Language};

/// A send whose header was understood in one walk.
///
/// Sends are most of what a broker gets, and most clients write them the same way: a JSON header
/// whose code comes first and whose fields have names of one letter. Such a header is read into a
/// [`SendMessage`] while its end is looked for. Everything else is none of a `QuickSend`'s business
/// and goes the general way, [`Frame::header`] and [`crate::Request::decode`], which understands
/// these headers too and comes to the same result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuickSend<'a> {
    /// Correlates the answer with the request.
    pub opaque: i32,
    /// Whether an answer is wanted.
    pub mode: CallMode,
    /// What the sender is written in.
    pub language: Language,
    /// The sender's version.
    pub version: i32,
    /// What it sends.
    pub message: SendMessage<'a>,
}

const STARTS: [&[u8]; 2] = [b"{\"code\":310,", b"{\"code\":320,"];
/// More fields than a send has: the general way counts them.
const FIELDS_MAX: usize = 32;

impl<'a> QuickSend<'a> {
    /// Reads a send that is written in the usual way and has no mistakes.
    pub fn read(frame: &Frame<'a>) -> Option<Self> {
        let is_usual = STARTS.iter().any(|start| frame.header.starts_with(start));
        if frame.header_kind != HeaderKind::Json || !is_usual {
            return None;
        }
        let mut message = SendMessage::unread(frame.body);
        let mut read = false;
        let head = JsonHead::scan(frame.header, |scanner| {
            // Of fields that come twice the last ones count, as a whole.
            if std::mem::replace(&mut read, true) {
                return Err(NotJson);
            }
            read_fields(scanner, &mut message).ok_or(NotJson)
        });
        let head = head.ok()?;
        message.check().ok()?;
        message.batch |= head.code == 320;
        let mode = if head.flag & ONEWAY == 0 { CallMode::Answered } else { CallMode::Oneway };
        let JsonHead { opaque, language, version, flag, .. } = head;
        let is_request = flag & RESPONSE == 0 && matches!(head.code, 310 | 320);
        is_request.then_some(Self { opaque, mode, language, version, message })
    }
}

fn read_fields<'a>(scanner: &mut Scanner<'a>, message: &mut SendMessage<'a>) -> Option<()> {
    for _ in 0..FIELDS_MAX {
        if scanner.leave(b'}') {
            return Some(());
        }
        let name = scanner.letter()?;
        let value = FieldText::of(scanner.value().ok()?);
        if !value.is_absent() {
            message.read(name, value).ok()?;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Call, Limits, Request, Split};

    /// What the general way makes of the same frame.
    fn general<'a>(frame: &Frame<'a>) -> Option<QuickSend<'a>> {
        let header = frame.header().ok()?;
        let Ok(Request::Send(message)) = Request::decode(&header, frame.body) else {
            return None;
        };
        let mode = if header.is_oneway() { CallMode::Oneway } else { CallMode::Answered };
        let (opaque, language, version) = (header.opaque, header.language, header.version);
        (!header.is_response()).then_some(QuickSend { opaque, mode, language, version, message })
    }

    fn framed(header: &str) -> Frame<'_> {
        Frame { header_kind: HeaderKind::Json, header: header.as_bytes(), body: b"body" }
    }

    #[test]
    fn what_java_writes_is_read_quickly() {
        let header = concat!(
            r#"{"code":310,"extFields":{"a":"group","b":"orders","c":"TBW102","d":"4","e":"3","#,
            r#""f":"1","g":"1700000000000","h":"-1","i":"UNIQ_KEY\u00017F\u0002WAIT\u0001true","#,
            r#""j":"2","k":"false","l":"16","m":"false","n":"broker-a"},"flag":2,"#,
            r#""language":"JAVA","opaque":77,"serializeTypeCurrentRPC":"JSON","version":475}"#
        );
        let frame = framed(header);
        let quick = QuickSend::read(&frame).unwrap();
        assert_eq!(quick.message.properties, "UNIQ_KEY\u{1}7F\u{2}WAIT\u{1}true");
        assert_eq!(Some(&quick), general(&frame).as_ref());
        assert_eq!((quick.opaque, quick.mode), (77, CallMode::Oneway));
        let batch = header.replacen("310", "320", 1);
        let frame = framed(&batch);
        assert!(QuickSend::read(&frame).unwrap().message.batch);
        assert_eq!(QuickSend::read(&frame), general(&frame));
    }

    #[test]
    fn what_we_write_is_read_quickly() {
        let sent = SendMessage::new("orders", b"body");
        let mut bytes = Vec::new();
        sent.write(HeaderKind::Json, 5, CallMode::Answered, &mut bytes);
        let Ok(Split::Frame(frame, _)) = Frame::split(&bytes, &Limits::default()) else {
            panic!("not a frame");
        };
        assert_eq!(QuickSend::read(&frame).map(|quick| quick.message), Some(sent));
    }

    #[track_caller]
    fn check_left(header: &str) {
        assert_eq!(QuickSend::read(&framed(header)), None, "{header}");
    }

    #[test]
    fn what_is_unusual_or_wrong_is_left_to_the_general_way() {
        check_left(r#"{"code":310,"extFields":{"topic":"t","e":"0"},"opaque":1}"#);
        check_left(r#"{"extFields":{"b":"t","e":"0"},"code":310,"opaque":1}"#);
        check_left(r#"{"code":310,"extFields":{"b":"t","e":"x"},"opaque":1}"#);
        check_left(r#"{"code":310,"extFields":{"b":"t"},"opaque":1}"#);
        check_left(r#"{"code":310,"extFields":{"e":"0"},"opaque":1}"#);
        check_left(r#"{"code":310,"extFields":{"b":"t","e":"0"}}"#);
        check_left(r#"{"code":310,"extFields":{"b":"t","e":"0"},"opaque":1,"flag":1}"#);
        check_left(r#"{"code":310,"extFields":{"b":"t","e":"0"},"opaque":1,"code":11}"#);
        check_left(r#"{"code":310,"opaque":1}"#);
    }

    /// Pieces of headers, most of which fit together.
    fn headers() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            8 => "[a-n]",
            1 => Just("topic".to_owned()),
            1 => Just("queueId".to_owned()),
            1 => "[ \"\\\\a:]{0,2}",
        ];
        let value = prop_oneof![
            6 => "[0-9]{1,20}",
            3 => "[a-zA-Z%_]{1,12}",
            2 => r"(\\u000[0-9a-f]|[a-z]|\\[nq\\]){1,6}",
            1 => Just(String::new()),
        ];
        let pair = (name, value, 0..12usize).prop_map(|(name, value, form)| match form {
            0 => format!(r#""{name}": "{value}" "#),
            1 => format!(r#""{name}":{value}"#),
            2 => format!(r#""{name}":null"#),
            3 => format!("'{name}':'{value}'"),
            _ => format!(r#""{name}":"{value}""#),
        });
        let needed = prop_oneof![6 => Just(r#""b":"t","e":"0","#), 1 => Just("")];
        let some = prop::collection::vec(pair.clone(), 0..5);
        let many = prop::collection::vec(pair, 0..36);
        let fields = (needed, prop_oneof![5 => some, 1 => many])
            .prop_map(|(needed, pairs)| format!("\"extFields\":{{{needed}{}}}", pairs.join(",")));
        let member = prop_oneof![
            4 => "\"opaque\":-?[0-9]{1,3}",
            2 => "\"flag\":[0-4]",
            2 => "\"version\":[0-9]{1,3}",
            1 => "\"code\":(10|310|320|11)",
            1 => "\"language\":\"(JAVA|GO|XX)\"",
            1 => "\"remark\":(null|\"x\")",
            1 => "[\"}{a,:]{1,2}",
        ];
        let members = prop::collection::vec(member, 0..5).prop_map(|members| members.join(","));
        let start =
            prop_oneof![6 => Just("{\"code\":310,"), 1 => Just("{\"code\":320,"), 1 => Just("{")];
        let fields = prop::collection::vec(fields, 1..=2).prop_map(|fields| fields.join(","));
        (start, fields, members).prop_map(|(start, fields, members)| {
            format!("{start}{fields},\"opaque\":1,{members}}}")
        })
    }

    proptest! {
        #[test]
        fn both_ways_come_to_the_same_result(header in headers()) {
            let frame = framed(&header);
            if let Some(quick) = QuickSend::read(&frame) {
                prop_assert_eq!(Some(quick), general(&frame));
            }
        }

        /// So that the law above does not hold for want of quick sends.
        #[test]
        fn usual_headers_are_read_quickly(
            topic in "[a-zA-Z%_]{1,12}", rest in "[a-z]{0,9}", queue in -1..9i32, opaque in any::<i32>(),
        ) {
            let header = format!(
                r#"{{"code":310,"extFields":{{"a":"{rest}","b":"{topic}","e":"{queue}","i":"{rest}\u0001x"}},"flag":0,"opaque":{opaque}}}"#
            );
            let frame = framed(&header);
            prop_assert!(QuickSend::read(&frame).is_some());
            prop_assert_eq!(QuickSend::read(&frame), general(&frame));
        }
    }
}
