use millrace_connect_api::{Cut, FileSink, PartState, Resume};
use millrace_disk::SimDisk;

use super::rig::*;
use crate::IndexSink;

/// Commits as many documents as there are parts, and lets the sink keep up.
fn parts(sink: &mut IndexSink, from: u64, to: u64) {
    for n in from..to {
        commit(sink, &batch(0, n, n + 1), at(n)).unwrap();
    }
    assert_eq!(ready(sink.plan(at(to), Cut::All)).unwrap().parts.len(), 0);
}

#[test]
fn eight_parts_of_a_size_become_one() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    parts(&mut sink, 0, 7);
    assert_eq!(visible(&disk).len(), 7);
    parts(&mut sink, 7, 8);
    assert_eq!(visible(&disk).len(), 1, "{:?}", visible(&disk));
    assert_eq!(find(&disk, "*"), (0..8).collect::<Vec<_>>());
    assert_eq!(find(&disk, "odd key:\"Key-1\""), [1, 7]);
    parts(&mut sink, 8, 100);
    assert!(visible(&disk).len() < 8, "{:?}", visible(&disk));
    assert_eq!((find(&disk, "*").len(), staged(&disk)), (100, vec![]));
}

#[test]
fn a_search_goes_on_over_parts_that_are_merged_meanwhile() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    parts(&mut sink, 0, 7);
    let search = crate::Search::open(&disk, std::path::Path::new(DIR)).unwrap();
    parts(&mut sink, 7, 8);
    assert_eq!(numbers(&search.ask(&asked("odd")).unwrap()), [1, 3, 5]);
}

#[test]
fn a_ledger_learns_of_a_part_that_was_merged() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    let mut planned = Vec::new();
    for n in 0..64 {
        planned.extend(commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap().parts);
    }
    ready(sink.plan(at(64), Cut::All)).unwrap();
    assert!(visible(&disk).len() < 8);
    for part in &planned {
        assert_eq!(ready(sink.probe(part)).unwrap(), PartState::Published, "{}", part.name);
        ready(sink.publish(part)).unwrap();
    }
    assert_eq!(find(&disk, "*").len(), 64);
}

#[test]
fn what_is_read_again_replaces_and_never_doubles() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    commit(&mut sink, &batch(0, 0, 10), at(0)).unwrap();
    commit(&mut sink, &batch(1, 0, 10), at(0)).unwrap();
    drop(sink);
    // A sink that was to begin anew was killed before anything was erased.
    let mut sink = reopen(&disk, options(), Resume::default(), 3);
    commit(&mut sink, &marked(0, 4, 6, "second"), at(1)).unwrap();
    assert_eq!(find(&disk, "second"), [4, 5]);
    assert_eq!(find(&disk, "first"), [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 7, 8, 8, 9, 9]);
    assert_eq!(find(&disk, "*").len(), 20);
    // The same while it is merged, and after it.
    for n in 10..20 {
        commit(&mut sink, &batch(2, n, n + 1), at(n)).unwrap();
    }
    ready(sink.plan(at(30), Cut::All)).unwrap();
    assert!(visible(&disk).len() < 8);
    assert_eq!((find(&disk, "second"), find(&disk, "*").len()), (vec![4, 5], 30));
}

#[test]
fn a_part_whose_documents_are_all_replaced_goes() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    let first = commit(&mut sink, &batch(0, 0, 10), at(0)).unwrap();
    drop(sink);
    let mut sink = reopen(&disk, options(), Resume::default(), 2);
    commit(&mut sink, &marked(0, 0, 10, "second"), at(1)).unwrap();
    ready(sink.plan(at(2), Cut::All)).unwrap();
    assert_eq!(visible(&disk).len(), 1);
    assert!(!visible(&disk).contains(&part(&first).name));
    assert_eq!((find(&disk, "first").len(), find(&disk, "second").len()), (0, 10));
}

#[test]
fn the_index_of_a_replay_has_parts_of_its_own() {
    let disk = SimDisk::new(1);
    let mut run = open(&disk, options());
    commit(&mut run, &every_other(batch(0, 0, 10)), at(0)).unwrap();
    let mut letters = options();
    letters.name_prefix = "pipe-search_dlq".to_owned();
    let mut replay = open(&disk, letters);
    let plan = commit(&mut replay, &batch(0, 4, 5), at(0)).unwrap();
    ready(replay.sweep(&[])).unwrap();
    assert_eq!(find(&disk, "*"), [1, 3, 4, 5, 7, 9]);
    for n in 10..18 {
        commit(&mut run, &batch(0, n, n + 1), at(n)).unwrap();
    }
    ready(run.plan(at(20), Cut::All)).unwrap();
    assert!(!visible(&disk).contains(&part(&plan).name), "{:?}", visible(&disk));
    assert_eq!(ready(replay.probe(part(&plan))).unwrap(), PartState::Published);
    assert_eq!(find(&disk, "*"), [1, 3, 4, 5, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17]);
}

#[test]
fn old_documents_go() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.keep_ms = Some(100_000);
    let mut sink = open(&disk, options);
    commit(&mut sink, &batch(0, 0, 10), at(0)).unwrap();
    commit(&mut sink, &batch(0, 10, 30), at(0)).unwrap();
    let mut left_at = |seconds: u64| {
        ready(sink.plan(at(seconds * 1000), Cut::Due)).unwrap();
        find(&disk, "*").first().copied()
    };
    assert_eq!(left_at(61), Some(0));
    assert_eq!(left_at(104), Some(0));
    // More than half of the first part is too old, then all of it, then half of the second.
    assert_eq!(left_at(105 + 60), None);
    let disk = SimDisk::new(1);
    let mut options = super::rig::options();
    options.keep_ms = Some(100_000);
    let mut sink = open(&disk, options);
    commit(&mut sink, &batch(0, 0, 100), at(0)).unwrap();
    let mut left_at = |seconds: u64| {
        ready(sink.plan(at(seconds * 1000), Cut::Due)).unwrap();
        find(&disk, "*").first().copied()
    };
    assert_eq!(left_at(140), Some(0), "less than half of the part is old");
    assert_eq!(left_at(152 + 60), None);
}

#[test]
fn half_a_part_that_is_old_is_written_again_without_it() {
    let disk = SimDisk::new(1);
    let mut options = options();
    options.keep_ms = Some(100_000);
    let mut sink = open(&disk, options);
    commit(&mut sink, &batch(0, 0, 100), at(0)).unwrap();
    ready(sink.plan(at(160_000), Cut::Due)).unwrap();
    assert_eq!(find(&disk, "*"), (60..100).collect::<Vec<_>>());
    assert_eq!(visible(&disk).len(), 1);
}

#[test]
fn two_do_not_merge_at_once() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    parts(&mut sink, 0, 7);
    let lock = millrace_disk::Disk::lock(&disk, &std::path::Path::new(DIR).join("lock")).unwrap();
    parts(&mut sink, 7, 9);
    assert_eq!((visible(&disk).len(), find(&disk, "*").len()), (9, 9));
    drop(lock);
    parts(&mut sink, 9, 10);
    assert_eq!((visible(&disk).len(), find(&disk, "*").len()), (3, 10));
    let resume = Resume { next: next(&[(0, 10)]), ..Resume::default() };
    assert_eq!(ready(sink.plan(at(99), Cut::All)).unwrap().resume, resume);
}
