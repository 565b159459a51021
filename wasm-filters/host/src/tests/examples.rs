use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::*;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn example(name: &str, params: Value) -> Filter {
    let module = std::fs::read(examples().join(name).join(format!("{name}.wasm"))).unwrap();
    let Value::Object(params) = params else { panic!("parameters are a map") };
    Filter::start(HOST.load(&module).unwrap(), params).unwrap()
}

/// What a map makes of records with these bodies: verdicts, and the bodies and properties of the
/// outputs.
fn mapped(filter: &Filter, bodies: &[&str]) -> (String, Vec<(u32, String, String)>) {
    let decisions = run(filter, bodies);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let outputs = decisions.outputs().map(|output| {
        let properties = match output.properties {
            Some(crate::Properties::Beside(properties)) => text(properties),
            Some(crate::Properties::Instead(_)) => panic!("the guest has no such thing"),
            None => String::new(),
        };
        (output.record, text(output.body.unwrap()), properties)
    });
    (short(&decisions), outputs.collect())
}

#[test]
fn crawlers_are_dropped() {
    let line = |agent| format!(r#"1.2.3.4 - - [x] "GET / HTTP/1.1" 200 5 "-" "{agent}""#);
    let lines = [line("Mozilla/5.0"), line("Googlebot/2.1"), "garbage".to_owned(), line("-")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let filter = example("drop-crawlers", json!({}));
    for _ in 0..2 {
        let decisions = run(&filter, &lines);
        assert_eq!(short(&decisions), "kdxk");
        assert_eq!(
            first_fault(decisions.verdicts()).to_string(),
            "the filter refuses the record: the line does not end with a user agent"
        );
    }
    let filter = example("drop-crawlers", json!({"agents": ["MOZILLA"]}));
    assert_eq!(short(&run(&filter, &lines)), "dkxk");
}

#[test]
fn parameters_that_make_no_sense_are_refused_by_the_guest() {
    let module = std::fs::read(examples().join("drop-crawlers/drop-crawlers.wasm")).unwrap();
    let Value::Object(params) = json!({"agents": [1]}) else { unreachable!() };
    let Err(error) = Filter::start(HOST.load(&module).unwrap(), params) else {
        panic!("it started")
    };
    assert_eq!(
        error.to_string(),
        "the filter `drop-crawlers` refuses its parameters: the parameter `agents` must be a list \
         of texts"
    );
}

#[test]
fn personal_data_is_masked() {
    let filter = example("mask", json!({"fields": ["email"]}));
    let bodies = [r#"{"email":"a@b.c","n":1}"#, r#"{"n":2}"#, "{", r#"[{"email":[1,2]}]"#];
    for _ in 0..2 {
        let (verdicts, outputs) = mapped(&filter, &bodies);
        assert_eq!(verdicts, "rkxr");
        let expected = [(0, r#"{"email":"***","n":1}"#), (3, r#"[{"email":"***"}]"#)];
        let found: Vec<_> = outputs.iter().map(|(row, body, _)| (*row, body.as_str())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn the_value_of_a_property_is_kept() {
    let filter = example("keep-property", json!({"name": "region", "value": "eu"}));
    // All records of these tests are of that region.
    assert_eq!(short(&run(&filter, &["a", "b"])), "kk");
    let filter = example("keep-property", json!({"name": "region", "value": "us"}));
    assert_eq!(short(&run(&filter, &["a", "b"])), "dd");
}

#[test]
fn a_module_finds_properties_like_everybody_else() {
    let pieces =
        ["\x01", "\x02", "a", "bb", "a", "ab", "abab", "b\x02", "aabbaabbaab", "\x02a\x01b\x01b"];
    let mut seed = 1_u64;
    let mut next_of = |count: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % count
    };
    let mut text = |_| (0..next_of(24)).map(|_| pieces[next_of(pieces.len())]).collect();
    let texts: Vec<String> = (0..3_000).map(&mut text).collect();
    let records = texts.iter();
    let records = records.map(|text| Record { properties: text.as_bytes(), ..Record::default() });
    let records: Vec<Record<'_>> = records.collect();
    for name in ["a", "bb", "abab", "aabbaabbaab", "", "a\x01b", "bb\x02a"] {
        let filter = example("keep-property", json!({"name": name, "value": "b"}));
        let batch = Batch { topic: "orders", queue: 0, records: &records };
        let decisions = filter.run(&batch).unwrap();
        for (text, verdict) in texts.iter().zip(decisions.verdicts()) {
            let properties = text.rsplit('\x02').filter_map(|property| property.split_once('\x01'));
            let value = properties.into_iter().find(|(known, _)| *known == name);
            let is_kept = value.is_some_and(|(_, value)| value == "b");
            let expected = if is_kept { Verdict::Keep } else { Verdict::Drop };
            assert_eq!(*verdict, expected, "{name:?} in {text:?}");
        }
    }
}

#[test]
fn the_module_that_passes_everything_on_is_what_its_text_says() {
    let module = include_bytes!("../../benches/pass.wasm");
    assert_eq!(wat::parse_str(include_str!("../../benches/pass.wat")).unwrap(), module);
    let filter = Filter::start(HOST.load(module).unwrap(), Map::new()).unwrap();
    assert_eq!(short(&run(&filter, &["a", ""])), "kk");
}

#[test]
fn lists_are_split() {
    let filter = example("split-array", json!({"field": "items"}));
    let bodies = [r#"{"items": [1, {"a": 2}]}"#, r#"{"items": []}"#, "{}"];
    let (verdicts, outputs) = mapped(&filter, &bodies);
    assert_eq!(verdicts, "rdx");
    let output = |body: &str, at| (0, body.to_owned(), format!("split_index\x01{at}\x02"));
    assert_eq!(outputs, [output("1", 0), output(r#"{"a": 2}"#, 1)]);
}

#[test]
fn filters_in_other_languages_keep_the_same_records() {
    for module in ["keep-large-c", "keep-large-assemblyscript"] {
        let path = examples().join(format!("keep-large/{module}.wasm"));
        let module = HOST.load(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(module.manifest().name, "keep-large");
        let start = |bytes: Value| {
            let Value::Object(params) = json!({"bytes": bytes}) else { unreachable!() };
            Filter::start(Arc::clone(&module), params)
        };
        let filter = start(json!(3)).unwrap();
        assert_eq!(short(&run(&filter, &["a", "abcdef", "", "abc"])), "dkdk");
        // Batches of all sizes, many times over: what is given back is used again.
        let large = "x".repeat(2_000);
        for round in 0..50 {
            let bodies = vec![&large[..round * 28]; 1 + round * 40];
            let kept = if round == 0 { "d" } else { "k" };
            assert_eq!(short(&run(&filter, &bodies)), kept.repeat(bodies.len()), "{round}");
        }
        assert!(start(json!(-1)).is_err() && start(json!("3")).is_err());
        assert_eq!(short(&run(&start(json!(0)).unwrap(), &[""])), "k");
    }
}

#[test]
fn a_large_batch_goes_through_a_guest() {
    let filter = example("mask", json!({"fields": ["email"]}));
    let body = format!(r#"{{"email":"a@b.c","text":"{}"}}"#, "x".repeat(500));
    let bodies = vec![body.as_str(); 5_000];
    let decided = run_all(&filter, &bodies);
    assert_eq!(letters(&decided), "r".repeat(5_000));
}

/// The examples as they are checked in are what their sources give. That can be seen where the
/// compiler for WebAssembly is installed, as it must be in CI; elsewhere only that they are there.
#[test]
fn modules_are_what_their_sources_give() {
    let rustc = |arguments: &[&str]| {
        Command::new("rustc").args(arguments).env("RUSTUP_TOOLCHAIN", "1.95.0").output().unwrap()
    };
    let library = rustc(&["--print", "target-libdir", "--target", "wasm32-unknown-unknown"]);
    let library = String::from_utf8(library.stdout).unwrap();
    let is_installed = Path::new(library.trim()).is_dir();
    assert!(
        is_installed || std::env::var_os("CI").is_none(),
        "nothing compares the examples with their sources, because this toolchain has no target \
         wasm32-unknown-unknown: rustup target add --toolchain 1.95.0 wasm32-unknown-unknown"
    );
    let out = std::env::temp_dir().join(format!("millrace-examples-{}", std::process::id()));
    let names = ["drop-crawlers", "keep-property", "mask", "split-array"];
    if is_installed {
        let built = Command::new(examples().join("build")).arg("--out").arg(&out).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    for name in names {
        let module = format!("{name}.wasm");
        let shipped = std::fs::read(examples().join(name).join(&module)).unwrap();
        assert!(shipped.len() < 64 << 10, "{name} has {} bytes", shipped.len());
        if is_installed {
            let built = crate::ModuleHash::of(&std::fs::read(out.join(&module)).unwrap());
            assert_eq!(crate::ModuleHash::of(&shipped), built, "run wasm-filters/examples/build");
        }
    }
    if is_installed {
        std::fs::remove_dir_all(&out).unwrap();
    }
}
