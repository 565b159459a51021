// Filters that keep what begins with `k`, drop what begins with `d`, and do harm at an `x`: imports,
// what stands beside the functions, and what is done, then the verdicts on `k d x k d k` and what the
// first failure says. Whoever includes this says what `hostile!` makes of it.

hostile! {
    a_trap: "", "",
        "unreachable"
        => "kdxkdk", "unreachable";
    an_endless_loop: "", "",
        "(loop $for_ever (br $for_ever))"
        => "kdxkdk", "did not end within 8 ticks";
    an_endless_loop_that_looks_busy: "", "",
        "(loop $for_ever (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) \
         (i32.const 1))) (br $for_ever))"
        => "kdxkdk", "did not end";
    endless_recursion: "", "(func $deep (param i32) (result i32)
        (i32.add (call $deep (local.get 0)) (i32.const 1)))",
        "(drop (call $deep (i32.const 1)))"
        => "kdxkdk", "call stack exhausted";
    a_read_outside_of_memory: "", "",
        "(drop (i32.load (i32.const 0x7ffffff0)))"
        => "kdxkdk", "out of bounds memory access";
    a_write_outside_of_memory: "", "",
        "(i32.store (i32.const -4) (i32.const 1))"
        => "kdxkdk", "out of bounds memory access";
    a_fill_outside_of_memory: "", "",
        "(memory.fill (i32.const 0) (i32.const 7) (i32.const -1))"
        => "kdxkdk", "out of bounds memory access";
    a_copy_outside_of_memory: "", "",
        "(memory.copy (i32.const 0) (i32.const 65536) (i32.const 0x7fffffff))"
        => "kdxkdk", "out of bounds memory access";
    a_division_by_zero: "", "",
        "(drop (i32.div_u (i32.const 1) (i32.const 0)))"
        => "kdxkdk", "divide by zero";
    a_number_that_does_not_fit: "", "",
        "(drop (i32.trunc_f64_s (f64.const nan)))"
        => "kdxkdk", "integer";
    // It keeps the record if it got more than 16 MiB.
    memory_until_there_is_none_left: "", "",
        "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
         (if (i32.gt_u (memory.size) (i32.const 256)) (then (return (i32.const 1)))) unreachable"
        => "kdxkdk", "unreachable";
    // More than a module gets is refused, and the module may go on.
    all_memory_at_once: "", "",
        "(drop (memory.grow (i32.const 65000)))"
        => "kdkkdk", "";
    a_table_that_grows: "", "(table $t 1 funcref)",
        "(loop $more (br_if $more (i32.ne (i32.const -1) \
                (table.grow $t (ref.null func) (i32.const 1000)))) unreachable)"
        => "kdxkdk", "unreachable";
    a_call_of_nothing: "", "(table 1 funcref) (type $t (func))",
        "(call_indirect (type $t) (i32.const 0))"
        => "kdxkdk", "uninitialized element";
    a_call_of_something_else: "", "(table 1 funcref) (type $t (func (param f64))) (elem (i32.const 0) $count)",
        "(call_indirect (type $t) (f64.const 0) (i32.const 0))"
        => "kdxkdk", "indirect call type mismatch";
    a_verdict_that_does_not_exist: "", "",
        "(return (i32.const 7))"
        => "kdxkdk", "the verdict 7 on record 0";
    no_verdict: "", "",
        "(return (i32.const 255))"
        => "kdxkdk", "no verdict on record 0";
    a_replacement_by_a_filter: "", "",
        "(return (i32.const 2))"
        => "kdxkdk", "replaces record 0";
    a_retry_that_does_not_exist_yet: "", "",
        "(return (i32.const 4))"
        => "kdxkdk", "not available yet";
    an_error_without_a_reason: "", "",
        "(return (i32.const 3))"
        => "kdxkdk", "it gives no reason";
    a_reason_that_is_no_text: FAIL, r#"(data (i32.const 64) "bad \ff\fe\00 text")"#,
        "(call $fail (i32.const 64) (i32.const 12)) (return (i32.const 3))"
        => "kdxkdk", "bad \u{fffd}\u{fffd}  text";
    a_reason_outside_of_memory: FAIL, "",
        "(call $fail (i32.const 64) (i32.const -1))"
        => "kdxkdk", "outside of the memory";
    a_log_outside_of_memory: LOG, "",
        "(call $log (i32.const 1) (i32.const -8) (i32.const 64))"
        => "kdxkdk", "outside of the memory";
    a_flood_of_lines: LOG, "",
        "(local.set $first (i32.const 2000)) (loop $more \
                (call $log (i32.const 4) (i32.const 64) (i32.const 900)) \
                (local.set $first (i32.sub (local.get $first) (i32.const 1))) \
                (br_if $more (local.get $first)))"
        => "kdkkdk", "";
    the_text_of_a_panic_is_told: LOG, r#"(data (i32.const 64) "panicked at 'no such city'")"#,
        "(call $log (i32.const 1) (i32.const 64) (i32.const 26)) unreachable"
        => "kdxkdk", "panicked at 'no such city'";
    an_end_of_the_process: r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#, "",
        "(call $exit (i32.const 0))"
        => "kdxkdk", "ended itself";
    random_bytes_for_more_memory_than_there_is: r#"(import "wasi_snapshot_preview1" "random_get"
        (func $random (param i32 i32) (result i32)))"#, "",
        "(if (i32.eq (i32.const 21) (call $random (i32.const 8) (i32.const -1))) \
                (then unreachable))"
        => "kdxkdk", "unreachable";
    // Each call names the same megabyte 16 times. Whatever the host does with it is not in the
    // module's ticks, but for the one that it is seen at when it goes on.
    a_megabyte_of_nothing_that_is_written_over_and_over: WRITE, "",
        "(drop (memory.grow (i32.const 16)))
        (memory.fill (i32.const 65536) (i32.const 32) (i32.const 1000000))
        (local.set $first (i32.const 16)) (loop $part
            (local.set $first (i32.sub (local.get $first) (i32.const 1)))
            (i32.store offset=512 (i32.mul (local.get $first) (i32.const 8)) (i32.const 65536))
            (i32.store offset=516 (i32.mul (local.get $first) (i32.const 8)) (i32.const 1000000))
            (br_if $part (local.get $first)))
        (local.set $first (i32.const 10)) (loop $more
            (drop (call $write (i32.const 1) (i32.const 512) (i32.const 16) (i32.const 256)))
            (local.set $first (i32.sub (local.get $first) (i32.const 1)))
            (br_if $more (local.get $first)))"
        => "kdkkdk", "";
    a_list_of_writes_that_never_ends: WRITE, "",
        "(drop (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const -2)))"
        => "kdkkdk", "";
    // It says that it was at record 0, which is innocent.
    a_wrong_trail: "", "",
        "(i32.store (i32.const 16) (i32.const 0)) unreachable"
        => "kdxkdk", "unreachable";
    a_trail_that_leads_nowhere: "", "",
        "(i32.store (i32.const 16) (i32.const 77)) unreachable"
        => "kdxkdk", "unreachable";
}
