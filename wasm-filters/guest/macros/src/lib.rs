//! The attributes of `millrace-wasm-guest`, which says what they are for. They read no more of a
//! function than its head, so they need no parser of Rust, and a filter builds as fast as without
//! them. What comes of it stands in `module.rs` of that crate.

mod function; // the head of a function
mod mistake; // what the compiler shows
mod options; // what stands in the attribute

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

use function::{Function, Input};
use mistake::Mistake;

/// Makes a filter's state of its parameters.
#[proc_macro_attribute]
pub fn init(options: TokenStream, item: TokenStream) -> TokenStream {
    const FORM: &str = "fn init(params: Params<'_>) -> Result<State>";
    expand(item, FORM, |function| {
        let [params] = options::read(options, ["params"])?;
        let [Input { reference: None, .. }] = &function.inputs[..] else {
            return Err(function.mistake("`init` takes the parameters, by value, and nothing else"));
        };
        let state = function.of_result()?;
        let called = code(&function.name.to_string(), function.name.span());
        let params = params.unwrap_or_else(|| code("\"null\"", Span::call_site()));
        Ok(call("__init", [state, called, params]))
    })
}

/// Makes a module of a function that says which records go on.
#[proc_macro_attribute]
pub fn filter(options: TokenStream, item: TokenStream) -> TokenStream {
    const FORM: &str = "fn keep(state: &State, record: &Record<'_>) -> Result<bool>";
    expand(item, FORM, |function| {
        let (state, record) = match &function.inputs[..] {
            [record] => (None, record),
            [state, record] => (Some(state), record),
            _ => return Err(function.mistake("a filter takes its state and a record")),
        };
        if record.reference != Some("&") {
            return Err(record.mistake("a filter takes the record as `&Record<'_>`"));
        }
        module(options, "filter", &function, state, "record")
    })
}

/// Makes a module of a function that puts one record at most in the place of another.
#[proc_macro_attribute]
pub fn map(options: TokenStream, item: TokenStream) -> TokenStream {
    mapping("map", options, item)
}

/// Makes a module of a function that puts any number of records in the place of one.
#[proc_macro_attribute]
pub fn flat_map(options: TokenStream, item: TokenStream) -> TokenStream {
    mapping("flat-map", options, item)
}

fn mapping(kind: &str, options: TokenStream, item: TokenStream) -> TokenStream {
    const FORM: &str =
        "fn map(state: &State, record: &Record<'_>, out: &mut Out<'_>) -> Result<()>";
    expand(item, FORM, |function| {
        let (state, record, out) = match &function.inputs[..] {
            [record, out] => (None, record, out),
            [state, record, out] => (Some(state), record, out),
            _ => return Err(function.mistake("a map takes its state, a record and an `Out`")),
        };
        if record.reference != Some("&") {
            return Err(record.mistake("a map takes the record as `&Record<'_>`"));
        }
        if out.reference != Some("&mut") {
            return Err(out.mistake("a map puts records into a `&mut Out<'_>`"));
        }
        module(options, kind, &function, state, "record, out")
    })
}

/// The call that makes a module of a function: its kind, its state, itself, its name and version.
fn module(
    options: TokenStream,
    kind: &str,
    function: &Function,
    state: Option<&Input>,
    others: &str,
) -> Result<TokenStream, Mistake> {
    let [name, version] = options::read(options, ["name", "version"])?;
    let (type_of_state, of_module, given) = match state {
        None => (code("()", Span::call_site()), "_", ""),
        Some(Input { reference: Some(_), of, .. }) => (of.clone(), "state", "state, "),
        Some(state) => return Err(state.mistake("the state is `&State` or `&mut State`")),
    };
    if function.output.is_empty() {
        return Err(function.mistake("the function must answer something"));
    }
    let answer = if kind == "filter" { "bool" } else { "()" };
    let answer = format!("::millrace_wasm_guest::exports::Answer::<{answer}>::answer");
    let closure = format!("|{of_module}, {others}| {answer}({}({given}{others}))", function.name);
    // At the function's name, so that the compiler shows that if a type does not fit.
    let closure = code(&closure, function.name.span());
    let or_package = |option: Option<TokenStream>, variable: &str| {
        option.unwrap_or_else(|| code(&format!("env!({variable:?})"), Span::call_site()))
    };
    let parts = [
        code(&format!("{kind:?}"), Span::call_site()),
        type_of_state,
        closure,
        or_package(name, "CARGO_PKG_NAME"),
        or_package(version, "CARGO_PKG_VERSION"),
    ];
    Ok(call(if kind == "filter" { "__filter" } else { "__map" }, parts))
}

/// The function as it was, and what is made of it; with a mistake that is how it should look.
fn expand(
    item: TokenStream,
    form: &str,
    make: impl FnOnce(Function) -> Result<TokenStream, Mistake>,
) -> TokenStream {
    let made = Function::read(item.clone()).and_then(make);
    let made = made.unwrap_or_else(|mistake| mistake.shown(form));
    [item, made].into_iter().collect()
}

/// `::millrace_wasm_guest::name! { (part) (part) ... }`
fn call<const PARTS: usize>(name: &str, parts: [TokenStream; PARTS]) -> TokenStream {
    let parts = parts.map(|part| within(Delimiter::Parenthesis, part)).into_iter().collect();
    let mut call = code(&format!("::millrace_wasm_guest::{name}!"), Span::call_site());
    call.extend([within(Delimiter::Brace, parts)]);
    call
}

fn within(brackets: Delimiter, tokens: TokenStream) -> TokenTree {
    Group::new(brackets, tokens).into()
}

/// Source text as if it stood there.
fn code(text: &str, at: Span) -> TokenStream {
    let tokens: TokenStream = text.parse().expect("it is written here");
    tokens.into_iter().map(|token| with_span(token, at)).collect()
}

fn with_span(mut token: TokenTree, at: Span) -> TokenTree {
    if let TokenTree::Group(group) = &token {
        let within = group.stream().into_iter().map(|token| with_span(token, at));
        token = Group::new(group.delimiter(), within.collect()).into();
    }
    token.set_span(Span::call_site().located_at(at));
    token
}
