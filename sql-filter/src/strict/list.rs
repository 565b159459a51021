//! The list of an IN, arranged so that thousands of literals cost one search.

use crate::number::Number;
use crate::operator::Operator;
use crate::{EvalError, Row, Truth, Value};

use super::compare::{Outcome, compare, compare_literal};
use super::evaluate;
use super::tree::{Kind, Node, TextLiteral};

/// So few elements are compared one by one.
const FEW: usize = 8;

/// Literal texts and whole numbers are sorted; all other elements are compared one by one.
#[derive(Clone, Debug)]
pub(super) struct List {
    texts: Vec<TextLiteral>,
    ints: Vec<i64>,
    /// The whole numbers that stand in quotes.
    quoted_ints: Vec<i64>,
    /// All elements as written.
    elements: Vec<Node>,
    /// The places in `elements` of those that are no literal text or whole number.
    others: Vec<usize>,
}

impl List {
    pub(super) fn new(elements: Vec<Node>) -> Self {
        let mut list = Self {
            texts: Vec::new(),
            ints: Vec::new(),
            quoted_ints: Vec::new(),
            elements: Vec::new(),
            others: Vec::new(),
        };
        for (at, element) in elements.iter().enumerate() {
            match &element.kind {
                Kind::Int(int) => list.ints.push(*int),
                Kind::Text(literal) => {
                    if let Some(Number::Int(int)) = literal.number {
                        list.quoted_ints.push(int);
                    }
                    list.texts.push((**literal).clone());
                }
                _ => list.others.push(at),
            }
        }
        list.ints.sort_unstable();
        list.ints.dedup();
        list.quoted_ints.sort_unstable();
        list.texts.sort_unstable_by(|left, right| left.text.cmp(&right.text));
        list.texts.dedup_by(|left, right| left.text == right.text);
        list.elements = elements;
        list
    }

    pub(super) fn elements(&self) -> &[Node] {
        &self.elements
    }

    /// An equal element makes IN true and NOT IN false. Failing that, an element that is unknown
    /// makes both unknown; failing that, one of an unlike type makes both false.
    pub(super) fn holds<'a, R: Row<'a> + ?Sized>(
        &self,
        value: &Value<'_>,
        negated: bool,
        row: &R,
    ) -> Result<Truth, EvalError> {
        if matches!(value, Value::Null) {
            return Ok(Truth::Unknown);
        }
        let mut best = self.among_literals(value);
        for at in &self.others {
            if best == Outcome::Holds {
                break;
            }
            let element = evaluate::borrowed(&self.elements[*at], row)?;
            best = stronger(best, compare(Operator::Equal, value, &element));
        }
        Ok(match best {
            Outcome::Holds => Truth::from(!negated),
            Outcome::Unknown => Truth::Unknown,
            Outcome::Unlike => Truth::False,
            Outcome::Fails => Truth::from(negated),
        })
    }

    fn among_literals(&self, value: &Value<'_>) -> Outcome {
        let texts = if self.texts.is_empty() { Outcome::Fails } else { self.among_texts(value) };
        if texts == Outcome::Holds || self.ints.is_empty() {
            return texts;
        }
        stronger(texts, self.among_ints(value))
    }

    fn among_texts(&self, value: &Value<'_>) -> Outcome {
        let found = match value {
            Value::Text(text) => {
                let found = match self.texts.len() {
                    // Texts of different lengths are told apart without a look at their bytes.
                    ..=FEW => self.texts.iter().any(|literal| *literal.text == **text),
                    _ => self.texts.binary_search_by(|literal| (*literal.text).cmp(text)).is_ok(),
                };
                return if found { Outcome::Holds } else { Outcome::Fails };
            }
            Value::Int(int) => self.quoted_ints.binary_search(int).is_ok(),
            _ => false,
        };
        if found {
            return Outcome::Holds;
        }
        self.texts.iter().fold(Outcome::Fails, |best, literal| {
            stronger(best, compare_literal(Operator::Equal, value, literal))
        })
    }

    fn among_ints(&self, value: &Value<'_>) -> Outcome {
        let number = match value {
            Value::Int(int) => Number::Int(*int),
            Value::Double(double) => Number::Double(*double),
            Value::Text(text) => match Number::read(text) {
                Some(number) => number,
                None => return Outcome::Unknown,
            },
            Value::Null => return Outcome::Unknown,
            Value::Bool(_) | Value::Timestamp(_) | Value::Date(_) => return Outcome::Unlike,
        };
        if number.compare(number).is_none() {
            return Outcome::Unknown; // NaN
        }
        let found = self.ints.binary_search_by(|int| {
            // Both are numbers, so there is an order.
            Number::Int(*int).compare(number).unwrap_or(std::cmp::Ordering::Less)
        });
        if found.is_ok() { Outcome::Holds } else { Outcome::Fails }
    }
}

/// Of two elements' outcomes, the one that decides.
fn stronger(left: Outcome, right: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Holds => 3,
        Outcome::Unknown => 2,
        Outcome::Unlike => 1,
        Outcome::Fails => 0,
    };
    if rank(left) >= rank(right) { left } else { right }
}
