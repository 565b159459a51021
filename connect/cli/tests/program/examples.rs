//! The pipelines that are there to be copied, with data: what goes in is what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

use crate::rig::{Home, files, parquet_files, wait_for};

/// A directory with all examples, and with the modules that they use.
fn home() -> Home {
    let home = Home::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::create_dir(home.path("pipelines")).unwrap();
    for entry in fs::read_dir(root.join("pipelines")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::copy(&path, home.path("pipelines").join(name)).unwrap();
    }
    let mask = "wasm-filters/examples/mask";
    fs::create_dir_all(home.path(mask)).unwrap();
    fs::copy(root.join(mask).join("mask.wasm"), home.path(mask).join("mask.wasm")).unwrap();
    home
}

/// Runs an example to its end, and insists that its sink accounts for every record: what came in
/// and what steps made of it is visible, filtered out or a dead letter. Returns what it says of the
/// sink.
#[track_caller]
fn run(home: &Home, name: &str, sink: &str) -> Value {
    let file = format!("pipelines/{name}.yaml");
    let ran = home.run(&["run", &file, "--once", "--json"]).expect(0).json();
    account(&ran["result"], sink)
}

#[track_caller]
fn account(result: &Value, sink: &str) -> Value {
    assert_eq!(result["balanced"], true, "{result}");
    let told = result["sinks"][sink].clone();
    let number = |name: &str| told[name].as_u64().unwrap();
    let sum = |name: &str| -> u64 {
        told[name].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum()
    };
    let out = number("visible_rows") + sum("filtered") + sum("dead_lettered");
    assert_eq!(number("read") + number("made"), out, "{told}");
    told
}

/// The rows of Parquet files as JSON.
fn parquet_rows(dir: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for file in parquet_files(dir) {
        let reader = SerializedFileReader::new(fs::File::open(file).unwrap()).unwrap();
        rows.extend(reader.get_row_iter(None).unwrap().map(|row| json_row(&row.unwrap())));
    }
    rows
}

fn json_row(row: &Row) -> Value {
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Long(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Str(value) => json!(value),
        other => json!(other.to_string()),
    };
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}

fn json_rows(dir: &Path) -> Vec<Value> {
    let text = files(dir, ".jsonl").into_iter().map(|file| fs::read_to_string(file).unwrap());
    let text: String = text.collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn lines(values: impl IntoIterator<Item = Value>) -> String {
    values.into_iter().map(|value| format!("{value}\n")).collect()
}

#[test]
fn of_all_orders_one_is_a_letter() {
    let home = home();
    let ran = home.run(&["run", "pipelines/orders.yaml", "--json"]).expect(0).json();
    let told = account(&ran["result"], "lake");
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(9_999), &json!(9_999)));
    let source = &ran["result"]["source"];
    assert_eq!((&source["read"], &source["appended"]), (&json!(10_000), &json!(9_999)));
    assert_eq!(source["dead_lettered"], json!({"E-DECODE-01": 1}));
}

#[test]
fn each_item_of_each_basket_is_a_masked_row_or_a_letter() {
    let home = home();
    let mut baskets = Vec::new();
    let (mut items, mut bad, mut empty) = (BTreeSet::new(), 0, 0);
    for id in 0..200 {
        let list: Vec<Value> = (0..id % 7)
            .map(|number| match (id + number) % 50 {
                0 => {
                    bad += 1;
                    json!("no item")
                }
                _ => {
                    items.insert((id, number, format!("S-{id}-{number}")));
                    json!({"sku": format!("S-{id}-{number}"), "count": 2, "price": 1.5})
                }
            })
            .collect();
        empty += u64::from(list.is_empty());
        let mail = format!("c{id}@example.org");
        baskets.push(json!({"id": id, "customer": {"mail": mail}, "items": list}));
    }
    let text = lines(baskets);
    home.write("baskets.jsonl", &text);
    let told = run(&home, "baskets", "items");
    assert_eq!(told["read"], 200);
    assert_eq!(told["filtered"], json!({"steps[1] split empty": empty}));
    assert_eq!(told["dead_lettered"], json!({"E-SPLIT-03": bad}));
    let rows = parquet_rows(&home.path("lake/basket-items"));
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            assert_eq!((&row["mail"], &row["total"]), (&json!("***"), &json!(3.0)), "{row}");
            let (basket, item) = (row["basket"].as_i64().unwrap(), row["item"].as_i64().unwrap());
            (basket, item, row["sku"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(found.len(), items.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), items);

    // Each letter has the basket as it came, and says which item it is; a replay tries that alone.
    let letters = ["dlq", "show", "baskets/items", "--json"];
    let letters = home.run(&letters).expect(0).out;
    let letters: Vec<Value> = letters
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|letter: &Value| letter["code"] == "E-SPLIT-03")
        .collect();
    assert_eq!(letters.len() as u64, bad);
    for letter in &letters {
        let body = letter["body"].as_str().unwrap();
        assert!(text.lines().any(|line| line == body), "{body}");
        let body: Value = serde_json::from_str(body).unwrap();
        let index = letter["index"].as_u64().unwrap() as usize;
        assert_eq!(body["items"][index], "no item", "{letter}");
    }
    let mended = fs::read_to_string(home.path("pipelines/baskets.yaml")).unwrap();
    let mended = mended.replace("      keep: {", "      as: sku\n      keep: {");
    home.write("mended.yaml", &mended);
    let replayed = ["dlq", "replay", "mended.yaml", "--sink", "items", "--json"];
    let replayed = home.run(&replayed).expect(0).json();
    assert_eq!(
        (&replayed["result"]["tried"], &replayed["result"]["rows"]),
        (&json!(bad), &json!(bad))
    );
    let rows = parquet_rows(&home.path("lake/basket-items"));
    assert_eq!(rows.iter().filter(|row| row["sku"] == "no item").count() as u64, bad);
    assert_eq!(rows.len() as u64, items.len() as u64 + bad);
    let again = ["dlq", "replay", "mended.yaml", "--sink", "items", "--json"];
    assert_eq!(home.run(&again).expect(0).json()["result"]["tried"], 0);
}

#[test]
fn each_flight_is_there_once_also_after_a_restart() {
    let home = home();
    let flight = |number: u64| {
        let origin = ["DTW", "HNL", "SFO"][number as usize % 3];
        let (day, minute) = (1 + number / 60 % 28, number % 60);
        let date = format!("2001/01/{day:02} 10:{minute:02}");
        json!({"date": date, "delay": number % 200, "distance": 5, "origin": origin, "destination": "LAS"})
    };
    // Each comes three times, the last time in a file that is only read by the next run.
    let twice = (0..300).chain(0..300).map(flight);
    home.write("flights.jsonl", &lines(twice));
    let told = run(&home, "flights-once", "flights");
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(600), &json!(300)));
    assert_eq!(told["filtered"], json!({"steps[0] dedupe duplicate": 300}));
    let mut log = OpenOptions::new().append(true).open(home.path("flights.jsonl")).unwrap();
    log.write_all(lines((0..310).map(flight)).as_bytes()).unwrap();
    let told = run(&home, "flights-once", "flights");
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(310), &json!(10)));
    let rows = parquet_rows(&home.path("lake/flights-once"));
    let distinct: BTreeSet<String> =
        rows.iter().map(|row| format!("{} {}", row["origin"], row["date"])).collect();
    assert_eq!((rows.len(), distinct.len()), (310, 310));

    let told = run(&home, "flights", "late");
    let late = (0..300).chain(0..300).chain(0..310).filter(|number| number % 200 > 60).count();
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(910), &json!(late)));
}

#[test]
fn each_line_of_a_directory_of_csv_is_a_row_or_a_letter() {
    const COLUMNS: [&str; 5] = ["order", "placed_at", "customer", "amount", "paid"];
    let home = home();
    let cell = |order: u64, column: &str| match column {
        "order" => order.to_string(),
        "placed_at" => {
            format!("2026-01-{:02}T10:{:02}:{:02}Z", 1 + order % 3, order / 60 % 60, order % 60)
        }
        "customer" if order.is_multiple_of(5) => String::new(),
        "customer" => format!("\"n{order}, \"\"the\"\" customer\""),
        "amount" if order.is_multiple_of(40) => "a lot".to_owned(),
        "amount" => format!("{order}.5"),
        "paid" => order.is_multiple_of(2).to_string(),
        _ => "\"passed, over\"".to_owned(),
    };
    let file = |columns: &[&str], orders: std::ops::Range<u64>| {
        let lines = orders.map(|order| columns.iter().map(|column| cell(order, column)).collect());
        let head = columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
        let lines = std::iter::once(head).chain(lines);
        lines.map(|cells: Vec<_>| cells.join(",") + "\n").collect::<String>()
    };
    fs::create_dir(home.path("csv")).unwrap();
    let first = home.write("csv/a.csv", &file(&COLUMNS, 0..300));
    let mut turned = COLUMNS;
    turned.reverse();
    home.write("csv/b.csv", &file(&turned, 300..600));
    home.write(
        "csv/c.csv",
        &file(&["more", "amount", "order", "paid", "customer", "placed_at"], 600..900),
    );
    home.write("csv/d.csv", &file(&["order", "placed_at", "customer", "paid"], 900..910));
    home.write("csv/notes.txt", "no CSV\n");
    let told = run(&home, "csv-directory", "orders");
    let bad = (0..900).filter(|order| order % 40 == 0).count();
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(910), &json!(900 - bad)));
    assert_eq!(told["dead_lettered"], json!({"E-DECODE-03": bad, "E-DECODE-10": 10}));

    // More of a file, and another file: the header of the first is still that of its new lines.
    let mut more = OpenOptions::new().append(true).open(first).unwrap();
    let text = file(&COLUMNS, 910..930);
    more.write_all(text.split_once('\n').unwrap().1.as_bytes()).unwrap();
    home.write("csv/e.csv", &file(&turned, 930..950));
    let told = run(&home, "csv-directory", "orders");
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(40), &json!(39)));

    // A letter says the line as editors count it, and has the header that it was read with.
    let letters = ["dlq", "show", "csv-directory/orders", "--json"];
    let letters = home.run(&letters).expect(0).out;
    let letters: Vec<Value> =
        letters.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let letter = letters.iter().find(|letter| letter["code"] == "E-DECODE-10").unwrap();
    assert_eq!(letter["field"], "amount", "{letter}");
    assert_eq!(letter["properties"]["file.header"], "order,placed_at,customer,paid", "{letter}");
    assert!(letter["properties"]["file.path"].as_str().unwrap().ends_with("csv/d.csv"), "{letter}");
    let text = fs::read_to_string(home.path("csv/d.csv")).unwrap();
    let line: usize = letter["properties"]["file.line"].as_str().unwrap().parse().unwrap();
    assert_eq!(text.lines().nth(line), letter["body"].as_str(), "{letter}");

    // With another order of the columns in `schema`, letters are still read by their headers.
    let mended = fs::read_to_string(home.path("pipelines/csv-directory.yaml")).unwrap();
    let schema = "  amount: double\n  paid: bool\n";
    assert!(mended.contains(schema));
    let mended = mended.replace(schema, "").replace("schema:\n", "schema:\n  paid: bool\n");
    home.write("mended.yaml", mended.split("\ntests:").next().unwrap());
    let replayed = ["dlq", "replay", "mended.yaml", "--sink", "orders", "--json"];
    let replayed = home.run(&replayed).expect(0).json();
    assert_eq!(replayed["result"]["rows"], json!(bad + 1 + 10), "{replayed}");

    let rows = parquet_rows(&home.path("lake/csv-orders"));
    let mut found = BTreeSet::new();
    for row in &rows {
        let order = row["order"].as_u64().unwrap();
        assert!(found.insert(order), "twice: {row}");
        let customer = match order % 5 {
            0 => Value::Null,
            _ => json!(format!("n{order}, \"the\" customer")),
        };
        assert_eq!(row["customer"], customer, "{row}");
        assert_eq!(row["paid"], json!((order % 2 == 0).to_string()), "{row}");
        let lacks_amount = order % 40 == 0 || (900..910).contains(&order);
        let amount = if lacks_amount { Value::Null } else { json!(order as f64 + 0.5) };
        assert_eq!(row.get("amount").unwrap_or(&Value::Null), &amount, "{row}");
    }
    assert_eq!(found, (0..950).collect());
}

#[test]
fn a_log_that_rotates_is_followed_line_by_line() {
    let home = home();
    let text = fs::read_to_string(home.path("pipelines/service-log.yaml")).unwrap();
    let text = text.replace("{every: 1m, idle: 10s}", "{idle: 100ms}");
    home.write(
        "service-log.yaml",
        &text.replace("    decode: {json: {}}", "    decode: {json: {}}\n    scan_every: 20ms"),
    );
    let line = |number: u64| {
        let level = if number.is_multiple_of(3) { "error" } else { "info" };
        let ts = format!("2026-01-02T03:{:02}:{:02}Z", number / 60 % 60, number % 60);
        json!({"ts": ts, "level": level, "msg": format!("n{number}"), "http": {"status": 200}})
    };
    let log = home.write("service.log", &lines((0..90).map(line)));
    let running = home.start(&["run", "service-log.yaml", "--json"]);
    let visible = || json_rows(&home.path("lake/service-errors")).len();
    wait_for("the errors of the first log", || visible() == 30);
    let mut first = OpenOptions::new().append(true).open(&log).unwrap();
    first.write_all(lines((90..120).map(line)).as_bytes()).unwrap();
    fs::rename(&log, home.path("service.log.1")).unwrap();
    // Whoever writes it does so for a while after that.
    first.write_all(lines((120..150).map(line)).as_bytes()).unwrap();
    home.write("service.log", &format!("{}no JSON\n", lines((150..210).map(line))));
    wait_for("the errors of both logs", || visible() == 70);
    running.signal("TERM");
    let ran = running.ended().expect(0).json();
    let told = account(&ran["result"], "errors");
    assert_eq!((&told["read"], &told["visible_rows"]), (&json!(211), &json!(70)));
    assert_eq!(told["dead_lettered"], json!({"E-DECODE-01": 1}));
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in json_rows(&home.path("lake/service-errors")) {
        *counts.entry(row["msg"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let expected =
        (0..210).filter(|number| number % 3 == 0).map(|number| (format!("n{number}"), 1));
    assert_eq!(counts, expected.collect());
}
