use std::io::IoSlice;
use std::path::Path;

use millrace_connect_api::StepError;
use millrace_disk::{Disk, SimDisk};
use millrace_types::java_hash;
use millrace_wasm_host::ModuleHash;

use super::*;
use crate::error::RunError;
use crate::filters::StepAt;
use crate::stop::Stop;
use crate::testing::crash_after;

/// A module that runs `judge` for each message with its body's address in `$body`: 1 keeps it.
pub(crate) fn module(kind: &str, call: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (memory (export "memory") 16)
          (global $top (mut i32) (i32.const 4096))
          (global (export "mr_progress") i32 (i32.const 16))
          (@custom "millrace.filter" "{{\"abi\":1,\"name\":\"m\",\"version\":\"1\",\"kinds\":[\"{kind}\"]}}")
          (func (export "mr_abi_v1"))
          (func (export "mr_alloc") (param $len i32) (param i32) (result i32) (local $at i32)
            (local.set $at (global.get $top))
            (global.set $top (i32.add (local.get $at) (i32.and (i32.const -8)
              (i32.add (local.get $len) (i32.const 7)))))
            (local.get $at))
          {call})"#
    );
    wat::parse_str(text).unwrap()
}

/// A filter by the number in a body such as `{{"a":7}}`: 1 is dropped, at 2 it traps, at 3 it never
/// ends, at 4 it says that it cannot handle it.
pub(crate) const BY_NUMBER: &str = r#"
    (func (export "mr_filter") (param $batch i32) (param i32) (param $verdicts i32) (result i32)
        (local $i i32) (local $kept i32) (local $digit i32) (local $verdict i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $batch))))
        (i32.store (i32.const 16) (local.get $i))
        (local.set $digit (i32.load8_u offset=5 (i32.add (local.get $batch) (i32.load offset=88
          (i32.add (local.get $batch) (i32.mul (local.get $i) (i32.const 48)))))))
        (if (i32.eq (local.get $digit) (i32.const 0x32)) (then unreachable))
        (if (i32.eq (local.get $digit) (i32.const 0x33)) (then (loop $for_ever (br $for_ever))))
        (local.set $verdict (i32.ne (local.get $digit) (i32.const 0x31)))
        (if (i32.eq (local.get $digit) (i32.const 0x34)) (then (local.set $verdict (i32.const 3))))
        (i32.store8 (i32.add (local.get $verdicts) (local.get $i)) (local.get $verdict))
        (local.set $kept (i32.add (local.get $kept) (i32.eq (local.get $verdict) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (local.get $kept))"#;

/// A filter that keeps the records of which `judge` says 1, with the address of each description in
/// `$at`.
fn judging(judge: &str) -> String {
    format!(
        r#"(func (export "mr_filter") (param $batch i32) (param i32) (param $verdicts i32) (result i32)
        (local $i i32) (local $kept i32) (local $at i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (i32.load offset=8 (local.get $batch))))
        (local.set $at (i32.add (i32.add (local.get $batch) (i32.const 64))
          (i32.mul (local.get $i) (i32.const 48))))
        (i32.store8 (i32.add (local.get $verdicts) (local.get $i)) {judge})
        (local.set $kept (i32.add (local.get $kept)
          (i32.load8_u (i32.add (local.get $verdicts) (local.get $i)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (local.get $kept))"#
    )
}

/// What the steps of these tests find: small modules, and the examples.
pub(super) fn disk() -> SimDisk {
    let disk = SimDisk::new(1);
    let put = |name: &str, bytes: &[u8]| {
        let file = disk.create(Path::new(name)).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    };
    put("number.wasm", &module("filter", BY_NUMBER));
    let off = java_hash("off");
    let tagged = format!("(i32.ne (i32.load offset=44 (local.get $at)) (i32.const {off}))");
    put("tagged.wasm", &module("filter", &judging(&tagged)));
    let keyed = "(i32.and (i32.ne (i32.load offset=20 (local.get $at)) (i32.const -1))
        (i32.eq (i32.const 0x6b) (i32.load8_u
            (i32.add (local.get $batch) (i32.load offset=16 (local.get $at))))))";
    put("keyed.wasm", &module("filter", &judging(keyed)));
    put("long.wasm", &vec![0; 5 << 20]);
    put("text.wasm", b"(module)");
    for (name, dir) in [
        ("mask", "examples/mask"),
        ("split-array", "examples/split-array"),
        ("pass", "host/benches"),
    ] {
        let path = format!("../../wasm-filters/{dir}/{name}.wasm");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        put(&format!("{name}.wasm"), &std::fs::read(path).unwrap());
    }
    disk
}

/// The name of a step in summaries and letters.
fn name_of(step: usize) -> String {
    let hash = ModuleHash::of(&module("filter", BY_NUMBER)).to_string();
    format!("steps[{step}] wasm m 1 {}", &hash[..12])
}

#[test]
fn a_module_drops_keeps_and_refuses() {
    let rows: Vec<String> =
        [0, 1, 2, 5, 3, 6, 4, 7].iter().map(|number| format!("{{\"a\":{number}}}")).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|row| (row.as_str(), "")).collect();
    let steps = "[wasm: {module: number.wasm}]";
    let name = name_of(0);
    check(
        steps,
        &rows,
        &[0, 3, 5, 7],
        &[
            // The one at which it never ends takes the time of those behind it, which come next.
            &format!("2 {name} E-WASM-TRAP"),
            &format!("4 {name} E-WASM-TRAP"),
            &format!("6 {name} E-WASM-REFUSED"),
        ],
        &[&format!("{name} dropped 1")],
    );
}

#[test]
fn many_messages_at_which_a_module_never_ends_are_letters() {
    let body = |number| format!("{{\"a\":{}}}", if number % 5 == 0 { 0 } else { 3 });
    let rows: Vec<String> = (0..30).map(body).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|row| (row.as_str(), "")).collect();
    let refused = (0..30).filter(|row| row % 5 != 0);
    let refused = refused.map(|row| format!("{row} {} E-WASM-TRAP", name_of(0)));
    let refused: Vec<String> = refused.collect();
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    check("[wasm: {module: number.wasm}]", &rows, &[0, 5, 10, 15, 20, 25], &refused, &[]);
}

#[test]
fn modules_and_filters_run_in_the_order_of_the_file() {
    let rows = [(r#"{"a":0}"#, "p=1"), (r#"{"a":2}"#, "p=2"), (r#"{"a":1}"#, "p=1")];
    // The module does not see what traps it.
    let early = "[filter: p = 1, wasm: {module: number.wasm}]";
    let name = name_of(1);
    check(early, &rows, &[0], &[], &["steps[0] filter false 1", &format!("{name} dropped 1")]);
    let late = "[filter: body.a < 2, wasm: {module: number.wasm}]";
    check(late, &rows, &[0], &[], &["steps[0] filter false 1", &format!("{name} dropped 1")]);
}

#[test]
fn steps_of_a_sink_run_behind_its_condition() {
    let rows = [
        (r#"{"a":0}"#, ""),
        (r#"{"a":1}"#, ""),
        (r#"{"a":2}"#, "TAGS=no"),
        (r#"{"a":2}"#, ""),
        (r#"{"a":9}"#, ""),
    ];
    let own = "[wasm: {module: number.wasm}, set: {d: c + 1}, filter: d < 10]";
    let mut chain = try_chain_to("[set: {c: body.a}]", own).unwrap();
    let mut rejected = Vec::new();
    let batch = chain.apply(messages(&rows), &mut rejected).unwrap();
    assert_eq!(batch.selection().iter().collect::<Vec<_>>(), [0]);
    assert_eq!(batch.column("d").unwrap().as_primitive::<Int64Type>().value(0), 1);
    let name = format!("s {}", name_of(0));
    assert_eq!((rejected[0].row, rejected[0].step.as_str(), rejected.len()), (3, &*name, 1));
    let filtered: Vec<_> = chain.filtered().into_iter().collect();
    let expected = [
        (format!("{name} dropped"), 1),
        ("s steps[2] filter false".to_owned(), 1),
        ("s where false".to_owned(), 1),
    ];
    assert_eq!(filtered, expected);
}

#[test]
fn a_map_before_one_sink_stands_before_what_reads_columns() {
    let own = "[wasm: {module: mask.wasm, params: {fields: [b], instead: x}}]";
    for (shared, own, before) in [
        ("[set: {c: body.b}]", own.to_owned(), "set"),
        ("[filter: body.a > 1]", own.to_owned(), "filter"),
        ("[]", own.replace("[wasm", "[rename: {b: c}, wasm"), "rename"),
    ] {
        let Err(error) = try_chain_to(shared, &own) else { panic!("{shared} {own}") };
        let expected = format!("here a `{before}` comes before it");
        assert!(error.contains(&expected), "`{error}` does not say `{expected}`");
    }
    try_chain_to("[filter: p = 1, sample: 0.5]", own).unwrap();
}

#[test]
fn columns_that_only_steps_of_a_sink_read_are_decoded() {
    let text = "version: 1\npipeline: p\ntopic: t\nschema: {a: int, b: string}\n\
                sinks: {s: {steps: [set: {c: body.a + 1}], stdout: {columns: [c]}}}\n";
    let pipeline = Arc::new(Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap());
    let sink = &pipeline.sinks[0];
    let mut chain = Chain::new(&pipeline, sink, &Filters::default(), Passage::Run).unwrap();
    let batch = chain.apply(messages(&[(r#"{"a":1,"b":"x"}"#, "")]), &mut Vec::new()).unwrap();
    assert_eq!(batch.column("c").unwrap().as_primitive::<Int64Type>().value(0), 2);
    assert!(batch.column("b").is_none(), "nobody reads it");
}

#[test]
fn a_module_before_one_sink_keeps_messages_whole() {
    let Err(error) = try_chain_to("[]", "[wasm: {module: split-array.wasm}]") else {
        panic!("a flat map before one sink")
    };
    assert!(error.contains("stands in the `steps` of the sink `s`"), "{error}");
    let own = "[wasm: {module: mask.wasm, params: {fields: [b], instead: x}}]";
    let mut chain = try_chain_to("[]", own).unwrap();
    let batch = chain.apply(messages(&[(r#"{"a":1,"b":"y"}"#, "")]), &mut Vec::new()).unwrap();
    assert_eq!(batch.messages().get(0).body, br#"{"a":1,"b":"x"}"#);
}

#[test]
fn a_map_changes_what_is_decoded_and_not_what_becomes_a_letter() {
    let steps = "[wasm: {module: mask.wasm, params: {fields: [b], instead: x}}, \
                 set: {c: body.b}]";
    let rows = [(r#"{"a":1,"b":"secret"}"#, "p=1"), ("{", ""), (r#"{"a":2}"#, "p=2")];
    let mut chain = chain(steps);
    let messages = messages(&rows);
    let mut rejected = Vec::new();
    let batch = chain.apply(Arc::clone(&messages), &mut rejected).unwrap();
    assert_eq!(batch.selection().iter().collect::<Vec<_>>(), [0, 2]);
    let column = batch.column("c").unwrap().as_string::<i32>();
    assert_eq!((column.value(0), column.is_null(2)), ("x", true));
    assert_eq!(batch.messages().get(0).body, br#"{"a":1,"b":"x"}"#);
    assert_eq!(batch.messages().get(0).properties.get("p"), Some("1"));
    assert_eq!(batch.messages().get(2).body, br#"{"a":2}"#);
    assert_eq!(
        rejected[0].reject.error,
        "the filter refuses the record: this is not JSON from byte 1 on"
    );
    // Letters are made of these.
    assert_eq!(messages.get(0).body, br#"{"a":1,"b":"secret"}"#);
}

#[track_caller]
fn check_refused(steps: &str, expected: &str) {
    let Err(error) = try_chain(steps) else { panic!("{steps} is fine") };
    assert!(error.contains(expected), "`{error}` does not say `{expected}`");
}

#[test]
fn modules_that_cannot_be_used_are_found_before_the_first_message() {
    check_refused("[wasm: {module: none.wasm}]", "cannot use none.wasm: ");
    check_refused("[wasm: {module: text.wasm}]", "not a WebAssembly module");
    check_refused("[wasm: {module: long.wasm}]", "5242880 bytes; at most 4194304 are read");
    check_refused("[wasm: {module: mask.wasm}]", "the parameter `fields` is missing");
    check_refused("[wasm: {module: mask.wasm, params: {fields: a}}]", "must be of type `array`");
    check_refused(
        "[set: {c: body.b}, wasm: {module: split-array.wasm}]",
        "must stand before `set`",
    );
    check_refused(
        "[set: {c: body.b}, wasm: {module: mask.wasm, params: {fields: [b]}}]",
        "must stand before `set`",
    );
}

#[test]
fn a_step_makes_no_more_than_messages_can_take() {
    let text = "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\n\
                steps: [wasm: {module: number.wasm}]\nsinks: {s: {parquet: {to: out}}}\n";
    let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap();
    let filters = Filters::load(&pipeline, &disk()).unwrap();
    let [StepSpec::Wasm(spec)] = &pipeline.steps[..] else { panic!("one step") };
    let made = |memory: u64| {
        filters.step(StepAt { sink: None, number: 0 }, spec, memory).unwrap().bytes_max
    };
    assert_eq!(made(1 << 30), 1 << 30);
    assert_eq!(made(1 << 40), Messages::CHANGED_BYTES_MAX);
}

#[test]
fn the_fingerprint_of_a_run_tells_its_modules() {
    let sealed = |module: &str| {
        let text = "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\n\
                    steps: [wasm: {module: m.wasm}]\nsinks: {s: {parquet: {to: out}}}\n";
        let pipeline = Arc::new(Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap());
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new("m.wasm")).unwrap();
        let call = format!("{BY_NUMBER} (func {module})");
        file.write_at(&[IoSlice::new(&self::module("filter", &call))], 0).unwrap();
        let filters = Filters::load(&pipeline, &disk).unwrap();
        (filters.seal(Arc::clone(&pipeline)).fingerprint, pipeline.fingerprint)
    };
    let (first, again, other) = (sealed(""), sealed(""), sealed("nop"));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    assert_eq!(first.1, other.1);
}

/// As it does where it runs on the thread that waits for it.
#[tokio::test]
async fn a_panic_in_a_chain_takes_down_whoever_waits_for_it() {
    for place in [Place::Here, Place::Aside] {
        let chain = PlacedChain::new(chain("[wasm: {module: number.wasm}]"), place);
        let messages = messages(&[(r#"{"a":0}"#, "")]);
        // It is told nothing about the message that it has.
        let asked = async move { chain.apply_to(messages, Vec::new()).await.map(|_| ()) };
        let ended = tokio::spawn(asked).await;
        assert!(ended.is_err_and(|error| error.is_panic()), "{place:?}");
    }
}

#[tokio::test]
async fn a_chain_that_nobody_waits_for_any_more_can_be_asked_again() {
    let chain = PlacedChain::new(chain("[wasm: {module: number.wasm}]"), Place::Aside);
    let messages = messages(&[(r#"{"a":0}"#, ""), (r#"{"a":1}"#, "")]);
    crash_after(chain.apply(Arc::clone(&messages)), 1).await;
    let applied = chain.apply(messages).await.unwrap();
    assert_eq!(applied.batch.selection().iter().collect::<Vec<_>>(), [0]);
    assert_eq!(chain.chain().filtered_rows(), 2, "it has seen the messages twice");
}

/// A chain without modules, and every chain of a simulation.
#[tokio::test]
async fn what_does_not_leave_its_thread_is_done_at_once() {
    let messages = messages(&[(r#"{"a":0}"#, "p=1")]);
    let places =
        [("[filter: p = 1]", Place::Aside), ("[wasm: {module: number.wasm}]", Place::Here)];
    for (steps, place) in places {
        let chain = PlacedChain::new(chain(steps), place);
        let applied = crash_after(chain.apply(Arc::clone(&messages)), 1).await;
        assert_eq!(applied.unwrap().unwrap().batch.selection().len(), 1);
    }
}

#[test]
fn a_stop_ends_a_module_that_is_late_and_no_other() {
    let stop = Stop::default();
    let text = "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\n\
                steps: [wasm: {module: number.wasm}]\nsinks: {s: {parquet: {to: out}}}\n";
    let pipeline = Arc::new(Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap());
    let filters = Filters::load(&pipeline, &disk()).unwrap().until(&stop);
    let mut chain = Chain::new(&pipeline, &pipeline.sinks[0], &filters, Passage::Run).unwrap();
    let mut left = |bodies: [&str; 3]| {
        let messages = messages(&bodies.map(|body| (body, "")));
        chain.apply(messages, &mut Vec::new()).map(|batch| batch.selection().len())
    };
    let late = [r#"{"a":3}"#, r#"{"a":3}"#, r#"{"a":5}"#];
    assert_eq!(left(late).unwrap(), 1);
    stop.request();
    assert_eq!(left([r#"{"a":2}"#, r#"{"a":4}"#, r#"{"a":5}"#]).unwrap(), 1);
    let error = left(late).unwrap_err();
    assert!(matches!(error, RunError::Step(StepError::Stopped { .. })), "{error}");
}

/// Which of the messages a chain leaves, by number.
fn left(chain: &mut Chain, rows: &[(&str, &str)]) -> Vec<usize> {
    let batch = chain.apply(messages(rows), &mut Vec::new()).unwrap();
    batch.selection().iter().collect()
}

#[test]
fn the_modules_of_a_chain_see_keys_and_tags_of_the_messages_that_are_left() {
    let rows = [
        (r#"{"a":1}"#, "KEYS=k0 p=1"),
        (r#"{"a":0}"#, "TAGS=off KEYS=k1 p=1"),
        (r#"{"a":0}"#, "p=1 KEYS=k2 TAGS=yes"),
        (r#"{"a":0}"#, "p=1"),
        (r#"{"a":1}"#, "KEYS=x4 p=1"),
        (r#"{"a":0}"#, "KEYS=x5 p=1"),
        (r#"{"a":0}"#, "p=2 KEYS=k6"),
        (r#"{"a":0}"#, "p=3 TAGS=off"),
        (r#"{"a":0}"#, "KEYS=k8 TAGS=yes p=1"),
    ];
    let number = "wasm: {module: number.wasm}";
    let tagged = "wasm: {module: tagged.wasm}";
    let keyed = "wasm: {module: keyed.wasm}";
    let mask = "wasm: {module: mask.wasm, params: {fields: [b]}}";
    let filter = "filter: p = 1";
    let cases: [(&[&str], &[usize]); 6] = [
        (&[number, keyed], &[1, 2, 6, 8]),
        (&[keyed, tagged], &[0, 2, 6, 8]),
        (&[tagged, filter, keyed], &[0, 2, 8]),
        (&[number, tagged, keyed], &[2, 6, 8]),
        (&[tagged, mask, number, keyed], &[2, 6, 8]),
        (&[filter, keyed, number], &[1, 2, 8]),
    ];
    for (steps, expected) in cases {
        let mut chain = chain(&format!("[{}]", steps.join(", ")));
        assert_eq!(left(&mut chain, &rows), expected, "left by {steps:?}");
        // As many messages once more, and others.
        let mut others = rows;
        others.reverse();
        let expected: Vec<usize> = expected.iter().rev().map(|row| 8 - row).collect();
        assert_eq!(left(&mut chain, &others), expected, "left by {steps:?} of the next batch");
    }
}
