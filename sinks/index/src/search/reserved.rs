//! Questions about the fields that every document has, which no list of terms leads to.
//!
//! Their values are in columns only, so that they cost nothing when a part is written. Tantivy looks
//! ranges up in columns, but not single values; a single value is a range with two equal ends.

use tantivy::query_grammar::{Occur, UserInputAst, UserInputBound, UserInputLeaf};

use super::mistake::QueryError;
use crate::mapping::RESERVED;

/// The query with ranges in the place of single values of these fields. What such a field cannot be
/// asked for is an error.
pub(super) fn as_ranges(query: UserInputAst) -> Result<UserInputAst, QueryError> {
    Ok(match query {
        UserInputAst::Clause(parts) => {
            let parts = parts.into_iter().map(|(occur, part)| Ok((occur, as_ranges(part)?)));
            UserInputAst::Clause(parts.collect::<Result<_, QueryError>>()?)
        }
        UserInputAst::Boost(part, boost) => UserInputAst::Boost(as_ranges(*part)?.into(), boost),
        UserInputAst::Leaf(leaf) => of_leaf(*leaf)?,
    })
}

fn of_leaf(leaf: UserInputLeaf) -> Result<UserInputAst, QueryError> {
    match leaf {
        UserInputLeaf::Literal(literal) if is_reserved(literal.field_name.as_ref()) => {
            if literal.prefix || literal.slop > 0 {
                return Err(only_whole(literal.field_name));
            }
            Ok(one(literal.field_name, literal.phrase))
        }
        UserInputLeaf::Set { field, elements } if is_reserved(field.as_ref()) => {
            let each =
                elements.into_iter().map(|value| (Some(Occur::Should), one(field.clone(), value)));
            Ok(UserInputAst::Clause(each.collect()))
        }
        UserInputLeaf::Regex { field, .. } if is_reserved(field.as_ref()) => Err(only_whole(field)),
        other => Ok(other.into()),
    }
}

fn is_reserved(field: Option<&String>) -> bool {
    field.is_some_and(|name| RESERVED.contains(&name.as_str()))
}

fn one(field: Option<String>, value: String) -> UserInputAst {
    let (lower, upper) =
        (UserInputBound::Inclusive(value.clone()), UserInputBound::Inclusive(value));
    UserInputLeaf::Range { field, lower, upper }.into()
}

fn only_whole(field: Option<String>) -> QueryError {
    QueryError::Wrong {
        at: None,
        message: format!("`{}` is asked for as a whole or by a range", field.unwrap_or_default()),
        help: "for example `_offset:[100 TO 199]`, or `_queue:\"broker-a/orders/0\"`".to_owned(),
    }
}
