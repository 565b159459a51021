use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::rig::{Home, wait_for};

/// A server that has each request once, by its key, and answers it as it did before.
#[derive(Clone)]
struct Server {
    address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// Bodies by key, in the order of their arrival.
    requests: Vec<(String, String)>,
    /// What it took: paths and rows, each request once.
    taken: Vec<(String, Value)>,
    /// From this number of requests on it takes them and does not answer.
    silent_from: Option<usize>,
    /// Rows of which it refuses those whose id is a multiple.
    refuses: Option<i64>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, seen: Arc::default() };
        let serving = server.clone();
        // It ends with the test, as it has nothing to clean up.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((path, headers)) = head(&mut reader) {
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let body = String::from_utf8(body).unwrap();
            let Some(answer) = self.take(&path, &headers, body) else {
                // Until whoever asked is gone.
                let _ = reader.read(&mut [0]);
                return;
            };
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn take(&self, path: &str, headers: &BTreeMap<String, String>, body: String) -> Option<String> {
        let mut seen = self.seen.lock().unwrap();
        let key = &headers["idempotency-key"];
        let rows: Vec<Value> = serde_json::from_str(&body).unwrap();
        let refuses =
            |row: &Value| seen.refuses.is_some_and(|of| row["id"].as_i64().unwrap() % of == 0);
        let failed: Vec<usize> = (0..rows.len()).filter(|at| refuses(&rows[*at])).collect();
        if !seen.requests.iter().any(|(known, _)| known == key) {
            let taken = rows.into_iter().enumerate().filter(|(at, _)| !failed.contains(at));
            let taken: Vec<_> = taken.map(|(_, row)| (path.to_owned(), row)).collect();
            seen.taken.extend(taken);
        }
        seen.requests.push((key.clone(), body));
        let failed = failed.into_iter().map(|at| json!({"item": at, "error": "a multiple"}));
        let answer = json!({ "failed": failed.collect::<Vec<_>>() });
        let is_silent = seen.silent_from.is_some_and(|from| seen.requests.len() >= from);
        (!is_silent).then(|| answer.to_string())
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().requests.len()
    }
}

/// The path and the headers of the next request.
fn head(reader: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let path = lines[0].split(' ').nth(1)?.to_owned();
    let headers = lines[1..].iter().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    });
    Some((path, headers.collect()))
}

fn pipeline(server: &Server, count: u32) -> String {
    format!(
        "version: 1
pipeline: hooks
source: {{generate: {{count: {count}, fields: {{id: {{sequence: {{}}}}, region: {{choice: [eu, us]}}}}}}}}
topic: {{name: hooks, queues: 2}}
schema: {{id: int, region: string}}
sinks:
  hook:
    http:
      url: \"http://{}/in/{{region}}\"
      body: json_array
      columns: [id]
      batch: {{rows: 150}}
      answer: items
",
        server.address
    )
}

#[test]
fn a_killed_run_sends_the_same_again_under_the_same_key() {
    let home = Home::new();
    let server = Server::start();
    home.write("hooks.yaml", &pipeline(&server, 2000));
    // Each is killed while it waits for the answer to a request that the server has taken.
    for kill in 0..4 {
        let before = server.requests();
        server.seen.lock().unwrap().silent_from = Some(before + 1 + kill);
        let run = home.start(&["run", "hooks.yaml"]);
        wait_for("a request", || server.requests() > before + kill);
        run.signal("KILL");
        drop(run);
    }
    server.seen.lock().unwrap().silent_from = None;
    let ran = home.run(&["run", "hooks.yaml", "--json"]).expect(0).json();
    assert_eq!(ran["result"]["balanced"], true);
    let seen = server.seen.lock().unwrap();
    let mut ids: Vec<i64> = seen.taken.iter().map(|(_, row)| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=2000).collect::<Vec<_>>(), "each once");
    let mut bodies: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    seen.requests.iter().for_each(|(key, body)| bodies.entry(key).or_default().push(body));
    let again = bodies.values().filter(|bodies| bodies.len() > 1).count();
    assert!(again > 0, "nothing came twice, so nothing was tried");
    for (key, bodies) in bodies {
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{key} is of two requests");
    }
}

#[test]
fn items_that_a_server_refuses_are_letters_and_can_be_replayed() {
    let home = Home::new();
    let server = Server::start();
    home.write("hooks.yaml", &pipeline(&server, 400));
    server.seen.lock().unwrap().refuses = Some(50);
    let ran = home.run(&["run", "hooks.yaml"]).expect(0);
    assert!(ran.out.contains("wrote 392 rows, 8 dead letters (E-HTTP-02)"), "{}", ran.out);
    assert!(ran.out.contains(" bulks ("), "{}", ran.out);
    let shown = home.run(&["dlq", "show", "hooks/hook"]).expect(0).out;
    assert!(shown.contains("the server answered 400 for it: a multiple"), "{shown}");
    // They are refused again, and stay open.
    home.run(&["dlq", "replay", "hooks.yaml", "--sink", "hook"]).expect(4);
    {
        // It is mended, and has forgotten which keys it refused.
        let mut seen = server.seen.lock().unwrap();
        seen.refuses = None;
        seen.requests.clear();
    }
    let replayed = home.run(&["dlq", "replay", "hooks.yaml", "--sink", "hook"]).expect(0);
    assert!(replayed.out.contains("8 dead letters gave 8 rows; 1 bulk ("), "{}", replayed.out);
    let mut ids: Vec<i64> = {
        let seen = server.seen.lock().unwrap();
        seen.taken.iter().map(|(_, row)| row["id"].as_i64().unwrap()).collect()
    };
    ids.sort_unstable();
    assert_eq!(ids, (1..=400).collect::<Vec<_>>());
    let again = home.run(&["dlq", "replay", "hooks.yaml", "--sink", "hook"]).expect(0);
    assert!(again.out.contains("0 dead letters gave 0 rows"), "{}", again.out);
}

#[test]
fn a_server_that_is_away_is_waited_for_and_told_at_the_end() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let away = Server { address, seen: Arc::default() };
    let text = pipeline(&away, 10).replace("/in/{region}", "/in?token=geheimnis");
    home.write("hooks.yaml", &text);
    let run = home.start(&["run", "hooks.yaml"]);
    wait_for("it to be told", || run.said().contains("failed, will try again"));
    run.signal("TERM");
    let ran = run.ended().expect(3);
    assert!(ran.err.contains("error[E-NET-04]: sink `hook`: http://"), "{}", ran.err);
    assert!(!ran.err.contains("geheimnis"), "{}", ran.err);
    // The limit of time makes letters of them.
    let text =
        text.replace("    http:\n", "    on_error: {retry: {max_elapsed: 50ms}}\n    http:\n");
    home.write("hooks.yaml", &text);
    let ran = home.run(&["run", "hooks.yaml"]).expect(0);
    assert!(ran.out.contains("10 dead letters (E-SINK-01)"), "{}", ran.out);
}
