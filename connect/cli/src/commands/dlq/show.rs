use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use millrace_client::{Broker, decompress};
use millrace_runtime::dlq::{self, Fate, Letter, Whose};
use millrace_runtime::{FILE_LINE, FILE_PATH};
use serde_json::{Map, Value, json};

use super::{Which, letters, no_letters, told};
use crate::exit::{Exit, Failure};
use crate::moments::moment;
use crate::output::{Answer, try_print};
use crate::plain;
use crate::salvage::put_body;

pub(super) async fn show(
    broker: &Arc<dyn Broker>,
    whose: &Whose,
    which: &Which,
    json: bool,
) -> Result<Answer, Failure> {
    let mut shown = 0;
    let mut is_read = true;
    let exist = dlq::read(broker, whose, &mut |letter| {
        let is_meant = which.condition.as_ref().is_none_or(|condition| condition.holds(&letter));
        if !is_read || !is_meant || which.limit.is_some_and(|limit| shown >= limit) {
            return;
        }
        let text = if json { format!("{}\n", line(whose, &letter)) } else { page(whose, &letter) };
        is_read = try_print(text.as_bytes()).is_ok();
        shown += 1;
    })
    .await?;
    if !exist {
        return Err(no_letters(whose));
    }
    let summary = format!("{} of {}", letters(shown), told(whose));
    let result = json!({ "pipeline": whose.pipeline, "sink": whose.sink, "letters": shown });
    let text = if shown == 0 { format!("{summary}\n") } else { String::new() };
    Ok(Answer { exit: Exit::Done, summary, text, result })
}

/// What letters say about themselves, by property and by what it is called here.
const SAID: [(&str, &str); 9] = [
    ("dlq_code", "code"),
    ("dlq_error", "error"),
    ("dlq_step", "step"),
    ("dlq_field", "field"),
    ("dlq_attempts", "attempts"),
    ("dlq_queue", "queue"),
    ("dlq_offset", "offset"),
    ("dlq_index", "index"),
    ("dlq_first_at", "first_at"),
];
/// Properties of messages do not begin like this.
const OURS: &str = "dlq_";

/// For a program.
fn line(whose: &Whose, letter: &Letter<'_>) -> Value {
    let mut line = json!({
        "pipeline": whose.pipeline,
        "sink": whose.sink,
        "letter": letter.at.0,
        "state": state(letter.fate),
        "stored_at_ms": letter.stored_at_ms,
    });
    for (property, name) in SAID {
        let said = letter.properties.get(property);
        let number = said.and_then(|said| said.parse::<u64>().ok());
        line[name] = match (name, number) {
            ("attempts" | "queue" | "offset" | "index", Some(number)) => json!(number),
            _ => json!(said),
        };
    }
    let properties: Map<String, Value> =
        of_message(letter).map(|(name, value)| (name.to_owned(), json!(value))).collect();
    line["properties"] = json!(properties);
    put_body(&mut line, &body(letter));
    line
}

/// For a person. The body comes last.
fn page(whose: &Whose, letter: &Letter<'_>) -> String {
    let state = state(letter.fate);
    let mut page = format!("letter      {} {}, {state}\n", told(whose), letter.at);
    for (property, name) in SAID {
        if let Some(said) = letter.properties.get(property) {
            let _ = writeln!(page, "{name:<12}{}", plain::line(said));
        }
    }
    if let Some((path, line)) = origin(letter) {
        let _ = writeln!(page, "{:<12}{}:{line}", "origin", plain::line(path));
    }
    let _ = writeln!(page, "{:<12}{}", "stored", moment(letter.stored_at_ms));
    for (name, value) in of_message(letter) {
        let (name, value) = (plain::line(name), plain::line(value));
        let _ = writeln!(page, "{:<12}{name} = {value}", "property");
    }
    let body = body(letter);
    match readable(&body) {
        Some(text) => page += &format!("body        {text}\n\n"),
        None => page += &format!("body (hex)  {}\n\n", hex(&body)),
    }
    page
}

/// The body as the pipeline reads it; as it is stored if it cannot be decompressed.
fn body<'a>(letter: &Letter<'a>) -> Cow<'a, [u8]> {
    let flags = letter.properties.get("dlq_flags").and_then(|flags| flags.parse().ok());
    decompress(letter.body, flags.unwrap_or(0)).unwrap_or(Cow::Borrowed(letter.body))
}

/// The file that a letter comes from, and the line, counted as editors do.
fn origin<'a>(letter: &Letter<'a>) -> Option<(&'a str, u64)> {
    let before: u64 = letter.properties.get(FILE_LINE)?.parse().ok()?;
    Some((letter.properties.get(FILE_PATH)?, before.checked_add(1)?))
}

fn state(fate: Fate) -> &'static str {
    match fate {
        Fate::Open => "open",
        Fate::Unsettled => "unsettled",
        Fate::Replayed => "replayed",
        Fate::Dropped => "dropped",
    }
}

fn of_message<'a>(letter: &Letter<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    letter.properties.iter().filter(|(name, _)| !name.starts_with(OURS))
}

/// Bytes as text, unless a terminal would take them for something else.
fn readable(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| plain::is_lines(text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use millrace_types::{Properties, PropertiesBuf, QueueOffset};

    use super::*;

    #[test]
    fn a_letter_is_told_with_its_bytes() {
        let mut properties = PropertiesBuf::new();
        for (name, value) in [
            ("region", "eu"),
            ("file.path", "a.log"),
            ("file.line", "6"),
            ("dlq_code", "E-DECODE-01"),
            ("dlq_queue", "3"),
            ("dlq_offset", "7"),
            ("dlq_error", "no JSON"),
        ] {
            properties.push(name, value);
        }
        let whose = Whose { pipeline: "orders".to_owned(), sink: "lake".to_owned() };
        let letter = |body| Letter {
            at: QueueOffset(2),
            fate: Fate::Open,
            stored_at_ms: 1_700_000_000_000,
            body,
            properties: Properties::new(properties.as_bytes()),
        };
        let begin = "letter      orders/lake 2, open\ncode        E-DECODE-01\nerror       no JSON\n\
                     queue       3\noffset      7\norigin      a.log:7\n\
                     stored      2023-11-14T22:13:20Z\nproperty    region = eu\n\
                     property    file.path = a.log\nproperty    file.line = 6\n";
        assert_eq!(page(&whose, &letter(b"{\"n\":")), format!("{begin}body        {{\"n\":\n\n"));
        assert_eq!(page(&whose, &letter(b"\x1b[2J")), format!("{begin}body (hex)  1b5b324a\n\n"));
        // What says that it is compressed with LZ4, and is, or is not.
        let frame = b"\x04\x22\x4d\x18\x60\x40\x82\x02\0\0\x80{}\0\0\0\0";
        let mut properties = properties.clone();
        properties.push("dlq_flags", "257");
        for (bytes, shown) in [(&frame[..], "body        {}"), (b"\xff", "body (hex)  ff")] {
            let properties = Properties::new(properties.as_bytes());
            let page = page(&whose, &Letter { properties, ..letter(bytes) });
            assert_eq!(page, format!("{begin}{shown}\n\n"));
        }
        let line = line(&whose, &letter(b"\xff"));
        assert_eq!((&line["offset"], &line["field"]), (&json!(7), &Value::Null));
        assert_eq!(
            (&line["properties"], &line["body_base64"]),
            (&json!({"region": "eu", "file.path": "a.log", "file.line": "6"}), &json!("/w=="))
        );
    }
}
