use super::*;

fn draft<'a>(topic: &'a str, body: &'a [u8], properties: &'a [u8]) -> Draft<'a> {
    Draft {
        topic,
        queue_id: QueueId(3),
        flag: 7,
        sys_flag: 0,
        born_at_ms: 1_700_000_000_000,
        born_host: "10.0.0.1:4711".parse().unwrap(),
        reconsume_times: 2,
        prepared_offset: PhysicalOffset(99),
        body,
        properties,
    }
}

fn encoded(draft: &Draft<'_>, store_host: &str, more: bool) -> Vec<u8> {
    let stamp = Stamp {
        queue_offset: QueueOffset(5),
        physical_offset: PhysicalOffset(1000),
        store_at_ms: 1_700_000_000_001,
        store_host: store_host.parse().unwrap(),
        more,
    };
    let mut out = Vec::new();
    encode(draft, &stamp, &mut out);
    assert_eq!(out.len(), encoded_len(draft, stamp.store_host, more));
    out
}

#[test]
fn every_field_survives() {
    for (topic_len, host) in [(6, "127.0.0.1:10911"), (200, "[::1]:10911")] {
        let topic = "t".repeat(topic_len);
        let bytes = encoded(&draft(&topic, b"hello", b"TAGS\x01TagA\x02"), host, false);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.verify(), Ok(Verified::Whole));
        assert_eq!(record.topic(), topic);
        assert_eq!(record.body(), b"hello");
        assert_eq!(record.queue_id(), QueueId(3));
        assert_eq!(record.flag(), 7);
        assert_eq!(record.queue_offset(), QueueOffset(5));
        assert_eq!(record.physical_offset(), PhysicalOffset(1000));
        assert_eq!(record.born_at_ms(), 1_700_000_000_000);
        assert_eq!(record.store_at_ms(), 1_700_000_000_001);
        assert_eq!(record.born_host(), "10.0.0.1:4711".parse().unwrap());
        assert_eq!(record.store_host(), host.parse().unwrap());
        assert_eq!(record.reconsume_times(), 2);
        assert_eq!(record.prepared_offset(), PhysicalOffset(99));
        assert_eq!(record.tags_code(), TagsCode(2598919));
        assert_eq!(record.properties().as_bytes(), b"TAGS\x01TagA\x02");
    }
}

#[test]
fn the_trailer_is_written_least_significant_digit_first() {
    // The vector was obtained by running `MessageDecoder.createCrc32` of RocketMQ 5.3.
    assert_eq!(&trailer(305_419_896), b"__CRC32#\x016989145030\x02");
    let around = (4..10).map(|n| 10u32.pow(n)).flat_map(|ten| [ten - 1, ten, ten + 1]);
    for crc in (0..10_000).chain((0..=CRC_MASK).step_by(9973)).chain(around).chain([CRC_MASK]) {
        let digits: String = format!("{crc:010}").chars().rev().collect();
        assert_eq!(&trailer(crc)[9..19], digits.as_bytes(), "{crc}");
    }
}

#[test]
fn clients_do_not_see_the_logs_own_properties() {
    for more in [false, true] {
        let bytes = encoded(&draft("t", b"x", b"a\x01b"), "127.0.0.1:1", more);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.more(), more);
        let mut out = b"before".to_vec();
        record.write_for_client(&mut out);
        let seen = Record::parse(&out[6..]).unwrap();
        assert_eq!(seen.as_bytes().len() + 6, out.len());
        assert_eq!(seen.properties().as_bytes(), b"a\x01b\x02");
        assert_eq!(seen.verify(), Ok(Verified::BodyOnly));
        assert_eq!(seen.body(), b"x");
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    let bytes = encoded(&draft("topic", b"some body", b"k\x01v\x02"), "127.0.0.1:1", true);
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        let noticed = match Record::parse(&damaged) {
            Err(_) => true,
            // A flip inside the trailer's name or separators demotes the check to the body's:
            // then the record must say so, and nothing but the trailer may differ.
            Ok(record) => match record.verify() {
                Err(_) => true,
                Ok(Verified::Whole) => false,
                Ok(Verified::BodyOnly) => at / 8 >= bytes.len() - TRAILER_BYTES,
            },
        };
        assert!(noticed, "bit {at}");
    }
}

#[test]
fn cut_off_bytes_are_not_a_record() {
    let bytes = encoded(&draft("topic", b"some body", b""), "127.0.0.1:1", false);
    for len in 0..bytes.len() {
        assert!(Record::parse(&bytes[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn records_that_follow_one_another_are_iterated() {
    let mut bytes = encoded(&draft("a", b"1", b""), "127.0.0.1:1", false);
    bytes.extend(encoded(&draft("b", b"2", b""), "127.0.0.1:1", false));
    assert_eq!(iter(&bytes).filter_map(Result::ok).count(), 2);
    bytes.extend(b"garbage");
    assert_eq!(iter(&bytes).filter(Result::is_err).count(), 1);
}

#[test]
fn a_producer_cannot_mark_a_group() {
    let ours: &[u8] = b"__MORE\x011\x02";
    let forged: [&[u8]; 5] = [
        ours,
        b"__MORE\x011",
        b"TAGS\x01t\x02__MORE\x011\x02",
        b"__MORE\x011\x02__MORE\x011",
        b"TAGS\x01t\x02__MORE\x011\x02__MORE\x011\x02",
    ];
    for properties in forged {
        for more in [false, true] {
            let bytes = encoded(&draft("orders", b"x", properties), "127.0.0.1:1", more);
            let record = Record::parse(&bytes).unwrap();
            assert_eq!(record.verify(), Ok(Verified::Whole));
            assert_eq!(record.more(), more, "{properties:?}");
            let kept: &[u8] = if properties.starts_with(b"TAGS") { b"TAGS\x01t\x02" } else { b"" };
            assert_eq!(record.properties().as_bytes(), kept);
        }
    }
    // Only the name counts, not how another one ends.
    let bytes = encoded(&draft("orders", b"x", b"a__MORE\x011\x02"), "127.0.0.1:1", false);
    let record = Record::parse(&bytes).unwrap();
    assert!(!record.more());
    assert_eq!(record.properties().get("a__MORE"), Some("1"));
}
