use millrace_client::decompress;
use millrace_connect_api::{Change, Messages};

/// What the bodies of one batch may take once they are decompressed, but for the first of them. A
/// pull brings a megabyte, of which bombs would make as many as they like. Little in tests, which are
/// to see several batches.
pub(crate) const BATCH_BYTES: usize = if cfg!(test) { 40 } else { 64 << 20 };

/// The messages with bodies as their producers meant them; where these would take more memory than
/// they may, only the first of the messages, up to [`Messages::to`].
pub(crate) fn decompressed(messages: Messages, bytes_max: usize) -> Messages {
    if messages.compressed().is_empty() {
        return messages;
    }
    let (mut bytes, mut end) = (Vec::new(), messages.len());
    let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
    for &number in messages.compressed() {
        let row = number as usize;
        let Some(record) = messages.record(row) else { continue };
        match decompress(record.body(), record.sys_flag()) {
            Ok(body) if !bytes.is_empty() && bytes.len().saturating_add(body.len()) > bytes_max => {
                end = row;
                break;
            }
            Ok(body) => {
                let begin = bytes.len();
                bytes.extend_from_slice(&body);
                changes.push(Change { row, body: Some(begin..bytes.len()), properties: None });
            }
            Err(reason) => unreadable.push((number, reason)),
        }
    }
    messages.before(end).changed(bytes.into(), changes).with_unreadable(unreadable)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use millrace_connect_api::QueueRef;
    use millrace_types::record::{Draft, Stamp, encode, sys_flag};
    use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

    use super::*;

    /// The system flag of a body that [`frame`] made.
    pub(crate) const LZ4: u32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_LZ4;

    /// A body as a producer compresses it: a frame of LZ4 whose one block is as it was.
    pub(crate) fn frame(body: &str) -> Vec<u8> {
        let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
        frame.extend_from_slice(&(body.len() as u32 | 1 << 31).to_le_bytes());
        frame.extend_from_slice(body.as_bytes());
        frame.extend_from_slice(&0_u32.to_le_bytes());
        frame
    }

    /// Messages with these system flags and bodies, at every second offset from 10 on.
    fn messages(rows: &[(u32, Vec<u8>)]) -> Messages {
        let topic = TopicName::parse("t").unwrap();
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let mut run = Vec::new();
        for (number, (sys_flag, body)) in (0..).zip(rows) {
            let draft = Draft {
                topic: topic.as_str(),
                queue_id: QueueId(0),
                flag: 0,
                sys_flag: *sys_flag,
                born_at_ms: 1,
                born_host: host,
                reconsume_times: 0,
                prepared_offset: PhysicalOffset(0),
                body,
                properties: b"",
            };
            let stamp = Stamp {
                queue_offset: QueueOffset(10 + 2 * number),
                physical_offset: PhysicalOffset(0),
                store_at_ms: 2,
                store_host: host,
                more: false,
            };
            encode(&draft, &stamp, &mut run);
        }
        let to = QueueOffset(10 + 2 * rows.len() as u64);
        let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(0) };
        Messages::parse(queue, QueueOffset(10), to, vec![run.into()]).unwrap()
    }

    /// The bodies that are left, where they end, and which of them cannot be read.
    #[track_caller]
    fn check(
        rows: &[(u32, Vec<u8>)],
        bytes_max: usize,
        left: &[&str],
        to: u64,
        unreadable: &[u32],
    ) {
        let given = decompressed(messages(rows), bytes_max);
        let bodies: Vec<_> = given
            .iter()
            .map(|message| String::from_utf8_lossy(message.body).into_owned())
            .collect();
        assert_eq!(bodies, left);
        assert_eq!(given.to(), QueueOffset(to));
        let numbers: Vec<_> = given.unreadable().iter().map(|(row, _)| *row).collect();
        assert_eq!(numbers, unreadable);
        for (row, (sys_flag, body)) in rows.iter().enumerate().take(given.len()) {
            let record = given.record(row).unwrap();
            assert_eq!((record.sys_flag(), record.body()), (*sys_flag, &body[..]), "in the log");
        }
    }

    #[test]
    fn bodies_are_read_as_their_producers_meant_them() {
        let plain = |body: &str| (0, body.as_bytes().to_vec());
        let small = |body: &str| (LZ4, frame(body));
        check(&[plain("a"), plain("b")], 0, &["a", "b"], 14, &[]);
        check(&[small("a"), plain("b"), small("c")], 100, &["a", "b", "c"], 16, &[]);
        check(&[plain("a"), (LZ4, b"no".to_vec()), small("c")], 9, &["a", "no", "c"], 16, &[1]);
    }

    #[test]
    fn what_takes_too_much_memory_is_left_for_later() {
        let plain = |body: &str| (0, body.as_bytes().to_vec());
        let small = |body: &str| (LZ4, frame(body));
        let rows = [plain("a"), small("bbbb"), plain("c"), small("dddd"), (LZ4, b"no".to_vec())];
        check(&rows, 8, &["a", "bbbb", "c", "dddd", "no"], 20, &[4]);
        // Up to the message that is too much, whatever lies between it and the one before.
        check(&rows, 7, &["a", "bbbb", "c"], 16, &[]);
        // There is always one.
        check(&rows, 0, &["a", "bbbb", "c"], 16, &[]);
        check(&[(LZ4, b"no".to_vec()), small("b"), small("c")], 0, &["no", "b"], 14, &[0]);
    }

    #[test]
    fn repeated_messages_are_as_readable_as_before() {
        let rows = [(0, b"a".to_vec()), (LZ4, b"no".to_vec()), (LZ4, frame("c"))];
        let repeated = decompressed(messages(&rows), 9).repeated(&[1, 1, 2]);
        let numbers: Vec<_> = repeated.unreadable().iter().map(|(row, _)| *row).collect();
        assert_eq!((numbers, repeated.compressed()), (vec![0, 1], &[0, 1, 2][..]));
        assert_eq!(repeated.get(2).body, b"c");
    }
}
