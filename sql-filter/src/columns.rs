//! Which columns an expression reads, each under the slot by which evaluation asks for it.

use std::collections::HashMap;
use std::ops::Range;

/// A column an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The dotted path as written, without the quotes of a quoted name.
    pub name: String,
    /// Where it first stands, in bytes of the expression.
    pub span: Range<usize>,
}

/// The columns met so far, in order of first appearance.
#[derive(Default)]
pub(crate) struct Columns {
    list: Vec<Column>,
    slots: HashMap<String, usize>,
}

impl Columns {
    /// The slot of `name`: the one it has, or the next.
    pub(crate) fn slot(&mut self, name: &str, span: Range<usize>) -> usize {
        if let Some(&slot) = self.slots.get(name) {
            return slot;
        }
        let slot = self.list.len();
        self.list.push(Column { name: name.to_owned(), span });
        self.slots.insert(name.to_owned(), slot);
        slot
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Forgets all but the first.
    pub(crate) fn truncate(&mut self, len: usize) {
        for column in self.list.drain(len..) {
            self.slots.remove(&column.name);
        }
    }

    pub(crate) fn into_list(self) -> Vec<Column> {
        self.list
    }
}
