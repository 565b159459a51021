use std::collections::BTreeSet;

use millrace_connect_api::{Cut, FileSink, Part, PartState, Resume, SinkError};
use millrace_disk::{Fault, SimDisk};

use super::rig::*;
use crate::{IndexError, IndexSink};

/// What a ledger would know.
#[derive(Default)]
struct Ledger {
    resume: Resume,
    planned: Option<(Vec<Part>, Resume)>,
    next_part_id: u64,
}

const END: u64 = 18;

/// Goes on from what the ledger says to the end, two documents to a part.
fn run(disk: &SimDisk, ledger: &mut Ledger, worker: u64) -> Result<(), SinkError> {
    let mut options = options();
    options.worker_tag = worker;
    let opened = |ledger: &Ledger| {
        let (resume, id) = (ledger.resume.clone(), ledger.next_part_id);
        let disk = std::sync::Arc::new(disk.clone());
        IndexSink::open(disk, options.clone(), resume, id)
            .map_err(|error| SinkError::Broken(Box::new(error)))
    };
    if let Some((parts, resume)) = ledger.planned.clone() {
        let mut sink = opened(ledger)?;
        let mut states = Vec::new();
        for part in &parts {
            states.push(ready(sink.probe(part))?);
        }
        if states.contains(&PartState::Gone) {
            assert!(!states.contains(&PartState::Published), "half a plan is visible");
            for part in &parts {
                ready(sink.abort(part))?;
            }
        } else {
            for part in &parts {
                ready(sink.publish(part))?;
            }
            ledger.resume = resume;
        }
        ledger.planned = None;
    }
    let mut sink = opened(ledger)?;
    ready(sink.sweep(&[]))?;
    let from = ledger.resume.next.values().next().map_or(0, |next| next.0);
    for n in (from..END).step_by(2) {
        ready(sink.write(&batch(0, n, n + 2), at(n)))?;
        let plan = ready(sink.plan(at(n), Cut::All))?;
        ledger.next_part_id = plan.parts.iter().map(|part| part.id + 1).max().unwrap_or(0);
        ledger.planned = Some((plan.parts.clone(), plan.resume.clone()));
        for part in &plan.parts {
            ready(sink.publish(part))?;
        }
        (ledger.resume, ledger.planned) = (plan.resume, None);
    }
    ready(sink.plan(at(END), Cut::All)).map(drop)
}

/// What a reader sees is never more than once there, and all that was committed.
fn check(disk: &SimDisk, ledger: &Ledger) {
    let found = match disk.paths().iter().any(|path| path.starts_with(DIR)) {
        true => find(disk, "*"),
        false => Vec::new(),
    };
    let known: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(known.len(), found.len(), "a document is there twice: {found:?}");
    let committed = ledger.resume.next.values().next().map_or(0, |next| next.0);
    let planned = ledger.planned.as_ref().map(|(_, resume)| resume);
    let planned = planned.and_then(|resume| resume.next.values().next()).map(|next| next.0);
    let to = planned.unwrap_or(committed);
    assert!(found.len() as u64 >= committed, "{committed} are committed, there are {found:?}");
    assert!(found.len() as u64 <= to, "{to} are planned, there are {found:?}");
}

#[test]
fn the_power_may_go_at_any_operation() {
    let (mut cuts, mut merged) = (0, 0);
    for operations in 0.. {
        let disk = SimDisk::new(operations);
        disk.cut_after(operations);
        let mut ledger = Ledger { next_part_id: 1, ..Ledger::default() };
        let whole = run(&disk, &mut ledger, 1);
        let cut = disk.is_cut();
        assert!(whole.is_ok() || cut, "{operations}: {whole:?}");
        let disk = if cut { disk.power_cut() } else { disk.kill() };
        check(&disk, &ledger);
        // The second worker is killed as well, a little later.
        disk.cut_after(operations / 2 + 7);
        let again = run(&disk, &mut ledger, 2);
        let disk = if disk.is_cut() { disk.power_cut() } else { disk.kill() };
        check(&disk, &ledger);
        drop(again);
        run(&disk, &mut ledger, 3).unwrap();
        check(&disk, &ledger);
        assert_eq!(find(&disk, "*"), (0..END as i64).collect::<Vec<_>>(), "{operations}");
        assert_eq!(staged(&disk), Vec::<String>::new());
        merged += u64::from(visible(&disk).len() < 8);
        if !cut {
            assert!(operations > 40, "it is done after {operations} operations");
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 40 && merged == cuts + 1, "{cuts} cuts, {merged} merged");
}

/// What the disk said.
fn cause(error: &SinkError) -> &std::io::Error {
    let SinkError::Broken(cause) = error else { panic!("it would be tried again: {error}") };
    match cause.downcast_ref() {
        Some(IndexError::Io(error)) => error,
        other => panic!("no error of the disk: {other:?}"),
    }
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    ready(sink.write(&batch(0, 0, 1), at(0))).unwrap();
    disk.inject(Fault::FullWrite { nth: 1 });
    let error = ready(sink.plan(at(0), Cut::All)).unwrap_err();
    assert_eq!(
        cause(&error).to_string(),
        "cannot write to /out/index/.pipe-search-0000000001.0.part: No space left on device (os \
         error 28)"
    );
    let mut sink = open(&disk, options());
    for n in 0..8 {
        commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap();
    }
    // There is no room for what eight parts would become.
    disk.inject(Fault::FullWrite { nth: 1 });
    let error = ready(sink.plan(at(8), Cut::All)).unwrap_err();
    assert_eq!(cause(&error).kind(), std::io::ErrorKind::StorageFull);
    assert_eq!((visible(&disk).len(), find(&disk, "*").len()), (8, 8));
    assert_eq!(staged(&disk).len(), 1);
    let resume = Resume { next: next(&[(0, 8)]), ..Resume::default() };
    let mut sink = reopen(&disk, options(), resume, 9);
    ready(sink.sweep(&[])).unwrap();
    ready(sink.plan(at(9), Cut::All)).unwrap();
    assert_eq!((visible(&disk).len(), staged(&disk).len()), (1, 0));
    assert_eq!(find(&disk, "*"), (0..8).collect::<Vec<_>>());
}
