use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::Home;

/// Copies the captured directory of Apache RocketMQ.
fn apache(home: &Home) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../broker/store/fixtures/apache");
    let to = home.path("apache");
    fs::create_dir_all(to.join("commitlog")).unwrap();
    for name in ["checkpoint", "commitlog/00000000000000000000", "commitlog/00000000000000004096"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

fn lines(home: &Home, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.path(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_directory_of_apache_rocketmq_is_read_and_salvaged() {
    let home = Home::new();
    apache(&home);
    let told =
        home.run(&["inspect", "apache", "--json", "--salvage", "all.jsonl"]).expect(0).json();
    let result = &told["result"];
    assert_eq!(result["written_by"], "Apache RocketMQ");
    assert_eq!(result["topics"]["orders"]["messages"], 14);
    assert_eq!(result["verified_by_body_only"], result["salvaged"]);
    let all = lines(&home, "all.jsonl");
    assert_eq!(result["salvaged"], all.len());
    let order = all.iter().find(|line| line["body"] == "order 5").unwrap();
    assert_eq!((&order["topic"], &order["verified"]), (&"orders".into(), &"body".into()));
    assert_eq!(
        (&order["queue_offset"], &order["properties"]["KEYS"]),
        (&5.into(), &"key-5".into())
    );

    let text = home.run(&["inspect", "apache"]).expect(0).out;
    assert!(text.contains("by their body only") && text.contains("Apache RocketMQ"), "{text}");
    // What is there is never overwritten.
    home.run(&["inspect", "apache", "--salvage", "all.jsonl"]).expect(3);
    assert_eq!(lines(&home, "all.jsonl"), all);
}

#[test]
fn what_lies_behind_damage_is_salvaged() {
    let home = Home::new();
    apache(&home);
    let path = home.path("apache/commitlog/00000000000000000000");
    let mut bytes = fs::read(&path).unwrap();
    let body = bytes.windows(7).position(|window| window == b"order 3").unwrap();
    bytes[body] ^= 1;
    fs::write(&path, bytes).unwrap();
    let args = ["inspect", "apache", "--topic", "orders", "--json", "--salvage", "left.jsonl"];
    let told = home.run(&args).expect(4).json();
    assert_eq!(told["result"]["damage"].as_array().unwrap().len(), 1);
    let offsets: Vec<u64> = lines(&home, "left.jsonl")
        .iter()
        .map(|line| line["queue_offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
}

#[test]
fn a_server_leaves_a_directory_of_apache_rocketmq_alone() {
    let home = Home::new();
    apache(&home);
    let before = fs::read(home.path("apache/commitlog/00000000000000004096")).unwrap();
    let ports = ["--listen", "127.0.0.1:0", "--namesrv-listen", "127.0.0.1:0"];
    let ran = home.run(&[&["server", "--data-dir", "apache"], &ports[..]].concat()).expect(3);
    assert!(ran.err.contains("Millrace did not write"), "{}", ran.err);
    assert!(fs::read(home.path("apache/commitlog/00000000000000004096")).unwrap() == before);
}
