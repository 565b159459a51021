//! How long and how deep an expression may be, so that no text can exhaust memory or the stack.

use std::ops::Range;

use crate::SyntaxError;
use crate::error::code;

/// The longest expression, in bytes.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// The most tokens in one expression.
pub const TOKENS_MAX: usize = 4096;

/// How deep parentheses, functions, `NOT` and signs may nest. It bounds the parser's recursion.
pub const NESTING_MAX: usize = 128;

/// How high the parsed tree may grow. It bounds the recursion of evaluation, which a long chain
/// of left-associative operators such as `a + a + a` would otherwise drive as deep as it is long.
/// Chains of `AND` and `OR` do not count: each is one level.
pub const DEPTH_MAX: usize = 256;

const SHORTEN: &str = "shorten it, or divide it over several filters";

pub(crate) fn check_length(text: &str) -> Result<(), SyntaxError> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the expression has {} bytes, the limit is {TEXT_BYTES_MAX}", text.len());
    let mut end = TEXT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Err(SyntaxError::new(code::LIMIT, end..text.len(), message, SHORTEN))
}

pub(crate) fn too_many_tokens(span: Range<usize>) -> SyntaxError {
    let message = format!("the expression has more than {TOKENS_MAX} words and signs");
    SyntaxError::new(code::LIMIT, span, message, SHORTEN)
}

pub(crate) fn too_deep(span: Range<usize>) -> SyntaxError {
    let message = "the expression is nested too deeply".to_owned();
    let help = format!("at most {NESTING_MAX} levels of parentheses and {DEPTH_MAX} of operators");
    SyntaxError::new(code::LIMIT, span, message, help)
}
