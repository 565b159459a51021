use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use millrace_protocol::{
    Answer, BrokerAddresses, ClusterInfo, FrameBuf, HelloAnswer, Limits, Request,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What a fake does with a request.
pub(crate) enum Reply {
    /// Answers it.
    Answer(Box<dyn Answer + Send>),
    /// Answers it, and then asks something of the client.
    AnswerAndAsk(Box<dyn Answer + Send>, Vec<u8>),
    /// Sends these bytes.
    Bytes(Vec<u8>),
    /// Keeps the caller waiting.
    Silence,
    /// Closes the connection.
    HangUp,
}

/// A reply with an answer.
pub(crate) fn answer(answer: impl Answer + Send + 'static) -> Option<Reply> {
    Some(Reply::Answer(Box::new(answer)))
}

type Script = dyn Fn(&Request<'_>) -> Option<Reply> + Send + Sync;

/// A name server and the broker `b` behind one port, that do as a test says. Where the test says
/// nothing, they introduce themselves, and a request of any other kind is a mistake of the test.
pub(crate) struct Fake {
    pub(crate) address: String,
    told: Arc<Told>,
    task: JoinHandle<()>,
}

/// What the connections of a fake share.
struct Told {
    script: Box<Script>,
    brokers: Mutex<BTreeMap<String, String>>,
    /// How many connections there were.
    accepted: AtomicUsize,
    /// The bodies of what clients answered.
    answers: Mutex<Vec<String>>,
}

impl Fake {
    pub(crate) async fn start(
        script: impl Fn(&Request<'_>) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let brokers = BTreeMap::from([("b".to_owned(), address.clone())]);
        let told = Arc::new(Told {
            script: Box::new(script),
            brokers: Mutex::new(brokers),
            accepted: AtomicUsize::new(0),
            answers: Mutex::default(),
        });
        let task = tokio::spawn(accept(listener, Arc::clone(&told)));
        Self { address, told, task }
    }

    /// Says which brokers there are, and where.
    pub(crate) fn put_brokers(&self, brokers: &[(&str, &str)]) {
        let brokers = brokers.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned()));
        *self.told.brokers.lock().unwrap() = brokers.collect();
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.told.accepted.load(Ordering::Relaxed)
    }

    /// The code and the body of everything that clients answered.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.told.answers.lock().unwrap().clone()
    }

    /// Closes everything. Nobody listens at the address afterwards.
    pub(crate) async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn accept(listener: TcpListener, told: Arc<Told>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        told.accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(stream, Arc::clone(&told)));
    }
}

/// Serves one connection until either side has enough.
async fn serve(mut stream: TcpStream, told: Arc<Told>) {
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = FrameBuf::split(&mut buffer, &Limits::default()).unwrap() {
            let mut out = Vec::new();
            if !told.reply(&frame, &mut out) || stream.write_all(&out).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            return;
        }
    }
}

impl Told {
    /// Writes the reply to a request; `false` hangs up.
    fn reply(&self, frame: &FrameBuf, out: &mut Vec<u8>) -> bool {
        let header = frame.view().header().unwrap();
        if header.is_response() {
            let body = String::from_utf8_lossy(frame.body());
            self.answers.lock().unwrap().push(format!("{} {body}", header.code));
            return true;
        }
        let request = Request::decode(&header, frame.body()).unwrap();
        let reply = (self.script)(&request).unwrap_or_else(|| match request {
            Request::Hello(_) => Reply::Answer(Box::new(HelloAnswer {
                product: "Millrace".into(),
                version: "0.1.0".into(),
                broker: "".into(),
            })),
            Request::ClusterInfo => Reply::Answer(Box::new(self.clusters())),
            other => panic!("the test does not say what to do with {other:?}"),
        });
        match reply {
            // What is oneway is never answered.
            Reply::Answer(_) if header.is_oneway() => {}
            Reply::Answer(answer) => answer.write(header.kind, header.opaque, out),
            Reply::AnswerAndAsk(answer, question) => {
                answer.write(header.kind, header.opaque, out);
                out.extend_from_slice(&question);
            }
            Reply::Bytes(bytes) => out.extend_from_slice(&bytes),
            Reply::Silence => {}
            Reply::HangUp => return false,
        }
        true
    }

    fn clusters(&self) -> ClusterInfo {
        let brokers = self.brokers.lock().unwrap();
        let addresses = |(name, address): (&String, &String)| {
            let addresses = BrokerAddresses {
                cluster: "c".into(),
                broker_name: name.clone(),
                addresses: BTreeMap::from([(0, address.clone())]),
            };
            (name.clone(), addresses)
        };
        let names = brokers.keys().cloned().collect();
        ClusterInfo {
            brokers: brokers.iter().map(addresses).collect(),
            clusters: BTreeMap::from([("c".into(), names)]),
        }
    }
}
