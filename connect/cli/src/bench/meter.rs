use std::fs;
use std::time::Instant;

use serde::Serialize;

/// Clock ticks per second in `/proc`, on every architecture that Linux has today.
const TICKS: f64 = 100.0;

/// Watches what the target, this process and all others cost while a load runs.
#[derive(Debug)]
pub(crate) struct Meter {
    target: Option<u32>,
    begun: Instant,
    before: Readings,
}

#[derive(Clone, Copy, Debug)]
struct Readings {
    target: Option<f64>,
    own: f64,
    machine: f64,
}

/// What a load cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Used {
    /// How long it took.
    pub(crate) seconds: f64,
    /// CPU seconds of the target, user and system.
    pub(crate) target_cpu_seconds: Option<f64>,
    /// Memory of the target afterwards: all that is resident, and what is not backed by files.
    pub(crate) target_rss_bytes: Option<u64>,
    pub(crate) target_rss_anon_bytes: Option<u64>,
    /// CPUs that this process kept busy: near 1, the load itself was the limit.
    pub(crate) generator_cpus: f64,
    /// Share of all CPUs that neither target nor generator used but somebody else did; the
    /// kernel's own threads count here too.
    pub(crate) others_share: f64,
}

impl Meter {
    /// Starts to watch; the target is a process on this machine. `None` if there is no such one.
    pub(crate) fn start(target: Option<u32>) -> Option<Self> {
        let before = Readings::take(target)?;
        Some(Self { target, begun: Instant::now(), before })
    }

    /// What was used since the start; `None` if the target is gone.
    pub(crate) fn stop(&self) -> Option<Used> {
        let after = Readings::take(self.target)?;
        let seconds = self.begun.elapsed().as_secs_f64();
        let target = after.target.zip(self.before.target).map(|(after, before)| after - before);
        let own = after.own - self.before.own;
        let machine = after.machine - self.before.machine;
        let cpus = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let others = (machine - own - target.unwrap_or(0.0)).max(0.0);
        Some(Used {
            seconds,
            target_cpu_seconds: target,
            target_rss_bytes: self.target.and_then(|pid| memory(pid, "VmRSS:")),
            target_rss_anon_bytes: self.target.and_then(|pid| memory(pid, "RssAnon:")),
            generator_cpus: own / seconds,
            others_share: others / seconds / cpus,
        })
    }
}

impl Readings {
    fn take(target: Option<u32>) -> Option<Self> {
        let target = match target {
            Some(pid) => Some(cpu(pid)?),
            None => None,
        };
        let stat = fs::read_to_string("/proc/stat").ok()?;
        Some(Self { target, own: cpu(std::process::id())?, machine: busy(&stat) })
    }
}

/// CPU seconds of a process with all its threads.
fn cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in front may hold anything but ends with the last bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |n: usize| fields.get(n)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// CPU seconds that the machine has spent on anything, from `/proc/stat`.
fn busy(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or("");
    let ticks: Vec<f64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal; guests are counted as user already.
    let idle: f64 = ticks.iter().skip(3).take(2).sum();
    (ticks.iter().take(8).sum::<f64>() - idle) / TICKS
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let stat = "cpu  100 10 50 900 40 5 5 30 7 0\ncpu0 1 1 1 1\n";
        assert_eq!(busy(stat), 2.0);
    }

    #[test]
    fn a_process_can_watch_itself() {
        let own = std::process::id();
        let meter = Meter::start(Some(own)).unwrap();
        let used = meter.stop().unwrap();
        assert!(used.target_rss_bytes.unwrap() >= used.target_rss_anon_bytes.unwrap());
        assert!(used.target_cpu_seconds.unwrap() >= 0.0);
        assert!(Meter::start(Some(u32::MAX)).is_none());
    }
}
