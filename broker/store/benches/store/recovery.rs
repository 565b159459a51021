//! Starting with a log whose index is gone: every byte is read and verified.

use millrace_store::StoreConfig;
use millrace_types::PhysicalOffset;

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{POOL, Pool, Quiet};
use crate::meter::{Moment, Spread, touch_memory};

const LOG_BYTES: u64 = 1 << 30;
const ROUNDS: usize = 5;
const GIB: f64 = (1 << 30) as f64;

pub(crate) fn measure(home: &Home, gates: &mut Gates) {
    println!("recovery without an index, log in the page cache, GiB/s of log");
    for body in [128, 1024, 4096] {
        let pool = Pool::new(body);
        let mut ours = Quiet::open(&home.path("recovery"), StoreConfig::default());
        while ours.store.staged_end() < PhysicalOffset(LOG_BYTES) {
            ours.append(&pool, POOL);
        }
        ours.flush();
        // Dropped, not closed: as after `kill -9`, when the system has what was written.
        drop(ours);
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            std::fs::remove_dir_all(home.path("recovery/index")).expect("it can be removed");
            touch_memory(LOG_BYTES / 4);
            let start = Moment::now();
            let disk = std::sync::Arc::new(millrace_disk::RealDisk::new());
            let opened =
                millrace_store::Store::open(disk, &home.path("recovery"), StoreConfig::default());
            let spent = start.spent();
            let (_, _, found) = opened.expect("the store opens");
            assert!(found.damage.is_empty() && found.scanned_bytes >= LOG_BYTES - (1 << 20));
            rounds.push((found.scanned_bytes as f64 / GIB, spent));
        }
        let rate = Spread::of(rounds.iter().map(|(gib, spent)| gib / spent.wall));
        let cpu = Spread::of(rounds.iter().map(|(gib, spent)| gib / spent.thread));
        let others = Spread::of(rounds.iter().map(|(_, spent)| spent.others));
        println!("  {body:>4} B: {rate:.2}, per CPU second {cpu:.2}; others {others:.2} CPUs");
        if body == 1024 {
            gates.at_least("recovery, 1024 B: GiB/s", rate.median, 1.0);
        }
        home.remove("recovery");
    }
}
