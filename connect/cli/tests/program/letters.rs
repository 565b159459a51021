use std::path::PathBuf;

use serde_json::{Value, json};

use crate::rig::{Home, Ran, first_column, parquet_files, serve, wait_for};

/// Three sinks, of which only `amounts` reads the field that one order has wrong.
const ORDERS_YAML: &str = "\
version: 1
pipeline: orders
source:
  file: {include: [orders.jsonl], once: true, decode: {json: {}}}
topic: {name: orders, queues: 2, key: body.id}
schema: {id: int, amount: int, note: string}
sinks:
  ids: {parquet: {to: lake/ids, columns: [id]}}
  notes: {parquet: {to: lake/notes, columns: [id, note]}}
  amounts: {parquet: {to: lake/amounts, columns: [id, amount]}}
";
const ORDERS: &str = r#"{"id":1,"amount":10,"note":"a"}
{"id":2,"amount":"ten","note":"b"}
{"id":3,
{"id":4,"amount":40,"note":"d"}
"#;

/// A home in which these orders went through the pipeline.
fn delivered() -> Home {
    let home = Home::new();
    home.write("orders.yaml", ORDERS_YAML);
    home.write("orders.jsonl", ORDERS);
    home.run(&["run", "orders.yaml"]).expect(0);
    home
}

/// Of each code how many are open, replayed and dropped.
fn codes(of: &Value) -> Vec<(&str, [u64; 3])> {
    let codes = of["codes"].as_object().unwrap().iter();
    let number = |counted: &Value, name: &str| counted[name].as_u64().unwrap();
    let numbers = |counted| ["open", "replayed", "dropped"].map(|name| number(counted, name));
    codes.map(|(code, counted)| (code.as_str(), numbers(counted))).collect()
}

/// The lines before the last one, which is the outcome.
fn lines(ran: &Ran) -> Vec<Value> {
    let lines = ran.out.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    lines.pop();
    lines
}

#[test]
fn letters_are_counted_and_shown() {
    let home = delivered();
    let list = home.run(&["dlq", "list", "--json"]).expect(0).json();
    let of = list["result"]["of"].as_array().unwrap();
    let whose: Vec<_> = of.iter().map(|of| (of["sink"].as_str(), codes(of))).collect();
    let [refused, broken] = [("amounts", "E-DECODE-03"), ("source", "E-DECODE-01")];
    let one = |(sink, code)| (Some(sink), vec![(code, [1, 0, 0])]);
    assert_eq!(whose, [one(refused), one(broken)]);
    assert_eq!(of[0]["topic"], "%DLQ%orders_amounts");
    let text = home.run(&["dlq", "list", "--fail-if-any"]).expect(4).out;
    assert!(text.contains("orders/amounts  E-DECODE-03     1         0        0  "), "{text}");

    let ran = home.run(&["dlq", "show", "orders/amounts", "--json"]).expect(0);
    let [letter] = &*lines(&ran) else { panic!("{}", ran.out) };
    assert_eq!((&letter["code"], &letter["field"]), (&json!("E-DECODE-03"), &json!("amount")));
    assert_eq!(letter["body"], ORDERS.lines().nth(1).unwrap());
    assert_eq!((&letter["step"], &letter["attempts"]), (&json!("decode"), &json!(1)));
    assert!(letter["queue"].is_u64() && letter["offset"].is_u64(), "{letter}");
    assert_eq!(letter["properties"]["file.line"], "1");
    let text = home.run(&["dlq", "show", "orders/source"]).expect(0).out;
    assert!(text.ends_with("\nbody        {\"id\":3,\n\n"), "{text}");

    let show = |more: &[&str]| {
        home.run(&[&["dlq", "show", "orders/amounts", "--json"], more].concat()).expect(0).json()
    };
    let meant = show(&["--where", "dlq_code LIKE 'E-DECODE-%' AND KEYS = '2'"]);
    assert_eq!(meant["result"]["letters"], 1);
    assert_eq!(show(&["--where", "dlq_field <> 'amount'"])["result"]["letters"], 0);
    assert_eq!(show(&["--limit", "0"])["result"]["letters"], 0);
}

#[test]
fn a_message_steers_no_terminal() {
    let home = Home::new();
    let numbers = ORDERS_YAML.replace("include: [orders.jsonl]", "include: [\"orders.jsonl\"]");
    home.write("orders.yaml", &numbers.replace("queues: 2, key: body.id", "queues: 1"));
    home.write(
        "orders.jsonl",
        "{\"id\":\"\\u001b[2Jx\",\"amount\":1}\n{\"id\":\"\x1b]0;x\x07\"}\n",
    );
    home.run(&["run", "orders.yaml"]).expect(0);
    let shown = home.run(&["dlq", "show", "orders/ids"]).expect(0).out;
    assert!(shown.contains("\\u{1b}[2Jx"), "{shown}");
    for args in [
        &["dlq", "show", "orders/ids"][..],
        &["dlq", "show", "orders/source"],
        &["dlq", "list"],
        &["dlq", "replay", "orders.yaml", "--sink", "ids"],
        &["inspect", "millrace-data"],
    ] {
        let ran = home.run(args);
        for text in [&ran.out, &ran.err] {
            let steers = text.chars().find(|char| char.is_control() && *char != '\n');
            assert_eq!(steers, None, "{args:?}: {text:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_told() {
    let home = Home::new();
    home.run(&["dlq", "list"]).expect(2).one_error("E-DATA-02", "millrace-data");
    let home = delivered();
    home.run(&["dlq", "show", "orders/amount"]).expect(2).one_error("E-ARG-01", "orders/amount");
    let wrong = home.run(&["dlq", "show", "orders/amounts", "--where", "dlq_code ="]).expect(2);
    assert!(wrong.err.contains("--where"), "{}", wrong.err);
    home.run(&["dlq", "show", "amounts"]).expect(2);
}

#[test]
fn letters_are_dropped_once() {
    let home = delivered();
    let drop = ["dlq", "drop", "orders/source", "--where", "dlq_code = 'E-DECODE-01'"];
    home.run(&drop).expect(2).one_error("E-ARG-01", "1 dead letter of orders/source");
    home.run(&["dlq", "list", "--fail-if-any"]).expect(4);
    let drop = [&drop[..], &["--yes", "--json"]].concat();
    assert_eq!(home.run(&drop).expect(0).json()["result"]["dropped"], 1);
    assert_eq!(home.run(&drop).expect(0).json()["result"]["dropped"], 0);
    let other = ["dlq", "drop", "orders/amounts", "--where", "dlq_code = 'E-DECODE-01'", "--yes"];
    let ran = home.run(&other).expect(0);
    assert_eq!(ran.out, "0 dead letters of orders/amounts dropped\n");
    let list = home.run(&["dlq", "list", "--json"]).expect(0).json();
    assert_eq!(codes(&list["result"]["of"][1]), [("E-DECODE-01", [0, 0, 1])]);
    let ran = home.run(&["dlq", "show", "orders/source", "--json"]).expect(0);
    assert_eq!(lines(&ran)[0]["state"], "dropped");
    home.run(&["dlq", "drop", "orders/none", "--yes"]).expect(2).one_error("E-ARG-01", "none");

    home.run(&["dlq", "drop", "orders/amounts", "--yes"]).expect(0);
    home.run(&["dlq", "list", "--fail-if-any"]).expect(0);
    // The pipeline knows nothing of it, and goes on.
    let ran = home.run(&["run", "orders.yaml", "--json"]).expect(0).json();
    assert_eq!(ran["result"]["balanced"], true);
    home.run(&["inspect", "millrace-data"]).expect(0);
}

/// The first column of each sink's files.
fn ids(home: &Home) -> [Vec<i64>; 3] {
    ["ids", "notes", "amounts"].map(|sink| first_column(&files(home, sink)))
}

fn files(home: &Home, sink: &str) -> Vec<PathBuf> {
    parquet_files(&home.path(&format!("lake/{sink}")))
}

/// The same pipeline, but that `amount` may be anything.
fn mended() -> String {
    ORDERS_YAML.replace("amount: int", "amount: string")
}

#[test]
fn a_mended_pipeline_gets_its_letters_once() {
    let home = delivered();
    let replay = |more: &[&str]| {
        let args = ["dlq", "replay", "orders.yaml", "--sink", "amounts", "--json"];
        home.run(&[&args[..], more].concat())
    };
    // As long as nothing is mended the letter stays.
    let ran = replay(&[]).expect(4).json();
    assert_eq!((&ran["ok"], &ran["result"]["tried"]), (&json!(false), &json!(1)));
    assert_eq!(ran["result"]["failures"][0]["code"], "E-DECODE-03");
    assert_eq!(ids(&home), [vec![1, 2, 4], vec![1, 2, 4], vec![1, 4]]);

    home.write("orders.yaml", &mended());
    let would = replay(&["--dry-run"]).expect(0).json();
    assert_eq!((&would["result"]["rows"], &would["result"]["files"]), (&json!(1), &json!(0)));
    assert_eq!(replay(&["--limit", "0"]).expect(0).json()["result"]["tried"], 0);
    assert_eq!(ids(&home)[2], [1, 4]);
    let args = ["dlq", "replay", "orders.yaml", "--sink", "amounts"];
    let ran = home.run(&args).expect(0);
    let told = "orders/amounts: 1 dead letter gave 1 row; 1 file (";
    assert!(ran.out.starts_with(told), "{}", ran.out);
    let after = [vec![1, 2, 4], vec![1, 2, 4], vec![1, 2, 4]];
    assert_eq!(ids(&home), after);
    let names: Vec<_> =
        files(&home, "amounts").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        ["orders-amounts-0000000000.parquet", "orders-amounts_dlq-0000000000.parquet"]
    );

    assert_eq!(replay(&[]).expect(0).json()["result"]["tried"], 0);
    home.run(&["run", "orders.yaml"]).expect(0);
    assert_eq!(ids(&home), after);
    let list = home.run(&["dlq", "list", "--json"]).expect(0).json();
    assert_eq!(codes(&list["result"]["of"][0]), [("E-DECODE-03", [0, 1, 0])]);
    let text = home.run(&["inspect", "millrace-data"]).expect(0).out;
    let told = "\nletters of orders/amounts: 1 letter replayed into 1 file, 0 dropped\n";
    assert!(text.contains(told), "{text}");
}

#[test]
fn letters_are_replayed_beside_a_run() {
    let home = Home::new();
    let (_server, listening) = serve(&home, &[]);
    let namesrv = listening["namesrv"].as_str().unwrap().to_owned();
    home.write("orders.yaml", &ORDERS_YAML.replace("once: true", "scan_every: 100ms"));
    home.write("orders.jsonl", ORDERS);
    let mut run = home.start(&["run", "orders.yaml", "--namesrv", &namesrv]);
    let dlq = |args: &[&str]| home.run(&[&["dlq"], args, &["--namesrv", &namesrv]].concat());
    wait_for("a letter", || dlq(&["list", "--fail-if-any"]).code == Some(4));
    wait_for("both letters", || {
        dlq(&["list", "--json"]).json()["result"]["open"].as_u64() == Some(2)
    });
    home.write("mended.yaml", &mended());
    dlq(&["replay", "mended.yaml", "--sink", "amounts"]).expect(0);
    assert_eq!(ids(&home)[2], [2]);
    assert!(run.is_running(), "{}", run.said());
    home.write("orders.jsonl", &format!("{ORDERS}{{\"id\":5,\"amount\":50}}\n"));
    wait_for("another order", || {
        let status = home.run(&["topic", "status", "orders", "--namesrv", &namesrv, "--json"]);
        status.json()["result"]["messages"].as_u64() == Some(4)
    });
    run.signal("TERM");
    run.ended().expect(0);
    assert_eq!(ids(&home), [vec![1, 2, 4, 5], vec![1, 2, 4, 5], vec![1, 2, 4, 5]]);
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let home = delivered();
    let replay = |sink: &str| home.run(&["dlq", "replay", "orders.yaml", "--sink", sink]);
    replay("source").expect(2).one_error("E-ARG-01", "never were messages");
    replay("amount").expect(2).one_error("E-ARG-01", "no sink `amount`");
    replay("ids").expect(2).one_error("E-ARG-01", "no dead letters of orders/ids");
    home.run(&["dlq", "replay", "orders.jsonl", "--sink", "ids"]).expect(2);
    let explained = home.run(&["explain", "E-DLQ-01"]).expect(0).out;
    assert!(explained.contains("cannot be replayed"), "{explained}");
}
