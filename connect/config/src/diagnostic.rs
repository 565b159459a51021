//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;

use crate::mistake::{Mistake, Mistakes};
use crate::model::WasmSpec;
use crate::text::{self, SourceText};

/// A mistake in a file, or something that may be one: a warning, whose code begins with `W-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of mistake; [`explain`](crate::explain) tells more.
    pub code: &'static str,
    /// One line, lowercase, no full stop.
    pub message: String,
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Characters from there on that are meant, at least 1.
    pub len: usize,
    /// What to write instead; sometimes of several lines.
    pub help: String,
    /// The whole line of the file.
    pub source_line: String,
}

/// Everything wrong with one file, by position, and what else there is to mind. Its `Display` is
/// what a person should see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The file, as the caller named it.
    pub file: String,
    /// The mistakes, at most a hundred; none if only warnings are told.
    pub diagnostics: Vec<Diagnostic>,
    /// The warnings, at most a hundred. They do not keep a pipeline from running.
    pub warnings: Vec<Diagnostic>,
    /// How many there are in all.
    pub count: usize,
    /// The `wasm` steps that name a module, with as much as is known of its settings. Nobody has
    /// looked at the modules.
    pub modules: Vec<WasmSpec>,
}

/// Mistakes shown.
const SHOWN_MAX: usize = 100;

impl Report {
    /// What somebody else found wrong with a file that has no mistakes of its own: where, in
    /// bytes, the code, the message and what helps. `None` if that is nothing.
    pub fn of_findings(
        file: &str,
        bytes: &[u8],
        findings: impl IntoIterator<Item = (Range<usize>, &'static str, String, String)>,
    ) -> Option<Self> {
        let mut mistakes = Mistakes::default();
        for (at, code, message, help) in findings {
            mistakes.push(Mistake::new(code, at, message, help));
        }
        let text = text::decode(bytes).unwrap_or_default();
        (!mistakes.is_empty()).then(|| Self::new(&SourceText::new(file, text), mistakes))
    }

    pub(crate) fn new(source: &SourceText<'_>, mistakes: Mistakes) -> Self {
        let (diagnostics, count) = diagnostics(source, mistakes);
        let file = source.file.to_owned();
        Self { file, diagnostics, warnings: Vec::new(), count, modules: Vec::new() }
    }

    /// The warnings of a file that has no mistakes; `None` if there is none.
    pub fn of_warnings(file: &str, warnings: &[Diagnostic]) -> Option<Self> {
        let report = Self {
            file: file.to_owned(),
            diagnostics: Vec::new(),
            warnings: warnings.to_vec(),
            count: 0,
            modules: Vec::new(),
        };
        (!warnings.is_empty()).then_some(report)
    }

    /// What there is to see, by position.
    pub fn all(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.diagnostics.iter().chain(&self.warnings).collect();
        all.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        all
    }

    /// With the mistakes of another report of the same file.
    pub fn with(mut self, other: Self) -> Self {
        self.diagnostics.extend(other.diagnostics);
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        self.diagnostics.truncate(SHOWN_MAX);
        self.warnings.extend(other.warnings);
        self.count += other.count;
        self
    }
}

/// The first of them as people see them, by position, and how many there are.
pub(crate) fn diagnostics(source: &SourceText<'_>, mistakes: Mistakes) -> (Vec<Diagnostic>, usize) {
    let (mistakes, count) = mistakes.into_sorted();
    let shown = mistakes.into_iter().take(SHOWN_MAX);
    (shown.map(|mistake| Diagnostic::new(source, mistake)).collect(), count)
}

impl Diagnostic {
    /// Whether it is a warning, and no mistake.
    pub fn is_warning(&self) -> bool {
        self.code.starts_with("W-")
    }

    fn new(source: &SourceText<'_>, mistake: Mistake) -> Self {
        let Mistake { code, span, message, help } = mistake;
        let place = source.place(span.start);
        Self {
            code,
            message,
            file: source.file.to_owned(),
            line: place.line,
            column: place.column,
            len: source.len_on_line(&span),
            help,
            source_line: source.line(place.line).to_owned(),
        }
    }
}

/// Longer lines are shown in part, so that a file of one line does not fill the screen.
const SHOWN_CHARS_MAX: usize = 160;
const SHOWN_BEFORE: usize = 60;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.line.to_string().len().max(2);
        let shown = Shown::new(&self.source_line, self.column - 1, self.len);
        let kind = if self.is_warning() { "warning" } else { "error" };
        writeln!(f, "{kind}[{}]: {}", self.code, printable(&self.message))?;
        let file = printable(&self.file);
        writeln!(f, "{:width$}--> {file}:{}:{}", "", self.line, self.column)?;
        writeln!(f, "{:width$} |", "")?;
        writeln!(f, "{:>width$} | {}", self.line, shown.line)?;
        write!(f, "{:width$} | {}{}", "", shown.before, "^".repeat(shown.len))?;
        let mut lines = self.help.lines();
        write!(f, " help: {}", printable(lines.next().unwrap_or("")))?;
        let indent = shown.before.chars().count() + shown.len + 3;
        for line in lines {
            write!(f, "\n{:width$} | {:indent$}{}", "", "", printable(line))?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        for diagnostic in &all {
            writeln!(f, "{diagnostic}")?;
        }
        let counted = |count: usize, noun: &str| match count {
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        let errors = counted(self.count, "error");
        let warnings = counted(self.warnings.len(), "warning");
        let counts = match (self.count, self.diagnostics.len(), self.warnings.len()) {
            (0, ..) => warnings,
            (count, shown, 0) if shown < count => {
                format!("{errors}, of which these are the first {shown}")
            }
            (count, shown, _) if shown < count => {
                format!("{errors}, of which these are the first {shown}, and {warnings}")
            }
            (_, _, 0) => errors,
            _ => format!("{errors} and {warnings}"),
        };
        write!(f, "{}: {counts}.", printable(&self.file))?;
        if let Some(last) = all.last() {
            write!(f, " Explain one with `millrace explain {}`.", last.code)?;
        }
        writeln!(f)
    }
}

impl std::error::Error for Report {}

/// A line as shown, and what stands under it before the carets.
struct Shown {
    line: String,
    before: String,
    len: usize,
}

impl Shown {
    fn new(line: &str, at: usize, len: usize) -> Self {
        let chars: Vec<char> = line.chars().collect();
        let at = at.min(chars.len());
        let from = if chars.len() > SHOWN_CHARS_MAX { at.saturating_sub(SHOWN_BEFORE) } else { 0 };
        let to = chars.len().min(from + SHOWN_CHARS_MAX);
        let mut shown = String::new();
        let mut before = String::new();
        if from > 0 {
            shown.push('…');
            before.push(' ');
        }
        shown.extend(chars[from..to].iter().map(|&char| visible(char)));
        // A tab stays a tab, so that the carets stand where the terminal puts the text.
        before.extend(chars[from..at].iter().map(|&char| if char == '\t' { '\t' } else { ' ' }));
        if to < chars.len() {
            shown.push('…');
        }
        Self { line: shown, before, len: len.min((to - at).max(1)) }
    }
}

/// A file may come from anyone; what it says must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

fn visible(char: char) -> char {
    // Beside the control characters, those that change the direction of what follows.
    let steers = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if (char.is_control() && char != '\t') || steers { '\u{fffd}' } else { char }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Span;

    #[track_caller]
    fn check(text: &str, span: Span, help: &str, expected: &str) {
        let source = SourceText::new("orders.yaml", text);
        let diagnostic =
            Diagnostic::new(&source, Mistake::new("E-KEY-01", span, "a message", help));
        assert_eq!(diagnostic.to_string(), expected);
    }

    #[test]
    fn the_carets_stand_under_the_text() {
        let expected = "error[E-KEY-01]: a message\n  --> orders.yaml:1:6\n   |\n 1 | one: two\n   \
                        |      ^^^ help: try\n";
        check("one: two", 5..8, "try", expected);
    }

    #[test]
    fn further_lines_of_help_hang_under_the_first() {
        let expected = "error[E-KEY-01]: a message\n  --> orders.yaml:1:1\n   |\n 1 | one\n   \
                        | ^^^ help: this,\n   |       or that\n";
        check("one", 0..3, "this,\nor that", expected);
    }

    #[test]
    fn a_high_line_number_widens_the_margin() {
        let text = format!("{}one", "\n".repeat(99));
        let expected = "error[E-KEY-01]: a message\n   --> orders.yaml:100:1\n    |\n100 | one\n    \
                        | ^^^ help: h\n";
        check(&text, 99..102, "h", expected);
    }

    #[test]
    fn control_characters_are_not_shown() {
        let expected = "error[E-KEY-01]: a message\n  --> orders.yaml:1:1\n   |\n 1 | \u{fffd}[31m\n   \
                        | ^^^^^ help: h\n";
        check("\u{1b}[31m", 0..5, "h", expected);
    }

    #[test]
    fn a_long_line_is_shown_in_part() {
        let text = format!("{}here{}", "a".repeat(500), "b".repeat(500));
        let source = SourceText::new("f", &text);
        let shown =
            Diagnostic::new(&source, Mistake::new("E-KEY-01", 500..504, "m", "h")).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].chars().count(), 5 + SHOWN_CHARS_MAX + 2);
        let caret = lines[4].chars().position(|char| char == '^').unwrap();
        assert_eq!(lines[3].chars().skip(caret).take(4).collect::<String>(), "here");
    }
}
