//! Texts of messages and of what was made of them, as a terminal shows them and does nothing else.
//!
//! Whoever can write a message could otherwise clear the screen of who looks at it, or print lines
//! that this program never said.

use std::borrow::Cow;

/// A text for one line: nothing in it ends the line or moves the cursor.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A text of several lines; tabs stay, too.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |char| matches!(char, '\n' | '\t'))
}

/// Whether a text can be shown as it is. Files from elsewhere end their lines in two characters.
pub(crate) fn is_lines(text: &str) -> bool {
    !text.replace("\r\n", "\n").contains(|char| steers(char) && !matches!(char, '\n' | '\t'))
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> Cow<'_, str> {
    let steers = |char| steers(char) && !stays(char);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match steers(char) {
            true => shown.extend(char.escape_default()),
            false => shown.push(char),
        }
    }
    Cow::Owned(shown)
}

/// Beside the control characters, those that change the direction of what follows.
fn steers(char: char) -> bool {
    char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        for (text, expected) in [
            ("plain, é ☃ \\ '", "plain, é ☃ \\ '"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\tb\r\nc\0\x7f", "a\\tb\\r\\nc\\u{0}\\u{7f}"),
            ("\u{9b}2J \u{202e}abc\u{2066}", "\\u{9b}2J \\u{202e}abc\\u{2066}"),
        ] {
            assert_eq!(line(text), expected);
        }
        assert_eq!(lines("a\tb\r\nc\x1b"), "a\tb\\r\nc\\u{1b}");
        assert!(is_lines("a\tb\r\nc\n") && !is_lines("a\rb") && !is_lines("\x1b"));
    }
}
