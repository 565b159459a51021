use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

#[test]
fn the_nth_write_is_cut_short() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create(&disk, "a");
        disk.inject(Fault::FailWrite { nth: 2 });
        write(&*file, 0, b"ab");
        check_dead(try_write(&*file, 2, b"cde"));
        seen.insert(bytes(&disk, "a"));
        write(&*file, 2, b"xyz");
        assert_eq!(bytes(&disk, "a"), b"abxyz");
    }
    assert_eq!(seen, ["ab", "abc", "abcd"].map(|text| text.as_bytes().to_vec()).into());
}

#[test]
fn a_write_may_find_the_disk_full() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a");
    disk.inject(Fault::FullWrite { nth: 1 });
    let error = try_write(&*file, 0, b"abc").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(error.to_string(), "cannot write to /a: No space left on device (os error 28)");
    write(&*file, 0, b"abc");
}

/// As on Linux: the pages count as written after the error, so the second sync has nothing to do.
#[test]
fn a_sync_after_a_failed_one_proves_nothing() {
    let mut lost = 0;
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", &[1; 1024]);
        write(&*file, 0, &[2; 512]);
        disk.inject(Fault::FailSync { nth: 1 });
        check_dead(file.sync());
        assert_eq!(bytes(&disk, "a")[..512], [2; 512], "reads see it");

        write(&*file, 512, &[3; 512]);
        file.sync().unwrap();
        assert_eq!(bytes(&disk, "a")[..512], [2; 512], "reads still see it");
        assert_eq!(bytes(&disk.kill(), "a")[..512], [2; 512], "even in the next process");
    }
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", &[1; 1024]);
        write(&*file, 0, &[2; 512]);
        disk.inject(Fault::FailSync { nth: 1 });
        check_dead(file.sync());
        write(&*file, 512, &[3; 512]);
        file.sync().unwrap();
        file.sync().unwrap();

        let found = bytes(&disk.power_cut(), "a");
        assert_eq!(found[512..], [3; 512], "what was written later is durable");
        lost += u64::from(found[..512] == [1; 512]);
    }
    assert!(0 < lost && lost < SEEDS.end, "lost {lost} times");
}

#[test]
fn a_failed_sync_loses_what_made_the_file_longer() {
    let mut zeros = 0;
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", b"");
        write(&*file, 0, &[2; 512]);
        disk.inject(Fault::FailSync { nth: 1 });
        check_dead(file.sync());
        write(&*file, 512, &[3; 512]);
        file.sync().unwrap();
        let found = bytes(&disk.power_cut(), "a");
        assert_eq!(found.len(), 1024);
        assert_eq!(found[512..], [3; 512]);
        zeros += u64::from(found[..512] == [0; 512]);
    }
    assert!(0 < zeros && zeros < SEEDS.end, "zeros {zeros} times");
}

#[test]
fn a_failed_sync_brings_nothing_back_that_was_cut() {
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", b"abcdef");
        file.truncate(2).unwrap();
        disk.inject(Fault::FailSync { nth: 1 });
        check_dead(file.sync());
        file.sync().unwrap();
        file.truncate(6).unwrap();
        file.sync().unwrap();
        assert_eq!(bytes(&disk.power_cut(), "a"), b"ab\0\0\0\0");
    }
}

#[test]
fn syncs_and_renames_fail_in_their_turn() {
    let disk = SimDisk::new(1);
    let root = Path::new("/");
    let file = create_with(&disk, "a", b"abc");
    disk.inject(Fault::FailSyncDir { nth: 2 });
    disk.inject(Fault::FailRename { nth: 1 });
    disk.sync_dir(root).unwrap();
    check_dead(disk.sync_dir(root));
    disk.sync_dir(root).unwrap();
    check_dead(disk.rename(&path("a"), &path("b")));
    assert_eq!(disk.paths(), [path("a")]);
    disk.inject(Fault::FailRename { nth: 1 });
    check_dead(disk.replace(&path("a"), &path("b")));
    disk.replace(&path("a"), &path("b")).unwrap();
    file.sync().unwrap();
}

/// Each kind of operation once.
fn run_everything(disk: &SimDisk) -> io::Result<()> {
    disk.create_dir_all(Path::new("/d"))?;
    let _lock = disk.lock(Path::new("/d/lock"))?;
    let file = disk.create(Path::new("/d/a"))?;
    file.allocate(100)?;
    try_write(&*file, 0, b"abc")?;
    file.zero(0..1)?;
    file.truncate(50)?;
    file.sync()?;
    disk.rename(Path::new("/d/a"), Path::new("/d/b"))?;
    disk.replace(Path::new("/d/b"), Path::new("/d/c"))?;
    disk.remove(Path::new("/d/c"))?;
    disk.sync_dir(Path::new("/d"))
}

#[test]
fn every_operation_can_fail() {
    let disk = SimDisk::new(1);
    run_everything(&disk).unwrap();
    let total = disk.operations();
    assert_eq!(total, 12);
    for nth in 1..=total {
        let disk = SimDisk::new(nth);
        disk.inject(Fault::FailOperation { nth });
        check_dead(run_everything(&disk));
        assert_eq!(disk.operations(), nth);
    }
    let disk = SimDisk::new(1);
    disk.inject(Fault::FailOperation { nth: total + 1 });
    run_everything(&disk).unwrap();
}

#[test]
fn a_full_disk_takes_what_fits() {
    let disk = SimDisk::new(1);
    disk.inject(Fault::Capacity { bytes: 3 * 4096 + 100 });
    let root = Path::new("/");
    assert_eq!(disk.free_space(root).unwrap(), 3 * 4096);
    let reserved = create(&disk, "reserved");
    reserved.allocate(4097).unwrap();
    assert_eq!(disk.free_space(root).unwrap(), 4096);
    assert_eq!(reserved.allocate(100_000).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(reserved.size().unwrap(), 4097, "all or nothing");

    let file = create(&disk, "a");
    let error = try_write(&*file, 4000, &[7; 5000]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.size().unwrap(), 4096, "the first block took some");
    write(&*file, 0, &[8; 4096]);
    write(&*reserved, 0, &[9; 8192]);
    assert_eq!(disk.free_space(root).unwrap(), 0);

    disk.remove(&path("a")).unwrap();
    assert_eq!(disk.free_space(root).unwrap(), 0, "still open");
    drop(file);
    assert_eq!(disk.free_space(root).unwrap(), 4096);
    reserved.truncate(1).unwrap();
    assert_eq!(disk.free_space(root).unwrap(), 2 * 4096);
    let disk = disk.power_cut();
    assert_eq!(create(&disk, "b").allocate(20_000).unwrap_err().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_bad_sector_fails_reads_that_touch_it() {
    let disk = SimDisk::new(1);
    let file = create_with(&disk, "a", &[7; 2048]);
    let map = file.map(2048).unwrap();
    disk.inject(Fault::BadSector { path: path("a"), sector: 2 });
    let check = |disk: &SimDisk| {
        let file = open(disk, "a");
        for (offset, len, fails) in [
            (0, 1024, false),
            (0, 1025, true),
            (1535, 1, true),
            (1536, 512, false),
            (0, 9999, true),
        ] {
            let read = file.read_at(&mut vec![0; len], offset);
            assert_eq!(read.is_err(), fails, "{len} bytes at {offset}");
        }
    };
    check(&disk);
    assert_eq!(map.slice(0..1024).len(), 1024);
    assert!(catch_unwind(AssertUnwindSafe(|| map.slice(1000..1100))).is_err());
    check(&disk);
    check(&disk.power_cut());
}

#[test]
fn a_map_of_a_cut_file_panics() {
    let disk = SimDisk::new(1);
    let file = create_with(&disk, "a", &[7; 2048]);
    let map = file.map(2048).unwrap();
    file.truncate(1000).unwrap();
    assert_eq!(map.slice(0..1000).len(), 1000);
    assert!(catch_unwind(AssertUnwindSafe(|| map.slice(0..1001))).is_err());
}

#[test]
fn a_flipped_bit_stays_flipped() {
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", &[0; 10_000]);
        disk.flip_bit(path("a"), 5000, 3);
        let mut expected = vec![0; 10_000];
        expected[5000] = 8;
        assert_eq!(bytes(&disk, "a"), expected);
        write(&*file, 5001, &[1]);
        file.sync().unwrap();
        expected[5001] = 1;
        assert_eq!(bytes(&disk.power_cut(), "a"), expected);
    }
}
