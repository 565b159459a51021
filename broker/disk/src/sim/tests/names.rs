use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_name_without_a_sync_of_its_directory_may_vanish() {
    let kept = |seed: &u64| {
        let disk = SimDisk::new(*seed);
        let file = disk.create(&path("a")).unwrap();
        write(&*file, 0, b"abc");
        file.sync().unwrap();
        let disk = disk.power_cut();
        let found = disk.file_bytes(path("a"));
        assert!(found.as_deref().is_none_or(|bytes| bytes == b"abc"), "synced, if it is there");
        found.is_some()
    };
    let kept = SEEDS.filter(kept).count() as u64;
    assert!(0 < kept && kept < SEEDS.end, "{kept} of {SEEDS:?}");
}

#[test]
fn a_directory_may_vanish_with_all_that_is_below() {
    let below = Path::new("/x/y");
    let mut seen = [0; 3];
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        disk.create_dir_all(below).unwrap();
        disk.create(&below.join("a")).unwrap();
        disk.sync_dir(below).unwrap();
        let disk = disk.power_cut();
        let depth = ["/x", "/x/y"].iter().filter(|dir| disk.exists(dir.as_ref()).unwrap()).count();
        assert_eq!(disk.paths().len(), usize::from(depth == 2));
        seen[depth] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}

#[test]
fn a_removed_file_may_come_back() {
    let mut seen = BTreeMap::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        drop(create_with(&disk, "a", b"abc"));
        disk.remove(&path("a")).unwrap();
        *seen.entry(disk.image(seed).file_bytes(path("a"))).or_insert(0) += 1;

        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(disk.power_cut().file_bytes(path("a")), None);
    }
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), [None, Some(b"abc".to_vec())]);
}

/// A change of names in one of two directories, or from one to the other.
#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Rename(u8, u8),
    Replace(u8, u8),
    Remove(u8),
    SyncDir(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..8_u8;
    let step = prop_oneof![
        4 => name.clone().prop_map(Step::Create),
        3 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Replace(from, to)),
        2 => name.prop_map(Step::Remove),
        2 => (0..2_u8).prop_map(Step::SyncDir),
    ];
    prop::collection::vec(step, 0..30)
}

/// The names of a directory, each with the birth of its file.
type Names = BTreeMap<String, u64>;

fn names(disk: &SimDisk, dir: &Path) -> Names {
    let entries = disk.list(dir).unwrap().into_iter();
    entries
        .map(|Entry { name, .. }| {
            let file = disk.open(&dir.join(&name), Access::Read).unwrap();
            (name, file.identity().unwrap().born_ns)
        })
        .collect()
}

/// Applies steps that are possible; even numbers are in the first directory, odd ones in the
/// second.
fn run(disk: &SimDisk, dirs: [&Path; 2], steps: &[Step], mut after_each: impl FnMut(&Step)) {
    let path = |name: &u8| dirs[usize::from(name % 2)].join(name.to_string());
    for step in steps {
        let _ = match step {
            Step::Create(name) => disk.create(&path(name)).map(drop),
            Step::Rename(from, to) => disk.rename(&path(from), &path(to)),
            Step::Replace(from, to) => disk.replace(&path(from), &path(to)),
            Step::Remove(name) => disk.remove(&path(name)),
            Step::SyncDir(dir) => disk.sync_dir(dirs[usize::from(*dir)]),
        };
        after_each(step);
    }
}

proptest! {
    #[test]
    fn a_directory_comes_back_as_it_was_at_one_moment(steps in steps(), seed: u64) {
        let disk = SimDisk::new(seed);
        let root = Path::new("/");
        let mut moments = vec![names(&disk, root)];
        run(&disk, [root, root], &steps, |step| {
            if matches!(step, Step::SyncDir(_)) {
                moments.clear();
            }
            moments.push(names(&disk, root));
        });
        let found = names(&disk.power_cut(), root);
        prop_assert!(moments.contains(&found), "{found:?} is none of {moments:?}");
    }

    #[test]
    fn a_moved_file_keeps_exactly_one_name(mut steps in steps(), seed: u64) {
        steps.retain(|step| !matches!(step, Step::Remove(_) | Step::Replace(..)));
        let disk = SimDisk::new(seed);
        let dirs = [Path::new("/x"), Path::new("/y")];
        for dir in dirs {
            disk.create_dir_all(dir).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        let mut durable = vec![Step::Create(0), Step::Create(2), Step::Create(4), Step::SyncDir(0)];
        run(&disk, dirs, &durable, |_| ());
        durable.truncate(3);

        run(&disk, dirs, &steps, |_| ());
        let disk = disk.power_cut();
        let mut births: Vec<u64> =
            dirs.iter().flat_map(|dir| names(&disk, dir).into_values()).collect();
        births.sort_unstable();
        let found = births.len();
        births.dedup();
        prop_assert_eq!(births.len(), found, "a file has two names");
        // The first files are the oldest.
        prop_assert_eq!(births.iter().filter(|birth| **birth <= 3000).count(), durable.len());
    }
}

#[test]
fn a_move_is_durable_once_either_directory_is() {
    for (seed, synced) in SEEDS.flat_map(|seed| [(seed, "/x"), (seed, "/y")]) {
        let disk = SimDisk::new(seed);
        for dir in ["/x", "/y"] {
            disk.create_dir_all(dir.as_ref()).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        disk.create(Path::new("/x/a")).unwrap();
        disk.create(Path::new("/y/b")).unwrap();
        disk.rename(Path::new("/x/a"), Path::new("/y/a")).unwrap();
        disk.create(Path::new("/y/c")).unwrap();
        disk.sync_dir(synced.as_ref()).unwrap();
        let mut found = disk.power_cut().paths();
        found.retain(|path| path != Path::new("/y/c"));
        assert_eq!(found, [Path::new("/y/a"), Path::new("/y/b")], "seed {seed}, {synced} synced");
    }
}
