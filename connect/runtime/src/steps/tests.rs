use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use millrace_config::{Pipeline, StepSpec};
use millrace_connect_api::{Messages, QueueRef};
use millrace_types::record::{Draft, Stamp, encode};
use millrace_types::{PhysicalOffset, PropertiesBuf, QueueId, QueueOffset, TopicName};

use super::*;
use crate::{FilterFault, Filters};

mod measured; // what modules cost in a chain
pub(crate) mod modules; // steps in WebAssembly
mod pieces; // steps that make several rows of a message

/// Messages of queue 2 from offset 10 on: bodies, and properties as `name=value` by blanks.
fn messages(rows: &[(&str, &str)]) -> Arc<Messages> {
    let topic = TopicName::parse("t").unwrap();
    let host = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 10911));
    let mut run = Vec::new();
    for (number, (body, properties)) in rows.iter().enumerate() {
        let mut encoded = PropertiesBuf::new();
        for pair in properties.split_whitespace() {
            let (name, value) = pair.split_once('=').unwrap();
            encoded.push(name, value);
        }
        let draft = Draft {
            topic: topic.as_str(),
            queue_id: QueueId(2),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 1_000,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: body.as_bytes(),
            properties: encoded.as_bytes(),
        };
        let stamp = Stamp {
            queue_offset: QueueOffset(10 + number as u64),
            physical_offset: PhysicalOffset(255),
            store_at_ms: 2_000,
            store_host: host,
            more: false,
        };
        encode(&draft, &stamp, &mut run);
    }
    let queue = QueueRef { broker: "b".into(), topic, queue: QueueId(2) };
    let to = QueueOffset(10 + rows.len() as u64);
    Arc::new(Messages::parse(queue, QueueOffset(10), to, vec![Bytes::from(run)]).unwrap())
}

fn chain(steps: &str) -> Chain {
    try_chain(steps).unwrap()
}

fn try_chain(steps: &str) -> Result<Chain, String> {
    try_chain_to(steps, "[]")
}

/// One with steps of its sink alone.
fn try_chain_to(steps: &str, own: &str) -> Result<Chain, String> {
    // What the rows of a split have, their message has not.
    let p = if steps.contains("split:") { "1" } else { "body.a" };
    let text = format!(
        "version: 1\n\
         pipeline: p\n\
         topic: {{name: t, properties: {{p: {p}}}}}\n\
         schema: {{a: int, b: string, t: timestamp}}\n\
         steps: {steps}\n\
         sinks:\n  s:\n    where: tag IS NULL OR tag <> 'no'\n    \
         steps: {own}\n    \
         parquet: {{to: out, rotate: {{rows: 5}}}}\n"
    );
    let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
    let pipeline = Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")));
    let filters =
        Filters::load(&pipeline, &modules::disk()).map_err(|errors| errors[0].to_string())?;
    let chain = Chain::new(&pipeline, &pipeline.sinks[0], &filters, Passage::Run);
    chain.map_err(|error| error.to_string())
}

/// Rows left, rows refused as `row step code`, and what was filtered as `step reason rows`.
#[track_caller]
fn check(steps: &str, rows: &[(&str, &str)], left: &[usize], refused: &[&str], filtered: &[&str]) {
    let mut chain = chain(steps);
    let mut rejected = Vec::new();
    let batch = chain.apply(messages(rows), &mut rejected).unwrap();
    assert_eq!(batch.selection().iter().collect::<Vec<_>>(), left, "left by {steps}");
    let rejected: Vec<_> = rejected
        .iter()
        .map(|Rejected { row, at, step, reject }| {
            let index = at.index.map_or(String::new(), |index| format!("#{index}"));
            format!("{row}{index} {step} {}", reject.code)
        })
        .collect();
    assert_eq!(rejected, refused, "refused by {steps}");
    let counted = chain.filtered();
    let counted: Vec<_> = counted.iter().map(|(step, rows)| format!("{step} {rows}")).collect();
    assert_eq!(counted, filtered, "filtered by {steps}");
    let out = chain.filtered_rows() as usize;
    let made = chain.made() as usize;
    assert_eq!(left.len() + refused.len() + out, rows.len() + made, "every row is somewhere");
}

#[test]
fn a_column_has_its_value_under_its_new_name() {
    let mut chain =
        chain("[rename: {a: n, b: text}, set: {next: n + 1}, rename: {n: no}, drop: [t]]");
    let mut rejected = Vec::new();
    let rows = [(r#"{"a":1,"b":"x"}"#, ""), (r#"{"b":"y"}"#, "")];
    let batch = chain.apply(messages(&rows), &mut rejected).unwrap();
    assert_eq!(rejected.len(), 0);
    let ints =
        |name| batch.column(name).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>();
    assert_eq!((ints("no"), ints("next")), (vec![Some(1), None], vec![Some(2), None]));
    let text = batch.column("text").unwrap().as_string::<i32>();
    assert_eq!(text.iter().collect::<Vec<_>>(), [Some("x"), Some("y")]);
}

#[test]
fn a_name_of_the_body_can_be_given_to_another_column() {
    // The second body has no number, which nobody reads any more.
    let rows = [(r#"{"a":1,"b":"x"}"#, ""), (r#"{"a":"no int","b":"y"}"#, "")];
    let texts = |steps: &str, rows: &[(&str, &str)], name: &str| {
        let (mut chain, mut rejected) = (chain(steps), Vec::new());
        let batch = chain.apply(messages(rows), &mut rejected).unwrap();
        assert_eq!(rejected.len(), 0, "{steps}: {rejected:?}");
        let column = batch.column(name).unwrap().as_string::<i32>();
        column.iter().map(|text| text.unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("[drop: [a, t], set: {a: body.b}]", &rows, "a"), ["x", "y"]);
    let again = "[drop: [a, t], set: {a: body.b}, filter: \"a <> 'x'\", rename: {a: c, b: a}]";
    assert_eq!(texts(again, &rows, "a")[1], "y");
    let cast = "[drop: [a, t], set: {a: queue}, cast: {a: string}]";
    assert_eq!(texts(cast, &rows, "a"), ["2", "2"]);
    // All at once, whichever way around.
    for swap in ["[rename: {a: b, b: a}]", "[rename: {b: a, a: b}]"] {
        assert_eq!(texts(swap, &rows[..1], "a"), ["x"], "{swap}");
    }
    let there_and_back = "[rename: {b: c}, rename: {c: b}]";
    assert_eq!(texts(there_and_back, &rows[..1], "b"), ["x"]);
}

#[test]
fn a_cast_takes_what_it_can_hold_and_refuses_the_rest() {
    // The number as a text and back, and a text as a number; null tokens are no value.
    let steps = "[{cast: {a: string}}, {filter: \"body.a LIKE '1%' OR body.a IS NULL\"}, \
                 {cast: {a: double, b: {to: int, null: '-'}}}]";
    let rows = [
        (r#"{"a":12,"b":"7"}"#, ""),
        (r#"{"a":21,"b":"7"}"#, ""),
        (r#"{"b":"-"}"#, ""),
        (r#"{"a":1,"b":""}"#, ""),
        (r#"{"a":1,"b":"1.5"}"#, ""),
        (r#"{"a":1,"b":"7.0"}"#, ""),
    ];
    check(
        steps,
        &rows,
        &[0, 2, 5],
        &["3 steps[2] cast E-CAST-01", "4 steps[2] cast E-CAST-01"],
        &["steps[1] filter false 1"],
    );
    let mut chain = chain(steps);
    let mut rejected = Vec::new();
    let batch = chain.apply(messages(&rows), &mut rejected).unwrap();
    let numbers = batch.column("b").unwrap().as_primitive::<Int64Type>();
    assert_eq!((numbers.value(0), numbers.is_null(2), numbers.value(5)), (7, true, 7));
    let doubles = batch.column("a").unwrap().as_primitive::<Float64Type>();
    assert_eq!((doubles.value(0), doubles.is_null(2)), (12.0, true));
    let Reject { error, field, .. } = &rejected[1].reject;
    assert_eq!(field.as_deref(), Some("b"));
    assert!(error.contains("1.5") && error.contains("fraction"), "{error}");
}

#[test]
fn a_cast_reads_times_as_they_are_written() {
    let steps = "[{set: {d: body.a}}, {cast: {a: {to: timestamp, format: '%s'}, \
                 d: {to: date, format: '%Y%m%d'}, b: {to: date, format: '%d.%m.%Y', null: ''}}}, \
                 {cast: {d: string}}]";
    let rows = [
        (r#"{"a":20260102,"b":"02.01.2026"}"#, ""),
        (r#"{"a":20260102,"b":""}"#, ""),
        (r#"{"a":20261302,"b":"02.01.2026"}"#, ""),
        (r#"{"a":20260102,"b":"2026-01-02"}"#, ""),
    ];
    let refused = ["2 steps[1] cast E-CAST-01", "3 steps[1] cast E-CAST-01"];
    check(steps, &rows, &[0, 1], &refused, &[]);
    let batch = chain(steps).apply(messages(&rows), &mut Vec::new()).unwrap();
    let at = batch.column("a").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.value(0), 20_260_102_000_000);
    assert_eq!(batch.column("d").unwrap().as_string::<i32>().value(0), "2026-01-02");
    let days = batch.column("b").unwrap().as_primitive::<Date32Type>();
    assert_eq!((days.value(0), days.is_null(1)), (20_455, true));
}

/// What a number loses on its way to another type is not lost in silence.
#[test]
fn a_cast_between_numbers_is_exact() {
    let steps = "[{set: {i: body.a, d: body.a / 2}}, {cast: {i: double, d: int}}]";
    let rows = [(r#"{"a":4}"#, ""), (r#"{"a":5}"#, ""), (r#"{"a":9007199254740993}"#, "")];
    // One column after the other.
    let refused = ["2 steps[1] cast E-CAST-01", "1 steps[1] cast E-CAST-01"];
    check(steps, &rows, &[0], &refused, &[]);
}

#[test]
fn a_sample_is_counted_and_comes_out_the_same_again() {
    let rows = vec![(r#"{"a":1}"#, ""); 1_000];
    let kept = || {
        let mut chain = chain("[sample: 0.25]");
        let mut rejected = Vec::new();
        let batch = chain.apply(messages(&rows), &mut rejected).unwrap();
        let kept: Vec<usize> = batch.selection().iter().collect();
        assert_eq!(rejected.len(), 0);
        assert_eq!(chain.filtered()["steps[0] sample left out"], 1_000 - kept.len() as u64);
        kept
    };
    let first = kept();
    assert!((200..300).contains(&first.len()), "{}", first.len());
    assert_eq!(kept(), first);
    // What is left out is not decoded either.
    check("[sample: 0]", &[("{", "")], &[], &[], &["steps[0] sample left out 1"]);
    check("[sample: 1]", &rows[..2], &[0, 1], &[], &[]);
}

#[test]
fn each_sample_on_the_way_chooses_for_itself() {
    let rows = vec![(r#"{"a":1}"#, ""); 10_000];
    let kept =
        |mut chain: Chain| chain.apply(messages(&rows), &mut Vec::new()).unwrap().selection().len();
    let after = kept(try_chain_to("[sample: 0.2]", "[filter: body.a = 1, sample: 0.5]").unwrap());
    assert!((900..1_100).contains(&after), "{after}");
    let after = kept(chain("[sample: 0.5, sample: 0.5, sample: 0.5]"));
    assert!((1_150..1_350).contains(&after), "{after}");
    // What is kept where there is only one does not follow from where it stands.
    let one = kept(try_chain_to("[]", "[filter: body.a = 1, sample: 0.5]").unwrap());
    assert_eq!(one, kept(chain("[sample: 0.5]")));
}

#[test]
fn filters_keep_what_is_true_and_count_the_rest() {
    let rows = [(r#"{"a":1}"#, ""), (r#"{"a":2}"#, ""), (r#"{"b":"x"}"#, "")];
    check(
        "[filter: body.a > 1]",
        &rows,
        &[1],
        &[],
        &["steps[0] filter false 1", "steps[0] filter unknown 1"],
    );
    check(
        "[filter: {where: body.a > 1, on_unknown: keep}]",
        &rows,
        &[1, 2],
        &[],
        &["steps[0] filter false 1"],
    );
    check(
        "[filter: {where: body.a > 1, on_unknown: dlq}]",
        &rows,
        &[1],
        &["2 steps[0] filter E-EVAL-02"],
        &["steps[0] filter false 1"],
    );
    check(
        "[filter: body.a / (body.a - 1) > 0]",
        &rows[..2],
        &[1],
        &["0 steps[0] filter E-EVAL-01"],
        &[],
    );
}

#[test]
fn a_filter_on_properties_spares_decoding() {
    let rows = [("not json", "p=1"), (r#"{"a":2}"#, "p=2"), ("neither", "p=2")];
    check("[filter: p = 2]", &rows, &[1], &["2 decode E-DECODE-01"], &["steps[0] filter false 1"]);
    // Behind a step that may refuse rows it keeps its place.
    check(
        "[{set: {c: body.a + 1}}, {filter: p = 2}]",
        &rows,
        &[1],
        &["0 decode E-DECODE-01", "2 decode E-DECODE-01"],
        &[],
    );
    // So does the sink's own condition.
    check("[]", &[("not json", "TAGS=no")], &[], &[], &["s where false 1"]);
}

#[test]
fn what_cannot_be_decoded_is_refused() {
    let rows = [(r#"{"a":"x"}"#, ""), (r#"{"a":1}"#, ""), ("", "")];
    check("[]", &rows, &[1], &["0 decode E-DECODE-03", "2 decode E-DECODE-01"], &[]);
}

#[test]
fn set_gives_columns_and_refuses_rows_without_a_value() {
    let rows = [(r#"{"a":6}"#, ""), (r#"{"a":0}"#, ""), (r#"{"b":"x"}"#, ""), (r#"{"a":4}"#, "")];
    let steps = "[{set: {c: 12 / body.a, d: c + 1}}, {filter: d IS NULL OR d > 3}]";
    check(steps, &rows, &[2, 3], &["1 steps[0] set E-EVAL-01"], &["steps[1] filter false 1"]);
    let mut chain = chain("[{set: {d: body.a * 2}}, {set: {d: d + 1}}]");
    let batch = chain.apply(messages(&rows), &mut Vec::new()).unwrap();
    let column = batch.column("d").unwrap().as_primitive::<Int64Type>();
    let values: Vec<_> = column.iter().collect();
    assert_eq!(values, [Some(13), Some(1), None, Some(9)]);
}

#[test]
fn set_gives_every_type() {
    let steps = r#"[{set: {i: 1, d: 0.5, s: LOWER(body.b), c: body.a > 1, u: store_time,
        e: DATE(body.t), n: "COALESCE(body.a, 0)"}}]"#;
    let mut chain = chain(steps);
    let rows = [(r#"{"a":2,"b":"X","t":"2026-01-02T03:04:05Z"}"#, ""), ("{}", "")];
    let mut rejected = Vec::new();
    let batch = chain.apply(messages(&rows), &mut rejected).unwrap();
    assert!(rejected.is_empty(), "{rejected:?}");
    let types: Vec<String> = batch
        .columns()
        .iter()
        .map(|(name, column)| format!("{name} {}", column.data_type()))
        .collect();
    assert_eq!(
        types,
        [
            "a Int64",
            "b Utf8",
            "t Timestamp(µs, \"UTC\")",
            "i Int64",
            "d Float64",
            "s Utf8",
            "c Boolean",
            "u Timestamp(µs, \"UTC\")",
            "e Date32",
            "n Int64",
        ]
    );
    let nulls: Vec<_> = batch.columns().iter().map(|(_, column)| column.null_count()).collect();
    assert_eq!(nulls, [1, 1, 1, 0, 0, 1, 1, 0, 1, 0]);
}

#[test]
fn conditions_see_what_every_message_has() {
    let row = [("{}", "KEYS=k TAGS=yes UNIQ_KEY=id")];
    for condition in [
        "key = 'k'",
        "tag = 'yes'",
        "message_id = 'id'",
        "topic = 't'",
        "queue = 2",
        "offset = 10",
        "born_time = CAST('1970-01-01T00:00:01Z' AS TIMESTAMP)",
        "store_time = CAST('1970-01-01T00:00:02Z' AS TIMESTAMP)",
        "props.KEYS = 'k'",
    ] {
        check(&format!("[filter: \"{condition}\"]"), &row, &[0], &[], &[]);
    }
    // Without the client's id there is that of the place in the log.
    let id = "message_id = '0A00000100002A9F00000000000000FF'";
    check(&format!("[filter: \"{id}\"]"), &[("{}", "")], &[0], &[], &[]);
    // A property that is not of the promoted type is as if it were not there.
    check(
        "[filter: p IS NULL]",
        &[("{}", "p=x"), ("{}", ""), ("{}", "p=7")],
        &[0, 1],
        &[],
        &["steps[0] filter false 1"],
    );
}
