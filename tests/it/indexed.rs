//! What an index has, for those who count it.

use millrace_sink_index::{Asked, Hit, Search, Value};

/// The documents of an index, of which none may be in two parts.
pub(crate) fn hits(search: &Search) -> Result<Vec<Hit>, String> {
    let (shown, written) = (search.documents(), search.library().documents());
    if shown != written {
        return Err(format!("{written} documents are in parts, and {shown} of them count"));
    }
    let asked = Asked {
        query: "*".to_owned(),
        from: None,
        to: None,
        limit: usize::MAX,
        sort: None,
        count_by: None,
    };
    Ok(search.ask(&asked).map_err(|error| error.to_string())?.hits)
}

/// The number in a field of a document.
pub(crate) fn number(hit: &Hit, name: &str) -> Option<u64> {
    match hit.fields.iter().find(|field| field.name == name)?.value {
        Value::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}
