use saphyr_parser::ScalarStyle;
use serde_json::{Number, Value as Json};

use super::{At, Entry, Reader};
use crate::table::Kind;
use crate::yaml::{Node, Value};

impl Reader<'_> {
    /// A value as JSON has it. What is in quotes is a text, and so is what reads as nothing else.
    pub(crate) fn json(&mut self, entry: &Entry<'_>) -> Option<Json> {
        match &entry.node.value {
            _ if entry.node.is_nothing() => Some(Json::Null),
            Value::Scalar(scalar) => {
                let text = self.text(entry)?;
                Some(match scalar.style {
                    ScalarStyle::Plain => plain(text),
                    _ => Json::String(text),
                })
            }
            Value::Seq(items) => {
                let items: Vec<_> = items
                    .iter()
                    .map(|node| self.inner_json(entry.at.item_of(node), node))
                    .collect();
                items.into_iter().collect::<Option<Vec<_>>>().map(Json::Array)
            }
            Value::Alias => None,
            Value::Map(map) => {
                let fields: Vec<_> = map
                    .iter()
                    .map(|(key, node)| {
                        Some((key.text.clone(), self.inner_json(At::key(key), node)?))
                    })
                    .collect();
                fields.into_iter().collect::<Option<_>>().map(Json::Object)
            }
        }
    }

    fn inner_json(&mut self, at: At, node: &Node) -> Option<Json> {
        self.json(&Entry { kind: &Kind::Json, at, node })
    }
}

/// A text without quotes: a number, `true`, `false`, or just that.
fn plain(text: String) -> Json {
    match text.as_str() {
        "true" => Json::Bool(true),
        "false" => Json::Bool(false),
        _ => match serde_json::from_str::<Number>(&text) {
            Ok(number) => Json::Number(number),
            Err(_) => Json::String(text),
        },
    }
}
