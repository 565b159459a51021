use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::sim::odds::SECTOR;

const SECTORS: u64 = 24;

/// A change of a file of 24 sectors.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { at: u64, len: u64 },
    Zero { at: u64, len: u64 },
    Sync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = (0..SECTORS * SECTOR, 1..6 * SECTOR)
        .prop_map(|(at, len)| (at, len.min(SECTORS * SECTOR - at)));
    let step = prop_oneof![
        6 => range.clone().prop_map(|(at, len)| Step::Write { at, len }),
        1 => range.prop_map(|(at, len)| Step::Zero { at, len }),
        2 => Just(Step::Sync),
    ];
    prop::collection::vec(step, 0..20)
}

proptest! {
    /// Each sector holds what was synced last, with any of the later changes in their order.
    #[test]
    fn each_sector_is_whole_and_nothing_synced_is_lost(steps in steps(), seed: u64) {
        let disk = SimDisk::new(seed);
        let file = create(&disk, "a");
        file.allocate(SECTORS * SECTOR).unwrap();
        file.sync().unwrap();

        let mut legal = vec![BTreeSet::from([vec![0; SECTOR as usize]]); SECTORS as usize];
        let mut live = vec![0; (SECTORS * SECTOR) as usize];
        for (number, step) in steps.iter().enumerate() {
            let fill = number as u8 + 1;
            let (at, len, fill) = match *step {
                Step::Write { at, len } => {
                    write(&*file, at, &vec![fill; len as usize]);
                    (at, len, fill)
                }
                Step::Zero { at, len } => {
                    file.zero(at..at + len).unwrap();
                    (at, len, 0)
                }
                Step::Sync => {
                    file.sync().unwrap();
                    for (sector, legal) in live.chunks(SECTOR as usize).zip(&mut legal) {
                        *legal = BTreeSet::from([sector.to_vec()]);
                    }
                    continue;
                }
            };
            live[at as usize..(at + len) as usize].fill(fill);
            for sector in at / SECTOR..(at + len).div_ceil(SECTOR) {
                let start = sector * SECTOR;
                let within = at.max(start) - start..(at + len).min(start + SECTOR) - start;
                let within = within.start as usize..within.end as usize;
                let legal = &mut legal[sector as usize];
                let changed: Vec<_> = legal.iter().cloned().collect();
                for mut sector in changed {
                    sector[within.clone()].fill(fill);
                    legal.insert(sector);
                }
            }
        }
        prop_assert_eq!(&bytes(&disk, "a"), &live);

        for image in [disk.image(seed), disk.image(!seed), disk.power_cut()] {
            let found = bytes(&image, "a");
            prop_assert_eq!(found.len(), live.len());
            for (number, (sector, legal)) in found.chunks(SECTOR as usize).zip(&legal).enumerate() {
                prop_assert!(legal.contains(sector), "sector {number}: {sector:?}");
            }
            // What is found is durable: a second power cut takes nothing.
            prop_assert_eq!(&bytes(&image.power_cut(), "a"), &found);
        }
    }

    /// Sizes come back as they were at one moment since the last sync, and each byte with a value
    /// that it had since then, or never written.
    #[test]
    fn sizes_are_those_of_one_moment(
        synced in 0..9000_u64,
        lens in prop::collection::vec((any::<u8>(), 0..12_000_u64), 1..8),
        seed: u64,
    ) {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", &vec![1; synced as usize]);
        let mut sizes = BTreeSet::from([synced]);
        for (number, (kind, len)) in lens.into_iter().enumerate() {
            match kind % 3 {
                0 => file.truncate(len).unwrap(),
                1 => file.allocate(len).unwrap(),
                _ => {
                    let end = file.size().unwrap();
                    write(&*file, end, &vec![number as u8 + 2; len as usize]);
                }
            }
            sizes.insert(file.size().unwrap());
        }
        let last = file.size().unwrap();
        let found = bytes(&disk.image(seed), "a");
        prop_assert!(sizes.contains(&(found.len() as u64)), "{} of {sizes:?}", found.len());
        for (position, byte) in found.iter().enumerate() {
            prop_assert!(*byte != 1 || position < synced as usize);
        }

        file.sync().unwrap();
        let live = bytes(&disk, "a");
        prop_assert_eq!(live.len() as u64, last);
        prop_assert_eq!(bytes(&disk.power_cut(), "a"), live);
    }
}

/// What can be told apart about three writes of four sectors each after a power cut.
fn fates_of_three_writes(seed: u64) -> [&'static str; 3] {
    let disk = SimDisk::new(seed);
    let file = create(&disk, "a");
    file.allocate(12 * SECTOR).unwrap();
    file.sync().unwrap();
    let len = 4 * SECTOR;
    for number in 0..3 {
        write(&*file, number * len, &vec![number as u8 + 1; len as usize]);
    }
    let found = bytes(&disk.power_cut(), "a");
    [0, 1, 2].map(|number| {
        let part = &found[number * len as usize..][..len as usize];
        match part.iter().filter(|byte| **byte == number as u8 + 1).count() as u64 {
            0 => "lost",
            count if count == len => "whole",
            _ if part[0] == 0 && part[part.len() - 1] == 0 => "scattered",
            _ if part[0] == 0 => "end",
            _ => "start",
        }
    })
}

/// All that is allowed does happen, so a store that passes was really tried.
#[test]
fn every_fate_occurs() {
    let seen: BTreeSet<_> = (0..3000).map(fates_of_three_writes).collect();
    let fates: BTreeSet<_> = seen.iter().flatten().copied().collect();
    assert_eq!(fates, BTreeSet::from(["end", "lost", "scattered", "start", "whole"]));
    for expected in [
        ["whole", "whole", "whole"],
        ["lost", "lost", "lost"],
        ["lost", "whole", "lost"],
        ["lost", "lost", "whole"],
        ["start", "whole", "whole"],
    ] {
        assert!(seen.contains(&expected), "{expected:?} never happened");
    }
}

#[test]
fn a_longer_file_may_come_back_with_zeros_or_without_its_end() {
    let mut seen = BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", b"synced");
        write(&*file, 6, b" and more");
        seen.insert(bytes(&disk.power_cut(), "a"));
    }
    let expected = ["synced", "synced and more", "synced\0\0\0\0\0\0\0\0\0"];
    assert_eq!(seen, expected.map(|text| text.as_bytes().to_vec()).into());
}

#[test]
fn what_was_cut_does_not_come_back_behind_a_new_end() {
    let mut seen = BTreeSet::new();
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create_with(&disk, "a", b"abcdef");
        file.truncate(2).unwrap();
        file.truncate(6).unwrap();
        seen.insert(bytes(&disk.image(seed), "a"));
        file.sync().unwrap();
        assert_eq!(bytes(&disk.power_cut(), "a"), b"ab\0\0\0\0");
    }
    assert_eq!(seen, ["abcdef", "ab", "ab\0\0\0\0"].map(|text| text.as_bytes().to_vec()).into());
}

#[test]
fn a_lost_end_is_not_found_by_a_file_that_grows() {
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        write(&*create_with(&disk, "a", b"synced"), 6, &[7; 6000]);
        let disk = disk.power_cut();
        let found = disk.file_bytes(path("a")).unwrap().len();
        open(&disk, "a").truncate(9000).unwrap();
        assert!(bytes(&disk, "a")[found..].iter().all(|byte| *byte == 0), "seed {seed}");
    }
}

#[test]
fn reserved_space_is_found_again_once_synced() {
    for seed in SEEDS {
        let disk = SimDisk::new(seed);
        let file = create(&disk, "a");
        file.allocate(1 << 20).unwrap();
        file.sync().unwrap();
        let disk = disk.power_cut();
        disk.inject(Fault::Capacity { bytes: 1 << 20 });
        assert_eq!(disk.free_space(Path::new("/")).unwrap(), 0);
        write(&*open(&disk, "a"), (1 << 20) - 5, b"fits!");
    }
}

/// Half a terabyte would not go unnoticed in memory.
#[test]
fn what_is_not_written_costs_nothing() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a");
    file.allocate(1 << 39).unwrap();
    file.zero(1 << 20..1 << 39).unwrap();
    write(&*file, 1 << 38, b"x");
    file.sync().unwrap();
    write(&*file, 1 << 37, b"y");
    let file = open(&disk.power_cut(), "a");
    assert_eq!(file.size().unwrap(), 1 << 39);
    let mut buf = [0];
    file.read_at(&mut buf, 1 << 38).unwrap();
    assert_eq!(&buf, b"x");
}
