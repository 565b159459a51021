//! Mistakes made on purpose: the model must find every one, and be content with the same seed without
//! it. (`hold ignored` is planted in the engine, beside its tests.) A harness that misses one proves nothing.
//!
//! `tests/planted-bugs` looks for each from seed 0 on and prints a table. The seeds that it found
//! are recorded here, so that an ordinary test run starts from them.

use std::time::Duration;

use super::{model, small};
use crate::{Faults, StoreConfig};

struct Plant {
    name: &'static str,
    faults: Faults,
    /// A seed that has found it.
    seed: u64,
}

const NONE: Faults = Faults {
    skip_fsync: false,
    answer_early: false,
    keep_torn_tail: false,
    shorten_checksum: false,
    skip_dir_sync: false,
    trust_stale_mark: false,
    trust_runs: false,
    keep_half_groups: false,
    dispatch_past_damage: false,
    reuse_queue_offset: false,
    read_past_watermark: false,
    trust_snapshots: false,
    ignore_holds: false,
};

const PLANTS: &[Plant] = &[
    Plant { name: "skip fsync", faults: Faults { skip_fsync: true, ..NONE }, seed: 0 },
    Plant { name: "answer early", faults: Faults { answer_early: true, ..NONE }, seed: 16 },
    Plant { name: "tail not zeroed", faults: Faults { keep_torn_tail: true, ..NONE }, seed: 1 },
    Plant {
        name: "checksum range off by one",
        faults: Faults { shorten_checksum: true, ..NONE },
        seed: 24,
    },
    Plant {
        name: "dispatch past damage",
        faults: Faults { dispatch_past_damage: true, ..NONE },
        seed: 3,
    },
    Plant {
        name: "queue offset reused",
        faults: Faults { reuse_queue_offset: true, ..NONE },
        seed: 2,
    },
    Plant {
        name: "rename without directory fsync",
        faults: Faults { skip_dir_sync: true, ..NONE },
        seed: 0,
    },
    Plant {
        name: "snapshot trusted without checksum",
        faults: Faults { trust_snapshots: true, ..NONE },
        seed: 354,
    },
    Plant {
        name: "stale checkpoint trusted",
        faults: Faults { trust_stale_mark: true, ..NONE },
        seed: 1,
    },
    Plant {
        name: "index run trusted without checksum",
        faults: Faults { trust_runs: true, ..NONE },
        seed: 42,
    },
    Plant {
        name: "reader past the watermark",
        faults: Faults { read_past_watermark: true, ..NONE },
        seed: 0,
    },
    Plant {
        name: "half a group visible",
        faults: Faults { keep_half_groups: true, ..NONE },
        seed: 2,
    },
];

/// CPU time that finding one may take.
const LIMIT: Duration = Duration::from_secs(60);

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds on a processor"))
}

/// The first seed from `from` on that notices; panics where none does in time, or where the seed
/// fails without the mistake too.
fn find(plant: &Plant, from: u64) -> (u64, Duration, String) {
    let started = cpu();
    let config = StoreConfig { faults: plant.faults, ..small() };
    for seed in from.. {
        if let Err(broken) = model::live(seed, &config) {
            let taken = cpu() - started;
            let green = model::live(seed, &small());
            assert!(green.is_ok(), "seed {seed} fails without `{}` too: {green:?}", plant.name);
            return (seed, taken, broken);
        }
        assert!(cpu() - started < LIMIT, "`{}` is not found: {} seeds", plant.name, seed - from);
    }
    unreachable!("seeds do not end");
}

#[test]
fn planted_bugs_are_found() {
    let search = std::env::var_os("MILLRACE_SEARCH").is_some();
    println!("{:36} {:>6} {:>10}  what was noticed", "planted bug", "seed", "CPU s");
    for plant in PLANTS {
        let (seed, taken, broken) = find(plant, if search { 0 } else { plant.seed });
        let first: String = broken.lines().next().unwrap_or_default().chars().take(90).collect();
        println!("{:36} {seed:>6} {:>10.2}  {first}", plant.name, taken.as_secs_f64());
    }
}
