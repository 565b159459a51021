//! Questions about fields whose single values no list of terms leads to.
//!
//! The fields that every document has are in columns only, so that they cost nothing when a part is
//! written; and of an instant, terms know the second only. Tantivy looks ranges up in columns, but
//! not single values; a single value is a range with two equal ends.

use std::ops::Range;

use tantivy::query_grammar::{Occur, UserInputAst, UserInputBound, UserInputLeaf};

use super::mistake::QueryError;
use crate::mapping::{FieldKind, Mapping, RESERVED, STORE_TIME};

/// What is asked for by a piece of a query, with a range in the place of a single value of these
/// fields. What such a field cannot be asked for is an error.
pub(super) fn as_range(mapping: &Mapping, leaf: UserInputLeaf) -> Result<UserInputAst, QueryError> {
    let is_column = |field: Option<&String>| {
        let is = |name: &String| RESERVED.contains(&name.as_str()) || is_time(mapping, name);
        field.is_some_and(is)
    };
    match leaf {
        UserInputLeaf::Literal(literal) if is_column(literal.field_name.as_ref()) => {
            let field = literal.field_name.unwrap_or_default();
            if literal.prefix || literal.slop > 0 {
                return Err(only_whole(&field, None));
            }
            Ok(one(mapping, field, literal.phrase))
        }
        UserInputLeaf::Set { field: Some(field), elements } if is_column(Some(&field)) => {
            let one = |value| (Some(Occur::Should), one(mapping, field.clone(), value));
            Ok(UserInputAst::Clause(elements.into_iter().map(one).collect()))
        }
        other => Ok(other.into()),
    }
}

fn is_time(mapping: &Mapping, name: &str) -> bool {
    name == STORE_TIME || mapping.kind(name) == Some(FieldKind::Timestamp)
}

fn one(mapping: &Mapping, field: String, value: String) -> UserInputAst {
    let value = if is_time(mapping, &field) { to_micros(value) } else { value };
    let (lower, upper) =
        (UserInputBound::Inclusive(value.clone()), UserInputBound::Inclusive(value));
    UserInputLeaf::Range { field: Some(field), lower, upper }.into()
}

/// An instant without what an index does not keep of it.
fn to_micros(mut instant: String) -> String {
    if let Some(point) = instant.find('.') {
        let digits = instant[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
        instant.replace_range(point + 1 + digits.min(6)..point + 1 + digits, "");
    }
    instant
}

pub(super) fn only_whole(field: &str, at: Option<Range<usize>>) -> QueryError {
    QueryError::Wrong {
        at,
        message: format!("`{field}` is asked for as a whole or by a range"),
        help: "for example `_offset:[100 TO 199]`, or `_queue:\"broker-a/orders/0\"`".to_owned(),
    }
}
