//! The language of queries: how words, phrases and ranges are put together by `AND`, `OR`, `NOT` and
//! brackets.
//!
//! Each of those pieces is read by tantivy; how they belong together is read here. Tantivy's own
//! reading loses alternatives (`a OR b c`), finds nothing where something is only excluded
//! (`a AND NOT b`), takes `!` and `&&` for words, and calls itself for every `NOT`.
//!
//! ```text
//! either = both ("OR" both)*
//! both   = part ("AND"? part)*
//! part   = ("NOT" | "-" | "!" | "+")* (piece | (name ":")? "(" either ")")
//! ```

use std::ops::Range;

use tantivy::query::{AllQuery, BooleanQuery, BoostQuery, Occur, Query};
use tantivy::query_grammar::{UserInputAst, UserInputLeaf, parse_query, parse_query_lenient};

use super::excluded::Excluded;
use super::mistake::QueryError;

/// The longest query.
const BYTES_MAX: usize = 64 << 10;

/// Brackets within brackets: each is a call within a call, here and in what tantivy makes of it.
const DEPTH_MAX: usize = 100;

/// One word, phrase, range or set of a query, as it stands there.
pub(super) struct Piece {
    pub(super) leaf: UserInputLeaf,
    /// Where its field is named, if it is named just there.
    pub(super) name: Option<Range<usize>>,
    /// Where the rest of it is.
    pub(super) value: Range<usize>,
}

/// What is asked for by a piece.
type OfPiece<'a> = dyn Fn(Piece) -> Result<Box<dyn Query>, QueryError> + 'a;

/// Reads a query, and has each piece turned into what is asked for by it.
pub(super) fn read(text: &str, of_piece: &OfPiece<'_>) -> Result<Box<dyn Query>, QueryError> {
    if text.len() > BYTES_MAX {
        return Err(QueryError::Wrong {
            at: None,
            message: format!("the query has more than {BYTES_MAX} bytes"),
            help: "ask for less at a time".to_owned(),
        });
    }
    if text.trim().is_empty() {
        return Err(QueryError::Wrong {
            at: None,
            message: "the query is empty".to_owned(),
            help: "`*` finds everything".to_owned(),
        });
    }
    let mut reader = Reader { text, at: 0, depth: 0, of_piece };
    let query = reader.either(None)?;
    match reader.rest().is_empty() {
        true => Ok(query),
        false => Err(no_query(reader.char_at(reader.at), "nothing is opened by `(` before", PAIRS)),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Brackets that are open.
    depth: usize,
    of_piece: &'a OfPiece<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
}

const OPERATORS: [(&str, Operator); 4] =
    [("AND", Operator::And), ("&&", Operator::And), ("OR", Operator::Or), ("||", Operator::Or)];

const PAIRS: &str = "brackets come in pairs; in quotes they are characters, as in `path:\"/a(b\"`";
const QUOTES: &str = "quote what is not a word, as in `path:\"/a b\"`";

impl<'a> Reader<'a> {
    /// Alternatives.
    fn either(&mut self, field: Option<&str>) -> Result<Box<dyn Query>, QueryError> {
        let mut alternatives = Vec::new();
        let mut plus = None;
        loop {
            alternatives.push((Occur::Should, self.both(field, &mut plus)?));
            match self.operator() {
                Some((Operator::Or, written)) => self.at += written,
                _ => break,
            }
        }
        match (alternatives.len(), plus) {
            (1, _) => Ok(alternatives.remove(0).1),
            (_, Some(at)) => Err(QueryError::Wrong {
                at: Some(at),
                message: "`+` beside `OR` could mean two things".to_owned(),
                help: "words that stand side by side must all be there anyway: write \
                       `a AND (b OR c)`, or leave `+` out"
                    .to_owned(),
            }),
            _ => Ok(Box::new(BooleanQuery::new(alternatives))),
        }
    }

    /// Parts that all have to hold.
    fn both(
        &mut self,
        field: Option<&str>,
        plus: &mut Option<Range<usize>>,
    ) -> Result<Box<dyn Query>, QueryError> {
        let (mut wanted, mut excluded) = (Vec::new(), Vec::new());
        loop {
            match self.part(field, plus)? {
                (false, part) => wanted.push((Occur::Must, part)),
                (true, part) => {
                    let part: Box<dyn Query> = Box::new(Excluded(part));
                    excluded.push((Occur::MustNot, part));
                }
            }
            self.skip_blanks();
            match self.operator() {
                Some((Operator::And, written)) => self.at += written,
                Some((Operator::Or, _)) => break,
                None if self.rest().is_empty() || self.rest().starts_with(')') => break,
                None => {}
            }
        }
        if wanted.is_empty() {
            // Something has to be there before anything can be excluded from it.
            wanted.push((Occur::Must, Box::new(AllQuery)));
        }
        if wanted.len() == 1 && excluded.is_empty() {
            return Ok(wanted.remove(0).1);
        }
        wanted.append(&mut excluded);
        Ok(Box::new(BooleanQuery::new(wanted)))
    }

    /// One part, and whether it is excluded.
    fn part(
        &mut self,
        field: Option<&str>,
        plus: &mut Option<Range<usize>>,
    ) -> Result<(bool, Box<dyn Query>), QueryError> {
        let mut excluded = false;
        loop {
            self.skip_blanks();
            if self.rest().strip_prefix("NOT").is_some_and(is_word_end) {
                excluded = !excluded;
                self.at += "NOT".len();
                continue;
            }
            let Some(sign) = self.rest().chars().next().filter(|char| "-!+".contains(*char)) else {
                break;
            };
            let at = self.at..self.at + 1;
            self.at += 1;
            if is_word_end(self.rest()) && !self.rest().starts_with('(') {
                let help = "write it without a blank, as in `-fox`; in quotes it is a character";
                return Err(no_query(at, &format!("`{sign}` stands before nothing"), help));
            }
            match sign {
                '+' => *plus = Some(at),
                _ => excluded = !excluded,
            }
        }
        if let Some((_, written)) = self.operator() {
            let help = "`AND` and `OR` stand between two parts; in quotes they are words";
            return Err(no_query(self.at..self.at + written, "a part before it is missing", help));
        }
        let part = match self.rest().chars().next() {
            None | Some(')') => {
                let at = self.char_at(self.at);
                let help = "behind `(`, `AND`, `OR` and `NOT` stands what to look for";
                return Err(no_query(at, "something to look for is missing here", help));
            }
            Some('(') => self.group(field)?,
            Some(_) => self.piece(field)?,
        };
        Ok((excluded, part))
    }

    /// What stands in brackets, which are open already at the place.
    fn group(&mut self, field: Option<&str>) -> Result<Box<dyn Query>, QueryError> {
        let open = self.at..self.at + 1;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(QueryError::Wrong {
                at: Some(open),
                message: format!("more than {DEPTH_MAX} brackets within each other"),
                help: "ask for less at a time".to_owned(),
            });
        }
        self.at += 1;
        let inner = self.either(field)?;
        if !self.rest().starts_with(')') {
            return Err(no_query(open, "this bracket is not closed", PAIRS));
        }
        self.at += 1;
        self.depth -= 1;
        let boost = self.boost()?;
        if !is_word_end(self.rest()) {
            let help = "a blank, `AND` or `OR` stands between two parts";
            return Err(no_query(self.char_at(self.at), "a blank before it is missing", help));
        }
        Ok(match boost {
            Some(boost) => Box::new(BoostQuery::new(inner, boost)),
            None => inner,
        })
    }

    /// How much more than others the group behind which this stands counts for the order of hits.
    fn boost(&mut self) -> Result<Option<f32>, QueryError> {
        let Some(factor) = self.rest().strip_prefix('^') else { return Ok(None) };
        let end = factor.find(|char: char| !char.is_ascii_digit() && char != '.');
        let factor = &factor[..end.unwrap_or(factor.len())];
        let at = self.at..self.at + 1 + factor.len();
        self.at = at.end;
        match factor.parse() {
            Ok(factor) => Ok(Some(factor)),
            Err(_) => Err(no_query(at, "behind `^` stands a number", "for example `(a OR b)^2`")),
        }
    }

    fn piece(&mut self, field: Option<&str>) -> Result<Box<dyn Query>, QueryError> {
        let start = self.at;
        // Where the value begins, behind the name of a field.
        let mut behind_name = None;
        while let Some(char) = self.rest().chars().next() {
            let value = self.text[behind_name.unwrap_or(start)..self.at].trim_end();
            match char {
                '\\' => {
                    let escaped = self.rest().chars().nth(1).map_or(0, char::len_utf8);
                    self.at += 1 + escaped;
                }
                ':' if behind_name.is_none() => {
                    let name = start..self.at;
                    self.at += 1;
                    self.skip_blanks();
                    behind_name = Some(self.at);
                    if self.rest().starts_with('(') {
                        let name = self.name(name)?;
                        return self.group(Some(&name));
                    }
                    if self.rest().starts_with('!') {
                        let help = "write `!field:word`; in quotes it is a character";
                        let at = self.at..self.at + 1;
                        return Err(no_query(at, "`!` stands before the name of the field", help));
                    }
                }
                '(' => {
                    return Err(no_query(self.at..self.at + 1, "a bracket within a word", PAIRS));
                }
                ')' => break,
                '"' | '\'' => self.skip_quoted(char)?,
                '[' | '{' => self.skip_range(value == "IN")?,
                _ if char.is_whitespace() => {
                    let next = self.rest().trim_start();
                    let goes_on = behind_name.is_none() && next.starts_with(':')
                        || ["<", "<=", ">", ">="].contains(&value)
                        || value == "IN" && next.starts_with('[');
                    if !goes_on {
                        break;
                    }
                    self.skip_blanks();
                }
                _ => self.at += char.len_utf8(),
            }
        }
        let name = behind_name.map(|value| {
            let name = self.text[start..value].trim_end().trim_end_matches(':').trim_end();
            start..start + name.len()
        });
        let value = behind_name.unwrap_or(start)..self.at;
        let made = |mut leaf: UserInputLeaf| {
            if let Some(field) = field {
                put_into(&mut leaf, field);
            }
            (self.of_piece)(Piece { leaf, name, value })
        };
        match parse_query(&self.text[start..self.at]) {
            Ok(UserInputAst::Leaf(leaf)) => made(*leaf),
            Ok(UserInputAst::Boost(inner, boost)) => match *inner {
                UserInputAst::Leaf(leaf) => {
                    Ok(Box::new(BoostQuery::new(made(*leaf)?, boost.into_inner() as f32)))
                }
                _ => Err(self.unreadable(start)),
            },
            _ => Err(self.unreadable(start)),
        }
    }

    /// A piece that tantivy cannot read.
    fn unreadable(&self, start: usize) -> QueryError {
        let piece = &self.text[start..self.at];
        let (_, mistakes) = parse_query_lenient(piece);
        let Some(first) = mistakes.first() else {
            return no_query(start..self.at, "this is neither a word nor a range", QUOTES);
        };
        // It counts characters.
        let at = piece.char_indices().nth(first.pos).map_or(self.at, |(at, _)| start + at);
        no_query(at..self.at, &first.message, QUOTES)
    }

    /// The name of a field, which may have `\` in it.
    fn name(&self, at: Range<usize>) -> Result<String, QueryError> {
        if let Ok(UserInputAst::Leaf(leaf)) = parse_query(&format!("{}:x", &self.text[at.clone()]))
            && let UserInputLeaf::Literal(literal) = *leaf
            && let Some(name) = literal.field_name
        {
            return Ok(name);
        }
        Err(no_query(at, "this cannot be the name of a field", QUOTES))
    }

    fn skip_quoted(&mut self, quote: char) -> Result<(), QueryError> {
        let open = self.at;
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            if char == quote {
                self.at += at + 1;
                return Ok(());
            }
            if char == '\\' {
                chars.next();
            }
        }
        Err(no_query(
            open..open + 1,
            "this quote is not closed",
            "`\\` before it makes it a character",
        ))
    }

    /// Moves behind a range, or a set, which may have quotes in it.
    fn skip_range(&mut self, is_set: bool) -> Result<(), QueryError> {
        let open = self.at;
        self.at += 1;
        while let Some(char) = self.rest().chars().next() {
            match char {
                '"' | '\'' if is_set => {
                    self.skip_quoted(char)?;
                    continue;
                }
                '\\' => self.at += self.rest().chars().nth(1).map_or(0, char::len_utf8),
                _ => {}
            }
            self.at += char.len_utf8();
            if matches!(char, ']' | '}') {
                return Ok(());
            }
        }
        let help = "a range is written `[1 TO 9]`, or `{1 TO 9}` without its ends";
        Err(no_query(open..open + 1, "this bracket is not closed", help))
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// The operator that stands here, and how many bytes it has.
    fn operator(&self) -> Option<(Operator, usize)> {
        let stands = |written: &str| self.rest().strip_prefix(written).is_some_and(is_word_end);
        let (written, operator) = OPERATORS.into_iter().find(|(written, _)| stands(written))?;
        Some((operator, written.len()))
    }

    fn char_at(&self, at: usize) -> Range<usize> {
        at..at + self.text[at..].chars().next().map_or(0, char::len_utf8)
    }
}

/// Whether a word ends before this.
fn is_word_end(rest: &str) -> bool {
    rest.chars().next().is_none_or(|char| char.is_whitespace() || "()".contains(char))
}

/// Asks a field, unless another one is named.
fn put_into(leaf: &mut UserInputLeaf, name: &str) {
    match leaf {
        UserInputLeaf::All => *leaf = UserInputLeaf::Exists { field: name.to_owned() },
        UserInputLeaf::Literal(literal) => {
            literal.field_name.get_or_insert_with(|| name.to_owned());
        }
        UserInputLeaf::Range { field, .. }
        | UserInputLeaf::Set { field, .. }
        | UserInputLeaf::Regex { field, .. } => {
            field.get_or_insert_with(|| name.to_owned());
        }
        UserInputLeaf::Exists { .. } => {}
    }
}

fn no_query(at: Range<usize>, what: &str, help: &str) -> QueryError {
    QueryError::Wrong {
        at: Some(at),
        message: format!("this is no query: {what}"),
        help: help.to_owned(),
    }
}
