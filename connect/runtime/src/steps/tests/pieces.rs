use super::*;

/// What is left after these steps: which row of the queue, the number `a`, the text `b`.
#[track_caller]
fn left(steps: &str, rows: &[(&str, &str)]) -> Vec<String> {
    let mut chain = chain(steps);
    let batch = chain.apply(messages(rows), &mut Vec::new()).unwrap();
    shown(&batch)
}

fn shown(batch: &Batch) -> Vec<String> {
    let numbers = batch.column("a").unwrap().as_primitive::<Int64Type>();
    let texts = batch.column("b").unwrap().as_string::<i32>();
    let row = |row: usize| {
        let at = batch.messages().row_at(row);
        let number = if numbers.is_null(row) { 0 } else { numbers.value(row) };
        format!("{at} {number} {}", if texts.is_null(row) { "-" } else { texts.value(row) })
    };
    batch.selection().iter().map(row).collect()
}

#[test]
fn each_element_is_a_row() {
    let rows = [
        (r#"{"list":[{"a":1,"b":"x"},{"a":2}]}"#, ""),
        (r#"{"list":[]}"#, ""),
        (r#"{"list":[{"b":"y"}],"a":7}"#, ""),
    ];
    let steps = "[split: body.list]";
    assert_eq!(left(steps, &rows), ["10#0 1 x", "10#1 2 -", "12#0 0 y"]);
    check(steps, &rows, &[0, 1, 2], &[], &["steps[0] split empty 1"]);
    let bodies = [(r#"[{"a":1},{"a":2}]"#, ""), ("[]", ""), (r#" [ {"a" : 3 } ] "#, "")];
    assert_eq!(left("[split: body]", &bodies), ["10#0 1 -", "10#1 2 -", "12#0 3 -"]);
}

#[test]
fn a_row_has_of_its_message_what_is_kept() {
    let rows = [
        (r#"{"id":5,"who":{"name":"x, \"y\""},"list":[{"a":1},{ }]}"#, ""),
        (r#"{"list":[{"a":1}]}"#, ""),
        (r#"{"list":[{"a":1,"b":"own"},{"a":2}],"who":{"name":"z"}}"#, ""),
    ];
    let steps = "[split: {path: body.list, keep: {b: body.who.name}}]";
    assert_eq!(left(steps, &rows), ["10#0 1 x, \"y\"", "10#1 0 x, \"y\"", "11#0 1 -", "12#1 2 z"]);
    // What both have is in doubt, for that element alone.
    check(steps, &rows, &[0, 1, 2, 4], &["2#0 decode E-DECODE-04"], &[]);
    let named = "[split: {path: body.list, keep: {b: body.b}, as: a}]";
    let rows = [(r#"{"list":[1,"2",3],"b":"k"}"#, "")];
    check(named, &rows, &[0, 2], &["0#1 decode E-DECODE-03"], &[]);
    assert_eq!(left(named, &rows), ["10#0 1 k", "10#2 3 k"]);
}

#[test]
fn an_element_that_is_no_row_is_refused_alone() {
    let rows = [(r#"{"list":[{"a":1},5,{"a":"x"},{"a":1,"a":2},{"a":4}]}"#, "")];
    check(
        "[split: body.list]",
        &rows,
        &[0, 4],
        &["0#1 steps[0] split E-SPLIT-03", "0#2 decode E-DECODE-03", "0#3 decode E-DECODE-04"],
        &[],
    );
}

#[test]
fn a_message_without_an_array_is_refused_as_a_whole() {
    let rows = [
        (r#"{"list":{"a":1}}"#, ""),
        (r#"{"list":null}"#, ""),
        ("{}", ""),
        (r#"{"list":[{"a":1}"#, ""),
        (r#"{"list":[{"a":1},{"a":2},{"a":3}]}"#, ""),
        (r#"{"list":[{"a":1}]}"#, ""),
    ];
    let code = |row: usize, code: &str| format!("{row} steps[0] split {code}");
    let (object, cut, long) =
        (code(0, "E-SPLIT-01"), code(3, "E-DECODE-01"), code(4, "E-SPLIT-02"));
    let (null, none) = (code(1, "E-SPLIT-01"), code(2, "E-SPLIT-01"));
    check(
        "[split: {path: body.list, max: 2}]",
        &rows,
        &[5],
        &[&object, &null, &none, &cut, &long],
        &[],
    );
    check(
        "[split: {path: body.list, max: 2, on_missing: reject}]",
        &rows,
        &[3],
        &[&object, &cut, &long],
        &["steps[0] split missing 2"],
    );
    let mut chain = chain("[split: {path: body.list, max: 2}]");
    let mut rejected = Vec::new();
    chain.apply(messages(&rows), &mut rejected).unwrap();
    let errors: Vec<_> = rejected.iter().map(|rejected| rejected.reject.error.as_str()).collect();
    assert_eq!(errors[0], "`body.list` should be an array, and there is an object");
    assert_eq!(errors[4], "the array would become 3 elements, and `max` is 2");
}

#[test]
fn what_a_message_may_become_is_bounded() {
    let long = "x".repeat(20_000);
    let list = vec!["{}"; 1_000].join(",");
    let body = format!(r#"{{"b":"{long}","list":[{list}]}}"#);
    let rows = [(body.as_str(), ""), (r#"{"list":[{"a":1}]}"#, "")];
    // Twenty megabytes of one message.
    check(
        "[split: {path: body.list, keep: {b: body.b}}]",
        &rows,
        &[1],
        &["0 steps[0] split E-SPLIT-02"],
        &[],
    );
    check("[split: body.list]", &rows, &(0..1_001).collect::<Vec<_>>(), &[], &[]);
}

#[test]
fn steps_around_a_split_see_messages_before_and_rows_behind_it() {
    let rows = [
        (r#"{"list":[{"a":1},{"a":2},{"a":3}]}"#, "p=1"),
        (r#"{"list":[{"a":9}]}"#, "p=2"),
        ("no JSON", "p=2"),
    ];
    let steps = "[filter: p = 1, split: body.list, filter: index <> 1, set: {i: index}]";
    check(steps, &rows, &[0, 2], &[], &["steps[0] filter false 2", "steps[2] filter false 1"]);
    // Each row has an id of its own, and the properties of its message.
    let ids = "[split: body.list, set: {id: message_id}, filter: p = 1]";
    let batch = chain(ids).apply(messages(&rows), &mut Vec::new()).unwrap();
    let ids = batch.column("id").unwrap().as_string::<i32>();
    assert_eq!(ids.value(1), "0A00000100002A9F00000000000000FF#1");
}

#[test]
fn a_replay_takes_the_wanted_rows_alone() {
    let rows = [
        (r#"{"list":[{"a":1},{"a":2},5]}"#, ""),
        (r#"{"list":[{"a":3},{"a":"x"}]}"#, ""),
        (r#"{"list":[{"a":4}]}"#, ""),
        (r#"{"list":[]}"#, ""),
    ];
    let mut chain = chain("[split: body.list, filter: body.a <> 2]");
    let letters = messages(&rows).repeated(&[0, 0, 0, 1, 1, 2, 3]);
    let wanted = [Some(0), Some(1), Some(2), None, Some(0), Some(7), Some(0)];
    let mut rejected = Vec::new();
    let batch = chain.apply_to(Arc::new(letters), Some(&wanted), &mut rejected).unwrap();
    assert_eq!(shown(&batch), ["10#0 1 -", "11#0 3 -", "11#0 3 -"]);
    let mut refused: Vec<_> = rejected
        .iter()
        .map(|Rejected { row, at, reject, .. }| format!("{row} {at} {}", reject.code))
        .collect();
    refused.sort();
    assert_eq!(refused, ["2 10#2 E-SPLIT-03", "3 11#1 E-DECODE-03", "5 12#7 E-DLQ-01"]);
    let filtered: Vec<_> = chain.filtered().into_iter().collect();
    let reason = |reason: &str, rows: u64| (reason.to_owned(), rows);
    assert_eq!(filtered, [reason("steps[0] split empty", 1), reason("steps[1] filter false", 1)]);
}

/// What a flat map makes of messages, through the example that splits lists.
#[test]
fn a_flat_map_makes_rows_and_refuses_messages() {
    let steps = "[wasm: {module: split-array.wasm, params: {field: list}}]";
    let rows = [
        (r#"{"list":[{"a":1,"b":"x"},{"a":2}]}"#, "p=5"),
        (r#"{"list":[]}"#, ""),
        ("{}", ""),
        (r#"{"list":[{"a":"no"},{"a":3}]}"#, ""),
    ];
    let name = flat_map_name();
    check(
        steps,
        &rows,
        &[0, 1, 4],
        &[&format!("2 {name} E-WASM-REFUSED"), "3#0 decode E-DECODE-03"],
        &[&format!("{name} dropped 1")],
    );
    assert_eq!(left(steps, &rows), ["10#0 1 x", "10#1 2 -", "13#1 3 -"]);
    let batch = chain(steps).apply(messages(&rows), &mut Vec::new()).unwrap();
    let properties = batch.messages().get(1).properties;
    assert_eq!((properties.get("p"), properties.get("split_index")), (Some("5"), Some("1")));
    // The letter is of the message as it was stored, and so is a map behind it.
    let masked = "[wasm: {module: split-array.wasm, params: {field: list}}, \
                  wasm: {module: mask.wasm, params: {fields: [b], instead: z}}]";
    assert_eq!(left(masked, &rows), ["10#0 1 z", "10#1 2 -", "13#1 3 -"]);
}

#[test]
fn rows_of_one_message_need_a_sink_that_tells_them_apart() {
    let refused = |sink: &str| {
        let text = format!(
            "version: 1\npipeline: p\ntopic: t\nschema: {{a: int}}\n\
             steps: [wasm: {{module: split-array.wasm, params: {{field: list}}}}]\n\
             sinks: {{s: {{{sink}}}}}\n"
        );
        let parsed = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None);
        let pipeline = Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")));
        Filters::load(&pipeline, &modules::disk()).err()
    };
    for sink in ["http: {url: http://x/}", "index: {to: x}"] {
        let errors = refused(sink).unwrap();
        let [error] = &errors[..] else { panic!("{errors:?}") };
        assert!(matches!(&error.source, FilterFault::NotApart(sink) if sink == "s"), "{error}");
    }
    assert!(refused("parquet: {to: x}").is_none());
}

fn flat_map_name() -> String {
    let path = "../../wasm-filters/examples/split-array/split-array.wasm";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let hash = millrace_wasm_host::ModuleHash::of(&std::fs::read(path).unwrap()).to_string();
    format!("steps[0] wasm split-array 1.0.0 {}", &hash[..12])
}

/// Batches after each other, with other verdicts each.
fn flat_maps_of_three_batches() {
    let steps = "[wasm: {module: split-array.wasm, params: {field: list}}]";
    let mut chain = chain(steps);
    for (bodies, expected) in [
        ([r#"{"list":[{"a":1},{"a":2}]}"#, r#"{"list":[]}"#, "{}"], vec!["10#0 1 -", "10#1 2 -"]),
        (["{}", r#"{"list":[{"a":3}]}"#, r#"{"list":[{"a":4}]}"#], vec!["11#0 3 -", "12#0 4 -"]),
        ([r#"{"list":[{"a":5}]}"#, "{}", r#"{"list":[{"a":6}]}"#], vec!["10#0 5 -", "12#0 6 -"]),
    ] {
        let rows = bodies.map(|body| (body, ""));
        let batch = chain.apply(messages(&rows), &mut Vec::new()).unwrap();
        assert_eq!(shown(&batch), expected);
    }
}

#[test]
fn a_flat_map_judges_each_batch_anew() {
    flat_maps_of_three_batches();
}

/// The test above must be able to fail.
#[cfg(feature = "faults")]
#[test]
fn verdicts_of_the_last_batch_are_found() {
    use crate::fault;

    let trial = std::thread::spawn(|| {
        fault::plant(Some(fault::VERDICTS_OF_LAST_BATCH));
        flat_maps_of_three_batches();
    });
    assert!(trial.join().is_err(), "nobody saw the planted bug");
}

#[test]
fn one_step_takes_messages_apart() {
    let Err(error) = try_chain("[split: body.list, wasm: {module: split-array.wasm}]") else {
        panic!("two steps do")
    };
    assert!(error.contains("split-array.wasm: it is a flat map, and another step"), "{error}");
    let twice = "[wasm: {module: split-array.wasm}, wasm: {module: split-array.wasm}]";
    let Err(error) = try_chain(twice) else { panic!("two steps do") };
    assert!(error.contains("it is a flat map, and another step"), "{error}");
}
