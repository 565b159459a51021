use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use millrace_sink_http::{Answer, NoAnswer, Request, Transport};

use crate::sinks::Dial;

/// A server that takes every request, and each only once: what has the key of an earlier one it
/// answers and forgets.
#[derive(Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<BTreeMap<String, Vec<Request>>>>);

impl Recorder {
    /// What sends requests to it.
    pub(super) fn dial(&self) -> Dial {
        let server = self.clone();
        Box::new(move |sink, _| {
            Ok(Box::new(Line { sink: sink.to_owned(), server: server.clone() }))
        })
    }

    /// The requests of a sink.
    pub(super) fn of(&self, sink: &str) -> Vec<Request> {
        self.lock().get(sink).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Request>>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}

struct Line {
    sink: String,
    server: Recorder,
}

#[async_trait]
impl Transport for Line {
    async fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        let mut requests = self.server.lock();
        let known = requests.entry(self.sink.clone()).or_default();
        if !known.iter().any(|other| other.key == request.key) {
            known.push(request.clone());
        }
        // No item failed, should anybody want to know.
        Ok(Answer { status: 200, body: br#"{"failed": []}"#.to_vec(), ..Answer::default() })
    }
}
