//! A file's last line that was taken without an end, and goes on after a restart.

use async_trait::async_trait;
use bytes::Bytes;
use millrace_connect_api::{Chunk, Origin, Polled, Position, Reject, Source, SourceError, Span};

use super::*;

/// Gives what it was made with, once; then there is nothing for ever.
struct Once(Option<Polled>);

#[async_trait]
impl Source for Once {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        match self.0.take() {
            Some(polled) => Ok(polled),
            None => std::future::pending().await,
        }
    }
}

/// A line from the start of the file, of which `data` is at hand. `newlines` is 0 if it has no end.
fn line(data: &'static str, newlines: u64) -> Chunk {
    let len = data.len() as u64;
    let next = Position { offset: len + newlines, line: newlines };
    let span = Span { at: 0, len: len as u32, position: Position::default(), next };
    Chunk {
        origin: Arc::new(Origin {
            identity: "file".to_owned(),
            path: "/logs/file".to_owned(),
            header: None,
        }),
        data: Bytes::from_static(data.as_bytes()),
        records: vec![span],
    }
}

/// Gives `first`, crashes before the ledger says where it ended, and gives `then`. What is in the
/// topic and among the source's letters afterwards, each with its offset in the file.
async fn given(first: Polled, then: Polled) -> Vec<(String, u64)> {
    let world = World::new(PIPELINE, lines(1, 9), 1, Chances::default(), 0);
    let stored = || {
        let of = |topic: &str| world.broker.messages(topic).into_iter().map(with_offset);
        of("t").chain(of("%DLQ%p_source")).collect::<Vec<_>>()
    };
    for (polled, count) in [(first, 1), (then, 2)] {
        let source: crate::ingest::OpenSource = Box::new(move |cursors| {
            // It goes on at the record that the log has, because nothing says where that ended.
            assert!(cursors.iter().all(|cursor| cursor.position == Position::default()));
            Ok(Box::new(Once(Some(polled))))
        });
        let connectors = Connectors { source: Some(source), sink: world.destination.sinks(None) };
        let mut run = Box::pin(world.run_with(connectors, Until::Stopped).finish());
        for _ in 0..2_000 {
            if stored().len() >= count {
                break;
            }
            assert!(crash_after(&mut run, 1).await.is_none(), "the run ended");
        }
    }
    stored()
}

fn with_offset(
    (_, _, properties, body): (u32, u64, BTreeMap<String, String>, Bytes),
) -> (String, u64) {
    let text = String::from_utf8(body.to_vec()).unwrap();
    (text, properties[crate::ingest::FILE_OFFSET].parse().unwrap())
}

fn too_long(line: Chunk) -> Polled {
    let reject = Reject { code: "E-SOURCE-01", error: "too long".to_owned(), field: None };
    Polled::Unreadable(line, reject)
}

#[track_caller]
fn check(stored: &[(String, u64)], expected: &[(&str, u64)]) {
    let stored: Vec<_> = stored.iter().map(|(body, at)| (body.as_str(), *at)).collect();
    assert_eq!(stored, expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_added_to_a_line_is_a_record_of_its_own() {
    let first = Polled::Chunk(line("one", 0));
    check(&given(first, Polled::Chunk(line("one two", 1))).await, &[("one", 0), (" two", 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_only_got_its_end_is_not_taken_twice() {
    let first = Polled::Chunk(line("one", 0));
    check(&given(first, Polled::Chunk(line("one", 1))).await, &[("one", 0)]);
    let first = Polled::Chunk(line("one\r", 0));
    check(&given(first, Polled::Chunk(line("one", 2))).await, &[("one\r", 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_grew_too_long_becomes_a_letter_behind_its_beginning() {
    let first = Polled::Chunk(line("one", 0));
    check(&given(first, too_long(line("one t", 1))).await, &[("one", 0), (" t", 3)]);
    let first = Polled::Chunk(line("one two", 0));
    check(&given(first, too_long(line("one", 1))).await, &[("one two", 0), ("one", 7)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_was_too_long_already_is_no_second_letter() {
    let first = too_long(line("one", 0));
    check(&given(first, too_long(line("one two", 1))).await, &[("one", 0)]);
}
