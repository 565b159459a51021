//! An expression of either dialect, parsed once and evaluated for every row.

use std::ops::Range;

use crate::columns::Column;
use crate::error::{EvalError, SyntaxError};
use crate::value::{Row, Truth, Value};
use crate::{Draft, rocketmq, strict};

/// Whose rules an expression follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// That of pipeline files.
    Strict,
    /// That of subscriptions: what Apache RocketMQ 5 accepts and answers, oddities included.
    RocketMq,
}

/// A parsed expression.
///
/// Cloning copies the tree; share it in an `Arc` where that matters. Evaluation allocates nothing
/// unless the expression itself builds a text.
#[derive(Clone, Debug)]
pub struct Expr {
    tree: Tree,
    columns: Vec<Column>,
    ignored: Option<Range<usize>>,
}

#[derive(Clone, Debug)]
enum Tree {
    Strict(strict::Node),
    RocketMq(rocketmq::Node),
}

impl Expr {
    /// Parses a value or a condition.
    ///
    /// RocketMQ has conditions only, so there this is [`Expr::parse_condition`].
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, SyntaxError> {
        match dialect {
            Dialect::Strict => Draft::read(text).into_expr(),
            Dialect::RocketMq => {
                let rocketmq::Parsed { node, columns, ignored } = rocketmq::parse(text)?;
                Ok(Self { tree: Tree::RocketMq(node), columns, ignored })
            }
        }
    }

    /// Parses a condition: like [`Expr::parse`], but an expression that can never be TRUE or
    /// FALSE, such as `amount + 5`, is an error.
    pub fn parse_condition(text: &str, dialect: Dialect) -> Result<Self, SyntaxError> {
        let expr = Self::parse(text, dialect)?;
        let mut mistakes = Vec::new();
        if let Tree::Strict(node) = &expr.tree {
            strict::check_condition(node, &strict::Columns::Unknown, &mut mistakes);
        }
        mistakes.into_iter().next().map_or(Ok(expr), Err)
    }

    pub(crate) fn strict(node: strict::Node, columns: Vec<Column>) -> Self {
        Self { tree: Tree::Strict(node), columns, ignored: None }
    }

    /// Distinct columns in order of first appearance. Evaluation asks for them by their place in
    /// this list, the slot.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What stands behind the end of the expression and is not looked at.
    ///
    /// Only in RocketMQ's dialect, whose parser stops quietly at the first token that does not
    /// fit: `a = 1 AMD b = 2` is `a = 1` to it.
    pub fn ignored(&self) -> Option<Range<usize>> {
        self.ignored.clone()
    }

    /// The value of the expression. A condition is a Boolean, or NULL when it is unknown.
    pub fn evaluate<'a, R: Row<'a> + ?Sized>(&self, row: &R) -> Result<Value<'a>, EvalError> {
        match &self.tree {
            Tree::Strict(node) => strict::value(node, row),
            Tree::RocketMq(node) => Ok(rocketmq::truth(node, row)?.into_value()),
        }
    }

    /// The verdict of a condition. In the strict dialect the texts `true` and `false` count as
    /// Booleans, and any other value is unknown.
    pub fn verdict<'a, R: Row<'a> + ?Sized>(&self, row: &R) -> Result<Truth, EvalError> {
        match &self.tree {
            Tree::Strict(node) => strict::truth(node, row),
            Tree::RocketMq(node) => rocketmq::truth(node, row),
        }
    }
}
