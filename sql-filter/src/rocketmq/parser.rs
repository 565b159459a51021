//! Tokens to a tree.
//!
//! ```text
//! condition  := and {OR and}                        and whatever follows is ignored
//! and        := equality {AND equality}
//! equality   := comparison {("=" | "<>") comparison | IS [NOT] NULL}
//! comparison := unary {("<" | "<=" | ">" | ">=") unary
//!                    | [NOT] BETWEEN unary AND unary | [NOT] IN "(" text {"," text} ")"
//!                    | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text}
//! unary      := ("+" | "-" | NOT) unary | text | number | TRUE | FALSE | NULL | name
//!             | "(" condition ")"
//! ```

use std::ops::Range;

use crate::columns::Columns;
use crate::error::code;
use crate::limits;
use crate::operator::Operator;
use crate::value::quoted;
use crate::{Column, SyntaxError};

use super::lexer::{Keyword, Lexer, Token};
use super::tree::{Between, In, Node, Place, Search};

/// A parsed condition.
pub(crate) struct Parsed {
    pub(crate) node: Node,
    pub(crate) columns: Vec<Column>,
    /// The text behind the condition, which the parser does not look at.
    pub(crate) ignored: Option<Range<usize>>,
}

/// Parses the longest condition at the start of a text.
pub(crate) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    limits::check_length(text)?;
    let mut lexer = Lexer::new(text);
    let (token, span) = lexer.next()?;
    let columns = Columns::default();
    let mut parser = Parser { text, lexer, token, span, before: 0, columns, nesting: 0 };
    let part = parser.expression(Level::Or).and_then(|part| parser.condition(part));
    let node = part.map_err(|error| *error)?.node;
    let ignored = (parser.token != Token::End).then_some(parser.span.start..text.len());
    Ok(Parsed { node, columns: parser.columns.into_list(), ignored })
}

/// How tightly an infix operator binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Equality,
    Order,
}

fn infix_level(token: &Token) -> Option<Level> {
    Some(match token {
        Token::Keyword(Keyword::Or) => Level::Or,
        Token::Keyword(Keyword::And) => Level::And,
        Token::Compare(Operator::Equal | Operator::NotEqual) | Token::Keyword(Keyword::Is) => {
            Level::Equality
        }
        Token::Compare(_)
        | Token::Keyword(
            Keyword::Not
            | Keyword::Between
            | Keyword::In
            | Keyword::Contains
            | Keyword::StartsWith
            | Keyword::EndsWith,
        ) => Level::Order,
        _ => return None,
    })
}

/// A node, where it starts, and the height of the tree below it.
struct Part {
    node: Node,
    start: usize,
    depth: usize,
}

struct Parser<'t> {
    text: &'t str,
    lexer: Lexer<'t>,
    /// The token to read next, and where it stands. It is always known, as in RocketMQ: one that
    /// cannot be read is an error even if nothing would have used it.
    token: Token,
    span: Range<usize>,
    /// Where the token before it ended.
    before: usize,
    columns: Columns,
    nesting: usize,
}

/// Recursion passes through `expression`, `unary` and what they call for each kind of nesting.
/// Errors are boxed and each kind has a function of its own to keep those frames small.
impl Parser<'_> {
    /// An expression whose operators all bind at least as tightly as `floor`.
    fn expression(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        let mut left = self.unary()?;
        // Behind `a IS NULL` no operator may follow that binds tighter than IS.
        let mut ceiling = Level::Order;
        while let Some(level) =
            infix_level(&self.token).filter(|level| (floor..=ceiling).contains(level))
        {
            left = self.continued(left, level)?;
            ceiling = level;
        }
        Ok(left)
    }

    /// `left`, the infix operator at the current token, and what belongs to it.
    fn continued(&mut self, left: Part, level: Level) -> Result<Part, Box<SyntaxError>> {
        match self.token {
            Token::Keyword(Keyword::Or | Keyword::And) => self.chain(left, level),
            Token::Keyword(Keyword::Is) => self.is_null(left),
            Token::Compare(operator) if operator.orders() => self.order(left, operator),
            Token::Compare(operator) => self.equality(left, operator == Operator::NotEqual),
            Token::Keyword(Keyword::Not) => {
                self.advance()?;
                self.predicate(left, true)
            }
            _ => self.predicate(left, false),
        }
    }

    /// All further operands of AND or OR. A chain of them is one node.
    fn chain(&mut self, left: Part, level: Level) -> Result<Part, Box<SyntaxError>> {
        let (start, mut depth) = (left.start, left.depth);
        let mut operands = vec![self.condition(left)?.node];
        let (word, tighter, node): (_, _, fn(Vec<Node>) -> Node) = match level {
            Level::Or => (Keyword::Or, Level::And, Node::Or),
            _ => (Keyword::And, Level::Equality, Node::And),
        };
        while self.skip_keyword(word)? {
            let operand = self.expression(tighter)?;
            depth = depth.max(operand.depth);
            operands.push(self.condition(operand)?.node);
        }
        self.part(start, depth + 1, node(operands))
    }

    fn is_null(&mut self, left: Part) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        let negated = self.skip_keyword(Keyword::Not)?;
        self.expect(Token::Keyword(Keyword::Null), "`NULL`")?;
        let node = Node::IsNull(Box::new(left.node));
        self.negated_part(left.start, left.depth + 1, node, negated)
    }

    fn equality(&mut self, left: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        let right = self.expression(Level::Order)?;
        self.equal(left, right, negated)
    }

    fn equal(&self, left: Part, right: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        if matches!(left.node, Node::Null) || matches!(right.node, Node::Null) {
            let message = "nothing compares with NULL".to_owned();
            let help = "write `IS NULL` or `IS NOT NULL`";
            let span = left.start..self.before;
            return Err(SyntaxError::new(code::NULL, span, message, help).into());
        }
        let other =
            matches!(right.node, Node::Int(_) | Node::Long(_) | Node::Double(_) | Node::Text(_));
        if matches!(left.node, Node::Bool(_)) && other {
            return Err(self.incomparable(left.start).into());
        }
        let depth = left.depth.max(right.depth) + 1;
        let node = Node::Equal(Box::new((left.node, right.node)));
        self.negated_part(left.start, depth, node, negated)
    }

    fn order(&mut self, left: Part, operator: Operator) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        self.check_ordered(&left)?;
        let right = self.unary()?;
        self.check_ordered(&right)?;
        let depth = left.depth.max(right.depth) + 1;
        self.part(left.start, depth, Node::Order(Box::new((operator, left.node, right.node))))
    }

    fn predicate(&mut self, left: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        let place = match self.token {
            Token::Keyword(Keyword::Between) => return self.between(left, negated),
            Token::Keyword(Keyword::In) => return self.membership(left, negated),
            Token::Keyword(Keyword::Contains) => Place::Anywhere,
            Token::Keyword(Keyword::StartsWith) => Place::Start,
            Token::Keyword(Keyword::EndsWith) => Place::End,
            _ => {
                let wanted = "`BETWEEN`, `IN`, `CONTAINS`, `STARTSWITH` or `ENDSWITH`";
                return Err(self.unexpected(wanted).into());
            }
        };
        self.advance()?;
        let text = self.text()?;
        let (start, depth) = (left.start, left.depth + 1);
        let search = Search { operand: left.node, place, text, negated };
        self.part(start, depth, Node::Search(Box::new(search)))
    }

    fn between(&mut self, left: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        let low = self.unary()?;
        self.expect(Token::Keyword(Keyword::And), "`AND` and the upper bound")?;
        let high = self.unary()?;
        for side in [&left, &low, &high] {
            self.check_ordered(side)?;
        }
        if !negated && reversed(&low.node, &high.node) {
            let message = "the lower bound is above the upper bound".to_owned();
            let (span, help) = (low.start..self.before, "write the smaller one first");
            return Err(SyntaxError::new(code::TYPE, span, message, help).into());
        }
        let depth = left.depth.max(low.depth).max(high.depth) + 1;
        let between = Between { operand: left.node, low: low.node, high: high.node, negated };
        self.part(left.start, depth, Node::Between(Box::new(between)))
    }

    fn membership(&mut self, left: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        self.expect(Token::Open, "`(`")?;
        let mut texts = vec![self.text()?];
        while self.skip(&Token::Comma)? {
            texts.push(self.text()?);
        }
        self.expect(Token::Close, "`,` or `)`")?;
        let Node::Column(slot) = left.node else {
            let message = "only a property can be looked up with IN".to_owned();
            let (span, help) = (left.start..self.before, "write a name before `IN`");
            return Err(SyntaxError::new(code::TYPE, span, message, help).into());
        };
        texts.sort_unstable();
        texts.dedup();
        self.part(left.start, left.depth + 1, Node::In(Box::new(In { slot, texts, negated })))
    }

    fn unary(&mut self) -> Result<Part, Box<SyntaxError>> {
        match self.token {
            Token::Plus | Token::Minus | Token::Keyword(Keyword::Not) | Token::Open => {
                self.nested()
            }
            _ => self.primary(),
        }
    }

    fn nested(&mut self) -> Result<Part, Box<SyntaxError>> {
        self.nesting += 1;
        if self.nesting > limits::NESTING_MAX {
            return Err(limits::too_deep(self.span.clone()).into());
        }
        let part = match self.token {
            Token::Plus => self.plus(),
            Token::Minus => self.minus(),
            Token::Keyword(Keyword::Not) => self.not(),
            _ => self.parenthesised(),
        };
        self.nesting -= 1;
        part
    }

    fn plus(&mut self) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        self.unary()
    }

    fn not(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let operand = self.unary()?;
        let operand = self.condition(operand)?;
        self.part(start, operand.depth + 1, Node::Not(Box::new(operand.node)))
    }

    fn parenthesised(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let inner = self.expression(Level::Or)?;
        self.expect(Token::Close, "`)`")?;
        Ok(Part { start, ..inner })
    }

    /// A minus is a node of its own even before a number: RocketMQ checks the order of the bounds
    /// of BETWEEN only where both are plain literals.
    fn minus(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let operand = self.unary()?;
        self.part(start, operand.depth + 1, Node::Negate(Box::new(operand.node)))
    }

    fn primary(&mut self) -> Result<Part, Box<SyntaxError>> {
        let span = self.span.clone();
        let written = &self.text[span.clone()];
        let node = match self.token {
            Token::Text => {
                let text = self.text()?;
                return self.part(span.start, 1, Node::Text(text));
            }
            Token::Name => Node::Column(self.columns.slot(written, span.clone())),
            Token::Whole => whole(written).ok_or_else(|| out_of_range(written, span.clone()))?,
            Token::Fraction => {
                fraction(written).ok_or_else(|| out_of_range(written, span.clone()))?
            }
            Token::Keyword(Keyword::True) => Node::Bool(true),
            Token::Keyword(Keyword::False) => Node::Bool(false),
            Token::Keyword(Keyword::Null) => Node::Null,
            _ => return Err(self.unexpected("a value").into()),
        };
        self.advance()?;
        self.part(span.start, 1, node)
    }

    /// A text without its quotes, the doubled ones inside made single.
    fn text(&mut self) -> Result<Box<str>, Box<SyntaxError>> {
        if self.token != Token::Text {
            return Err(self.unexpected("a text in single quotes").into());
        }
        let content = &self.text[self.span.start + 1..self.span.end - 1];
        let text = content.replace("''", "'").into_boxed_str();
        self.advance()?;
        Ok(text)
    }

    /// A part as a condition: a property becomes one, any other value is refused.
    fn condition(&self, part: Part) -> Result<Part, Box<SyntaxError>> {
        match part.node {
            Node::Column(slot) => Ok(Part { node: Node::Cast(slot), ..part }),
            _ if part.node.is_condition() => Ok(part),
            _ => {
                let message = "a condition is needed here, found a value".to_owned();
                let (span, help) = (part.start..self.before, "compare it with something");
                Err(SyntaxError::new(code::TYPE, span, message, help).into())
            }
        }
    }

    /// Refuses what `<`, `<=`, `>`, `>=` and BETWEEN cannot take.
    fn check_ordered(&self, part: &Part) -> Result<(), Box<SyntaxError>> {
        if matches!(part.node, Node::Text(_)) || part.node.is_condition() {
            Err(self.incomparable(part.start).into())
        } else {
            Ok(())
        }
    }

    fn incomparable(&self, start: usize) -> SyntaxError {
        let message = "only numbers and properties can be compared like this".to_owned();
        let help = "texts are compared with `=` and `<>`";
        SyntaxError::new(code::TYPE, start..self.before, message, help)
    }

    fn part(&self, start: usize, depth: usize, node: Node) -> Result<Part, Box<SyntaxError>> {
        if depth > limits::DEPTH_MAX {
            return Err(limits::too_deep(start..self.before).into());
        }
        Ok(Part { node, start, depth })
    }

    fn negated_part(
        &self,
        start: usize,
        depth: usize,
        node: Node,
        negated: bool,
    ) -> Result<Part, Box<SyntaxError>> {
        if negated {
            self.part(start, depth + 1, Node::Not(Box::new(node)))
        } else {
            self.part(start, depth, node)
        }
    }

    fn advance(&mut self) -> Result<(), Box<SyntaxError>> {
        self.before = self.span.end;
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    fn skip(&mut self, token: &Token) -> Result<bool, Box<SyntaxError>> {
        let found = self.token == *token;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn skip_keyword(&mut self, keyword: Keyword) -> Result<bool, Box<SyntaxError>> {
        self.skip(&Token::Keyword(keyword))
    }

    fn expect(&mut self, token: Token, wanted: &str) -> Result<(), Box<SyntaxError>> {
        if self.skip(&token)? { Ok(()) } else { Err(self.unexpected(wanted).into()) }
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let found = (self.token != Token::End).then(|| &self.text[self.span.clone()]);
        SyntaxError::expected(wanted, self.span.clone(), found)
    }
}

/// A whole number; beyond 32 bits it is a `Long`, with or without its `L`.
fn whole(written: &str) -> Option<Node> {
    let digits = written.strip_suffix(['l', 'L']).unwrap_or(written);
    let long = digits.parse::<i64>().ok()?;
    Some(i32::try_from(long).map_or(Node::Long(long), Node::Int))
}

/// RocketMQ refuses a literal below `Double.MIN_VALUE`, and so every literal zero with a point.
fn fraction(written: &str) -> Option<Node> {
    let double = written.parse::<f64>().ok()?;
    (double > 0.0 && double.is_finite()).then_some(Node::Double(double))
}

fn out_of_range(written: &str, span: Range<usize>) -> SyntaxError {
    let message = format!("the number {} is out of range", quoted(written));
    SyntaxError::new(
        code::NUMBER,
        span,
        message,
        "whole numbers have 64 bits, others those of a double",
    )
}

/// Whether two literal bounds are in the wrong order.
fn reversed(low: &Node, high: &Node) -> bool {
    let as_double = |node: &Node| match node {
        Node::Int(int) => Some(f64::from(*int)),
        Node::Long(long) => Some(*long as f64),
        Node::Double(double) => Some(*double),
        _ => None,
    };
    let as_long = |node: &Node| match node {
        Node::Int(int) => Some(i64::from(*int)),
        Node::Long(long) => Some(*long),
        _ => None,
    };
    match (as_long(low), as_long(high)) {
        (Some(low), Some(high)) => high < low,
        _ => as_double(low).zip(as_double(high)).is_some_and(|(low, high)| high < low),
    }
}
