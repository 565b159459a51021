//! Dead letters, by what they carry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use millrace_client::{Broker, BrokerError, PullRequest};
use millrace_connect_api::{Messages, QueueRef};
use millrace_store::InspectedRecord;
use millrace_types::{QueueId, TopicName};
use serde_json::{Value, json};

use crate::exit::Failure;
use crate::figures::{count, counted};
use crate::plain;

/// What the topic of a sink's letters, or of the source's, begins with. The rest is the name of
/// the pipeline, `_`, and the name of the sink or `source`.
const TOPIC_PREFIX: &str = "%DLQ%";
/// The name that stands for the source where a sink's is asked for.
const SOURCE: &str = "source";

/// How many dead letters a log has, by topic and code.
#[derive(Debug, Default)]
pub(crate) struct Letters(BTreeMap<String, BTreeMap<String, u64>>);

impl Letters {
    /// Takes in a record of the log, which may be any.
    pub(crate) fn take(&mut self, record: &InspectedRecord<'_>) {
        if !record.topic.starts_with(TOPIC_PREFIX) {
            return;
        }
        // RocketMQ's own tools put messages there too, without a code.
        let code = record.properties.get("dlq_code").unwrap_or("without a code");
        if !self.0.contains_key(record.topic) {
            self.0.insert(record.topic.to_owned(), BTreeMap::new());
        }
        let codes = self.0.get_mut(record.topic).expect("it is there by now");
        *codes.entry(code.to_owned()).or_default() += 1;
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (topic, codes) in &self.0 {
            let codes: Vec<_> =
                codes.iter().map(|(code, letters)| format!("{} {code}", count(*letters))).collect();
            let (topic, codes) = (plain::line(topic), codes.join(", "));
            let _ = writeln!(out, "dead letters in {topic}: {}", plain::line(&codes));
        }
        if out.is_empty() { out } else { format!("\n{out}") }
    }

    /// For a program.
    pub(crate) fn result(&self) -> Value {
        json!(self.0)
    }
}

/// So many dead letters of these codes, for a person.
pub(crate) fn told(by_code: &BTreeMap<String, u64>) -> String {
    let letters = counted(by_code.values().sum(), "dead letter");
    let codes: Vec<String> = match by_code.len() {
        0 => return letters,
        1 => by_code.keys().cloned().collect(),
        _ => by_code.iter().map(|(code, letters)| format!("{} {code}", count(*letters))).collect(),
    };
    format!("{letters} ({})", codes.join(", "))
}

/// One dead letter.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) topic: String,
    pub(crate) code: String,
    pub(crate) error: String,
    pub(crate) body: String,
}

/// The first dead letter of a pipeline, if it has any.
pub(crate) async fn first(
    broker: &Arc<dyn Broker>,
    pipeline: &str,
    sinks: impl Iterator<Item = &str>,
) -> Result<Option<Letter>, Failure> {
    for sink in [SOURCE].into_iter().chain(sinks) {
        let name = format!("{TOPIC_PREFIX}{pipeline}_{sink}");
        let Ok(topic) = TopicName::parse(&name) else { continue };
        let queue = QueueId(0);
        let (min, end) = match broker.bounds(&topic, queue).await {
            Ok(bounds) => bounds,
            Err(BrokerError::NoSuchQueue { .. }) => continue,
            Err(error) => return Err(error.into()),
        };
        if min == end {
            continue;
        }
        let wait = Duration::from_secs(5);
        let request = PullRequest { topic: topic.clone(), queue, from: min, bytes_max: 1, wait };
        let pulled = broker.pull(request).await?;
        let queue = QueueRef { broker: broker.name(), topic, queue };
        let messages = Messages::parse(queue, min, pulled.next, pulled.runs);
        let Some(letter) = messages.ok().filter(|messages| !messages.is_empty()) else { continue };
        let letter = letter.get(0);
        let property = |name| letter.properties.get(name).unwrap_or_default().to_owned();
        return Ok(Some(Letter {
            topic: name,
            code: property("dlq_code"),
            error: property("dlq_error"),
            body: String::from_utf8_lossy(letter.body).into_owned(),
        }));
    }
    Ok(None)
}
