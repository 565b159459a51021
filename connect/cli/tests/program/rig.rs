use std::fs::{self, File};
use std::io::{PipeReader, Read, pipe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;
use tempfile::TempDir;

/// No test waits for anything longer than this.
const DEADLINE: Duration = Duration::from_secs(60);

/// The lines of a web server.
pub(crate) const ACCESS_LOG: &str = include_str!("../data/access.log");
/// The pipeline that reads them.
pub(crate) const ACCESS_LOG_YAML: &str = include_str!("../../../../pipelines/access-log.yaml");

/// A directory in which the program is run, gone in the end.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Adds the log of a web server, the pipeline that reads it and the module that this names;
    /// returns where the log is.
    pub(crate) fn access_log(&self) -> PathBuf {
        let module = "wasm-filters/examples/drop-crawlers/drop-crawlers.wasm";
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(module);
        fs::create_dir_all(self.path(module).parent().unwrap()).unwrap();
        fs::copy(from, self.path(module)).unwrap();
        self.write("access-log.yaml", ACCESS_LOG_YAML);
        self.write("access.log", ACCESS_LOG)
    }

    /// Names of what is in it.
    pub(crate) fn entries(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.start(args).ended()
    }

    /// Runs the program to its end, with its output somewhere else.
    pub(crate) fn run_into(&self, args: &[&str], out: Stdio) -> Ran {
        self.start_into(args, Some(out)).ended()
    }

    /// Starts the program, without anything of this process's environment that it would heed.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        self.start_into(args, None)
    }

    /// The same with its output somewhere else.
    pub(crate) fn start_into(&self, args: &[&str], out: Option<Stdio>) -> Started {
        let logs = TempDir::new().unwrap();
        let file = |name: &str| File::create(logs.path().join(name)).unwrap();
        let own = file("out");
        let child = Command::new(env!("CARGO_BIN_EXE_millrace"))
            .args(args)
            .current_dir(self.0.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(out.unwrap_or(own.into()))
            .stderr(file("err"))
            .spawn()
            .unwrap();
        Started { child, logs, args: args.join(" ") }
    }
}

/// A program that runs; killed when dropped.
pub(crate) struct Started {
    child: Child,
    logs: TempDir,
    args: String,
}

impl Started {
    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn ended(mut self) -> Ran {
        let mut status = None;
        wait_for(&format!("the end of `millrace {}`", self.args), || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // Without a code it was ended by a signal.
        let code = status.and_then(|status| status.code());
        Ran { code, out: self.read("out"), err: self.read("err"), args: self.args.clone() }
    }

    /// Waits for the first line that it prints.
    #[track_caller]
    pub(crate) fn first_line(&mut self) -> String {
        let mut line = None;
        wait_for("the first line of output", || {
            let out = self.read("out");
            line = out.split_once('\n').map(|(line, _)| line.to_owned());
            line.is_some() || self.child.try_wait().unwrap().is_some()
        });
        line.unwrap_or_else(|| panic!("`millrace {}` ended: {}", self.args, self.read("err")))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for instance `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let (signal, pid) = (format!("-{name}"), self.pid().to_string());
        let sent = Command::new("kill").args([&signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// What it said on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.read("err")
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.logs.path().join(name)).unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    args: String,
}

impl Ran {
    /// Insists on an exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "`millrace {}`: {}{}", self.args, self.out, self.err);
        self
    }

    /// Insists that stderr is one line with this code and a hint, and nothing else.
    #[track_caller]
    pub(crate) fn one_error(&self, code: &str, part: &str) {
        let lines: Vec<&str> = self.err.lines().collect();
        let [error, rest @ ..] = &*lines else { panic!("nothing on stderr of `{}`", self.args) };
        assert!(error.starts_with(&format!("error[{code}]: ")), "{}", self.err);
        assert!(error.contains(part), "{part} in: {}", self.err);
        let is_hint = |line: &&str| line.starts_with("  hint: ");
        assert!(rest.len() <= 1 && rest.iter().all(is_hint), "{}", self.err);
    }

    /// The last line of stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let line = self.out.lines().last().unwrap_or_else(|| panic!("no output: {}", self.err));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}

/// Starts a server on free ports, and tells what it says once it listens.
pub(crate) fn serve(home: &Home, more: &[&str]) -> (Started, Value) {
    serve_in(home, "data", more)
}

/// The same with another data directory.
pub(crate) fn serve_in(home: &Home, dir: &str, more: &[&str]) -> (Started, Value) {
    let mut args = vec!["server", "--json", "--data-dir", dir];
    args.extend(["--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"]);
    args.extend(more);
    let mut server = home.start(&args);
    let listening = serde_json::from_str(&server.first_line()).unwrap();
    (server, listening)
}

/// A server, and commands that are told where it is.
pub(crate) struct Rig {
    pub(crate) home: Home,
    pub(crate) server: Started,
    pub(crate) namesrv: String,
    broker: String,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let home = Home::new();
        let (server, listening) = serve(&home, &[]);
        let at = |name: &str| listening[name].as_str().unwrap().to_owned();
        let (namesrv, broker) = (at("namesrv"), at("broker"));
        Self { home, server, namesrv, broker }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.home.run(&[args, &["--namesrv", &self.namesrv]].concat())
    }

    /// The result of a command that does its work.
    #[track_caller]
    pub(crate) fn result(&self, args: &[&str]) -> Value {
        let json = self.run(&[args, &["--json"]].concat()).expect(0).json();
        assert_eq!(json["ok"], true, "{json}");
        json["result"].clone()
    }

    pub(crate) fn begin(&self, args: &[&str]) -> Started {
        self.home.start(&[args, &["--namesrv", &self.namesrv]].concat())
    }

    /// The same with an output that nobody reads yet.
    pub(crate) fn begin_unread(&self, args: &[&str]) -> (Started, PipeReader) {
        let (mut reader, writer) = pipe().unwrap();
        let args = [args, &["--namesrv", &self.namesrv]].concat();
        let started = self.home.start_into(&args, Some(Stdio::from(writer)));
        reader.read_exact(&mut [0]).unwrap();
        (started, reader)
    }

    /// Sends long lines to `t`, more than a pipe holds.
    pub(crate) fn produce_long(&self, count: usize) {
        self.home.write("lines", &format!("{}\n", "x".repeat(10_000)).repeat(count));
        self.run(&["produce", "t", "--file", "lines"]).expect(0);
    }

    /// Starts the server again where it was.
    pub(crate) fn restart(self) -> Self {
        let Self { home, server, namesrv, broker } = self;
        server.signal("TERM");
        server.ended().expect(0);
        let args = ["server", "--json", "--data-dir", "data"];
        let at = ["--listen", &broker, "--namesrv-listen", &namesrv];
        let mut server = home.start(&[&args[..], &at[..]].concat());
        server.first_line();
        Self { home, server, namesrv, broker }
    }
}

/// Waits for something to come true.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// All visible Parquet files below a directory, in order.
pub(crate) fn parquet_files(dir: &Path) -> Vec<PathBuf> {
    files(dir, ".parquet")
}

/// All visible files below a directory whose names end like this, in order.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else { return found };
    for entry in entries {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if name.ends_with(end) && !name.starts_with('.') {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Rows in a Parquet file.
pub(crate) fn rows(file: &Path) -> i64 {
    reader(file).metadata().file_metadata().num_rows()
}

/// The first column of all rows of some files, sorted; it holds whole numbers.
pub(crate) fn first_column(files: &[PathBuf]) -> Vec<i64> {
    use parquet::record::RowAccessor;

    let mut values = Vec::new();
    for file in files {
        for row in reader(file).get_row_iter(None).unwrap() {
            values.push(row.unwrap().get_long(0).unwrap());
        }
    }
    values.sort_unstable();
    values
}

fn reader(file: &Path) -> SerializedFileReader<File> {
    SerializedFileReader::new(File::open(file).unwrap()).unwrap()
}
