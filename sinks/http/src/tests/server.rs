use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Status, headers, body.
    Answer(u16, &'static str, String),
    /// Reads a part of the request and goes away.
    CloseMidway,
    /// Takes the request, and goes away without a word.
    CloseAfter,
    /// Begins to answer, and goes away.
    CloseInAnswer,
    /// Takes the request and says nothing for ever.
    Silence,
    /// Answers by the status line, then a byte at a time, for longer than anybody waits.
    Drip,
}

pub(super) fn ok() -> Act {
    Act::Answer(200, "", String::new())
}

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) line: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }
}

type Decide = Box<dyn FnMut(&Seen) -> Act + Send>;

/// A server on loopback that does with each request what it is told to.
pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Does these things in turn, and the last one from then on.
    pub(super) async fn script(acts: &[Act]) -> Self {
        let mut acts = acts.to_vec();
        acts.reverse();
        Self::deciding(move |_| {
            let next = if acts.len() > 1 { acts.pop() } else { acts.last().cloned() };
            next.expect("there is an act")
        })
        .await
    }

    pub(super) async fn deciding(decide: impl FnMut(&Seen) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let decide: Arc<Mutex<Decide>> = Arc::new(Mutex::new(Box::new(decide)));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (all, decide) = (Arc::clone(&all), Arc::clone(&decide));
                tokio::spawn(async move { serve(stream, &all, &decide).await });
            }
        });
        Self { url, seen, task }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one request of one connection. A peer that went away is none of its concern.
async fn serve(mut stream: TcpStream, all: &Mutex<Vec<Seen>>, decide: &Mutex<Decide>) {
    let Some((mut seen, rest)) = head(&mut stream).await else { return };
    let length: usize = seen.headers["content-length"].parse().unwrap();
    let act = decide.lock().unwrap()(&seen);
    if let Act::CloseMidway = act {
        return;
    }
    let mut body = rest;
    while body.len() < length {
        let mut some = [0; 4096];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return,
            Ok(read) => body.extend_from_slice(&some[..read]),
        }
    }
    seen.body = String::from_utf8(body).unwrap();
    all.lock().unwrap().push(seen);
    let answer = match act {
        Act::Answer(status, headers, body) => format!(
            "HTTP/1.1 {status} Said\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ),
        Act::CloseInAnswer => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_owned(),
        Act::CloseAfter | Act::CloseMidway => return,
        Act::Silence => return std::future::pending().await,
        Act::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
            loop {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What stands before the body, and what was read of that.
async fn head(stream: &mut TcpStream) -> Option<(Seen, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        let mut some = [0; 4096];
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&some[..read]),
        }
    };
    let rest = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    });
    Some((Seen { line, headers: headers.collect(), body: String::new() }, rest))
}
