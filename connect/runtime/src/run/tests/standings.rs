//! What a source expects of its origins, over restarts.

use async_trait::async_trait;
use bytes::Bytes;
use millrace_connect_api::{
    Chunk, Origin, Polled, Position, Source, SourceCursor, SourceError, Span, Standing,
};

use super::*;

/// Gives these, and ends.
struct Given(std::vec::IntoIter<Polled>);

#[async_trait]
impl Source for Given {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        Ok(self.0.next().unwrap_or(Polled::End))
    }
}

/// The line of this number, each of nine bytes with its end.
fn line(number: u64) -> Polled {
    let at = |line| Position { offset: 9 * line, line };
    let span = Span { at: 0, len: 8, position: at(number), next: at(number + 1) };
    let (identity, path) = ("file".to_owned(), "/logs/file".to_owned());
    Polled::Chunk(Chunk {
        origin: Arc::new(Origin { identity, path, header: None }),
        data: Bytes::from(format!(r#"{{"n":{number:2}}}"#)),
        records: vec![span],
    })
}

fn stands(standing: Standing) -> Polled {
    Polled::Standing("file".to_owned(), standing)
}

/// Runs a source that gives these to its end. What it was told at its start.
async fn told(world: &World, given: Vec<Polled>) -> Vec<SourceCursor> {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let source: crate::ingest::OpenSource = Box::new(move |cursors| {
        *tell.lock().unwrap() = cursors;
        Ok(Box::new(Given(given.into_iter())))
    });
    let connectors = Connectors { source: Some(source), sink: world.destination.sinks(None) };
    world.run_with(connectors, Until::Stopped).finish().await.unwrap();
    let told = told.lock().unwrap();
    told.clone()
}

#[tokio::test(start_paused = true)]
async fn what_a_source_expects_is_kept_until_there_are_records() {
    let world = World::new(PIPELINE, lines(1, 9), 1, Chances::default(), 0);
    let nobody = Polled::Standing("nobody".to_owned(), Standing::Left);
    let cursor = |standing, lines| SourceCursor {
        identity: "file".to_owned(),
        path: "/logs/file".to_owned(),
        position: Position { offset: 9 * lines, line: lines },
        standing,
    };
    assert_eq!(told(&world, vec![line(0), stands(Standing::Left), nobody]).await, []);
    assert_eq!(told(&world, vec![]).await, [cursor(Standing::Left, 1)]);
    let ended = vec![stands(Standing::Open), stands(Standing::Ended)];
    assert_eq!(told(&world, ended).await, [cursor(Standing::Left, 1)]);
    assert_eq!(told(&world, vec![line(1)]).await, [cursor(Standing::Ended, 1)]);
    assert_eq!(told(&world, vec![]).await, [cursor(Standing::Open, 2)]);
}
