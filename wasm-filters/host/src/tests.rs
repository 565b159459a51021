//! Modules in WebAssembly's text form, so that tests need no compiler for another language.

mod examples; // the modules that people copy
mod hostile; // modules that mean harm
mod maps; // modules that put records in the place of others
mod ordinary; // modules that mean well
mod refused; // modules that never run

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::{Batch, Decisions, Fault, Filter, Host, Kind, Limits, LoadError, Record, Verdict};

/// Ticks of a call. The host's clock makes them; no test looks at a clock of its own.
const DEADLINE_TICKS: u32 = 8;
const MEMORY_BYTES_MAX: usize = 16 << 20;

static HOST: LazyLock<Host> = LazyLock::new(|| {
    Host::new(Limits {
        memory_bytes_max: MEMORY_BYTES_MAX,
        deadline_ticks: DEADLINE_TICKS,
        tick: Duration::from_millis(1),
        ..Limits::default()
    })
});

/// A manifest of version 1.
fn manifest(kind: &str, more: &str) -> String {
    format!(r#"{{"abi":1,"name":"test","version":"1.0.0","kinds":["{kind}"]{more}}}"#)
}

/// A custom section with this text, for a module's text form.
fn section(text: &str) -> String {
    format!("(@custom \"millrace.filter\" \"{}\")", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What every module has: a memory, an allocator that gives one piece after the other, a progress
/// cell at address 16, and functions that look into a batch.
const BASE: &str = r#"
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
const LOOP: &str = r#"
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
fn filter_with(imports: &str, extra: &str, evil: &str) -> String {
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

fn load(text: &str) -> Result<Arc<crate::Module>, LoadError> {
    HOST.load(&wat::parse_str(text).expect("the test's module can be read"))
}

fn start(text: &str, params: Value) -> Result<Filter, crate::StartError> {
    let Value::Object(params) = params else { panic!("parameters are a map") };
    Filter::start(load(text).expect("the module is sound"), params)
}

fn started(text: &str) -> Filter {
    start(text, Value::Object(Map::new())).expect("the module starts")
}

/// One run over records with these bodies.
fn run<'a>(filter: &Filter, bodies: &[&'a str]) -> Decisions {
    let record = |(offset, body): (usize, &&'a str)| Record {
        queue_offset: offset as i64,
        store_at_ms: 1_767_225_600_000,
        body: body.as_bytes(),
        properties: b"region\x01eu\x02",
        ..Record::default()
    };
    let records: Vec<Record<'_>> = bodies.iter().enumerate().map(record).collect();
    let batch = Batch { topic: "orders", queue: 3, records: &records };
    let (decisions, ticks) = filter.run_counted(&batch).expect("the module starts again");
    assert!(ticks <= 2 * DEADLINE_TICKS, "{ticks} ticks");
    decisions
}

/// The verdicts on records with these bodies, however many runs that takes.
fn run_all(filter: &Filter, bodies: &[&str]) -> Vec<Verdict> {
    let mut decided = vec![Verdict::NotReached; bodies.len()];
    loop {
        let pending = |at: &usize| decided[*at] == Verdict::NotReached;
        let rows: Vec<usize> = (0..bodies.len()).filter(pending).collect();
        if rows.is_empty() {
            return decided;
        }
        let decisions = run(filter, &rows.iter().map(|at| bodies[*at]).collect::<Vec<_>>());
        let is_decided = |verdict: &Verdict| *verdict != Verdict::NotReached;
        assert!(decisions.verdicts().iter().any(is_decided), "a run decided nothing");
        for (at, verdict) in rows.into_iter().zip(decisions.verdicts()) {
            decided[at] = verdict.clone();
        }
    }
}

/// Verdicts in short: `k`ept, `d`ropped, `r`eplaced, `x` failed, `.` not reached.
fn letters(verdicts: &[Verdict]) -> String {
    let letter = |verdict: &Verdict| match verdict {
        Verdict::Keep => 'k',
        Verdict::Drop => 'd',
        Verdict::Replace => 'r',
        Verdict::Failed(_) => 'x',
        Verdict::NotReached => '.',
    };
    verdicts.iter().map(letter).collect()
}

fn short(decisions: &Decisions) -> String {
    letters(decisions.verdicts())
}

/// The fault of the first record that failed.
fn first_fault(verdicts: &[Verdict]) -> Fault {
    let failed = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Failed(fault) => Some(fault.clone()),
        _ => None,
    });
    failed.expect("a record failed")
}

#[test]
fn the_export_of_a_kind_is_one_that_is_checked() {
    assert_eq!([Kind::Filter, Kind::FlatMap].map(Kind::export), ["mr_filter", "mr_map"]);
}
