use super::*;
use crate::{Output, Properties};

/// A map that leaves bodies as they are that begin with `k`, drops those with `d`, and runs `evil`
/// for those with `x`. The answer is at `$out`; `$output` appends an output, of which the addresses
/// and lengths are given.
fn map_with(kind: &str, evil: &str, at_the_end: &str) -> String {
    let manifest = section(&manifest(kind, ""));
    format!(
        r#"(module {BASE} {LOOP} {manifest}
          (global $outputs (mut i32) (i32.const 0))
          (global $made (mut i32) (i32.const 0))
          (func $output (param $record i32) (param $flags i32) (param $at i32) (param $len i32)
              (local $to i32)
            (local.set $to (i32.add (global.get $outputs) (i32.mul (global.get $made) (i32.const 48))))
            (global.set $made (i32.add (global.get $made) (i32.const 1)))
            (i32.store (local.get $to) (local.get $record))
            (i32.store offset=4 (local.get $to) (local.get $flags))
            (i32.store offset=8 (local.get $to) (local.get $at))
            (i32.store offset=12 (local.get $to) (local.get $len))
            (i32.store offset=16 (local.get $to) (local.get $at))
            (i32.store offset=20 (local.get $to) (local.get $len))
            (i32.store offset=24 (local.get $to) (local.get $at))
            (i32.store offset=28 (local.get $to) (local.get $len)))
          (func $judge (param $batch i32) (param $i i32) (result i32)
              (local $first i32) (local $body i32) (local $n i32)
            (local.set $body (call $body (local.get $batch) (local.get $i)))
            (local.set $first (i32.load8_u (local.get $body)))
            (if (i32.eq (local.get $first) (i32.const 0x64)) (then (return (i32.const 0))))
            (if (i32.eq (local.get $first) (i32.const 0x78)) (then {evil}))
            (i32.const 1))
          (func (export "mr_map") (param $batch i32) (param i32) (param $out i32) (result i32)
              (local $verdicts i32) (local $has_x i32)
            (if (i32.eqz (global.get $outputs))
              (then (global.set $outputs (call $alloc (i32.const 200000) (i32.const 8)))))
            (global.set $made (i32.const 0))
            (local.set $verdicts (call $alloc (call $count (local.get $batch)) (i32.const 8)))
            (local.set $has_x (i32.lt_u (call $judge_all (local.get $batch) (local.get $verdicts))
              (call $count (local.get $batch))))
            (i32.store (local.get $out) (local.get $verdicts))
            (i32.store offset=4 (local.get $out) (call $count (local.get $batch)))
            (i32.store offset=8 (local.get $out) (global.get $outputs))
            (i32.store offset=12 (local.get $out) (global.get $made))
            {at_the_end}
            (i32.const 0)))"#
    )
}

#[track_caller]
fn check(text: &str, verdicts: &str, fault: &str) {
    let filter = started(text);
    for _ in 0..2 {
        let decisions = run(&filter, &["k", "xyz", "k"]);
        assert_eq!(short(&decisions), verdicts);
        if !fault.is_empty() {
            let found = first_fault(decisions.verdicts()).to_string();
            assert!(found.contains(fault), "`{found}` does not say `{fault}`");
        }
        assert!(decisions.outputs().all(|output| output.record == 1), "of another record");
    }
}

/// A map that gives one output for the record and then says that it replaced it.
fn one(flags: u32, at: &str, len: &str) -> String {
    format!("(call $output (local.get $i) (i32.const {flags}) {at} {len}) (return (i32.const 2))")
}

const BODY: &str = "(local.get $body)";
const TWO: &str = "(i32.const 2)";

#[test]
fn a_map_replaces_what_it_names_and_nothing_else() {
    let output = |flags| {
        let filter = started(&map_with("map", &one(flags, BODY, TWO), ""));
        let decisions = run(&filter, &["k", "d", "xyz", "k"]);
        assert_eq!(short(&decisions), "kdrk");
        let [output] = decisions.outputs().collect::<Vec<_>>()[..] else { panic!("one output") };
        let owned =
            |part: Option<&[u8]>| part.map(|part| String::from_utf8(part.to_vec()).unwrap());
        let properties = output.properties.map(|properties| match properties {
            Properties::Instead(text) => ("instead", owned(Some(text)).unwrap()),
            Properties::Beside(text) => ("beside", owned(Some(text)).unwrap()),
        });
        (output.record, owned(output.key), owned(output.body), properties)
    };
    let xy = || Some("xy".to_owned());
    assert_eq!(output(0), (2, None, None, None));
    assert_eq!(output(1), (2, xy(), None, None));
    assert_eq!(output(2), (2, None, xy(), None));
    assert_eq!(output(4), (2, None, None, Some(("instead", "xy".to_owned()))));
    assert_eq!(output(3 + 8), (2, xy(), xy(), Some(("beside", "xy".to_owned()))));
    // What a later version adds is ignored.
    assert_eq!(output(2 + 1024), (2, None, xy(), None));
}

#[test]
fn a_flat_map_makes_several_in_order() {
    let evil = "(loop $more
        (call $output (local.get $i) (i32.const 2)
            (i32.add (local.get $body) (local.get $n)) (i32.const 1))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $n)
            (call $body_len (local.get $batch) (local.get $i)))))
        (return (i32.const 2))";
    let filter = started(&map_with("flat-map", evil, ""));
    for _ in 0..2 {
        let decisions = run(&filter, &["xab", "k", "xc"]);
        assert_eq!(short(&decisions), "rkr");
        let made: Vec<(u32, &[u8])> = decisions
            .outputs()
            .map(|output: Output<'_>| (output.record, output.body.unwrap()))
            .collect();
        let expected: [(u32, &[u8]); 5] = [(0, b"x"), (0, b"a"), (0, b"b"), (2, b"x"), (2, b"c")];
        assert_eq!(made, expected);
    }
}

#[test]
fn a_flat_map_may_make_nothing() {
    check(&map_with("flat-map", "(return (i32.const 2))", ""), "krk", "");
}

#[test]
fn outputs_come_in_order_whoever_was_tried_first() {
    // The first record is replaced; the last one traps, so it is tried before the others.
    let evil = "(if (i32.eq (i32.const 0x21) (i32.load8_u offset=1 (local.get $body)))
        (then unreachable))";
    let evil = format!("{evil} {}", one(2, BODY, TWO));
    let filter = started(&map_with("map", &evil, ""));
    let decisions = run(&filter, &["xa", "xb", "x!", "xc"]);
    assert_eq!(short(&decisions), "rrxr");
    let records: Vec<u32> = decisions.outputs().map(|output| output.record).collect();
    assert_eq!(records, [0, 1, 3]);
}

#[test]
fn a_body_outside_of_memory() {
    check(&map_with("map", &one(2, "(i32.const 0x7fffff00)", TWO), ""), "kxk", "its body, 2 bytes");
}

#[test]
fn a_negative_length() {
    check(&map_with("map", &one(2, BODY, "(i32.const -1)"), ""), "kxk", "puts out more than");
    check(&map_with("map", &one(1, BODY, "(i32.const -1)"), ""), "kxk", "puts out more than");
}

#[test]
fn a_length_beyond_the_end_of_memory() {
    let text = map_with("map", &one(4, BODY, "(i32.const 20000000)"), "");
    check(&text, "kxk", "outside of its memory");
}

#[test]
fn more_than_one_for_one() {
    let evil = one(2, BODY, TWO).replacen(
        "(call",
        "(call $output (local.get $i) (i32.const 2) \
        (local.get $body) (i32.const 1)) (call",
        1,
    );
    check(&map_with("map", &evil, ""), "kxk", "it makes more than 1 of record 0");
}

#[test]
fn a_huge_fan_out() {
    let evil = "(loop $more
        (call $output (local.get $i) (i32.const 2) (local.get $body) (i32.const 1))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $n) (i32.const 1001))))
        (return (i32.const 2))";
    check(&map_with("flat-map", evil, ""), "kxk", "it makes more than 1000 of record 0");
}

#[test]
fn outputs_that_all_are_the_whole_memory() {
    let evil = "(drop (memory.grow (i32.const 100))) (loop $more
        (call $output (local.get $i) (i32.const 2) (i32.const 0) (i32.const 6000000))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $more (i32.lt_u (local.get $n) (i32.const 900))))
        (return (i32.const 2))";
    check(&map_with("flat-map", evil, ""), "kxk", "more than 33554432 bytes in one call");
}

#[test]
fn a_replacement_by_nothing() {
    check(&map_with("map", "(return (i32.const 2))", ""), "kxk", "gives nothing for it");
}

#[test]
fn an_output_for_what_is_kept_or_dropped() {
    let output = "(call $output (local.get $i) (i32.const 2) (local.get $body) (i32.const 1))";
    check(&map_with("map", output, ""), "kxk", "without replacing it");
    let dropped = format!("{output} (return (i32.const 0))");
    check(&map_with("map", &dropped, ""), "kxk", "without replacing it");
}

#[test]
fn a_record_for_another_topic() {
    check(&map_with("map", &one(16, BODY, TWO), ""), "kxk", "to another topic");
}

#[test]
fn an_output_of_a_record_that_does_not_exist() {
    let evil = one(2, BODY, TWO).replace("(local.get $i)", "(i32.const 1000)");
    check(&map_with("map", &evil, ""), "kxk", "not in order of records");
}

/// What is filled in wrongly at the end of a call that has an `x` in it.
#[track_caller]
fn check_end(spoil: &str, fault: &str) {
    let at_the_end = format!("(if (local.get $has_x) (then {spoil}))");
    check(&map_with("map", &one(2, BODY, TWO), &at_the_end), "kxk", fault);
}

#[test]
fn verdicts_outside_of_memory() {
    check_end("(i32.store (local.get $out) (i32.const -16))", "its verdicts, 1 bytes");
}

#[test]
fn too_few_verdicts() {
    check_end("(i32.store offset=4 (local.get $out) (i32.const 0))", "0 verdicts on 1 records");
}

#[test]
fn more_outputs_than_memory_has() {
    check_end("(i32.store offset=12 (local.get $out) (i32.const -1))", "its outputs");
    check_end("(i32.store offset=12 (local.get $out) (i32.const 1000000))", "its outputs");
}

#[test]
fn errors_outside_of_memory() {
    check_end(
        "(i32.store offset=16 (local.get $out) (i32.const 8)) \
         (i32.store offset=20 (local.get $out) (i32.const -1))",
        "it gives 4294967295 errors on 1 records",
    );
    check_end(
        "(i32.store offset=16 (local.get $out) (i32.const -8)) \
         (i32.store offset=20 (local.get $out) (i32.const 1))",
        "its errors",
    );
}

#[test]
fn more_errors_than_records() {
    check_end(
        "(i32.store offset=16 (local.get $out) (i32.const 512)) \
         (i32.store offset=20 (local.get $out) (i32.const 4))",
        "it gives 4 errors on 1 records",
    );
}

#[test]
fn an_error_with_its_text() {
    let text = map_with(
        "map",
        "(return (i32.const 3))",
        "(i32.store (i32.const 512) (i32.const 1)) (i32.store offset=8 (i32.const 512) \
         (i32.const 600)) (i32.store offset=12 (i32.const 512) (i32.const 4)) \
         (i32.store (i32.const 600) (i32.const 0x656e6f6e)) \
         (i32.store offset=16 (local.get $out) (i32.const 512)) \
         (i32.store offset=20 (local.get $out) (i32.const 1))",
    );
    check(&text, "kxk", "the filter refuses the record: none");
}

/// A map without a trail that fails on several records at once, so that each is tried alone, and
/// puts out six megabytes for each.
fn six_megabytes_each() -> String {
    let evil = "
        (if (i32.lt_u (memory.size) (i32.const 100)) (then (drop (memory.grow (i32.const 100)))))
        (call $output (local.get $i) (i32.const 2) (i32.const 0) (i32.const 6000000))
        (return (i32.const 2))";
    let several =
        "(if (i32.gt_u (call $count (local.get $batch)) (i32.const 1)) (then unreachable))";
    map_with("map", evil, several)
        .replace(r#"(global (export "mr_progress") i32 (i32.const 16))"#, "")
}

#[test]
fn calls_that_together_put_out_more_than_a_batch_may() {
    let filter = started(&six_megabytes_each());
    let decisions = run(&filter, &["x"; 40]);
    let bytes: usize = decisions.outputs().map(|output| output.body.unwrap().len()).sum();
    assert!(bytes < 2 * HOST.limits().output_bytes_max, "{bytes} bytes");
    assert_eq!(letters(&run_all(&filter, &["x"; 40])), "r".repeat(40));
}
