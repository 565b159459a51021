//! From a part of a scalar's decoded text back to the place in the file that it came from.

use saphyr_parser::ScalarStyle;

use super::Scalar;
use crate::text::Span;

/// Where `part` (bytes of the decoded text) stands in `raw`, the scalar as it stands in the file.
/// `None` if the two texts do not belong together as this function understands YAML.
pub(super) fn find(scalar: &Scalar, raw: &str, part: &Span) -> Option<Span> {
    let origins = match scalar.style {
        ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => {
            by_visible_chars(&scalar.text, raw)?
        }
        ScalarStyle::SingleQuoted => by_units(&scalar.text, raw, single_quoted_unit)?,
        ScalarStyle::DoubleQuoted => by_units(&scalar.text, raw, double_quoted_unit)?,
    };
    let end = origins.last().map_or(0, |origin| origin.end);
    let of = |byte: usize| {
        let at = origins.partition_point(|origin| origin.decoded <= byte);
        at.checked_sub(1).and_then(|at| origins.get(at))
    };
    if part.start >= scalar.text.len() {
        return Some(end..end);
    }
    let start = of(part.start)?.start;
    let stop = match part.end {
        to if to <= part.start => start,
        to => of(to - 1)?.end.max(start),
    };
    Some(start..stop)
}

/// A character of the decoded text and the bytes in the file that stand for it.
struct Origin {
    decoded: usize,
    start: usize,
    end: usize,
}

/// Plain and block scalars change nothing but white space, so the characters that are not white
/// space correspond one to one. (The raw text of a block scalar begins behind its first line,
/// which holds `|` or `>`.)
fn by_visible_chars(decoded: &str, raw: &str) -> Option<Vec<Origin>> {
    let mut rest = raw.char_indices();
    let mut origins = Vec::new();
    let mut after = 0;
    for (at, char) in decoded.char_indices() {
        if char.is_whitespace() {
            origins.push(Origin { decoded: at, start: after, end: after });
            // White space between two words of one line stands for itself.
            if raw[after..].starts_with(char) && !matches!(char, '\n' | '\r') {
                after += char.len_utf8();
                if let Some(last) = origins.last_mut() {
                    last.end = after;
                }
            }
            continue;
        }
        let (start, found) = rest.find(|(_, raw)| !raw.is_whitespace())?;
        if found != char {
            return None;
        }
        after = start + char.len_utf8();
        origins.push(Origin { decoded: at, start, end: after });
    }
    Some(origins)
}

/// What the file has at the beginning of its rest: how many bytes they are, and the characters
/// they stand for.
struct Unit {
    bytes: usize,
    decoded: String,
}

fn by_units(decoded: &str, raw: &str, unit: fn(&str) -> Option<Unit>) -> Option<Vec<Origin>> {
    let end = raw.len().checked_sub(1)?;
    let mut origins = Vec::new();
    let (mut at, mut written) = (1, 0);
    while at < end {
        let rest = raw.get(at..end)?;
        let unit = match line_fold(rest) {
            Some(fold) => fold,
            None => unit(rest)?,
        };
        if !decoded.get(written..)?.starts_with(&unit.decoded) {
            return None;
        }
        for (offset, _) in unit.decoded.char_indices() {
            origins.push(Origin { decoded: written + offset, start: at, end: at + unit.bytes });
        }
        written += unit.decoded.len();
        at += unit.bytes;
    }
    (written == decoded.len()).then_some(origins)
}

/// White space with line ends in it: one line end is a blank, each further one a line end.
fn line_fold(rest: &str) -> Option<Unit> {
    let bytes = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    let white = &rest[..bytes];
    let ends = line_ends(white);
    let decoded = match ends {
        0 => return None,
        1 => " ".to_owned(),
        more => "\n".repeat(more - 1),
    };
    Some(Unit { bytes, decoded })
}

fn line_ends(white: &str) -> usize {
    white.matches('\n').count() + white.matches('\r').count() - white.matches("\r\n").count()
}

fn single_quoted_unit(rest: &str) -> Option<Unit> {
    if rest.starts_with("''") {
        return Some(Unit { bytes: 2, decoded: "'".into() });
    }
    one_char(rest)
}

fn double_quoted_unit(rest: &str) -> Option<Unit> {
    let Some(escape) = rest.strip_prefix('\\') else {
        return one_char(rest);
    };
    let kind = escape.chars().next()?;
    let digits = match kind {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        '\n' | '\r' => {
            // An escaped line end: it and the indentation after it vanish; further line ends stay.
            let trimmed = escape.trim_start_matches([' ', '\t', '\n', '\r']);
            let white = &escape[..escape.len() - trimmed.len()];
            let decoded = "\n".repeat(line_ends(white).saturating_sub(1));
            return Some(Unit { bytes: 1 + white.len(), decoded });
        }
        _ => {
            let decoded = match kind {
                '0' => '\0',
                'a' => '\u{7}',
                'b' => '\u{8}',
                't' | '\t' => '\t',
                'n' => '\n',
                'v' => '\u{b}',
                'f' => '\u{c}',
                'r' => '\r',
                'e' => '\u{1b}',
                'N' => '\u{85}',
                '_' => '\u{a0}',
                'L' => '\u{2028}',
                'P' => '\u{2029}',
                itself => itself,
            };
            return Some(Unit { bytes: 1 + kind.len_utf8(), decoded: decoded.into() });
        }
    };
    let number = u32::from_str_radix(escape.get(1..1 + digits)?, 16).ok()?;
    Some(Unit { bytes: 2 + digits, decoded: char::from_u32(number)?.into() })
}

fn one_char(rest: &str) -> Option<Unit> {
    let char = rest.chars().next()?;
    Some(Unit { bytes: char.len_utf8(), decoded: char.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::mistake::Mistakes;
    use crate::text::SourceText;
    use crate::yaml::{self, Node, Value};

    /// The only value of a map of one key.
    fn value(text: &str) -> Node {
        let root = yaml::parse(&SourceText::new("f", text), &mut Mistakes::default());
        let Some(Node { value: Value::Map(mut map), .. }) = root else { panic!("{text}") };
        map.remove(0).1
    }

    /// Each character of what is decoded must come from `raw[i]`.
    fn check(file: &str, decoded: &str, raw: &[String]) -> Result<(), TestCaseError> {
        let source = SourceText::new("f", file);
        let node = value(file);
        for ((at, char), raw) in decoded.char_indices().zip(raw) {
            let span = node.span_of(&source, &(at..at + char.len_utf8()));
            prop_assert_eq!(source.slice(&span), raw, "{:?} in {:?}", char, file);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn each_character_of_a_quoted_text_is_found(text in "[a-z'\"\\\\é\u{1f980}#:]{1,20}") {
            let single: Vec<String> =
                text.chars().map(|char| char.to_string().replace('\'', "''")).collect();
            check(&format!("k: '{}'\n", single.concat()), &text, &single)?;

            let escaped = |(at, char): (usize, char)| match char {
                '"' | '\\' => format!("\\{char}"),
                'é' if at % 2 == 0 => "\\xe9".to_owned(),
                'a' if at % 2 == 0 => "\\u0061".to_owned(),
                _ => char.to_string(),
            };
            let double: Vec<String> = text.chars().enumerate().map(escaped).collect();
            check(&format!("k: \"{}\"\n", double.concat()), &text, &double)?;
        }

        #[test]
        fn each_word_of_a_text_of_several_lines_is_found(
            words in prop::collection::vec("[a-zé]{1,5}", 1..8), gaps in any::<u32>(),
        ) {
            // Between words there is a blank, two, a line end, or an empty line.
            let gap = |n: usize| ["\n  ", " ", "  ", "\n\n  "][(gaps >> (2 * n) & 3) as usize];
            let lines: String =
                words.iter().enumerate().map(|(n, word)| format!("{word}{}", gap(n))).collect();
            for form in ["k: >\n  ", "k: |-\n  ", "k: ", "k: '", "k: \""] {
                let close = form.chars().last().filter(|last| "'\"".contains(*last));
                let file = format!("{form}{}{}\n", lines.trim_end(), close.map_or(String::new(), String::from));
                let source = SourceText::new("f", &file);
                let node = value(&file);
                let Value::Scalar(scalar) = &node.value else { panic!() };
                let mut at = 0;
                for word in &words {
                    at += scalar.text[at..].find(word.as_str()).unwrap();
                    let span = node.span_of(&source, &(at..at + word.len()));
                    prop_assert_eq!(source.slice(&span), word, "{:?}", &file);
                    at += word.len();
                }
            }
        }
    }
}
