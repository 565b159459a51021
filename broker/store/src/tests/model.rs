//! The store through whole lives: every operation, every fault of the simulated disk, crashes at any
//! step, and damage, against a model of a few lines.
//!
//! A seed makes the steps. If one fails, steps are left out for as long as the rest still fails, and
//! what is left is printed; `MILLRACE_SEED` replays it. `tests/store-model` runs many seeds.

mod expected; // what the store must hold
mod harm; // damage to a copy of the disk
mod life; // a store, its disk and its promises
mod steps; // what happens

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::small;
use crate::StoreConfig;
use steps::Step;

/// How much happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lived {
    pub(super) starts: u64,
    /// Copies of the disk that were damaged.
    pub(super) damaged: u64,
}

/// One life; a panic breaks a promise too.
pub(super) fn live(seed: u64, config: &StoreConfig) -> Result<Lived, String> {
    run(seed, &steps::steps(seed), config)
}

/// A short life that is all about damage. Answers how many copies were damaged.
pub(super) fn live_damage(seed: u64, config: &StoreConfig) -> Result<u64, String> {
    run(seed, &steps::damage(seed), config).map(|lived| lived.damaged)
}

fn run(seed: u64, steps: &[Step], config: &StoreConfig) -> Result<Lived, String> {
    let lived = catch_unwind(AssertUnwindSafe(|| life::live(seed, steps, config)));
    lived.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(format!("panic: {}", text.or(panic.downcast_ref().copied()).unwrap_or("?")))
    })
}

/// Leaves out steps, as many at once as possible, for as long as what is left still fails.
fn shrink(seed: u64, config: &StoreConfig) -> (Vec<Step>, String) {
    let mut steps = steps::steps(seed);
    let mut broken = run(seed, &steps, config).err().unwrap_or_default();
    let mut size = steps.len() / 2;
    while size > 0 {
        let mut at = 0;
        let before = steps.len();
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(steps.len()));
            match run(seed, &fewer, config) {
                Err(still) => (steps, broken) = (fewer, still),
                Ok(_) => at += size,
            }
        }
        if size > 1 || steps.len() == before {
            size /= 2;
        }
    }
    (steps, broken)
}

#[test]
fn a_store_keeps_its_promises_through_any_life() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds = match (number("MILLRACE_SEED"), number("MILLRACE_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(300),
    };
    let (count, mut sum) = (seeds.end - seeds.start, Lived::default());
    for seed in seeds {
        match live(seed, &small()) {
            Ok(more) => {
                sum.starts += more.starts;
                sum.damaged += more.damaged;
            }
            Err(broken) => {
                let (steps, shrunk) = shrink(seed, &small());
                let list: Vec<String> = steps.iter().map(|step| format!("  {step:?}")).collect();
                panic!(
                    "seed {seed}: {broken}\nin {} steps: {shrunk}\n{}\n\
                     replay with MILLRACE_SEED={seed}",
                    steps.len(),
                    list.join("\n")
                );
            }
        }
    }
    println!("{count} lives with {} starts and {} damaged copies", sum.starts, sum.damaged);
    assert!(sum.starts >= count, "nothing happened in these lives");
}
