//! The ledgers of all pipelines, as they lie in a log.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millrace_runtime::ledger::{Entry, LedgerState, Read, TOPIC};
use millrace_store::InspectedRecord;
use millrace_types::{QueueId, keys};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::figures::{bytes, count, counted};
use crate::letters;

/// Ledgers, being read from the records of a log in order.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    /// Whose each queue is.
    pipelines: BTreeMap<QueueId, String>,
    states: BTreeMap<QueueId, LedgerState>,
    /// What could not be read, which is worth a word and no more: here it decides nothing.
    unread: Vec<String>,
}

/// The queue of the ledger topic that says whose the others are.
const DIRECTORY: QueueId = QueueId(0);

/// Stands in the name of a ledger that says what became of the letters of a sink.
const OF_LETTERS: char = '/';

/// A record of that queue.
#[derive(Deserialize)]
struct Assignment {
    pipeline: String,
    queue: u32,
}

impl Ledgers {
    /// Takes in a record of the log, which may be any.
    pub(crate) fn take(&mut self, record: &InspectedRecord<'_>) {
        let InspectedRecord { topic, queue, .. } = *record;
        if topic != TOPIC {
            return;
        }
        let taken = if queue == DIRECTORY { self.assign(record.body) } else { self.fold(record) };
        if let Err(reason) = taken {
            self.unread.push(format!("{topic}/{queue}: {reason}"));
        }
    }

    /// The first record that names a pipeline or a queue holds.
    fn assign(&mut self, body: &[u8]) -> Result<(), String> {
        let Assignment { pipeline, queue } =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        if !self.pipelines.values().any(|known| *known == pipeline) {
            self.pipelines.entry(QueueId(queue)).or_insert(pipeline);
        }
        Ok(())
    }

    fn fold(&mut self, record: &InspectedRecord<'_>) -> Result<(), String> {
        let entry: Entry =
            serde_json::from_slice(record.body).map_err(|error| error.to_string())?;
        let epoch = record.properties.get(keys::EPOCH).and_then(|epoch| epoch.parse().ok());
        let epoch = epoch.ok_or_else(|| format!("it has no {}", keys::EPOCH))?;
        let starts_anew = record.properties.get(keys::TAGS) == Some(keys::STATE_TAG);
        let read = Read { epoch, starts_anew, entry };
        self.states.entry(record.queue).or_default().take(&read)
    }

    fn named(&self) -> impl Iterator<Item = (String, &LedgerState)> {
        self.states.iter().map(|(queue, state)| {
            let name = self.pipelines.get(queue).cloned();
            (name.unwrap_or_else(|| format!("of ledger queue {queue}")), state)
        })
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for (name, state) in self.named() {
            let worker = state.worker.as_deref().unwrap_or("nobody");
            if name.contains(OF_LETTERS) {
                out += &text_of_letters(&name, state);
                continue;
            }
            let _ = writeln!(out, "\npipeline {name}: epoch {}, last run by {worker}", state.epoch);
            for origin in state.source.iter().flat_map(|source| &source.cursors) {
                // A file has lines of which not all are records: empty ones are none.
                let is_made_up = origin.identity.starts_with("generate-");
                let one = if is_made_up { "record" } else { "line" };
                let read = counted(origin.line, one);
                let _ = writeln!(out, "  source {}: {read} read", origin.path);
            }
            for (sink, state) in &state.sinks {
                let _ = write!(
                    out,
                    "  sink {sink}: {} committed ({}), {}",
                    counted(state.parts, "file"),
                    bytes(state.bytes),
                    letters::told(&state.letters),
                );
                if !state.planned.is_empty() {
                    let files: usize = state.planned.iter().map(|set| set.parts.len()).sum();
                    let files = counted(files as u64, "file");
                    let _ = write!(out, "; {files} planned, which the next run settles");
                }
                out.push('\n');
            }
        }
        for reason in &self.unread {
            let _ = writeln!(out, "ledger record passed over: {reason}");
        }
        out
    }

    /// For a program.
    pub(crate) fn result(&self) -> Value {
        let pipelines: Vec<Value> = self
            .named()
            .map(|(name, state)| {
                let sinks: BTreeMap<&String, Value> = state
                    .sinks
                    .iter()
                    .map(|(name, sink)| {
                        let planned: usize = sink.planned.iter().map(|set| set.parts.len()).sum();
                        let result = json!({
                            "files": sink.parts,
                            "bytes": sink.bytes,
                            "planned": planned,
                            "dead_lettered": sink.letters,
                            "letters_replayed": sink.replayed.len(),
                            "letters_dropped": sink.dropped.len(),
                        });
                        (name, result)
                    })
                    .collect();
                json!({
                    "pipeline": name,
                    "epoch": state.epoch,
                    "worker": state.worker,
                    "source": state.source.as_ref().map(|source| json!(source)),
                    "sinks": sinks,
                })
            })
            .collect();
        json!(pipelines)
    }
}

/// What became of the letters of a sink, for a person.
fn text_of_letters(name: &str, state: &LedgerState) -> String {
    let mut out = String::new();
    for sink in state.sinks.values() {
        let (replayed, dropped) = (counted(sink.replayed.len(), "letter"), sink.dropped.len());
        let files = counted(sink.parts, "file");
        let _ = write!(out, "\nletters of {name}: {replayed} replayed into {files}, ");
        let _ = writeln!(out, "{} dropped", count(dropped));
        if !sink.planned.is_empty() {
            out += "  a replay did not finish; the next one settles it\n";
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use millrace_types::record::{Draft, Record, Stamp, encode};
    use millrace_types::{PhysicalOffset, PropertiesBuf, QueueOffset};

    use super::*;

    fn take(ledgers: &mut Ledgers, topic: &str, queue: u32, epoch: &str, body: &str) {
        let mut properties = PropertiesBuf::new();
        properties.push(keys::EPOCH, epoch);
        let host = ([127, 0, 0, 1], 1).into();
        let draft = Draft {
            topic,
            queue_id: QueueId(queue),
            flag: 0,
            sys_flag: 0,
            born_at_ms: 1,
            born_host: host,
            reconsume_times: 0,
            prepared_offset: PhysicalOffset(0),
            body: body.as_bytes(),
            properties: properties.as_bytes(),
        };
        let stamp = Stamp {
            queue_offset: QueueOffset(0),
            physical_offset: PhysicalOffset(0),
            store_at_ms: 1,
            store_host: host,
            more: false,
        };
        let mut bytes = Vec::new();
        encode(&draft, &stamp, &mut bytes);
        ledgers.take(&InspectedRecord::of(Record::parse(&bytes).unwrap()));
    }

    #[test]
    fn a_ledger_is_named_by_the_directory() {
        let mut ledgers = Ledgers::default();
        let mut take = |queue, epoch, body| take(&mut ledgers, TOPIC, queue, epoch, body);
        take(0, "", r#"{"v":1,"pipeline":"orders","queue":1}"#);
        take(0, "", r#"{"v":1,"pipeline":"late","queue":1}"#);
        take(1, "1", r#"{"v":1,"seq":1,"record":"LEASE","worker":"a-1","epoch":1}"#);
        take(1, "1", r#"{"v":1,"seq":2,"record":"ABORTED","sink":"lake","parts":[],"reason":"x"}"#);
        take(1, "2", r#"{"v":1,"seq":1,"record":"LEASE","worker":"b-2","epoch":2}"#);
        let text = ledgers.text();
        let expected = "\npipeline orders: epoch 2, last run by b-2\n  \
                        sink lake: 0 files committed (0 B), 0 dead letters\n";
        assert_eq!(text, expected);
        assert_eq!(ledgers.result()[0]["sinks"]["lake"]["files"], 0);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let mut ledgers = Ledgers::default();
        take(&mut ledgers, "orders", 0, "1", "no ledger record");
        assert_eq!(ledgers.text(), "");
        take(&mut ledgers, TOPIC, 3, "1", "{}");
        let said = "ledger record passed over: MILLRACE_LEDGER/3: ";
        assert!(ledgers.text().starts_with(said), "{}", ledgers.text());
    }
}
