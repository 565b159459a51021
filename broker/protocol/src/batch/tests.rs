use super::*;

const X: BatchItem<'_> =
    BatchItem { flag: 0, body: b"x", properties: b"k\x01v\x02WAIT\x01true\x02" };

/// As the Java client writes it.
#[test]
fn an_item_is_javas_to_the_byte() {
    let mut out = Vec::new();
    push_batch_item(&X, &mut out);
    let expected = [
        &[0, 0, 0, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        b"x",
        &[0, 0x0e],
        b"k\x01v\x02WAIT\x01true\x02",
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn items_come_back_in_order() {
    let items = [X, BatchItem { flag: -1, body: b"", properties: b"" }, X];
    let mut out = Vec::new();
    for item in &items {
        push_batch_item(item, &mut out);
    }
    assert_eq!(batch_items(&out).collect::<Result<Vec<_>, _>>().unwrap(), items);
    assert_eq!(batch_items(b"").count(), 0);
}

#[test]
fn an_item_that_does_not_fit_ends_the_walk() {
    let mut one = Vec::new();
    push_batch_item(&X, &mut one);
    for cut in 1..one.len() {
        let found: Vec<_> = batch_items(&one[..cut]).collect();
        assert_eq!(found, [Err(BodyError::Lengths)], "{cut} bytes");
    }
    for (at, byte) in [(3, 0x24), (19, 2), (22, 0x0d), (21, 0xff)] {
        let mut bad = one.clone();
        bad[at] = byte;
        bad.extend_from_slice(&one);
        assert_eq!(batch_items(&bad).next(), Some(Err(BodyError::Lengths)), "byte {at}");
        assert_eq!(batch_items(&bad).count(), 1);
    }
}
