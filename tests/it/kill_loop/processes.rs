//! Starting and killing the program.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The program under test: the one MILLRACE names, or the one built beside this test.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("MILLRACE") {
        return program.into();
    }
    let test = std::env::current_exe().expect("this test has a path");
    let built = test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("millrace");
    assert!(built.exists(), "{} is not built: run `cargo build -p millrace`", built.display());
    built
}

const PIPELINE: &str = r#"
version: 1
pipeline: kill-loop
source:
  file:
    include: ["${env:ACCESS_LOG}"]
    once: true
    decode:
      regex:
        pattern: '^(?<client>\S+) \S+ \S+ \[(?<time>[^\]]+)\] "(?:[^"\\]|\\.)*" (?<status>\d{3}) '
        types: {status: int}
        time: {field: time, format: "%d/%b/%Y:%H:%M:%S %z"}
topic:
  name: access
  queues: 4
steps:
  - filter: body.status >= 400
  - set:
      day: DATE(body.time)
      at: CAST(props.file.offset AS INT)
sinks:
  errors:
    parquet:
      to: ${env:LAKE}
      partition_by: [day]
      rotate: {rows: ROWS, every: 2s}
      metadata: offsets
  lines:
    jsonl:
      to: ${env:LAKE}-lines
      columns: [at]
      rotate: {rows: ROWS, every: 2s}
  search:
    steps:
      - wasm: {module: MODULE}
    index:
      to: ${env:LAKE}-index
      mapping: {at: number, client: keyword}
      rotate: {rows: ROWS, every: 2s}
"#;

pub(crate) fn write_pipeline(dir: &Path) -> PathBuf {
    let rows = std::env::var("MILLRACE_PART_ROWS").unwrap_or_else(|_| "16".into());
    let path = dir.join("kill-loop.yaml");
    let module = "/../wasm-filters/examples/drop-crawlers/drop-crawlers.wasm";
    let module = format!("{}{module}", env!("CARGO_MANIFEST_DIR"));
    let text = PIPELINE.replace("ROWS", &rows).replace("MODULE", &module);
    std::fs::write(&path, text).expect("the pipeline is written");
    path
}

/// Addresses of a broker: name server, broker.
pub(crate) type Addresses = [String; 2];

pub(crate) struct Broker {
    child: Child,
    addresses: Addresses,
}

impl Broker {
    pub(crate) fn start(dir: &Path) -> Result<Self, String> {
        Self::restart(dir, &["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()])
    }

    /// Starts a broker at these addresses and waits until it listens.
    pub(crate) fn restart(dir: &Path, addresses: &Addresses) -> Result<Self, String> {
        Self::launch(dir, &dir.join("data"), addresses, &[])
    }

    /// The same with its data elsewhere and with further arguments.
    pub(crate) fn launch(
        dir: &Path,
        data: &Path,
        addresses: &Addresses,
        arguments: &[&str],
    ) -> Result<Self, String> {
        let said = dir.join("broker.out");
        let child = Command::new(program())
            .args(["server", "--json", "--namesrv-listen", &addresses[0]])
            .args(["--listen", &addresses[1], "--data-dir"])
            .arg(data)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&said).map_err(|error| error.to_string())?)
            .stderr(append(&dir.join("broker.err"))?)
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut broker = Self { child, addresses: addresses.clone() };
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = std::fs::read_to_string(&said).unwrap_or_default();
            if let Some(line) = text.lines().find(|line| line.contains("\"listening\"")) {
                broker.addresses = [value(line, "namesrv")?, value(line, "broker")?];
                return Ok(broker);
            }
            let ended = broker.child.try_wait().map_err(|error| error.to_string())?;
            if ended.is_some() || Instant::now() > deadline {
                let error = std::fs::read_to_string(dir.join("broker.err")).unwrap_or_default();
                return Err(format!("the broker did not start ({ended:?}): {error}"));
            }
            pause();
        }
    }

    /// Where clients send and pull.
    pub(crate) fn address(&self) -> &str {
        &self.addresses[1]
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL. Answers where it listened.
    pub(crate) fn kill(mut self) -> Addresses {
        kill(&mut self.child);
        self.addresses.clone()
    }

    /// SIGTERM, and waits until it has ended by itself.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        sent.map_err(|error| error.to_string())?;
        match wait(&mut self.child, Duration::from_secs(60))? {
            Some(status) if status.success() => Ok(()),
            other => Err(format!("the broker did not stop: {other:?}")),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

pub(crate) struct Runner {
    child: Child,
    errors: PathBuf,
}

impl Runner {
    pub(crate) fn start(
        dir: &Path,
        pipeline: &Path,
        input: &Path,
        broker: Option<&Broker>,
        failpoint: Option<(&'static str, u64)>,
    ) -> Result<Self, String> {
        let errors = dir.join("runner.err");
        let mut command = Command::new(program());
        command.arg("run").arg(pipeline).arg("--json");
        match broker {
            Some(broker) => command.args(["--namesrv", &broker.addresses[0]]),
            None => command.arg("--data-dir").arg(dir.join("data")),
        };
        if let Some((point, count)) = failpoint {
            command.env("MILLRACE_FAILPOINT", format!("{point}:{count}"));
        }
        let child = command
            .env("ACCESS_LOG", input)
            .env("LAKE", dir.join("lake"))
            .stdin(Stdio::null())
            .stdout(append(&dir.join("runner.out"))?)
            .stderr(File::create(&errors).map_err(|error| error.to_string())?)
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { child, errors })
    }

    /// Waits at most so long; `None` if it still runs.
    pub(crate) fn wait(&mut self, at_most: Duration) -> Result<Option<ExitStatus>, String> {
        wait(&mut self.child, at_most)
    }

    pub(crate) fn wait_for_success(&mut self, at_most: Duration) -> Result<(), String> {
        match self.wait(at_most)? {
            Some(status) if status.success() => Ok(()),
            other => Err(format!("the last run ended with {other:?}: {}", self.said())),
        }
    }

    pub(crate) fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// What it wrote to stderr.
    pub(crate) fn said(&self) -> String {
        let mut text = String::new();
        let read = File::open(&self.errors).and_then(|mut file| file.read_to_string(&mut text));
        read.map_or_else(|error| error.to_string(), |_| text)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// Whether a failpoint ended it.
pub(crate) fn is_abort(status: ExitStatus) -> bool {
    status.signal() == Some(6)
}

fn kill(child: &mut Child) {
    // Whoever has ended already needs no signal.
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child, at_most: Duration) -> Result<Option<ExitStatus>, String> {
    let deadline = Instant::now() + at_most;
    loop {
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        if ended.is_some() || Instant::now() >= deadline {
            return Ok(ended);
        }
        pause();
    }
}

/// Lets the processes under test have the machine between two looks at them.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(2));
}

fn append(path: &Path) -> Result<File, String> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| error.to_string())
}

fn value(line: &str, key: &str) -> Result<String, String> {
    let json: serde_json::Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    json[key].as_str().map(str::to_owned).ok_or(format!("no {key} in {line}"))
}

pub(crate) struct Odds(pub(crate) u64);

impl Odds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A point at which the runner kills itself, and when it comes by for the n-th time. Those that
    /// chance hardly reaches stand twice.
    pub(crate) fn failpoint(&mut self) -> (&'static str, u64) {
        let points = [
            "before-planned",
            "after-planned",
            "before-publish",
            "after-publish",
            "after-publish",
            "before-committed",
            "before-committed",
            "after-committed",
            "after-append",
        ];
        (points[self.below(points.len() as u64) as usize], 1 + self.below(4))
    }
}
