//! A mistake made on purpose: retention that ignores holds must be found, within 60 s of CPU and by a
//! seed that is content without it. The store's own twelve are in `broker/store/src/tests/plants.rs`.

use std::time::Duration;

use millrace_store::Faults;

use super::retention::{HOUR, bounds, fill, hold, keeping};
use super::*;

fn open(disk: SimDisk, faults: Faults) -> Rig {
    let store = StoreConfig { segment_bytes: 64 << 10, faults, ..StoreConfig::default() };
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, flusher, _) = Store::open(shared, Path::new("/data"), store).unwrap();
    let retention = RetentionConfig { hold_max_ms: 1_000 * HOUR, ..keeping(3) };
    let config = EngineConfig { retention, ..EngineConfig::default() };
    let engine = Engine::open(store, config, Arc::new(NoConditions)).unwrap();
    let now = Now { mono_ms: 1_000, wall_ms: 1_700_000_000_000 };
    Rig { disk, engine, flusher, now, tickets: 0 }
}

/// A broker whose queue grows and ages while a sink reads it, with a restart now and then.
fn live(seed: u64, faults: Faults) -> Result<(), String> {
    let mut state = seed;
    let mut below = |end: u64| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 33) % end
    };
    let mut rig = open(SimDisk::new(seed), faults);
    let mut next = 0;
    fill(&mut rig, "orders", 0, 1);
    hold(&mut rig, next);
    for _ in 0..12 {
        match below(6) {
            0 | 1 => fill(&mut rig, "orders", 0, 1),
            2 => {
                let (_, end) = bounds(&mut rig, "orders", 0);
                next += below(end.saturating_sub(next) + 1);
                hold(&mut rig, next);
            }
            3 => {
                let disk = rig.disk.kill();
                drop(rig);
                rig = open(disk, faults);
                rig.let_pass(1);
            }
            _ => rig.let_pass(HOUR + below(2 * HOUR)),
        }
        let (min, end) = bounds(&mut rig, "orders", 0);
        if min > next {
            return Err(format!(
                "removed up to {min} of {end}, and the sink has read up to {next}"
            ));
        }
    }
    Ok(())
}

/// CPU time of this thread so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("nanoseconds on a processor"))
}

#[test]
fn an_ignored_hold_is_found() {
    let planted = Faults { ignore_holds: true, ..Faults::default() };
    let started = cpu();
    let (seed, broken) = (0..)
        .inspect(|seed| assert!(cpu() - started < Duration::from_secs(60), "not found by {seed}"))
        .find_map(|seed| Some((seed, live(seed, planted).err()?)))
        .expect("seeds do not end");
    let taken = (cpu() - started).as_secs_f64();
    println!("{:36} {seed:>6} {taken:>10.2}  {broken}", "hold ignored");
    assert_eq!(live(seed, Faults::default()), Ok(()), "seed {seed} fails without the mistake too");
}
