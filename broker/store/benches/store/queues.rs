//! 50,000 queues over 5,000 topics beside 8, the flush thread running as in a broker.

use millrace_store::StoreConfig;

use crate::gate::Gates;
use crate::home::Home;
use crate::load::{Grouping, Running, Spreading};
use crate::meter::{Moment, Rounds, Spent, Spread, anonymous};

const BODY: usize = 1024;
/// Messages of a round: several rounds together see some index runs of either.
const ROUND: u64 = 500_000;
const ROUNDS: usize = 5;

pub(crate) fn measure(home: &Home, gates: &mut Gates) {
    println!("many queues, {BODY} B: nanoseconds of CPU per record, the whole process");
    for grouping in [Grouping::Group, Grouping::Single] {
        measure_one(home, gates, grouping);
    }
}

fn measure_one(home: &Home, gates: &mut Gates, grouping: Grouping) {
    let before = anonymous();
    let mut many = Side::open(home, "many", Spreading::new(5000, 10, BODY, grouping));
    let registered = anonymous().saturating_sub(before);
    let mut few = Side::open(home, "few", Spreading::new(2, 4, BODY, grouping));
    let mut peak = 0;
    let rounds = Rounds::run(
        ROUNDS,
        ROUND * 1400,
        || {
            let spent = many.round();
            peak = peak.max(anonymous());
            spent
        },
        || few.round(),
    );
    let each = |spent: &[Spent], of: fn(&Spent) -> f64| {
        Spread::of(spent.iter().map(|spent| of(spent) / ROUND as f64 * 1e9))
    };
    for (what, spent) in [("50,000 queues", &rounds.ours), ("8 queues", &rounds.raw)] {
        println!(
            "  {grouping:?}, {what:>13}: {:.0}, of that {:.0} in the writing thread; wall {:.0}",
            each(spent, |spent| spent.process),
            each(spent, |spent| spent.thread),
            each(spent, |spent| spent.wall),
        );
    }
    let ratio = |of: fn(&Spent) -> f64| {
        Spread::of(rounds.ours.iter().zip(&rounds.raw).map(|(many, few)| of(few) / of(many)))
    };
    let process = ratio(|spent| spent.process);
    println!(
        "  {grouping:?}, append rate with 50,000 by that with 8: {process:.2} by all CPU, {:.2} by \
         the writing thread's, {:.2} by wall; {}",
        ratio(|spent| spent.thread),
        ratio(|spent| spent.wall),
        rounds.quality(),
    );
    println!(
        "  memory: {} bytes per registered queue, at most {} MB anonymous (both stores)",
        registered / 50_000,
        peak / 1_000_000
    );
    if grouping == Grouping::Group {
        gates.at_least("append rate with 50,000 queues by 8, all CPU", process.median, 0.9);
    }
    gates.at_most("anonymous memory with 50,000 queues, MB", peak as f64 / 1e6, 200.0);
    drop((many.running.stop(), few.running.stop()));
    home.remove("many");
    home.remove("few");
}

struct Side {
    running: Running,
    spreading: Spreading,
    next: u64,
}

impl Side {
    fn open(home: &Home, name: &str, spreading: Spreading) -> Self {
        let (mut running, _) = Running::open(&home.path(name), StoreConfig::default());
        spreading.register(&mut running.store);
        Self { running, spreading, next: 0 }
    }

    fn round(&mut self) -> Spent {
        let start = Moment::now();
        self.spreading.append(&mut self.running.store, self.next, self.next + ROUND);
        self.next += ROUND;
        start.spent()
    }
}
