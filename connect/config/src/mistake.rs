//! The mistakes found so far, before anybody wants to see them.

use crate::text::Span;

/// A mistake, by its place in the text.
#[derive(Debug, PartialEq)]
pub(crate) struct Mistake {
    pub(crate) code: &'static str,
    pub(crate) span: Span,
    pub(crate) message: String,
    /// What to write instead. There is always something to say.
    pub(crate) help: String,
}

/// Mistakes in the order in which they were found.
#[derive(Default)]
pub(crate) struct Mistakes {
    list: Vec<Mistake>,
    count: usize,
}

/// Mistakes kept. Whoever has more is not going to read them all, and a hostile file could have
/// one every few bytes.
const KEPT_MAX: usize = 1000;

/// Characters of a message or a help text; what they quote may be as long as the file.
const CHARS_MAX: usize = 500;

impl Mistake {
    pub(crate) fn new(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (message, help) = (shortened(message.into()), shortened(help.into()));
        Self { code, span, message, help }
    }
}

impl Mistakes {
    pub(crate) fn push(&mut self, mistake: Mistake) {
        self.count += 1;
        if self.list.len() < KEPT_MAX {
            self.list.push(mistake);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The mistakes by position, each once, and how many there were in all.
    pub(crate) fn into_sorted(mut self) -> (Vec<Mistake>, usize) {
        self.list.sort_by_key(|mistake| mistake.span.start);
        let kept = self.list.len();
        self.list.dedup();
        let count = self.count - (kept - self.list.len());
        (self.list, count)
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
