//! Filters in WebAssembly's text form. Nothing here needs the rest of the crate, so that tests of
//! others have the same ones.

/// A manifest of version 1.
pub(super) fn manifest(kind: &str, more: &str) -> String {
    format!(r#"{{"abi":1,"name":"test","version":"1.0.0","kinds":["{kind}"]{more}}}"#)
}

/// A custom section with this text, for a module's text form.
pub(super) fn section(text: &str) -> String {
    format!("(@custom \"millrace.filter\" \"{}\")", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What every module has: a memory, an allocator that gives one piece after the other, a progress
/// cell at address 16, and functions that look into a batch.
pub(super) const BASE: &str = r#"
    (memory (export "memory") 2)
    (global $top (mut i32) (i32.const 1024))
    (global (export "mr_progress") i32 (i32.const 16))
    (func (export "mr_abi_v1"))
    (func $alloc (export "mr_alloc") (param $len i32) (param $align i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get $len)))
      (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
        (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.const 1)
            (i32.shr_u (local.get $len) (i32.const 16))))) (then unreachable))))
      (local.get $at))
    (func $count (param $batch i32) (result i32) (i32.load offset=8 (local.get $batch)))
    (func $description (param $batch i32) (param $i i32) (result i32)
      (i32.add (local.get $batch) (i32.add (i32.load offset=12 (local.get $batch))
        (i32.mul (local.get $i) (i32.load offset=16 (local.get $batch))))))
    (func $body (param $batch i32) (param $i i32) (result i32)
      (i32.add (local.get $batch)
        (i32.load offset=24 (call $description (local.get $batch) (local.get $i)))))
    (func $body_len (param $batch i32) (param $i i32) (result i32)
      (i32.load offset=28 (call $description (local.get $batch) (local.get $i))))
"#;

/// A loop over the records: `judge` gives the verdict on each.
pub(super) const LOOP: &str = r#"
    (func $judge_all (param $batch i32) (param $verdicts i32) (result i32)
        (local $i i32) (local $kept i32) (local $verdict i32)
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (call $count (local.get $batch))))
        (i32.store (i32.const 16) (local.get $i))
        (local.set $verdict (call $judge (local.get $batch) (local.get $i)))
        (i32.store8 (i32.add (local.get $verdicts) (local.get $i)) (local.get $verdict))
        (local.set $kept (i32.add (local.get $kept) (i32.eq (local.get $verdict) (i32.const 1))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (local.get $kept))
"#;

/// A filter that keeps bodies that begin with `k`, drops those with `d`, and runs `evil` for those
/// with `x`. `extra` stands beside the functions, imports before them.
pub(super) fn filter_with(imports: &str, extra: &str, evil: &str) -> String {
    let manifest = section(&manifest("filter", ""));
    format!(
        r#"(module {imports} {BASE} {LOOP} {manifest} {extra}
          (func $judge (param $batch i32) (param $i i32) (result i32) (local $first i32)
            (local.set $first (i32.load8_u (call $body (local.get $batch) (local.get $i))))
            (if (i32.eq (local.get $first) (i32.const 0x64)) (then (return (i32.const 0))))
            (if (i32.eq (local.get $first) (i32.const 0x78)) (then {evil}))
            (i32.const 1))
          (func (export "mr_filter") (param $batch i32) (param i32) (param $verdicts i32) (result i32)
            (call $judge_all (local.get $batch) (local.get $verdicts))))"#
    )
}

/// What a module may import.
pub(super) const LOG: &str = r#"(import "millrace_v1" "log" (func $log (param i32 i32 i32)))"#;
pub(super) const FAIL: &str = r#"(import "millrace_v1" "fail" (func $fail (param i32 i32)))"#;
pub(super) const WRITE: &str = r#"(import "wasi_snapshot_preview1" "fd_write"
    (func $write (param i32 i32 i32 i32) (result i32)))"#;
