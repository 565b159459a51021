use super::*;

/// What the model knows: groups in the order of their commit.
#[derive(Default)]
struct Model {
    groups: Vec<Vec<Kept>>,
    /// How many of them were durable at the last flush.
    durable: usize,
    /// A group whose commit failed: it may have been written or not.
    unknown: Option<Vec<Kept>>,
}

impl Model {
    /// Checks what a store has after a start, and forgets what was lost with good reason.
    fn check(&mut self, opened: &Opened, at_least: usize, seed: u64) {
        let recovered: usize = TOPICS
            .iter()
            .flat_map(|topic| (0..2).map(|queue| opened.bodies(topic, queue).unwrap().len()))
            .sum();
        if let Some(unknown) = self.unknown.take() {
            self.groups.push(unknown);
        }
        let mut messages = 0;
        let mut whole = 0;
        while messages < recovered && whole < self.groups.len() {
            messages += self.groups[whole].len();
            whole += 1;
        }
        assert_eq!(messages, recovered, "seed {seed}: a part of a group was recovered");
        assert!(whole >= at_least, "seed {seed}: {whole} groups left of {at_least} durable ones");
        self.groups.truncate(whole);
        for topic in TOPICS {
            for queue in 0..2 {
                let bodies = opened.bodies(topic, queue).unwrap();
                assert_eq!(
                    bodies,
                    expected(&self.groups, topic, queue),
                    "seed {seed}: {topic}/{queue}"
                );
            }
        }
        self.durable = whole;
    }
}

/// Random operations with crashes at random places. Panics where the store breaks a promise.
fn live(seed: u64, config: &StoreConfig) {
    let mut odds = Odds(seed);
    let mut disk = SimDisk::new(seed);
    let mut opened = open(&disk, config.clone()).unwrap();
    let mut model = Model::default();
    for _ in 0..60 {
        match odds.below(20) {
            0..=9 => {
                let group = odds.group();
                match opened.append(&group) {
                    Ok(()) => model.groups.push(group),
                    Err(AppendError::Io(_)) => model.unknown = Some(group),
                    // Nothing of it was written.
                    Err(_) => {}
                }
            }
            10..=12 => {
                if opened.flusher.flush().is_ok() {
                    model.durable = model.groups.len();
                }
            }
            13 => opened.flusher.housekeep(),
            14 => disk.cut_after(odds.below(12)),
            15 => {
                let Opened { store, flusher, .. } = opened;
                let closed = store.close(flusher);
                if closed.is_ok() {
                    model.durable = model.groups.len();
                    disk = disk.power_cut();
                } else {
                    disk = disk.power_cut();
                }
                opened = open(&disk, config.clone()).unwrap();
                model.check(&opened, model.durable, seed);
                assert!(opened.found.clean || closed.is_err(), "seed {seed}: closed and not clean");
            }
            16 | 17 => {
                drop(opened);
                let cut = disk.is_cut();
                disk = if cut { disk.power_cut() } else { disk.kill() };
                opened = open(&disk, config.clone()).unwrap();
                let at_least = if cut { model.durable } else { model.groups.len() };
                model.check(&opened, at_least, seed);
            }
            _ => {
                drop(opened);
                disk = disk.power_cut();
                opened = open(&disk, config.clone()).unwrap();
                model.check(&opened, model.durable, seed);
            }
        }
    }
}

#[test]
fn a_crash_at_any_step_loses_nothing_durable_and_invents_nothing() {
    for seed in seeds(500) {
        live(seed, &small());
    }
}

#[test]
fn a_start_that_is_cut_off_can_be_repeated() {
    for seed in seeds(100) {
        let mut odds = Odds(seed);
        let mut disk = SimDisk::new(seed);
        let mut opened = open(&disk, small()).unwrap();
        let mut model = Model::default();
        for _ in 0..30 {
            let group = odds.group();
            opened.append(&group).unwrap();
            model.groups.push(group);
            if odds.below(4) == 0 {
                opened.flusher.flush().unwrap();
                opened.flusher.housekeep();
                model.durable = model.groups.len();
            }
        }
        drop(opened);
        for _ in 0..5 {
            disk = disk.power_cut();
            disk.cut_after(odds.below(25));
            let _ = open(&disk, small());
        }
        disk = disk.power_cut();
        let opened = open(&disk, small()).unwrap();
        model.check(&opened, model.durable, seed);
    }
}

/// Whether some seed notices a mistake made on purpose.
#[cfg(feature = "faults")]
fn found_by_some_seed(faults: crate::Faults) {
    let config = StoreConfig { faults, ..small() };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let finder = (0..2_000).find(|&seed| std::panic::catch_unwind(|| live(seed, &config)).is_err());
    std::panic::set_hook(hook);
    let seed = finder.expect("no seed finds the planted mistake");
    println!("seed {seed} finds {faults:?}");
    live(seed, &small());
}

#[cfg(feature = "faults")]
#[test]
fn skipping_fsync_is_found() {
    found_by_some_seed(crate::Faults { skip_fsync: true, ..Default::default() });
}

#[cfg(feature = "faults")]
#[test]
fn half_a_group_kept_is_found() {
    found_by_some_seed(crate::Faults { keep_half_groups: true, ..Default::default() });
}
