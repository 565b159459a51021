//! YAML to a tree that knows where everything stands.
//!
//! A pipeline file uses a small part of YAML: one document of maps, lists and scalars. Anchors,
//! aliases and tags are refused, so a tree is never larger than its text. In the place of an alias
//! stands a value of which nothing is known.

mod origin; // from a character of a scalar back to the file
mod syntax; // the parser's complaints in our words

use std::collections::HashMap;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::code;
use crate::mistake::{Mistake, Mistakes};
use crate::text::{SourceText, Span};

/// How deep lists and maps may nest.
pub(crate) const DEPTH_MAX: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// From its first to its last byte. Empty for a value that is not there.
    pub(crate) span: Span,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Scalar(Scalar),
    Seq(Vec<Node>),
    /// In the order of the file, each key once.
    Map(Vec<(Key, Node)>),
    /// An alias stands here, which has been told. It may have meant anything.
    Alias,
}

/// A text as YAML decodes it. What it means depends on who reads it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) style: ScalarStyle,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) span: Span,
    pub(crate) text: String,
}

impl Node {
    /// Whether nothing stands here: no text, `~` or `null`, unquoted.
    pub(crate) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => {
                scalar.style == ScalarStyle::Plain
                    && matches!(scalar.text.as_str(), "" | "~" | "null")
            }
            Value::Seq(_) | Value::Map(_) | Value::Alias => false,
        }
    }

    /// Whether this is a text in double quotes, where `\` begins escapes.
    pub(crate) fn is_double_quoted(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.style == ScalarStyle::DoubleQuoted)
    }

    /// Whether this is a map that an alias may have given other keys.
    pub(crate) fn has_more(&self) -> bool {
        matches!(&self.value, Value::Map(map) if map.iter().any(is_merge))
    }

    /// Takes in what another node of the same key says, behind what this one says.
    fn join(&mut self, other: Node) {
        match (&mut self.value, other.value) {
            (Value::Seq(items), Value::Seq(more)) => items.extend(more),
            (Value::Map(entries), Value::Map(more)) => {
                let texts = entries.iter().enumerate().map(|(at, (key, _))| (key.text.clone(), at));
                let known: HashMap<_, _> = texts.collect();
                for (key, node) in more {
                    match known.get(&key.text) {
                        Some(&at) => entries[at].1.join(node),
                        None => entries.push((key, node)),
                    }
                }
            }
            _ => {}
        }
    }

    /// Where a part of a scalar's decoded text stands in the file. `part` is in bytes of the
    /// decoded text; for a list or a map, and where it cannot be told, the answer is the whole.
    pub(crate) fn span_of(&self, source: &SourceText<'_>, part: &Span) -> Span {
        match &self.value {
            Value::Scalar(scalar) => origin::find(scalar, source.slice(&self.span), part)
                .map(|found| self.span.start + found.start..self.span.start + found.end)
                .unwrap_or_else(|| self.span.clone()),
            Value::Seq(_) | Value::Map(_) | Value::Alias => self.span.clone(),
        }
    }
}

/// The key under which YAML takes the keys of another map in.
const MERGE: &str = "<<";

/// Whether an entry of a map stands for others, which an alias hides.
pub(crate) fn is_merge((key, node): &(Key, Node)) -> bool {
    key.text == MERGE && matches!(node.value, Value::Alias)
}

/// Parses a file. There is no tree if it is not YAML at all; then there is one mistake at least.
pub(crate) fn parse(source: &SourceText<'_>, mistakes: &mut Mistakes) -> Option<Node> {
    match Builder::new(source, mistakes).build() {
        Ok(root) => Some(root),
        Err(mistake) => {
            mistakes.push(*mistake);
            None
        }
    }
}

/// A list or map of which the end has not come yet.
enum Open {
    Seq { start: usize, items: Vec<Node> },
    Map { start: usize, entries: Vec<(Key, Node)>, seen: HashMap<String, Seen>, key: Option<Key> },
}

/// A key that has come.
struct Seen {
    /// On which line it came first.
    line: usize,
    /// Its place among the entries.
    at: usize,
    times: usize,
}

impl Open {
    fn map(start: usize) -> Self {
        Open::Map { start, entries: Vec::new(), seen: HashMap::new(), key: None }
    }
}

struct Builder<'a, 'd> {
    source: &'a SourceText<'a>,
    mistakes: &'d mut Mistakes,
    /// The byte at which each character starts, unless all are of one byte.
    char_starts: Option<Vec<usize>>,
    open: Vec<Open>,
    root: Option<Node>,
}

type Refusal = Box<Mistake>;

impl<'a, 'd> Builder<'a, 'd> {
    fn new(source: &'a SourceText<'a>, mistakes: &'d mut Mistakes) -> Self {
        let char_starts = (!source.text.is_ascii())
            .then(|| source.text.char_indices().map(|(at, _)| at).collect());
        Self { source, mistakes, char_starts, open: Vec::new(), root: None }
    }

    fn build(mut self) -> Result<Node, Refusal> {
        let mut parser = Parser::new_from_str(self.source.text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, at) = match next {
                Ok(next) => next,
                Err(error) => {
                    let byte = self.byte(error.marker().index());
                    match syntax::unknown_alias(self.source, byte, error.info()) {
                        Some(span) => self.alias(span)?,
                        None => {
                            let mistake = syntax::explain(self.source, byte, error.info());
                            return Err(Box::new(mistake));
                        }
                    }
                    continue;
                }
            };
            let span = self.byte(at.start.index())..self.byte(at.end.index());
            match event {
                Event::Nothing | Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        self.mistakes.push(Mistake::new(
                            code::YAML_SYNTAX,
                            span,
                            "a second document begins here",
                            "a pipeline file holds one document; make this another file",
                        ));
                        break;
                    }
                }
                Event::Alias(_) => self.alias(span)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.check_bare(anchor, tag.is_some(), &span);
                    let span = self.trimmed(span, style);
                    let scalar = Scalar { text: text.into_owned(), style };
                    self.add(Node { span, value: Value::Scalar(scalar) })?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.check_bare(anchor, tag.is_some(), &span);
                    self.enter(Open::Seq { start: span.start, items: Vec::new() }, &span)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.check_bare(anchor, tag.is_some(), &span);
                    self.enter(Open::map(span.start), &span)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.leave(span.end)?,
            }
        }
        self.root.ok_or_else(|| {
            let help = "a pipeline file begins with `version: 1`";
            Box::new(Mistake::new(code::YAML_SYNTAX, 0..0, "the file is empty", help))
        })
    }

    fn alias(&mut self, span: Span) -> Result<(), Refusal> {
        self.mistakes.push(syntax::no_anchors(span.clone()));
        self.add(Node { span, value: Value::Alias })
    }

    fn enter(&mut self, open: Open, span: &Span) -> Result<(), Refusal> {
        if self.open.len() == DEPTH_MAX {
            return Err(refuse(
                code::YAML_SYNTAX,
                span.clone(),
                "lists and maps are nested too deeply",
                &format!("at most {DEPTH_MAX} levels"),
            ));
        }
        self.open.push(open);
        Ok(())
    }

    fn leave(&mut self, end: usize) -> Result<(), Refusal> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let (start, value) = match open {
            Open::Seq { start, items } => (start, Value::Seq(items)),
            Open::Map { start, entries, .. } => (start, Value::Map(entries)),
        };
        // A block ends where the next token begins; what lies between is not part of it.
        let end = start + self.source.slice(&(start..end.max(start))).trim_end().len();
        self.add(Node { span: start..end, value })
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, mut node: Node) -> Result<(), Refusal> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Seq { items, .. }) => items.push(node),
            Some(Open::Map { entries, seen, key: slot @ Some(_), .. }) => {
                if let Some(key) = slot.take() {
                    if key.text == MERGE && self.source.slice(&key.span).starts_with('*') {
                        node.value = Value::Alias;
                    }
                    let entry = (key, node);
                    if is_merge(&entry) {
                        entries.push(entry);
                        return Ok(());
                    }
                    let (key, node) = entry;
                    let line = self.source.place(key.span.start).line;
                    let at = entries.len();
                    match seen.entry(key.text.clone()) {
                        Vacant(slot) => {
                            slot.insert(Seen { line, at, times: 1 });
                            entries.push((key, node));
                        }
                        Occupied(slot) => {
                            let first = slot.into_mut();
                            first.times += 1;
                            // Both are worth a look. More would take time without bound.
                            if first.times == 2 {
                                entries[first.at].1.join(node);
                            }
                            self.mistakes.push(Mistake::new(
                                code::YAML_DUPLICATE,
                                key.span,
                                format!("the key `{}` comes a second time", key.text),
                                format!("the first is on line {}; delete one of them", first.line),
                            ));
                        }
                    }
                }
            }
            Some(Open::Map { key: slot @ None, .. }) => match node.value {
                Value::Scalar(Scalar { text, .. }) => *slot = Some(Key { span: node.span, text }),
                Value::Alias => *slot = Some(Key { span: node.span, text: MERGE.to_owned() }),
                Value::Seq(_) | Value::Map(_) => {
                    // `{${env:X}}` and `key: {{x}}` end up here: a map stands where a key should.
                    return Err(Box::new(syntax::key_is_no_text(self.source, node.span)));
                }
            },
        }
        Ok(())
    }

    fn check_bare(&mut self, anchor: usize, tagged: bool, span: &Span) {
        if anchor != 0 {
            self.mistakes.push(syntax::no_anchors(span.clone()));
        }
        if tagged {
            self.mistakes.push(Mistake::new(
                code::YAML_FEATURE,
                span.clone(),
                "a tag (`!…`) stands before this value, and pipeline files have none",
                "delete the tag; a text that begins with `!` needs quotes",
            ));
        }
    }

    /// The span of the text itself: the parser's may take in white space around a plain scalar.
    fn trimmed(&self, span: Span, style: ScalarStyle) -> Span {
        if style != ScalarStyle::Plain {
            return span;
        }
        let text = self.source.slice(&span);
        let start = span.start + (text.len() - text.trim_start().len());
        start..start + text.trim().len()
    }

    fn byte(&self, char: usize) -> usize {
        match &self.char_starts {
            None => char.min(self.source.text.len()),
            Some(starts) => starts.get(char).copied().unwrap_or(self.source.text.len()),
        }
    }
}

fn refuse(code: &'static str, span: Span, message: &str, help: &str) -> Refusal {
    Box::new(Mistake::new(code, span, message, help))
}
