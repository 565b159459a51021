use super::text::{FAIL, LOG, WRITE};
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

macro_rules! hostile {
    ($($name:ident: $imports:expr, $extra:expr, $evil:expr => $verdicts:literal, $fault:literal;)*) => {
        $(#[test]
        fn $name() {
            check_filter(&filter_with($imports, $extra, $evil), $verdicts, $fault);
        })*
    };
}

include!("hostile/cases.rs");

#[test]
fn memory_that_is_never_given_back() {
    // Each record takes a megabyte and a half, so the instance is used up within one batch.
    let text = filter_with("", "", "(drop (call $alloc (i32.const 1500000) (i32.const 8)))");
    let filter = started(&text);
    let bodies = ["x"; 40];
    assert_eq!(short(&run(&filter, &bodies)), "k".repeat(40));
}

#[test]
fn a_reason_without_end() {
    let evil = "(call $fail (i32.const 0) (i32.const 60000)) (return (i32.const 3))";
    let filter = started(&filter_with(FAIL, "", evil));
    let fault = first_fault(run(&filter, &["x"]).verdicts()).to_string();
    assert!(fault.len() < 1200, "{} bytes", fault.len());
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
