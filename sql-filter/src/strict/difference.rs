//! Where a subscription of RocketMQ would decide otherwise than a condition of the strict dialect.
//!
//! A condition is taken apart at its ANDs, ORs and NOTs, which both dialects evaluate alike. Each
//! part between them is given to both evaluators, on values that tell them apart, and what comes
//! of it is a set of pairs of outcomes. A part on which the dialects differ is told only if the
//! whole condition may then let a message through in one of them alone, whatever the other parts
//! come to: an error where the other dialect has FALSE does no harm beside an AND, and does beside
//! an OR.

mod outcome; // pairs of outcomes, and what AND, OR and NOT make of them
mod unsaid; // what RocketMQ has no word for
mod witness; // values that tell the dialects apart

use std::ops::Range;

use crate::error::warning;
use crate::rocketmq;
use crate::{Row, Type, Value};

use super::evaluate;
use super::lexer::{Lexer, Token};
use super::parser::{Parsed, parse};
use super::tree::{Kind, Node};
use outcome::{Outcome, Pair, Pairs};
use witness::Literals;

/// What a column of a condition is to a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The name of the property, without what only a pipeline puts around it.
    pub name: String,
    /// Its texts are those of values of this type; any text at all if that is [`Type::Text`].
    pub holds: Type,
    /// What the strict dialect reads it as: the same, or a text.
    pub read_as: Type,
}

/// A difference, by its place in the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `W-SQL-01` and on; `README.md` lists them.
    pub code: &'static str,
    /// The part of the condition, in bytes.
    pub span: Range<usize>,
    /// One line, lowercase, no full stop.
    pub message: String,
    /// What to write instead, or what to mind.
    pub help: String,
}

/// Differences told of one condition.
const TOLD_MAX: usize = 20;

/// Where a subscription with the text of a condition would let other messages through than the
/// condition does, by position; `property` says what each of [`Expr::columns`](crate::Expr::columns)
/// is. A text that is no condition has none, and one that does not go with the types of its columns
/// may have any.
///
/// If there is none, RocketMQ's dialect reads the text, with the names of the properties in the
/// place of the columns, and accepts exactly the messages that the strict dialect accepts.
pub fn differences(text: &str, property: &dyn Fn(usize) -> Property) -> Vec<Difference> {
    let Parsed { node, columns, mistakes } = parse(text);
    if !mistakes.is_empty() {
        return Vec::new();
    }
    let names = columns.iter().enumerate();
    let names = names.map(|(slot, column)| (column.name.clone(), property(slot))).collect();
    let names = Names(names);
    let mut apart = Apart { text, names: &names, parts: Vec::new(), told: Vec::new() };
    let shape = apart.shape(&node);
    let Apart { parts, mut told, .. } = apart;
    for (number, part) in parts.iter().enumerate() {
        if told.len() >= TOLD_MAX {
            break;
        }
        told.extend(
            Suspect { shape: &shape, parts: &parts, number, part }.difference(text, &names),
        );
    }
    if told.is_empty() {
        told.extend(unsaid::as_a_whole(&names.as_subscription(text), &node));
    }
    told.sort_by_key(|difference| difference.span.start);
    told.truncate(TOLD_MAX);
    told
}

/// The columns of the condition, by their names, and the properties that they are.
struct Names(Vec<(String, Property)>);

impl Names {
    fn property(&self, column: &str) -> Option<&Property> {
        self.0.iter().find(|(name, _)| name == column).map(|(_, property)| property)
    }

    /// How the condition calls a property.
    fn written<'n>(&'n self, property: &'n str) -> &'n str {
        let column = self.0.iter().find(|(_, known)| known.name == property);
        column.map_or(property, |(column, _)| column)
    }

    /// The text as a subscription says it, with every other byte at its place.
    fn as_subscription(&self, text: &str) -> String {
        let mut said = text.to_owned();
        for (token, span) in tokens(text) {
            let Token::Name(name) = token else { continue };
            if let Some(Property { name, .. }) = self.property(&name)
                && rocketmq::is_name(name)
                && name.len() <= span.len()
            {
                said.replace_range(span.clone(), &format!("{name:0$}", span.len()));
            }
        }
        said
    }
}

/// The tokens of a text that has no mistake.
fn tokens(text: &str) -> Vec<(Token, Range<usize>)> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    while let Ok((token, span)) = lexer.next() {
        if token == Token::End {
            break;
        }
        tokens.push((token, span));
    }
    tokens
}

/// How the parts of a condition hang together.
enum Shape {
    /// By its number.
    Part(usize),
    And(Vec<Shape>),
    Or(Vec<Shape>),
    Not(Box<Shape>),
}

impl Shape {
    fn pairs(&self, of: &dyn Fn(usize) -> Pairs) -> Pairs {
        let chain = |parts: &[Shape], first, operator| {
            let first = Pairs::one((first, first));
            parts.iter().fold(first, |all, part| all.then(part.pairs(of), operator))
        };
        match self {
            Self::Part(number) => of(*number),
            Self::Not(part) => part.pairs(of).negated(),
            Self::And(parts) => chain(parts, Outcome::True, Outcome::and),
            Self::Or(parts) => chain(parts, Outcome::False, Outcome::or),
        }
    }
}

/// What stands between AND, OR and NOT.
struct Part {
    span: Range<usize>,
    looked: Result<Vec<Sight>, Difference>,
}

/// What came of a part on some values.
struct Sight {
    pair: Pair,
    /// Each property of the part with a value, or missing.
    row: Vec<(String, Option<Value<'static>>)>,
}

impl Sight {
    fn missing(&self) -> impl Iterator<Item = &str> {
        self.row.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.as_str())
    }

    /// Whether the same properties are missing, of those that both know.
    fn agrees(&self, other: &Self) -> bool {
        self.row.iter().all(|(name, value)| {
            let there = other.row.iter().find(|(known, _)| known == name);
            there.is_none_or(|(_, other)| other.is_some() == value.is_some())
        })
    }
}

/// A condition that is taken apart.
struct Apart<'t> {
    text: &'t str,
    names: &'t Names,
    parts: Vec<Part>,
    told: Vec<Difference>,
}

impl Apart<'_> {
    fn shape(&mut self, node: &Node) -> Shape {
        match &node.kind {
            Kind::And(nodes) => Shape::And(nodes.iter().map(|node| self.shape(node)).collect()),
            Kind::Or(nodes) => Shape::Or(nodes.iter().map(|node| self.shape(node)).collect()),
            Kind::Not(operand) => {
                self.told.extend(self.misread_not(node, operand));
                Shape::Not(Box::new(self.shape(operand)))
            }
            _ => {
                let span = node.span();
                let looked = look(&self.text[span.clone()], self.names).map_err(|difference| {
                    let Range { start, end } = difference.span;
                    Difference { span: span.start + start..span.start + end, ..difference }
                });
                self.parts.push(Part { span, looked });
                Shape::Part(self.parts.len() - 1)
            }
        }
    }

    /// In RocketMQ's dialect NOT takes the next value, parenthesis or NOT and no more.
    fn misread_not(&self, node: &Node, operand: &Node) -> Option<Difference> {
        let is_one = match operand.kind {
            Kind::Column(_) | Kind::Null | Kind::Bool(_) | Kind::Not(_) => true,
            _ => is_enclosed(&self.text[operand.span()]),
        };
        let operand = short(&self.text[operand.span()]);
        (!is_one).then(|| Difference {
            code: warning::NOT,
            span: node.span(),
            message: "in a subscription NOT belongs to the value behind it, not to the comparison"
                .to_owned(),
            help: format!("write `NOT ({operand})`"),
        })
    }
}

/// Whether the first parenthesis closes at the end and not before.
fn is_enclosed(text: &str) -> bool {
    let tokens = tokens(text);
    let mut open = 0_usize;
    let closes = tokens.iter().position(|(token, _)| {
        match token {
            Token::Open => open += 1,
            Token::Close => open = open.saturating_sub(1),
            _ => {}
        }
        open == 0
    });
    tokens.len() > 1 && closes == Some(tokens.len() - 1)
}

/// Properties of one part that are varied together.
const VARIED_MAX: usize = 4;

/// Holds a part against both evaluators: what came of it, each pair once for each choice of
/// missing properties. An error is a part that RocketMQ does not read, or not to its end.
fn look(text: &str, names: &Names) -> Result<Vec<Sight>, Difference> {
    let Parsed { node, columns, .. } = parse(text);
    let known: Vec<&Property> =
        columns.iter().filter_map(|column| names.property(&column.name)).collect();
    let said = names.as_subscription(text);
    let subscription = match rocketmq::parse(&said) {
        Ok(parsed)
            if parsed.ignored.is_none() && known.iter().all(|it| rocketmq::is_name(&it.name)) =>
        {
            parsed
        }
        read => return Err(unsaid::part(text, &said, names, read)),
    };
    let mut varied: Vec<&Property> = Vec::new();
    for property in &known {
        if !varied.iter().any(|other| other.name == property.name) {
            varied.push(property);
        }
    }
    if varied.len() > VARIED_MAX {
        return Err(unsaid::too_much(text));
    }
    let literals = Literals::of(&node);
    let choices: Vec<Vec<Option<Value<'static>>>> = varied
        .iter()
        .map(|property| {
            let values = witness::values(property.holds, &literals, varied.len() > 2);
            values.into_iter().map(Some).chain([None]).collect()
        })
        .collect();
    let mut sights: Vec<Sight> = Vec::new();
    let mut chosen = vec![0; varied.len()];
    loop {
        let row = || {
            let values = chosen.iter().zip(&choices).map(|(at, choice)| choice[*at].clone());
            varied.iter().map(|property| property.name.clone()).zip(values)
        };
        let value =
            |name: &str| row().find(|(known, _)| known == name).and_then(|(_, value)| value);
        let here =
            Slots(known.iter().map(|property| read(property, value(&property.name))).collect());
        let there = subscription.columns.iter().map(|column| text_of(value(&column.name)));
        let there = Slots(there.collect());
        let pair = (
            Outcome::from(evaluate::truth(&node, &here)),
            Outcome::from(rocketmq::truth(&subscription.node, &there)),
        );
        let sight = Sight { pair, row: row().collect() };
        if !sights.iter().any(|seen| seen.pair == pair && seen.agrees(&sight)) {
            sights.push(sight);
        }
        if !next(&mut chosen, &choices) {
            return Ok(sights);
        }
    }
}

/// The next choice of one value each, the first one fastest; whether there is one.
fn next<T>(chosen: &mut [usize], choices: &[Vec<T>]) -> bool {
    for (at, choice) in chosen.iter_mut().zip(choices) {
        *at += 1;
        if *at < choice.len() {
            return true;
        }
        *at = 0;
    }
    false
}

fn read(property: &Property, value: Option<Value<'static>>) -> Value<'static> {
    match property.read_as {
        Type::Text => text_of(value),
        _ => value.unwrap_or(Value::Null),
    }
}

/// A value as a message holds it.
fn text_of(value: Option<Value<'static>>) -> Value<'static> {
    value.map_or(Value::Null, |value| Value::Text(value.to_string().into()))
}

struct Slots(Vec<Value<'static>>);

impl<'a> Row<'a> for Slots {
    fn value(&self, slot: usize) -> Value<'a> {
        self.0.get(slot).cloned().unwrap_or(Value::Null)
    }
}

/// A part that may be to blame for a difference of the whole.
///
/// Take the outcomes of one row in the strict dialect and change those of its parts to RocketMQ's,
/// one after the other. If that changes whether the message is let through, there is a part at
/// which it happens, while each other part has one outcome in both dialects, either its strict one
/// or the other one. So it is enough to look at one part at a time.
struct Suspect<'p> {
    shape: &'p Shape,
    parts: &'p [Part],
    number: usize,
    part: &'p Part,
}

impl Suspect<'_> {
    fn difference(&self, text: &str, names: &Names) -> Option<Difference> {
        let sights = match &self.part.looked {
            Ok(sights) => sights,
            Err(difference) => return Some(difference.clone()),
        };
        let guilty = self.guilty(sights)?;
        let written = &text[self.part.span.clone()];
        let (code, help) = if guilty.missing().next().is_some() {
            let known: Vec<String> = guilty
                .missing()
                .map(|property| format!("{} IS NOT NULL", names.written(property)))
                .collect();
            (warning::MISSING, format!("write `{} AND …` before it", known.join(" AND ")))
        } else {
            (warning::VALUE, self.rewritten(written, names))
        };
        let (here, there) = guilty.pair;
        let described = |(property, value): &(String, Option<Value<'_>>)| {
            let name = names.written(property);
            match value {
                Some(value) => format!("`{name}` is `{}`", short(&value.to_string())),
                None => format!("`{name}` is missing"),
            }
        };
        let values: Vec<String> = guilty.row.iter().map(described).collect();
        let values = match values.is_empty() {
            true => String::new(),
            false => format!("where {}, ", values.join(" and ")),
        };
        let message = format!(
            "a subscription decides otherwise: {values}this is {here} here and {there} there"
        );
        Some(Difference { code, span: self.part.span.clone(), message, help })
    }

    /// The first sight of the part, those without missing properties before others, that makes a
    /// difference to the whole.
    fn guilty<'s>(&self, sights: &'s [Sight]) -> Option<&'s Sight> {
        let makes_one = |sight: &&Sight| {
            let other = |part: &Part| match &part.looked {
                Ok(sights) => sights.iter().filter(|seen| seen.agrees(sight)).fold(
                    Pairs::NONE,
                    |all, Sight { pair: (here, there), .. }| {
                        all.with((*here, *here)).with((*there, *there))
                    },
                ),
                Err(_) => Pairs::any_alike(),
            };
            let of = |number: usize| match number == self.number {
                true => Pairs::one(sight.pair),
                false => other(&self.parts[number]),
            };
            self.shape.pairs(&of).part()
        };
        let differs = |sight: &&Sight| sight.pair.0 != sight.pair.1;
        let mut differing: Vec<&Sight> = sights.iter().filter(differs).collect();
        differing.sort_by_key(|sight| sight.missing().count());
        differing.into_iter().find(makes_one)
    }

    /// What to write so that both dialects agree.
    fn rewritten(&self, written: &str, names: &Names) -> String {
        let agrees =
            |text: &String| look(text, names).is_ok_and(|seen| self.guilty(&seen).is_none());
        match candidates(written).into_iter().find(agrees) {
            Some(better) => format!("write `{}`", short(&better)),
            None if agrees(&pointed(written, "0.5")) => unsaid::ZERO.to_owned(),
            None => "compare a property that `topic` promotes from a number with a number that \
                     has a point, and a text with a text"
                .to_owned(),
        }
    }
}

/// A part whose numbers have a point, and with something else in the place of zero.
fn pointed(written: &str, zero: &str) -> String {
    let mut pointed = written.to_owned();
    for (token, span) in tokens(written).into_iter().rev() {
        let number = &written[span.clone()];
        if !matches!(token, Token::Number(_)) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        match number.bytes().all(|byte| byte == b'0') {
            true => pointed.replace_range(span, zero),
            false => pointed.insert_str(span.end, ".0"),
        }
    }
    pointed
}

/// Other ways to write a part.
fn candidates(written: &str) -> Vec<String> {
    let node = parse(written).node;
    let mut candidates = Vec::new();
    match &node.kind {
        Kind::Column(_) => candidates.push(format!("{written} = TRUE")),
        Kind::Compare(sides) if matches!(sides.left.kind, Kind::Bool(_)) => {
            let (left, right) = (sides.left.span(), sides.right.span());
            let between = written[left.end..right.start].trim();
            candidates.push(format!("{} {between} {}", &written[right], &written[left]));
        }
        _ => {}
    }
    candidates.push(pointed(written, "0.0"));
    candidates
}

/// A text for a message.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
