use millrace_connect_api::{Column, DataType};

use super::super::columns::{Available, columns};
use super::super::names::Scope;
use crate::code;
use crate::env::Piece;
use crate::keys;
use crate::model::{
    HttpAnswer, HttpBatch, HttpBody, HttpSpec, Template, TemplatePiece as TemplateItem,
};
use crate::parse;
use crate::read::{Chosen, Entry, Fields, Reader};
use crate::text::Span;
use crate::yaml::Key;

/// The `http` sink.
pub(super) fn http(
    reader: &mut Reader<'_>,
    chosen: &Chosen<'_>,
    fields: &Fields<'_>,
    scope: &Scope,
) -> Option<HttpSpec> {
    let available = Available::of(scope);
    let url = fields.get("url").and_then(|entry| url(reader, entry, &available));
    let headers = match fields.get("headers") {
        Some(entry) => headers(reader, entry, &available),
        None => Some(Vec::new()),
    };
    let method = reader.value(fields, "method", parse::choice);
    let body = reader.value(fields, "body", parse::choice).map(|choice| {
        [HttpBody::Single, HttpBody::Ndjson, HttpBody::JsonArray, HttpBody::Raw][choice]
    });
    let columns = body_columns(reader, chosen, fields, body, scope, &available);
    let batch = batch(reader, fields, body);
    let answer = reader.value(fields, "answer", parse::choice);
    let in_flight = reader.value(fields, "in_flight", parse::int);
    let timeout = reader.value(fields, "timeout", parse::duration);
    let max_response = reader.value(fields, "max_response", parse::size);
    let ca = match fields.get("tls") {
        Some(entry) => {
            let tls = reader.table(entry)?;
            Some(reader.value(&tls, "ca", parse::text)?.into())
        }
        None => None,
    };
    Some(HttpSpec {
        url: url?,
        method: keys::METHODS[method?],
        headers: headers?,
        body: body?,
        columns: columns?,
        batch: batch?,
        answer: [HttpAnswer::Status, HttpAnswer::Items][answer?],
        in_flight: usize::try_from(in_flight?).ok()?,
        timeout: timeout?,
        max_response: usize::try_from(max_response?).ok()?,
        ca,
    })
}

fn body_columns(
    reader: &mut Reader<'_>,
    chosen: &Chosen<'_>,
    fields: &Fields<'_>,
    body: Option<HttpBody>,
    scope: &Scope,
    available: &Available,
) -> Option<Vec<Column>> {
    match (fields.get("columns"), body) {
        (Some(entry), Some(HttpBody::Raw)) => {
            let message = "the bytes of a message have no columns";
            let help = "delete `columns`, or write `body: single`";
            reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
            None
        }
        (None, Some(HttpBody::Raw)) => Some(Vec::new()),
        (Some(entry), _) => {
            let listed = columns(reader, entry, available);
            if listed.whole && listed.columns.is_empty() {
                let help = super::ALL_COLUMNS;
                reader.error(code::RANGE, &entry.node.span, "a row needs a column", help);
            }
            Some(listed.columns)
        }
        // It may have to be `raw`.
        (None, None) => None,
        (None, Some(_)) => {
            super::some_column(reader, chosen, fields, scope);
            Some(available.all())
        }
    }
}

fn batch(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    body: Option<HttpBody>,
) -> Option<HttpBatch> {
    if let (Some(entry), Some(HttpBody::Single | HttpBody::Raw)) = (fields.get("batch"), body) {
        let message = "a request has one message here, so there is no batch";
        let help = "delete `batch`, or write `body: ndjson`";
        reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
    }
    let own = reader.nested(fields, "batch")?;
    let rows = reader.value(&own, "rows", parse::int);
    let bytes = reader.value(&own, "bytes", parse::size);
    let every = reader.value(&own, "every", parse::duration);
    Some(HttpBatch {
        rows: usize::try_from(rows?).ok()?,
        bytes: usize::try_from(bytes?).ok()?,
        every: every?,
    })
}

const URL_HELP: &str = "for example `url: \"https://shop.example/orders/{id}\"`";

/// Whatever is wrong with it, the message does not show it: it may have a secret in it.
fn url(reader: &mut Reader<'_>, entry: &Entry<'_>, available: &Available) -> Option<Template> {
    let template = template(reader, entry, available)?;
    let mut refuse = |message: &str, help: &str| {
        reader.error(code::PATH, &entry.node.span, message, help);
        None
    };
    let texts = || {
        template.0.iter().filter_map(|piece| match piece {
            TemplateItem::Text(text) => Some(text.as_str()),
            TemplateItem::Column(_) => None,
        })
    };
    let illegal = |char: char| char.is_whitespace() || char.is_control() || !char.is_ascii();
    if texts().any(|text| text.contains(illegal)) {
        return refuse(
            "`url` has characters that no URL has",
            "write them percent-encoded: a blank is `%20`",
        );
    }
    if texts().any(|text| text.contains('#')) {
        return refuse("`url` has a fragment (`#`), which no server sees", "delete it");
    }
    let begin = texts().next().unwrap_or_default();
    let Some(rest) = begin.strip_prefix("https://").or(begin.strip_prefix("http://")) else {
        return refuse("`url` does not begin with `http://` or `https://`", URL_HELP);
    };
    let (host, is_whole) = match rest.find(['/', '?']) {
        Some(end) => (&rest[..end], true),
        None => (rest, template.0.len() == 1),
    };
    if !is_whole {
        return refuse(
            "the host of `url` has a column in it: a message cannot say which server it goes to",
            "put `/` behind the host, and columns behind that",
        );
    }
    if host.contains('@') {
        return refuse(
            "`url` has a user or a password in it",
            "send a header: `headers: {authorization: \"Bearer ${env:TOKEN}\"}`",
        );
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let legal = |char: char| char.is_ascii_alphanumeric() || "-._[]:%".contains(char);
    if name.is_empty() || !name.chars().all(legal) {
        return refuse("`url` names no host", URL_HELP);
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return refuse("the port of `url` is not a number up to 65535", URL_HELP);
    }
    Some(template)
}

/// Headers that are the business of requests themselves.
const OWN_HEADERS: [&str; 6] =
    ["connection", "content-length", "host", "idempotency-key", "te", "transfer-encoding"];

fn headers(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    available: &Available,
) -> Option<Vec<(String, Template)>> {
    let map = reader.map(entry)?;
    let mut headers: Vec<(String, Template)> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for (key, value) in &map {
        let name = header_name(reader, key, &known);
        known.extend(name.clone());
        let template = template(reader, value, available);
        let has_control = |template: &Template| {
            let is_control = |piece: &TemplateItem| match piece {
                TemplateItem::Text(text) => text.contains(char::is_control),
                TemplateItem::Column(_) => false,
            };
            template.0.iter().any(is_control)
        };
        if template.as_ref().is_some_and(has_control) {
            let message = format!("the header `{}` has a line break or the like in it", key.text);
            reader.error(code::RANGE, &value.node.span, message, "a header is one line");
            continue;
        }
        headers.extend(name.zip(template));
    }
    (headers.len() == map.len()).then_some(headers)
}

fn header_name(reader: &mut Reader<'_>, key: &Key, known: &[String]) -> Option<String> {
    let name = key.text.to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(legal) {
        let message = format!("`{}` cannot be the name of a header", key.text);
        let help = "letters, digits and `-`, for example `x-region`";
        reader.error(code::NAME_SHAPE, &key.span, message, help);
        return None;
    }
    if OWN_HEADERS.contains(&name.as_str()) {
        let message = format!("the header `{name}` is set by each request itself");
        reader.error(code::NAME_TAKEN, &key.span, message, "delete it");
        return None;
    }
    if known.contains(&name) {
        let message = format!("there is a header `{name}` already; upper case makes no other");
        reader.error(code::NAME_TAKEN, &key.span, message, "delete one of the two");
        return None;
    }
    Some(name)
}

/// A text with `{column}` in it. Only what the file says is looked at: what comes from the
/// environment is text, whatever it has in it.
fn template(reader: &mut Reader<'_>, entry: &Entry<'_>, available: &Available) -> Option<Template> {
    let mut pieces: Vec<TemplateItem> = Vec::new();
    let mut refused: Vec<(Span, char)> = Vec::new();
    let mut unknown: Vec<(Span, String)> = Vec::new();
    let mut each = |piece: Piece<'_>| match piece {
        Piece::Value(_, value) => add_text(&mut pieces, value),
        Piece::Written(at, text) => {
            let mut from = 0;
            while let Some(found) = text[from..].find(['{', '}']) {
                let start = from + found;
                add_text(&mut pieces, &text[from..start]);
                let brace = if text[start..].starts_with('{') { '{' } else { '}' };
                if text[start + 1..].starts_with(brace) {
                    add_text(&mut pieces, &text[start..=start]);
                    from = start + 2;
                    continue;
                }
                let end = text[start..].find('}').map(|end| start + end);
                let Some(end) = end.filter(|_| brace == '{') else {
                    refused.push((at + start..at + start + 1, brace));
                    from = start + 1;
                    continue;
                };
                let name = &text[start + 1..end];
                match available.find(name) {
                    Some((name, data_type)) => {
                        let data_type = data_type.unwrap_or(DataType::String);
                        let column = Column { name: name.clone(), data_type };
                        pieces.push(TemplateItem::Column(column));
                    }
                    None if available.open => {}
                    None => unknown.push((at + start + 1..at + end, name.to_owned())),
                }
                from = end + 1;
            }
            add_text(&mut pieces, &text[from..]);
        }
    };
    reader.pieces(entry, &mut each)?;
    let is_whole = refused.is_empty() && unknown.is_empty();
    for (part, brace) in refused {
        let message = format!("this `{brace}` stands alone");
        let span = entry.node.span_of(reader.source, &part);
        let help = format!("write `{brace}{brace}` for the character, or `{{column}}` for a value");
        reader.error(code::TEMPLATE, &span, message, help);
    }
    for (part, name) in unknown {
        let span = entry.node.span_of(reader.source, &part);
        available.refuse(reader, &name, &span);
    }
    is_whole.then_some(Template(pieces))
}

fn add_text(pieces: &mut Vec<TemplateItem>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(TemplateItem::Text(before)) => before.push_str(text),
        _ => pieces.push(TemplateItem::Text(text.to_owned())),
    }
}
