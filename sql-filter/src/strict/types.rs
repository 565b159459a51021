//! Which types an expression goes with, and which type comes out.

use crate::operator::Operator;
use crate::{Type, TypeError};

use super::cast;
use super::tree::{Arithmetic, Calculation, Case, Kind, Node, TextLiteral};

/// What is known of the columns.
pub(crate) enum Columns<'c> {
    /// Nothing; only what is wrong for every row is an error. Parsing checks this.
    Unknown,
    /// The type of each slot, where there is one.
    Typed(&'c dyn Fn(usize) -> Option<Type>),
}

/// The type of an expression: `None` if it depends on columns without one.
pub(crate) fn infer(node: &Node, columns: &Columns<'_>) -> Result<Option<Type>, TypeError> {
    let boolean = Ok(Some(Type::Bool));
    match &node.kind {
        Kind::Column(slot) => Ok(match columns {
            Columns::Unknown => None,
            Columns::Typed(type_of) => type_of(*slot),
        }),
        Kind::Null => Ok(None),
        Kind::Bool(_) => boolean,
        Kind::Int(_) => Ok(Some(Type::Int)),
        Kind::Double(_) => Ok(Some(Type::Double)),
        Kind::Text(_) => Ok(Some(Type::Text)),
        Kind::And(operands) | Kind::Or(operands) => {
            operands.iter().try_for_each(|operand| check_condition(operand, columns))?;
            boolean
        }
        Kind::Not(operand) => check_condition(operand, columns).and(boolean),
        Kind::Compare(comparison) => {
            let left = Typed::infer(&comparison.left, columns)?;
            let right = Typed::infer(&comparison.right, columns)?;
            check_pair(comparison.operator, left, right, columns)?;
            boolean
        }
        Kind::Between(between) => {
            let operand = Typed::infer(&between.operand, columns)?;
            for bound in [&between.low, &between.high] {
                check_lenient(Operator::LessOrEqual, operand, bound, columns)?;
            }
            boolean
        }
        Kind::In(membership) => {
            let operand = Typed::infer(&membership.operand, columns)?;
            for element in membership.list.elements() {
                check_lenient(Operator::Equal, operand, element, columns)?;
            }
            boolean
        }
        Kind::Match(search) => check_text(&search.operand, "a search", columns).and(boolean),
        Kind::IsNull { operand, .. } => infer(operand, columns).and(boolean),
        Kind::Arithmetic(arithmetic) => infer_arithmetic(arithmetic, columns),
        Kind::Negate(operand) => check_number(operand, "-", columns),
        Kind::Plus(operand) => check_number(operand, "+", columns),
        Kind::Join(sides) => {
            infer(&sides.0, columns)?;
            infer(&sides.1, columns)?;
            Ok(Some(Type::Text))
        }
        Kind::Case(case) => infer_case(case, columns),
        Kind::Coalesce(operands) => common_type(operands.iter(), columns),
        Kind::Lower(operand) => check_text(operand, "LOWER", columns).and(Ok(Some(Type::Text))),
        Kind::Upper(operand) => check_text(operand, "UPPER", columns).and(Ok(Some(Type::Text))),
        Kind::Cast { operand, to } => {
            check_cast(operand, *to, columns)?;
            Ok(Some(*to))
        }
        Kind::Date(operand) => {
            check_cast(operand, Type::Date, columns)?;
            Ok(Some(Type::Date))
        }
    }
}

/// Refuses what cannot be TRUE or FALSE.
pub(crate) fn check_condition(node: &Node, columns: &Columns<'_>) -> Result<(), TypeError> {
    let calculates = matches!(node.kind, Kind::Arithmetic(_) | Kind::Negate(_) | Kind::Plus(_));
    let found = match infer(node, columns)? {
        // A calculation is a number even while it is not known which kind of one.
        None if calculates => Type::Double,
        None | Some(Type::Bool) => return Ok(()),
        Some(found) => found,
    };
    let message = format!("a condition is needed here, found {}", found.with_article());
    let help = match (&node.kind, found) {
        (Kind::Column(_), Type::Text) => "compare it, for example with `= TRUE`",
        _ => "compare it with something",
    };
    Err(TypeError::new(node.span(), message, help))
}

/// An operand with its type. Each node's type is inferred once, so that checking takes no more
/// time than the tree has nodes.
#[derive(Clone, Copy)]
struct Typed<'n> {
    node: &'n Node,
    of: Option<Type>,
}

impl<'n> Typed<'n> {
    fn infer(node: &'n Node, columns: &Columns<'_>) -> Result<Self, TypeError> {
        Ok(Self { node, of: infer(node, columns)? })
    }
}

/// The operands of a comparison operator.
fn check_pair(
    operator: Operator,
    left: Typed<'_>,
    right: Typed<'_>,
    columns: &Columns<'_>,
) -> Result<(), TypeError> {
    let (Some(left_type), Some(right_type)) = (left.of, right.of) else {
        return Ok(());
    };
    let (left, right) = (left.node, right.node);
    let span = left.span().start.min(right.span().start)..left.span().end.max(right.span().end);
    if operator.orders() && (left_type == Type::Bool || right_type == Type::Bool) {
        let message = "a Boolean is neither less nor greater than anything".to_owned();
        return Err(TypeError::new(span, message, "use `=` or `<>`"));
    }
    let readable = match (&left.kind, &right.kind) {
        _ if left_type == right_type => true,
        (Kind::Text(literal), _) => reads_as(literal, right_type, columns),
        (_, Kind::Text(literal)) => reads_as(literal, left_type, columns),
        _ => left_type == Type::Text || right_type == Type::Text || alike(left_type, right_type),
    };
    if readable {
        return Ok(());
    }
    let (left, right) = (left_type.with_article(), right_type.with_article());
    let message = format!("{left} cannot be compared with {right}");
    Err(TypeError::new(span, message, "use CAST on one of them"))
}

/// An operand of BETWEEN, IN or CASE with one of the values it is held against. A mixture of
/// types is an error only where it involves the type of a column.
fn check_lenient(
    operator: Operator,
    operand: Typed<'_>,
    other: &Node,
    columns: &Columns<'_>,
) -> Result<(), TypeError> {
    let other = Typed::infer(other, columns)?;
    match columns {
        Columns::Typed(_) => check_pair(operator, operand, other, columns),
        Columns::Unknown => Ok(()),
    }
}

/// Whether a literal text can be compared with a type. Without types of columns it always can:
/// the comparison is then false, as JMS wants it.
fn reads_as(literal: &TextLiteral, other: Type, columns: &Columns<'_>) -> bool {
    if matches!(columns, Columns::Unknown) {
        return true;
    }
    match other {
        Type::Int | Type::Double => literal.number.is_some(),
        Type::Timestamp | Type::Date => literal.instant.is_some(),
        Type::Bool => literal.boolean.is_some(),
        Type::Text => true,
    }
}

fn alike(left: Type, right: Type) -> bool {
    let is_time = |of: Type| matches!(of, Type::Timestamp | Type::Date);
    left == right || left.is_number() && right.is_number() || is_time(left) && is_time(right)
}

fn check_text(node: &Node, what: &str, columns: &Columns<'_>) -> Result<(), TypeError> {
    match infer(node, columns)? {
        None | Some(Type::Text) => Ok(()),
        Some(found) => {
            let message = format!("{what} needs a text, found {}", found.with_article());
            Err(TypeError::new(node.span(), message, "write `CAST(... AS STRING)`"))
        }
    }
}

/// An operand of arithmetic. A text may be a number in the row, so its type says nothing.
fn check_number(node: &Node, sign: &str, columns: &Columns<'_>) -> Result<Option<Type>, TypeError> {
    let found = infer(node, columns)?;
    match (found, &node.kind) {
        (Some(Type::Text), Kind::Text(literal)) if literal.number.is_none() => {}
        (None | Some(Type::Text), _) => return Ok(None),
        (Some(number), _) if number.is_number() => return Ok(found),
        _ => {}
    }
    let found = found.map_or("NULL", Type::with_article);
    let message = format!("`{sign}` needs a number, found {found}");
    Err(TypeError::new(node.span(), message, "write a number, or a column that holds numbers"))
}

fn infer_arithmetic(
    arithmetic: &Arithmetic,
    columns: &Columns<'_>,
) -> Result<Option<Type>, TypeError> {
    let sign = arithmetic.calculation.sign();
    let left = check_number(&arithmetic.left, sign, columns)?;
    let right = check_number(&arithmetic.right, sign, columns)?;
    Ok(match (left, right) {
        _ if arithmetic.calculation == Calculation::Divide => Some(Type::Double),
        (Some(Type::Double), _) | (_, Some(Type::Double)) => Some(Type::Double),
        (Some(Type::Int), Some(Type::Int)) => Some(Type::Int),
        _ => None,
    })
}

fn infer_case(case: &Case, columns: &Columns<'_>) -> Result<Option<Type>, TypeError> {
    let operand = match &case.operand {
        Some(operand) => Some(Typed::infer(operand, columns)?),
        None => None,
    };
    for (when, _) in &case.branches {
        match operand {
            None => check_condition(when, columns)?,
            Some(operand) => check_lenient(Operator::Equal, operand, when, columns)?,
        }
    }
    let results = case.branches.iter().map(|(_, then)| then);
    common_type(results.chain(&case.otherwise), columns)
}

/// The one type of several results. NULL goes with every type; whole numbers beside doubles are
/// doubles to the type, although a row still gets the value of the branch it takes.
fn common_type<'n>(
    nodes: impl Iterator<Item = &'n Node>,
    columns: &Columns<'_>,
) -> Result<Option<Type>, TypeError> {
    let mut common = None;
    let mut all_known = true;
    for node in nodes {
        let Some(found) = infer(node, columns)? else {
            all_known &= matches!(node.kind, Kind::Null);
            continue;
        };
        common = match common {
            None => Some(found),
            Some(common) if common == found => Some(common),
            Some(common) if common.is_number() && found.is_number() => Some(Type::Double),
            Some(common) => {
                let (common, found) = (common.with_article(), found.with_article());
                let message = format!("results differ in type: {common} before, {found} here");
                return Err(TypeError::new(node.span(), message, "use CAST on one"));
            }
        };
    }
    Ok(common.filter(|_| all_known))
}

fn check_cast(node: &Node, to: Type, columns: &Columns<'_>) -> Result<(), TypeError> {
    match infer(node, columns)? {
        Some(from) if !cast::exists(from, to) => {
            let (from, to) = (from.with_article(), to.with_article());
            let message = format!("{from} cannot become {to}");
            Err(TypeError::new(node.span(), message, "cast it to a text first, or to another type"))
        }
        _ => Ok(()),
    }
}
