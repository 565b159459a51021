//! A tree and a row to a verdict, with the types and conversions of Java.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::operator::Operator;
use crate::value::quoted;
use crate::{EvalError, Row, Truth, Value};

use super::number::{read_double, read_int, read_long};
use super::tree::{Between, Node, Place, Search};

/// A value as Java holds it.
enum Datum<'v> {
    Null,
    Bool(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Cow<'v, str>),
}

impl<'v> From<Value<'v>> for Datum<'v> {
    fn from(value: Value<'v>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Int(value) => i32::try_from(value).map_or(Self::Long(value), Self::Int),
            Value::Double(value) => Self::Double(value),
            Value::Text(text) => Self::Text(text),
            Value::Timestamp(_) | Value::Date(_) => Self::Text(Cow::Owned(value.to_string())),
        }
    }
}

/// The verdict of a condition; of anything else that is no Boolean, FALSE.
pub(crate) fn truth<'a, R: Row<'a> + ?Sized>(node: &Node, row: &R) -> Result<Truth, EvalError> {
    match node {
        Node::Equal(sides) => match &**sides {
            // By far the most frequent condition needs no conversions.
            (Node::Column(slot), Node::Text(wanted)) => Ok(match row.value(*slot) {
                Value::Null => Truth::Unknown,
                Value::Text(text) => Truth::from(*text == **wanted),
                other => equal(&other.into(), &Datum::Text(Cow::Borrowed(wanted)))?,
            }),
            (left, right) => equal(&datum(left, row)?, &datum(right, row)?),
        },
        Node::Order(order) => {
            let (operator, left, right) = &**order;
            ordered(*operator, &datum(left, row)?, right, row)
        }
        Node::And(operands) => {
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
        Node::Or(operands) => {
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
        Node::Not(operand) => Ok(truth(operand, row)?.negated()),
        Node::In(list) => Ok(match row.value(list.slot) {
            Value::Text(text) => {
                let found = list.texts.binary_search_by(|element| (**element).cmp(&text)).is_ok();
                Truth::from(found != list.negated)
            }
            _ => Truth::Unknown,
        }),
        Node::Search(search) => found(search, row),
        Node::Between(between) => between_truth(between, row),
        Node::IsNull(operand) => Ok(Truth::from(matches!(datum(operand, row)?, Datum::Null))),
        Node::Bool(value) => Ok(Truth::from(*value)),
        Node::Cast(slot) => Ok(boolean(&Datum::from(row.value(*slot)))),
        _ => Ok(boolean(&datum(node, row)?)),
    }
}

fn boolean(datum: &Datum<'_>) -> Truth {
    match datum {
        Datum::Null => Truth::Unknown,
        Datum::Bool(value) => Truth::from(*value),
        _ => Truth::False,
    }
}

fn datum<'v, 'a: 'v, R: Row<'a> + ?Sized>(node: &'v Node, row: &R) -> Result<Datum<'v>, EvalError> {
    Ok(match node {
        Node::Column(slot) => row.value(*slot).into(),
        Node::Null => Datum::Null,
        Node::Bool(value) => Datum::Bool(*value),
        Node::Int(value) => Datum::Int(*value),
        Node::Long(value) => Datum::Long(*value),
        Node::Double(value) => Datum::Double(*value),
        Node::Text(text) => Datum::Text(Cow::Borrowed(text)),
        Node::Negate(operand) => match datum(operand, row)? {
            Datum::Int(value) => Datum::Int(value.wrapping_neg()),
            Datum::Long(value) => Datum::Long(value.wrapping_neg()),
            Datum::Double(value) => Datum::Double(-value),
            _ => Datum::Null,
        },
        _ => match truth(node, row)? {
            Truth::True => Datum::Bool(true),
            Truth::False => Datum::Bool(false),
            Truth::Unknown => Datum::Null,
        },
    })
}

/// `=`. A missing value on the right alone is different from everything, one on the left alone
/// is unknown, and two are equal.
fn equal(left: &Datum<'_>, right: &Datum<'_>) -> Result<Truth, EvalError> {
    Ok(match (left, right) {
        (Datum::Null, Datum::Null) => Truth::True,
        (Datum::Null, _) => Truth::Unknown,
        (_, Datum::Null) => Truth::False,
        (Datum::Text(left), Datum::Text(right)) => Truth::from(left == right),
        _ => Truth::from(compare(left, right)?.is_eq()),
    })
}

/// An ordering operator. A missing value on the left leaves the right side unevaluated.
fn ordered<'v, 'a: 'v, R: Row<'a> + ?Sized>(
    operator: Operator,
    left: &Datum<'_>,
    right: &'v Node,
    row: &R,
) -> Result<Truth, EvalError> {
    if matches!(left, Datum::Null) {
        return Ok(Truth::Unknown);
    }
    if let (Datum::Text(text), Node::Int(int)) = (left, right) {
        return Ok(Truth::from(operator.holds(int_in(text)?.cmp(int))));
    }
    Ok(match (left, &datum(right, row)?) {
        (_, Datum::Null) => Truth::Unknown,
        (left, right) => Truth::from(operator.holds(compare(left, right)?)),
    })
}

/// `>= low AND <= high`, or `< low OR > high` if negated, each with its short circuit.
fn between_truth<'a, R: Row<'a> + ?Sized>(between: &Between, row: &R) -> Result<Truth, EvalError> {
    let operand = datum(&between.operand, row)?;
    let (low, high, decisive) = if between.negated {
        (Operator::Less, Operator::Greater, Truth::True)
    } else {
        (Operator::GreaterOrEqual, Operator::LessOrEqual, Truth::False)
    };
    let first = ordered(low, &operand, &between.low, row)?;
    if first == decisive {
        return Ok(decisive);
    }
    let second = ordered(high, &operand, &between.high, row)?;
    Ok(if second == decisive || first != Truth::Unknown { second } else { first })
}

/// CONTAINS and its like: FALSE for an empty search text and for what is no text, negated or not.
fn found<'a, R: Row<'a> + ?Sized>(search: &Search, row: &R) -> Result<Truth, EvalError> {
    if search.text.is_empty() {
        return Ok(Truth::False);
    }
    let Datum::Text(text) = datum(&search.operand, row)? else {
        return Ok(Truth::False);
    };
    let found = match search.place {
        Place::Anywhere => text.contains(&*search.text),
        Place::Start => text.starts_with(&*search.text),
        Place::End => text.ends_with(&*search.text),
    };
    Ok(Truth::from(found != search.negated))
}

/// The order of two values, converted to a common type as `ComparisonExpression.__compare` does:
/// a text to the type of the other side, a narrower number to the wider type. Two texts are
/// ordered as doubles. Types without a conversion answer "less".
fn compare(left: &Datum<'_>, right: &Datum<'_>) -> Result<Ordering, EvalError> {
    use Datum::{Bool, Double, Int, Long, Null, Text};
    Ok(match (left, right) {
        (Text(left), Text(right)) => order_of_doubles(double_in(left)?, double_in(right)?),
        (Int(left), Int(right)) => left.cmp(right),
        (Int(left), Text(right)) => left.cmp(&int_in(right)?),
        (Text(left), Int(right)) => int_in(left)?.cmp(right),
        (Long(left), Text(right)) => left.cmp(&long_in(right)?),
        (Text(left), Long(right)) => long_in(left)?.cmp(right),
        (Double(left), Text(right)) => order_of_doubles(*left, double_in(right)?),
        (Text(left), Double(right)) => order_of_doubles(double_in(left)?, *right),
        (Int(left), Long(right)) => i64::from(*left).cmp(right),
        (Long(left), Int(right)) => left.cmp(&i64::from(*right)),
        (Long(left), Long(right)) => left.cmp(right),
        (Int(left), Double(right)) => order_of_doubles(f64::from(*left), *right),
        (Double(left), Int(right)) => order_of_doubles(*left, f64::from(*right)),
        (Long(left), Double(right)) => order_of_doubles(*left as f64, *right),
        (Double(left), Long(right)) => order_of_doubles(*left, *right as f64),
        (Double(left), Double(right)) => order_of_doubles(*left, *right),
        (Bool(left), Bool(right)) => left.cmp(right),
        (Text(left), Bool(right)) => left.eq_ignore_ascii_case("true").cmp(right),
        (Bool(_), Text(_)) => return Err(EvalError::BooleanBesideText),
        (Bool(_), Int(_) | Long(_) | Double(_)) | (Int(_) | Long(_) | Double(_), Bool(_)) => {
            Ordering::Less
        }
        (Null, _) | (_, Null) => Ordering::Less,
    })
}

/// `Double.compareTo`: -0.0 before 0.0, NaN after everything and equal to itself.
fn order_of_doubles(left: f64, right: f64) -> Ordering {
    left.total_cmp(&right)
}

fn int_in(text: &str) -> Result<i32, EvalError> {
    read_int(text).ok_or_else(|| unreadable(text, "a 32-bit whole number"))
}

fn long_in(text: &str) -> Result<i64, EvalError> {
    read_long(text).ok_or_else(|| unreadable(text, "a 64-bit whole number"))
}

fn double_in(text: &str) -> Result<f64, EvalError> {
    read_double(text).ok_or_else(|| unreadable(text, "a floating-point number"))
}

fn unreadable(text: &str, wanted: &'static str) -> EvalError {
    EvalError::Unreadable { found: quoted(text), wanted }
}
