//! Which types an expression goes with, and which type comes out.

use crate::operator::Operator;
use crate::{SyntaxError, Type};

use super::cast;
use super::tree::{Arithmetic, Calculation, Case, Kind, Node, TextLiteral};

/// What is known of the columns.
pub(crate) enum Columns<'c> {
    /// Nothing; only what is wrong for every row is a mistake. Parsing checks this.
    Unknown,
    /// The type of each slot, where there is one.
    Typed(&'c dyn Fn(usize) -> Option<Type>),
}

/// The type of an expression: `None` if it depends on columns without one, or on what is wrong.
/// The mistakes are added to `mistakes`.
pub(crate) fn infer(
    node: &Node,
    columns: &Columns<'_>,
    mistakes: &mut Vec<SyntaxError>,
) -> Option<Type> {
    Checker { columns, mistakes }.infer(node)
}

/// Refuses what cannot be TRUE or FALSE.
pub(crate) fn check_condition(node: &Node, columns: &Columns<'_>, mistakes: &mut Vec<SyntaxError>) {
    Checker { columns, mistakes }.condition(node);
}

struct Checker<'c> {
    columns: &'c Columns<'c>,
    mistakes: &'c mut Vec<SyntaxError>,
}

/// An operand with its type. Each node's type is inferred once, so that checking takes no more
/// time than the tree has nodes.
#[derive(Clone, Copy)]
struct Typed<'n> {
    node: &'n Node,
    of: Option<Type>,
}

impl Checker<'_> {
    fn infer(&mut self, node: &Node) -> Option<Type> {
        match &node.kind {
            Kind::Column(slot) => match self.columns {
                Columns::Unknown => None,
                Columns::Typed(type_of) => type_of(*slot),
            },
            Kind::Null => None,
            Kind::Bool(_) => Some(Type::Bool),
            Kind::Int(_) => Some(Type::Int),
            Kind::Double(_) => Some(Type::Double),
            Kind::Text(_) => Some(Type::Text),
            Kind::And(operands) | Kind::Or(operands) => {
                operands.iter().for_each(|operand| self.condition(operand));
                Some(Type::Bool)
            }
            Kind::Not(operand) => {
                self.condition(operand);
                Some(Type::Bool)
            }
            Kind::Compare(comparison) => {
                let left = self.typed(&comparison.left);
                let right = self.typed(&comparison.right);
                self.mistakes.extend(self.pair(comparison.operator, left, right));
                Some(Type::Bool)
            }
            Kind::Between(between) => {
                let operand = self.typed(&between.operand);
                let bounds = [&between.low, &between.high];
                self.lenient(Operator::LessOrEqual, operand, bounds.into_iter());
                Some(Type::Bool)
            }
            Kind::In(membership) => {
                let operand = self.typed(&membership.operand);
                self.lenient(Operator::Equal, operand, membership.list.elements().iter());
                Some(Type::Bool)
            }
            Kind::Match(search) => {
                self.text(&search.operand, "a search");
                Some(Type::Bool)
            }
            Kind::IsNull { operand, .. } => {
                self.infer(operand);
                Some(Type::Bool)
            }
            Kind::Arithmetic(arithmetic) => self.arithmetic(arithmetic),
            Kind::Negate(operand) => self.number(operand, "-"),
            Kind::Plus(operand) => self.number(operand, "+"),
            Kind::Join(sides) => {
                self.infer(&sides.0);
                self.infer(&sides.1);
                Some(Type::Text)
            }
            Kind::Case(case) => self.case(case),
            Kind::Coalesce(operands) => self.common_type(operands.iter()),
            Kind::Lower(operand) => {
                self.text(operand, "LOWER");
                Some(Type::Text)
            }
            Kind::Upper(operand) => {
                self.text(operand, "UPPER");
                Some(Type::Text)
            }
            Kind::Cast { operand, to } => self.cast(operand, *to),
            Kind::Date(operand) => self.cast(operand, Type::Date),
            Kind::Wrong(parts) => {
                for part in parts {
                    self.infer(part);
                }
                None
            }
        }
    }

    fn typed<'n>(&mut self, node: &'n Node) -> Typed<'n> {
        Typed { node, of: self.infer(node) }
    }

    fn refuse(&mut self, node: &Node, message: String, help: &str) {
        self.mistakes.push(SyntaxError::of_types(node.span(), message, help));
    }

    fn condition(&mut self, node: &Node) {
        let calculates = matches!(node.kind, Kind::Arithmetic(_) | Kind::Negate(_) | Kind::Plus(_));
        let found = match self.infer(node) {
            // A calculation is a number even while it is not known which kind of one.
            None if calculates => Type::Double,
            None | Some(Type::Bool) => return,
            Some(found) => found,
        };
        let message = format!("a condition is needed here, found {}", found.with_article());
        let help = match (&node.kind, found) {
            (Kind::Column(_), Type::Text) => "compare it, for example with `= TRUE`",
            _ => "compare it with something",
        };
        self.refuse(node, message, help);
    }

    /// What is wrong with the operands of a comparison operator.
    fn pair(&self, operator: Operator, left: Typed<'_>, right: Typed<'_>) -> Option<SyntaxError> {
        let (left_type, right_type) = (left.of?, right.of?);
        let (left, right) = (left.node, right.node);
        let span = left.span().start.min(right.span().start)..left.span().end.max(right.span().end);
        if operator.orders() && (left_type == Type::Bool || right_type == Type::Bool) {
            let message = "a Boolean is neither less nor greater than anything".to_owned();
            return Some(SyntaxError::of_types(span, message, "use `=` or `<>`"));
        }
        let readable = match (&left.kind, &right.kind) {
            _ if left_type == right_type => true,
            (Kind::Text(literal), _) => self.reads_as(literal, right_type),
            (_, Kind::Text(literal)) => self.reads_as(literal, left_type),
            _ => {
                left_type == Type::Text || right_type == Type::Text || alike(left_type, right_type)
            }
        };
        let (left, right) = (left_type.with_article(), right_type.with_article());
        let message = || format!("{left} cannot be compared with {right}");
        (!readable).then(|| SyntaxError::of_types(span, message(), "use CAST on one of them"))
    }

    /// The operand of BETWEEN, IN or CASE and the values it is held against. A mixture of types is
    /// a mistake only where it involves the type of a column. If none of the values goes with the
    /// operand, that is one mistake, and otherwise each such value is one.
    fn lenient<'n>(
        &mut self,
        operator: Operator,
        operand: Typed<'_>,
        values: impl Iterator<Item = &'n Node>,
    ) {
        let mut any_goes = false;
        let mut refusals = Vec::new();
        for value in values {
            let value = self.typed(value);
            let refusal = self.pair(operator, operand, value);
            any_goes |= refusal.is_none();
            refusals.extend(refusal.map(|refusal| (value.node.span(), refusal)));
        }
        match self.columns {
            Columns::Unknown => {}
            Columns::Typed(_) if any_goes => self.mistakes.extend(
                refusals.into_iter().map(|(span, refusal)| SyntaxError { span, ..refusal }),
            ),
            Columns::Typed(_) => {
                self.mistakes.extend(refusals.into_iter().next().map(|(_, refusal)| refusal));
            }
        }
    }

    /// Whether a literal text can be compared with a type. Without types of columns it always can:
    /// the comparison is then false, as JMS wants it.
    fn reads_as(&self, literal: &TextLiteral, other: Type) -> bool {
        if matches!(self.columns, Columns::Unknown) {
            return true;
        }
        match other {
            Type::Int | Type::Double => literal.number.is_some(),
            Type::Timestamp | Type::Date => literal.instant.is_some(),
            Type::Bool => literal.boolean.is_some(),
            Type::Text => true,
        }
    }

    fn text(&mut self, node: &Node, what: &str) {
        if let Some(found) = self.infer(node)
            && found != Type::Text
        {
            let message = format!("{what} needs a text, found {}", found.with_article());
            self.refuse(node, message, "write `CAST(... AS STRING)`");
        }
    }

    /// An operand of arithmetic. A text may be a number in the row, so its type says nothing.
    fn number(&mut self, node: &Node, sign: &str) -> Option<Type> {
        let found = self.infer(node)?;
        match &node.kind {
            Kind::Text(literal) if literal.number.is_none() => {}
            _ if found == Type::Text => return None,
            _ if found.is_number() => return Some(found),
            _ => {}
        }
        let message = format!("`{sign}` needs a number, found {}", found.with_article());
        self.refuse(node, message, "write a number, or a column that holds numbers");
        None
    }

    fn arithmetic(&mut self, arithmetic: &Arithmetic) -> Option<Type> {
        let sign = arithmetic.calculation.sign();
        let left = self.number(&arithmetic.left, sign);
        let right = self.number(&arithmetic.right, sign);
        match (left, right) {
            _ if arithmetic.calculation == Calculation::Divide => Some(Type::Double),
            (Some(Type::Double), _) | (_, Some(Type::Double)) => Some(Type::Double),
            (Some(Type::Int), Some(Type::Int)) => Some(Type::Int),
            _ => None,
        }
    }

    fn case(&mut self, case: &Case) -> Option<Type> {
        let whens = case.branches.iter().map(|(when, _)| when);
        match &case.operand {
            None => whens.for_each(|when| self.condition(when)),
            Some(operand) => {
                let operand = self.typed(operand);
                self.lenient(Operator::Equal, operand, whens);
            }
        }
        let results = case.branches.iter().map(|(_, then)| then);
        self.common_type(results.chain(&case.otherwise))
    }

    /// The one type of several results. NULL goes with every type; whole numbers beside doubles
    /// are doubles to the type, although a row still gets the value of the branch it takes.
    fn common_type<'n>(&mut self, nodes: impl Iterator<Item = &'n Node>) -> Option<Type> {
        let mut common = None;
        let mut all_known = true;
        for node in nodes {
            let Some(found) = self.infer(node) else {
                all_known &= matches!(node.kind, Kind::Null);
                continue;
            };
            match common {
                None => common = Some(found),
                Some(common) if common == found => {}
                Some(other) if other.is_number() && found.is_number() => {
                    common = Some(Type::Double);
                }
                Some(common) => {
                    let (common, found) = (common.with_article(), found.with_article());
                    let message = format!("results differ in type: {common} before, {found} here");
                    self.refuse(node, message, "use CAST on one");
                    all_known = false;
                }
            }
        }
        common.filter(|_| all_known)
    }

    fn cast(&mut self, node: &Node, to: Type) -> Option<Type> {
        if let Some(from) = self.infer(node)
            && !cast::exists(from, to)
        {
            let (from, to) = (from.with_article(), to.with_article());
            let message = format!("{from} cannot become {to}");
            self.refuse(node, message, "cast it to a text first, or to another type");
        }
        Some(to)
    }
}

fn alike(left: Type, right: Type) -> bool {
    let is_time = |of: Type| matches!(of, Type::Timestamp | Type::Date);
    left == right || left.is_number() && right.is_number() || is_time(left) && is_time(right)
}
