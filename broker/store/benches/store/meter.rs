//! What something took: wall time, CPU of this thread and of the process, CPU of everybody else.

use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What a stretch of work took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) wall: f64,
    /// Of the thread that measured, in seconds.
    pub(crate) thread: f64,
    /// Of the whole process, flush thread included.
    pub(crate) process: f64,
    /// CPUs that other processes kept busy meanwhile, on average.
    pub(crate) others: f64,
}

/// The state of all clocks.
pub(crate) struct Moment {
    wall: Instant,
    thread: f64,
    process: f64,
    busy: f64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            wall: Instant::now(),
            thread: clock(ClockId::ThreadCPUTime),
            process: clock(ClockId::ProcessCPUTime),
            busy: machine_busy(),
        }
    }

    pub(crate) fn spent(&self) -> Spent {
        let wall = self.wall.elapsed().as_secs_f64();
        let thread = clock(ClockId::ThreadCPUTime) - self.thread;
        let process = clock(ClockId::ProcessCPUTime) - self.process;
        let others = ((machine_busy() - self.busy - process) / wall).max(0.0);
        Spent { wall, thread, process, others }
    }
}

/// Median, minimum and maximum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        Self { median: values[values.len() / 2], min: values[0], max: values[values.len() - 1] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        let digits = f.precision().unwrap_or(0);
        write!(f, "{median:.digits$} ({min:.digits$}-{max:.digits$})")
    }
}

/// Two things done in turn, A B A B, so that what the machine does meanwhile hits both.
pub(crate) struct Rounds {
    pub(crate) ours: Vec<Spent>,
    pub(crate) raw: Vec<Spent>,
    /// Rounds done again because others kept the machine busy.
    again: usize,
}

/// Others may take so much of one CPU in a round; more, and it is done again.
const OTHERS_MAX: f64 = 0.25;

impl Rounds {
    /// `count` rounds of both after one to warm up, each of which makes the system use `bytes` of
    /// memory. At most as many again are thrown away; what others took in those that are left is
    /// reported.
    pub(crate) fn run(
        count: usize,
        bytes: u64,
        mut ours: impl FnMut() -> Spent,
        mut raw: impl FnMut() -> Spent,
    ) -> Self {
        let mut ours = || {
            touch_memory(bytes);
            ours()
        };
        let mut raw = || {
            touch_memory(bytes);
            raw()
        };
        ours();
        raw();
        let mut rounds = Self { ours: Vec::new(), raw: Vec::new(), again: 0 };
        while rounds.ours.len() < count {
            let (a, b) = (ours(), raw());
            if a.others.max(b.others) > OTHERS_MAX && rounds.again < count {
                rounds.again += 1;
                continue;
            }
            rounds.ours.push(a);
            rounds.raw.push(b);
        }
        rounds
    }

    pub(crate) fn ratio(&self, of: impl Fn(&Spent) -> f64) -> Spread {
        Spread::of(self.ours.iter().zip(&self.raw).map(|(ours, raw)| of(ours) / of(raw)))
    }

    /// What else the machine did.
    pub(crate) fn quality(&self) -> String {
        let others = Spread::of(self.ours.iter().chain(&self.raw).map(|spent| spent.others));
        match self.again {
            0 => format!("others {others:.2} CPUs"),
            again => format!("others {others:.2} CPUs, {again} rounds done again"),
        }
    }
}

/// Touches and frees memory. A virtual machine that gives idle memory back to its host pays ten
/// microseconds for a page when it is used again; whoever came first would pay for both.
pub(crate) fn touch_memory(bytes: u64) {
    let mut memory = vec![0u8; (bytes + bytes / 4) as usize];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

fn clock(id: ClockId) -> f64 {
    let now = clock_gettime(id);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32).as_secs_f64()
}

/// CPU seconds of the machine since it started, in hundredths.
fn machine_busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("Linux");
    let all = stat.lines().next().expect("a line for all CPUs");
    let fields: Vec<u64> = all.split_whitespace().skip(1).map_while(|n| n.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    [0, 1, 2, 5, 6, 7].iter().map(|&n| fields[n] as f64 / 100.0).sum()
}

/// User and system seconds of this process; the kernel counts in hundredths.
pub(crate) fn user_and_kernel() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let seconds = |n: usize| fields[n].parse::<f64>().expect("a number") / 100.0;
    (seconds(11), seconds(12))
}

/// Anonymous memory of this process, bytes.
pub(crate) fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux 4.5");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// Bytes that this process made the disk write.
pub(crate) fn written_to_disk() -> u64 {
    let io = fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// Which machine this is.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or("?").trim().into()
    };
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let cpus = cpu.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{cpus} × {}, {} of memory, Linux {}",
        field(&cpu, "model name"),
        field(&memory, "MemTotal"),
        read("/proc/sys/kernel/osrelease").trim()
    )
}
