use millrace_protocol::{batch_items, push_batch_item};
use millrace_types::record::{self, Draft, PREFIX_BYTES, Record, Stamp, Verified};
use millrace_types::{Properties, PropertiesBuf, keys};

use super::crc32;

/// A record of any bytes, and the same bytes with the size and the checksum that they should have.
pub fn record(bytes: &[u8]) {
    read_records(bytes);
    let mended = mend(bytes);
    read_records(&mended);
    let Ok(whole) = Record::parse(&mended) else {
        return;
    };
    assert_eq!(whole.verify(), Ok(Verified::Whole));
    encode_again(&whole);
    // Whatever byte is different, it is no longer this record.
    let at = bytes.first().map_or(0, |first| usize::from(*first) * 7 % mended.len());
    let mut flipped = mended.clone();
    flipped[at] ^= 1 << (bytes.len() % 8);
    let still = Record::parse(&flipped).is_ok_and(|record| record.verify_whole().is_ok());
    assert!(!still, "byte {at} is not covered");
}

fn read_records(bytes: &[u8]) {
    for record in record::iter(bytes) {
        let Ok(record) = record else {
            return;
        };
        let verified = record.verify();
        assert_eq!(record.verify_whole().is_ok(), verified == Ok(Verified::Whole));
        let fields = (
            (record.queue_id(), record.flag(), record.queue_offset(), record.physical_offset()),
            (record.sys_flag(), record.born_at_ms(), record.born_host(), record.store_at_ms()),
            (record.store_host(), record.reconsume_times(), record.prepared_offset()),
            (record.body(), record.topic(), record.tags_code(), record.more()),
        );
        std::hint::black_box(fields);
        read_properties(record.properties());
        assert_eq!(&record.as_bytes()[record.body_range()], record.body());
        let mut sent = Vec::new();
        record.write_for_client(&mut sent);
        let received = Record::parse(&sent).expect("what clients are sent is a record");
        assert_eq!(received.body(), record.body());
        assert_eq!(received.properties().as_bytes(), record.properties().as_bytes());
    }
}

/// The bytes as one record: with their own length as the size, and the checksum at the end.
fn mend(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(out.len().max(PREFIX_BYTES), 0);
    let total = (out.len() + 20) as u32;
    out[..4].copy_from_slice(&total.to_be_bytes());
    // 31 bits of CRC-32 in ten digits, the last one first.
    let mut crc = crc32(&out) & 0x7FFF_FFFF;
    out.extend_from_slice(b"__CRC32#\x01");
    for _ in 0..10 {
        out.push(b'0' + (crc % 10) as u8);
        crc /= 10;
    }
    out.push(2);
    out
}

/// What was decoded gives the same record when it is encoded again.
fn encode_again(whole: &Record<'_>) {
    let draft = Draft {
        topic: whole.topic(),
        queue_id: whole.queue_id(),
        flag: whole.flag(),
        sys_flag: whole.sys_flag(),
        born_at_ms: whole.born_at_ms(),
        born_host: whole.born_host(),
        reconsume_times: whole.reconsume_times(),
        prepared_offset: whole.prepared_offset(),
        body: whole.body(),
        properties: whole.properties().as_bytes(),
    };
    let stamp = Stamp {
        queue_offset: whole.queue_offset(),
        physical_offset: whole.physical_offset(),
        store_at_ms: whole.store_at_ms(),
        store_host: whole.store_host(),
        more: whole.more(),
    };
    let mut again = Vec::new();
    record::encode(&draft, &stamp, &mut again);
    assert_eq!(again.len(), record::encoded_len(&draft, stamp.store_host, stamp.more));
    let again = Record::parse(&again).expect("an encoded record");
    assert_eq!(again.verify(), Ok(Verified::Whole));
    assert_eq!(
        (again.body(), again.topic(), again.more(), again.born_host(), again.store_host()),
        (draft.body, draft.topic, stamp.more, draft.born_host, stamp.store_host)
    );
}

/// The body of a producer's batch.
pub fn batch(bytes: &[u8]) {
    for item in batch_items(bytes) {
        let Ok(item) = item else {
            return;
        };
        read_properties(Properties::new(item.properties));
        let mut again = Vec::new();
        push_batch_item(&item, &mut again);
        let read: Vec<_> = batch_items(&again).collect();
        assert_eq!(read, [Ok(item)]);
    }
}

/// The properties of a message.
pub fn properties(bytes: &[u8]) {
    let read = Properties::new(bytes);
    read_properties(read);
    // A builder leaves out separators, and what is not text is not given out one by one.
    let separated = |text: &str| !text.contains(['\u{1}', '\u{2}']);
    if std::str::from_utf8(bytes).is_err() || !read.iter().all(|(_, value)| separated(value)) {
        return;
    }
    let mut again = PropertiesBuf::new();
    for (name, value) in read.iter() {
        again.push(name, value);
    }
    assert!(read.iter().eq(again.view().iter()));
    for (name, _) in read.iter() {
        assert_eq!(read.get(name), again.view().get(name));
    }
}

fn read_properties(properties: Properties<'_>) {
    let names = [keys::TAGS, keys::KEYS, keys::UNIQ_KEY, keys::CRC32];
    assert_eq!(properties.pick(names), names.map(|name| properties.get(name)));
    std::hint::black_box(properties.iter().count());
}
