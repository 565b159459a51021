//! The patterns of LIKE, CONTAINS, STARTSWITH and ENDSWITH.

/// What a text is held against. Most patterns need no more than a search for one piece.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pattern {
    Exact(Box<str>),
    Prefix(Box<str>),
    Suffix(Box<str>),
    Contains(Box<str>),
    /// Everything else, in order, without two `Any` in a row.
    Glob(Box<[Piece]>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Piece {
    /// `%`: any characters, also none.
    Any,
    /// `_`: one character.
    One,
    Char(char),
}

impl Pattern {
    /// Compiles the pattern of a LIKE.
    ///
    /// The escape character takes the meaning from a following `%`, `_` or itself. Before
    /// anything else it is an ordinary character of the pattern, as in ActiveMQ.
    pub(crate) fn like(pattern: &str, escape: Option<char>) -> Self {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            let escaped = (escape == Some(char))
                .then(|| chars.next_if(|next| matches!(next, '%' | '_') || *next == char))
                .flatten();
            pieces.push(match (escaped, char) {
                (Some(literal), _) => Piece::Char(literal),
                (None, '%') if pieces.last() == Some(&Piece::Any) => continue,
                (None, '%') => Piece::Any,
                (None, '_') => Piece::One,
                (None, _) => Piece::Char(char),
            });
        }
        Self::simplest(pieces)
    }

    fn simplest(pieces: Vec<Piece>) -> Self {
        let literal = |pieces: &[Piece]| -> Option<Box<str>> {
            let chars = pieces.iter().map(|piece| match piece {
                Piece::Char(char) => Some(*char),
                Piece::Any | Piece::One => None,
            });
            chars.collect::<Option<String>>().map(String::into_boxed_str)
        };
        let simple = match pieces.as_slice() {
            [Piece::Any, middle @ .., Piece::Any] => literal(middle).map(Self::Contains),
            [Piece::Any, end @ ..] => literal(end).map(Self::Suffix),
            [start @ .., Piece::Any] => literal(start).map(Self::Prefix),
            all => literal(all).map(Self::Exact),
        };
        simple.unwrap_or(Self::Glob(pieces.into()))
    }

    /// The piece that it looks for, if it looks for one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Suffix(text) | Self::Contains(text) => {
                Some(text)
            }
            Self::Glob(_) => None,
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == &**exact,
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::Contains(part) => text.contains(&**part),
            Self::Glob(pieces) => glob(pieces, text),
        }
    }
}

/// Matches left to right. After a mismatch only the last `%` takes one more character: whatever
/// an earlier one could take, the last one can take as well. So the time is at most the product
/// of both lengths.
fn glob(pieces: &[Piece], text: &str) -> bool {
    let mut rest = text.chars();
    let mut at = 0;
    let mut retry: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let here = rest.clone();
        let fits = match (pieces.get(at), rest.next()) {
            (Some(Piece::Any), _) => {
                at += 1;
                retry = Some((at, here.clone()));
                rest = here;
                continue;
            }
            (None, None) => return true,
            (Some(_), None) => return false,
            (None, Some(_)) => false,
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Char(wanted)), Some(char)) => *wanted == char,
        };
        if fits {
            at += 1;
            continue;
        }
        let Some((after_any, from)) = &mut retry else {
            return false;
        };
        from.next();
        at = *after_any;
        rest = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, escape: Option<char>, text: &str, expected: bool) {
        let compiled = Pattern::like(pattern, escape);
        assert_eq!(compiled.matches(text), expected, "{pattern} on {text}: {compiled:?}");
    }

    #[test]
    fn simple_patterns_need_no_glob() {
        assert_eq!(Pattern::like("abc", None), Pattern::Exact("abc".into()));
        assert_eq!(Pattern::like("abc%%", None), Pattern::Prefix("abc".into()));
        assert_eq!(Pattern::like("%abc", None), Pattern::Suffix("abc".into()));
        assert_eq!(Pattern::like("%abc%", None), Pattern::Contains("abc".into()));
        assert!(matches!(Pattern::like("a%c", None), Pattern::Glob(_)));
    }

    #[test]
    fn wildcards() {
        check("%", None, "", true);
        check("_", None, "", false);
        check("_", None, "é", true);
        check("a_c", None, "abc", true);
        check("a_c", None, "ac", false);
        check("a%c", None, "ac", true);
        check("a%c", None, "abcbc", true);
        check("a%c", None, "abcb", false);
        check("a%b%c", None, "a-b-b-c-c", true);
        check("%a_b%", None, "xxa1a2bxx", true);
        check("_%_", None, "x", false);
        check("_%_", None, "xy", true);
        check("杭%", None, "杭州", true);
    }

    #[test]
    fn escapes() {
        check("!_%", Some('!'), "_foo", true);
        check("!_%", Some('!'), "foo", false);
        check("100!%", Some('!'), "100%", true);
        check("100!%", Some('!'), "1000", false);
        check("a!!b", Some('!'), "a!b", true);
        check("a!b", Some('!'), "a!b", true);
        check("%%", Some('%'), "%", true);
        check("%x%", Some('%'), "axb", true);
    }

    #[test]
    fn many_wildcards_take_no_exponential_time() {
        let text = "a".repeat(20_000);
        let pattern = format!("{}b", "%a".repeat(500));
        check(&pattern, None, &text, false);
    }
}
