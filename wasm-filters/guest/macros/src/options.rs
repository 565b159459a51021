use proc_macro::{TokenStream, TokenTree};

use crate::mistake::Mistake;

/// Reads `name = value, name = value`.
pub(crate) fn read<const COUNT: usize>(
    options: TokenStream,
    names: [&str; COUNT],
) -> Result<[Option<TokenStream>; COUNT], Mistake> {
    let mut values = [const { None }; COUNT];
    let mut tokens = options.into_iter();
    while let Some(token) = tokens.next() {
        let unknown = || {
            let known = names.map(|name| format!("`{name} = \"...\"`")).join(" and ");
            Mistake::new(token.span(), format!("the attribute takes {known}"))
        };
        let named = token.to_string();
        let place = names.iter().position(|name| *name == named).ok_or_else(unknown)?;
        let equals = tokens.next().is_some_and(|token| is(&token, '='));
        let value: TokenStream = tokens.by_ref().take_while(|token| !is(token, ',')).collect();
        if !equals || value.is_empty() || values[place].replace(value).is_some() {
            return Err(unknown());
        }
    }
    Ok(values)
}

fn is(token: &TokenTree, punct: char) -> bool {
    matches!(token, TokenTree::Punct(found) if found.as_char() == punct)
}
