//! What a file says, in 64 bits.

use saphyr_parser::ScalarStyle;

use crate::env::{Env, interpolate};
use crate::yaml::{Node, Value};

/// Raised when a default or the meaning of a key changes, so that a file that stays the same gets
/// another fingerprint.
const MEANING: u64 = 1;

/// The fingerprint of a file that has no mistakes: of its keys and values in their order, after
/// interpolation. Where the records come from, what may be used and what is tested makes no
/// difference to the files written, and how a value is quoted makes none to its meaning.
pub(crate) fn of(root: &Node, env: Env<'_>) -> u64 {
    let mut hash = Fnv::new();
    hash.number(MEANING);
    hash_map(root, &mut hash, env, |key| !matches!(key, "source" | "limits" | "tests"));
    if let Some(decode) = get(root, "source").and_then(first).and_then(|c| get(c, "decode")) {
        hash_node(decode, &mut hash, env);
    }
    hash.0
}

fn hash_map(node: &Node, hash: &mut Fnv, env: Env<'_>, counts: impl Fn(&str) -> bool) {
    let Value::Map(map) = &node.value else { return };
    let counted = |key: &str| counts(key) && !key.starts_with("x-");
    hash.number(map.iter().filter(|(key, _)| counted(&key.text)).count() as u64);
    for (key, value) in map.iter().filter(|(key, _)| counted(&key.text)) {
        hash.text(&key.text);
        hash_node(value, hash, env);
    }
}

fn hash_node(node: &Node, hash: &mut Fnv, env: Env<'_>) {
    match &node.value {
        Value::Scalar(scalar) => {
            hash.text("=");
            let text = interpolate(&scalar.text, env).unwrap_or_else(|_| scalar.text.clone());
            let block = matches!(scalar.style, ScalarStyle::Literal | ScalarStyle::Folded);
            hash.text(if block { text.trim_end() } else { &text });
        }
        Value::Seq(items) => {
            hash.text("[");
            hash.number(items.len() as u64);
            items.iter().for_each(|item| hash_node(item, hash, env));
        }
        Value::Map(_) => {
            hash.text("{");
            hash_map(node, hash, env, |_| true);
        }
        Value::Alias => {}
    }
}

fn get<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(map) = &node.value else {
        return None;
    };
    map.iter().find(|(key, _)| key.text == name).map(|(_, value)| value)
}

/// The component that a map chooses.
fn first(node: &Node) -> Option<&Node> {
    let Value::Map(map) = &node.value else {
        return None;
    };
    map.iter().find(|(key, _)| !key.text.starts_with("x-")).map(|(_, value)| value)
}

/// FNV-1a: stable across versions, machines and compilers, which the standard hasher is not.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
