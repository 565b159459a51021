//! The real program, killed with SIGKILL at seeded moments and restarted until it is done: in one
//! process, and over the wire with broker and runner killed separately.
//!
//! A short loop runs with the other tests. `tests/kill-loop` runs a long one.

mod lines; // the input, and what must become of each line
pub(crate) mod processes; // starting and killing the program
mod verdict; // what lies on the disk afterwards

use std::path::Path;
use std::time::Duration;

use lines::Input;
use processes::{Broker, Odds, Runner};
use verdict::Phase;

/// How many kills fell where.
#[derive(Default)]
struct Phases([u64; 4]);

impl Phases {
    fn count(&mut self, phase: Phase) {
        self.0[phase as usize] += 1;
    }
}

#[test]
fn every_line_arrives_once_whenever_the_program_is_killed() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let (kills, copies) = (number("MILLRACE_KILLS", 20), number("MILLRACE_COPIES", 4));
    let seed = number("MILLRACE_SEED", 1);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let input = Input::write(&dir.path().join("access.log"), copies);
    println!("seed {seed}: {} lines, {} of them rows", input.lines.len(), input.rows.len());
    let mut odds = Odds(seed);
    let mut phases = Phases::default();
    let (mut done, mut rounds, mut parts) = (0, 0, 0);
    while done < kills {
        let round = dir.path().join(format!("round-{rounds}"));
        let wire = rounds % 2 == 1;
        let budget = (kills - done).min(12);
        let played = play(&round, &input, wire, budget, &mut odds, &mut phases);
        let seen = verdict::look(&round, &input);
        if let Err(broken) =
            played.and_then(|kills| seen.map(|parts| (kills, parts))).map(|(kills, visible)| {
                done += kills;
                parts = parts.max(visible);
            })
        {
            panic!("seed {seed}, round {rounds}, wire {wire}: {broken}");
        }
        std::fs::remove_dir_all(&round).expect("the round's directory");
        rounds += 1;
    }
    let [before, planned, renamed, after] = phases.0;
    println!(
        "{done} kills in {rounds} rounds, {parts} parts: {before} before PLANNED, {planned} \
         between PLANNED and rename, {renamed} between rename and COMMITTED, {after} after"
    );
    assert!(parts >= 50, "only {parts} parts");
    if kills >= 200 {
        assert!(phases.0.iter().all(|count| *count >= 10), "a phase was hardly met");
    }
}

/// Runs one pipeline to its end, killing at most `budget` times. Answers the kills made.
fn play(
    dir: &Path,
    input: &Input,
    wire: bool,
    budget: u64,
    odds: &mut Odds,
    phases: &mut Phases,
) -> Result<u64, String> {
    std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    let pipeline = processes::write_pipeline(dir);
    let mut broker = if wire { Some(Broker::start(dir)?) } else { None };
    let mut kills = 0;
    loop {
        // The longer it lives, the further it gets: some kills come at once, some late.
        let patience = Duration::from_millis(1 + odds.below(1_500));
        let failpoint = (kills < budget && odds.below(3) == 0).then(|| odds.failpoint());
        let mut runner = Runner::start(dir, &pipeline, &input.path, broker.as_ref(), failpoint)?;
        if kills >= budget {
            runner.wait_for_success(Duration::from_secs(300))?;
            break;
        }
        let ended =
            runner.wait(if failpoint.is_some() { Duration::from_secs(60) } else { patience })?;
        match (ended, failpoint) {
            (Some(status), _) if status.success() => break,
            (Some(status), Some(point)) if processes::is_abort(status) => {
                phases.count(verdict::phase_of(point.0));
            }
            (Some(status), _) => {
                return Err(format!("the runner ended with {status}: {}", runner.said()));
            }
            (None, _) if wire && odds.below(2) == 0 => {
                // The broker dies, the runner goes on as soon as it is back.
                let Some(down) = broker.take() else { return Err("no broker".into()) };
                let addresses = down.kill();
                phases.count(verdict::phase(dir)?);
                kills += 1;
                broker = Some(Broker::restart(dir, &addresses)?);
                let more = Duration::from_millis(odds.below(1_000));
                match runner.wait(more)? {
                    Some(status) if status.success() => break,
                    // The broker was gone before this runner had found it.
                    Some(_) if runner.said().starts_with("error[E-NET-01]") => {}
                    Some(status) => {
                        return Err(format!("the runner ended with {status}: {}", runner.said()));
                    }
                    None => runner.kill(),
                }
                phases.count(verdict::phase(dir)?);
            }
            (None, _) => {
                runner.kill();
                phases.count(verdict::phase(dir)?);
            }
        }
        kills += 1;
    }
    if let Some(broker) = broker {
        broker.stop()?;
    }
    Ok(kills)
}
