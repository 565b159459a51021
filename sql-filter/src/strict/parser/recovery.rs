use super::{Around, Parser, Part, likely_operator};
use crate::SyntaxError;
use crate::error::code;
use crate::strict::lexer::{Keyword, Place, Token};
use crate::strict::tree::Kind;

/// Going on behind a mistake.
impl Parser<'_> {
    pub(super) fn may_follow(&self) -> bool {
        matches!(self.token, Token::End | Token::Keyword(Keyword::And | Keyword::Or))
            || self.around.ends_at(&self.token)
    }

    /// Tells the mistake at the current token, which is in the operation that begins at `start`,
    /// and goes on behind that. It is an error if nothing comes there that an expression goes on
    /// with.
    pub(super) fn skip_operation(
        &mut self,
        start: Place,
        mistake: Box<SyntaxError>,
    ) -> Result<(), Box<SyntaxError>> {
        if mistake.code == code::LIMIT {
            return Err(mistake);
        }
        self.tell((*mistake).clone());
        let mistake_at = self.span.start;
        let told = self.lexer.mistakes.len();
        self.lexer.go_back(start);
        let mut open = 0_usize;
        let mut bounds = 0_usize;
        loop {
            self.advance()?;
            self.lexer.mistakes.truncate(told);
            let is_behind = open == 0 && self.span.start >= mistake_at;
            match &self.token {
                Token::Keyword(Keyword::Between) if open == 0 => bounds += 1,
                Token::Keyword(Keyword::And) if open == 0 && bounds > 0 => bounds -= 1,
                Token::End => break,
                token if is_behind && self.ends_operation(token) => break,
                Token::Open | Token::Keyword(Keyword::Case) => open += 1,
                Token::Close | Token::Keyword(Keyword::End) => open = open.saturating_sub(1),
                _ => {}
            }
        }
        if self.may_follow() { Ok(()) } else { Err(mistake) }
    }

    fn ends_operation(&self, token: &Token) -> bool {
        match token {
            Token::Keyword(Keyword::And | Keyword::Or) => true,
            Token::Close
            | Token::Comma
            | Token::Keyword(Keyword::When | Keyword::Then | Keyword::Else | Keyword::End) => {
                self.around != Around::Nothing
            }
            token => self.around.ends_at(token),
        }
    }

    /// What stands in the place of something with a mistake; `parts` are what is right in it.
    pub(super) fn wrong(&self, start: usize, parts: Vec<Part>) -> Result<Part, Box<SyntaxError>> {
        let depth = parts.iter().map(|part| part.depth).max().unwrap_or(0);
        let nodes = parts.into_iter().map(|part| part.node).collect();
        self.part(start, depth + 1, Kind::Wrong(nodes))
    }

    /// Keeps a mistake, unless it follows from the one before: from one of the same word or sign,
    /// or from a text without its end, which hides what comes then.
    pub(super) fn tell(&mut self, mistake: SyntaxError) {
        let follows = |last: &SyntaxError| {
            last.span.start == mistake.span.start || last.code == code::UNCLOSED
        };
        if !self.lexer.mistakes.last().is_some_and(follows) {
            self.lexer.mistakes.push(mistake);
        }
    }

    /// The error for a token behind a complete operation.
    pub(super) fn left_over(&self) -> SyntaxError {
        if self.around != Around::Nothing {
            return self.unexpected(self.around.wanted());
        }
        let message = format!("{} does not continue the expression", self.found());
        let help = match &self.token {
            Token::Close => "no parenthesis is open here".to_owned(),
            Token::Name(name) => match likely_operator(name) {
                Some(word) => format!("did you mean `{word}`?"),
                None => "is an operator missing before it, `AND` or `OR`?".to_owned(),
            },
            _ => "is an operator missing before it?".to_owned(),
        };
        SyntaxError::new(code::UNEXPECTED, self.span.clone(), message, help)
    }
}
