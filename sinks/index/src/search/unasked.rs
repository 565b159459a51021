//! Questions that tantivy takes for others, or finds no answer to when it is too late to say where
//! they stand.

use tantivy::query_grammar::{Delimiter, UserInputAst, UserInputLeaf, UserInputLiteral};
use tantivy::schema::Schema;

use super::mistake::{self, QueryError};
use crate::mapping::{FieldKind, MappedField, Mapping};

/// A query, and what it is asked of.
pub(super) struct Unasked<'a> {
    pub(super) mapping: &'a Mapping,
    pub(super) schema: &'a Schema,
    pub(super) text: &'a str,
}

impl Unasked<'_> {
    /// Refuses the first part of a query that asks for nothing an index can find.
    pub(super) fn check(&self, query: &UserInputAst) -> Result<(), QueryError> {
        match query {
            UserInputAst::Clause(parts) => parts.iter().try_for_each(|(_, part)| self.check(part)),
            UserInputAst::Boost(part, _) => self.check(part),
            UserInputAst::Leaf(leaf) => match &**leaf {
                UserInputLeaf::Range { field: Some(path), .. }
                    if self.field(path).is_some_and(|field| field.kind == FieldKind::Json) =>
                {
                    Err(mistake::json_range(self.text, path))
                }
                UserInputLeaf::Literal(literal) if is_beginning(literal) => self.beginning(literal),
                _ => Ok(()),
            },
        }
    }

    fn field(&self, path: &str) -> Option<&MappedField> {
        let (field, _) = self.schema.find_field(path)?;
        let name = self.schema.get_field_name(field);
        self.mapping.fields.iter().find(|field| field.name == name)
    }

    fn beginning(&self, literal: &UserInputLiteral) -> Result<(), QueryError> {
        let has_words = |kind: FieldKind| matches!(kind, FieldKind::Text | FieldKind::Keyword);
        let field = match &literal.field_name {
            Some(path) => self.field(path).filter(|field| has_words(field.kind)),
            None => self.mapping.fields.iter().find(|field| has_words(field.kind)),
        };
        match field {
            Some(field) => Err(mistake::beginning(self.text, field, &literal.phrase)),
            None => Ok(()),
        }
    }
}

/// A bare word that ends in `*`. In quotes and after `\` it is a character like others.
fn is_beginning(literal: &UserInputLiteral) -> bool {
    let word = &literal.phrase;
    matches!(literal.delimiter, Delimiter::None) && word.ends_with('*') && !word.ends_with("\\*")
}
