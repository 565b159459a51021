//! What every disk owes its callers, checked on a real file system, on one that lacks half of the
//! calls (tmpfs, where there is one), and on the simulated disk.

use std::fs;
use std::io::{ErrorKind, IoSlice};
use std::ops::Range;
use std::path::Path;

use proptest::prelude::*;

use crate::{Access, Disk, Entry, File, RealDisk, SimDisk};

/// Runs a test on each kind of disk, in an empty directory of its own.
fn on_each_disk(test: impl Fn(&dyn Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    println!("on the real disk");
    test(&RealDisk::new(), dir.path());

    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() {
        let dir = tempfile::tempdir_in(shared_memory).unwrap();
        println!("on tmpfs");
        test(&RealDisk::new(), dir.path());
    }

    let disk = SimDisk::new(7);
    let dir = Path::new("/some/directory");
    disk.create_dir_all(dir).unwrap();
    println!("on the simulated disk");
    test(&disk, dir);
}

fn write(file: &dyn File, offset: u64, bytes: &[u8]) {
    file.write_at(&[IoSlice::new(bytes)], offset).unwrap();
}

/// A new file with these bytes.
fn create(disk: &dyn Disk, path: &Path, bytes: &[u8]) {
    write(&*disk.create(path).unwrap(), 0, bytes);
}

/// All bytes of a file.
#[track_caller]
fn read(disk: &dyn Disk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Access::Read).unwrap();
    let mut bytes = vec![0xee; file.size().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

#[track_caller]
fn check_fails<T>(result: std::io::Result<T>, kind: ErrorKind, path: &Path) {
    let error = result.err().expect("it should fail");
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    assert!(text.starts_with("cannot "), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
}

#[test]
fn whoever_looks_for_data_misses_none_and_reads_no_gibibyte_of_zeros() {
    const LEN: u64 = 1 << 30;
    on_each_disk(|disk, dir| {
        let path = dir.join("sparse");
        let file = disk.create(&path).unwrap();
        file.allocate(LEN).unwrap();
        let places = [0, 5_000, 300_000_000, LEN - 3];
        places.iter().for_each(|&at| write(&*file, at, b"abc"));
        file.sync().unwrap();
        let (mut at, mut found, mut looked) = (0, Vec::new(), 0);
        while let Some(range) = file.next_data(at).unwrap() {
            assert!(at <= range.start && range.start < range.end && range.end <= LEN, "{range:?}");
            found.extend(places.into_iter().filter(|place| range.contains(place)));
            looked += range.end - range.start;
            at = range.end;
        }
        assert_eq!(found, places);
        assert!(looked < 16 << 20, "{looked} bytes");
        file.zero(4_096..LEN).unwrap();
        assert_eq!(file.next_data(LEN).unwrap(), None);
        disk.remove(&path).unwrap();
    });
}

#[test]
fn what_is_written_is_read() {
    on_each_disk(|disk, dir| {
        let file = disk.create(&dir.join("a")).unwrap();
        assert_eq!(file.size().unwrap(), 0);
        file.write_at(&[IoSlice::new(b"he"), IoSlice::new(b""), IoSlice::new(b"llo")], 0).unwrap();
        write(&*file, 4, b"p me");
        file.write_at(&[], 100).unwrap();
        file.sync().unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(read(disk, &dir.join("a")), b"hellp me");
    });
}

#[test]
fn more_slices_than_one_call_takes() {
    on_each_disk(|disk, dir| {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8).collect();
        let slices: Vec<IoSlice<'_>> = bytes.chunks(2).map(IoSlice::new).collect();
        disk.create(&dir.join("a")).unwrap().write_at(&slices, 0).unwrap();
        assert_eq!(read(disk, &dir.join("a")), bytes);
    });
}

#[test]
fn a_read_is_short_only_at_the_end() {
    on_each_disk(|disk, dir| {
        create(disk, &dir.join("a"), b"0123456789");
        let file = disk.open(&dir.join("a"), Access::Read).unwrap();
        for (offset, expected) in [(0, &b"0123"[..]), (8, b"89"), (10, b""), (1 << 40, b"")] {
            let mut buf = [0; 4];
            let read = file.read_at(&mut buf, offset).unwrap();
            assert_eq!(&buf[..read], expected, "at {offset}");
        }
    });
}

#[test]
fn a_gap_reads_as_zero() {
    on_each_disk(|disk, dir| {
        let file = disk.create(&dir.join("a")).unwrap();
        write(&*file, 10_000, b"x");
        let mut expected = vec![0; 10_000];
        expected.push(b'x');
        assert_eq!(read(disk, &dir.join("a")), expected);
    });
}

#[test]
fn create_takes_only_a_free_name() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        create(disk, &path, b"first");
        check_fails(disk.create(&path), ErrorKind::AlreadyExists, &path);
        assert_eq!(read(disk, &path), b"first");
        let lost = dir.join("no/such/directory");
        check_fails(disk.create(&lost), ErrorKind::NotFound, &lost);
        let below_a_file = path.join("b");
        check_fails(disk.create(&below_a_file), ErrorKind::NotADirectory, &below_a_file);
    });
}

#[test]
fn open_takes_only_a_file() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        check_fails(disk.open(&path, Access::ReadWrite), ErrorKind::NotFound, &path);
        check_fails(disk.open(dir, Access::Read), ErrorKind::IsADirectory, dir);
    });
}

#[test]
fn who_may_only_read_changes_nothing() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        create(disk, &path, b"first");
        let file = disk.open(&path, Access::Read).unwrap();
        assert!(file.write_at(&[IoSlice::new(b"x")], 0).is_err());
        assert!(file.allocate(100).is_err());
        assert!(file.zero(0..1).is_err());
        assert!(file.truncate(0).is_err());
        file.sync().unwrap();
        assert_eq!(read(disk, &path), b"first");
    });
}

#[test]
fn rename_never_replaces() {
    on_each_disk(|disk, dir| {
        let (a, b, c) = (dir.join("a"), dir.join("b"), dir.join("c"));
        create(disk, &a, b"a");
        create(disk, &b, b"b");
        check_fails(disk.rename(&a, &b), ErrorKind::AlreadyExists, &a);
        check_fails(disk.rename(&a, &b), ErrorKind::AlreadyExists, &b);
        check_fails(disk.rename(&a, &a), ErrorKind::AlreadyExists, &a);
        check_fails(disk.rename(&c, &dir.join("d")), ErrorKind::NotFound, &c);
        assert_eq!(read(disk, &b), b"b");

        disk.rename(&a, &c).unwrap();
        assert!(!disk.exists(&a).unwrap());
        assert_eq!(read(disk, &c), b"a");
    });
}

#[test]
fn rename_moves_between_directories() {
    on_each_disk(|disk, dir| {
        let (from, to) = (dir.join("a"), dir.join("below/a"));
        create(disk, &from, b"a");
        check_fails(disk.rename(&from, &to), ErrorKind::NotFound, &to);
        disk.create_dir_all(&dir.join("below")).unwrap();
        disk.rename(&from, &to).unwrap();
        assert!(!disk.exists(&from).unwrap());
        assert_eq!(read(disk, &to), b"a");
    });
}

#[test]
fn replace_replaces() {
    on_each_disk(|disk, dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        create(disk, &a, b"a");
        create(disk, &b, b"b");
        let old = disk.open(&b, Access::Read).unwrap();
        disk.replace(&a, &b).unwrap();
        assert!(!disk.exists(&a).unwrap());
        assert_eq!(read(disk, &b), b"a");
        disk.replace(&b, &b).unwrap();
        assert_eq!(read(disk, &b), b"a");
        check_fails(disk.replace(&a, &b), ErrorKind::NotFound, &a);
        let below = dir.join("below");
        disk.create_dir_all(&below).unwrap();
        check_fails(disk.replace(&b, &below), ErrorKind::IsADirectory, &below);

        let mut buf = [0; 1];
        old.read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"b", "a handle keeps its file, whatever becomes of the name");
    });
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        create(disk, &path, b"abc");
        let file = disk.open(&path, Access::ReadWrite).unwrap();
        disk.remove(&path).unwrap();
        check_fails(disk.remove(&path), ErrorKind::NotFound, &path);
        check_fails(disk.remove(dir), ErrorKind::IsADirectory, dir);
        write(&*file, 1, b"x");
        let mut buf = [0; 3];
        file.read_at(&mut buf, 0).unwrap();
        assert_eq!(&buf, b"axc");
    });
}

#[test]
fn list_is_sorted() {
    on_each_disk(|disk, dir| {
        assert_eq!(disk.list(dir).unwrap(), []);
        for name in ["b", "a", "10", "9", "ä"] {
            create(disk, &dir.join(name), b"");
        }
        disk.create_dir_all(&dir.join("aa/below")).unwrap();
        let names = |dir: &Path| -> Vec<(String, bool)> {
            disk.list(dir)
                .unwrap()
                .into_iter()
                .map(|Entry { name, is_dir }| (name, is_dir))
                .collect()
        };
        let expected =
            [("10", false), ("9", false), ("a", false), ("aa", true), ("b", false), ("ä", false)];
        assert_eq!(names(dir), expected.map(|(name, is_dir)| (name.to_owned(), is_dir)));
        assert_eq!(names(&dir.join("aa")), [("below".to_owned(), true)]);
        let missing = dir.join("zz");
        check_fails(disk.list(&missing), ErrorKind::NotFound, &missing);
        check_fails(disk.list(&dir.join("a")), ErrorKind::NotADirectory, &dir.join("a"));
    });
}

#[test]
fn directories_exist_once_created() {
    on_each_disk(|disk, dir| {
        let deep = dir.join("x/y/z");
        assert!(!disk.exists(&deep).unwrap());
        disk.create_dir_all(&deep).unwrap();
        disk.create_dir_all(&deep).unwrap();
        assert!(disk.exists(&deep).unwrap());
        assert!(disk.exists(&dir.join("x")).unwrap());
        disk.sync_dir(&dir.join("x")).unwrap();
        create(disk, &dir.join("file"), b"");
        assert!(disk.create_dir_all(&dir.join("file")).is_err());
        assert!(disk.create_dir_all(&dir.join("file/below")).is_err());
        check_fails(disk.sync_dir(&dir.join("q")), ErrorKind::NotFound, &dir.join("q"));
        check_fails(disk.sync_dir(&dir.join("file")), ErrorKind::NotADirectory, &dir.join("file"));
    });
}

#[test]
fn one_holds_the_lock() {
    on_each_disk(|disk, dir| {
        let path = dir.join("lock");
        let held = disk.lock(&path).unwrap();
        assert!(disk.exists(&path).unwrap());
        check_fails(disk.lock(&path), ErrorKind::WouldBlock, &path);
        check_fails(disk.lock(&path), ErrorKind::WouldBlock, &path);
        let other = disk.lock(&dir.join("other")).unwrap();
        drop(held);
        let held = disk.lock(&path).unwrap();
        check_fails(disk.lock(&path), ErrorKind::WouldBlock, &path);
        drop((held, other));
    });
}

#[test]
fn allocated_bytes_read_as_zero() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        let file = disk.create(&path).unwrap();
        write(&*file, 0, b"abc");
        file.allocate(0).unwrap();
        file.allocate(2).unwrap();
        assert_eq!(file.size().unwrap(), 3, "never shorter");
        file.allocate(100_000).unwrap();
        assert_eq!(file.size().unwrap(), 100_000);
        let bytes = read(disk, &path);
        assert_eq!(&bytes[..3], b"abc");
        assert!(bytes[3..].iter().all(|byte| *byte == 0));
    });
}

#[test]
fn a_zeroed_range_keeps_its_surroundings() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        let file = disk.create(&path).unwrap();
        write(&*file, 0, &[7; 20_000]);
        file.zero(100..9000).unwrap();
        file.zero(50..50).unwrap();
        file.zero(19_999..50_000).unwrap();
        let mut expected = vec![7; 20_000];
        expected[100..9000].fill(0);
        expected[19_999] = 0;
        assert_eq!(read(disk, &path), expected);
        file.zero(30_000..40_000).unwrap();
        assert_eq!(file.size().unwrap(), 20_000);
    });
}

#[test]
fn truncate_cuts_and_extends() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        let file = disk.create(&path).unwrap();
        write(&*file, 0, &[7; 10_000]);
        file.truncate(5000).unwrap();
        file.truncate(9000).unwrap();
        let mut expected = vec![7; 5000];
        expected.resize(9000, 0);
        assert_eq!(read(disk, &path), expected, "what was cut does not come back");
        file.truncate(0).unwrap();
        assert_eq!(file.size().unwrap(), 0);
        assert!(file.truncate(u64::MAX).is_err());
        assert!(file.write_at(&[IoSlice::new(b"x")], u64::MAX).is_err());
    });
}

#[test]
fn a_file_is_known_by_more_than_its_name() {
    on_each_disk(|disk, dir| {
        let (a, b) = (dir.join("a"), dir.join("b"));
        create(disk, &a, b"");
        let identity = |path: &Path| disk.open(path, Access::Read).unwrap().identity().unwrap();
        let first = identity(&a);
        assert_eq!(first, identity(&a));
        create(disk, &b, b"");
        assert_ne!(first, identity(&b));
        disk.replace(&a, &b).unwrap();
        assert_eq!(first, identity(&b));
    });
}

#[test]
fn a_map_shows_what_is_written() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        let file = disk.create(&path).unwrap();
        file.allocate(20_000).unwrap();
        let map = file.map(20_000).unwrap();
        write(&*file, 0, b"early");
        let early = map.slice(0..5);
        write(&*file, 8000, b"late");
        let late = map.slice(8000..8004);
        assert_eq!(map.slice(3..3), [][..]);
        assert_eq!(map.slice(20_000..20_000), [][..]);

        drop((map, file));
        disk.remove(&path).unwrap();
        assert_eq!(early, b"early"[..], "a view outlives map, handle and name");
        assert_eq!(late, b"late"[..]);
    });
}

#[test]
fn a_map_covers_what_was_asked_for() {
    on_each_disk(|disk, dir| {
        let path = dir.join("a");
        let file = disk.create(&path).unwrap();
        assert_eq!(file.map(0).unwrap().slice(0..0), [][..]);
        write(&*file, 0, b"0123456789");
        assert_eq!(file.map(4).unwrap().slice(1..4), b"123"[..]);
        assert_eq!(file.map(0).unwrap().slice(0..0), [][..]);
        check_fails(file.map(11), ErrorKind::InvalidInput, &path);
        let reader = disk.open(&path, Access::Read).unwrap();
        assert_eq!(reader.map(10).unwrap().slice(0..10), b"0123456789"[..]);
    });
}

#[test]
fn a_view_outside_of_the_map_panics() {
    fn check(range: Range<u64>) {
        on_each_disk(|disk, dir| {
            let path = dir.join("a");
            create(disk, &path, b"0123456789");
            let map = disk.open(&path, Access::Read).unwrap().map(5).unwrap();
            let sliced =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| map.slice(range.clone())));
            assert!(sliced.is_err());
        });
    }
    check(0..6);
    check(6..6);
    check(Range { start: 4, end: 3 });
    check(u64::MAX..u64::MAX);
}

#[test]
fn free_space_is_told_for_what_exists() {
    on_each_disk(|disk, dir| {
        let free = disk.free_space(dir).unwrap();
        assert!(free > 0 && free <= disk.total_space(dir).unwrap());
        let missing = dir.join("missing");
        check_fails(disk.total_space(&missing), ErrorKind::NotFound, &missing);
        check_fails(disk.free_space(&missing), ErrorKind::NotFound, &missing);
    });
}

/// One call on one of a few files.
#[derive(Clone, Debug)]
enum Call {
    Create(u8),
    Rename(u8, u8),
    Replace(u8, u8),
    Remove(u8),
    Write(u8, u64, Vec<u8>),
    Allocate(u8, u64),
    Zero(u8, Range<u64>),
    Truncate(u8, u64),
    Read(u8, u64, usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let name = 0..4_u8;
    let offset = 0..20_000_u64;
    let call = prop_oneof![
        2 => name.clone().prop_map(Call::Create),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| Call::Rename(a, b)),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| Call::Replace(a, b)),
        1 => name.clone().prop_map(Call::Remove),
        4 => (name.clone(), offset.clone(), prop::collection::vec(1..255_u8, 0..9000))
            .prop_map(|(name, at, bytes)| Call::Write(name, at, bytes)),
        1 => (name.clone(), offset.clone()).prop_map(|(name, len)| Call::Allocate(name, len)),
        2 => (name.clone(), offset.clone(), offset.clone())
            .prop_map(|(name, from, len)| Call::Zero(name, from..from + len)),
        2 => (name.clone(), offset.clone()).prop_map(|(name, len)| Call::Truncate(name, len)),
        3 => (name, offset, 0..9000_usize).prop_map(|(name, at, len)| Call::Read(name, at, len)),
    ];
    prop::collection::vec(call, 0..40)
}

/// What a call shows: the bytes that it read, or the kind of its error.
fn outcome(disk: &dyn Disk, dir: &Path, call: &Call) -> Result<Vec<u8>, ErrorKind> {
    let path = |name: &u8| dir.join(name.to_string());
    let open = |name: &u8| disk.open(&path(name), Access::ReadWrite);
    let mut buf = Vec::new();
    let done = match call {
        Call::Create(name) => disk.create(&path(name)).map(drop),
        Call::Rename(from, to) => disk.rename(&path(from), &path(to)),
        Call::Replace(from, to) => disk.replace(&path(from), &path(to)),
        Call::Remove(name) => disk.remove(&path(name)),
        Call::Write(name, at, bytes) => {
            open(name).and_then(|file| file.write_at(&[IoSlice::new(bytes)], *at))
        }
        Call::Allocate(name, len) => open(name).and_then(|file| file.allocate(*len)),
        Call::Zero(name, range) => open(name).and_then(|file| file.zero(range.clone())),
        Call::Truncate(name, len) => open(name).and_then(|file| file.truncate(*len)),
        Call::Read(name, at, len) => open(name).and_then(|file| {
            buf.resize(*len, 0);
            let read = file.read_at(&mut buf, *at)?;
            buf.truncate(read);
            Ok(())
        }),
    };
    done.map(|()| buf).map_err(|error| error.kind())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_simulated_disk_does_what_the_real_one_does(calls in calls(), seed: u64) {
        let real_dir = tempfile::tempdir().unwrap();
        let (real, sim) = (RealDisk::new(), SimDisk::new(seed));
        for call in &calls {
            prop_assert_eq!(
                outcome(&real, real_dir.path(), call),
                outcome(&sim, Path::new("/"), call),
                "{:?}", call
            );
        }
        prop_assert_eq!(real.list(real_dir.path()).unwrap(), sim.list(Path::new("/")).unwrap());
        for path in sim.paths() {
            let name = path.file_name().unwrap();
            prop_assert_eq!(fs::read(real_dir.path().join(name)).unwrap(), sim.file_bytes(&path).unwrap());
        }
    }
}
