use proptest::prelude::*;

use super::*;

/// What a line came out as: the record, or the start of one that is too long.
type Line = (Position, Position, Result<Vec<u8>, Vec<u8>>);

/// Lines as a person would cut them, with all bytes at hand.
fn model(bytes: &[u8], line_bytes_max: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut position = Position::default();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.ends_with(b"\n");
        let next = Position {
            offset: position.offset + line.len() as u64,
            line: position.line + u64::from(ended),
        };
        let body = match line.strip_suffix(b"\n") {
            Some(body) => body.strip_suffix(b"\r").unwrap_or(body),
            None => line,
        };
        if body.len() > line_bytes_max {
            let kept = body[..line_bytes_max.min(KEPT)].to_vec();
            lines.push((position, next, Err(kept)));
        } else if !body.is_empty() {
            lines.push((position, next, Ok(body.to_vec())));
        }
        position = next;
    }
    lines
}

fn cut(bytes: &[u8], line_bytes_max: usize, blocks: &[usize]) -> Vec<Line> {
    let mut lines = Lines::new(Position::default(), line_bytes_max);
    let mut pieces = Vec::new();
    let mut sizes = blocks.iter().copied().chain(std::iter::repeat(bytes.len().max(1)));
    while (lines.read_from() as usize) < bytes.len() {
        let from = lines.read_from() as usize;
        let end = bytes.len().min(from + sizes.next().unwrap());
        let block = [lines.rest(), &bytes[from..end]].concat();
        lines.feed(&Bytes::from(block), &mut pieces);
        assert!(lines.rest().len() <= line_bytes_max + 1);
    }
    pieces.extend(lines.finish());
    assert!(!lines.is_within_line());
    pieces.into_iter().flat_map(out).collect()
}

fn out(piece: Piece) -> Vec<Line> {
    let body = |data: &Bytes, span: &Span| data[span.at as usize..][..span.len as usize].to_vec();
    match piece {
        Piece::Records { data, records } => {
            records.iter().map(|span| (span.position, span.next, Ok(body(&data, span)))).collect()
        }
        Piece::TooLong { kept, span } => {
            vec![(span.position, span.next, Err(body(&kept, &span)))]
        }
    }
}

#[track_caller]
fn check(text: &str, line_bytes_max: usize, expected: &[(u64, u64, &str)]) {
    for size in 1..=text.len() {
        let lines = cut(text.as_bytes(), line_bytes_max, &vec![size; text.len()]);
        let lines: Vec<(u64, u64, String)> = lines
            .into_iter()
            .map(|(position, _, body)| {
                let body = match body {
                    Ok(body) => String::from_utf8(body).unwrap(),
                    Err(kept) => format!("too long: {}", String::from_utf8(kept).unwrap()),
                };
                (position.offset, position.line, body)
            })
            .collect();
        let lines: Vec<_> = lines.iter().map(|(at, line, body)| (*at, *line, &body[..])).collect();
        assert_eq!(lines, expected, "{text:?} in blocks of {size}");
    }
}

#[test]
fn line_ends_are_no_part_of_a_record() {
    check("a\nbc\n", 10, &[(0, 0, "a"), (2, 1, "bc")]);
    check("a\r\nbc\r\n", 10, &[(0, 0, "a"), (3, 1, "bc")]);
    check("a\rb\n", 10, &[(0, 0, "a\rb")]);
    check("a\r\r\n", 10, &[(0, 0, "a\r")]);
}

#[test]
fn empty_lines_count_but_are_no_records() {
    check("\n\na\n\r\nb\n\n", 10, &[(2, 2, "a"), (6, 4, "b")]);
    check("\n", 10, &[]);
}

#[test]
fn a_last_line_needs_no_end() {
    check("a\nbc", 10, &[(0, 0, "a"), (2, 1, "bc")]);
    check("bc\r", 10, &[(0, 0, "bc\r")]);
}

#[test]
fn a_line_above_the_limit_is_told_from_one_at_the_limit() {
    check("abc\nabcd\nx\n", 3, &[(0, 0, "abc"), (4, 1, "too long: abc"), (9, 2, "x")]);
    check("abc\r\nabcd\r\nx", 3, &[(0, 0, "abc"), (5, 1, "too long: abc"), (11, 2, "x")]);
    check("abcdefgh", 3, &[(0, 0, "too long: abc")]);
    check("abcd", 3, &[(0, 0, "too long: abc")]);
    check("abc", 3, &[(0, 0, "abc")]);
}

#[test]
fn what_follows_a_line_given_before_its_end_is_a_record_of_its_own() {
    let mut lines = Lines::new(Position::default(), 10);
    let mut pieces = Vec::new();
    lines.feed(&Bytes::from_static(b"half"), &mut pieces);
    pieces.extend(lines.finish());
    lines.feed(&Bytes::from_static(b" more\nnext\n"), &mut pieces);

    let at = |offset, line| Position { offset, line };
    let lines: Vec<Line> = pieces.into_iter().flat_map(out).collect();
    assert_eq!(
        lines,
        [
            (at(0, 0), at(4, 0), Ok(b"half".to_vec())),
            (at(4, 0), at(10, 1), Ok(b" more".to_vec())),
            (at(10, 1), at(15, 2), Ok(b"next".to_vec())),
        ]
    );
}

#[test]
fn the_first_record_of_a_piece_can_be_had_alone() {
    let mut pieces = Vec::new();
    let block = Bytes::from_static(b"one\ntwo\nthree\n");
    Lines::new(Position::default(), 10).feed(&block, &mut pieces);
    let (first, rest) = pieces.remove(0).split_first();
    assert_eq!(first.next(), Position { offset: 4, line: 1 });
    assert_eq!(out(first).len(), 1);
    let rest = rest.unwrap();
    assert_eq!(rest.next(), Position { offset: 14, line: 3 });
    assert_eq!(out(rest).len(), 2);
}

#[test]
fn records_lie_in_the_block_and_not_in_a_copy() {
    let block = Bytes::from(b"one\ntwo\n".to_vec());
    let mut pieces = Vec::new();
    Lines::new(Position::default(), 10).feed(&block, &mut pieces);
    let [Piece::Records { data, records }] = &pieces[..] else { panic!("{pieces:?}") };
    assert_eq!((data.as_ptr(), records.len()), (block.as_ptr(), 2));
}

proptest! {
    #[test]
    fn blocks_make_no_difference(
        bytes in proptest::collection::vec(prop_oneof![
            3 => Just(b'\n'), 2 => Just(b'\r'), 8 => any::<u8>(),
        ], 0..200),
        line_bytes_max in 1_usize..12,
        blocks in proptest::collection::vec(1_usize..20, 0..40),
    ) {
        prop_assert_eq!(cut(&bytes, line_bytes_max, &blocks), model(&bytes, line_bytes_max));
    }

    #[test]
    fn going_on_anywhere_gives_the_rest(
        bytes in proptest::collection::vec(prop_oneof![
            3 => Just(b'\n'), 1 => Just(b'\r'), 8 => any::<u8>(),
        ], 0..200),
        line_bytes_max in 1_usize..12,
    ) {
        let all = model(&bytes, line_bytes_max);
        for (index, (_, next, _)) in all.iter().enumerate() {
            let mut lines = Lines::new(*next, line_bytes_max);
            let mut pieces = Vec::new();
            lines.feed(&Bytes::from(bytes[next.offset as usize..].to_vec()), &mut pieces);
            pieces.extend(lines.finish());
            let rest: Vec<Line> = pieces.into_iter().flat_map(out).collect();
            prop_assert_eq!(&rest[..], &all[index + 1..]);
        }
    }
}
