//! A tree and a row to a value or a verdict.
//!
//! Operands are evaluated left to right, and AND, OR, CASE and COALESCE stop at the operand that
//! decides: an error behind it is never met. Comparisons borrow; only texts that an expression
//! builds are allocated.

use std::borrow::Cow;

use crate::number::Number;
use crate::operator::Operator;
use crate::{EvalError, Row, Truth, Value};

use super::cast;
use super::compare::{Outcome, compare, compare_literal};
use super::tree::{Arithmetic, Between, Calculation, Case, Comparison, Kind, Node, read_boolean};

/// The verdict of a condition.
pub(crate) fn truth<'a, R: Row<'a> + ?Sized>(node: &Node, row: &R) -> Result<Truth, EvalError> {
    match &node.kind {
        Kind::Compare(comparison) => comparison_truth(comparison, row),
        Kind::And(operands) => all(operands, row),
        Kind::Or(operands) => any(operands, row),
        Kind::Not(operand) => Ok(truth(operand, row)?.negated()),
        Kind::In(membership) => {
            let value = borrowed(&membership.operand, row)?;
            membership.list.holds(&value, membership.negated, row)
        }
        Kind::Match(search) => Ok(match borrowed(&search.operand, row)? {
            Value::Text(text) => {
                Truth::from(search.pattern.matches(&text)).negated_if(search.negated)
            }
            _ => Truth::Unknown,
        }),
        Kind::Between(between) => between_truth(between, row),
        Kind::IsNull { operand, negated } => {
            let is_null = matches!(borrowed(operand, row)?, Value::Null);
            Ok(Truth::from(is_null != *negated))
        }
        _ => Ok(truth_of(&value(node, row)?)),
    }
}

/// A value as a condition: a Boolean, or a text that says so. Everything else is unknown.
fn truth_of(value: &Value<'_>) -> Truth {
    let boolean = match value {
        Value::Bool(boolean) => Some(*boolean),
        Value::Text(text) => read_boolean(text),
        _ => None,
    };
    boolean.map_or(Truth::Unknown, Truth::from)
}

/// The value of an expression, borrowing from the row at most.
pub(crate) fn value<'a, R: Row<'a> + ?Sized>(node: &Node, row: &R) -> Result<Value<'a>, EvalError> {
    match &node.kind {
        Kind::Column(slot) => Ok(row.value(*slot)),
        Kind::Null | Kind::Wrong(_) => Ok(Value::Null),
        Kind::Bool(boolean) => Ok(Value::Bool(*boolean)),
        Kind::Int(int) => Ok(Value::Int(*int)),
        Kind::Double(double) => Ok(Value::Double(*double)),
        Kind::Text(literal) => Ok(Value::Text(Cow::Owned(literal.text.to_string()))),
        Kind::Arithmetic(arithmetic) => calculated(arithmetic, row),
        Kind::Negate(operand) => negated(value(operand, row)?),
        Kind::Plus(operand) => value(operand, row),
        Kind::Join(sides) => joined(&sides.0, &sides.1, row),
        Kind::Case(case) => case_value(case, row),
        Kind::Coalesce(operands) => coalesced(operands, row),
        Kind::Lower(operand) => recased(operand, row, "LOWER"),
        Kind::Upper(operand) => recased(operand, row, "UPPER"),
        Kind::Cast { operand, to } => cast::cast(value(operand, row)?, *to),
        Kind::Date(operand) => cast::date(value(operand, row)?),
        Kind::And(_)
        | Kind::Or(_)
        | Kind::Not(_)
        | Kind::Compare(_)
        | Kind::Between(_)
        | Kind::In(_)
        | Kind::Match(_)
        | Kind::IsNull { .. } => Ok(truth(node, row)?.into_value()),
    }
}

/// A value that may also borrow from the expression.
pub(super) fn borrowed<'v, 'a: 'v, R: Row<'a> + ?Sized>(
    node: &'v Node,
    row: &R,
) -> Result<Value<'v>, EvalError> {
    match &node.kind {
        Kind::Column(slot) => Ok(row.value(*slot)),
        Kind::Text(literal) => Ok(Value::Text(Cow::Borrowed(&literal.text))),
        _ => value(node, row),
    }
}

fn all<'a, R: Row<'a> + ?Sized>(operands: &[Node], row: &R) -> Result<Truth, EvalError> {
    let mut verdict = Truth::True;
    for operand in operands {
        match truth(operand, row)? {
            Truth::True => {}
            Truth::False => return Ok(Truth::False),
            Truth::Unknown => verdict = Truth::Unknown,
        }
    }
    Ok(verdict)
}

fn any<'a, R: Row<'a> + ?Sized>(operands: &[Node], row: &R) -> Result<Truth, EvalError> {
    let mut verdict = Truth::False;
    for operand in operands {
        match truth(operand, row)? {
            Truth::True => return Ok(Truth::True),
            Truth::False => {}
            Truth::Unknown => verdict = Truth::Unknown,
        }
    }
    Ok(verdict)
}

fn comparison_truth<'a, R: Row<'a> + ?Sized>(
    comparison: &Comparison,
    row: &R,
) -> Result<Truth, EvalError> {
    let left = borrowed(&comparison.left, row)?;
    Ok(against(comparison.operator, &left, &comparison.right, row)?.truth())
}

fn against<'a, R: Row<'a> + ?Sized>(
    operator: Operator,
    left: &Value<'_>,
    right: &Node,
    row: &R,
) -> Result<Outcome, EvalError> {
    match &right.kind {
        Kind::Text(literal) => Ok(compare_literal(operator, left, literal)),
        Kind::Int(int) => Ok(compare(operator, left, &Value::Int(*int))),
        _ => Ok(compare(operator, left, &borrowed(right, row)?)),
    }
}

/// `low <= operand AND operand <= high`; NOT BETWEEN is its negation.
fn between_truth<'a, R: Row<'a> + ?Sized>(between: &Between, row: &R) -> Result<Truth, EvalError> {
    let mut operand = borrowed(&between.operand, row)?;
    if let (Value::Text(text), true) = (&operand, between.is_numeric()) {
        // Read once for both bounds. What does not read is unknown to both, as NULL is.
        operand = Number::read(text).map_or(Value::Null, Value::from);
    }
    let above = against(Operator::GreaterOrEqual, &operand, &between.low, row)?.truth();
    let verdict = if above == Truth::False {
        Truth::False
    } else {
        match against(Operator::LessOrEqual, &operand, &between.high, row)?.truth() {
            Truth::True => above,
            below => below,
        }
    };
    Ok(verdict.negated_if(between.negated))
}

fn calculated<'a, R: Row<'a> + ?Sized>(
    arithmetic: &Arithmetic,
    row: &R,
) -> Result<Value<'a>, EvalError> {
    let calculation = arithmetic.calculation;
    let left = number(&borrowed(&arithmetic.left, row)?, calculation.sign())?;
    let right = number(&borrowed(&arithmetic.right, row)?, calculation.sign())?;
    match (left, right) {
        (Some(left), Some(right)) => calculate(calculation, left, right),
        _ => Ok(Value::Null),
    }
}

/// The number in a value, `None` for NULL. A text from the row counts if it reads as a number.
fn number(value: &Value<'_>, operation: &'static str) -> Result<Option<Number>, EvalError> {
    let number = match value {
        Value::Null => return Ok(None),
        Value::Int(int) => Some(Number::Int(*int)),
        Value::Double(double) => Some(Number::Double(*double)),
        Value::Text(text) => Number::read(text),
        Value::Bool(_) | Value::Timestamp(_) | Value::Date(_) => None,
    };
    let found = || EvalError::NotANumber { operation, found: value.described() };
    number.ok_or_else(found).map(Some)
}

/// Whole numbers stay whole except under `/`, whose result is always a double.
fn calculate(
    calculation: Calculation,
    left: Number,
    right: Number,
) -> Result<Value<'static>, EvalError> {
    let divides = matches!(calculation, Calculation::Divide | Calculation::Remainder);
    if divides && right.as_f64() == 0.0 {
        return Err(EvalError::DivisionByZero);
    }
    let result = match (left, right) {
        (Number::Int(left), Number::Int(right)) if calculation != Calculation::Divide => {
            let int = match calculation {
                Calculation::Add => left.checked_add(right),
                Calculation::Subtract => left.checked_sub(right),
                Calculation::Multiply => left.checked_mul(right),
                // The one remainder that overflows, of the smallest number by -1, is 0.
                Calculation::Divide | Calculation::Remainder => Some(left.wrapping_rem(right)),
            };
            int.map(Value::Int)
        }
        _ => {
            let (left, right) = (left.as_f64(), right.as_f64());
            let double = match calculation {
                Calculation::Add => left + right,
                Calculation::Subtract => left - right,
                Calculation::Multiply => left * right,
                Calculation::Divide => left / right,
                Calculation::Remainder => left % right,
            };
            double.is_finite().then_some(Value::Double(double))
        }
    };
    result.ok_or(EvalError::OutOfRange { operation: calculation.sign() })
}

fn negated<'a>(value: Value<'a>) -> Result<Value<'a>, EvalError> {
    match number(&value, "-")? {
        None => Ok(Value::Null),
        Some(Number::Double(double)) => Ok(Value::Double(-double)),
        Some(Number::Int(int)) => {
            let negative = int.checked_neg().map(Value::Int);
            negative.ok_or(EvalError::OutOfRange { operation: "-" })
        }
    }
}

fn joined<'a, R: Row<'a> + ?Sized>(
    left: &Node,
    right: &Node,
    row: &R,
) -> Result<Value<'a>, EvalError> {
    let left = borrowed(left, row)?;
    let right = borrowed(right, row)?;
    if left == Value::Null || right == Value::Null {
        return Ok(Value::Null);
    }
    Ok(Value::Text(Cow::Owned(format!("{left}{right}"))))
}

fn case_value<'a, R: Row<'a> + ?Sized>(case: &Case, row: &R) -> Result<Value<'a>, EvalError> {
    let operand = match &case.operand {
        Some(operand) => Some(borrowed(operand, row)?),
        None => None,
    };
    for (when, then) in &case.branches {
        let taken = match &operand {
            None => truth(when, row)? == Truth::True,
            Some(operand) => against(Operator::Equal, operand, when, row)? == Outcome::Holds,
        };
        if taken {
            return value(then, row);
        }
    }
    case.otherwise.as_ref().map_or(Ok(Value::Null), |otherwise| value(otherwise, row))
}

fn coalesced<'a, R: Row<'a> + ?Sized>(operands: &[Node], row: &R) -> Result<Value<'a>, EvalError> {
    for operand in operands {
        let value = value(operand, row)?;
        if value != Value::Null {
            return Ok(value);
        }
    }
    Ok(Value::Null)
}

/// LOWER or UPPER. A text that needs no change is not copied.
fn recased<'a, R: Row<'a> + ?Sized>(
    operand: &Node,
    row: &R,
    function: &'static str,
) -> Result<Value<'a>, EvalError> {
    let lower = function == "LOWER";
    let changes = |byte: u8| {
        !byte.is_ascii()
            || if lower { byte.is_ascii_uppercase() } else { byte.is_ascii_lowercase() }
    };
    match value(operand, row)? {
        Value::Null => Ok(Value::Null),
        Value::Text(text) if !text.bytes().any(changes) => Ok(Value::Text(text)),
        Value::Text(text) => {
            let recased = if lower { text.to_lowercase() } else { text.to_uppercase() };
            Ok(Value::Text(Cow::Owned(recased)))
        }
        other => Err(EvalError::Unsuitable { function, found: other.described() }),
    }
}
