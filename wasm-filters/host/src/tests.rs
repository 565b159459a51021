//! Modules in WebAssembly's text form, so that tests need no compiler for another language.

mod examples; // the modules that people copy
mod hostile; // modules that mean harm
mod maps; // modules that put records in the place of others
mod ordinary; // modules that mean well
mod refused; // modules that never run
mod said; // what modules log
mod text; // filters as text

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::{Map, Value};

use text::{BASE, LOOP, filter_with, manifest, section};

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
        Verdict::Failed(fault) => Some((**fault).clone()),
        _ => None,
    });
    failed.expect("a record failed")
}

#[test]
fn the_export_of_a_kind_is_one_that_is_checked() {
    assert_eq!([Kind::Filter, Kind::FlatMap].map(Kind::export), ["mr_filter", "mr_map"]);
}
