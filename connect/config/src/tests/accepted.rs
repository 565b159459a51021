use std::path::PathBuf;
use std::time::Duration;

use millrace_connect_api::decode::{self, DecodeSpec, RegexSpec};
use millrace_connect_api::{Column, DataType};

use super::{EVERYTHING, no_env, parse};
use crate::*;

const JSON: &str = "\
version: 1
pipeline: p
topic: t
schema: {id: int, user.name: string, ts: timestamp}
";

#[track_caller]
fn accepted(text: &str) -> Pipeline {
    parse(text).unwrap_or_else(|report| panic!("{report}"))
}

/// A pipeline of JSON bodies, and what is added to it.
#[track_caller]
fn json(more: &str) -> Pipeline {
    accepted(&format!("{JSON}{more}"))
}

fn column(name: &str, data_type: DataType) -> Column {
    Column { name: name.into(), data_type }
}

#[test]
fn every_key_arrives_in_the_model() {
    let pipeline = accepted(EVERYTHING);
    assert_eq!(pipeline.name, "every-key");
    assert_eq!(
        pipeline.source,
        Some(SourceSpec::File(FileSpec {
            include: vec!["logs/*.jsonl".into()],
            once: true,
            header: false,
            start: StartAt::End,
            read_chunk: 1 << 20,
            max_line: 64 << 10,
            partial_line: Duration::from_secs(2),
            scan_every: Duration::from_millis(500),
        }))
    );
    assert_eq!(
        pipeline.decode,
        DecodeSpec::Regex(RegexSpec {
            pattern: r"^(?<id>\d+) (?<kind>\w+) (?<at>\S+)$".into(),
            types: vec![column("id", DataType::Int)],
            time: Some(("at".into(), "%FT%T".into())),
            null: Some("-".into()),
        })
    );
    let body = [
        column("id", DataType::Int),
        column("kind", DataType::String),
        column("at", DataType::Timestamp),
    ];
    assert_eq!(pipeline.schema.columns, body);
    let topic = &pipeline.topic;
    assert_eq!((topic.name.as_str(), topic.queues), ("events", 8));
    assert_eq!(topic.key.as_ref().unwrap().slots, [Slot::Body(0)]);
    assert_eq!(topic.tag.as_ref().unwrap().slots, [Slot::Body(1)]);
    let properties: Vec<_> =
        topic.properties.iter().map(|p| (p.name.as_str(), p.data_type)).collect();
    assert_eq!(properties, [("kind", DataType::String), ("double_id", DataType::Int)]);
    assert_eq!(pipeline.limits, Limits { memory: 1 << 30 });

    let [first, second, StepSpec::Set(set), columns @ .., StepSpec::Wasm(wasm)] =
        &pipeline.steps[..]
    else {
        panic!("{:?}", pipeline.steps)
    };
    let [
        StepSpec::Rename(renamed),
        StepSpec::Drop,
        StepSpec::Drop,
        StepSpec::Cast(cast),
        StepSpec::Sample { rate: 0.5 },
    ] = columns
    else {
        panic!("{columns:?}")
    };
    let text = |text: &str| Some(text.to_owned());
    let (day, kind) = ("day".to_owned(), "kind".to_owned());
    assert_eq!(
        *cast,
        [
            CastColumn { name: day, to: DataType::String, format: None, null: None },
            CastColumn {
                name: kind,
                to: DataType::Date,
                format: text("%d.%m.%Y"),
                null: text("?")
            },
        ]
    );
    assert_eq!(*renamed, [RenamedColumn { from: "next_day".into(), to: "tomorrow".into() }]);
    let StepSpec::Filter { condition, on_unknown: OnUnknown::Reject } = first else {
        panic!("{first:?}")
    };
    let property = |name: &str, data_type| Slot::Property { name: name.into(), data_type };
    assert_eq!(
        condition.slots,
        [property("kind", DataType::String), property("double_id", DataType::Int)]
    );
    assert!(matches!(second, StepSpec::Filter { on_unknown: OnUnknown::Dlq, .. }));
    assert_eq!(wasm.module, PathBuf::from("filters/shop.wasm"));
    let params = serde_json::Value::Object(wasm.params.clone());
    let expected =
        r#"{"city":"Ulm","limit":3,"names":["a","7",null],"deep":{"on":true,"off":1.5}}"#;
    assert_eq!(params, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    assert_eq!((set[0].name.as_str(), set[0].data_type), ("day", DataType::Date));
    assert_eq!(set[1].value.slots, [Slot::Set("day".into())]);

    let sink = &pipeline.sinks[0];
    assert_eq!((sink.delivery, sink.on_reject), (Delivery::AtLeastOnce, OnReject::Stop));
    let retry = Retry {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(60),
        max_elapsed: Some(Duration::from_secs(3600)),
    };
    assert_eq!(sink.retry, Some(retry));
    assert_eq!(sink.letters_ppm_max, 25_000);
    assert_eq!(sink.where_.as_ref().unwrap().slots, [Slot::Meta(MetaField::Queue)]);
    let [StepSpec::Set(set), StepSpec::Filter { .. }] = &sink.steps[..] else { panic!() };
    assert_eq!((set[0].name.as_str(), set[0].data_type), ("hour", DataType::String));
    let SinkKind::Files(files) = &sink.kind else { panic!() };
    assert_eq!(
        *files,
        FilesSpec {
            to: PathBuf::from("lake"),
            partition_by: vec!["day".into()],
            columns: vec![
                column("id", DataType::Int),
                column("kind", DataType::Date),
                column("day", DataType::String),
                column("hour", DataType::String),
            ],
            rotate: Rotate {
                rows: Some(1000),
                size: None,
                every: Some(Duration::from_secs(60)),
                idle: Some(Duration::from_secs(10)),
            },
            metadata: Metadata::Offsets,
            max_open: 8,
            format: FileFormat::Parquet(ParquetSpec {
                compression: Compression::Zstd(9),
                row_group_rows: 5000,
                row_group_bytes: 1 << 20,
            }),
        }
    );
}

#[test]
fn tests_are_part_of_the_model_and_not_of_the_fingerprint() {
    let text = "
sinks: {lake: {parquet: {to: lake}}}
tests:
  - name: a
    given:
      - body: {id: 1, user: {name: x}}
        key: k
        props: {p: 5}
      - raw: '{'
    expect:
      lake: {rows: [{id: 1}], dlq: [{code: E-DECODE-01, body: '{'}]}
";
    let (sinks, _) = text.split_once("tests:").unwrap();
    let (with, without) = (json(text), json(sinks));
    assert_eq!(with.fingerprint, without.fingerprint);
    let message = GivenMessage {
        given: Given::Body(serde_json::json!({"id": 1, "user": {"name": "x"}})),
        key: Some("k".into()),
        tag: None,
        properties: vec![("p".into(), "5".into())],
    };
    let broken =
        GivenMessage { given: Given::Raw("{".into()), key: None, tag: None, properties: vec![] };
    let letter = ExpectedLetter {
        code: Some("E-DECODE-01".into()),
        field: None,
        index: None,
        error: None,
        body: Some("{".into()),
    };
    let row = serde_json::json!({"id": 1}).as_object().cloned().unwrap();
    let expected = Expected {
        part: "lake".into(),
        rows: Some(ExpectedRows::These(vec![row])),
        files: None,
        requests: None,
        filtered: None,
        letters: Some(ExpectedLetters::These(vec![letter])),
    };
    let case = TestCase { name: "a".into(), given: vec![message, broken], expect: vec![expected] };
    assert_eq!(with.tests, [case]);
}

#[test]
fn what_is_left_out_has_its_default() {
    let pipeline = json("sinks: {lake: {parquet: {to: lake}}}");
    assert_eq!(pipeline.source, None);
    assert_eq!(pipeline.decode, DecodeSpec::Json);
    assert_eq!(pipeline.topic.queues, 4);
    assert_eq!(pipeline.limits.memory, 256 << 20);
    let sink = &pipeline.sinks[0];
    assert_eq!((sink.delivery, sink.on_reject), (Delivery::ExactlyOnce, OnReject::Dlq));
    assert_eq!(sink.letters_ppm_max, 100_000);
    let SinkKind::Files(files) = &sink.kind else { panic!() };
    let FileFormat::Parquet(parquet) = &files.format else { panic!("{files:?}") };
    assert_eq!(parquet.compression, Compression::Zstd(3));
    assert_eq!(files.metadata, Metadata::None);
    assert_eq!(files.rotate.size, Some(256 << 20));
    assert_eq!(files.rotate.every, Some(Duration::from_secs(600)));
    assert_eq!((files.rotate.rows, files.rotate.idle), (None, None));
    assert_eq!(files.columns, pipeline.schema.columns);
    assert_eq!(files.max_open, 64);
}

#[test]
fn every_key_of_a_sink_of_json_lines_arrives_in_the_model() {
    let pipeline = json(
        "sinks:\n  lines:\n    jsonl:\n      to: lines\n      partition_by: [id]\n      \
         columns: [ts, user.name]\n      rotate: {size: 1MiB, every: none, idle: 1h}\n      \
         compression: zstd\n      metadata: all\n      max_open: 9\n",
    );
    let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
    assert_eq!(
        *files,
        FilesSpec {
            to: PathBuf::from("lines"),
            partition_by: vec!["id".into()],
            columns: vec![column("ts", DataType::Timestamp), column("user.name", DataType::String),],
            rotate: Rotate {
                rows: None,
                size: Some(1 << 20),
                every: None,
                idle: Some(Duration::from_secs(3600)),
            },
            metadata: Metadata::All,
            max_open: 9,
            format: FileFormat::Jsonl(TextCompression::Zstd),
        }
    );
}

#[test]
fn a_sink_of_json_lines_has_the_defaults_of_files() {
    let pipeline = json("sinks: {l: {jsonl: {to: x}}, p: {parquet: {to: x}}}");
    let [SinkKind::Files(lines), SinkKind::Files(parquet)] =
        [0, 1].map(|at| pipeline.sinks[at].kind.clone())
    else {
        panic!()
    };
    assert_eq!(lines.format, FileFormat::Jsonl(TextCompression::None));
    assert_eq!(FilesSpec { format: parquet.format.clone(), ..lines }, parquet);
}

#[track_caller]
fn check_csv(keys: &str, expected: CsvSpec) {
    let pipeline = json(&format!("sinks: {{c: {{csv: {{to: x{keys}}}}}}}"));
    let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
    assert_eq!(files.format, FileFormat::Csv(expected), "{keys}");
}

#[test]
fn every_key_of_a_sink_of_csv_arrives_in_the_model() {
    let default = CsvSpec {
        compression: TextCompression::None,
        header: true,
        delimiter: b',',
        quote: b'"',
        null: String::new(),
    };
    check_csv("", default.clone());
    check_csv(
        r#", compression: gzip, header: false, delimiter: "\t", quote: "'", null: '\N'"#,
        CsvSpec {
            compression: TextCompression::Gzip,
            header: false,
            delimiter: b'\t',
            quote: b'\'',
            null: "\\N".into(),
        },
    );
    check_csv(", delimiter: ;", CsvSpec { delimiter: b';', ..default.clone() });
    check_csv(", null: 'null'", CsvSpec { null: "null".into(), ..default });
}

#[track_caller]
fn check_csv_lines(keys: &str, header: bool, [delimiter, quote]: [u8; 2], null: &str) {
    let decode = format!("source: {{file: {{include: [a], decode: {{csv: {{{keys}}}}}}}}}");
    let pipeline = json(&format!("{decode}\nsinks: {{b: {{blackhole: {{}}}}}}"));
    let columns = pipeline.schema.columns.clone();
    let spec = decode::CsvSpec { columns, delimiter, quote, null: null.to_owned() };
    assert_eq!(pipeline.decode, DecodeSpec::Csv(spec), "{keys}");
    let Some(SourceSpec::File(file)) = pipeline.source else { panic!() };
    assert_eq!(file.header, header, "{keys}");
}

#[test]
fn every_key_of_lines_of_csv_arrives_in_the_model() {
    check_csv_lines("", true, *b",\"", "");
    check_csv_lines(
        r#"header: false, delimiter: "\t", quote: "'", null: '\N'"#,
        false,
        *b"\t'",
        "\\N",
    );
}

#[test]
fn sinks_without_files_deliver_at_least_once() {
    let pipeline =
        json("sinks: {s: {stdout: {columns: [ts]}}, all: {stdout: {}}, b: {blackhole: {}}}");
    let columns = vec![column("ts", DataType::Timestamp)];
    let all = pipeline.schema.columns.clone();
    let expected =
        [SinkKind::Stdout { columns }, SinkKind::Stdout { columns: all }, SinkKind::Blackhole];
    for (sink, expected) in pipeline.sinks.iter().zip(expected) {
        assert_eq!((&sink.kind, sink.delivery), (&expected, Delivery::AtLeastOnce));
    }
    json("sinks: {s: {stdout: {}, delivery: at_least_once}}");
}

#[test]
fn an_index_has_a_kind_for_each_column() {
    let index = |keys: &str| {
        let pipeline = json(&format!("sinks: {{s: {{index: {{to: ix{keys}}}}}}}"));
        assert_eq!(pipeline.sinks[0].delivery, Delivery::ExactlyOnce);
        let SinkKind::Index(index) = pipeline.sinks[0].kind.clone() else { panic!() };
        index
    };
    let told = |index: &IndexSpec| {
        let fields = index.fields.iter().map(|field| (field.column.name.clone(), field.kind));
        fields.collect::<Vec<_>>()
    };
    use FieldKind::*;
    let all = index("");
    let named = |fields: &[(&str, FieldKind)]| {
        fields.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect::<Vec<_>>()
    };
    assert_eq!(told(&all), named(&[("id", Number), ("user.name", Text), ("ts", Timestamp)]));
    assert_eq!((all.time.as_deref(), all.keep, all.rotate_rows), (Some("ts"), None, None));
    assert_eq!(all.rotate_every, Some(Duration::from_secs(10)));
    let some = index(
        ", mapping: {body.user.name: keyword, id: number}, keep: 30d, rotate: {rows: 5, every: none}",
    );
    assert_eq!(told(&some), named(&[("user.name", Keyword), ("id", Number)]));
    assert_eq!((some.time, some.rotate_rows, some.rotate_every), (None, Some(5), None));
    assert_eq!(some.keep, Some(Duration::from_secs(30 * 86_400)));
}

#[test]
fn columns_of_set_steps_follow_those_of_the_body() {
    let pipeline = json(
        "steps: [set: {day: DATE(body.ts)}, set: {day: CAST(day AS STRING), big: body.id > 9}]\n\
         sinks: {lake: {parquet: {to: lake, partition_by: [day]}}}",
    );
    let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
    let added = [column("day", DataType::String), column("big", DataType::Bool)];
    assert_eq!(files.columns[3..], added);
}

#[test]
fn names_mean_what_they_should() {
    let condition = "body.user.name = props.who AND message_id = key AND tag = topic AND \
                     queue < offset AND born_time < store_time";
    let pipeline = json(&format!(
        "steps: [filter: \"{condition}\"]\nsinks: {{lake: {{parquet: {{to: lake}}}}}}"
    ));
    let [StepSpec::Filter { condition, .. }] = &pipeline.steps[..] else { panic!() };
    let who = Slot::Property { name: "who".into(), data_type: DataType::String };
    use MetaField::*;
    let meta = [MessageId, Key, Tag, Topic, Queue, Offset, BornTime, StoreTime];
    let mut expected = vec![Slot::Body(1), who];
    expected.extend(meta.map(Slot::Meta));
    assert_eq!(condition.slots, expected);
}

#[test]
fn values_of_the_environment_take_the_type_of_their_place() {
    let text = format!(
        "{JSON}sinks: {{lake: {{parquet: {{to: \"${{env:LAKE:-lake}}/x\", max_open: \
         \"${{env:OPEN}}\", rotate: {{every: \"${{env:EVERY}}\"}}}}}}}}"
    );
    let env = |name: &str| match name {
        "OPEN" => Some("7".to_owned()),
        "EVERY" => Some("5m".to_owned()),
        _ => None,
    };
    let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &env).unwrap();
    let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
    assert_eq!(files.to, PathBuf::from("lake/x"));
    assert_eq!((files.max_open, files.rotate.every), (7, Some(Duration::from_secs(300))));
}

#[test]
fn a_value_of_the_environment_adds_no_key() {
    let text = format!("{JSON}sinks: {{lake: {{parquet: {{to: \"${{env:EVIL}}\"}}}}}}");
    let evil = "x\nsinks: {evil: {parquet: {to: y}}}";
    let env = |_: &str| Some(evil.to_owned());
    let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &env).unwrap();
    let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
    assert_eq!((pipeline.sinks.len(), &files.to), (1, &PathBuf::from(evil)));
}

#[test]
fn generators_arrive_in_the_model() {
    let pipeline = accepted(
        "version: 1\npipeline: p\ntopic: t\nschema: {id: int, r: string, a: double, t: timestamp}\n\
         source:\n  generate:\n    count: 10\n    seed: 7\n    fields:\n      id: {sequence: {}}\n      \
         r: {choice: [eu, 7]}\n      a: {double: {min: 1.5, max: 2}}\n      t: {time: {start: \
         1970-01-01T00:00:01Z, step: 1s}}\n      z: {zipf: {n: 9}}\n    corrupt: {at: [10, 1, 1]}\n\
         sinks: {lake: {parquet: {to: lake}}}",
    );
    let generate = GenerateSpec {
        count: 10,
        seed: 7,
        fields: vec![
            ("id".into(), Generator::Sequence { start: 1 }),
            ("r".into(), Generator::Choice(vec!["eu".into(), "7".into()])),
            ("a".into(), Generator::Double { min: 1.5, max: 2.0, decimals: 2 }),
            ("t".into(), Generator::Time { start_micros: 1_000_000, step: Duration::from_secs(1) }),
            ("z".into(), Generator::Zipf { n: 9, s: 1.0 }),
        ],
        corrupt_records: vec![0, 9],
    };
    assert_eq!(pipeline.source, Some(SourceSpec::Generate(generate)));
}

#[test]
fn lines_have_one_column() {
    let pipeline = accepted(
        "version: 1\npipeline: p\ntopic: t\nsource: {file: {include: [a], decode: {lines: {}}}}\n\
         steps: [filter: body.line CONTAINS 'x']\nsinks: {lake: {parquet: {to: lake}}}",
    );
    assert_eq!(pipeline.schema.columns, [column("line", DataType::String)]);
}

#[track_caller]
fn check_fingerprints(a: &str, b: &str, same: bool) {
    let env = |name: &str| (name == "A").then(|| "lake".to_owned());
    let of = |text: &str| {
        let text = format!("{JSON}{text}");
        Pipeline::parse("p.yaml", text.as_bytes(), &env)
            .unwrap_or_else(|report| panic!("{report}"))
            .fingerprint
    };
    assert_eq!(of(a) == of(b), same, "{a}\n{b}");
}

#[test]
fn the_fingerprint_follows_the_meaning() {
    let plain = "sinks: {lake: {parquet: {to: lake}}}";
    let with = |more: &str| format!("{more}{plain}");
    check_fingerprints(plain, "sinks:\n  lake:  # a note\n    parquet:\n      to: 'lake'\n", true);
    check_fingerprints(plain, &with("x-note: 1\n"), true);
    check_fingerprints(plain, &with("limits: {memory: 1GiB}\n"), true);
    check_fingerprints(plain, "sinks: {lake: {parquet: {to: \"${env:A}\"}}}", true);
    let source = |include: &str, decode: &str| {
        with(&format!("source: {{file: {{include: [{include}], decode: {{{decode}: {{}}}}}}}}\n"))
    };
    check_fingerprints(&source("a", "json"), &source("b", "json"), true);

    check_fingerprints(plain, "sinks: {lake: {parquet: {to: lake2}}}", false);
    check_fingerprints(plain, &with("steps: [filter: body.id > 1]\n"), false);
    check_fingerprints(
        &with("steps: [filter: body.id > 1]\n"),
        &with("steps: [filter: body.id > 2]\n"),
        false,
    );
    check_fingerprints(plain, &with("steps: []\n"), false);
}

#[test]
fn the_environment_is_asked_for_nothing_else() {
    let text = format!("{JSON}sinks: {{lake: {{parquet: {{to: lake}}}}}}");
    let env = |name: &str| -> Option<String> { panic!("asked for {name}") };
    assert!(Pipeline::parse("p.yaml", text.as_bytes(), &env).is_ok());
    assert!(no_env("HOME").is_none());
}

#[test]
fn parameters_of_a_module_keep_their_types() {
    let params = |params: &str| {
        let text = format!(
            "{JSON}steps: [{{wasm: {{module: m.wasm, params: {params}}}}}]\n\
             sinks: {{lake: {{parquet: {{to: x}}}}}}\n"
        );
        let env = |name: &str| (name == "N").then(|| "7".to_owned());
        let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &env);
        let pipeline = pipeline.unwrap_or_else(|report| panic!("{report}"));
        let [StepSpec::Wasm(wasm)] = &pipeline.steps[..] else { panic!() };
        serde_json::to_string(&wasm.params).unwrap()
    };
    assert_eq!(
        params("{a: 1, b: \"1\", c: '1', d: 1.50, e: -2}"),
        r#"{"a":1,"b":"1","c":"1","d":1.5,"e":-2}"#
    );
    assert_eq!(
        params("{a: true, b: yes, c: ~, d: 007, e: 1.}"),
        r#"{"a":true,"b":"yes","c":null,"d":"007","e":"1."}"#
    );
    assert_eq!(params("{a: \"${env:N}\"}"), r#"{"a":"7"}"#);
    assert_eq!(params("{}"), "{}");
}

#[test]
fn columns_can_be_left_out_and_get_other_names() {
    let names = |steps: &str| {
        let pipeline =
            json(&format!("steps: {steps}\nsinks: {{lake: {{parquet: {{to: lake}}}}}}\n"));
        let SinkKind::Files(files) = &pipeline.sinks[0].kind else { panic!() };
        files.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names("[]"), ["id", "user.name", "ts"]);
    assert_eq!(names("[drop: [body.user.name, ts]]"), ["id"]);
    assert_eq!(names("[keep: [ts, id]]"), ["id", "ts"]);
    assert_eq!(names("[rename: {user.name: user, body.id: no}]"), ["ts", "user", "no"]);
    assert_eq!(
        names("[rename: {id: no}, set: {next: no + 1}, rename: {no: n}, drop: [ts]]"),
        ["user.name", "next", "n"]
    );
    // A name that is free again can be given again, one of the body, too.
    assert_eq!(names("[drop: [id], set: {id: body.ts}]"), ["user.name", "ts", "id"]);
    assert_eq!(names("[rename: {id: x}, rename: {x: id}]"), ["user.name", "ts", "id"]);
    assert_eq!(names("[rename: {id: ts, ts: id}]"), ["user.name", "ts", "id"]);
    assert_eq!(
        names("[set: {a: 1, b: 2}, rename: {a: b, b: c}]"),
        ["id", "user.name", "ts", "b", "c"]
    );
    assert_eq!(names("[drop: [id], set: {id: 1}, drop: [id]]"), ["user.name", "ts"]);
    assert_eq!(names("[drop: [ts], set: {ts: 1}, cast: {ts: string}]"), ["id", "user.name", "ts"]);
    assert_eq!(
        names("[set: {x: 1}, rename: {x: y}, set: {x: y}]"),
        ["id", "user.name", "ts", "y", "x"]
    );
    let shared = "steps: [sample: 0.25]\nsinks: {lake: {parquet: {to: lake}}}\n";
    let [StepSpec::Sample { rate: 0.25 }] = json(shared).steps[..] else { panic!("one share") };
}

fn http(keys: &str) -> HttpSpec {
    let mut pipeline = json(&format!("sinks: {{hook: {{http: {{{keys}}}}}}}"));
    match pipeline.sinks.remove(0).kind {
        SinkKind::Http(spec) => *spec,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_http_sink_says_what_it_sends() {
    let text = |text: &str| TemplatePiece::Text(text.into());
    let in_text = |name: &str, data_type| TemplatePiece::Column(column(name, data_type));
    let least = http("url: https://shop.example");
    let expected = HttpSpec {
        url: Template(vec![text("https://shop.example")]),
        method: "POST",
        headers: Vec::new(),
        body: HttpBody::Single,
        columns: json("sinks: {s: {blackhole: {}}}").schema.columns,
        batch: HttpBatch { rows: 2000, bytes: 5 << 20, every: Duration::from_secs(1) },
        answer: HttpAnswer::Status,
        in_flight: 4,
        timeout: Duration::from_secs(30),
        max_response: 1 << 20,
        ca: None,
    };
    assert_eq!(least, expected);
    let most = http(
        "url: \"http://[::1]:8080/{{a}}/{id}?at={body.ts}\", method: PUT, \
         headers: {X-Id: \"{id}\", content-type: text/plain}, body: ndjson, columns: [ts], \
         batch: {rows: 7, bytes: 1MiB, every: 20ms}, answer: items, in_flight: 9, timeout: 2s, \
         max_response: 1KiB, tls: {ca: ca.pem}",
    );
    let id = || in_text("id", DataType::Int);
    let url = vec![text("http://[::1]:8080/{a}/"), id(), text("?at=")];
    let ts = in_text("ts", DataType::Timestamp);
    let expected = HttpSpec {
        url: Template(url.into_iter().chain([ts]).collect()),
        method: "PUT",
        headers: vec![
            ("x-id".into(), Template(vec![id()])),
            ("content-type".into(), Template(vec![text("text/plain")])),
        ],
        body: HttpBody::Ndjson,
        columns: vec![column("ts", DataType::Timestamp)],
        batch: HttpBatch { rows: 7, bytes: 1 << 20, every: Duration::from_millis(20) },
        answer: HttpAnswer::Items,
        in_flight: 9,
        timeout: Duration::from_secs(2),
        max_response: 1 << 10,
        ca: Some("ca.pem".into()),
    };
    assert_eq!(most, expected);
    assert_eq!(most.template_columns().collect::<Vec<_>>(), ["id", "ts", "id"]);
    assert_eq!(http("url: http://x/, body: raw").columns, []);
}

#[test]
fn what_the_environment_says_is_text_and_not_shown() {
    let file = format!(
        "{JSON}sinks: {{s: {{http: {{url: \"http://x/${{env:TOKEN}}/{{id}}\", \
         headers: {{authorization: \"Bearer ${{env:TOKEN}}\"}}}}}}}}\n"
    );
    let env = |name: &str| (name == "TOKEN").then(|| "se{cret}".to_owned());
    let pipeline = Pipeline::parse("p.yaml", file.as_bytes(), &env).unwrap();
    let SinkKind::Http(spec) = &pipeline.sinks[0].kind else { panic!() };
    let text = |text: &str| TemplatePiece::Text(text.into());
    assert_eq!(spec.headers[0].1, Template(vec![text("Bearer se{cret}")]));
    assert!(spec.url.0[0] == text("http://x/se{cret}/"));
    let shown = format!("{pipeline:?}");
    assert!(!shown.contains("cret"), "{shown}");
}
