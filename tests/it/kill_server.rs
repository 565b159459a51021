//! A broker under load, killed with SIGKILL at seeded moments: nothing that was answered is lost in
//! any flush mode, because the page cache survives the process.

use std::thread;
use std::time::Duration;

use super::kill_loop::processes::{Broker, Odds};
use super::oracle::{Loss, Oracle, Outcome};

/// Rounds on one data directory, so that reading everything back stays short.
const ROUNDS_EACH: u64 = 10;

#[test]
fn s1_kill_at_a_random_moment() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (kills, seed) = (number("MILLRACE_KILLS", 8), number("MILLRACE_SEED", 1));
    let mut odds = Odds(seed);
    for flush in ["sync", "async"] {
        let (mut answered, mut unknown) = (0, 0);
        for first in (0..kills.div_ceil(2)).step_by(ROUNDS_EACH as usize) {
            let rounds = ROUNDS_EACH.min(kills.div_ceil(2) - first);
            let oracle = rounds_of(rounds, flush, &mut odds)
                .unwrap_or_else(|broken| panic!("seed {seed}, {flush}, from {first}: {broken}"));
            answered += oracle.history.count(|sent| matches!(sent.outcome, Outcome::Ok { .. }));
            unknown += oracle.history.count(|sent| sent.outcome == Outcome::Unknown);
        }
        println!(
            "{flush}: {} kills, {answered} answered, {unknown} stored and not answered, 0 lost",
            kills.div_ceil(2)
        );
        assert!(answered as u64 > kills, "hardly anything was sent");
    }
}

fn rounds_of(rounds: u64, flush: &str, odds: &mut Odds) -> Result<Oracle, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = dir.path().join("data");
    let arguments = ["--flush", flush, "--segment-size", "4MiB"];
    let mut addresses = ["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()];
    let mut oracle = Oracle::default();
    for _ in 0..rounds {
        let broker = Broker::launch(dir.path(), &data, &addresses, &arguments)?;
        let traffic = oracle.traffic(broker.address());
        thread::park_timeout(Duration::from_millis(50 + odds.below(700)));
        addresses = broker.kill();
        traffic.stop();
        let broker = Broker::launch(dir.path(), &data, &addresses, &arguments)?;
        oracle.judge(broker.address(), Loss::None)?;
        // Half of the time the next life begins where nothing was written.
        addresses = broker.kill();
    }
    Ok(oracle)
}
