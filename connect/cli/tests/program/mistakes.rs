use crate::rig::Home;

const FIVE: &str = include_str!("../golden/five-mistakes.yaml");
const FIVE_TOLD: &str = include_str!("../golden/five-mistakes.txt");

#[test]
fn five_mistakes_are_told_at_once() {
    let home = Home::new();
    home.write("five-mistakes.yaml", FIVE);
    let ran = home.run(&["validate", "five-mistakes.yaml"]).expect(2);
    assert_eq!(ran.err, FIVE_TOLD);
    assert_eq!(ran.out, "");

    // `run` refuses it with the same words, before it touches anything.
    let ran = home.run(&["run", "five-mistakes.yaml"]).expect(2);
    assert_eq!(ran.err, FIVE_TOLD);
    assert_eq!(home.entries(), ["five-mistakes.yaml"]);
}

#[test]
fn a_program_gets_the_five_mistakes_as_json() {
    let home = Home::new();
    home.write("five-mistakes.yaml", FIVE);
    let told = home.run(&["validate", "five-mistakes.yaml", "--json"]).expect(2).json();
    assert_eq!(told["command"], "validate");
    assert_eq!(told["ok"], false);
    assert_eq!((&told["error"]["line"], &told["error"]["col"]), (&11.into(), &11.into()));
    let errors = told["result"][0]["errors"].as_array().unwrap();
    let codes: Vec<_> = errors.iter().map(|error| error["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["E-TYPE-01", "E-SQL-02", "E-COL-01", "E-UNIT-01", "E-KEY-01"]);
}

#[test]
fn good_files_are_told_apart_from_bad_ones() {
    let home = Home::new();
    home.write("bad.yaml", FIVE);
    home.write("good.yaml", include_str!("../../../../pipelines/orders.yaml"));
    let ran = home.run(&["validate", "good.yaml"]).expect(0);
    assert_eq!(ran.out, "good.yaml: ok: pipeline `orders`: 7 columns, 1 step, 1 sink\n");
    let ran = home.run(&["validate", "good.yaml", "bad.yaml", "gone.yaml"]).expect(2);
    assert!(ran.out.starts_with("good.yaml: ok"), "{}", ran.out);
    assert!(ran.err.contains("cannot read gone.yaml"), "{}", ran.err);
    assert!(
        ran.err.ends_with("bad.yaml: 5 errors. Explain one with `millrace explain E-KEY-01`.\n")
    );
}

#[test]
fn modules_that_cannot_be_used_are_told_with_their_places() {
    let home = Home::new();
    home.write("text.wasm", "no module");
    home.write(
        "two.yaml",
        "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\nsteps:\n  \
         - wasm: {module: none.wasm}\n  - wasm: {module: text.wasm}\n\
         sinks: {lake: {parquet: {to: x}}}\n",
    );
    let told = home.run(&["validate", "two.yaml", "--json"]).expect(2).json();
    let errors = told["result"][0]["errors"].as_array().unwrap();
    let places: Vec<_> = errors.iter().map(|e| (&e["code"], &e["line"], &e["col"])).collect();
    let place = |line: u64| ("E-WASM-01".into(), line.into(), 20.into());
    let expected = [place(6), place(7)];
    assert_eq!(places, expected.iter().map(|(c, l, k)| (c, l, k)).collect::<Vec<_>>(), "{told}");

    // Another mistake does not hide them.
    home.write(
        "three.yaml",
        "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\nsteps:\n  \
         - wasm: {module: none.wasm}\n  - filter: body.b = 1\n\
         sinks: {lake: {parquet: {to: x}}}\n",
    );
    let ran = home.run(&["validate", "three.yaml"]).expect(2);
    assert!(
        ran.err.contains("three.yaml:6:20") && ran.err.contains("three.yaml:7:13"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("three.yaml: 2 errors."), "{}", ran.err);

    let ran = home.run(&["run", "two.yaml"]).expect(2);
    assert!(ran.err.contains("two.yaml:6:20"), "{}", ran.err);
    assert_eq!(home.entries(), ["text.wasm", "three.yaml", "two.yaml"], "nothing was begun");
}

#[test]
fn files_that_are_not_there() {
    let home = Home::new();
    for command in ["run", "validate"] {
        let ran = home.run(&[command, "gone.yaml"]).expect(2);
        ran.one_error("E-FILE-01", "gone.yaml");
    }
    home.write("flights.yaml", include_str!("../../../../pipelines/flights.yaml"));
    let ran = home.run(&["run", "flights.yaml"]).expect(2);
    ran.one_error("E-SOURCE-02", "flights.jsonl");
    let ran = home.run(&["inspect", "gone"]).expect(2);
    ran.one_error("E-DATA-02", "gone");
    assert_eq!(home.entries(), ["flights.yaml"]);
    std::fs::create_dir(home.path("flights.jsonl")).unwrap();
    let ran = home.run(&["run", "flights.yaml"]).expect(2);
    ran.one_error("E-SOURCE-04", "flights.jsonl: it is a directory");
    assert_eq!(home.entries(), ["flights.jsonl", "flights.yaml"]);
}

#[test]
fn arguments_that_make_no_sense() {
    let home = Home::new();
    for args in [
        &[][..],
        &["rnu"],
        &["run"],
        &["run", "x.yaml", "--onec"],
        &["run", "x.yaml", "--namesrv", "nowhere"],
        &["run", "x.yaml", "--namesrv", "a:1", "--data-dir", "d"],
        &["run", "x.yaml", "--segment-size", "12X"],
        &["server", "--flush", "sometimes"],
        &["inspect", "d", "--bodies"],
        &["explain", "E-NOTHING-99"],
        &["docs", "parqet"],
        &["docs", "parquet", "--json-schema"],
    ] {
        let ran = home.run(args).expect(2);
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{args:?}");
    }
    home.run(&["--help"]).expect(0);
    home.run(&["--version"]).expect(0);
    let listed = home.run(&["explain"]).expect(0);
    for code in listed.out.lines() {
        home.run(&["explain", code]).expect(0);
    }
    let parquet = home.run(&["docs", "parquet"]).expect(0);
    assert!(parquet.out.contains("partition_by"), "{}", parquet.out);
    let schema = home.run(&["docs", "--json-schema"]).expect(0);
    assert_eq!(schema.out, include_str!("../../../config/pipeline.schema.json"));
    assert_eq!(home.entries(), [""; 0]);
}

#[test]
fn warnings_are_told_and_only_strict_minds_them() {
    let home = Home::new();
    home.write(
        "warned.yaml",
        "version: 1\npipeline: p\ntopic: {name: t, properties: {n: body.n}}\nschema: {n: int}\n\
         steps:\n  - filter: n > 10\nsinks: {out: {blackhole: {}}}\n",
    );
    let ran = home.run(&["validate", "warned.yaml"]).expect(0);
    assert_eq!(ran.out, "warned.yaml: ok: pipeline `p`: 1 column, 1 step, 1 sink\n");
    assert!(ran.err.starts_with("warning[W-SQL-03]: "), "{}", ran.err);
    assert!(ran.err.contains(" --> warned.yaml:6:13\n"), "{}", ran.err);
    assert!(ran.err.contains("help: write `n > 10.0`\n"), "{}", ran.err);
    let last = "warned.yaml: 1 warning. Explain one with `millrace explain W-SQL-03`.\n";
    assert!(ran.err.ends_with(last), "{}", ran.err);

    let strict = home.run(&["validate", "--strict", "warned.yaml"]).expect(2);
    assert_eq!((strict.out.as_str(), strict.err), ("", ran.err));

    let told = home.run(&["validate", "warned.yaml", "--json"]).expect(0).json();
    let file = &told["result"][0];
    assert_eq!((&told["ok"], &file["ok"]), (&true.into(), &true.into()), "{told}");
    let warning = &file["warnings"][0];
    assert_eq!((&warning["code"], &warning["line"]), (&"W-SQL-03".into(), &6.into()), "{told}");
    assert_eq!((&warning["col"], &warning["len"]), (&13.into(), &6.into()), "{told}");
    let told = home.run(&["validate", "warned.yaml", "--strict", "--json"]).expect(2).json();
    assert_eq!((&told["ok"], &told["result"][0]["ok"]), (&false.into(), &false.into()), "{told}");
    assert_eq!(told["error"]["code"], "W-SQL-03", "{told}");
    assert_eq!(told["summary"], "1 warning in warned.yaml", "{told}");

    // A run has other things to say.
    let ran = home.run(&["run", "warned.yaml", "--once"]).expect(0);
    assert!(!ran.err.contains("warning"), "{}", ran.err);
}
