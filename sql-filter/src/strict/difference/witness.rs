//! Values that tell two evaluators apart.
//!
//! Around each literal of a condition lie the values that decide it: those below it, equal to it
//! and above it, in every form in which a text can say them. Between them nothing changes, so a
//! condition on which both evaluators agree for all of these is one on which they agree. (The
//! laws in `tests/it/differences.rs` hold that against random rows.)

use std::borrow::Cow;
use std::collections::HashSet;

use crate::number::Number;
use crate::strict::tree::{Kind, Node};
use crate::time::{self, MICROS_PER_DAY};
use crate::{Type, Value};

/// What a condition compares with.
#[derive(Default)]
pub(super) struct Literals {
    numbers: Vec<f64>,
    ints: Vec<i64>,
    texts: Vec<String>,
}

impl Literals {
    pub(super) fn of(node: &Node) -> Self {
        let mut literals = Self::default();
        literals.collect(node);
        literals
    }

    fn collect(&mut self, node: &Node) {
        match &node.kind {
            Kind::Int(int) => self.number(Number::Int(*int)),
            Kind::Double(double) => self.number(Number::Double(*double)),
            Kind::Text(literal) => self.text(&literal.text),
            Kind::Match(search) => {
                search.pattern.text().into_iter().for_each(|text| self.text(text))
            }
            _ => {}
        }
        node.parts().into_iter().for_each(|part| self.collect(part));
    }

    fn number(&mut self, number: Number) {
        for number in [number, negative(number)] {
            let double = number.as_f64();
            if self.numbers.contains(&double) {
                continue;
            }
            self.numbers.push(double);
            match number {
                Number::Int(int) => self.ints.push(int),
                Number::Double(double) => {
                    self.ints.extend([double.floor() as i64, double.ceil() as i64])
                }
            }
        }
    }

    fn text(&mut self, text: &str) {
        Number::read(text).into_iter().for_each(|number| self.number(number));
        self.texts.push(text.to_owned());
    }
}

fn negative(number: Number) -> Number {
    match number {
        Number::Int(int) => int.checked_neg().map_or(Number::Double(-(int as f64)), Number::Int),
        Number::Double(double) => Number::Double(-double),
    }
}

/// Telling values of a property that holds values of a type; those that a person would think of
/// come first. `few` are for a condition with many properties.
pub(super) fn values(of: Type, literals: &Literals, few: bool) -> Vec<Value<'static>> {
    let mut values = match of {
        Type::Bool => vec![Value::Bool(true), Value::Bool(false)],
        Type::Int => ints(literals).into_iter().map(Value::Int).collect(),
        Type::Double => doubles(literals).into_iter().map(Value::Double).collect(),
        Type::Text => {
            texts(literals).into_iter().map(|text| Value::Text(Cow::Owned(text))).collect()
        }
        Type::Timestamp => instants(literals).into_iter().map(Value::Timestamp).collect(),
        Type::Date => instants(literals)
            .into_iter()
            .filter_map(|micros| i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok())
            .map(Value::Date)
            .collect(),
    };
    let mut seen = HashSet::new();
    values.retain(|value| seen.insert(value.to_string()));
    if few {
        values.truncate(FEW);
    }
    values
}

const FEW: usize = 12;

/// The last whole number of which the next one is no double: that is taken for this one, and the
/// one three above for the one four above.
const EXACT: i64 = 1 << f64::MANTISSA_DIGITS;

fn ints(literals: &Literals) -> Vec<i64> {
    let mut ints = Vec::new();
    for &int in &literals.ints {
        ints.extend([int, int.saturating_add(1), int.saturating_sub(1)]);
    }
    let edge = i64::from(i32::MAX);
    ints.extend([3_000_000_000, -3_000_000_000, 0, 1, -1, edge, edge + 1, -edge - 1, -edge - 2]);
    // Where not every one is a double any more, and the last ones of all.
    ints.extend([EXACT, EXACT + 1, EXACT + 3, -EXACT, -EXACT - 1, -EXACT - 3]);
    ints.extend([i64::MAX, i64::MAX - 1, i64::MIN]);
    ints
}

fn doubles(literals: &Literals) -> Vec<f64> {
    let mut doubles = Vec::new();
    for &number in &literals.numbers {
        doubles.extend([number + 0.5, number, number - 0.5, number + 1.0, number - 1.0]);
        doubles.extend([number.next_up(), number.next_down()]);
    }
    doubles.extend([10.5, 0.0, -0.0, 1.0, -1.0, 3e9, -3e9, 1e21, 1e-7, -1e300, f64::MAX, 5e-324]);
    let exact = EXACT as f64;
    doubles.extend([exact, exact + 2.0, exact + 4.0, -exact, -exact - 2.0, -exact - 4.0]);
    doubles.retain(|double| double.is_finite());
    doubles
}

fn texts(literals: &Literals) -> Vec<String> {
    let mut texts = Vec::new();
    for &number in &literals.numbers {
        texts.extend([number + 0.5, number, number - 1.0, number + 1.0].map(|n| n.to_string()));
    }
    texts.extend(["10.5", "3000000000", "abc", ""].map(str::to_owned));
    for text in &literals.texts {
        texts.extend([text.clone(), format!("{text}x"), format!("x{text}"), format!("x{text}x")]);
        texts.extend([text.to_uppercase(), text.to_lowercase()]);
    }
    for &number in &literals.numbers {
        for near in [number, number - 1.0, number + 1.0] {
            texts.extend([format!("{near:?}"), format!(" {near} "), format!("{near:+}")]);
            texts.extend([format!("{near}d"), format!("{near:e}")]);
        }
    }
    texts.extend(FORMS.map(str::to_owned));
    texts
}

/// Texts that only one of the dialects takes for a number or a truth value.
const FORMS: [&str; 24] = [
    "true",
    "TRUE",
    "false",
    "no",
    "NaN",
    "Infinity",
    "-Infinity",
    "-3000000000",
    "1",
    "0",
    "-1",
    "1.0",
    "0.0",
    "-0.0",
    " 1",
    "\u{1}1",
    "007",
    "1L",
    "1d",
    "0x1p3",
    "1e999",
    "99999999999999999999",
    "2026-01-02",
    "2026-01-02T00:00:00Z",
];

fn instants(literals: &Literals) -> Vec<i64> {
    let mut instants = Vec::new();
    for instant in literals.texts.iter().filter_map(|text| time::parse_timestamp(text)) {
        instants.extend([instant, instant + 1_000_000, instant - 1_000_000]);
        instants.extend([instant.saturating_add(MICROS_PER_DAY), instant - MICROS_PER_DAY]);
    }
    instants.extend([1_767_323_045_000_000, 1_767_312_000_000_000, 0, 1_500_000, -1_000_000]);
    instants
}
