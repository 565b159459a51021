//! Two values under a comparison operator.
//!
//! | values                          | verdict                                                     |
//! |---------------------------------|-------------------------------------------------------------|
//! | NULL and anything               | unknown                                                     |
//! | two numbers                     | by exact value; NaN is unknown                              |
//! | two texts, `=` `<>`             | the same characters or not                                  |
//! | two texts, order                | as numbers if both read as one, otherwise unknown           |
//! | text and literal text, order    | by code points                                              |
//! | text and another type           | the text read as that type; unknown if it does not read     |
//! | literal text and another type   | the same, but unlike if it does not read                    |
//! | timestamps and dates            | by instant, a date being its midnight                       |
//! | two Booleans, `=` `<>`          | the same or not                                             |
//! | any other pair                  | unlike                                                      |
//!
//! Unlike values make every operator FALSE, `<>` included: JMS 2.0, 3.8.1.2.

use std::cmp::Ordering;

use crate::number::Number;
use crate::operator::Operator;
use crate::{Truth, Value, time};

use super::tree::{TextLiteral, read_boolean};

/// What came of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Holds,
    Fails,
    /// NULL, or a text that cannot be read as what it is compared with.
    Unknown,
    /// Types that never compare.
    Unlike,
}

impl Outcome {
    pub(super) fn truth(self) -> Truth {
        match self {
            Self::Holds => Truth::True,
            Self::Fails | Self::Unlike => Truth::False,
            Self::Unknown => Truth::Unknown,
        }
    }

    fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    fn of_ordering(operator: Operator, ordering: Option<Ordering>) -> Self {
        ordering.map_or(Self::Unknown, |ordering| Self::of(operator.holds(ordering)))
    }
}

pub(super) fn compare(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Outcome {
    match (left, right) {
        (Value::Null, _) | (_, Value::Null) => Outcome::Unknown,
        (Value::Int(left), Value::Int(right)) => Outcome::of(operator.holds(left.cmp(right))),
        (Value::Text(left), Value::Text(right)) if operator.orders() => {
            let numbers = Number::read(left).zip(Number::read(right));
            Outcome::of_ordering(operator, numbers.and_then(|(left, right)| left.compare(right)))
        }
        (Value::Text(left), Value::Text(right)) => Outcome::of(operator.holds(left.cmp(right))),
        (Value::Text(text), other) => compare_text(operator.mirrored(), other, text),
        (other, Value::Text(text)) => compare_text(operator, other, text),
        _ => compare_alike(operator, left, right),
    }
}

/// A value that is no text with a text from the row.
fn compare_text(operator: Operator, left: &Value<'_>, text: &str) -> Outcome {
    let right = match left {
        Value::Int(_) | Value::Double(_) => Number::read(text).map(Value::from),
        Value::Timestamp(_) | Value::Date(_) => time::parse_timestamp(text).map(Value::Timestamp),
        Value::Bool(_) => read_boolean(text).map(Value::Bool),
        Value::Null | Value::Text(_) => None,
    };
    right.map_or(Outcome::Unknown, |right| compare_alike(operator, left, &right))
}

/// A value with a text in quotes on its right.
pub(super) fn compare_literal(
    operator: Operator,
    left: &Value<'_>,
    literal: &TextLiteral,
) -> Outcome {
    let right = match left {
        Value::Null => return Outcome::Unknown,
        Value::Text(text) if operator.orders() => {
            return Outcome::of(operator.holds((**text).cmp(&literal.text)));
        }
        Value::Text(text) => {
            return Outcome::of((**text == *literal.text) == (operator == Operator::Equal));
        }
        Value::Int(_) | Value::Double(_) => literal.number.map(Value::from),
        Value::Timestamp(_) | Value::Date(_) => literal.instant.map(Value::Timestamp),
        Value::Bool(_) => literal.boolean.map(Value::Bool),
    };
    right.map_or(Outcome::Unlike, |right| compare_alike(operator, left, &right))
}

/// Two values of which neither is NULL or a text.
fn compare_alike(operator: Operator, left: &Value<'_>, right: &Value<'_>) -> Outcome {
    if let (Some(left), Some(right)) = (number(left), number(right)) {
        return Outcome::of_ordering(operator, left.compare(right));
    }
    if let (Some(left), Some(right)) = (instant(left), instant(right)) {
        return Outcome::of(operator.holds(left.cmp(&right)));
    }
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) if !operator.orders() => {
            Outcome::of(operator.holds(left.cmp(right)))
        }
        _ => Outcome::Unlike,
    }
}

fn number(value: &Value<'_>) -> Option<Number> {
    match value {
        Value::Int(int) => Some(Number::Int(*int)),
        Value::Double(double) => Some(Number::Double(*double)),
        _ => None,
    }
}

/// An instant in more bits than a timestamp has, so that every date has its midnight.
fn instant(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Timestamp(micros) => Some(i128::from(*micros)),
        Value::Date(days) => Some(i128::from(*days) * i128::from(time::MICROS_PER_DAY)),
        _ => None,
    }
}
