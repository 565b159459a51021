//! Appending without waiting for the disk, beside vectored writes of the same bytes.

use millrace_store::StoreConfig;

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{Pool, Quiet};
use crate::meter::{Moment, Rounds, Spent, Spread};
use crate::raw::RawLog;

/// Bytes of one round: small enough that the system writes none of them back meanwhile.
const ROUND_BYTES: u64 = 64 << 20;
const ROUNDS: usize = 7;

pub(crate) fn measure(home: &Home, gates: &mut Gates) {
    println!("append, async: nanoseconds of CPU per record, the writing thread");
    for body in [128, 1024, 4096] {
        let pool = Pool::new(body);
        let mut ours = Quiet::open(&home.path("append"), StoreConfig::default());
        let mut raw = RawLog::create(&home.path("append-raw"));
        for group in [1, 16, 64] {
            measure_one(&pool, body, group, &mut ours, &mut raw, gates);
        }
        drop((ours, raw));
        home.remove("append");
        home.remove("append-raw");
    }
}

fn measure_one(
    pool: &Pool,
    body: usize,
    group: usize,
    ours: &mut Quiet,
    raw: &mut RawLog,
    gates: &mut Gates,
) {
    let groups = ROUND_BYTES / (pool.record_bytes() * group as u64);
    let records = (groups * group as u64) as f64;
    let slices = pool.slices(group);
    let mut index = Vec::new();
    let rounds = Rounds::run(
        ROUNDS,
        ROUND_BYTES,
        || {
            let start = Moment::now();
            for _ in 0..groups {
                ours.append(pool, group);
            }
            let spent = start.spent();
            // Neither disk nor index runs within a round; the runs are accounted for.
            ours.flush();
            let start = Moment::now();
            ours.flusher.housekeep();
            index.push(start.spent().thread / records * 1e9);
            spent
        },
        || {
            raw.make_room(groups * pool.record_bytes() * group as u64);
            let start = Moment::now();
            for _ in 0..groups {
                raw.write(&slices);
            }
            let spent = start.spent();
            raw.sync();
            spent
        },
    );
    let each = |spent: &[Spent]| Spread::of(spent.iter().map(|spent| spent.thread / records * 1e9));
    let (cpu, wall) = (rounds.ratio(|spent| spent.thread), rounds.ratio(|spent| spent.wall));
    let above = each(&rounds.ours).median - each(&rounds.raw).median;
    println!(
        "  {body:>4} B × {group:>2}: ours {:.0}, raw {:.0}, ratio {cpu:.2}, wall ratio {wall:.2}; \
         index runs {:.0} more on the flush thread; {}",
        each(&rounds.ours),
        each(&rounds.raw),
        index.iter().sum::<f64>() / index.len() as f64,
        rounds.quality(),
    );
    let what = format!("async append, {body} B × {group}");
    if body < 1024 {
        gates.at_most(&format!("{what}: ns of CPU above raw"), above, 150.0);
    } else {
        gates.at_most(&format!("{what}: time by raw"), cpu.median, 1.5);
    }
}
