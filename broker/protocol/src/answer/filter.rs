use super::Answer;
use crate::json::{BodyError, Json, Node, ObjectWriter};

/// Filters of a broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedFilters(pub Vec<AttachedFilter>);

/// A filter of a broker, and what it has done since it was attached or the broker was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachedFilter {
    /// The group it is attached to; of all groups if there is none.
    pub group: Option<String>,
    /// The topic it is attached to; of all topics if there is none.
    pub topic: Option<String>,
    /// What the module calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the module, in hexadecimal.
    pub sha256: String,
    /// Its parameters, a JSON object.
    pub params: String,
    /// `deliver` or `drop`: what becomes of a message that the module fails at.
    pub on_failure: String,
    /// When it was attached, ms.
    pub attached_at_ms: i64,
    /// From when on the messages are counted, ms: since then or since the broker was started.
    pub counted_from_ms: i64,
    /// Messages that it kept.
    pub kept: u64,
    /// Messages that it dropped.
    pub dropped: u64,
    /// Messages that it failed at, or was not asked about because it fails.
    pub failed: u64,
    /// What is wrong with it at the moment, if anything.
    pub trouble: Option<String>,
    /// What it did last that it should not have done.
    pub last_failure: Option<String>,
}

impl AttachedFilters {
    /// Reads the answer's body.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_answer(body)?;
        Ok(Self(json.root().items_of("filters").map(AttachedFilter::read).collect()))
    }
}

impl Answer for AttachedFilters {
    fn body(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            object.list("filters", &self.0, |out, filter| filter.write(out));
        });
    }
}

impl AttachedFilter {
    fn read(node: Node<'_>) -> Self {
        let text = |name: &str| node.text_of(name).to_owned();
        let optional = |name: &str| node.get(name).and_then(Node::text).map(str::to_owned);
        let count = |name: &str| node.int_of(name).unwrap_or(0);
        Self {
            group: optional("group"),
            topic: optional("topic"),
            name: text("name"),
            version: text("version"),
            sha256: text("sha256"),
            params: text("params"),
            on_failure: text("onFailure"),
            attached_at_ms: node.int_of("attachedTimestamp").unwrap_or(0),
            counted_from_ms: node.int_of("countedFromTimestamp").unwrap_or(0),
            kept: count("kept"),
            dropped: count("dropped"),
            failed: count("failed"),
            trouble: optional("trouble"),
            last_failure: optional("lastFailure"),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |object| {
            for (name, text) in [("group", &self.group), ("topic", &self.topic)] {
                if let Some(text) = text {
                    object.text(name, text);
                }
            }
            object.text("name", &self.name);
            object.text("version", &self.version);
            object.text("sha256", &self.sha256);
            object.text("params", &self.params);
            object.text("onFailure", &self.on_failure);
            object.int("attachedTimestamp", self.attached_at_ms);
            object.int("countedFromTimestamp", self.counted_from_ms);
            for (name, count) in
                [("kept", self.kept), ("dropped", self.dropped), ("failed", self.failed)]
            {
                object.int(name, i64::try_from(count).unwrap_or(i64::MAX));
            }
            for (name, text) in [("trouble", &self.trouble), ("lastFailure", &self.last_failure)] {
                if let Some(text) = text {
                    object.text(name, text);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_filters_is_read_back() {
        let filter = AttachedFilter {
            group: Some("billing".into()),
            name: "keep-large".into(),
            version: "1.0.0".into(),
            sha256: "ab".repeat(32),
            params: r#"{"bytes":3,"text":"a\"b"}"#.into(),
            on_failure: "drop".into(),
            attached_at_ms: 1_700_000_000_000,
            counted_from_ms: 1_700_000_000_001,
            kept: 1,
            dropped: u64::MAX,
            failed: 3,
            trouble: Some("it is late".into()),
            last_failure: Some("the filter trapped: unreachable".into()),
            ..AttachedFilter::default()
        };
        let other = AttachedFilter { topic: Some("orders".into()), ..AttachedFilter::default() };
        let told = AttachedFilters(vec![filter.clone(), other.clone()]);
        let mut body = Vec::new();
        told.body(&mut body);
        let bounded = AttachedFilter { dropped: i64::MAX as u64, ..filter };
        assert_eq!(AttachedFilters::decode(&body), Ok(AttachedFilters(vec![bounded, other])));
        assert_eq!(AttachedFilters::decode(b"{}"), Ok(AttachedFilters::default()));
        assert!(AttachedFilters::decode(b"[").is_err());
    }
}
