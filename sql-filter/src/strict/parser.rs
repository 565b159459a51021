//! Tokens to a tree, by precedence climbing.
//!
//! A mistake does not end it: what stands between AND, OR, commas and parentheses around the
//! mistake becomes [`Kind::Wrong`], and the rest is read on.
//!
//! ```text
//! expression := expression OR expression            loosest
//!             | expression AND expression
//!             | NOT expression
//!             | expression ("=" | "<>") expression | expression IS [NOT] NULL
//!             | expression ("<" | "<=" | ">" | ">=") expression
//!             | expression [NOT] BETWEEN expression AND expression
//!             | expression [NOT] IN "(" expression {"," expression} ")"
//!             | expression [NOT] LIKE text [ESCAPE text]
//!             | expression [NOT] (CONTAINS | STARTSWITH | ENDSWITH) text
//!             | expression ("+" | "-") expression
//!             | expression ("*" | "/" | "%") expression
//!             | ("+" | "-") expression
//!             | name | number | text | TRUE | FALSE | NULL | "(" expression ")" | case | call
//! case := CASE [expression] WHEN expression THEN expression {WHEN ...} [ELSE expression] END
//! call := CAST "(" expression AS type ")" | COALESCE "(" expression {"," expression} ")"
//!       | (LOWER | UPPER | DATE) "(" expression ")"
//! ```

mod around; // what may follow an expression
mod recovery; // going on behind a mistake

use std::ops::Range;

use crate::columns::Columns;
use crate::error::code;
use crate::limits;
use crate::operator::Operator;
use crate::pattern::Pattern;
use crate::{Column, SyntaxError, Type};

use super::cast;
use super::lexer::{Keyword, Lexer, Token};
use super::list::List;
use super::literal::Literal;
use super::tree::{
    Arithmetic, Between, Calculation, Case, Comparison, Kind, Match, Membership, Node, TextLiteral,
};
use around::Around;

/// A text as far as it can be read.
pub(crate) struct Parsed {
    /// With [`Kind::Wrong`] in it only if there are mistakes.
    pub(crate) node: Node,
    pub(crate) columns: Vec<Column>,
    pub(crate) mistakes: Vec<SyntaxError>,
}

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Parsed {
    let mut parser = Parser {
        text,
        lexer: Lexer::new(text),
        token: Token::End,
        span: 0..0,
        before: 0,
        columns: Columns::default(),
        nesting: 0,
        recursion: 0,
        around: Around::Nothing,
    };
    let node = match parser.whole() {
        Ok(part) => part.node,
        Err(error) => {
            parser.tell(*error);
            Node::new(Kind::Wrong(Vec::new()), 0..text.len())
        }
    };
    Parsed { node, columns: parser.columns.into_list(), mistakes: parser.lexer.mistakes }
}

/// How tightly an operator binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Or,
    And,
    Not,
    Equality,
    Order,
    Sum,
    Product,
    Sign,
}

/// A node and the height of the tree below it.
struct Part {
    node: Node,
    depth: usize,
}

/// What makes a call of one operand into a node.
type Wrap = fn(Box<Node>) -> Kind;

struct Parser<'t> {
    text: &'t str,
    /// It keeps the mistakes, too.
    lexer: Lexer<'t>,
    /// The token to read next, and where it stands.
    token: Token,
    span: Range<usize>,
    /// Where the token before it ended.
    before: usize,
    columns: Columns,
    /// How many parentheses, calls, signs and words are open around the current token.
    nesting: usize,
    /// How many calls of `operation` are.
    recursion: usize,
    around: Around,
}

/// Recursion passes through `expression`, `operation`, `operand` and what they call for each kind of
/// nesting. Errors are boxed and each kind has a function of its own to keep those frames small.
impl Parser<'_> {
    fn whole(&mut self) -> Result<Part, Box<SyntaxError>> {
        limits::check_length(self.text)?;
        self.advance()?;
        self.expression(Level::Or)
    }

    /// An expression inside something that says what may follow it.
    fn enclosed(&mut self, around: Around) -> Result<Part, Box<SyntaxError>> {
        let outside = std::mem::replace(&mut self.around, around);
        let part = self.expression(Level::Or);
        self.around = outside;
        part
    }

    /// Operations with AND and OR between them, or with AND only, or a single one. If there is a
    /// mistake in an operation, the next one is read nonetheless.
    fn expression(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        let start = self.lexer.place_of(&self.span);
        let (nesting, recursion) = (self.nesting, self.recursion);
        let mut left = match self.operation(floor) {
            Ok(part) if self.may_follow() => part,
            Ok(part) => {
                self.skip_operation(start, self.left_over().into())?;
                self.wrong(start.at, vec![part])?
            }
            Err(mistake) => {
                (self.nesting, self.recursion) = (nesting, recursion);
                self.skip_operation(start, mistake)?;
                self.wrong(start.at, Vec::new())?
            }
        };
        while let Some(level @ (Level::Or | Level::And)) =
            infix_level(&self.token).filter(|level| floor <= *level)
        {
            self.advance()?;
            left = self.chain(left, level)?;
        }
        Ok(left)
    }

    /// An expression without AND and OR whose operators all bind at least as tightly as `floor`.
    fn operation(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        self.recursion += 1;
        if self.recursion > limits::DEPTH_MAX {
            return Err(limits::too_deep(self.span.clone()).into());
        }
        let mut left = self.operand(floor)?;
        let floor = floor.max(Level::Equality);
        // Behind `a IS NULL` no operator may follow that binds tighter than IS.
        let mut ceiling = Level::Sign;
        while let Some(level) =
            infix_level(&self.token).filter(|level| (floor..=ceiling).contains(level))
        {
            left = self.continued(left, level)?;
            ceiling = level;
        }
        self.recursion -= 1;
        Ok(left)
    }

    fn advance(&mut self) -> Result<Token, Box<SyntaxError>> {
        self.before = self.span.end;
        let (token, span) = self.lexer.next()?;
        self.span = span;
        Ok(std::mem::replace(&mut self.token, token))
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

    fn expect(&mut self, token: &Token, wanted: &str) -> Result<(), Box<SyntaxError>> {
        if self.skip(token)? { Ok(()) } else { Err(self.unexpected(wanted).into()) }
    }

    /// What was begun ends here, at the latest at the end of the text.
    fn close(&mut self, around: Around) -> Result<(), Box<SyntaxError>> {
        if self.token == Token::End {
            self.tell(self.unexpected(around.wanted()));
            return Ok(());
        }
        self.expect(&Token::Close, around.wanted())
    }

    fn unexpected(&self, wanted: &str) -> SyntaxError {
        let found = (self.token != Token::End).then(|| &self.text[self.span.clone()]);
        SyntaxError::expected(wanted, self.span.clone(), found)
    }

    fn found(&self) -> String {
        crate::value::quoted(&self.text[self.span.clone()])
    }

    /// Makes a node that ends before the current token.
    fn part(&self, start: usize, depth: usize, kind: Kind) -> Result<Part, Box<SyntaxError>> {
        let span = start..self.before;
        if depth > limits::DEPTH_MAX {
            return Err(limits::too_deep(span).into());
        }
        Ok(Part { node: Node::new(kind, span), depth })
    }

    /// What stands before the first infix operator.
    fn operand(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        match self.token {
            Token::Keyword(Keyword::Not | Keyword::Case)
            | Token::Minus
            | Token::Plus
            | Token::Open => self.nested(floor),
            Token::Name(_) => self.named(),
            _ => self.literal(),
        }
    }

    fn nested(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        self.deeper()?;
        let part = match self.token {
            Token::Keyword(Keyword::Not) => self.not(floor),
            Token::Minus => self.minus(),
            Token::Plus => self.plus(),
            Token::Open => self.parenthesised(),
            _ => self.case(),
        };
        self.nesting -= 1;
        part
    }

    fn deeper(&mut self) -> Result<(), Box<SyntaxError>> {
        self.nesting += 1;
        if self.nesting > limits::NESTING_MAX {
            return Err(limits::too_deep(self.span.clone()).into());
        }
        Ok(())
    }

    fn not(&mut self, floor: Level) -> Result<Part, Box<SyntaxError>> {
        if floor > Level::Not {
            let help = "put parentheses around `NOT ...`".to_owned();
            return Err(SyntaxError { help, ..self.unexpected("a value") }.into());
        }
        let start = self.span.start;
        self.advance()?;
        let operand = self.expression(Level::Not)?;
        self.part(start, operand.depth + 1, Kind::Not(Box::new(operand.node)))
    }

    fn plus(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let operand = self.operation(Level::Sign)?;
        self.part(start, operand.depth + 1, Kind::Plus(Box::new(operand.node)))
    }

    fn minus(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        if self.skip(&Token::Number(Literal::MinMagnitude))? {
            return self.part(start, 1, Kind::Int(i64::MIN));
        }
        let operand = self.operation(Level::Sign)?;
        let kind = match operand.node.kind {
            Kind::Int(int) if int != i64::MIN => Kind::Int(-int),
            Kind::Double(double) => Kind::Double(-double),
            _ => Kind::Negate(Box::new(operand.node)),
        };
        self.part(start, operand.depth + 1, kind)
    }

    fn parenthesised(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let inner = self.enclosed(Around::Parentheses)?;
        self.close(Around::Parentheses)?;
        self.part(start, inner.depth, inner.node.kind)
    }

    fn literal(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        if matches!(self.token, Token::Text(_)) {
            let text = self.text("a text")?;
            return self.part(start, 1, Kind::Text(Box::new(TextLiteral::new(text))));
        }
        let kind = match &self.token {
            Token::Number(Literal::Int(int)) => Kind::Int(*int),
            Token::Number(Literal::Double(double)) => Kind::Double(*double),
            Token::Number(Literal::MinMagnitude) => {
                let message = format!("{} is not a number", self.found());
                let help = "whole numbers have 64 bits";
                return Err(SyntaxError::new(code::NUMBER, self.span.clone(), message, help).into());
            }
            Token::Keyword(Keyword::True) => Kind::Bool(true),
            Token::Keyword(Keyword::False) => Kind::Bool(false),
            Token::Keyword(Keyword::Null) => Kind::Null,
            _ => return Err(self.unexpected("a value").into()),
        };
        self.advance()?;
        self.part(start, 1, kind)
    }

    fn text(&mut self, wanted: &str) -> Result<String, Box<SyntaxError>> {
        if !matches!(self.token, Token::Text(_)) {
            return Err(self.unexpected(wanted).into());
        }
        match self.advance()? {
            Token::Text(text) => Ok(text),
            other => unreachable!("{other:?} was a text"),
        }
    }

    /// A column or a call.
    fn named(&mut self) -> Result<Part, Box<SyntaxError>> {
        let span = self.span.clone();
        let quoted = self.text[span.clone()].contains('"');
        let Token::Name(name) = self.advance()? else {
            return Err(self.unexpected("a name").into());
        };
        if self.token == Token::Open && !quoted {
            self.deeper()?;
            let part = self.call(&name, span);
            self.nesting -= 1;
            return part;
        }
        let slot = self.columns.slot(&name, span.clone());
        self.part(span.start, 1, Kind::Column(slot))
    }

    fn call(&mut self, name: &str, span: Range<usize>) -> Result<Part, Box<SyntaxError>> {
        let wrap = match name.to_ascii_uppercase().as_str() {
            "CAST" => return self.cast(span.start),
            "COALESCE" => return self.coalesce(span.start),
            "LOWER" => Kind::Lower as Wrap,
            "UPPER" => Kind::Upper,
            "DATE" => Kind::Date,
            _ => return self.unknown_call(name, span),
        };
        self.wrapped(span.start, wrap)
    }

    fn unknown_call(&mut self, name: &str, span: Range<usize>) -> Result<Part, Box<SyntaxError>> {
        let message = format!("there is no function {}", crate::value::quoted(name));
        let help = "there are CAST, COALESCE, DATE, LOWER and UPPER";
        let start = span.start;
        let mistake = SyntaxError::new(code::NAME, span, message, help);
        let (told, columns) = (self.lexer.mistakes.len(), self.columns.len());
        self.advance()?;
        let arguments = match self.token {
            Token::Close => Ok((Vec::new(), 0)),
            _ => self.elements(),
        };
        match arguments {
            Err(error) if error.code == code::LIMIT => Err(error),
            Ok((nodes, depth))
                if self.lexer.mistakes.len() == told && self.token == Token::Close =>
            {
                self.tell(mistake);
                self.advance()?;
                self.part(start, depth + 1, Kind::Wrong(nodes))
            }
            // Another language may have another syntax for what the function takes.
            _ => {
                self.lexer.mistakes.truncate(told);
                self.columns.truncate(columns);
                Err(mistake.into())
            }
        }
    }

    fn wrapped(&mut self, start: usize, wrap: Wrap) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        let operand = self.enclosed(Around::Parentheses)?;
        self.close(Around::Parentheses)?;
        self.part(start, operand.depth + 1, wrap(Box::new(operand.node)))
    }

    fn cast(&mut self, start: usize) -> Result<Part, Box<SyntaxError>> {
        self.advance()?;
        let operand = self.enclosed(Around::Cast)?;
        if !Around::Cast.ends_at(&self.token) {
            return Err(self.unexpected(Around::Cast.wanted()).into());
        }
        self.advance()?;
        let to = self.type_name()?;
        self.close(Around::Parentheses)?;
        let Some(to) = to else {
            return self.wrong(start, vec![operand]);
        };
        let kind = Kind::Cast { operand: Box::new(operand.node), to };
        self.part(start, operand.depth + 1, kind)
    }

    /// `None` for a type that does not exist.
    fn type_name(&mut self) -> Result<Option<Type>, Box<SyntaxError>> {
        let Token::Name(name) = &self.token else {
            return Err(self.unexpected("a type").into());
        };
        let known = cast::TYPES.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
        if known.is_none() {
            let message = format!("there is no type {}", self.found());
            let words = cast::TYPES.map(|(word, _)| word).join(", ");
            let help = format!("there are {words}");
            self.tell(SyntaxError::new(code::NAME, self.span.clone(), message, help));
        }
        self.advance()?;
        Ok(known.map(|(_, to)| *to))
    }

    fn coalesce(&mut self, start: usize) -> Result<Part, Box<SyntaxError>> {
        let (operands, depth) = self.list()?;
        self.part(start, depth + 1, Kind::Coalesce(operands))
    }

    /// At least one expression between parentheses, and the height of the highest.
    fn list(&mut self) -> Result<(Vec<Node>, usize), Box<SyntaxError>> {
        self.expect(&Token::Open, "`(`")?;
        let list = self.elements()?;
        self.close(Around::List)?;
        Ok(list)
    }

    fn elements(&mut self) -> Result<(Vec<Node>, usize), Box<SyntaxError>> {
        let mut nodes = Vec::new();
        let mut depth = 0;
        loop {
            let element = self.enclosed(Around::List)?;
            nodes.push(element.node);
            depth = depth.max(element.depth);
            if !self.skip(&Token::Comma)? {
                return Ok((nodes, depth));
            }
        }
    }

    fn case(&mut self) -> Result<Part, Box<SyntaxError>> {
        let start = self.span.start;
        self.advance()?;
        let mut depth = 0;
        let operand = match self.token {
            Token::Keyword(Keyword::When) => None,
            _ => Some(self.case_part(Around::Case, &mut depth)?),
        };
        let mut branches = Vec::new();
        while self.skip_keyword(Keyword::When)? {
            branches.push(self.branch(&mut depth)?);
        }
        if branches.is_empty() {
            return Err(self.unexpected(Around::Case.wanted()).into());
        }
        let otherwise = match self.skip_keyword(Keyword::Else)? {
            true => Some(self.case_part(Around::Then, &mut depth)?),
            false => None,
        };
        self.expect(&Token::Keyword(Keyword::End), Around::Then.wanted())?;
        self.part(start, depth + 1, Kind::Case(Box::new(Case { operand, branches, otherwise })))
    }

    fn branch(&mut self, depth: &mut usize) -> Result<(Node, Node), Box<SyntaxError>> {
        let when = self.case_part(Around::When, depth)?;
        self.expect(&Token::Keyword(Keyword::Then), Around::When.wanted())?;
        Ok((when, self.case_part(Around::Then, depth)?))
    }

    /// An expression inside CASE; `depth` becomes the height of the highest.
    fn case_part(&mut self, around: Around, depth: &mut usize) -> Result<Node, Box<SyntaxError>> {
        let part = self.enclosed(around)?;
        *depth = part.depth.max(*depth);
        Ok(part.node)
    }

    /// `left`, the infix operator at the current token, and what belongs to it.
    fn continued(&mut self, left: Part, level: Level) -> Result<Part, Box<SyntaxError>> {
        let token = self.advance()?;
        match token {
            Token::Compare(operator) => self.comparison(left, operator, level),
            Token::Keyword(Keyword::Is) => self.is_null(left),
            Token::Keyword(Keyword::Not) => self.predicate(left, true),
            Token::Plus | Token::Minus | Token::Star | Token::Slash | Token::Percent => {
                self.arithmetic(left, &token, level)
            }
            Token::Keyword(keyword) => self.predicate_of(left, keyword, false),
            other => unreachable!("{other:?} is no infix operator"),
        }
    }

    /// Another operand of AND or OR. A chain of them is one node, also where parentheses group it:
    /// its verdict is the same, and so is the order in which its operands are asked.
    fn chain(&mut self, left: Part, level: Level) -> Result<Part, Box<SyntaxError>> {
        let start = left.node.span().start;
        let right = self.expression(tighter(level))?;
        let is_or = level == Level::Or;
        let operands_of = |part: Part| match part.node.kind {
            Kind::Or(operands) if is_or => (operands, part.depth),
            Kind::And(operands) if !is_or => (operands, part.depth),
            _ => (vec![part.node], part.depth + 1),
        };
        let (mut operands, left_depth) = operands_of(left);
        let (more, right_depth) = operands_of(right);
        operands.extend(more);
        let depth = left_depth.max(right_depth);
        self.part(start, depth, if is_or { Kind::Or(operands) } else { Kind::And(operands) })
    }

    fn comparison(
        &mut self,
        left: Part,
        operator: Operator,
        level: Level,
    ) -> Result<Part, Box<SyntaxError>> {
        let start = left.node.span().start;
        let right = self.operation(tighter(level))?;
        for side in [&left.node, &right.node] {
            if matches!(side.kind, Kind::Null) {
                let message = "nothing compares with NULL".to_owned();
                let help = "write `IS NULL` or `IS NOT NULL`";
                self.tell(SyntaxError::new(code::NULL, side.span(), message, help));
            }
        }
        let depth = left.depth.max(right.depth) + 1;
        let (mut left, mut right, mut operator) = (left.node, right.node, operator);
        if left.is_literal_text() {
            (left, right, operator) = (right, left, operator.mirrored());
        }
        self.part(start, depth, Kind::Compare(Box::new(Comparison { operator, left, right })))
    }

    fn is_null(&mut self, left: Part) -> Result<Part, Box<SyntaxError>> {
        let start = left.node.span().start;
        let negated = self.skip_keyword(Keyword::Not)?;
        self.expect(
            &Token::Keyword(Keyword::Null),
            if negated { "`NULL`" } else { "`NULL` or `NOT NULL`" },
        )?;
        let kind = Kind::IsNull { operand: Box::new(left.node), negated };
        self.part(start, left.depth + 1, kind)
    }

    /// What follows an infix NOT.
    fn predicate(&mut self, left: Part, negated: bool) -> Result<Part, Box<SyntaxError>> {
        match self.token {
            Token::Keyword(
                keyword @ (Keyword::Between
                | Keyword::In
                | Keyword::Like
                | Keyword::Contains
                | Keyword::StartsWith
                | Keyword::EndsWith),
            ) => {
                self.advance()?;
                self.predicate_of(left, keyword, negated)
            }
            _ => Err(self
                .unexpected("`BETWEEN`, `IN`, `LIKE`, `CONTAINS`, `STARTSWITH` or `ENDSWITH`")
                .into()),
        }
    }

    fn predicate_of(
        &mut self,
        left: Part,
        keyword: Keyword,
        negated: bool,
    ) -> Result<Part, Box<SyntaxError>> {
        let start = left.node.span().start;
        let operand = left.node;
        let (kind, depth) = match keyword {
            Keyword::Between => {
                let low = self.operation(Level::Sum)?;
                self.expect(&Token::Keyword(Keyword::And), "`AND` and the upper bound")?;
                let high = self.operation(Level::Sum)?;
                let depth = low.depth.max(high.depth);
                let between = Between { operand, low: low.node, high: high.node, negated };
                (Kind::Between(Box::new(between)), depth)
            }
            Keyword::In => {
                let (elements, depth) = self.list()?;
                let membership = Membership { operand, list: List::new(elements), negated };
                (Kind::In(Box::new(membership)), depth)
            }
            _ => {
                let pattern = self.pattern(keyword)?;
                (Kind::Match(Box::new(Match { operand, pattern, negated })), 0)
            }
        };
        self.part(start, depth.max(left.depth) + 1, kind)
    }

    fn pattern(&mut self, keyword: Keyword) -> Result<Pattern, Box<SyntaxError>> {
        let span = self.span.clone();
        let search = self.text("a text in single quotes")?;
        if keyword == Keyword::Like {
            let escape = self.escape()?;
            return Ok(Pattern::like(&search, escape));
        }
        if search.is_empty() {
            let message = "every text contains the empty text".to_owned();
            let help = "write `IS NOT NULL` to ask whether there is a text";
            self.tell(SyntaxError::new(code::PATTERN, span, message, help));
        }
        let search = search.into_boxed_str();
        Ok(match keyword {
            Keyword::StartsWith => Pattern::Prefix(search),
            Keyword::EndsWith => Pattern::Suffix(search),
            _ => Pattern::Contains(search),
        })
    }

    fn escape(&mut self) -> Result<Option<char>, Box<SyntaxError>> {
        if !self.skip_keyword(Keyword::Escape)? {
            return Ok(None);
        }
        let span = self.span.clone();
        let text = self.text("a text of one character")?;
        let mut chars = text.chars();
        let (escape, more) = (chars.next(), chars.next());
        if escape.is_none() || more.is_some() {
            let message = "ESCAPE takes exactly one character".to_owned();
            let help = "for example `ESCAPE '!'`";
            self.tell(SyntaxError::new(code::PATTERN, span, message, help));
        }
        Ok(escape)
    }

    fn arithmetic(
        &mut self,
        left: Part,
        sign: &Token,
        level: Level,
    ) -> Result<Part, Box<SyntaxError>> {
        let start = left.node.span().start;
        let right = self.operation(tighter(level))?;
        let depth = left.depth.max(right.depth) + 1;
        let (left, right) = (left.node, right.node);
        let joins = left.is_always_text() || right.is_always_text();
        let calculation = match sign {
            Token::Plus if joins => {
                return self.part(start, depth, Kind::Join(Box::new((left, right))));
            }
            Token::Plus => Calculation::Add,
            Token::Minus => Calculation::Subtract,
            Token::Star => Calculation::Multiply,
            Token::Slash => Calculation::Divide,
            _ => Calculation::Remainder,
        };
        self.part(start, depth, Kind::Arithmetic(Box::new(Arithmetic { calculation, left, right })))
    }
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
            | Keyword::Like
            | Keyword::Contains
            | Keyword::StartsWith
            | Keyword::EndsWith,
        ) => Level::Order,
        Token::Plus | Token::Minus => Level::Sum,
        Token::Star | Token::Slash | Token::Percent => Level::Product,
        _ => return None,
    })
}

/// The level an operator's right side starts at, which makes the operator left-associative.
fn tighter(level: Level) -> Level {
    match level {
        Level::Or => Level::And,
        Level::And => Level::Not,
        Level::Not => Level::Equality,
        Level::Equality => Level::Order,
        Level::Order => Level::Sum,
        Level::Sum => Level::Product,
        Level::Product | Level::Sign => Level::Sign,
    }
}

/// The operator of which a word is a slip of the pen: one letter wrong, missing or too many.
fn likely_operator(word: &str) -> Option<&'static str> {
    const WORDS: [&str; 9] =
        ["AND", "BETWEEN", "LIKE", "CONTAINS", "STARTSWITH", "ENDSWITH", "ESCAPE", "IS", "OR"];
    let word = word.to_ascii_uppercase();
    let one_slip = |operator: &&str| {
        let same = |left: &str, right: &str| {
            left.bytes().zip(right.bytes()).take_while(|(l, r)| l == r).count()
        };
        let prefix = same(&word, operator);
        let (left, right) = (&word.as_bytes()[prefix..], &operator.as_bytes()[prefix..]);
        left.get(1..) == right.get(1..)
            || left.get(1..) == Some(right)
            || Some(left) == right.get(1..)
    };
    WORDS.into_iter().find(one_slip)
}
