use std::iter::Peekable;

use proc_macro::{Delimiter, Ident, Span, TokenStream, TokenTree, token_stream};

use crate::mistake::Mistake;

/// The head of a function.
pub(crate) struct Function {
    pub(crate) name: Ident,
    pub(crate) inputs: Vec<Input>,
    /// What stands behind the arrow.
    pub(crate) output: Vec<TokenTree>,
}

/// The type of one thing that a function takes.
pub(crate) struct Input {
    at: Span,
    /// `&` or `&mut`, if it is a reference.
    pub(crate) reference: Option<&'static str>,
    /// The type itself, behind that.
    pub(crate) of: TokenStream,
}

impl Function {
    pub(crate) fn read(item: TokenStream) -> Result<Self, Mistake> {
        let mut tokens = item.into_iter().peekable();
        skip_attributes(&mut tokens);
        if next_if(&mut tokens, "pub").is_some() {
            let is_scope = |token: &TokenTree| delimiter(token) == Some(Delimiter::Parenthesis);
            tokens.next_if(is_scope);
        }
        let plain = |token: Option<&TokenTree>| {
            let at = token.map_or_else(Span::call_site, TokenTree::span);
            Mistake::new(at, "the attribute belongs to a plain function")
        };
        if next_if(&mut tokens, "fn").is_none() {
            return Err(plain(tokens.peek()));
        }
        let Some(TokenTree::Ident(name)) = tokens.next() else { return Err(plain(None)) };
        let inputs = match tokens.next() {
            Some(TokenTree::Group(group)) => group.stream(),
            // `<` of a generic one.
            other => return Err(plain(other.as_ref())),
        };
        let inputs = split(inputs).into_iter().map(Input::read).collect::<Result<_, _>>()?;
        let is_body = |token: &TokenTree| delimiter(token) == Some(Delimiter::Brace);
        // Behind the two characters of the arrow, if there is one.
        let output = tokens.take_while(|token| !is_body(token)).skip(2).collect();
        Ok(Self { name, inputs, output })
    }

    pub(crate) fn mistake(&self, what: &str) -> Mistake {
        Mistake::new(self.name.span(), what)
    }

    /// What is in the `Result` that it answers.
    pub(crate) fn of_result(&self) -> Result<TokenStream, Mistake> {
        let text = |at: usize| self.output.get(at).map(TokenTree::to_string);
        let open = (1..self.output.len())
            .find(|at| text(*at).as_deref() == Some("<"))
            .filter(|open| text(open - 1).as_deref() == Some("Result"));
        let Some(open) = open else {
            return Err(self.mistake("`init` answers a `Result` with the state"));
        };
        // Without the brackets; an error of a type of its own is another part.
        let within = self.output[open + 1..self.output.len() - 1].iter().cloned().collect();
        let state = split(within).into_iter().next();
        state.map(|state| state.into_iter().collect()).ok_or_else(|| self.mistake("of what?"))
    }
}

impl Input {
    /// Reads `name: type`; the name may be any pattern.
    fn read(tokens: Vec<TokenTree>) -> Result<Self, Mistake> {
        let at = tokens.first().map_or_else(Span::call_site, TokenTree::span);
        let is_colon = |token: &TokenTree| token.to_string() == ":";
        let single = |at: &usize| {
            is_colon(&tokens[*at])
                && !tokens.get(at + 1).is_some_and(is_colon)
                && !at.checked_sub(1).is_some_and(|before| is_colon(&tokens[before]))
        };
        let Some(colon) = (0..tokens.len()).find(single) else {
            return Err(Mistake::new(at, "the function must not be a method"));
        };
        let mut of = tokens[colon + 1..].iter().cloned().peekable();
        let at = of.peek().map_or(at, TokenTree::span);
        let mut reference = None;
        if of.next_if(|token| token.to_string() == "&").is_some() {
            reference = Some("&");
            if of.next_if(|token| token.to_string() == "mut").is_some() {
                reference = Some("&mut");
            }
        }
        Ok(Self { at, reference, of: of.collect() })
    }

    pub(crate) fn mistake(&self, what: &str) -> Mistake {
        Mistake::new(self.at, what)
    }
}

/// The parts between commas; those within brackets of any kind part nothing.
fn split(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let mut parts = vec![Vec::new()];
    let mut depth = 0;
    let mut before = String::new();
    for token in tokens {
        let text = token.to_string();
        match text.as_str() {
            "<" => depth += 1,
            // But for that of an arrow.
            ">" if before != "-" => depth -= 1,
            _ => {}
        }
        match parts.last_mut() {
            Some(part) if text != "," || depth > 0 => part.push(token),
            _ => parts.push(Vec::new()),
        }
        before = text;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn skip_attributes(tokens: &mut Peekable<token_stream::IntoIter>) {
    while next_if(tokens, "#").is_some() {
        tokens.next();
    }
}

fn next_if(tokens: &mut Peekable<token_stream::IntoIter>, text: &str) -> Option<TokenTree> {
    tokens.next_if(|token| token.to_string() == text)
}

fn delimiter(token: &TokenTree) -> Option<Delimiter> {
    match token {
        TokenTree::Group(group) => Some(group.delimiter()),
        _ => None,
    }
}
