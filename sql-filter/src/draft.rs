//! An expression that may have mistakes, and all of them.

use crate::columns::Column;
use crate::error::SyntaxError;
use crate::expr::Expr;
use crate::strict;
use crate::value::Type;

/// An expression of the strict dialect as far as it can be read.
///
/// No mistake in it hides another: after one, reading goes on behind the next `AND`, `OR`, comma
/// or parenthesis, and what depends on what is wrong has an unknown type, which goes with
/// everything.
pub struct Draft(strict::Parsed);

impl Draft {
    /// Reads a text, whatever is wrong with it.
    pub fn read(text: &str) -> Self {
        Self(strict::parse(text))
    }

    /// Distinct columns of what could be read, in order of first appearance.
    pub fn columns(&self) -> &[Column] {
        &self.0.columns
    }

    /// The type of the result when the columns, by their place in the list, have these types, and
    /// every mistake. `None` stands for a type that is not known.
    pub fn check_value(
        &self,
        column_type: &dyn Fn(usize) -> Option<Type>,
    ) -> (Option<Type>, Vec<SyntaxError>) {
        let mut mistakes = self.0.mistakes.clone();
        let columns = strict::Columns::Typed(column_type);
        let found = strict::infer(&self.0.node, &columns, &mut mistakes);
        (found, mistakes)
    }

    /// Like [`Draft::check_value`] for a condition: an expression that can never be TRUE or FALSE
    /// with columns of these types is a mistake, a bare text column included.
    pub fn check_condition(&self, column_type: &dyn Fn(usize) -> Option<Type>) -> Vec<SyntaxError> {
        let mut mistakes = self.0.mistakes.clone();
        let columns = strict::Columns::Typed(column_type);
        strict::check_condition(&self.0.node, &columns, &mut mistakes);
        mistakes
    }

    /// The expression, if nothing is wrong with it whatever the types of its columns are.
    pub fn into_expr(self) -> Result<Expr, SyntaxError> {
        let strict::Parsed { node, columns, mut mistakes } = self.0;
        if mistakes.is_empty() {
            strict::infer(&node, &strict::Columns::Unknown, &mut mistakes);
        }
        mistakes.into_iter().next().map_or_else(|| Ok(Expr::strict(node, columns)), Err)
    }
}
