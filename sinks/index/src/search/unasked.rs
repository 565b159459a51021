//! Questions that tantivy takes for others, or finds no answer to when it is too late to say where
//! they stand.

use tantivy::query_grammar::{Delimiter, UserInputLeaf, UserInputLiteral};
use tantivy::schema::Schema;
use tantivy::tokenizer::{TextAnalyzer, TokenStream as _};

use super::columns::only_whole;
use super::language::Piece;
use super::mistake::{self, QueryError};
use crate::mapping::{FieldKind, MappedField, Mapping, RESERVED};

/// A query, and what it is asked of.
pub(super) struct Unasked<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) schema: &'a Schema,
    pub(super) text: &'a str,
    /// Finds the words of a text.
    pub(super) words: TextAnalyzer,
}

impl Unasked<'_> {
    /// Refuses a piece of a query that asks for nothing an index can find.
    pub(super) fn check(&self, piece: &Piece) -> Result<(), QueryError> {
        let named = || piece.name.clone().unwrap_or(piece.value.clone());
        match &piece.leaf {
            UserInputLeaf::Exists { field: path } => match self.field(path) {
                Some(field) if matches!(field.kind, FieldKind::Text | FieldKind::Json) => {
                    Err(mistake::any_value(field, named()))
                }
                Some(field) if field.name == *path => Ok(()),
                _ if RESERVED.contains(&path.as_str()) => Ok(()),
                _ => Err(mistake::unknown(self.mapping, path, named())),
            },
            UserInputLeaf::Range { field: Some(path), .. }
                if self.field(path).is_some_and(|field| field.kind == FieldKind::Json) =>
            {
                Err(mistake::json_range(path, named()))
            }
            UserInputLeaf::Regex { .. } => Err(mistake::pattern(piece.value.clone())),
            UserInputLeaf::Literal(literal) => self.literal(literal, piece),
            _ => Ok(()),
        }
    }

    fn field(&self, path: &str) -> Option<&MappedField> {
        let (field, _) = self.schema.find_field(path)?;
        let name = self.schema.get_field_name(field);
        self.mapping.fields.iter().find(|field| field.name == name)
    }

    fn literal(&self, literal: &UserInputLiteral, piece: &Piece) -> Result<(), QueryError> {
        let at = piece.value.clone();
        let written = &self.text[at.clone()];
        let is_bare = matches!(literal.delimiter, Delimiter::None);
        if is_bare && is_operator(written, piece.name.is_some()) {
            return Err(mistake::operator(written, at));
        }
        let has_words = |kind: FieldKind| matches!(kind, FieldKind::Text | FieldKind::Keyword);
        let field = match &literal.field_name {
            Some(path) => self.field(path),
            None => self.mapping.fields.iter().find(|field| has_words(field.kind)),
        };
        let Some(field) = field else {
            // What every document has is a column, which has values and no words.
            let path = literal.field_name.as_deref().filter(|path| RESERVED.contains(path));
            return match path {
                Some(path) if is_bare && has_wildcard(written) => Err(only_whole(path, Some(at))),
                _ => Ok(()),
            };
        };
        let has_texts = has_words(field.kind) || field.kind == FieldKind::Json;
        if is_bare && has_texts && has_wildcard(written) {
            return Err(mistake::wildcard(field, written, at));
        }
        let has_keywords = |field: &MappedField| field.kind == FieldKind::Keyword;
        let by_words = match literal.field_name {
            Some(_) => matches!(field.kind, FieldKind::Text | FieldKind::Json),
            None => !self.mapping.fields.iter().any(has_keywords),
        };
        let mut words = self.words.clone();
        if by_words && !words.token_stream(&literal.phrase).advance() {
            return Err(mistake::no_word(at));
        }
        Ok(())
    }
}

/// A bare word that other languages take for an operator.
fn is_operator(word: &str, named: bool) -> bool {
    let is_one = ["and", "or", "not"].iter().any(|operator| word.eq_ignore_ascii_case(operator));
    !named && (is_one || ["&", "|"].contains(&word)) || word.contains("&&") || word.contains("||")
}

/// A character that other languages let stand for others. After `\` it is one like others.
fn has_wildcard(word: &str) -> bool {
    let mut chars = word.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => _ = chars.next(),
            '*' | '?' => return true,
            _ => {}
        }
    }
    false
}
