use serde_json::json;

use super::*;

/// Why a module is not taken.
#[track_caller]
fn check(text: &str, expected: &str) {
    check_bytes(&wat::parse_str(text).expect("the test's module can be read"), expected);
}

#[track_caller]
fn check_bytes(module: &[u8], expected: &str) {
    match HOST.load(module) {
        Ok(_) => panic!("it was taken, and should be refused: {expected}"),
        Err(error) => {
            let found = error.to_string();
            assert!(found.contains(expected), "`{found}` does not say `{expected}`");
        }
    }
}

/// Why a module that was taken does not start.
#[track_caller]
fn check_start(text: &str, expected: &str) {
    let Err(error) = start(text, json!({})) else { panic!("it started: {expected}") };
    let found = error.to_string();
    assert!(found.contains(expected), "`{found}` does not say `{expected}`");
}

/// A sound filter with one thing replaced by another.
fn spoiled(from: &str, to: &str) -> String {
    let text = filter_with("", "", "nop");
    assert!(text.contains(from), "there is no {from}");
    text.replace(from, to)
}

#[test]
fn what_is_no_module() {
    check_bytes(b"", "it does not begin as one");
    check_bytes(b"(module)", "it does not begin as one");
    check_bytes(b"\0asm\x02\0\0\0", "another version of WebAssembly");
    check_bytes(b"\0asm\x0d\0\x01\0", "a component");
    check_bytes(b"\0asm\x01\0\0\0\x01", "cut off");
    check_bytes(b"\0asm\x01\0\0\0\x01\xff\xff\xff\xff\xff\xff", "cut off");
}

#[test]
fn every_beginning_of_a_module_is_refused() {
    let module = wat::parse_str(filter_with("", "", "nop")).unwrap();
    // Behind the last section but the one of names, which may be missing.
    let whole = module.windows(5).position(|bytes| bytes == b"\x04name").unwrap() - 3;
    assert!(HOST.load(&module[..whole]).is_ok());
    for len in 0..whole {
        assert!(HOST.load(&module[..len]).is_err(), "the first {len} bytes");
    }
}

#[test]
fn a_module_of_five_megabytes_is_not_read() {
    // It is no module at all, and nobody finds out.
    check_bytes(&vec![0xff; 5 << 20], "the module has 5242880 bytes; at most 4194304 are read");
}

#[test]
fn too_many_functions() {
    let text = spoiled("(func $count ", &("(func)".repeat(20_001) + "(func $count "));
    check(&text, "at most 20000 are compiled");
}

#[test]
fn a_function_that_is_too_long() {
    let long = format!("(func {}) (func $count ", "(drop (i32.const 1))".repeat(60_000));
    check(&spoiled("(func $count ", &long), "at most 131072 are compiled");
}

#[test]
fn no_manifest_or_another() {
    let manifest = section(&manifest("filter", ""));
    check(&spoiled(&manifest, ""), "no manifest");
    check(&spoiled(&manifest, &section("not json")), "manifest cannot be used");
    check(&spoiled(&manifest, "(@custom \"millrace.filter\" \"\\ff\\fe\")"), "cannot be used");
    check(&spoiled(&manifest, &section(r#"{"abi":1}"#)), "missing field");
    check(&spoiled(&manifest, &section(r#"{"abi":2,"new":true}"#)), "version 2 of the filter ABI");
    let nameless = r#"{"abi":1,"name":"","version":"1","kinds":["filter"]}"#;
    check(&spoiled(&manifest, &section(nameless)), "`name` is not a short text");
}

#[test]
fn parameters_that_can_never_be_right() {
    let sound = section(&manifest("filter", ""));
    let with = |params: &str| {
        let more = format!(",\"params\":{params}");
        spoiled(&sound, &section(&manifest("filter", &more)))
    };
    check(
        &with(r#"{"properties": {"words": {"type": "list"}}}"#),
        "the parameter `words` has the type \"list\", which JSON Schema does not have; there are \
         string, integer, number, boolean, array, object, null",
    );
    check(&with(r#"{"properties": {"n": {"type": ["string", "int"]}}}"#), r#"["string","int"]"#);
    check(&with(r#"{"properties": {"n": {"type": 5}}}"#), "has the type 5,");
    check(&with(r#"{"properties": ["words"]}"#), "`properties` of its `params` must be an object");
    check(&with(r#"{"required": "words"}"#), "`required` of its `params` must be a list of names");
    check(
        &with(r#"{"required": ["words"]}"#),
        "the parameter `words` is required, and `properties` of its `params` does not have it, so \
         it can never be given: add `\"properties\": {\"words\": ",
    );
    for sound in [
        "null",
        "{}",
        r#"{"required": ["a"], "additionalProperties": true}"#,
        r#"{"properties": {"a": {"type": ["string", "null"]}, "b": {}, "c": true}}"#,
    ] {
        assert!(load(&with(sound)).is_ok(), "{sound}");
    }
}

#[test]
fn parameters_that_are_no_json_are_told_by_their_own_lines() {
    let of_rust = |params: &str| {
        let manifest = format!(
            r#"{{"abi":1,"sdk":"rust","name":"test","version":"1","kinds":["filter"],"params":{params}}}"#
        );
        spoiled(&section(&self::manifest("filter", "")), &section(&manifest))
    };
    let told = "its `params`, in Rust those of `#[init(params = ...)]`, are no JSON: ";
    check(
        &of_rust(r#"{"required": ["a"]"#),
        &format!("{told}EOF while parsing an object at line 1"),
    );
    check(&of_rust(r#"{"required": [a]}"#), &format!("{told}expected value at line 1 column 15"));
    check(&of_rust(""), told);
    check(&of_rust("{}}"), &format!("{told}trailing characters at line 1 column 3"));
    let found = match load(&spoiled(&section(&manifest("filter", "")), &section("{abi:1}"))) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was taken"),
    };
    assert!(!found.contains("params"), "{found}");
}

#[test]
fn kinds_that_do_not_run() {
    let of = |kind: &str, more| section(&manifest(kind, more));
    let filter = of("filter", "");
    check(&spoiled(&filter, &of("filter", r#","stateful":true"#)), "stateful modules are not");
    check(&spoiled(&filter, &of("aggregate", "")), "`aggregate` are not available");
    check(&spoiled(&filter, &of(r#"filter","map"#, "")), "must name exactly one");
    check(&spoiled(&filter, &of("sieve", "")), "unknown variant `sieve`");
    check(&spoiled(&filter, &of("map", "")), "does not export `mr_map`");
}

#[test]
fn exports_that_are_missing_or_wrong() {
    check(&spoiled("mr_abi_v1", "mr_abi_v2"), "does not export `mr_abi_v1`");
    check(&spoiled("\"mr_alloc\"", "\"alloc\""), "does not export `mr_alloc`");
    check(&spoiled("\"mr_filter\"", "\"filter\""), "does not export `mr_filter`");
    check(&spoiled("(export \"memory\")", ""), "does not export `memory`");
    check(
        &spoiled(
            "(param $batch i32) (param i32) (param $verdicts",
            "(param $batch i32) (param $verdicts",
        ),
        "does not export `mr_filter` as a function (batch: i32, len: i32, verdicts: i32) -> i32",
    );
    let global = r#"(global (export "mr_progress") i32 (i32.const 16))"#;
    let other = r#"(global (export "mr_progress") i64 (i64.const 16))"#;
    check(&spoiled(global, other), "does not export `mr_progress`");
    check(&spoiled(global, r#"(export "mr_init" (memory 0))"#), "does not export `mr_init`");
    let two = spoiled("mr_abi_v1", "mr_abi_v2").replace("(export \"memory\")", "");
    check(
        &two,
        "does not export `mr_abi_v1` as a function without parameters and result, `memory` as a \
         memory of its own",
    );
}

#[test]
fn imports_that_nobody_gets() {
    let import = |import: &str| filter_with(import, "", "nop");
    check(&import(r#"(import "env" "system" (func (param i32)))"#), "imports `env` `system`");
    check(&import(r#"(import "millrace_v1" "open" (func))"#), "imports `millrace_v1` `open`");
    check(&import(r#"(import "millrace_v1" "log" (func))"#), "cannot be compiled");
    check(&import(r#"(import "wasi_snapshot_preview1" "x" (global i32))"#), "imports `wasi");
    let memory = spoiled(r#"(memory (export "memory") 2)"#, r#"(import "a" "m" (memory 1))"#);
    check(
        &memory.replacen("(module ", "(module (export \"memory\" (memory 0)) ", 1),
        "imports `a` `m`",
    );
}

#[test]
fn features_that_are_off() {
    let memory = r#"(memory (export "memory") 2)"#;
    check(&spoiled(memory, r#"(memory (export "memory") 2) (memory 1)"#), "cannot be compiled");
    check(&spoiled(memory, r#"(memory (export "memory") 2 3 shared)"#), "cannot be compiled");
    check(&spoiled("(i32.const 16)", "(i32.const 16) (i32.const 16)"), "cannot be compiled");
}

#[test]
fn more_memory_or_table_than_there_is_at_the_start() {
    let memory = r#"(memory (export "memory") 2)"#;
    let large = r#"(memory (export "memory") 2000)"#;
    check_start(&spoiled(memory, large), "exceeds memory limits");
    let table = filter_with("", "(table 1000000 funcref)", "nop");
    check_start(&table, "exceeds table limits");
}

#[test]
fn a_start_function_that_traps() {
    let start = "(start $begin) (func $begin unreachable)";
    check_start(
        &filter_with("", start, "nop"),
        "the filter `test` cannot be started: the filter trapped",
    );
}

#[test]
fn a_start_that_never_ends() {
    let endless = "(loop $for_ever (br $for_ever))";
    let start = format!("(start $begin) (func $begin {endless})");
    check_start(&filter_with("", &start, "nop"), "did not end within 8 ticks");
    let initialize = format!("(func (export \"_initialize\") {endless})");
    check_start(&filter_with("", &initialize, "nop"), "did not end within 8 ticks");
    let init =
        format!("(func (export \"mr_init\") (param i32 i32) (result i32) {endless} unreachable)");
    check_start(&filter_with("", &init, "nop"), "did not end within 8 ticks");
}

#[test]
fn an_init_that_traps_or_refuses() {
    let init =
        |body: &str| format!("(func (export \"mr_init\") (param i32 i32) (result i32) {body})");
    check_start(&filter_with("", &init("unreachable"), "nop"), "unreachable");
    check_start(&filter_with("", &init("(i32.const -7)"), "nop"), "the code -7 and no reason");
}

#[test]
fn an_allocator_that_gives_what_it_does_not_have() {
    let body = "(local.get $at))\n    (func $count";
    let gives = |address: &str| spoiled(body, &format!("(i32.const {address}))\n    (func $count"));
    for (address, expected) in [("0", "address 0"), ("12", "address 12"), ("-8", "outside of its")]
    {
        let decisions = run(&started(&gives(address)), &["k", "k"]);
        assert_eq!(short(&decisions), "xx");
        let found = first_fault(decisions.verdicts()).to_string();
        assert!(found.contains(expected), "`{found}` does not say `{expected}`");
    }
}

#[test]
fn a_start_that_takes_nearly_all_the_time_leaves_time_to_decide() {
    // Some ticks for each start, and an endless loop for the record.
    let extra = "(start $begin) (func $begin (local $i i32)
        (local.set $i (i32.const 3000000)) (loop $more
        (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $more (local.get $i))))";
    let filter = started(&filter_with("", extra, "(loop $for_ever (br $for_ever))"));
    let decisions = run(&filter, &["x"]);
    assert_eq!(short(&decisions), "x");
}
