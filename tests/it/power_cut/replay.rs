//! The power goes at each operation of a replay, over the real store and Parquet files.

use std::sync::Arc;

use millrace_client::Broker;
use millrace_disk::{Disk, SimDisk};
use millrace_runtime::dlq::{Replayed, Selected, replay};
use millrace_runtime::{Patience, Run, RunOptions};
use tokio::time::Instant;

use super::judge::{self, Expected};
use super::world::{Odds, PIPELINE, SimClock, connectors, core, pipeline, write_input};

/// No sink takes the lines with these numbers.
fn is_refused(id: u64) -> bool {
    id % 32 == 3
}

fn broken() -> String {
    let where_ = "  lake:\n    where: 10 / (body.id % 32 - 3) < 100\n";
    PIPELINE.replace("  lake:\n", where_)
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// A disk on which the pipeline has run before it was mended.
fn with_letters(seed: u64) -> (SimDisk, Expected) {
    let disk = SimDisk::new(seed);
    let mut input = write_input(&disk, &mut Odds(seed));
    input.sinks = &["lake"];
    let refused = input.rows.iter().filter(|(_, id)| is_refused(**id));
    input.letters.extend(refused.map(|(at, _)| *at));
    on_one_thread(async {
        let clock = SimClock(Instant::now());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let core = core(&shared, &clock, false, None).unwrap();
        let broker: Arc<dyn Broker> = Arc::new(core.local());
        let options = RunOptions { clock: Arc::new(clock), ..RunOptions::new("run") };
        let run = Run::new(pipeline(&broken()), broker, connectors(&shared, seed), options);
        run.finish().await.unwrap();
        core.close().unwrap();
    });
    judge::between(&disk, &input, &[]).unwrap();
    (disk, input)
}

fn replayed(disk: &SimDisk, worker: &str, seed: u64) -> Result<Replayed, String> {
    on_one_thread(async {
        let clock = SimClock(Instant::now());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let core = core(&shared, &clock, false, None)?;
        let broker: Arc<dyn Broker> = Arc::new(core.local());
        let options = RunOptions {
            clock: Arc::new(clock),
            patience: Patience::SHORT,
            ..RunOptions::new(worker)
        };
        let open = connectors(&shared, seed).sink;
        let replay = replay(pipeline(PIPELINE), "lake", broker, open, Selected::default(), options);
        let replayed = replay.await.map_err(|error| format!("{error:?}"))?;
        Ok(replayed.expect("there are letters"))
    })
}

#[test]
fn a_replay_survives_a_power_cut_at_any_operation() {
    let mut settled = 0;
    for seed in 0..3 {
        let (base, input) = with_letters(seed);
        let refused = input.rows.values().filter(|id| is_refused(**id)).count() as u64;
        assert!(refused > 1, "seed {seed}");
        for operations in 0.. {
            let disk = base.image(operations);
            disk.cut_after(operations);
            let whole = replayed(&disk, "first", seed);
            assert!(whole.is_ok() || disk.is_cut(), "seed {seed}, {operations}: {whole:?}");
            let is_cut = disk.is_cut();
            let disk = if is_cut { disk.power_cut() } else { disk.kill() };
            judge::between(&disk, &input, &[]).unwrap();
            let second = replayed(&disk, "second", seed).unwrap();
            settled += second.settled;
            judge::at_the_end(&disk, &input)
                .unwrap_or_else(|broken| panic!("seed {seed}, {operations}: {broken}"));
            judge::between(&disk, &input, &[])
                .unwrap_or_else(|broken| panic!("seed {seed}, {operations}: {broken}"));
            let third = replayed(&disk, "third", seed).unwrap();
            assert_eq!((third.rows, third.settled), (0, 0), "seed {seed}, {operations}");
            if !is_cut {
                assert!(operations > 20, "seed {seed}: it is done after {operations} operations");
                break;
            }
        }
    }
    assert!(settled > 0, "no replay ever had to settle another one");
}
