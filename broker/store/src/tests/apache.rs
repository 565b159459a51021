//! A directory that Apache RocketMQ wrote; `fixtures/README.md` says how it was captured.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use millrace_disk::{Access, Disk, RealDisk, SimDisk};
use millrace_types::record::Verified;

use crate::{Inspection, OpenError, Store, StoreConfig, inspect};

const NAMES: [&str; 2] = ["00000000000000000000", "00000000000000004096"];
const DIR: &str = "/apache";

fn fixture() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/apache/commitlog");
    NAMES.iter().map(|name| std::fs::read(dir.join(name)).unwrap()).collect()
}

fn write(segments: &[Vec<u8>]) -> SimDisk {
    let disk = SimDisk::new(0);
    let log = Path::new(DIR).join("commitlog");
    disk.create_dir_durably(&log).unwrap();
    for (name, bytes) in NAMES.iter().zip(segments) {
        let file = disk.create(&log.join(name)).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
    }
    disk
}

/// What was found, and the bodies by physical offset.
fn look(disk: &dyn Disk, dir: &Path) -> (Inspection, BTreeMap<u64, String>) {
    let mut bodies = BTreeMap::new();
    let found = inspect(disk, dir, &mut |record| {
        assert_eq!(record.verified, Verified::BodyOnly);
        let body = String::from_utf8_lossy(record.body).into_owned();
        bodies.insert(record.physical_offset.0, body);
    });
    (found.unwrap(), bodies)
}

#[test]
fn every_message_of_apache_rocketmq_is_read_and_verified_by_its_body() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/apache");
    let (found, bodies) = look(&RealDisk::new(), &dir);
    assert!(!found.ours && found.damage.is_empty() && found.torn_bytes == 0);
    assert_eq!(found.segments.len(), 2, "so a blank record was passed");
    assert_eq!(found.body_only as usize, bodies.len());
    for n in 0..12 {
        assert!(bodies.values().any(|body| *body == format!("order {n}")));
    }
    let of = |topic: &str| {
        let queues = found.queues.iter().filter(|((name, _), _)| name == topic);
        queues
            .map(|(_, queue)| (queue.messages, queue.lost, queue.out_of_order))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("orders"), [(14, 0, 0)]);
    assert_eq!(of(&"t".repeat(127)), [(1, 0, 0)]);
    assert_eq!(of("SCHEDULE_TOPIC_XXXX"), [(1, 0, 0)]);
}

#[test]
fn a_flipped_bit_hides_no_record_but_its_own() {
    let whole = fixture();
    let (_, bodies) = look(&write(&whole), Path::new(DIR));
    for (segment, base) in [(0, 0), (1, 4096)] {
        for at in (0..whole[segment].len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[segment][at] ^= 1 << (at % 8);
            let (_, found) = look(&write(&flipped), Path::new(DIR));
            let hit = bodies.range(..=base + at as u64).next_back().map(|(start, _)| *start);
            for (start, body) in bodies.iter().filter(|(start, _)| Some(**start) != hit) {
                assert_eq!(found.get(start), Some(body), "byte {at} of segment {segment}");
            }
        }
    }
}

#[test]
fn damage_is_told_from_the_tail_by_what_follows_it() {
    let mut segments = fixture();
    let (_, bodies) = look(&write(&segments), Path::new(DIR));
    let starts: Vec<u64> = bodies.keys().copied().collect();
    let (third, last) = (starts[2], *starts.last().unwrap());
    // Bytes 88 on are the body: both hosts are IPv4.
    segments[0][third as usize + 88] ^= 1;
    let (found, left) = look(&write(&segments), Path::new(DIR));
    assert_eq!((found.damage.len(), left.len()), (1, bodies.len() - 1));
    assert_eq!((found.damage[0].from.0, found.damage[0].to.0), (third, starts[3]));

    let mut segments = fixture();
    segments[1][(last - 4096) as usize + 88] ^= 1;
    let (found, left) = look(&write(&segments), Path::new(DIR));
    assert!(found.damage.is_empty() && found.torn_bytes > 0);
    assert_eq!((found.end.0, left.len()), (last, bodies.len() - 1));
}

#[test]
fn a_store_does_not_open_what_it_would_take_for_torn() {
    let disk = write(&fixture());
    let opened = Store::open(Arc::new(disk.clone()), Path::new(DIR), StoreConfig::default());
    assert!(matches!(opened, Err(OpenError::NotOurs(_))));
    let log = Path::new(DIR).join("commitlog");
    for (name, bytes) in NAMES.iter().zip(fixture()) {
        let mut now = vec![0; bytes.len()];
        disk.open(&log.join(name), Access::Read).unwrap().read_at(&mut now, 0).unwrap();
        assert!(now == bytes, "nothing is changed");
    }
}
