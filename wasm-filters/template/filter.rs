//! Keeps the orders whose note holds one of some words.

use millrace_wasm_guest::{Filter, Json, Params, Record};

/// Keeps JSON bodies of which the text `note` holds one of these words.
pub struct KeepWords {
    words: Vec<String>,
}

impl Filter for KeepWords {
    fn new(params: &Params<'_>) -> Result<Self, String> {
        let words = params.texts("words")?;
        if words.is_empty() {
            return Err("`words` names no word to look for".to_owned());
        }
        Ok(Self { words })
    }

    fn keep(&mut self, record: &Record<'_>) -> Result<bool, String> {
        let body = Json::parse(record.body)?;
        let note = body.get("note").and_then(|note| note.text());
        Ok(note.is_some_and(|note| self.words.iter().any(|word| note.contains(word.as_str()))))
    }
}

millrace_wasm_guest::filter! {
    KeepWords,
    name: "keep-words",
    version: "0.1.0",
    params: r#"{"required": ["words"], "properties": {"words": {"type": "array"}}}"#,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_the_note_keeps_an_order() {
        let params = Params::parse(r#"{"words": ["urgent"]}"#).unwrap();
        let mut filter = KeepWords::new(&params).unwrap();
        let mut keep = |body: &str| {
            filter.keep(&Record { body: body.as_bytes(), ..Record::default() })
        };
        assert_eq!(keep(r#"{"note": "urgent, please"}"#), Ok(true));
        assert_eq!(keep(r#"{"note": "whenever"}"#), Ok(false));
        assert_eq!(keep("{}"), Ok(false));
        assert!(keep("{").is_err());
    }
}
