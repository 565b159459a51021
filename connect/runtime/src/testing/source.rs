use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_connect_api::{
    Chunk, Origin, Polled, Position, Reject, Source, SourceCursor, SourceError, Span,
};

use crate::ingest::OpenSource;
use crate::rng::Rng;

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files(Arc<BTreeMap<String, Vec<Line>>>);

/// One line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Whether the source can read it.
    pub(crate) readable: bool,
}

impl Files {
    pub(crate) fn new(files: BTreeMap<String, Vec<Line>>) -> Self {
        Self(Arc::new(files))
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.0.values().flatten()
    }

    /// All files, under names that begin with `prefix`.
    pub(crate) fn named(&self, prefix: &str) -> impl Iterator<Item = (String, Vec<Line>)> {
        self.0.iter().map(move |(name, lines)| (format!("{prefix}{name}"), lines.clone()))
    }

    /// A source that reads all files to their ends.
    pub(crate) fn source(&self, seed: u64) -> OpenSource {
        let files = self.clone();
        Box::new(move |cursors| Ok(Box::new(FileLines::new(files, cursors, seed))))
    }
}

struct FileLines {
    files: Files,
    next: BTreeMap<String, Position>,
    rng: Rng,
}

impl FileLines {
    fn new(files: Files, cursors: Vec<SourceCursor>, seed: u64) -> Self {
        let mut next: BTreeMap<String, Position> =
            files.0.keys().map(|identity| (identity.clone(), Position::default())).collect();
        for cursor in cursors {
            next.insert(cursor.identity, cursor.position);
        }
        Self { files, next, rng: Rng::new(seed) }
    }

    fn chunk(&mut self, identity: &str, lines: u64) -> (Chunk, bool) {
        let origin = Arc::new(Origin {
            identity: identity.to_owned(),
            path: format!("/logs/{identity}"),
            header: None,
        });
        let mut position = self.next[identity];
        let (mut data, mut records) = (Vec::new(), Vec::new());
        let mut readable = true;
        for line in self.files.0[identity].iter().skip(position.line as usize) {
            // An unreadable line comes alone.
            if records.len() as u64 == lines || (!records.is_empty() && !line.readable) {
                break;
            }
            let next = Position {
                offset: position.offset + line.text.len() as u64 + 1,
                line: position.line + 1,
            };
            let (at, len) = (data.len() as u32, line.text.len() as u32);
            records.push(Span { at, len, position, next });
            data.extend_from_slice(line.text.as_bytes());
            position = next;
            readable = line.readable;
            if !readable {
                break;
            }
        }
        self.next.insert(identity.to_owned(), position);
        (Chunk { origin, data: Bytes::from(data), records }, readable)
    }
}

#[async_trait]
impl Source for FileLines {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        tokio::task::yield_now().await;
        let unfinished: Vec<String> = self
            .next
            .iter()
            .filter(|(identity, next)| {
                (next.line as usize) < self.files.0.get(*identity).map_or(0, Vec::len)
            })
            .map(|(identity, _)| identity.clone())
            .collect();
        if unfinished.is_empty() {
            return Ok(Polled::End);
        }
        if self.rng.below(8) == 0 {
            let pause = std::time::Duration::from_millis(self.rng.below(700));
            tokio::time::sleep(pause).await;
            return Ok(Polled::Idle);
        }
        let identity = &unfinished[self.rng.below(unfinished.len() as u64) as usize];
        let lines = 1 + self.rng.below(12);
        let (chunk, readable) = self.chunk(identity, lines);
        if readable {
            return Ok(Polled::Chunk(chunk));
        }
        let reject = Reject { code: "E-SOURCE-01", error: "too long".to_owned(), field: None };
        Ok(Polled::Unreadable(chunk, reject))
    }
}
