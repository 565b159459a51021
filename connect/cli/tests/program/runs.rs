use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::rig::{
    ACCESS_LOG, ACCESS_LOG_YAML, Home, files, first_column, parquet_files, rows, wait_for,
};

const LARGE_ORDERS_YAML: &str = include_str!("../../../../pipelines/large-orders.yaml");

/// A topic of an inspected data directory.
fn topic(home: &Home, dir: &str, topic: &str) -> Value {
    home.run(&["inspect", dir, "--json"]).expect(0).json()["result"]["topics"][topic].clone()
}

#[test]
fn the_quickstart_ends_by_itself_and_repeats_nothing() {
    let home = Home::new();
    let first = home.run(&["quickstart"]).expect(0);
    assert!(first.out.contains("broker      127.0.0.1:"), "{}", first.out);
    assert!(first.out.contains("%DLQ%orders_source"), "{}", first.out);
    assert!(first.out.contains("E-DECODE-01: "), "{}", first.out);
    assert!(first.out.contains("body: {\"id\":4711,"), "{}", first.out);
    assert_eq!(first.err, "");
    let lake = home.path("millrace-quickstart/lake");
    let files = parquet_files(&lake);
    let shown = files[0].strip_prefix(home.path("")).unwrap().display().to_string();
    assert!(first.out.contains(&shown), "{shown} in {}", first.out);
    // As the comment in pipelines/orders.yaml computes it.
    assert_eq!(files.iter().map(|file| rows(file)).collect::<Vec<_>>(), [6646, 3353]);
    let ids = first_column(&files);
    assert!(ids.into_iter().eq((1..=10_000).filter(|id| *id != 4711)));

    let again = home.run(&["quickstart", "--json"]).expect(0).json();
    assert_eq!(again["result"]["run"]["source"]["appended"], 0);
    assert_eq!(again["result"]["dead_letter"]["code"], "E-DECODE-01");
    assert_eq!(parquet_files(&lake), files);

    // The same bytes wherever it is started.
    let elsewhere = ["quickstart", "--data-dir", "b/data", "--out", "b/lake"];
    home.run(&elsewhere).expect(0);
    let orders = topic(&home, "millrace-quickstart/data", "orders");
    assert_eq!(orders["messages"], 9_999);
    assert_eq!(orders, topic(&home, "b/data", "orders"));
}

#[test]
fn a_quickstart_whose_files_are_gone_says_so() {
    let home = Home::new();
    home.run(&["quickstart"]).expect(0);
    fs::remove_dir_all(home.path("millrace-quickstart/lake")).unwrap();
    let again = home.run(&["quickstart"]).expect(1);
    again.one_error("E-RUN-06", "millrace-quickstart/lake");
    assert!(again.err.contains("delete ./millrace-quickstart/data"), "{}", again.err);
    assert_eq!(again.out, "");
    fs::remove_dir_all(home.path("millrace-quickstart/data")).unwrap();
    home.run(&["quickstart"]).expect(0);
    assert_eq!(parquet_files(&home.path("millrace-quickstart/lake")).len(), 2);
}

#[test]
fn lines_of_a_file_are_no_records() {
    let home = Home::new();
    let line = ACCESS_LOG.lines().next().unwrap();
    let log = home.access_log();
    fs::write(log, format!("{line}\n\n\n{line}\n")).unwrap();
    home.run(&["run", "access-log.yaml"]).expect(0);
    let text = home.run(&["inspect", "millrace-data"]).expect(0).out;
    assert!(text.contains("access.log: 4 lines read"), "{text}");
    home.write("numbers.yaml", &numbers(3));
    home.run(&["run", "numbers.yaml", "--data-dir", "numbers"]).expect(0);
    let text = home.run(&["inspect", "numbers"]).expect(0).out;
    assert!(text.contains(": 3 records read"), "{text}");
}

#[test]
fn an_access_log_line_by_line() {
    let home = Home::new();
    let log = home.access_log();
    let ran = home.run(&["run", "access-log.yaml"]).expect(0);
    for told in [
        "access-log: source read 12; sink errors read 12, filtered 5 (errors where false), wrote 6 \
         rows, 1 dead letter (E-DECODE-06), 2 files (",
        "; sink large read 12, filtered 7 (large where false), filtered 4 (large where unknown), wrote 0 ",
        "; sink search read 12, filtered 2 (search steps[0] wasm drop-crawlers ",
    ] {
        assert!(ran.out.contains(told), "{}", ran.out);
    }
    assert_eq!((ran.err.as_str(), ran.out.lines().count()), ("", 1));
    let days = home.path("lake/access-errors");
    let count = |day: &str| -> Vec<i64> {
        parquet_files(&days.join(day)).iter().map(|file| rows(file)).collect()
    };
    assert_eq!([count("day=2026-02-03"), count("day=2026-02-04")], [[2], [4]]);

    // What inspect counts is what run counted, and the bodies are the lines.
    let inspected = home.run(&["inspect", "millrace-data", "--json"]).expect(0).json();
    let result = &inspected["result"];
    assert_eq!(result["topics"]["access"]["messages"], 12);
    assert_eq!(result["topics"]["access"]["lost"], 0);
    let bytes: usize = ACCESS_LOG.lines().map(str::len).sum();
    assert_eq!(result["topics"]["access"]["body_bytes"], bytes);
    assert_eq!(result["dead_letters"], {
        let letter = json!({"E-DECODE-06": 1});
        json!({
            "%DLQ%access-log_errors": letter,
            "%DLQ%access-log_large": letter,
            "%DLQ%access-log_search": letter,
        })
    });
    assert_eq!(result["pipelines"][0]["pipeline"], "access-log");
    assert_eq!(result["pipelines"][0]["sinks"]["errors"]["files"], 2);
    assert_eq!((&result["clean"], &result["damage"]), (&json!(true), &json!([])));
    let bodies = ["inspect", "millrace-data", "--topic", "access", "--bodies"];
    let bodies = home.run(&bodies).expect(0).out;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&bodies), sorted(ACCESS_LOG));
    let text = home.run(&["inspect", "millrace-data"]).expect(0).out;
    assert!(text.contains("dead letters in %DLQ%access-log_errors: 1 E-DECODE-06"), "{text}");

    // Only what is new is read the next time.
    let mut log = OpenOptions::new().append(true).open(log).unwrap();
    writeln!(log, r#"192.0.2.9 - - [05/Feb/2026:08:00:00 +0000] "GET /x HTTP/1.1" 410 - "-" "-""#)
        .unwrap();
    let ran = home.run(&["run", "access-log.yaml", "--json"]).expect(0).json();
    let result = &ran["result"];
    assert_eq!((&result["source"]["appended"], &result["balanced"]), (&json!(1), &json!(true)));
    assert_eq!(result["sinks"]["errors"]["visible_rows"], 1);
    assert_eq!(count("day=2026-02-05"), [1]);
}

#[test]
fn large_orders_are_lines_of_json() {
    let home = Home::new();
    home.write("large-orders.yaml", LARGE_ORDERS_YAML);
    let ran = home.run(&["run", "large-orders.yaml", "--json"]).expect(0).json();
    let told = &ran["result"]["sinks"]["lines"];
    assert_eq!((&ran["result"]["balanced"], &told["files"]), (&json!(true), &json!(3)));
    let mut ids = Vec::new();
    for region in ["asia", "eu", "us"] {
        let files = files(&home.path(&format!("lake/large-orders/directory={region}")), ".jsonl");
        let [file] = &files[..] else { panic!("{files:?}") };
        for line in fs::read_to_string(file).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!(row["region"], region, "{line}");
            assert!(row["amount"].as_f64().unwrap() > 400.0, "{line}");
            let seconds = 13 * (row["id"].as_i64().unwrap() - 1);
            let [hour, minute, second] = [seconds / 3600, seconds / 60 % 60, seconds % 60];
            let time = format!("2026-01-01T{hour:02}:{minute:02}:{second:02}Z");
            assert_eq!(row["ts"], time, "{line}");
            ids.push(row["id"].as_i64().unwrap());
        }
    }
    assert_eq!(told["visible_rows"], ids.len());
    assert!((150..250).contains(&ids.len()), "a fifth of 1,000, about: {}", ids.len());
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(told["visible_rows"], ids.len());
}

#[test]
fn rows_on_standard_output_are_all_that_is_there() {
    let home = Home::new();
    let pipeline = numbers(5).replace(
        "parquet:\n      to: lake\n      rotate: {rows: 2000}\n",
        "stdout: {}\n  all:\n    blackhole: {}\n",
    );
    home.write("numbers.yaml", &pipeline);
    let ran = home.run(&["run", "numbers.yaml"]).expect(0);
    let mut lines: Vec<_> = ran.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..5).map(|id| format!("{{\"id\":{id}}}")).collect::<Vec<_>>());
    let told = |sink: &str| format!("sink {sink} read 5, wrote 5 rows, 0 dead letters");
    let summary = format!("numbers: source read 5; {}; {}; ", told("all"), told("lake"));
    assert!(ran.err.starts_with(&summary), "{}", ran.err);
    let again = home.run(&["run", "numbers.yaml", "--json"]).expect(0);
    assert_eq!(again.out.lines().count(), 1, "{}", again.out);
    assert_eq!(again.json()["result"]["sinks"]["all"]["read"], 0);
    assert!(!home.path("lake").exists());
}

#[test]
fn damage_is_found_and_told() {
    let home = Home::new();
    home.access_log();
    home.run(&["run", "access-log.yaml"]).expect(0);
    let segment = home.path("millrace-data/commitlog/00000000000000000000");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(5).position(|window| window == b"/cart").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let inspected = home.run(&["inspect", "millrace-data", "--json"]).expect(4).json();
    assert_eq!(inspected["ok"], false);
    assert_eq!(inspected["result"]["damage"].as_array().map(Vec::len), Some(1));
    let summary = inspected["summary"].as_str().unwrap();
    assert!(summary.starts_with("the log is damaged at 1 place"), "{summary}");
    let text = home.run(&["inspect", "millrace-data"]).expect(4).out;
    assert!(text.contains("damage     "), "{text}");
}

#[test]
fn a_log_without_its_segment_is_not_healthy() {
    let home = Home::new();
    home.access_log();
    home.run(&["run", "access-log.yaml"]).expect(0);
    let whole = home.run(&["inspect", "millrace-data", "--json"]).expect(0).json();
    assert_eq!(whole["result"]["missing"], serde_json::json!([]));
    fs::remove_file(home.path("millrace-data/commitlog/00000000000000000000")).unwrap();
    let told = home.run(&["inspect", "millrace-data", "--json"]).expect(4).json();
    assert_eq!(told["ok"], false);
    let result = &told["result"];
    assert_eq!(result["missing"][0]["from"], 0);
    assert_eq!(result["missing"][0]["bytes"], whole["result"]["durable"]);
    let topics = whole["result"]["topics"].as_object().unwrap().values();
    let messages: u64 = topics.map(|topic| topic["messages"].as_u64().unwrap()).sum();
    assert!(messages > 0 && result["missing_messages"].as_u64().unwrap() <= messages, "{result}");
    assert_eq!(result["missing_messages_exact"], true);
    let text = home.run(&["inspect", "millrace-data"]).expect(4).out;
    let segment = "the segment millrace-data/commitlog/00000000000000000000 is missing";
    assert!(text.lines().any(|line| line.starts_with(segment)), "{text}");
}

#[test]
fn bytes_that_nobody_wrote_as_a_log_are_no_log() {
    let home = Home::new();
    fs::create_dir_all(home.path("noise/commitlog")).unwrap();
    let noise: Vec<u8> =
        (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(home.path("noise/commitlog/00000000000000000000"), noise).unwrap();
    home.run(&["inspect", "noise"]).expect(3).one_error("E-DATA-02", "noise/format");
}

/// Many small files, so that a kill lands between any two steps.
fn numbers(count: u64) -> String {
    format!(
        "version: 1\npipeline: numbers\nsource:\n  generate:\n    count: {count}\n    fields:\n      \
         id: {{sequence: {{start: 0}}}}\ntopic: {{name: numbers, key: body.id}}\n\
         schema: {{id: int}}\nsinks:\n  lake:\n    parquet:\n      to: lake\n      \
         rotate: {{rows: 2000}}\n"
    )
}

#[test]
fn kill_it_start_it_count_again() {
    const COUNT: u64 = 300_000;
    let home = Home::new();
    home.write("numbers.yaml", &numbers(COUNT));
    let lake = home.path("lake");
    let mut kills = 0;
    for at_least in [1, 3, 8, 20] {
        let mut run = home.start(&["run", "numbers.yaml", "--segment-size", "16MiB"]);
        wait_for("files", || parquet_files(&lake).len() >= at_least || !run.is_running());
        kills += u32::from(run.is_running());
        // Dropping it is a SIGKILL.
        drop(run);
    }
    assert!(kills > 0, "the run was over before it was killed");
    let last = home.run(&["run", "numbers.yaml", "--json"]).expect(0).json();
    assert_eq!(last["result"]["balanced"], true);
    assert!(first_column(&parquet_files(&lake)).into_iter().eq(0..COUNT as i64));
    home.run(&["inspect", "millrace-data"]).expect(0);
}

#[test]
fn a_log_that_is_rotated_between_runs_is_read_to_its_end_or_missed_once() {
    const PIPELINE: &str = "version: 1\npipeline: log\nsource:\n  file: {include: [a.log], \
        scan_every: 20ms, decode: {json: {}}}\ntopic: log\nschema: {id: int}\nsinks:\n  \
        lake: {parquet: {to: lake, rotate: {rows: 2000}}}\n";
    let home = Home::new();
    home.write("log.yaml", PIPELINE);
    let append = |ids: std::ops::Range<u64>| {
        let lines: String = ids.map(|id| format!("{{\"id\":{id}}}\n")).collect();
        let log = OpenOptions::new().create(true).append(true).open(home.path("a.log"));
        log.unwrap().write_all(lines.as_bytes()).unwrap();
    };
    let ids = || first_column(&parquet_files(&home.path("lake")));
    append(0..2000);
    let killed = home.start(&["run", "log.yaml"]);
    wait_for("the first lines", || ids().len() == 2000);
    drop(killed);
    append(2000..2100);
    fs::rename(home.path("a.log"), home.path("a.log.1")).unwrap();
    append(2100..2200);
    let run = home.start(&["run", "log.yaml"]);
    wait_for("all lines in the topic", || {
        let inspected = home.run(&["inspect", "millrace-data", "--json"]);
        inspected.code == Some(0) && inspected.json()["result"]["topics"]["log"]["messages"] == 2200
    });
    run.signal("TERM");
    let err = run.ended().expect(0).err;
    assert!(ids().into_iter().eq(0..2200) && !err.contains("file is gone"), "{err}");

    fs::remove_file(home.path("a.log")).unwrap();
    append(2200..2300);
    let missed = home.run(&["run", "log.yaml", "--once"]).expect(0).err;
    assert_eq!(missed.matches("file is gone").count(), 1, "{missed}");
    let again = home.run(&["run", "log.yaml", "--once"]).expect(0).err;
    assert!(ids().into_iter().eq(0..2300) && !again.contains("file is gone"), "{again}");
}

#[test]
fn a_signal_ends_a_run_after_a_commit() {
    let home = Home::new();
    let log = home.access_log();
    home.write("access-log.yaml", &ACCESS_LOG_YAML.replace("once: true", "scan_every: 100ms"));
    for signal in ["TERM", "INT"] {
        let run = home.start(&["run", "access-log.yaml", "--json"]);
        let grown = fs::read_to_string(&log).unwrap() + ACCESS_LOG;
        fs::write(&log, &grown).unwrap();
        let lines = grown.lines().count();
        wait_for("the lines in the topic", || {
            let inspected = home.run(&["inspect", "millrace-data", "--json"]);
            inspected.code == Some(0)
                && inspected.json()["result"]["topics"]["access"]["messages"] == lines
        });
        run.signal(signal);
        let ended = run.ended().expect(0);
        assert!(ended.err.starts_with("stopping after the next commit"), "{}", ended.err);
        assert_eq!(ended.json()["result"]["balanced"], true);
    }
    // All of it is committed: a run that only looks finds nothing to do.
    let last = home.run(&["run", "access-log.yaml", "--once", "--json"]).expect(0).json();
    assert_eq!(last["result"]["sinks"]["errors"]["read"], 0);
    let total: i64 = parquet_files(&home.path("lake")).iter().map(|file| rows(file)).sum();
    assert_eq!(total, 3 * 6);
}

#[test]
fn paths_of_others_are_left_alone() {
    let home = Home::new();
    home.write("numbers.yaml", &numbers(10));
    fs::create_dir_all(home.path("lake")).unwrap();
    fs::write(home.path("lake/notes.txt"), "mine").unwrap();
    home.run(&["run", "numbers.yaml", "--data-dir", "data"]).expect(0);
    assert_eq!(fs::read(home.path("lake/notes.txt")).unwrap(), b"mine");
    let foreign = Path::new("elsewhere");
    fs::create_dir_all(home.path("elsewhere")).unwrap();
    fs::write(home.path("elsewhere/format"), "something else 7\n").unwrap();
    let ran = home.run(&["run", "numbers.yaml", "--data-dir", &foreign.display().to_string()]);
    ran.expect(3).one_error("E-DATA-02", "something else 7");
}

/// The advice is about what was refused.
#[test]
fn a_run_that_fails_at_a_module_says_how_to_try_that() {
    let home = Home::new();
    let module = "wasm-filters/examples/drop-crawlers/drop-crawlers.wasm";
    let module = format!("{}/../../{module}", env!("CARGO_MANIFEST_DIR"));
    let step = format!("steps:\n  - wasm: {{module: {module}}}\nsinks:\n");
    let bad = "    on_error: {then: stop}\n    parquet:";
    let text = numbers(9).replace("sinks:\n", &step).replace("    parquet:", bad);
    home.write("numbers.yaml", &text);
    let ran = home.run(&["run", "numbers.yaml"]).expect(1);
    ran.one_error("E-RUN-02", "E-WASM-REFUSED");
    let told = "hint: try the module alone, with `millrace filter run MODULE FILE` or `filter test`; \
                `millrace explain E-WASM-REFUSED` says what that is";
    assert!(ran.err.contains(told) && !ran.err.contains("schema"), "{}", ran.err);
}

/// A run that fails on the way says first what it did, as one that ends does.
#[test]
fn a_run_that_fails_says_what_it_did() {
    let home = Home::new();
    let bad = "    on_error: {then: stop}\n    where: 1 / (body.id - 4) < 9\n    parquet:";
    home.write("numbers.yaml", &numbers(9).replace("    parquet:", bad));
    let ran = home.run(&["run", "numbers.yaml"]).expect(1);
    ran.one_error("E-RUN-02", "E-EVAL-01");
    assert!(ran.err.contains("hint: compare the schema "), "{}", ran.err);
    let lines: Vec<_> = ran.out.lines().collect();
    let [line] = lines[..] else { panic!("{}", ran.out) };
    assert!(line.starts_with("numbers: source read 9; sink lake read "), "{line}");
    assert!(line.contains(" wrote ") && line.contains(" files ("), "{line}");
    // The next one says what it did itself, and a program reads the same in one line.
    let ran = home.run(&["run", "numbers.yaml", "--json"]).expect(1);
    assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
    assert_eq!(ran.json()["error"]["code"], "E-RUN-02");
    // Where rows are printed, they alone are on standard output.
    let sink = "stdout: {}\n";
    let text =
        numbers(9).replace("    parquet:", bad).replace("pipeline: numbers", "pipeline: rows");
    let text = text.replace("parquet:\n      to: lake\n      rotate: {rows: 2000}\n", sink);
    home.write("rows.yaml", &text);
    let ran = home.run(&["run", "rows.yaml"]).expect(1);
    assert!(ran.out.lines().all(|line| line.starts_with('{')), "{}", ran.out);
    assert!(ran.err.starts_with("rows: source read "), "{}", ran.err);
    // What fails before it begins has nothing to say.
    home.write("data", "no directory");
    let ran = home.run(&["run", "numbers.yaml", "--data-dir", "data"]);
    assert_eq!((ran.code == Some(0), ran.out.as_str()), (false, ""));
}
