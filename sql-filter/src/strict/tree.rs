//! What is evaluated. Every node keeps its place in the text, for messages about types.

use std::ops::Range;

use crate::Type;
use crate::number::Number;
use crate::operator::Operator;
use crate::pattern::Pattern;
use crate::time;

use super::list::List;

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(super) kind: Kind,
    start: u32,
    end: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Column(usize),
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<TextLiteral>),

    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Compare(Box<Comparison>),
    Between(Box<Between>),
    In(Box<Membership>),
    Match(Box<Match>),
    IsNull {
        operand: Box<Node>,
        negated: bool,
    },

    Arithmetic(Box<Arithmetic>),
    Negate(Box<Node>),
    /// `+` before a value: the value, which must be a number.
    Plus(Box<Node>),
    /// `+` between texts.
    Join(Box<(Node, Node)>),
    Case(Box<Case>),
    Coalesce(Vec<Node>),
    Lower(Box<Node>),
    Upper(Box<Node>),
    Cast {
        operand: Box<Node>,
        to: Type,
    },
    /// `DATE(x)`: a cast that takes instants only.
    Date(Box<Node>),
    /// What a mistake stands in the way of, with what is right in it; never evaluated.
    Wrong(Vec<Node>),
}

/// A text in quotes, read beforehand as everything it may be compared with.
#[derive(Clone, Debug)]
pub(super) struct TextLiteral {
    pub(super) text: Box<str>,
    pub(super) number: Option<Number>,
    pub(super) instant: Option<i64>,
    pub(super) boolean: Option<bool>,
}

impl TextLiteral {
    pub(super) fn new(text: String) -> Self {
        Self {
            number: Number::read(&text),
            instant: time::parse_timestamp(&text),
            boolean: read_boolean(&text),
            text: text.into(),
        }
    }
}

/// A text as a Boolean: `true` or `false` in any case, nothing else.
pub(super) fn read_boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A literal text, if there is one, is always on the right.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) operator: Operator,
    pub(super) left: Node,
    pub(super) right: Node,
}

#[derive(Clone, Debug)]
pub(super) struct Between {
    pub(super) operand: Node,
    pub(super) low: Node,
    pub(super) high: Node,
    pub(super) negated: bool,
}

impl Between {
    /// Whether both bounds are literal numbers.
    pub(super) fn is_numeric(&self) -> bool {
        let is_number = |bound: &Node| matches!(bound.kind, Kind::Int(_) | Kind::Double(_));
        is_number(&self.low) && is_number(&self.high)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Membership {
    pub(super) operand: Node,
    pub(super) list: List,
    pub(super) negated: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Match {
    pub(super) operand: Node,
    pub(super) pattern: Pattern,
    pub(super) negated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calculation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Calculation {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Arithmetic {
    pub(super) calculation: Calculation,
    pub(super) left: Node,
    pub(super) right: Node,
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Of `CASE operand WHEN value`; without it every WHEN is a condition.
    pub(super) operand: Option<Node>,
    pub(super) branches: Vec<(Node, Node)>,
    pub(super) otherwise: Option<Node>,
}

impl Node {
    /// The limit on the length of a text keeps every place within 32 bits.
    pub(super) fn new(kind: Kind, span: Range<usize>) -> Self {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { kind, start: place(span.start), end: place(span.end) }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The nodes right below it, in the order of the text but where a literal text was moved.
    pub(super) fn parts(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::Column(_)
            | Kind::Null
            | Kind::Bool(_)
            | Kind::Int(_)
            | Kind::Double(_)
            | Kind::Text(_) => Vec::new(),
            Kind::And(nodes) | Kind::Or(nodes) | Kind::Coalesce(nodes) | Kind::Wrong(nodes) => {
                nodes.iter().collect()
            }
            Kind::Not(node)
            | Kind::IsNull { operand: node, .. }
            | Kind::Negate(node)
            | Kind::Plus(node)
            | Kind::Lower(node)
            | Kind::Upper(node)
            | Kind::Cast { operand: node, .. }
            | Kind::Date(node) => vec![node],
            Kind::Compare(comparison) => vec![&comparison.left, &comparison.right],
            Kind::Between(between) => vec![&between.operand, &between.low, &between.high],
            Kind::In(membership) => {
                [&membership.operand].into_iter().chain(membership.list.elements()).collect()
            }
            Kind::Match(search) => vec![&search.operand],
            Kind::Arithmetic(arithmetic) => vec![&arithmetic.left, &arithmetic.right],
            Kind::Join(sides) => vec![&sides.0, &sides.1],
            Kind::Case(case) => {
                let branches = case.branches.iter().flat_map(|(when, then)| [when, then]);
                case.operand.iter().chain(branches).chain(&case.otherwise).collect()
            }
        }
    }

    pub(super) fn is_literal_text(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }

    /// Whether it is a text by its form, whatever the row holds: then `+` joins.
    pub(super) fn is_always_text(&self) -> bool {
        matches!(
            self.kind,
            Kind::Text(_)
                | Kind::Join(_)
                | Kind::Lower(_)
                | Kind::Upper(_)
                | Kind::Cast { to: Type::Text, .. }
        )
    }
}
