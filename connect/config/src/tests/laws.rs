use proptest::prelude::*;
use saphyr_parser::ScalarStyle;

use super::EVERYTHING;
use crate::Pipeline;
use crate::mistake::Mistakes;
use crate::text::{SourceText, Span};
use crate::yaml::{self, Node, Scalar, Value};

const SHIPPED: [&str; 4] = [
    EVERYTHING,
    include_str!("../../../../pipelines/access-log.yaml"),
    include_str!("../../../../pipelines/flights.yaml"),
    include_str!("../../../../pipelines/orders.yaml"),
];

/// Pieces that have a meaning in YAML, in expressions or in `${…}`.
const PIECES: [&str; 38] = [
    "\n",
    "\r\n",
    "\r",
    " ",
    "  ",
    "\t",
    ":",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "#",
    " #",
    "&a",
    "*a",
    "!",
    "|\n",
    ">-\n",
    "${",
    "${env:A}",
    "${env:A:-",
    "}",
    "é",
    "\u{1f980}",
    "\u{feff}",
    "\0",
    "=>",
    "body.",
    "\\",
    "---\n",
    "...",
    "%",
    "NULL",
];

/// What is done to a text.
#[derive(Clone, Debug)]
enum Edit {
    Insert(usize, usize),
    Delete(usize, usize),
    Swap(usize, usize),
    Repeat(usize, usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = || any::<usize>();
    let edit = prop_oneof![
        3 => (at(), 0..PIECES.len()).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        2 => (at(), 1..40usize).prop_map(|(at, len)| Edit::Delete(at, len)),
        1 => (at(), at()).prop_map(|(a, b)| Edit::Swap(a, b)),
        1 => (at(), 1..40usize).prop_map(|(at, len)| Edit::Repeat(at, len)),
    ];
    prop::collection::vec(edit, 1..6)
}

fn apply(text: &str, edits: &[Edit]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for edit in edits {
        let place = |at: usize| if chars.is_empty() { 0 } else { at % chars.len() };
        let range = |at: usize, len: usize| place(at)..(place(at) + len).min(chars.len());
        match *edit {
            Edit::Insert(at, piece) => {
                let at = place(at);
                drop(chars.splice(at..at, PIECES[piece].chars()));
            }
            Edit::Delete(at, len) => drop(chars.drain(range(at, len))),
            Edit::Swap(a, b) => {
                let (a, b) = (place(a), place(b));
                if !chars.is_empty() {
                    chars.swap(a, b);
                }
            }
            Edit::Repeat(at, len) => {
                let range = range(at, len);
                let copy: Vec<char> = chars[range.clone()].to_vec();
                drop(chars.splice(range.start..range.start, copy));
            }
        }
    }
    chars.into_iter().collect()
}

/// A text is a pipeline, or has mistakes that lie within it, are sorted and can be shown.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    let env = |name: &str| (name == "A").then(|| "value".to_owned());
    let Err(report) = Pipeline::parse("p.yaml", bytes, &env) else { return Ok(()) };
    prop_assert!(!report.diagnostics.is_empty());
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap(),
    };
    let text = valid.strip_prefix('\u{feff}').unwrap_or(valid).replace("\r\n", "\n");
    let lines: Vec<&str> = text.split(['\n', '\r']).collect();
    let mut last = (0, 0);
    for diagnostic in report.all() {
        let at = (diagnostic.line, diagnostic.column);
        prop_assert!(last <= at, "{report}");
        last = at;
        prop_assert!((1..=lines.len()).contains(&diagnostic.line), "{report}");
        let line = lines[diagnostic.line - 1];
        let width = line.chars().count();
        prop_assert!((1..=width + 1).contains(&diagnostic.column), "{report}");
        let end = diagnostic.column + diagnostic.len - 1;
        prop_assert!(diagnostic.len == 1 || end <= width, "{report}");
        prop_assert!(crate::explain(diagnostic.code).is_some(), "{}", diagnostic.code);
        prop_assert!(!diagnostic.message.is_empty());
        if bytes.len() < 1 << 20
            && !text.contains(|char: char| {
                char.is_ascii_control() && char != '\n' && char != '\t' && char != '\r'
            })
        {
            prop_assert_eq!(&diagnostic.source_line, line);
        }
    }
    let shown = report.to_string();
    prop_assert!(shown.lines().count() >= 6);
    let steers = shown.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\t'));
    prop_assert!(!steers, "{shown:?}");
    Ok(())
}

/// The values below a node, but for texts in blocks, and the places where maps begin.
fn places(node: &Node, values: &mut Vec<Span>, maps: &mut Vec<Span>) {
    let block = |it: &Scalar| matches!(it.style, ScalarStyle::Literal | ScalarStyle::Folded);
    if !matches!(&node.value, Value::Scalar(scalar) if block(scalar)) {
        values.push(node.span.clone());
    }
    match &node.value {
        Value::Seq(items) => items.iter().for_each(|item| places(item, values, maps)),
        Value::Map(map) => {
            maps.extend(map.first().map(|(key, _)| key.span.start..key.span.start));
            map.iter().for_each(|(_, value)| places(value, values, maps));
        }
        Value::Scalar(_) | Value::Alias => {}
    }
}

/// Whatever an alias hides, it makes no other mistake.
#[test]
fn an_alias_is_one_mistake_wherever_it_stands() {
    for text in SHIPPED {
        let source = SourceText::new("p.yaml", text);
        let root = yaml::parse(&source, &mut Mistakes::default()).expect("YAML");
        let (mut values, mut maps) = (Vec::new(), Vec::new());
        places(&root, &mut values, &mut maps);
        assert!(values.len() > 30 && maps.len() > 5, "{} {}", values.len(), maps.len());
        let values = values.into_iter().skip(1).map(|span| (span, "*a".to_owned()));
        let maps = maps.into_iter().map(|at| {
            let line_start = text[..at.start].rfind('\n').map_or(0, |end| end + 1);
            let before = text[line_start..at.start].replace('-', " ");
            let is_block = before.trim().is_empty();
            (at, if is_block { format!("<<: *a\n{before}") } else { "<<: *a, ".to_owned() })
        });
        for (span, new) in values.chain(maps) {
            let mut damaged = text.to_owned();
            damaged.replace_range(span.clone(), &new);
            let report = Pipeline::parse("p.yaml", damaged.as_bytes(), &|_| None).unwrap_err();
            let found: Vec<_> = report.diagnostics.iter().map(|found| found.code).collect();
            assert_eq!(found, ["E-YAML-03"], "{report}");
            assert_eq!(report.diagnostics[0].line, source.place(span.start).line, "{report}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_is_reported_and_nothing_panics(
        which in 0..SHIPPED.len(), edits in edits(),
    ) {
        check(apply(SHIPPED[which], &edits).as_bytes())?;
    }

    #[test]
    fn any_bytes_are_reported_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn any_pieces_are_reported_and_nothing_panics(
        pieces in prop::collection::vec(0..PIECES.len(), 0..60),
    ) {
        let text: String = pieces.iter().map(|&piece| PIECES[piece]).collect();
        check(text.as_bytes())?;
    }

    #[test]
    fn an_unknown_key_is_found_where_it_stands(which in 0..SHIPPED.len(), line in any::<usize>(), key in "zz[a-z]{6}") {
        // A key at the top level, before any line that begins one.
        let lines: Vec<&str> = SHIPPED[which].lines().collect();
        let tops: Vec<usize> = (0..lines.len())
            .filter(|&at| lines[at].starts_with(|char: char| char.is_ascii_lowercase()))
            .collect();
        let at = tops[line % tops.len()];
        let text = format!("{}\n{key}: 1\n{}", lines[..at].join("\n"), lines[at..].join("\n"));
        let report = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap_err();
        // Without lines before it the text begins with an empty one.
        let expected = at + 1 + usize::from(at == 0);
        let [found] = &report.diagnostics[..] else { return Err(TestCaseError::fail(report.to_string())) };
        prop_assert_eq!((found.code, found.line, found.column, found.len), ("E-KEY-01", expected, 1, 8));
    }

    #[test]
    fn a_valid_file_means_the_same_with_other_line_ends_and_comments(which in 0..SHIPPED.len()) {
        let env = |_: &str| None;
        let fingerprint = |text: &str| Pipeline::parse("p.yaml", text.as_bytes(), &env).unwrap().fingerprint;
        let text = SHIPPED[which];
        let expected = fingerprint(text);
        prop_assert_eq!(fingerprint(&text.replace('\n', "\r\n")), expected);
        prop_assert_eq!(fingerprint(&format!("\u{feff}{text}")), expected);
        prop_assert_eq!(fingerprint(&format!("{text}\n# the end\n")), expected);
    }
}
