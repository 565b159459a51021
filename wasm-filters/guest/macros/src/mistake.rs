use proc_macro::{Span, TokenStream};

/// What is wrong with a function or its attribute, and where.
pub(crate) struct Mistake {
    at: Span,
    what: String,
}

impl Mistake {
    pub(crate) fn new(at: Span, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }

    /// An error of the compiler.
    pub(crate) fn shown(self, form: &str) -> TokenStream {
        let text = format!("{}\nhelp: `{form}`", self.what);
        crate::code(&format!("::core::compile_error! {{ {text:?} }}"), self.at)
    }
}
