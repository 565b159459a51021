//! Keeps the orders whose note holds one of some words.

use millrace_wasm_guest::{Json, Params, Record, Result, filter, init};

/// The words that are looked for.
pub struct Words(Vec<String>);

#[init(params = r#"{"required": ["words"], "properties": {"words": {"type": "array"}}}"#)]
fn init(params: Params<'_>) -> Result<Words> {
    let words = params.texts("words")?;
    if words.is_empty() {
        return Err("`words` names no word to look for".to_owned());
    }
    Ok(Words(words))
}

/// Keeps JSON bodies of which the text `note` holds one of the words.
#[filter]
fn keep(words: &Words, record: &Record<'_>) -> Result<bool> {
    let body = Json::parse(record.body)?;
    let note = body.get("note").and_then(|note| note.text());
    Ok(note.is_some_and(|note| words.0.iter().any(|word| note.contains(word.as_str()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_the_note_keeps_an_order() {
        let params = Params::parse(r#"{"words": ["urgent"]}"#).unwrap();
        let words = init(params).unwrap();
        let keep =
            |body: &str| keep(&words, &Record { body: body.as_bytes(), ..Record::default() });
        assert_eq!(keep(r#"{"note": "urgent, please"}"#), Ok(true));
        assert_eq!(keep(r#"{"note": "whenever"}"#), Ok(false));
        assert_eq!(keep("{}"), Ok(false));
        assert!(keep("{").is_err());
    }
}
