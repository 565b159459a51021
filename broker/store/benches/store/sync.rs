//! Appending and waiting for the disk, beside a loop of write and `fdatasync`.

use millrace_store::{FlushMode, StoreConfig};

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{Pool, Quiet};
use crate::meter::{Moment, Rounds, Spent, Spread};
use crate::raw::RawLog;

/// Groups of one round, and rounds: many short ones, because the disk belongs to others too.
const GROUPS: usize = 50;
const ROUNDS: usize = 15;

pub(crate) fn measure(home: &Home, gates: &mut Gates) {
    println!("append, sync: groups per second, each durable before the next");
    let config = StoreConfig { flush: FlushMode::Sync, ..StoreConfig::default() };
    for body in [128, 1024, 4096] {
        let pool = Pool::new(body);
        let mut ours = Quiet::open(&home.path("sync"), config.clone());
        let mut raw = RawLog::create(&home.path("sync-raw"));
        for group in [1, 16, 64] {
            let slices = pool.slices(group);
            let rounds = Rounds::run(
                ROUNDS,
                0,
                || {
                    let start = Moment::now();
                    for _ in 0..GROUPS {
                        ours.append(&pool, group);
                        ours.flush();
                    }
                    start.spent()
                },
                || {
                    let start = Moment::now();
                    for _ in 0..GROUPS {
                        raw.write(&slices);
                        raw.sync();
                    }
                    start.spent()
                },
            );
            let rate =
                |spent: &[Spent]| Spread::of(spent.iter().map(|spent| GROUPS as f64 / spent.wall));
            let ratio = rounds.ratio(|spent| 1.0 / spent.wall);
            println!(
                "  {body:>4} B × {group:>2}: ours {:.0}, raw {:.0}, ratio {ratio:.2}; {}",
                rate(&rounds.ours),
                rate(&rounds.raw),
                rounds.quality(),
            );
            let what = format!("sync append, {body} B × {group}: rate by raw");
            gates.at_least(&what, ratio.median, 0.8);
        }
        drop((ours, raw));
        home.remove("sync");
        home.remove("sync-raw");
    }
}
