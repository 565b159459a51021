//! `millrace filter`.

use std::path::Path;
use std::process::Command;

use crate::rig::Home;

fn example(name: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wasm-filters/examples");
    format!("{root}/{name}/{name}.wasm")
}

/// All modules of the examples.
fn examples() -> Vec<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../wasm-filters/examples");
    let paths = |dir: &Path| {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.collect::<Vec<_>>()
    };
    let dirs = paths(Path::new(root)).into_iter().filter(|path| path.is_dir());
    let files = dirs.flat_map(|dir| paths(&dir)).map(|path| path.display().to_string());
    let modules: Vec<String> = files.filter(|path| path.ends_with(".wasm")).collect();
    assert_eq!(modules.len(), 6, "{modules:?}");
    modules
}

#[test]
fn modules_say_what_they_are_and_do() {
    let (home, mask) = (Home::new(), example("mask"));
    let checked = home.run(&["filter", "check", &mask]).expect(0);
    assert!(checked.out.contains("the map `mask`, version 1.0.0\n"), "{}", checked.out);
    assert!(checked.out.contains("  parameter   fields: array, required\n"), "{}", checked.out);

    home.write("lines", "{\"name\":\"a\",\"id\":1}\n{\"id\":2}\n{\n");
    let params = ["--params", r#"{"fields": ["name"]}"#];
    let run = [&["filter", "run", &mask, "lines"], &params[..]].concat();
    let ran = home.run(&run).expect(0);
    let expected = "\
replace {\"name\":\"a\",\"id\":1}
     -> {\"name\":\"***\",\"id\":1}
keep    {\"id\":2}
fail    {
        the filter refuses the record: this is not JSON from byte 1 on
3 records: 1 kept, 0 dropped, 1 replaced, 1 failed
";
    assert_eq!(ran.out, expected);
    let answer = home.run(&[&run[..], &["--limit", "1", "--json"]].concat()).expect(0).json();
    assert_eq!(answer["result"][0]["after"][0]["body"], "{\"name\":\"***\",\"id\":1}");
    assert_eq!(answer["summary"], "1 record: 0 kept, 0 dropped, 1 replaced, 0 failed");
}

#[test]
fn lines_steer_no_terminal() {
    let (home, mask) = (Home::new(), example("mask"));
    home.write("lines", "{\"name\":\"a\",\"id\":\"\u{9b}2J\"}\r\n\x1b[2J\n");
    let params = ["--params", r#"{"fields": ["name"]}"#];
    let ran = home.run(&[&["filter", "run", &mask, "lines"], &params[..]].concat()).expect(0);
    assert!(!ran.out.contains(|char: char| char.is_control() && char != '\n'), "{:?}", ran.out);
    assert!(ran.out.contains("\\u{9b}2J\"}\\r\n     -> {"), "{}", ran.out);
    assert!(ran.out.contains("fail    \\u{1b}[2J\n"), "{}", ran.out);
}

#[test]
fn what_is_no_module_or_gets_the_wrong_parameters_is_told() {
    let home = Home::new();
    home.write("lines", "a\n");
    home.run(&["filter", "check", "gone.wasm"]).expect(2).one_error("E-FILE-01", "gone.wasm");
    home.run(&["filter", "check", "lines"]).expect(2).one_error("E-WASM-01", "lines");
    let mask = example("mask");
    let run = ["filter", "run", &mask, "lines"];
    for command in [&run[..], &["filter", "bench", &mask]] {
        let ran = home.run(command).expect(2);
        ran.one_error("E-WASM-01", "the parameter `fields` is missing");
        assert!(ran.err.contains("hint: say them with --params"), "{}", ran.err);
    }
    let nothing = "(module (memory (export \"memory\") 1))";
    std::fs::write(home.path("nothing.wasm"), wat::parse_str(nothing).unwrap()).unwrap();
    let ran = home.run(&["filter", "check", "nothing.wasm"]).expect(2);
    ran.one_error("E-WASM-01", "has no manifest");
    for told in ["no function has `#[filter]`, `#[map]` or `#[flat_map]`", "`mr_abi_v1`"] {
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    home.run(&[&run[..], &["--params", "{"]].concat()).expect(2);
    home.run(&["filter", "build"]).expect(2).one_error("E-FILE-01", "Cargo.toml");
    for name in ["Shout", "-a", "a-", "a b", "", "../a", "é"] {
        home.run(&["filter", "new", "--", name]).expect(2);
    }
    for name in ["millrace-wasm-guest", "millrace-wasm-guest-macros"] {
        let ran = home.run(&["filter", "new", name]).expect(2);
        ran.one_error("E-ARG-01", "as what it links against is");
    }
    home.write("taken", "");
    home.run(&["filter", "new", "taken"]).expect(2).one_error("E-ARG-01", "taken");
    assert_eq!(home.entries(), ["lines", "nothing.wasm", "taken"]);
}

#[test]
fn a_file_that_is_too_long_for_a_module_is_not_read() {
    let home = Home::new();
    // No memory holds as much, and no disk has to.
    let file = std::fs::File::create(home.path("long.wasm")).unwrap();
    file.set_len(1 << 40).unwrap();
    home.write("lines", "a\n");
    home.write("tests.yaml", "module: long.wasm\ntests: []\n");
    for command in [
        &["check", "long.wasm"][..],
        &["run", "long.wasm", "lines"],
        &["bench", "long.wasm"],
        &["test", "tests.yaml"],
        &["attach", "--group", "g", "--module", "long.wasm"],
    ] {
        let told = "long.wasm: the module has 1099511627776 bytes; at most 4194304 are read";
        let ran = home.run(&[&["filter"], command].concat()).expect(2);
        ran.one_error("E-WASM-01", told);
    }
}

#[test]
fn modules_do_what_their_tests_say() {
    let home = Home::new();
    let beside = |name: &str| example(name).replace(".wasm", ".tests.yaml");
    let (property, mask) = (beside("keep-property"), beside("mask"));
    let ran = home.run(&["filter", "test", &property, &mask]).expect(0);
    assert!(ran.out.ends_with("3 tests: 3 passed, 0 failed\n"), "{}", ran.out);
    for module in examples() {
        let tests = module.replace(".wasm", ".tests.yaml");
        let ran = home.run(&["filter", "test", &tests]).expect(0);
        assert!(ran.out.ends_with(" passed, 0 failed\n"), "{}", ran.out);
    }

    let text = std::fs::read_to_string(&property).unwrap();
    let module = example("keep-property");
    let wrong = text
        .replace("module: keep-property.wasm", &format!("module: {module}"))
        .replace("props: {region: us}, expect: drop", "props: {region: us}, expect: keep")
        .replace("expect: drop}\n  - name", "expect: {}}\n  - name");
    home.write("wrong.yaml", &wrong.replace("expect: {}", "expect: fail, error: gone"));
    let ran = home.run(&["filter", "test", "wrong.yaml"]).expect(4);
    let complaints = "\
FAIL wrong.yaml: one value of one property
     record 1: expected keep, found drop
     record 3: expected fail with \"gone\", found drop
ok   wrong.yaml: tags and keys are properties, too
2 tests: 1 passed, 1 failed
";
    assert_eq!(ran.out, complaints);
    let few = home.run(&["filter", "test", "wrong.yaml", "-k", "tags", "--json"]).expect(0).json();
    assert_eq!(few["summary"], "1 test: 1 passed, 0 failed");
    home.write("params.yaml", &wrong.replace("value: eu", "values: eu").replace("{}", "drop"));
    let ran = home.run(&["filter", "test", "params.yaml", "-k", "one value"]).expect(4);
    assert!(ran.out.contains("     the parameter `value` is missing\n"), "{}", ran.out);
    home.run(&["filter", "test", "params.yaml", "-k", "none"]).expect(2).one_error("E-TEST-01", "");
    let help = home.run(&["filter", "test", "--help"]).expect(0).out;
    assert!(help.contains("\n  tests:\n    - name: only what is urgent goes on\n"), "{help}");
    home.write("broken.yaml", "module: gone.wasm\ntests: [{name: a, record: []}]\n");
    home.run(&["filter", "test", "broken.yaml"]).expect(2);
    home.write("gone.yaml", "module: gone.wasm\ntests: []\n");
    home.run(&["filter", "test", "gone.yaml"]).expect(2).one_error("E-FILE-01", "gone.wasm");

    home.write("p.yaml", "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\n");
    let ran = home.run(&["filter", "test", "p.yaml"]).expect(2);
    ran.one_error("E-ARG-01", "p.yaml is a pipeline");
    assert!(ran.err.contains("`millrace filter test --help`"), "{}", ran.err);
    home.write("p.tests.yaml", "module: gone.wasm\ntests: []\n");
    let ran = home.run(&["filter", "test", "p.yaml"]).expect(2);
    ran.one_error("E-ARG-01", "p.yaml is a pipeline");
    assert!(ran.err.contains("you may mean `millrace filter test p.tests.yaml`"), "{}", ran.err);

    // The others are tested all the same.
    let some = ["filter", "test", "broken.yaml", "wrong.yaml", "none.yaml", "gone.yaml"];
    let ran = home.run(&some).expect(2);
    let told = "2 tests: 1 passed, 1 failed; 3 files cannot be tested\n";
    assert!(ran.out.contains(complaints.rsplit_once("2 tests").unwrap().0), "{}", ran.out);
    assert!(ran.out.ends_with(told), "{}", ran.out);
    for told in ["broken.yaml:2:", "cannot read none.yaml", "cannot read gone.wasm"] {
        assert!(ran.err.contains(told), "{told}: {}", ran.err);
    }
    let answer = home.run(&[&some[..], &["--json"]].concat()).expect(2).json();
    let files = answer["result"].as_array().unwrap().iter().map(|result| &result["file"]);
    let expected = ["broken.yaml", "wrong.yaml", "wrong.yaml", "none.yaml", "gone.yaml"];
    assert_eq!(files.collect::<Vec<_>>(), expected, "{answer}");
}

#[test]
fn what_a_module_costs_is_measured() {
    let (home, module) = (Home::new(), example("keep-property"));
    let params = ["--params", r#"{"name": "region", "value": "eu"}"#];
    let bench = [&["filter", "bench", &module, "--batch", "1,32", "--json"], &params[..]].concat();
    let answer = home.run(&bench).expect(0).json();
    let results = answer["result"].as_array().unwrap();
    assert_eq!(results.iter().map(|r| r["batch"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 32]);
    for result in results {
        for name in ["ns_per_record", "ns_per_record_p10", "pass_through_ns_per_record"] {
            assert!(result[name].as_f64().unwrap() > 0.0, "{result}");
        }
        assert!(result["native_ns_per_record"].is_null(), "{result}");
    }
    home.write("lines", "a\nb\n");
    let of_lines = [&["filter", "bench", &module, "lines", "--batch", "2"], &params[..]].concat();
    let text = home.run(&of_lines).expect(0).out;
    assert!(text.contains("ns per record in batches of 2 records\n"), "{text}");
    let told = "there is no native figure: no source of the module lies beside it\n";
    assert!(text.contains(told), "{text}");
    home.run(&[&["filter", "bench", &module, "--batch", "0"], &params[..]].concat())
        .expect(2)
        .one_error("E-ARG-01", "1 to 4096");
    home.run(&["filter", "bench", &module]).expect(2).one_error("E-WASM-01", "missing");
}

#[test]
fn records_that_fail_are_counted_where_costs_are_measured() {
    let (home, mask) = (Home::new(), example("mask"));
    let params = ["--params", r#"{"fields": ["a"]}"#];
    let bench = ["filter", "bench", &mask, "lines", "--batch", "2,4"];
    let bench = [&bench[..], &params[..]].concat();
    home.write("lines", "{\"a\":1}\n{\n{\"a\":2}\nno JSON\n");
    let answer = home.run(&[&bench[..], &["--json"]].concat()).expect(0).json();
    let failed: Vec<_> =
        answer["result"].as_array().unwrap().iter().map(|r| &r["failed"]).collect();
    assert_eq!(failed, [1, 2], "{answer}");
    assert!(answer["result"][1]["ns_per_record"].as_f64().unwrap() > 0.0, "{answer}");
    let text = home.run(&bench).expect(0).out;
    let told = "the first that fails: the filter refuses the record: this is not JSON";
    assert!(text.contains(told) && text.lines().next().unwrap().ends_with("  failed"), "{text}");

    home.write("lines", "{\nno JSON\n");
    let ran = home.run(&bench).expect(4);
    assert!(ran.out.ends_with("all records fail, so there is nothing to measure\n"), "{}", ran.out);
    let answer = home.run(&[&bench[..], &["--json"]].concat()).expect(4).json();
    assert_eq!(answer["ok"], false);
    assert_eq!(
        (&answer["result"][1]["failed"], answer["result"][1]["ns_per_record"].is_null()),
        (&4.into(), true)
    );
}

/// A filter that keeps everything, and does something at its start.
fn starting_with(init: &str) -> Vec<u8> {
    let manifest = r#"{\"abi\":1,\"name\":\"slow\",\"version\":\"1.0.0\",\"kinds\":[\"filter\"]}"#;
    let text = format!(
        r#"(module (memory (export "memory") 2) (func (export "mr_abi_v1"))
          (@custom "millrace.filter" "{manifest}")
          (func (export "mr_alloc") (param i32 i32) (result i32) (i32.const 1024))
          (func (export "mr_init") (param i32 i32) (result i32) {init} (i32.const 0))
          (func (export "mr_filter") (param i32 i32 i32) (result i32) (i32.const 0)))"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_check_starts_the_module() {
    let home = Home::new();
    std::fs::write(home.path("endless.wasm"), starting_with("(loop $on (br $on))")).unwrap();
    std::fs::write(home.path("trap.wasm"), starting_with("(unreachable)")).unwrap();
    std::fs::write(home.path("good.wasm"), starting_with("")).unwrap();
    let check =
        |module: &str, more: &[&str]| home.run(&[&["filter", "check", module], more].concat());
    let late =
        "endless.wasm: the filter `slow` cannot be started: the filter trapped: it did not end";
    check("endless.wasm", &[]).expect(2).one_error("E-WASM-01", late);
    check("trap.wasm", &[]).expect(2).one_error("E-WASM-01", "the filter trapped");
    for start in
        ["(func (export \"_initialize\") (unreachable))", "(func $go (unreachable)) (start $go)"]
    {
        std::fs::write(
            home.path("trap.wasm"),
            starting_with(&format!("(i32.const 0)) {start} (func (result i32)")),
        )
        .unwrap();
        check("trap.wasm", &[]).expect(2).one_error("E-WASM-01", "the filter trapped");
    }
    let checked = check("good.wasm", &[]).expect(0).out;
    assert!(checked.ends_with("  started     yes\n"), "{checked}");
    // One that needs parameters is not at fault without them.
    let mask = example("mask");
    let checked = check(&mask, &[]).expect(0).out;
    let told = "  started     no: the parameter `fields` is missing; give it --params\n";
    assert!(checked.ends_with(told), "{checked}");
    let answer = check(&mask, &["--json", "--params", r#"{"fields": ["a"]}"#]).expect(0).json();
    assert_eq!(answer["result"]["started"], true);
    check(&mask, &["--params", "{}"]).expect(2).one_error("E-WASM-01", "`fields` is missing");
}

#[test]
fn a_parameter_that_is_wrong_is_shown_where_it_stands() {
    let home = Home::new();
    let file = |params: &str| {
        let module = example("drop-crawlers");
        format!(
            "version: 1\npipeline: p\nsource: {{file: {{include: [none.jsonl], decode: {{lines: {{}}}}}}}}\n\
             topic: t\nsteps:\n  - wasm:\n      module: {module}\n{params}\
             sinks: {{out: {{jsonl: {{to: out}}}}}}\n"
        )
    };
    let module = example("keep-property");
    let property = |params: &str| file(params).replace(&example("drop-crawlers"), &module);
    for (text, at, told) in [
        (file("      params:\n        agents: bot\n"), "9:9", "`agents` must be of type `array`"),
        (file("      params:\n        agents: [a]\n        b: 1\n"), "10:9", "no parameter `b`"),
        // The module's own words.
        (file("      params:\n        agents: [1]\n"), "9:9", "must be a list of texts"),
        (property("      params:\n        name: region\n"), "8:7", "`value` is missing"),
        (property(""), "7:15", "`name` is missing"),
    ] {
        home.write("p.yaml", &text);
        let ran = home.run(&["validate", "p.yaml"]).expect(2);
        assert!(
            ran.err.contains(&format!("p.yaml:{at}\n")) && ran.err.contains(told),
            "{}",
            ran.err
        );
        assert!(ran.err.contains("says which parameters it takes"), "{}", ran.err);
    }
}

#[test]
fn a_new_filter_builds_and_passes_its_tests() {
    let home = Home::new();
    home.run(&["filter", "new", "short-notes"]).expect(0);
    for entry in std::fs::read_dir(home.path("short-notes")).unwrap().map(Result::unwrap) {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        assert!(!text.contains("keep-words"), "{}", entry.path().display());
    }

    let command = |program: &str, args: &[&str]| {
        let dir = home.path("short-notes");
        let mut ran = Command::new(program);
        let ran = ran.args(args).current_dir(dir).env_remove("CARGO_TARGET_DIR").output().unwrap();
        let (out, err) =
            (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
        assert!(ran.status.success(), "{program} {args:?}: {out}{err}");
        out
    };
    let target = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
    if !Path::new(command("rustc", &target).trim()).is_dir() {
        assert!(std::env::var_os("CI").is_none(), "rustup target add wasm32-unknown-unknown");
        return println!("skipped: there is nothing to build modules with");
    }
    let millrace = env!("CARGO_BIN_EXE_millrace");
    let built = command(millrace, &["filter", "build"]);
    assert!(
        built.starts_with("short-notes.wasm: the filter `short-notes`, version 0.1.0\n"),
        "{built}"
    );
    let tested = command(millrace, &["filter", "test", "short-notes.tests.yaml"]);
    assert!(tested.ends_with("2 tests: 2 passed, 0 failed\n"), "{tested}");
    let tested = command(millrace, &["test", "short-notes.yaml", "--power-cuts", "3"]);
    assert!(tested.ends_with("1 passed, 0 failed\n"), "{tested}");
    let words = r#"{"words": ["now"]}"#;
    let args = ["filter", "run", "short-notes.wasm", "sample.jsonl", "--params", words];
    assert!(
        command(millrace, &args).ends_with("3 records: 1 kept, 2 dropped, 0 replaced, 0 failed\n")
    );
    assert!(command("cargo", &["test", "--offline", "--quiet"]).contains("1 passed"));
    natively_compared(&home, command);
}

/// The source of a new filter is measured as native code, too, unless it is another one by now.
fn natively_compared(home: &Home, command: impl Fn(&str, &[&str]) -> String) {
    let millrace = env!("CARGO_BIN_EXE_millrace");
    let words = r#"{"words": ["now"]}"#;
    let bench = ["filter", "bench", "short-notes.wasm", "sample.jsonl", "--params", words];
    let bench =
        |more: &[&str]| command(millrace, &[&bench[..], &["--batch", "1,64"], more].concat());
    let answer: serde_json::Value = serde_json::from_str(&bench(&["--json"])).unwrap();
    for result in answer["result"].as_array().unwrap() {
        let of = |name: &str| result[name].as_f64().unwrap_or_else(|| panic!("{name}: {result}"));
        let times = of("ns_per_record") / of("native_ns_per_record");
        assert!(times > 0.0 && (times - of("times_native")).abs() < 1e-6, "{result}");
    }
    assert!(bench(&[]).contains(" times what it costs as native code\n"), "{}", bench(&[]));

    let source = home.path("short-notes/src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    std::fs::write(&source, text.replace("Ok(note.is_some_and", "Ok(!note.is_some_and")).unwrap();
    let told = "there is no native figure: its source gives other verdicts";
    assert!(bench(&[]).contains(told), "{}", bench(&[]));
    std::fs::write(&source, text.replace("Ok(note.is_some_and", "Ok(not.is_some_and")).unwrap();
    let told = "there is no native figure: its source does not run as native code";
    assert!(bench(&[]).contains(told), "{}", bench(&[]));
}

#[test]
fn a_flat_map_before_an_index_is_a_mistake_of_the_file() {
    let home = Home::new();
    let text = format!(
        "version: 1\npipeline: p\nsource: {{file: {{include: [none.jsonl], decode: {{json: {{}}}}}}}}\n\
         topic: t\nschema: {{a: int}}\nsteps:\n  - wasm: {{module: {}}}\n\
         sinks: {{find: {{index: {{to: out, mapping: {{a: number}}}}}}}}\n",
        example("split-array")
    );
    home.write("p.yaml", &text);
    let told = "the sink `find` cannot tell several rows of one message apart";
    let ran = home.run(&["validate", "p.yaml"]).expect(2);
    assert!(ran.err.contains(told) && ran.err.contains("p.yaml:7:20"), "{}", ran.err);
    assert!(ran.err.contains("help: write the rows into files"), "{}", ran.err);
}
