use super::*;

/// What a filter does that is given an `x` with neighbours before and behind it.
#[track_caller]
fn check_filter(text: &str, verdicts: &str, fault: &str) {
    let filter = started(text);
    // The second time, in whatever state the first one left.
    for _ in 0..2 {
        let decided = run_all(&filter, &["k", "d", "x", "k", "d", "k"]);
        assert_eq!(letters(&decided), verdicts);
        if !fault.is_empty() {
            let found = first_fault(&decided).to_string();
            assert!(found.contains(fault), "`{found}` does not say `{fault}`");
        }
    }
}

/// A filter that does harm at one record fails there, and nowhere else.
#[track_caller]
fn check(evil: &str, fault: &str) {
    check_filter(&filter_with("", "", evil), "kdxkdk", fault);
}

const LOG: &str = r#"(import "millrace_v1" "log" (func $log (param i32 i32 i32)))"#;
const FAIL: &str = r#"(import "millrace_v1" "fail" (func $fail (param i32 i32)))"#;
const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))"#;

#[test]
fn a_trap() {
    check("unreachable", "unreachable");
}

#[test]
fn an_endless_loop() {
    check("(loop $for_ever (br $for_ever))", "did not end within 8 ticks");
}

#[test]
fn an_endless_loop_that_looks_busy() {
    check(
        "(loop $for_ever (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) \
         (i32.const 1))) (br $for_ever))",
        "did not end",
    );
}

#[test]
fn endless_recursion() {
    let extra = "(func $deep (param i32) (result i32)
        (i32.add (call $deep (local.get 0)) (i32.const 1)))";
    check_filter(
        &filter_with("", extra, "(drop (call $deep (i32.const 1)))"),
        "kdxkdk",
        "call stack exhausted",
    );
}

#[test]
fn a_read_outside_of_memory() {
    check("(drop (i32.load (i32.const 0x7ffffff0)))", "out of bounds memory access");
}

#[test]
fn a_write_outside_of_memory() {
    check("(i32.store (i32.const -4) (i32.const 1))", "out of bounds memory access");
}

#[test]
fn a_fill_outside_of_memory() {
    check(
        "(memory.fill (i32.const 0) (i32.const 7) (i32.const -1))",
        "out of bounds memory access",
    );
}

#[test]
fn a_copy_outside_of_memory() {
    check(
        "(memory.copy (i32.const 0) (i32.const 65536) (i32.const 0x7fffffff))",
        "out of bounds memory access",
    );
}

#[test]
fn a_division_by_zero() {
    check("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divide by zero");
}

#[test]
fn a_number_that_does_not_fit() {
    check("(drop (i32.trunc_f64_s (f64.const nan)))", "integer");
}

#[test]
fn memory_until_there_is_none_left() {
    // It keeps the record if it got more than 16 MiB.
    check(
        "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
         (if (i32.gt_u (memory.size) (i32.const 256)) (then (return (i32.const 1)))) unreachable",
        "unreachable",
    );
}

#[test]
fn all_memory_at_once() {
    // More than a module gets is refused, and the module may go on.
    check_filter(&filter_with("", "", "(drop (memory.grow (i32.const 65000)))"), "kdkkdk", "");
}

#[test]
fn memory_that_is_never_given_back() {
    // Each record takes a megabyte and a half, so the instance is used up within one batch.
    let text = filter_with("", "", "(drop (call $alloc (i32.const 1500000) (i32.const 8)))");
    let filter = started(&text);
    let bodies = ["x"; 40];
    assert_eq!(short(&run(&filter, &bodies)), "k".repeat(40));
}

#[test]
fn a_table_that_grows() {
    let extra = "(table $t 1 funcref)";
    let evil = "(loop $more (br_if $more (i32.ne (i32.const -1) \
                (table.grow $t (ref.null func) (i32.const 1000)))) unreachable)";
    check_filter(&filter_with("", extra, evil), "kdxkdk", "unreachable");
}

#[test]
fn a_call_of_nothing() {
    let extra = "(table 1 funcref) (type $t (func))";
    check_filter(
        &filter_with("", extra, "(call_indirect (type $t) (i32.const 0))"),
        "kdxkdk",
        "uninitialized element",
    );
}

#[test]
fn a_call_of_something_else() {
    let extra = "(table 1 funcref) (type $t (func (param f64))) (elem (i32.const 0) $count)";
    check_filter(
        &filter_with("", extra, "(call_indirect (type $t) (f64.const 0) (i32.const 0))"),
        "kdxkdk",
        "indirect call type mismatch",
    );
}

#[test]
fn a_verdict_that_does_not_exist() {
    check("(return (i32.const 7))", "the verdict 7 on record 0");
}

#[test]
fn no_verdict() {
    check("(return (i32.const 255))", "no verdict on record 0");
}

#[test]
fn a_replacement_by_a_filter() {
    check("(return (i32.const 2))", "replaces record 0");
}

#[test]
fn a_retry_that_does_not_exist_yet() {
    check("(return (i32.const 4))", "not available yet");
}

#[test]
fn an_error_without_a_reason() {
    check("(return (i32.const 3))", "it gives no reason");
}

#[test]
fn a_reason_that_is_no_text() {
    let extra = r#"(data (i32.const 64) "bad \ff\fe\00 text")"#;
    let evil = "(call $fail (i32.const 64) (i32.const 12)) (return (i32.const 3))";
    check_filter(&filter_with(FAIL, extra, evil), "kdxkdk", "bad \u{fffd}\u{fffd}  text");
}

#[test]
fn a_reason_outside_of_memory() {
    let evil = "(call $fail (i32.const 64) (i32.const -1))";
    check_filter(&filter_with(FAIL, "", evil), "kdxkdk", "outside of the memory");
}

#[test]
fn a_reason_without_end() {
    let evil = "(call $fail (i32.const 0) (i32.const 60000)) (return (i32.const 3))";
    let filter = started(&filter_with(FAIL, "", evil));
    let fault = first_fault(run(&filter, &["x"]).verdicts()).to_string();
    assert!(fault.len() < 1200, "{} bytes", fault.len());
}

#[test]
fn a_log_outside_of_memory() {
    let evil = "(call $log (i32.const 1) (i32.const -8) (i32.const 64))";
    check_filter(&filter_with(LOG, "", evil), "kdxkdk", "outside of the memory");
}

#[test]
fn a_flood_of_lines() {
    let evil = "(local.set $first (i32.const 2000)) (loop $more \
                (call $log (i32.const 4) (i32.const 64) (i32.const 900)) \
                (local.set $first (i32.sub (local.get $first) (i32.const 1))) \
                (br_if $more (local.get $first)))";
    check_filter(&filter_with(LOG, "", evil), "kdkkdk", "");
}

#[test]
fn the_text_of_a_panic_is_told() {
    let extra = r#"(data (i32.const 64) "panicked at 'no such city'")"#;
    let evil = "(call $log (i32.const 1) (i32.const 64) (i32.const 26)) unreachable";
    check_filter(&filter_with(LOG, extra, evil), "kdxkdk", "panicked at 'no such city'");
}

#[test]
fn an_end_of_the_process() {
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    check_filter(&filter_with(exit, "", "(call $exit (i32.const 0))"), "kdxkdk", "ended itself");
}

#[test]
fn random_bytes_for_more_memory_than_there_is() {
    let random = r#"(import "wasi_snapshot_preview1" "random_get"
        (func $random (param i32 i32) (result i32)))"#;
    let evil = "(if (i32.eq (i32.const 21) (call $random (i32.const 8) (i32.const -1))) \
                (then unreachable))";
    check_filter(&filter_with(random, "", evil), "kdxkdk", "unreachable");
}

#[test]
fn random_bytes_for_a_large_part_of_memory() {
    let random = r#"(import "wasi_snapshot_preview1" "random_get"
        (func $random (param i32 i32) (result i32)))"#;
    let fits = "(call $random (i32.const 65536) (i32.const 65536))";
    let large = "(call $random (i32.const 60000) (i32.const 65537))";
    let evil = format!(
        "(if (i32.ne (i32.const 0) {fits}) (then (return (i32.const 0))))
         (if (i32.ne (i32.const 28) {large}) (then (return (i32.const 0))))"
    );
    check_filter(&filter_with(random, "", &evil), "kdkkdk", "");
}

#[test]
fn a_megabyte_of_nothing_that_is_written_over_and_over() {
    // Each call names the same megabyte 16 times. Whatever the host does with it is not in the
    // module's ticks, but for the one that it is seen at when it goes on.
    let evil = "(drop (memory.grow (i32.const 16)))
        (memory.fill (i32.const 65536) (i32.const 32) (i32.const 1000000))
        (local.set $first (i32.const 16)) (loop $part
            (local.set $first (i32.sub (local.get $first) (i32.const 1)))
            (i32.store offset=512 (i32.mul (local.get $first) (i32.const 8)) (i32.const 65536))
            (i32.store offset=516 (i32.mul (local.get $first) (i32.const 8)) (i32.const 1000000))
            (br_if $part (local.get $first)))
        (local.set $first (i32.const 10)) (loop $more
            (drop (call $write (i32.const 1) (i32.const 512) (i32.const 16) (i32.const 256)))
            (local.set $first (i32.sub (local.get $first) (i32.const 1)))
            (br_if $more (local.get $first)))";
    check_filter(&filter_with(WRITE, "", evil), "kdkkdk", "");
}

#[test]
fn a_list_of_writes_that_never_ends() {
    let evil = "(drop (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const -2)))";
    check_filter(&filter_with(WRITE, "", evil), "kdkkdk", "");
}

#[test]
fn a_wrong_trail() {
    // It says that it was at record 0, which is innocent.
    check("(i32.store (i32.const 16) (i32.const 0)) unreachable", "unreachable");
}

#[test]
fn a_trail_that_leads_nowhere() {
    check("(i32.store (i32.const 16) (i32.const 77)) unreachable", "unreachable");
}

#[test]
fn a_trail_outside_of_memory() {
    let text = filter_with("", "", "unreachable");
    let text = text.replace(
        r#"(global (export "mr_progress") i32 (i32.const 16))"#,
        r#"(global (export "mr_progress") i32 (i32.const -2))"#,
    );
    check_filter(&text, "kdxkdk", "unreachable");
}

#[test]
fn no_trail_at_all() {
    let text = filter_with("", "", "unreachable");
    let text = text.replace(r#"(global (export "mr_progress") i32 (i32.const 16))"#, "");
    check_filter(&text, "kdxkdk", "unreachable");
}

#[test]
fn a_poison_that_works_later() {
    // The record itself passes, and every one behind it traps, as long as the instance lives.
    let extra = "(global $poisoned (mut i32) (i32.const 0))";
    let text = filter_with("", extra, "(global.set $poisoned (i32.const 1))").replace(
        "(local.set $first",
        "(if (global.get $poisoned) (then unreachable)) (local.set $first",
    );
    check_filter(&text, "kdkkdk", "");
}

#[test]
fn a_wrong_sum() {
    let text = filter_with("", "", "unreachable").replace(
        "(call $judge_all (local.get $batch) (local.get $verdicts))",
        "(drop (call $judge_all (local.get $batch) (local.get $verdicts))) (i32.const 1000000)",
    );
    let decisions = run(&started(&text), &["k", "d"]);
    assert_eq!(short(&decisions), "xx");
    assert_eq!(
        first_fault(decisions.verdicts()).to_string(),
        "the filter broke the contract: it says it kept 1000000 records, and marked 1"
    );
}

#[test]
fn no_to_a_whole_batch() {
    let text = filter_with("", "", "(global.set $no (i32.const 1))")
        .replace("(func $judge ", "(global $no (mut i32) (i32.const 0)) (func $judge ")
        .replace(
            "(call $judge_all (local.get $batch) (local.get $verdicts))",
            "(call $judge_all (local.get $batch) (local.get $verdicts)) \
             (if (global.get $no) (then (return (i32.const -5))))",
        );
    check_filter(&text, "kdxkdk", "it gives the code -5 and no reason");
}

#[test]
fn two_endless_loops_in_one_batch() {
    let filter = started(&filter_with("", "", "(loop $for_ever (br $for_ever))"));
    // Each takes two deadlines: with the others, and alone. The first run reaches no other.
    assert_eq!(short(&run(&filter, &["k", "x", "d", "x", "k"])), ".x...");
    assert_eq!(letters(&run_all(&filter, &["k", "x", "d", "x", "k"])), "kxdxk");
}

#[test]
fn a_filter_that_is_late_with_many_gets_fewer_at_a_time() {
    // Half a tick or so for each record: a batch of 64 takes longer than the deadline.
    let slow = "(local.set $first (i32.const 1000000)) (loop $more \
                (local.set $first (i32.sub (local.get $first) (i32.const 1))) \
                (br_if $more (local.get $first)))";
    let filter = started(&filter_with("", "", slow));
    assert_eq!(letters(&run_all(&filter, &["x"; 64])), "k".repeat(64));
}
