use serde_json::Value;

use crate::rig::{Home, Started, serve};

fn server(home: &Home) -> (Started, String) {
    let (server, listening) = serve(home, &[]);
    (server, listening["namesrv"].as_str().unwrap().to_owned())
}

fn bench(home: &Home, namesrv: &str, args: &str) -> Value {
    let args: Vec<&str> = args.split(' ').collect();
    let rest = ["--namesrv", namesrv, "--queues", "3", "--json"];
    let answer = home.run(&[&["bench"], &args[..], &rest].concat()).expect(0).json();
    answer["result"].clone()
}

#[test]
fn what_was_sent_is_stored_and_can_be_pulled() {
    let home = Home::new();
    let (server, namesrv) = server(&home);
    let pid = server.pid();
    let mut stored = 0;
    for mode in ["--mode sync", "--mode async --window 4", "--mode one-way", "--batch 5"] {
        let args = format!(
            "produce {mode} --producers 2 --size 10 --seconds 0.2 --warm-up 0 --target-pid {pid}"
        );
        let sent = bench(&home, &namesrv, &args);
        let messages = sent["messages"].as_u64().unwrap();
        assert!(messages > 0, "{mode}: {sent}");
        // What was in flight at the end may be stored or not.
        assert!(mode.contains("one-way") || sent["stored"].as_u64().unwrap() >= messages, "{sent}");
        assert!(sent["used"]["target_rss_anon_bytes"].as_u64().unwrap() > 0, "{sent}");
        assert!(sent["per_cpu_second"].is_number(), "{sent}");
        stored += sent["stored"].as_u64().unwrap();
    }
    let pulled = bench(&home, &namesrv, "consume --consumers 2 --until-end");
    assert!(pulled["messages"].as_u64().unwrap() >= stored, "{pulled} {stored}");
}

#[test]
fn every_message_that_was_due_is_delivered() {
    let home = Home::new();
    let (_server, namesrv) = server(&home);
    let args = "latency --rate 500 --producers 2 --seconds 0.4 --warm-up 0.1";
    let found = bench(&home, &namesrv, args);
    assert_eq!((found["due"].as_u64(), found["missing"].as_u64()), (Some(200), Some(0)));
    for what in ["acknowledged", "delivered"] {
        let [p50, max] = ["p50_ms", "max_ms"].map(|name| found[what][name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= max, "{found}");
    }
}

#[test]
fn a_broker_that_is_not_there_is_one_clear_line() {
    let home = Home::new();
    let nowhere = "127.0.0.1:1";
    let ran = home.run(&["bench", "produce", "--namesrv", nowhere]).expect(3);
    ran.one_error("E-NET-01", nowhere);
    let ran = home.run(&["bench", "produce", "--namesrv", "nonsense"]).expect(2);
    ran.one_error("E-ARG-01", "nonsense");
    let (_server, namesrv) = server(&home);
    let args = ["bench", "produce", "--namesrv", &namesrv, "--target-pid", "4194305"];
    home.run(&args).expect(2).one_error("E-ARG-01", "4194305");
}
