use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::rig::{Home, Started, first_column, parquet_files, rows, serve_in, wait_for};

/// So many rows into files of 20,000.
fn pipeline(rows: u64, lake: &Path) -> String {
    format!(
        "version: 1\npipeline: gen\nsource:\n  generate:\n    count: {rows}\n    fields:\n      \
         id: {{sequence: {{start: 0}}}}\n      note: {{text: {{words: 12}}}}\ntopic: gen\n\
         schema: {{id: int, note: string}}\nsinks:\n  lake:\n    parquet:\n      \
         to: {}\n      rotate: {{rows: 20000}}\n",
        lake.display()
    )
}

#[test]
fn a_data_directory_in_use() {
    let home = Home::new();
    home.write("gen.yaml", &pipeline(10, Path::new("lake")));
    let ports = ["--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"];
    let server = [&["server", "--data-dir", "data"], &ports[..]].concat();
    let mut first = home.start(&server);
    first.first_line();
    home.run(&["run", "gen.yaml", "--data-dir", "data"]).expect(3).one_error("E-DATA-01", "data");
    home.run(&server).expect(3).one_error("E-DATA-01", "data");
    let told = home.run(&["run", "gen.yaml", "--data-dir", "data", "--json"]).expect(3).json();
    assert_eq!(told["error"]["code"], "E-DATA-01");
    assert!(first.is_running());
    first.signal("TERM");
    first.ended().expect(0);
    home.run(&["run", "gen.yaml", "--data-dir", "data"]).expect(0);
}

#[test]
fn a_port_that_is_taken() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let any = "127.0.0.1:0";
    let ran = home.run(&["server", "--listen", &address, "--namesrv-listen", any]).expect(3);
    ran.one_error("E-NET-02", &address);
    let ran = home.run(&["server", "--listen", any, "--namesrv-listen", &address]).expect(3);
    ran.one_error("E-NET-02", &address);
    let ran = home.run(&["server", "--listen", "0.0.0.0:0", "--namesrv-listen", any]).expect(2);
    assert!(ran.err.contains("--advertise"), "{}", ran.err);
}

/// Where the log cannot be written, as on a full disk, the broker serves all the same.
#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let home = Home::new();
    let args = ["server", "--json", "--data-dir", "data", "--namesrv-listen", "127.0.0.1:0"];
    let mut server = Command::new(env!("CARGO_BIN_EXE_millrace"))
        // Beyond loopback, so that there is a warning at once.
        .args([&args[..], &["--listen", "0.0.0.0:0", "--advertise", "127.0.0.1"]].concat())
        .current_dir(home.path("."))
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(File::options().write(true).open("/dev/full").unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: serde_json::Value = serde_json::from_str(&line).unwrap();
    let [namesrv, broker] = ["namesrv", "broker"].map(|at| listening[at].as_str().unwrap());
    home.run(&["topic", "create", "t", "--namesrv", namesrv]).expect(0);
    // The thread that serves warns of a peer like this.
    let broker = broker.replace("0.0.0.0", "127.0.0.1");
    let mut stranger = TcpStream::connect(broker).unwrap();
    stranger.write_all(&[0xff; 64]).unwrap();
    assert_eq!(stranger.read(&mut [0; 8]).unwrap_or(0), 0, "it is sent away");
    home.write("lines", "one\n");
    home.run(&["produce", "t", "--file", "lines", "--namesrv", namesrv]).expect(0);
    assert_eq!(home.run(&["consume", "t", "--namesrv", namesrv]).expect(0).out, "one\n");
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn two_roles_at_one_address() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (here, everywhere) = (free.to_string(), format!("0.0.0.0:{}", free.port()));
    for (listen, namesrv) in [(&here, &here), (&here, &everywhere)] {
        let ran = home.run(&["server", "--listen", listen, "--namesrv-listen", namesrv]).expect(2);
        ran.one_error("E-ARG-01", "the broker and the name server are to listen at the same");
        assert!(ran.err.contains(&here) && !ran.err.contains("another process"), "{}", ran.err);
    }
    assert!(home.entries().is_empty());
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let home = Home::new();
    home.write("gen.yaml", &pipeline(10, Path::new("lake")));
    home.run(&["run", "gen.yaml", "--data-dir", "data"]).expect(0);
    for args in [
        &["inspect", "data"][..],
        &["inspect", "data", "--json"],
        &["inspect", "data", "--topic", "gen", "--bodies"],
        &["validate", "gen.yaml"],
    ] {
        let ran = home.run_into(args, File::create("/dev/full").unwrap().into()).expect(3);
        ran.one_error("E-DISK-01", "standard output");
        // Whoever closed the pipe has read enough.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(home.run_into(args, writer.into()).expect(0).err, "");
    }
}

#[test]
fn a_broker_that_is_not_there() {
    let home = Home::new();
    home.write("gen.yaml", &pipeline(10, Path::new("lake")));
    // Its port was free a moment ago, and nobody was told of it.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let ran = home.run(&["run", "gen.yaml", "--namesrv", &free]).expect(3);
    ran.one_error("E-NET-01", &free);

    // Somebody listens, and says nothing or nonsense.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ran = home.run(&["run", "gen.yaml", "--namesrv", &address]).expect(3);
    ran.one_error("E-NET-01", &address);
    let other = std::thread::spawn(move || {
        // The connection of the run before is still in line.
        while let Ok((mut peer, _)) = silent.accept() {
            if peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_ok() {
                let mut answer = [0; 1];
                if matches!(std::io::Read::read(&mut peer, &mut answer), Ok(1)) {
                    return;
                }
            }
        }
    });
    let ran = home.run(&["run", "gen.yaml", "--namesrv", &address]).expect(3);
    ran.one_error("E-NET-01", &address);
    other.join().unwrap();
    assert_eq!(home.entries(), ["gen.yaml"]);
}

/// A file system of a few megabytes, gone in the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user cannot mount one.
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let options = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(at)),
            _ => None,
        }
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let resized = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(resized.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// The disk, or a word that the test named here checks nothing on this machine.
macro_rules! small_disk_or_skip {
    ($home:expr, $size:expr, $test:expr) => {
        match SmallDisk::mount($home.path("small"), $size) {
            Some(disk) => disk,
            None => {
                eprintln!("SKIPPED {}: this user cannot mount a tmpfs", $test);
                return;
            }
        }
    };
}

#[test]
fn a_disk_without_room_for_a_log() {
    let home = Home::new();
    let _small = small_disk_or_skip!(home, "4m", "a_disk_without_room_for_a_log");
    home.write("gen.yaml", &pipeline(10, Path::new("lake")));
    for args in [
        &["run", "gen.yaml", "--data-dir", "small/data"][..],
        &[
            "server",
            "--data-dir",
            "small/data",
            "--listen",
            "127.0.0.1:0",
            "--namesrv-listen",
            "127.0.0.1:0",
        ],
        &["quickstart", "--data-dir", "small/data"],
    ] {
        home.run(args).expect(3).one_error("E-DISK-01", "the disk is full");
    }
}

/// Runs into a full disk, makes room, runs again, and counts.
#[track_caller]
fn check_full_on_the_way(test: &str, size: &str, args: &[&str], lake: &str) {
    const ROWS: u64 = 200_000;
    let home = Home::new();
    let small = small_disk_or_skip!(home, size, test);
    home.write("gen.yaml", &pipeline(ROWS, Path::new(lake)));
    home.run(args).expect(3).one_error("E-DISK-01", "disk is full");
    let before = first_column(&parquet_files(&home.path(lake)));
    assert!(!before.is_empty() && before.len() < ROWS as usize, "{} rows", before.len());
    small.resize("400m");
    home.run(args).expect(0);
    let after = first_column(&parquet_files(&home.path(lake)));
    assert!(after.into_iter().eq(0..ROWS as i64), "rows are lost or doubled");
}

#[test]
fn a_disk_that_fills_under_the_log() {
    let args = ["run", "gen.yaml", "--data-dir", "small/data", "--segment-size", "16MiB"];
    check_full_on_the_way("a_disk_that_fills_under_the_log", "40m", &args, "lake");
}

#[test]
fn a_disk_that_fills_under_the_files() {
    let args = ["run", "gen.yaml", "--data-dir", "data"];
    check_full_on_the_way("a_disk_that_fills_under_the_files", "2m", &args, "small/lake");
}

/// Of segments of this size the small disks have room for two.
const TWO_SEGMENTS: [&str; 2] = ["--segment-size", "16MiB"];

#[test]
fn a_share_of_the_disk_at_which_messages_are_refused() {
    let home = Home::new();
    let test = "a_share_of_the_disk_at_which_messages_are_refused";
    let _small = small_disk_or_skip!(home, "100m", test);
    home.write("small/others", &"x".repeat(20 << 20));
    home.write("gen.yaml", &pipeline(1000, Path::new("lake")));
    let run = [&["run", "gen.yaml", "--data-dir", "small/data"], &TWO_SEGMENTS[..]].concat();
    let early = ["--refuse-at", "10"];
    home.run(&[&run[..], &early].concat()).expect(3).one_error("E-DISK-01", "disk");
    let early = ["quickstart", "--data-dir", "small/quick", "--refuse-at", "10"];
    home.run(&early).expect(3).one_error("E-DISK-01", "disk");
    home.run(&run).expect(0);
    for command in [&["run", "gen.yaml"][..], &["quickstart"]] {
        home.run(&[command, &["--refuse-at", "0"]].concat()).expect(2);
    }
    // A broker in another process has its own share.
    home.run(&["run", "gen.yaml", "--namesrv", "127.0.0.1:1", "--refuse-at", "10"]).expect(2);
}

/// How often a server has said that it refuses messages, and that it takes them again.
fn told(server: &Started) -> (usize, usize) {
    let said = server.said();
    (said.matches("messages are refused").count(), said.matches("messages are taken").count())
}

#[test]
fn a_disk_that_fills_under_a_broker_over_the_wire() {
    const ROWS: u64 = 200_000;
    let home = Home::new();
    let test = "a_disk_that_fills_under_a_broker_over_the_wire";
    let small = small_disk_or_skip!(home, "40m", test);
    home.write("gen.yaml", &pipeline(ROWS, Path::new("lake")));
    let (server, listening) =
        serve_in(&home, "small/data", &[&TWO_SEGMENTS[..], &["--verbose"]].concat());
    let namesrv = listening["namesrv"].as_str().unwrap();
    let run = ["run", "gen.yaml", "--namesrv", namesrv];
    let full = "the broker's disk is full: ";
    for _ in 0..2 {
        home.run(&run).expect(3).one_error("E-DISK-01", full);
    }
    let line = "x".repeat(1 << 20);
    home.write("lines", &format!("{line}\n{line}\n"));
    let produce = ["produce", "gen", "--file", "lines", "--namesrv", namesrv];
    home.run(&produce).expect(3).one_error("E-DISK-01", full);
    let bench = ["bench", "produce", "--namesrv", namesrv];
    home.run(&bench).expect(3).one_error("E-DISK-01", full);
    assert_eq!(told(&server), (1, 0), "{}", server.said());

    // The server looks at its disk once a second.
    small.resize("400m");
    wait_for("the word that messages are taken", || told(&server) == (1, 1));
    home.run(&run).expect(0);
    let after = first_column(&parquet_files(&home.path("lake")));
    assert!(after.into_iter().eq(0..ROWS as i64), "rows are lost or doubled");
}

/// A pipeline that goes on until it is stopped waits for room, wherever its broker is.
#[track_caller]
fn check_waits_for_room(home: &Home, small: &SmallDisk, args: &[&str]) {
    let lines: Vec<String> =
        (0..80_000).map(|id| format!("{{\"id\":{id},\"x\":\"{}\"}}", "x".repeat(300))).collect();
    home.write("lines.jsonl", &(lines.join("\n") + "\n"));
    home.write(
        "tail.yaml",
        "version: 1\npipeline: tail\nsource: {file: {include: [lines.jsonl], decode: {json: {}}}}\n\
         topic: tail\nschema: {id: int}\nsinks: {lake: {parquet: {to: lake, rotate: {rows: 20000}}}}\n",
    );
    let mut run = home.start(args);
    wait_for("the word that the disk is full", || {
        run.said().contains("disk is full") || !run.is_running()
    });
    assert!(run.is_running(), "{}", run.said());
    assert!(run.said().contains("failed, will try again"), "{}", run.said());
    small.resize("400m");
    wait_for("the rows", || {
        let files = parquet_files(&home.path("lake"));
        files.iter().map(|file| rows(file)).sum::<i64>() == 80_000 || !run.is_running()
    });
    run.signal("TERM");
    run.ended().expect(0);
    let after = first_column(&parquet_files(&home.path("lake")));
    assert!(after.into_iter().eq(0..80_000), "rows are lost or doubled");
}

#[test]
fn a_pipeline_that_does_not_end_waits_for_room_in_its_process() {
    let home = Home::new();
    let test = "a_pipeline_that_does_not_end_waits_for_room_in_its_process";
    let small = small_disk_or_skip!(home, "40m", test);
    let args = ["run", "tail.yaml", "--data-dir", "small/data", "--segment-size", "16MiB"];
    check_waits_for_room(&home, &small, &args);
}

#[test]
fn a_pipeline_that_does_not_end_waits_for_room_over_the_wire() {
    let home = Home::new();
    let test = "a_pipeline_that_does_not_end_waits_for_room_over_the_wire";
    let small = small_disk_or_skip!(home, "40m", test);
    let (_server, listening) = serve_in(&home, "small/data", &TWO_SEGMENTS);
    let namesrv = listening["namesrv"].as_str().unwrap();
    check_waits_for_room(&home, &small, &["run", "tail.yaml", "--namesrv", namesrv]);
}
