use std::path::PathBuf;

use millrace_connect_api::decode::DecodeSpec;
use serde_json::{Map, Value as Json};

use crate::code;
use crate::keys;
use crate::model::{
    Expected, ExpectedLetter, ExpectedLetters, ExpectedRows, Given, GivenMessage, TestCase,
};
use crate::parse;
use crate::read::{Entry, Fields, Reader};
use crate::suggest::nearest;
use crate::table::{Kind, list_or};
use crate::yaml::{Key, Value};

/// What a test can be about.
pub(super) struct Subject<'a> {
    pub(super) has_source: bool,
    pub(super) decode: Option<&'a DecodeSpec>,
    /// The names of the sinks; `None` if they are not known.
    pub(super) sinks: Option<Vec<&'a str>>,
}

/// The tests, in the order of the file.
pub(super) fn test_cases(
    reader: &mut Reader<'_>,
    entry: &Entry<'_>,
    subject: &Subject<'_>,
) -> Vec<TestCase> {
    let mut cases: Vec<TestCase> = Vec::new();
    for item in reader.items(entry).unwrap_or_default() {
        let Some(fields) = reader.table(&item) else { continue };
        let case = test_case(reader, &fields, subject);
        if let (Some(case), Some(name)) = (&case, fields.get("name"))
            && cases.iter().any(|other| other.name == case.name)
        {
            let message = format!("another test is called {:?}", case.name);
            reader.error(code::NAME_TAKEN, &name.node.span, message, "choose another name");
        }
        cases.extend(case);
    }
    cases
}

fn test_case(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    subject: &Subject<'_>,
) -> Option<TestCase> {
    let name = reader.value(fields, "name", parse::text);
    let mut given = Vec::new();
    if let Some(entry) = fields.get("given") {
        for item in reader.items(entry).unwrap_or_default() {
            given.extend(reader.table(&item).and_then(|fields| message(reader, &fields, subject)));
        }
    }
    let mut expect = Vec::new();
    if let Some(entry) = fields.get("expect") {
        for (key, value) in reader.map(entry).unwrap_or_default() {
            known_part(reader, key, subject);
            expect.extend(reader.table(&value).and_then(|fields| expected(reader, key, &fields)));
        }
    }
    Some(TestCase { name: name?, given, expect })
}

fn message(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    subject: &Subject<'_>,
) -> Option<GivenMessage> {
    for name in ["key", "tag", "props"] {
        if let Some(entry) = fields.get(name)
            && subject.has_source
        {
            let message = format!("with a source, `topic` says what the {name} of a message is");
            let help = format!("delete `{name}`, or leave `source` out of the pipeline");
            reader.error(code::KEY_CONFLICT, &entry.at.span, message, help);
        }
    }
    let key = fields.get("key").map(|entry| reader.scalar(entry, parse::text));
    let tag = fields.get("tag").map(|entry| reader.scalar(entry, parse::text));
    let mut properties = Vec::new();
    if let Some(entry) = fields.get("props") {
        for (name, value) in reader.map(entry).unwrap_or_default() {
            let value = reader.scalar(&value, parse::text);
            properties.extend(value.map(|value| (name.text.clone(), value)));
        }
    }
    let chosen = fields.component.as_ref()?;
    let given = match chosen.name {
        "body" => {
            if let Some(decode) = subject.decode
                && !matches!(decode, DecodeSpec::Json)
            {
                let message = "the bodies of this pipeline are not JSON";
                reader.error(code::KEY_CONFLICT, &chosen.entry.at.span, message, "use `raw`");
            }
            Given::Body(reader.json(&chosen.entry)?)
        }
        "raw" => Given::Raw(raw(reader, &chosen.entry)?),
        _ => Given::File(PathBuf::from(reader.scalar(&chosen.entry, parse::text)?)),
    };
    Some(GivenMessage { given, key: key.flatten(), tag: tag.flatten(), properties })
}

fn raw(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<String> {
    let text = reader.scalar(entry, parse::text)?;
    if text.contains('\n') {
        let message = "a message is one line here";
        reader.error(code::RANGE, &entry.node.span, message, "give several, one item each");
    }
    Some(text)
}

fn known_part(reader: &mut Reader<'_>, key: &Key, subject: &Subject<'_>) {
    let Some(sinks) = &subject.sinks else { return };
    let mut known = sinks.clone();
    if subject.has_source {
        known.push("source");
    }
    if !known.contains(&&*key.text) {
        let help = match nearest(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", list_or(&known)),
        };
        let message = format!("this pipeline has no sink `{}`", key.text);
        reader.error(code::KEY_UNKNOWN, &key.span, message, help);
    }
}

fn expected(reader: &mut Reader<'_>, key: &Key, fields: &Fields<'_>) -> Option<Expected> {
    if key.text == "source" {
        for name in ["rows", "files", "requests", "filtered"] {
            if let Some(entry) = fields.get(name) {
                let message = format!("a source has no `{name}`, only `dlq`");
                reader.error(code::KEY_CONFLICT, &entry.at.span, message, "delete it");
            }
        }
    }
    let mut count_or_rows = |name| {
        fields.get(name).map(|entry| match either(entry) {
            Either::Count(entry) => count(reader, &entry).map(ExpectedRows::Count),
            Either::List(entry) => rows(reader, &entry).map(ExpectedRows::These),
        })
    };
    let (rows, requests) = (count_or_rows("rows"), count_or_rows("requests"));
    let files = fields.get("files").map(|entry| {
        let items = reader.items(entry)?;
        let texts = items.iter().map(|item| reader.scalar(item, parse::text));
        texts.collect::<Vec<_>>().into_iter().collect::<Option<Vec<_>>>()
    });
    let filtered = fields.get("filtered").map(|entry| count(reader, entry));
    let letters = fields.get("dlq").map(|entry| match either(entry) {
        Either::Count(entry) => count(reader, &entry).map(ExpectedLetters::Count),
        Either::List(entry) => letters(reader, &entry).map(ExpectedLetters::These),
    });
    Some(Expected {
        part: key.text.clone(),
        rows: whole(rows)?,
        files: whole(files)?,
        requests: whole(requests)?,
        filtered: whole(filtered)?,
        letters: whole(letters)?,
    })
}

/// What was not given is nothing; what was given wrong is no answer.
fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(value) => value.map(Some),
        None => Some(None),
    }
}

enum Either<'n> {
    Count(Entry<'n>),
    List(Entry<'n>),
}

/// A number of things, or the things.
fn either<'n>(entry: &Entry<'n>) -> Either<'n> {
    let of = |kind| Entry { kind, ..entry.clone() };
    match (entry.kind, &entry.node.value) {
        (Kind::Either(_, long), Value::Seq(_)) => Either::List(of(long)),
        (Kind::Either(short, _), Value::Scalar(_)) => Either::Count(of(short)),
        _ => Either::Count(entry.clone()),
    }
}

fn count(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<u64> {
    reader.scalar(entry, parse::int).and_then(|count| u64::try_from(count).ok())
}

fn rows(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Vec<Map<String, Json>>> {
    let mut rows = Vec::new();
    for item in reader.items(entry)? {
        if !matches!(item.node.value, Value::Map(_)) {
            return reader.wrong_type(&A_ROW, &item.at, item.node);
        }
        let Json::Object(row) = reader.json(&item)? else { return None };
        rows.push(row);
    }
    Some(rows)
}

/// For messages.
static A_ROW: Kind = Kind::Map("column", &Kind::Json);

fn letters(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Vec<ExpectedLetter>> {
    let mut letters = Vec::new();
    for item in reader.items(entry)? {
        let fields = reader.fields(&keys::EXPECTED_LETTER, &item.at, item.node)?;
        let mut text = |name| fields.get(name).map(|entry| reader.scalar(entry, parse::text));
        let (code, field) = (text("code"), text("field"));
        let (error, body) = (text("error"), text("body"));
        let index = fields.get("index").map(|entry| count(reader, entry));
        letters.push(ExpectedLetter {
            code: whole(code)?,
            field: whole(field)?,
            index: whole(index)?,
            error: whole(error)?,
            body: whole(body)?,
        });
    }
    Some(letters)
}
