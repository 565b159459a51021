use serde_json::json;

use super::*;
use crate::batch::Batch;

#[test]
fn a_filter_keeps_and_drops() {
    let filter = started(&filter_with("", "", "unreachable"));
    for _ in 0..3 {
        assert_eq!(short(&run(&filter, &["k", "d", "d", "k"])), "kddk");
    }
    assert_eq!(short(&run(&filter, &[])), "");
    // Other verdicts than those of the batch before, on the same numbers.
    assert_eq!(short(&run(&filter, &["d", "k"])), "dk");
}

#[test]
fn a_batch_may_be_larger_than_a_call() {
    let filter = started(&filter_with("", "", "unreachable"));
    let body = "k".repeat(300_000);
    let bodies: Vec<&str> = (0..30).map(|at| if at % 3 == 0 { "d" } else { &*body }).collect();
    assert_eq!(short(&run(&filter, &bodies)), "dkk".repeat(10));
    let bodies: Vec<&str> = (0..10_000).map(|at| if at == 9_999 { "x" } else { "k" }).collect();
    assert_eq!(short(&run(&filter, &bodies)), "k".repeat(9_999) + "x");
}

#[test]
fn a_record_that_is_larger_than_the_memory_fails_alone() {
    let filter = started(&filter_with("", "", "unreachable"));
    let body = "k".repeat(MEMORY_BYTES_MAX);
    assert_eq!(short(&run(&filter, &["k", &body, "d"])), "kxd");
}

#[test]
fn threads_share_a_filter() {
    let filter = started(&filter_with("", "", "unreachable"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(short(&run(&filter, &["k", "x", "d"])), "kxd");
                }
            });
        }
    });
}

#[test]
fn a_module_is_compiled_once() {
    let text = filter_with("", "", "unreachable");
    let (first, second) = (load(&text).unwrap(), load(&text).unwrap());
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(first.hash(), crate::ModuleHash::of(&wat::parse_str(&text).unwrap()));
    assert_eq!(first.hash().to_string().len(), 64);
    assert_eq!(first.manifest().name, "test");
    let other = load(&filter_with("", "", "nop")).unwrap();
    assert_ne!(first.hash(), other.hash());
}

#[test]
fn time_before_a_call_is_not_the_calls() {
    let host = Host::without_clock(Limits { deadline_ticks: 1, ..Limits::default() });
    let module = host.load(&wat::parse_str(filter_with("", "", "nop")).unwrap()).unwrap();
    let filter = Filter::start(module, Map::new()).unwrap();
    for _ in 0..3 {
        host.tick();
        assert_eq!(short(&run(&filter, &["k"])), "k");
    }
}

#[test]
fn a_filter_keeps_its_deadline_when_its_host_is_gone() {
    let host = Host::new(HOST.limits().clone());
    let text = filter_with("", "", "(loop $for_ever (br $for_ever))");
    let module = host.load(&wat::parse_str(text).unwrap()).unwrap();
    drop(host);
    let filter = Filter::start(module, Map::new()).unwrap();
    assert_eq!(letters(&run_all(&filter, &["k", "x", "d"])), "kxd");
}

/// What a filter of two parameters says about these.
#[track_caller]
fn check_params(params: Value, mistake: &str) {
    let schema = r#","params":{"type":"object","required":["city"],"properties":{
        "city":{"type":"string"},"limit":{"type":"integer"},"names":{"type":"array"}}}"#;
    let text = filter_with("", "", "nop").replace(
        &section(&manifest("filter", "")),
        &section(&manifest("filter", &schema.replace('\n', ""))),
    );
    match (start(&text, params), mistake) {
        (Ok(_), "") => {}
        (Ok(_), mistake) => panic!("it started, and should say `{mistake}`"),
        (Err(error), mistake) => assert_eq!(error.to_string(), mistake),
    }
}

#[test]
fn parameters_are_held_against_the_manifest() {
    check_params(json!({"city": "Ulm", "limit": 3, "names": []}), "");
    check_params(json!({}), "the parameter `city` is missing");
    check_params(json!({"city": 3}), "the parameter `city` must be of type `string`");
    check_params(
        json!({"city": "Ulm", "limit": "3"}),
        "the parameter `limit` must be of type `integer`",
    );
    check_params(
        json!({"city": "Ulm", "town": 1}),
        "there is no parameter `town`; known: city, limit, names",
    );
}

#[test]
fn a_filter_without_parameters_takes_none() {
    let Err(error) = start(&filter_with("", "", "nop"), json!({"a": 1})) else {
        panic!("it started");
    };
    assert_eq!(error.to_string(), "there is no parameter `a`: the filter takes none");
}

#[test]
fn a_module_gets_its_parameters_as_json() {
    let schema = r#","params":{"additionalProperties":true}"#;
    let init = r#"(import "millrace_v1" "fail" (func $fail (param i32 i32)))"#;
    let extra = r#"(func (export "mr_init") (param i32 i32) (result i32)
        (call $fail (local.get 0) (local.get 1)) (i32.const -1))"#;
    let text = filter_with(init, extra, "nop")
        .replace(&section(&manifest("filter", "")), &section(&manifest("filter", schema)));
    let params = json!({"n": 5, "f": 5.5, "t": "5", "b": true, "l": [1, "é"], "none": null});
    let Err(error) = start(&text, params.clone()) else { panic!("it started") };
    let error = error.to_string();
    let (_, given) = error.split_once("the filter `test` refuses its parameters: ").unwrap();
    assert_eq!(serde_json::from_str::<Value>(given).unwrap(), params);
}

#[test]
fn wasi_is_there_and_empty() {
    let imports = r#"
        (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "clock_time_get"
            (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read"
            (func $read (param i32 i32 i32 i32) (result i32)))"#;
    // Every call must answer as it should, or the record is dropped.
    let evil = "
        (i32.store (i32.const 256) (i32.const 9))
        (if (call $args (i32.const 256) (i32.const 260)) (then (return (i32.const 0))))
        (if (i32.load (i32.const 256)) (then (return (i32.const 0))))
        (if (call $clock (i32.const 0) (i64.const 0) (i32.const 264))
            (then (return (i32.const 0))))
        (if (i64.ne (i64.load (i32.const 264)) (i64.const 1767225600000000000))
            (then (return (i32.const 0))))
        (if (call $random (i32.const 272) (i32.const 8)) (then (return (i32.const 0))))
        (if (i64.eqz (i64.load (i32.const 272))) (then (return (i32.const 0))))
        (if (i32.ne (i32.const 52) (call $read (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 0))) (then (return (i32.const 0))))";
    assert_eq!(short(&run(&started(&filter_with(imports, "", evil)), &["x"])), "k");
}

#[test]
fn initialize_runs_before_init() {
    let extra = r#"(global $ready (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $ready (i32.const 1)))
        (func (export "mr_init") (param i32 i32) (result i32)
            (i32.sub (global.get $ready) (i32.const 1)))"#;
    assert_eq!(short(&run(&started(&filter_with("", extra, "nop")), &["k"])), "k");
}

#[test]
fn a_batch_is_laid_out_as_its_table_says() {
    let records = [
        Record { body: b"skipped", ..Record::default() },
        Record {
            queue_offset: 7,
            store_at_ms: -2,
            key: Some(b"key"),
            body: b"body",
            properties: b"a\x01b\x02",
            sys_flags: 9,
            tag_hash: 11,
        },
    ];
    let batch = Batch { topic: "topic", queue: 5, records: &records };
    let mut out = vec![0xaa; batch.encoded_len(&[1])];
    batch.encode(&[1], 42, &mut out);
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    let text = |at: usize| {
        let (at, len) = (word(at) as usize, word(at + 4) as usize);
        std::str::from_utf8(&out[at..at + len]).unwrap()
    };
    assert_eq!(&out[..8], b"RMB1\x01\0\0\0");
    assert_eq!([8, 12, 16, 20, 24, 36].map(word), [1, 64, 48, 112, out.len() as u32, 5]);
    assert_eq!((text(28), word(48)), ("topic", 42));
    let description = word(12) as usize;
    assert_eq!(word(description), 7);
    assert_eq!(out[description + 8..description + 16], (-2i64).to_le_bytes());
    assert_eq!(text(description + 16), "key");
    assert_eq!(text(description + 24), "body");
    assert_eq!(text(description + 32), "a\x01b\x02");
    assert_eq!((word(description + 40), word(description + 44)), (9, 11));

    let mut out = vec![0xaa; batch.encoded_len(&[0])];
    batch.encode(&[0], 0, &mut out);
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
    assert_eq!(word(64 + 20), u32::MAX);
}
