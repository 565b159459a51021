use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use millrace_connect_api::{Outcome, SinkError};
use serde_json::{Value, json};

use super::server::{Act, Seen, Server, ok};
use super::*;
use crate::{Authorities, Client, ClientOptions};

fn client(timeout_ms: u64) -> Client {
    let timeout = Duration::from_millis(timeout_ms);
    let (max_response, tls, ca) = (1000, false, None);
    Client::new(ClientOptions { timeout, max_response, tls, ca }).unwrap()
}

/// A sink that patiently sends to a server; a request may take half a second.
fn sink(server: &Server, body: Body) -> HttpSink<Client> {
    HttpSink::new(options(vec![text(&server.url), text("/in?token=geheimnis")], body), client(500))
}

async fn send(sink: &mut HttpSink<Client>, batches: &[Batch]) -> Result<Outcome, SinkError> {
    let items = items(sink, batches);
    sink.send(&items.iter().collect::<Vec<_>>()).await
}

/// One attempt after the other until nothing is left, as the runtime makes them but without the
/// pauses; how many, and what was refused, by place among all.
async fn deliver(
    sink: &mut HttpSink<Client>,
    batches: &[Batch],
) -> Result<(usize, Vec<(usize, String)>), SinkError> {
    let items = items(sink, batches);
    let mut left: Vec<usize> = (0..items.len()).collect();
    let mut refused = Vec::new();
    for attempt in 1..50 {
        let sent: Vec<&Item> = left.iter().map(|at| &items[*at]).collect();
        let outcome = sink.send(&sent).await?;
        refused.extend(
            outcome
                .rejected
                .into_iter()
                .map(|(at, why)| (left[at], format!("{}: {}", why.code, why.error))),
        );
        left = outcome.again.into_iter().map(|at| left[at]).collect();
        if left.is_empty() {
            refused.sort();
            return Ok((attempt, refused));
        }
        assert!(outcome.reason.is_some());
    }
    panic!("50 attempts, and {left:?} are left");
}

fn keys(server: &Server) -> Vec<String> {
    server.seen().iter().map(|seen| seen.key().to_owned()).collect()
}

/// How often each message was taken, where requests of one key count once.
fn effects(server: &Server) -> BTreeMap<i64, usize> {
    let mut known = BTreeMap::new();
    for seen in server.seen() {
        known.entry(seen.key().to_owned()).or_insert(seen.body);
    }
    let mut effects = BTreeMap::new();
    for body in known.values() {
        for line in body.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            *effects.entry(row["id"].as_i64().unwrap()).or_default() += 1;
        }
    }
    effects
}

#[tokio::test]
async fn three_times_503_and_then_it_works() {
    let busy = || Act::Answer(503, "", "later".to_owned());
    let server = Server::script(&[busy(), busy(), busy(), ok()]).await;
    let (attempts, refused) =
        deliver(&mut sink(&server, Body::Lines), &[rows(0, 0, 5)]).await.unwrap();
    assert_eq!((attempts, refused), (4, Vec::new()));
    let keys = keys(&server);
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(server.seen()[0].line.starts_with("POST /in?token=geheimnis HTTP/1.1"));
    assert!(server.seen()[0].headers["user-agent"].starts_with("millrace/"));
}

#[tokio::test]
async fn a_server_that_asks_for_time_is_understood() {
    let server =
        Server::script(&[Act::Answer(429, "retry-after: 7\r\n", "slow\ndown".to_owned())]).await;
    let outcome = send(&mut sink(&server, Body::Lines), &[rows(0, 0, 2)]).await.unwrap();
    assert_eq!(outcome.again, [0, 1]);
    let reason = outcome.reason.unwrap();
    assert_eq!(reason.after, Some(Duration::from_secs(7)));
    assert_eq!(reason.source.to_string(), "the server answered 429: slow down");
}

#[tokio::test]
async fn requests_that_are_not_answered_come_again_under_their_names() {
    let script =
        [Act::CloseMidway, Act::CloseAfter, Act::CloseInAnswer, Act::Silence, Act::Drip, ok()];
    let server = Server::script(&script).await;
    let started = Instant::now();
    let rows = [rows(0, 0, 3), rows(1, 7, 2)];
    let (attempts, refused) = deliver(&mut sink(&server, Body::Lines), &rows).await.unwrap();
    assert_eq!((attempts, refused), (6, Vec::new()));
    // Two of the six took the half second that a request may take.
    assert!(started.elapsed() >= Duration::from_millis(1000), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let keys = keys(&server);
    assert_eq!(keys.len(), 5, "all but the first arrived whole");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let effects = effects(&server);
    assert_eq!(Vec::from_iter(effects), [0, 1, 2, 7, 8].map(|id| (id, 1)));
}

#[tokio::test]
async fn nobody_there_is_trouble_that_may_pass() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = options(vec![text(&host), text("/in?token=geheimnis")], Body::Single);
    let mut sink = HttpSink::new(options, client(500));
    let outcome = send(&mut sink, &[rows(0, 0, 1)]).await.unwrap();
    assert_eq!(outcome.again, [0]);
    let told = outcome.reason.unwrap().source.to_string();
    assert!(told.starts_with(&host) && told.contains("refused"), "{told}");
    assert!(!told.contains("geheimnis"), "{told}");
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_halves() {
    let limit = 60;
    let server = Server::deciding(move |seen: &Seen| {
        let length: usize = seen.headers["content-length"].parse().unwrap();
        if length > limit { Act::Answer(413, "", String::new()) } else { ok() }
    })
    .await;
    let long = "y".repeat(70);
    let names = [Some("a"), Some("b"), Some(&*long), Some("d"), Some("e"), Some("f")];
    let batches = [batch(0, 0, &names)];
    let (attempts, refused) = deliver(&mut sink(&server, Body::Lines), &batches).await.unwrap();
    assert_eq!(attempts, 1);
    let [(2, why)] = &refused[..] else { panic!("{refused:?}") };
    assert!(why.starts_with("E-HTTP-03: the server answered 413 to 88 bytes"), "{why}");
    let taken = server.seen().into_iter().filter(|seen| seen.body.len() <= limit);
    let ids: Vec<i64> = taken
        .flat_map(|seen| {
            let ids = seen
                .body
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap());
            ids.collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ids, [0, 1, 3, 4, 5], "in order, each once");
    // A worker that comes after a crash makes the same halves.
    let before = keys(&server);
    deliver(&mut sink(&server, Body::Lines), &batches).await.unwrap();
    let all = keys(&server);
    assert_eq!(all[before.len()..], before);
}

#[tokio::test]
async fn half_the_items_are_refused() {
    let server = Server::deciding(|seen: &Seen| {
        // Not the whole request is there yet; its length tells the attempts apart.
        let length: usize = seen.headers["content-length"].parse().unwrap();
        let failed = match length {
            0..40 => json!([]),
            _ => json!([
                {"item": 0, "status": 422, "error": "no\nsuch customer"},
                {"item": 2},
                {"item": 3, "status": 503, "error": "busy"},
            ]),
        };
        Act::Answer(207, "", json!({ "failed": failed }).to_string())
    })
    .await;
    let mut sink = sink(&server, Body::Array);
    sink.options_mut().answering = Answering::Items;
    let (attempts, refused) = deliver(&mut sink, &[rows(0, 0, 6)]).await.unwrap();
    assert_eq!(attempts, 2);
    let expected = [
        (0, "E-HTTP-02: the server answered 422 for it: no such customer".to_owned()),
        (2, "E-HTTP-02: the server answered 400 for it".to_owned()),
    ];
    assert_eq!(refused, expected);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].body, r#"[{"id":3,"name":"x"}]"#, "that one alone");
    assert_ne!(seen[0].key(), seen[1].key());
}

/// An answer that names items, and what is wrong with it.
async fn check_nonsense(answer: &str, part: &str) {
    let server = Server::script(&[Act::Answer(200, "", answer.to_owned())]).await;
    let mut sink = sink(&server, Body::Array);
    sink.options_mut().answering = Answering::Items;
    let Err(SinkError::Broken(why)) = send(&mut sink, &[rows(0, 0, 2)]).await else {
        panic!("{answer} is taken for an answer")
    };
    assert!(why.to_string().contains(part), "{why}");
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_success() {
    check_nonsense("", "EOF").await;
    check_nonsense("<html>OK</html>", "expected value").await;
    check_nonsense("{}", "missing field `failed`").await;
    check_nonsense(r#"{"failed": [{"item": 2}]}"#, "names item 2, and the request had 2").await;
    check_nonsense(r#"{"failed": [{"item": 1}, {"item": 1}]}"#, "names item 1 twice").await;
    let long = format!(r#"{{"failed": [], "more": "{}"}}"#, "x".repeat(1000));
    check_nonsense(&long, "longer than `max_response`").await;
}

/// What becomes of two rows in one request that is answered with this status.
async fn check_status(status: u16, expected: &str) {
    let server = Server::script(&[Act::Answer(status, "location: /there\r\n", "why".into())]).await;
    let found = match send(&mut sink(&server, Body::Lines), &[rows(0, 0, 2)]).await {
        Ok(Outcome { rejected, again, .. }) => match (rejected.len(), again.len()) {
            (0, 0) => "taken",
            (0, 2) => "again",
            (2, 0) => "refused",
            _ => "torn",
        },
        Err(SinkError::Broken(_)) => "broken",
        Err(_) => "unavailable",
    };
    assert_eq!(found, expected, "{status}");
    assert_eq!(server.seen().len(), 1, "no redirect is followed");
}

#[tokio::test]
async fn statuses_mean_what_they_mean() {
    for status in [200, 201, 202, 204, 207] {
        check_status(status, "taken").await;
    }
    for status in [408, 425, 429, 500, 502, 503, 504] {
        check_status(status, "again").await;
    }
    for status in [400, 401, 403, 404, 409, 410, 422] {
        check_status(status, "refused").await;
    }
    for status in [301, 302, 307, 308, 501] {
        check_status(status, "broken").await;
    }
}

/// By the rules of the key a server says 409 while it works on an earlier attempt.
#[tokio::test]
async fn a_conflict_with_ourselves_passes() {
    let script = [Act::CloseAfter, Act::Answer(409, "", String::new()), ok()];
    let server = Server::script(&script).await;
    let (attempts, refused) =
        deliver(&mut sink(&server, Body::Lines), &[rows(0, 0, 2)]).await.unwrap();
    assert_eq!((attempts, refused), (3, Vec::new()));
    // But not for ever.
    let server = Server::script(&[Act::CloseAfter, Act::Answer(409, "", String::new())]).await;
    let (attempts, refused) =
        deliver(&mut sink(&server, Body::Lines), &[rows(0, 0, 1)]).await.unwrap();
    assert_eq!((attempts, refused.len()), (10, 1));
}

#[tokio::test]
async fn messages_of_a_queue_stay_in_order() {
    let mut asked = 0;
    let server = Server::deciding(move |_| {
        asked += 1;
        if asked % 3 == 0 { Act::Answer(503, "", String::new()) } else { ok() }
    })
    .await;
    let batches = [rows(0, 0, 8), rows(1, 100, 8), rows(2, 200, 8)];
    deliver(&mut sink(&server, Body::Single), &batches).await.unwrap();
    let mut first: Vec<i64> = Vec::new();
    for seen in server.seen() {
        let id = serde_json::from_str::<Value>(&seen.body).unwrap()["id"].as_i64().unwrap();
        if !first.contains(&id) {
            first.push(id);
        }
    }
    for queue in 0..3 {
        let of_queue: Vec<i64> = first.iter().copied().filter(|id| id / 100 == queue).collect();
        let expected: Vec<i64> = (0..8).map(|n| queue * 100 + n).collect();
        assert_eq!(of_queue, expected);
    }
}

#[tokio::test]
async fn queues_do_not_wait_for_one_another() {
    // Each answers only when requests of all queues are there.
    let gate = Arc::new(tokio::sync::Barrier::new(3));
    struct Meeting(Arc<tokio::sync::Barrier>);
    #[async_trait::async_trait]
    impl crate::Transport for Meeting {
        async fn send(&self, _: &crate::Request) -> Result<crate::Answer, crate::NoAnswer> {
            self.0.wait().await;
            Ok(crate::Answer { status: 200, ..Default::default() })
        }
    }
    let mut sink = HttpSink::new(options(vec![text("http://x/")], Body::Single), Meeting(gate));
    let items = items(&mut sink, &[rows(0, 0, 1), rows(1, 0, 1), rows(2, 0, 1)]);
    let refs: Vec<&Item> = items.iter().collect();
    let sent = tokio::time::timeout(Duration::from_secs(20), sink.send(&refs)).await;
    assert!(sent.expect("they meet").is_ok());
}

#[tokio::test]
async fn secrets_are_not_told() {
    let said = "no access with Bearer abcdefgh-1234 or abcdefgh-1234";
    let server = Server::script(&[Act::Answer(403, "", said.to_owned())]).await;
    let mut sink = sink(&server, Body::Lines);
    let secret = Template(vec![text("Bearer abcdefgh-1234")]);
    sink.options_mut().headers.push(("authorization".to_owned(), secret));
    let (_, refused) = deliver(&mut sink, &[rows(0, 0, 1)]).await.unwrap();
    assert_eq!(server.seen()[0].headers["authorization"], "Bearer abcdefgh-1234");
    assert_eq!(refused[0].1, "E-HTTP-02: the server answered 403: no access with *** or ***");
}

#[test]
fn a_file_without_certificates_is_told() {
    for pem in ["", "no PEM", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let ca = Some(Authorities { path: "ca.pem".into(), pem: pem.into() });
        let timeout = Duration::from_secs(1);
        let options = ClientOptions { timeout, max_response: 1, tls: true, ca };
        let error = Client::new(options).unwrap_err();
        assert_eq!(error.to_string(), "ca.pem has no certificate in PEM", "{pem}");
    }
}
