//! What is evaluated.

use crate::operator::Operator;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    Column(usize),
    Null,
    Bool(bool),
    /// An `Integer` of Java.
    Int(i32),
    /// A `Long` of Java: a literal beyond 32 bits.
    Long(i64),
    Double(f64),
    Text(Box<str>),
    Negate(Box<Node>),

    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    /// A property where a condition belongs: FALSE unless it is a Boolean, which it never is.
    Cast(usize),
    Equal(Box<(Node, Node)>),
    Order(Box<(Operator, Node, Node)>),
    Between(Box<Between>),
    IsNull(Box<Node>),
    In(Box<In>),
    Search(Box<Search>),
}

#[derive(Clone, Debug)]
pub(crate) struct Between {
    pub(super) operand: Node,
    pub(super) low: Node,
    pub(super) high: Node,
    pub(super) negated: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct In {
    pub(super) slot: usize,
    /// Sorted.
    pub(super) texts: Vec<Box<str>>,
    pub(super) negated: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(super) operand: Node,
    pub(super) place: Place,
    pub(super) text: Box<str>,
    pub(super) negated: bool,
}

/// Where CONTAINS, STARTSWITH and ENDSWITH look.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Anywhere,
    Start,
    End,
}

impl Node {
    /// Whether it is a condition by its form. NULL is one, a property is not.
    pub(super) fn is_condition(&self) -> bool {
        match self {
            Self::Null
            | Self::Bool(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::Cast(_)
            | Self::Equal(_)
            | Self::Order(_)
            | Self::Between(_)
            | Self::IsNull(_)
            | Self::In(_)
            | Self::Search(_) => true,
            Self::Column(_)
            | Self::Int(_)
            | Self::Long(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Negate(_) => false,
        }
    }
}
