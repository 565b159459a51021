//! Failures that only the real kernel has. They need root, and strace for some; `tests/real-faults`
//! runs them. Each says "skipped" and why where the machine cannot do it.

mod mounts; // file systems to break

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mounts::{Cut, Mounted};

use super::kill_loop::processes::{Addresses, Broker, Odds};
use super::oracle::{Loss, Oracle, Outcome, PRODUCERS, Wire};

const SEGMENT: [&str; 2] = ["--segment-size", "4MiB"];
const FIRST_SEGMENT: &str = "commitlog/00000000000000000000";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn anywhere() -> Addresses {
    ["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()]
}

fn is_ok(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Ok { .. })
}

/// Waits for something to come true.
#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "waited two minutes for {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until every producer was refused so often. What it was answered before is noted by then.
#[track_caller]
fn wait_until_refused(oracle: &Oracle, times: usize) {
    let refused = |producer| {
        oracle.history.count(|sent| sent.producer == producer && !is_ok(sent.outcome)) >= times
    };
    wait_for("refusals", || (0..PRODUCERS).all(refused));
}

/// Refusals after which nobody is answered any more, if nobody is to be.
const ENOUGH: usize = 20;

/// Says why a test does not run; the name of the test is in the output before it.
fn skipped(name: &str, why: &str) {
    println!("{name}: skipped: {why}");
}

#[test]
#[ignore = "needs root; tests/real-faults runs it"]
fn s2_power_cut_in_sync_flush_on_ext4() {
    cuts("s2", "sync", |_| Loss::None);
}

#[test]
#[ignore = "needs root; tests/real-faults runs it"]
fn s3_power_cut_in_async_flush_on_ext4() {
    // The promise is 500 ms and one flush, which may take long on a busy machine.
    let window = Duration::from_millis(500) + Duration::from_secs(1);
    cuts("s3", "async", |cut| Loss::Suffix { cut, window });
}

/// Cuts the power of the file system under a loaded broker, again and again.
fn cuts(name: &str, flush: &str, loss: impl Fn(Instant) -> Loss) {
    let (cuts, seed) = (number("MILLRACE_CUTS", 20), number("MILLRACE_SEED", 1));
    let mut odds = Odds(seed);
    let (mut done, mut answered, mut lost, mut oldest) = (0, 0, 0, Duration::ZERO);
    let kinds = [Cut::ext4(4096, ""), Cut::ext4(1024, ""), Cut::ext4(4096, "data=writeback")];
    while done < cuts {
        let mut disk = match Mounted::on_loop(&kinds[done as usize / 5 % kinds.len()], 96) {
            Ok(disk) => disk,
            Err(why) => return skipped(name, &why),
        };
        let mut oracle = Oracle::default();
        let mut addresses = anywhere();
        for _ in 0..5.min(cuts - done) {
            let judged = one_cut(&mut disk, &mut oracle, &mut addresses, flush, &mut odds, &loss);
            if let Err(broken) = judged {
                panic!("seed {seed}, cut {done}, {flush}: {broken}");
            }
            done += 1;
        }
        answered += oracle.history.count(|sent| is_ok(sent.outcome));
        lost += oracle.lost;
        oldest = oldest.max(oracle.oldest_loss);
    }
    println!(
        "{name}: {done} power cuts, {flush}: {answered} answered and kept, {lost} lost, the oldest \
         answered {oldest:?} before its cut"
    );
    assert!(answered as u64 > done, "hardly anything was sent");
}

fn one_cut(
    disk: &mut Mounted,
    oracle: &mut Oracle,
    addresses: &mut Addresses,
    flush: &str,
    odds: &mut Odds,
    loss: &impl Fn(Instant) -> Loss,
) -> Result<(), String> {
    let said = tempfile::tempdir().map_err(|error| error.to_string())?;
    let arguments = ["--flush", flush, SEGMENT[0], SEGMENT[1]];
    let data = disk.path().join("data");
    let broker = Broker::launch(said.path(), &data, addresses, &arguments)?;
    let traffic = oracle.traffic(broker.address());
    let switch = disk.power_switch()?;
    thread::park_timeout(Duration::from_millis(100 + odds.below(900)));
    let cut = Instant::now();
    switch.press()?;
    *addresses = broker.kill();
    traffic.stop();
    oracle.history.doubt_after(cut);
    disk.mount_again()?;
    let broker = Broker::launch(said.path(), &data, addresses, &arguments)?;
    oracle.judge(broker.address(), loss(cut))?;
    *addresses = broker.kill();
    Ok(())
}

/// Lets strace fail or delay the syncs of one file of a running broker.
struct Injected(std::process::Child);

impl Injected {
    fn into(broker: &Broker, file: &Path, what: &str) -> Result<Self, String> {
        let said = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        let child = Command::new("strace")
            .args(["-f", "-e", "trace=fdatasync", "-e", &format!("inject=fdatasync:{what}")])
            .args(["-o", "/dev/null", "-p", &broker.pid().to_string(), "-P"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said.reopen().map_err(|error| error.to_string())?)
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let injected = Self(child);
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            let text = std::fs::read_to_string(said.path()).unwrap_or_default();
            if text.contains("attached") {
                return Ok(injected);
            }
            if text.contains("not permitted") {
                return Err(text);
            }
            thread::park_timeout(Duration::from_millis(5));
        }
        Err("strace did not attach".into())
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs strace; tests/real-faults runs it"]
fn s8_fdatasync_fails_once_in_the_kernel() {
    let syncs = number("MILLRACE_SYNCS", 6);
    for nth in 1..=syncs {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let data = dir.path().join("data");
        let arguments = ["--flush", "sync", SEGMENT[0], SEGMENT[1]];
        let mut oracle = Oracle::default();
        let broker = Broker::launch(dir.path(), &data, &anywhere(), &arguments).expect("it starts");
        Oracle::prepare(broker.address()).expect("a topic");
        // Not those of the checkpoint: it may lag behind.
        let log = data.join(FIRST_SEGMENT);
        let injected = match Injected::into(&broker, &log, &format!("error=EIO:when={nth}")) {
            Ok(injected) => injected,
            Err(why) => return skipped("s8", &why),
        };
        let traffic = oracle.traffic(broker.address());
        wait_until_refused(&oracle, 1);
        let answered = oracle.history.count(|sent| is_ok(sent.outcome));
        wait_until_refused(&oracle, ENOUGH);
        let unknown = oracle.history.count(|sent| sent.outcome == Outcome::Unknown);
        let after = oracle.history.count(|sent| is_ok(sent.outcome));
        assert!(unknown > 0, "sync {nth}: nobody was told");
        assert_eq!(after, answered, "sync {nth}: answered after a failed sync");
        traffic.stop();
        drop(injected);
        let addresses = broker.kill();
        let broker = Broker::launch(dir.path(), &data, &addresses, &arguments).expect("it starts");
        let kept = oracle.judge(broker.address(), Loss::None);
        let kept = kept.unwrap_or_else(|broken| panic!("sync {nth}: {broken}"));
        println!("s8: sync {nth} failed: {answered} answered, {unknown} unknown, {kept} there");
    }
}

#[test]
#[ignore = "needs root; tests/real-faults runs it"]
fn s9_the_device_runs_out_under_the_file_system() {
    // An image larger than the tmpfs it lies on: reserving space succeeds, writing it back does not.
    let disk = match Mounted::on_thin_disk(96, 28) {
        Ok(disk) => disk,
        Err(why) => return skipped("s9", &why),
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = disk.path().join("data");
    let arguments = ["--flush", "sync", SEGMENT[0], SEGMENT[1]];
    let mut oracle = Oracle::default();
    let broker = Broker::launch(dir.path(), &data, &anywhere(), &arguments).expect("it starts");
    let traffic = oracle.traffic(broker.address());
    wait_until_refused(&oracle, 1);
    let answered = oracle.history.count(|sent| is_ok(sent.outcome));
    wait_until_refused(&oracle, ENOUGH);
    assert_eq!(
        answered,
        oracle.history.count(|sent| is_ok(sent.outcome)),
        "a later sync was believed"
    );
    traffic.stop();
    let addresses = broker.kill();
    disk.widen().expect("more memory for the device");
    let mut disk = disk;
    disk.mount_again().expect("it mounts again");
    let broker = Broker::launch(dir.path(), &data, &addresses, &arguments).expect("it starts");
    // The loop driver takes a short write to its file for a whole one, so the last page before the
    // device was full may be missing although its sync succeeded. Then the start says so.
    let kept = oracle.judge(broker.address(), Loss::Reported);
    let kept = kept.unwrap_or_else(|broken| panic!("{broken}"));
    let said = std::fs::read_to_string(dir.path().join("broker.err")).unwrap_or_default();
    assert!(
        oracle.lost == 0 || said.contains("damage: physical offsets"),
        "{} lost: {said}",
        oracle.lost
    );
    assert!(oracle.lost < 20, "{} lost, which is more than a page", oracle.lost);
    println!(
        "s9: {answered} answered, {kept} there after the device failed, {} reported as damage",
        oracle.lost
    );
}

#[test]
#[ignore = "needs root; tests/real-faults runs it"]
fn s10_full_disk() {
    for kind in ["tmpfs", "ext4"] {
        let disk = match kind {
            "tmpfs" => Mounted::tmpfs(48),
            _ => Mounted::on_loop(&Cut::ext4(4096, ""), 64),
        };
        let disk = match disk {
            Ok(disk) => disk,
            Err(why) => return skipped("s10", &why),
        };
        full(kind, &disk).unwrap_or_else(|broken| panic!("{kind}: {broken}"));
    }
}

/// Far more than the room reserved in a segment of 4 MiB has place for.
const COMMITS: u64 = 10_000;

fn full(kind: &str, disk: &Mounted) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let data = disk.path().join("data");
    let arguments = ["--flush", "async", SEGMENT[0], SEGMENT[1]];
    let mut oracle = Oracle::default();
    let mut broker = Broker::launch(dir.path(), &data, &anywhere(), &arguments)?;
    let filler = disk.path().join("filler");
    let traffic = oracle.traffic(broker.address());
    wait_for("messages", || oracle.history.count(|sent| is_ok(sent.outcome)) > 0);
    fill(&filler);
    let refused = |oracle: &Oracle| oracle.history.count(|sent| sent.outcome == Outcome::Failed);
    wait_for("a refusal for want of room", || refused(&oracle) >= 20);
    // Consumers go on.
    let first = Wire::open(broker.address()).and_then(|mut wire| wire.pull(0, 0));
    let first = first.map_err(|error| format!("a full disk cannot be read: {error}"))?;
    if first.is_empty() {
        return Err("a full disk gives nothing".into());
    }
    // They may commit as often as they like.
    let mut wire = Wire::connect(broker.address()).map_err(|error| error.to_string())?;
    let commits = (1..=COMMITS).try_for_each(|offset| wire.commit("reader", 0, offset));
    commits.map_err(|error| format!("a full disk takes no offset: {error}"))?;
    let before = oracle.history.count(|sent| is_ok(sent.outcome));
    std::fs::remove_file(&filler).map_err(|error| error.to_string())?;
    let freed = Instant::now();
    while oracle.history.count(|sent| is_ok(sent.outcome)) == before {
        if freed.elapsed() > Duration::from_secs(10) {
            return Err("sends do not work 10 s after there is room again".into());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    let took = freed.elapsed();
    // The broker looks at its disk once a second, and logs what it could not log before.
    thread::park_timeout(Duration::from_secs(3));
    traffic.stop();
    let addresses = broker.kill();
    broker = Broker::launch(dir.path(), &data, &addresses, &arguments)?;
    let mut wire = Wire::connect(broker.address()).map_err(|error| error.to_string())?;
    let committed = wire.committed("reader", 0).map_err(|error| error.to_string())?;
    if committed != COMMITS {
        return Err(format!("the group had committed {COMMITS} and is at {committed}"));
    }
    let kept = oracle.judge(broker.address(), Loss::None)?;
    println!(
        "s10: {kind}: {} refused, {kept} kept, sends work {took:?} after there is room",
        refused(&oracle)
    );
    Ok(())
}

/// Takes all the room there is.
fn fill(path: &Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).expect("a file of a foreigner");
    for size in [1 << 20, 4096] {
        let block = vec![1; size];
        while file.write_all(&block).is_ok() {}
    }
}

#[test]
#[ignore = "needs strace; tests/real-faults runs it"]
fn s13_slow_disk() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let data = dir.path().join("data");
    let arguments = ["--flush", "sync", SEGMENT[0], SEGMENT[1]];
    let mut oracle = Oracle::default();
    let broker = Broker::launch(dir.path(), &data, &anywhere(), &arguments).expect("it starts");
    let log = data.join(FIRST_SEGMENT);
    let injected = match Injected::into(&broker, &log, "delay_enter=400000") {
        Ok(injected) => injected,
        Err(why) => return skipped("s13", &why),
    };
    let traffic = oracle.traffic(broker.address());
    thread::park_timeout(Duration::from_secs(number("MILLRACE_SLOW_S", 10)));
    let quick = |sent: &super::oracle::Sent| {
        is_ok(sent.outcome) && sent.ended - sent.begun < Duration::from_millis(400)
    };
    assert_eq!(oracle.history.count(quick), 0, "answered before the disk had it");
    let answered = oracle.history.count(|sent| is_ok(sent.outcome));
    let resident = resident_mib(broker.pid());
    traffic.stop();
    drop(injected);
    let addresses = broker.kill();
    let broker = Broker::launch(dir.path(), &data, &addresses, &arguments).expect("it starts");
    let kept =
        oracle.judge(broker.address(), Loss::None).unwrap_or_else(|broken| panic!("{broken}"));
    println!("s13: 400 ms a sync: {answered} answered, {kept} there, {resident} MiB resident");
    assert!(answered > 0 && resident < 256, "{answered} answered, {resident} MiB");
}

fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("Linux tells") / 1024
}
