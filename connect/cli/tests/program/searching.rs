use std::fs::OpenOptions;
use std::path::PathBuf;

use crate::rig::{Home, Ran, files};

/// Orders in an index, of which one has an amount that is no number.
const ORDERS_YAML: &str = "\
version: 1
pipeline: orders
source:
  file: {include: [orders.jsonl], once: true, decode: {json: {}}}
topic: {name: orders, queues: 2, key: body.id}
schema: {id: int, amount: int, region: string, note: string, at: timestamp}
sinks:
  search:
    index:
      to: lake/index
      mapping: {id: number, amount: number, region: keyword, note: text, at: timestamp}
";
const ORDERS: &str = r#"{"id":1,"amount":10,"region":"eu","note":"A brown fox","at":"2026-01-02T03:00:00Z"}
{"id":2,"amount":20,"region":"us","note":"a Fox and a dog","at":"2026-01-02T03:59:59.5Z"}
{"id":3,"amount":"x","region":"eu","note":"fox","at":"2026-01-02T04:00:00Z"}
{"id":4,"amount":40,"region":"eu","note":"a dog","at":"2026-01-02T04:00:00Z"}
"#;

fn indexed() -> Home {
    let home = Home::new();
    home.write("orders.yaml", ORDERS_YAML);
    home.write("orders.jsonl", ORDERS);
    home.run(&["run", "orders.yaml"]).expect(0);
    home
}

fn search(home: &Home, arguments: &[&str]) -> Ran {
    home.run(&[&["search", "lake/index"], arguments].concat())
}

/// The ids of the documents that are found, in order.
#[track_caller]
fn ids(home: &Home, arguments: &[&str]) -> Vec<i64> {
    let found = search(home, &[arguments, &["--json", "--sort", "id"]].concat()).expect(0).json();
    let hits = found["result"]["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["document"]["id"].as_i64().unwrap()).collect()
}

fn parts(home: &Home) -> Vec<PathBuf> {
    files(&home.path("lake/index"), ".part")
}

#[test]
fn an_index_is_searched_sorted_and_counted() {
    let home = indexed();
    assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
    assert_eq!(ids(&home, &["fox"]), [1, 2]);
    assert_eq!(ids(&home, &["region:eu -fox"]), [4]);
    assert_eq!(ids(&home, &["amount:>=20"]), [2, 4]);
    let hour = ["--from", "2026-01-02T03:00:00Z", "--to", "2026-01-02T04:00:00Z"];
    assert_eq!(ids(&home, &[&["*"], &hour[..]].concat()), [1, 2]);
    assert_eq!(search(&home, &["dog", "--count"]).expect(0).out, "2\n");
    let counted = search(&home, &["*", "--count-by", "region"]).expect(0).out;
    assert_eq!(counted, "region  documents\neu              2\nus              1\n");
    let first = ["*", "--count-by", "region", "--limit", "1"];
    let counted = search(&home, &first).expect(0).out;
    let told = "region  documents\neu              2\n1 value more with a greater --limit\n";
    assert_eq!(counted, told);
    let json = search(&home, &[&first[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(json["result"]["counts"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["result"]["values"], 2, "{json}");
    let text = search(&home, &["fox", "--sort", "at:desc", "--limit", "1"]).expect(0).out;
    assert!(text.contains("  note    a Fox and a dog\n"), "{text}");
    assert!(text.contains("  at      2026-01-02T03:59:59.500000Z\n"), "{text}");
    assert!(text.ends_with("2 of 3 documents match; 1 more with a greater --limit\n"), "{text}");
    let json = search(&home, &["id:4", "--json"]).expect(0).json();
    let hit = &json["result"]["hits"][0];
    assert_eq!(hit["document"]["region"], "eu");
    assert!(hit["queue"].as_str().unwrap().ends_with("/orders/0") || hit["offset"].is_u64());
}

#[test]
fn a_wrong_question_names_its_place() {
    let home = indexed();
    let wrong = |query: &str, part: &str| {
        search(&home, &[query]).expect(2).one_error("E-QUERY-01", part);
    };
    wrong("fox regoin:eu", "the query, column 5, `regoin`: no field is called `regoin`");
    wrong("amount:ten", "column 8, `ten`: `amount` is a whole number");
    wrong("fox AND (dog", "this is no query");
    wrong("note:bro*", "column 6, `bro*`: `*` does not stand for the rest of a word");
    assert_eq!(ids(&home, &["note:[bro TO brp}"]), [1]);
    let ran = search(&home, &["*", "--sort", "note"]).expect(2);
    ran.one_error("E-QUERY-01", "cannot sort by `note`, which is of kind `text`");
    search(&home, &["*", "--from", "yesterday"]).expect(2);
    wrong("", "the query is empty");
    wrong("fox && !dog || not", "column 16, `not`: `not` is no operator here");
    wrong("region:e?", "column 8, `e?`: `*` and `?` do not stand for other characters");
    // Both were the end of the process.
    wrong(&format!("'\"' {}", "(".repeat(20_000)), "more than 100 brackets within each other");
    assert_eq!(ids(&home, &[&format!("* {}fox", "NOT ".repeat(5_001))]), [4]);
    home.run(&["search", "lake/nothing", "*"]).expect(2).one_error("E-FILE-01", "lake/nothing");
    // Neither the directory around the index nor one of another kind, with or without files.
    std::fs::create_dir(home.path("empty")).unwrap();
    for dir in ["lake", "millrace-data", "empty"] {
        let ran = home.run(&["search", dir, "*"]).expect(2);
        ran.one_error("E-FILE-01", &format!("{dir} is no search index"));
        assert!(ran.err.contains("hint: name the directory that an `index` sink"), "{}", ran.err);
    }
}

#[test]
fn and_or_and_not_mean_what_they_say() {
    let home = indexed();
    assert_eq!(ids(&home, &["fox AND NOT region:us"]), [1]);
    assert_eq!(ids(&home, &["* AND NOT region:us"]), [1, 4]);
    assert_eq!(ids(&home, &["NOT region:us AND dog"]), [4]);
    assert_eq!(ids(&home, &["amount:20 OR NOT fox"]), [2, 4]);
    assert_eq!(ids(&home, &["amount:10 OR dog region:eu"]), [1, 4]);
    assert_eq!(ids(&home, &["dog || fox && !region:us"]), [1, 2, 4]);
    assert_eq!(ids(&home, &["at:\"2026-01-02T03:59:59.5Z\""]), [2]);
    assert!(ids(&home, &["at:\"2026-01-02T03:59:59Z\""]).is_empty());
}

#[test]
fn what_writes_an_index_again_is_told_where_it_is_looked_for() {
    let home = indexed();
    for arguments in [&["--rebuild"][..], &["*", "--rebuild", "search"]] {
        let ran = search(&home, arguments).expect(2);
        assert!(ran.err.contains("`millrace run FILE --rebuild SINK`"), "{}", ran.err);
    }
}

#[test]
fn an_index_without_documents_is_one() {
    let home = Home::new();
    home.write("orders.yaml", ORDERS_YAML);
    home.write("orders.jsonl", "");
    home.run(&["run", "orders.yaml"]).expect(0);
    assert_eq!(search(&home, &["*"]).expect(0).out, "0 of 0 documents match\n");
}

#[test]
fn a_document_is_found_by_the_offset_of_its_message() {
    let home = indexed();
    let all = search(&home, &["*", "--json"]).expect(0).json();
    for hit in all["result"]["hits"].as_array().unwrap() {
        let queue = hit["queue"].as_str().unwrap();
        let query = format!("_queue:\"{queue}\" _offset:{}", hit["offset"]);
        assert_eq!(ids(&home, &[&query]), [hit["document"]["id"].as_i64().unwrap()], "{query}");
    }
}

#[test]
fn a_replayed_letter_is_a_document_like_the_others() {
    let home = indexed();
    home.write(
        "orders.yaml",
        &ORDERS_YAML
            .replace("amount: int", "amount: string")
            .replace("amount: number,", "amount: keyword,"),
    );
    // Another kind of field cannot go into the same index.
    let ran = home.run(&["dlq", "replay", "orders.yaml", "--sink", "search"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("E-INDEX-03") && ran.err.contains("`amount`"), "{}", ran.err);

    let mended = "steps: [set: {sum: body.amount}]\nsinks:\n  search:\n    where: body.id > 0\n";
    let mended = ORDERS_YAML.replace("sinks:\n  search:\n", mended);
    home.write(
        "orders.yaml",
        &mended
            .replace("schema: {id: int, amount: int,", "schema: {id: int,")
            .replace("body.amount", "0")
            .replace("set: {sum: 0}", "set: {amount: 0}"),
    );
    home.run(&["dlq", "replay", "orders.yaml", "--sink", "search"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [1, 2, 3, 4]);
    home.run(&["dlq", "replay", "orders.yaml", "--sink", "search"]).expect(0);
    assert_eq!(ids(&home, &["fox"]), [1, 2, 3]);
    // All of them come back, the replayed one as well.
    home.run(&["run", "orders.yaml", "--rebuild", "search"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [1, 2, 3, 4]);
}

#[test]
fn a_damaged_index_is_written_again() {
    let home = indexed();
    let part = &parts(&home)[0];
    let file = OpenOptions::new().write(true).open(part).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    search(&home, &["*"]).expect(1).one_error("E-INDEX-02", "is damaged");
    let ran = home.run(&["run", "orders.yaml"]).expect(1);
    assert!(ran.err.contains("error[E-INDEX-02]: sink `search`: the part"), "{}", ran.err);
    assert!(ran.err.contains("--rebuild"), "{}", ran.err);
    home.run(&["run", "orders.yaml", "--rebuild", "lake"]).expect(2);
    home.run(&["run", "orders.yaml", "--rebuild", "search"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
    assert!(!parts(&home).contains(part) || parts(&home).len() == 1);
    // The letter of before is still the only one of its message.
    let list = home.run(&["dlq", "list", "--json"]).expect(0).json();
    assert_eq!(list["result"]["letters"], 1, "{list}");
    home.run(&["run", "orders.yaml"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
}

#[test]
fn after_the_loss_of_a_data_directory_nothing_is_replaced_in_silence() {
    let home = indexed();
    std::fs::remove_dir_all(home.path("millrace-data")).unwrap();
    home.write("orders.jsonl", &ORDERS.replace(r#""id":"#, r#""id":1"#));
    for _ in 0..2 {
        let ran = home.run(&["run", "orders.yaml"]).expect(1);
        assert!(ran.err.contains("error[E-INDEX-05]: sink `search`: "), "{}", ran.err);
        assert!(ran.err.contains("--rebuild SINK`; or keep it"), "{}", ran.err);
        assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
    }
    // One way out is another directory,
    home.write("elsewhere.yaml", &ORDERS_YAML.replace("lake/index", "lake/new"));
    home.run(&["run", "elsewhere.yaml"]).expect(0);
    let new = home.run(&["search", "lake/new", "*", "--count"]).expect(0);
    assert_eq!(new.out, "3\n");
    // and another one the topic, which the ledger has been through meanwhile.
    home.run(&["run", "orders.yaml", "--rebuild", "search"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [11, 12, 14]);
    home.run(&["run", "orders.yaml"]).expect(0);
    assert_eq!(search(&home, &["*", "--count"]).expect(0).out, "3\n");
}

#[test]
fn the_index_of_another_pipeline_is_left_alone() {
    let home = indexed();
    home.write("lake/index/foo.part", "not of an index");
    let before = files(&home.path("lake/index"), "");
    let others = ORDERS_YAML.replace("pipeline: orders", "pipeline: others");
    home.write("others.yaml", &others.replace("name: orders", "name: others"));
    for arguments in [&["run", "others.yaml"][..], &["run", "others.yaml", "--rebuild", "search"]] {
        let ran = home.run(arguments).expect(2);
        let told = "error[E-INDEX-04]: sink `search`: lake/index has the index of `orders-search`";
        assert!(ran.err.contains(told), "{}", ran.err);
        assert!(ran.err.contains("write to another directory"), "{}", ran.err);
        assert_eq!(files(&home.path("lake/index"), ""), before);
        assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
    }
    home.run(&["run", "orders.yaml", "--rebuild", "search"]).expect(0);
    assert_eq!(ids(&home, &["*"]), [1, 2, 4]);
    assert_eq!(std::fs::read(home.path("lake/index/foo.part")).unwrap(), b"not of an index");

    let twice = ORDERS_YAML.replace("sinks:\n", "sinks:\n  same: {index: {to: ./lake/index/}}\n");
    home.write("twice.yaml", &twice);
    home.run(&["validate", "twice.yaml"]).expect(2);
}
