//! Whose a directory is.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use millrace_connect_api::{Cut, FileSink, Resume, SinkError};
use millrace_disk::{Disk, SimDisk};

use super::rig::*;
use crate::{IndexError, IndexOptions, IndexSink, OptionsError, erase};

fn of(prefix: &str) -> IndexOptions {
    IndexOptions { name_prefix: prefix.to_owned(), ..options() }
}

fn refusal(disk: &SimDisk, options: IndexOptions, next_part_id: u64) -> Option<IndexError> {
    let disk = Arc::new(disk.clone());
    match IndexSink::open(disk, options, Resume::default(), next_part_id) {
        Ok(_) => None,
        Err(OptionsError::Index(refused)) => Some(refused),
        Err(error) => panic!("another error: {error}"),
    }
}

fn put(disk: &SimDisk, name: &str) {
    disk.create(&Path::new(DIR).join(name)).unwrap().write_at(&[IoSlice::new(b"x")], 0).unwrap();
}

#[test]
fn the_index_of_another_sink_is_refused() {
    let disk = SimDisk::new(1);
    commit(&mut open(&disk, options()), &batch(0, 0, 2), at(0)).unwrap();
    for other in
        ["pipe-searches", "pipe-sear", "other-search", "pipe-search_dl", "pipe-searches_dlq"]
    {
        let Some(IndexError::Taken { owner, part, .. }) = refusal(&disk, of(other), 9) else {
            panic!("{other} opens")
        };
        assert_eq!((owner.as_str(), &part), ("pipe-search", &visible(&disk)[0]));
    }
    // A replay of dead letters is at home, and so is its sink where only the replay has written.
    assert!(refusal(&disk, of("pipe-search_dlq"), 1).is_none());
    let disk = SimDisk::new(1);
    commit(&mut open(&disk, of("pipe-search_dlq")), &batch(0, 0, 2), at(0)).unwrap();
    assert!(refusal(&disk, options(), 1).is_none());
    let taken = refusal(&disk, of("other-search"), 1);
    assert!(matches!(&taken, Some(IndexError::Taken { owner, .. }) if owner == "pipe-search"));
}

#[test]
fn of_two_that_begin_at_once_one_has_the_directory() {
    let disk = SimDisk::new(1);
    let (mut one, mut other) = (open(&disk, options()), open(&disk, of("other-search")));
    ready(other.write(&batch(0, 0, 2), at(0))).unwrap();
    commit(&mut one, &batch(0, 0, 2), at(0)).unwrap();
    let refused = ready(other.plan(at(1), Cut::All)).unwrap_err();
    let SinkError::Broken(refused) = refused else { panic!("it waits: {refused}") };
    assert!(refused.to_string().contains("has the index of `pipe-search`"), "{refused}");
    // The first is not disturbed, now and when it is opened again.
    commit(&mut one, &batch(0, 2, 4), at(2)).unwrap();
    assert!(refusal(&disk, options(), 3).is_none());
    assert_eq!(find(&disk, "*"), [0, 1, 2, 3]);
}

#[test]
fn only_what_is_its_own_is_erased() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    for n in 0..9 {
        commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap();
    }
    ready(sink.plan(at(9), Cut::All)).unwrap();
    assert!(visible(&disk).iter().any(|name| name.contains("-m")), "{:?}", visible(&disk));
    commit(&mut open(&disk, of("pipe-search_dlq")), &batch(1, 0, 1), at(0)).unwrap();
    let foreign = [
        "foo.part",
        ".foo.part",
        "notes.txt",
        ".other-search-0000000001.3.part",
        "pipe-search-1.part",
    ];
    let own = [".pipe-search-0000000077.3.part", ".pipe-search_dlq-m0000000077.3.part"];
    foreign.iter().chain(&own).for_each(|name| put(&disk, name));
    // What is no part does not disturb who reads.
    assert_eq!(find(&disk, "*").len(), 10);
    let parts = visible(&disk).len() as u64;
    assert_eq!(erase(&disk, Path::new(DIR), "pipe-search").unwrap(), parts + 2);
    assert_eq!(visible(&disk), Vec::<String>::new());
    for name in foreign {
        assert!(disk.exists(&Path::new(DIR).join(name)).unwrap(), "{name}");
    }
    // With a part of another sink nothing goes.
    commit(&mut open(&disk, of("other-search")), &batch(0, 0, 2), at(0)).unwrap();
    put(&disk, own[0]);
    let before = disk.paths();
    let refused = erase(&disk, Path::new(DIR), "pipe-search");
    assert!(matches!(refused, Err(IndexError::Taken { .. })), "{refused:?}");
    assert_eq!(disk.paths(), before);
    assert_eq!(erase(&disk, Path::new("/out/nowhere"), "pipe-search").unwrap(), 0);
}

#[test]
fn parts_that_the_ledger_never_planned_are_refused() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    for n in 0..3 {
        commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap();
    }
    for next in 0..4 {
        let refused = refusal(&disk, options(), next);
        assert!(matches!(refused, Some(IndexError::Unknown { .. })), "{next}: {refused:?}");
    }
    assert!(refusal(&disk, options(), 4).is_none());
    // The numbers of a replay are its own.
    assert!(refusal(&disk, of("pipe-search_dlq"), 0).is_none());

    // The number of a part stays known when it is merged, however often.
    for n in 3..80 {
        commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap();
    }
    ready(sink.plan(at(80), Cut::All)).unwrap();
    while visible(&disk).iter().any(|name| !name.contains("-m")) {
        let n = sink.next_part_id - 1;
        commit(&mut sink, &batch(0, n, n + 1), at(n)).unwrap();
        ready(sink.plan(at(n), Cut::All)).unwrap();
    }
    let last = sink.next_part_id - 1;
    let refused = refusal(&disk, options(), last);
    assert!(matches!(refused, Some(IndexError::Unknown { .. })), "{refused:?}");
    assert!(refusal(&disk, options(), last + 1).is_none());
    // Written again from the topic, it may have the numbers of before.
    erase(&disk, Path::new(DIR), "pipe-search").unwrap();
    assert!(refusal(&disk, options(), 0).is_none());
}
