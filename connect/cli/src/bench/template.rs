use millrace_protocol::{BatchItem, Call, CallMode, HeaderKind, SendMessage, push_batch_item};
use millrace_types::QueueId;

/// A request ready to be copied. Only what must differ from copy to copy is written into it: the
/// opaque, and the unique id of each message, as clients make them.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    opaque_at: usize,
    /// Where the count in each message's unique id starts.
    counts_at: Vec<usize>,
    /// Where the first message's payload starts.
    body_at: usize,
}

/// Opaques have ten digits from here on, so that each fits in the place of another.
pub(crate) const OPAQUE_MIN: i32 = 1_000_000_000;
/// What a unique id starts with; a count of 16 hex digits follows.
const UNIQUE_START: &str = "7F00000100002A9F";
const COUNT_DIGITS: usize = 16;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) topic: &'a str,
    /// Bytes of each message's body.
    pub(crate) size: usize,
    /// Messages in one request.
    pub(crate) batch: usize,
    pub(crate) mode: CallMode,
}

impl Template {
    /// A send to one queue.
    pub(crate) fn of_send(shape: Shape<'_>, queue: u32, born_at_ms: i64) -> Self {
        let body: Vec<u8> = (0..shape.size).map(|n| b'a' + (n % 26) as u8).collect();
        let unique =
            format!("UNIQ_KEY\u{1}{UNIQUE_START}{:0COUNT_DIGITS$}\u{2}WAIT\u{1}true\u{2}", 0);
        let items = if shape.batch == 1 {
            body.clone()
        } else {
            let mut items = Vec::new();
            let item = BatchItem { flag: 0, body: &body, properties: unique.as_bytes() };
            (0..shape.batch).for_each(|_| push_batch_item(&item, &mut items));
            items
        };
        let properties = if shape.batch == 1 { unique } else { "WAIT\u{1}true\u{2}".to_owned() };
        let message = SendMessage {
            producer_group: "millrace-bench".into(),
            default_topic: "TBW102".into(),
            queue_id: Some(QueueId(queue)),
            born_at_ms,
            properties: properties.into(),
            batch: shape.batch > 1,
            ..SendMessage::new(shape.topic, &items)
        };
        let mut bytes = Vec::new();
        message.write(HeaderKind::Json, OPAQUE_MIN, shape.mode, &mut bytes);
        let opaque = format!("\"opaque\":{OPAQUE_MIN}");
        let opaque_at = find(&bytes, opaque.as_bytes()).expect("every request has an opaque");
        let opaque_at = opaque_at + opaque.len() - 10;
        let counts_at = find_all(&bytes, UNIQUE_START.as_bytes());
        let counts_at = counts_at.into_iter().map(|at| at + UNIQUE_START.len()).collect();
        let body_at = find(&bytes, &body).unwrap_or(bytes.len());
        Self { bytes, opaque_at, counts_at, body_at }
    }

    /// Appends a copy; each of its messages takes the next number from `count`.
    pub(crate) fn copy(&self, opaque: i32, count: &mut u64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let copy = &mut out[start..];
        let mut left = opaque.unsigned_abs();
        for digit in copy[self.opaque_at..][..10].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        for at in &self.counts_at {
            *count += 1;
            let mut left = *count;
            for digit in copy[*at..][..COUNT_DIGITS].iter_mut().rev() {
                *digit = b"0123456789ABCDEF"[(left & 15) as usize];
                left >>= 4;
            }
        }
    }

    /// The same, with a number at the start of the payload, which must have room for it.
    pub(crate) fn copy_stamped(&self, opaque: i32, count: &mut u64, stamp: u64, out: &mut Vec<u8>) {
        let start = out.len();
        self.copy(opaque, count, out);
        out[start + self.body_at..][..8].copy_from_slice(&stamp.to_be_bytes());
    }
}

/// The opaque after this one.
pub(crate) fn next_opaque(opaque: i32) -> i32 {
    opaque.checked_add(1).unwrap_or(OPAQUE_MIN)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let windows = haystack.windows(needle.len()).enumerate();
    windows.filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use millrace_protocol::{Frame, Limits, Request, Split, batch_items};
    use millrace_types::Properties;

    use super::*;

    #[track_caller]
    fn check(batch: usize) {
        let shape = Shape { topic: "t", size: 100, batch, mode: CallMode::Answered };
        let template = Template::of_send(shape, 3, 1_700_000_000_000);
        let (mut out, mut count) = (vec![1, 2, 3], 0x1F);
        template.copy_stamped(2_000_000_001, &mut count, 77, &mut out);
        assert_eq!(out.len(), 3 + template.bytes.len());
        let Ok(Split::Frame(frame, _)) = Frame::split(&out[3..], &Limits::default()) else {
            panic!("not a frame");
        };
        let header = frame.header().unwrap();
        assert_eq!(header.opaque, 2_000_000_001);
        let Ok(Request::Send(sent)) = Request::decode(&header, frame.body) else {
            panic!("not a send");
        };
        assert_eq!((&*sent.topic, sent.queue_id, sent.batch), ("t", Some(QueueId(3)), batch > 1));
        let messages: Vec<_> = if batch > 1 {
            batch_items(sent.body).map(|item| item.unwrap()).collect()
        } else {
            let properties = sent.properties.as_bytes();
            vec![BatchItem { flag: 0, body: sent.body, properties }]
        };
        assert_eq!(messages.len(), batch);
        assert_eq!(messages[0].body[..8], 77u64.to_be_bytes());
        for (n, message) in messages.iter().enumerate() {
            let unique = Properties::new(message.properties).get("UNIQ_KEY").unwrap();
            assert_eq!(unique, format!("{UNIQUE_START}{:016X}", 0x20 + n));
            assert_eq!(message.body.len(), 100);
        }
    }

    #[test]
    fn a_copy_differs_in_nothing_but_its_numbers() {
        check(1);
        check(64);
        assert_eq!(next_opaque(i32::MAX), OPAQUE_MIN);
    }
}
