use super::*;

fn frame_bytes(kind: u8, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(&((4 + header.len() + body.len()) as u32).to_be_bytes());
    out.extend_from_slice(&((u32::from(kind) << 24) | header.len() as u32).to_be_bytes());
    out.extend_from_slice(header);
    out.extend_from_slice(body);
    out
}

#[track_caller]
fn check_error(bytes: &[u8], expected: FrameError) {
    let limits = Limits { frame_bytes_max: 100, header_bytes_max: 20 };
    assert_eq!(Frame::split(bytes, &limits), Err(expected));
}

#[test]
fn a_frame_is_cut_off_the_front() {
    let mut bytes = frame_bytes(1, b"head", b"body");
    let total = bytes.len();
    bytes.extend_from_slice(b"next");
    let expected = Frame { header_kind: HeaderKind::Binary, header: b"head", body: b"body" };
    let limits = Limits::default();
    assert_eq!(Frame::split(&bytes, &limits), Ok(Split::Frame(expected, total)));

    let mut buffer = BytesMut::from(&bytes[..]);
    let owned = FrameBuf::split(&mut buffer, &limits).unwrap().unwrap();
    assert_eq!(owned.view(), expected);
    assert_eq!(&buffer[..], b"next");
    assert_eq!(
        FrameBuf::split(&mut buffer, &limits),
        Err(FrameError::TooLarge {
            len: u32::from_be_bytes(*b"next") as usize + 4,
            max: limits.frame_bytes_max,
        })
    );
}

#[test]
fn every_start_of_a_frame_is_partial_and_never_asks_for_too_much() {
    let bytes = frame_bytes(0, b"{}", b"body");
    for len in 0..bytes.len() {
        match Frame::split(&bytes[..len], &Limits::default()) {
            Ok(Split::Partial(missing)) => assert!(missing > 0 && len + missing <= bytes.len()),
            other => panic!("{len} bytes: {other:?}"),
        }
    }
}

#[test]
fn an_empty_header_and_an_empty_body_are_frames() {
    let bytes = frame_bytes(0, b"", b"");
    let expected = Frame { header_kind: HeaderKind::Json, header: b"", body: b"" };
    assert_eq!(Frame::split(&bytes, &Limits::default()), Ok(Split::Frame(expected, 8)));
}

#[test]
fn limits_hold_before_the_bytes_arrive() {
    check_error(&[0, 0, 0, 97], FrameError::TooLarge { len: 101, max: 100 });
    check_error(&[255; 4], FrameError::TooLarge { len: u32::MAX as usize + 4, max: 100 });
    check_error(&[0, 0, 0, 50, 0, 0, 0, 21], FrameError::HeaderTooLarge { len: 21, max: 20 });
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    check_error(&[0, 0, 0, 3], FrameError::Lengths);
    check_error(&[0, 0, 0, 8, 0, 0, 0, 5], FrameError::Lengths);
    check_error(&[0, 0, 0, 8, 2, 0, 0, 4], FrameError::HeaderKind(2));
}
