//! What is wrong with a pattern, where in it, and what to write instead.

use regex_syntax::Error;
use regex_syntax::ast::ErrorKind;
use regex_syntax::hir::ErrorKind as MeaningKind;

use crate::text::Span;

/// Why a text is no pattern. `\` in its texts stands for itself.
pub(super) struct Fault {
    /// Bytes of the pattern.
    pub(super) at: Span,
    pub(super) message: String,
    pub(super) help: String,
    /// Where the same stands first, if it must not stand twice.
    pub(super) first: Option<Span>,
}

/// A message and what helps.
type Told = (String, String);

/// The fault of a pattern that does not compile.
pub(super) fn fault(pattern: &str) -> Fault {
    let bytes = |span: &regex_syntax::ast::Span| span.start.offset..span.end.offset;
    let mut first = None;
    let (at, (message, help)) = match regex_syntax::parse(pattern) {
        Err(Error::Parse(error)) => {
            first = error.auxiliary_span().map(bytes);
            let at = place(error.kind(), pattern, bytes(error.span()));
            let told = of_groups(error.kind(), pattern, &at);
            (at, told)
        }
        Err(Error::Translate(error)) => (bytes(error.span()), of_meaning(error.kind())),
        Err(other) => (0..pattern.len(), in_general(&other)),
        // Every part of it is right, so there is only too much of it.
        Ok(_) => {
            let message = "the pattern is too large once its counts are written out";
            let help = "make the counts in `{…}` smaller; `*` and `+` take no room";
            (0..pattern.len(), told(message, help))
        }
    };
    Fault { at, message, help, first }
}

/// What to point at: where something ends too early, it is what has no end.
fn place(kind: &ErrorKind, pattern: &str, at: Span) -> Span {
    let from_last = |sign| pattern[..at.end].rfind(sign).unwrap_or(at.start)..at.end;
    match kind {
        ErrorKind::ClassUnclosed => at.start..at.start + 1,
        ErrorKind::GroupNameUnexpectedEof | ErrorKind::FlagUnexpectedEof => from_last('('),
        ErrorKind::EscapeUnexpectedEof | ErrorKind::EscapeHexEmpty => from_last('\\'),
        _ if at.is_empty() => {
            let next = pattern[at.start..].chars().next();
            at.start..at.start + next.map_or(0, char::len_utf8)
        }
        _ => at,
    }
}

const COUNTS: &str = "counts are `{3}`, `{2,}` and `{0,5}`; `\\{` is the character itself";
const NUMBERS: &str = "`\\x7e`, `\\u00e9` and `\\x{1f600}` are characters by their number";
const MINUS: &str = "a `-` itself stands first or last in the class, or is `\\-`";
const CLASSES: &str = "`\\w`, `\\d` and `\\s` are letters, digits and white space of all scripts; \
                       list other characters, as in `[a-zß]`";
const KINDS_OF_GROUPS: &str = "`(?<name>…)` is a named group, `(?:…)` one without a name; flags \
                               are `i`, `m`, `s`, `x`, `U`, `u` and `R`";

fn told(message: impl Into<String>, help: impl Into<String>) -> Told {
    (message.into(), help.into())
}

fn of_groups(kind: &ErrorKind, pattern: &str, at: &Span) -> Told {
    let (before, found) = (&pattern[..at.start], &pattern[at.clone()]);
    let after = &pattern[at.end..];
    match kind {
        ErrorKind::GroupUnclosed | ErrorKind::FlagUnexpectedEof => {
            told("this group has no end", "add `)` where it ends; `\\(` is the character itself")
        }
        ErrorKind::GroupUnopened => {
            told("no group is open here", "delete this `)`; `\\)` is the character itself")
        }
        ErrorKind::GroupNameDuplicate { .. } => {
            told(format!("a second group is called `{found}`"), "give it another name")
        }
        ErrorKind::GroupNameEmpty => told("this group has no name", KINDS_OF_GROUPS),
        ErrorKind::GroupNameInvalid => bad_name(before, found),
        ErrorKind::GroupNameUnexpectedEof => {
            told("the name of this group has no end", "add `>` behind it, as in `(?<name>…)`")
        }
        ErrorKind::FlagUnrecognized if found == "P" && after.starts_with('=') => refers_back(),
        ErrorKind::FlagUnrecognized => told(format!("`{found}` is no flag"), KINDS_OF_GROUPS),
        ErrorKind::FlagDuplicate { .. } => told("this flag comes a second time", "delete it"),
        ErrorKind::FlagRepeatedNegation { .. } => {
            told("a second `-` among flags", "delete it: the first one holds for all that follow")
        }
        ErrorKind::FlagDanglingNegation => {
            told("no flag follows this `-`", "name what it turns off, as in `(?-i)`, or delete it")
        }
        ErrorKind::UnsupportedLookAround => look_around(found),
        ErrorKind::NestLimitExceeded(max) => {
            told("groups and classes are nested too deeply", format!("at most {max} levels"))
        }
        inside => of_parts(inside, found, after),
    }
}

fn of_parts(kind: &ErrorKind, found: &str, after: &str) -> Told {
    match kind {
        ErrorKind::ClassUnclosed => unclosed_class(after),
        ErrorKind::ClassRangeInvalid => told("this range ends before it begins", MINUS),
        ErrorKind::ClassRangeLiteral => {
            told("no range can begin or end with more than one character", MINUS)
        }
        ErrorKind::ClassEscapeInvalid => {
            let message = format!("`{found}` is no character, so it cannot stand in a class");
            told(message, "write it outside of `[…]`")
        }
        ErrorKind::UnicodeClassInvalid => told("this names no class of characters", CLASSES),
        ErrorKind::RepetitionMissing => {
            let help = format!("write what repeats before it; `\\{found}` is the character itself");
            told(format!("there is nothing before this `{found}` that could repeat"), help)
        }
        ErrorKind::RepetitionCountInvalid => wrong_way_round(found),
        ErrorKind::RepetitionCountDecimalEmpty => told("a number belongs here", COUNTS),
        ErrorKind::RepetitionCountUnclosed => told("this count has no end", COUNTS),
        ErrorKind::DecimalInvalid => {
            let help = "take a smaller one; `{2,}` and `*` have no upper limit";
            told("this count is too large", help)
        }
        ErrorKind::UnsupportedBackreference if found == "\\0" => {
            told("`\\0` has no meaning in a pattern", NUMBERS)
        }
        ErrorKind::UnsupportedBackreference => refers_back(),
        ErrorKind::EscapeUnrecognized => unknown_escape(found),
        ErrorKind::EscapeUnexpectedEof => unfinished_escape(found),
        ErrorKind::EscapeHexEmpty | ErrorKind::EscapeHexInvalid => {
            told("this is not the number of a character", NUMBERS)
        }
        ErrorKind::EscapeHexInvalidDigit => told("this is no hexadecimal digit", NUMBERS),
        ErrorKind::SpecialWordBoundaryUnclosed
        | ErrorKind::SpecialWordBoundaryUnrecognized
        | ErrorKind::SpecialWordOrRepetitionUnexpectedEof => {
            let help = "`\\b{start}` and `\\b{end}` are the two ends of a word, `\\b` is either";
            told("this names no end of a word", help)
        }
        other => in_general(other),
    }
}

/// Of a pattern of which each part can be read, and one makes no sense.
fn of_meaning(kind: &MeaningKind) -> Told {
    match kind {
        MeaningKind::UnicodePropertyNotFound | MeaningKind::UnicodePropertyValueNotFound => {
            told("this names no class of characters", CLASSES)
        }
        MeaningKind::InvalidUtf8 | MeaningKind::UnicodeNotAllowed => {
            let help = "leave the flag on, or turn it off only for what is ASCII";
            told("without the flag `u` this could match half a character", help)
        }
        other => in_general(other),
    }
}

fn in_general(reason: &dyn std::fmt::Display) -> Told {
    // The last line says what is wrong, those before draw where.
    let text = reason.to_string();
    let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ");
    let help = "`\\` before a sign takes its meaning away, as in `\\[` and `\\(`";
    told(format!("the pattern is not a regular expression: {reason}"), help)
}

fn bad_name(before: &str, found: &str) -> Told {
    let what = match found.trim() {
        "" => "white space".to_owned(),
        sign => format!("`{sign}`"),
    };
    let verb = if before.ends_with('<') { "begin with" } else { "contain" };
    let help = "letters, digits and `_`, beginning with a letter";
    told(format!("the name of a group cannot {verb} {what}"), help)
}

fn look_around(found: &str) -> Told {
    let message = match found.contains('<') {
        true => "look-behind is not supported",
        false => "look-ahead is not supported",
    };
    let help = match found.ends_with('!') {
        true => {
            "say what may stand there, as in `[^,]*`, or leave such rows out by a `filter` step"
        }
        false => "match that part as well: only what stands in named groups becomes a column",
    };
    told(message, help)
}

fn refers_back() -> Told {
    let help = "write that part again; two named groups are compared by a step, as in `filter: \
                body.a = body.b`";
    told("back-references are not supported", help)
}

fn unclosed_class(after: &str) -> Told {
    let inside = after.strip_prefix('^').unwrap_or(after);
    let help = match inside.starts_with(']') {
        true => {
            "a `]` that stands first is one of its characters, so add another where it ends; \
             `\\[` is the character itself"
        }
        false => "add `]` where it ends; `\\[` is the character itself",
    };
    told("this class has no end", help)
}

/// Of counts such as `{3,1}`, maybe with `?` behind them.
fn wrong_way_round(found: &str) -> Told {
    let counts = found.trim_start_matches('{').split_once('}');
    let turned = counts.and_then(|(counts, lazy)| {
        let (most, least) = counts.split_once(',')?;
        Some(format!("write `{{{},{}}}{lazy}`", least.trim(), most.trim()))
    });
    let help = turned.unwrap_or_else(|| COUNTS.to_owned());
    told("this count ends before it begins", help)
}

fn unknown_escape(found: &str) -> Told {
    let char = found.trim_start_matches('\\');
    let help = match char {
        "k" | "g" => return refers_back(),
        "Z" => "the end of the line is `$`".to_owned(),
        "h" => "a blank or a tab is `[ \\t]`".to_owned(),
        _ => {
            format!("`{char}` alone is the character; `\\d`, `\\w`, `\\s` and `\\b` have a meaning")
        }
    };
    told(format!("`{found}` has no meaning in a pattern"), help)
}

fn unfinished_escape(found: &str) -> Told {
    let help = match found.chars().nth(1) {
        Some('x' | 'u' | 'U') => NUMBERS,
        Some(_) => CLASSES,
        None => "`\\\\` is the character itself",
    };
    told("this escape is not complete", help)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Signs that mean something in a pattern, and others.
    const SIGNS: [&str; 24] = [
        "(", ")", "[", "]", "{", "}", "<", ">", "?", "?<", "P", "*", "\\", "^", "-", "=", "!", ",",
        "1", "x", "b", "é", " ", "#",
    ];

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 5_000, failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn a_fault_lies_within_its_pattern(signs in prop::collection::vec(0..SIGNS.len(), 0..12)) {
            let pattern: String = signs.iter().map(|&sign| SIGNS[sign]).collect();
            if regex_syntax::parse(&pattern).is_ok() {
                return Ok(());
            }
            let Fault { at, message, help, first } = fault(&pattern);
            let meant = pattern.get(at.clone());
            prop_assert!(meant.is_some_and(|meant| !meant.is_empty()), "{at:?} of {pattern:?}");
            if let Some(first) = first {
                prop_assert!(first.end <= at.start && pattern.get(first).is_some(), "{pattern:?}");
            }
            prop_assert!(!message.contains('\n') && !help.is_empty(), "{message} of {pattern:?}");
        }
    }
}
