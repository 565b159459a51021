use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_client::{Append, Outgoing, Wait};
use millrace_connect_api::{Polled, Source, SourceError};
use millrace_wasm_host::{Host, Limits};

use super::*;
use crate::steps::tests::modules::{BY_NUMBER, module};

/// A pipeline of which one sink has a module that never ends at messages whose number begins with 3.
const WITH_MODULE: &str = r#"
version: 1
pipeline: p
source:
  file: {include: [x], once: true, decode: {json: {}}}
topic: {name: t, queues: 1}
schema: {n: int, kind: string}
sinks:
  all:
    steps:
      - wasm: {module: m.wasm}
    parquet: {to: out, rotate: {rows: 5}}
    on_error: {dlq: {max_ratio: 100%}}
  plain:
    parquet: {to: out, rotate: {rows: 5}}
"#;

fn line(n: u64) -> String {
    format!(r#"{{"n":{n},"kind":"a"}}"#)
}

/// A world with messages in its topic and lines in a file, and what its modules' time comes from.
async fn world(messages: &[u64], lines: &[u64]) -> (World, Arc<Host>) {
    let lines = lines.iter().map(|n| Line { text: line(*n), readable: true }).collect();
    let files = Files::new([("file-0".to_owned(), lines)].into());
    let mut world = World::new(WITH_MODULE, files, 1, Chances::default(), 0);
    // A call that ends sees fewer ticks than these, however fast they come: it counts one each time
    // that it looks.
    let host = Host::without_clock(Limits { deadline_ticks: 1_000, ..Limits::default() });
    world.filters = Filters::of_sink("all", 0, host.load(&module("filter", BY_NUMBER)).unwrap());
    let topic = TopicName::parse("t").unwrap();
    let outgoing = |n: &u64| Outgoing {
        topic: topic.clone(),
        queue: QueueId(0),
        body: line(*n).into(),
        properties: Bytes::new(),
        born_at_ms: 0,
    };
    let messages = messages.iter().map(outgoing).collect();
    world.broker.ensure_topic(&topic, 1).await.unwrap();
    world.broker.append(Append { messages, fence: None, wait: Wait::Durable }).await.unwrap();
    (world, Arc::new(host))
}

/// Drives a run. Time stands still for its modules until `is_due`. Fails if that never came, which
/// takes somebody else to find out: what waits for a module cannot.
async fn hold<T>(host: &Arc<Host>, run: impl Future<Output = T>, is_due: impl Fn() -> bool) -> T {
    let (alive, is_over) = mpsc::channel::<()>();
    let ticking = Arc::clone(host);
    let watch = thread::spawn(move || {
        let mut patience = Duration::from_secs(30);
        let mut never_came = false;
        while is_over.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            (never_came, patience) = (true, Duration::from_millis(1));
            ticking.tick();
        }
        never_came
    });
    let ticks = async {
        while !is_due() {
            tokio::task::yield_now().await;
        }
        loop {
            host.tick();
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = run => ended,
        () = ticks => unreachable!("it ticks for ever"),
    };
    drop(alive);
    assert!(!watch.join().unwrap(), "what it waits for did not come while the module was held");
    ended
}

/// A source that has nothing before a sink is at work.
struct After(Box<dyn Source>, Arc<MemoryBroker>);

#[async_trait]
impl Source for After {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        while self.1.pulled("t") == 0 {
            tokio::task::yield_now().await;
        }
        self.0.poll().await
    }
}

#[tokio::test]
async fn the_source_and_other_sinks_go_on_while_a_module_never_ends() {
    let (world, host) = world(&[3], &[5, 6, 7, 8]).await;
    let (open, broker) = (world.files.source(1), Arc::clone(&world.broker));
    let source = move |cursors| Ok(Box::new(After(open(cursors)?, broker)) as Box<dyn Source>);
    let sink = world.destination.sinks(None);
    let run = world.run_with(Connectors { source: Some(Box::new(source)), sink }, Until::Stopped);
    let control = run.control();
    let is_due = || {
        let progress = control.progress();
        let has_ended = progress.source.is_some_and(|source| source.ended && source.appended == 4);
        has_ended && progress.sinks.get("plain").is_some_and(|plain| plain.visible_rows == 5)
    };
    let summary = hold(&host, run.finish(), is_due).await.unwrap();
    assert!(summary.balanced, "{summary:?}");
    let all = &summary.sinks["all"];
    assert_eq!((all.read, all.visible_rows), (5, 4));
    assert_eq!(all.dead_lettered, BTreeMap::from([("E-WASM-TRAP".to_owned(), 1)]));
}

/// Drives a run that is asked to stop while its module is at work for the first time.
async fn stop_at_work(world: &World, host: &Arc<Host>) -> Summary {
    let run = without_source(world, Until::Stopped);
    let control = run.control();
    let before = world.broker.pulled("t");
    let is_due = || {
        let is_at_work = world.broker.pulled("t") > before;
        if is_at_work {
            control.stop();
        }
        is_at_work
    };
    let summary = hold(host, run.finish(), is_due).await.unwrap();
    assert!(summary.balanced, "{summary:?}");
    summary
}

/// Not all of the messages at which it does not end are waited for, and none of them is lost.
#[tokio::test]
async fn a_stop_is_not_kept_waiting_by_a_module_that_never_ends() {
    let (world, host) = world(&[31, 32, 33, 34, 35], &[]).await;
    let summary = stop_at_work(&world, &host).await;
    assert_eq!((summary.sinks["all"].read, summary.sinks["all"].lag), (0, 5));
    assert_eq!(world.broker.messages("%DLQ%p_all"), []);
    let rest = without_source(&world, Until::Drained);
    let summary = hold(&host, rest.finish(), || true).await.unwrap();
    assert_eq!(summary.sinks["all"].dead_lettered, BTreeMap::from([("E-WASM-TRAP".to_owned(), 5)]));
}

/// The same while a step learns what it has to remember, before anything is delivered.
#[tokio::test]
async fn a_stop_at_the_start_is_not_kept_waiting_either() {
    let (mut world, host) = world(&[31, 32, 33, 34, 35], &[]).await;
    let dedupe = "steps:\n  - dedupe: {by: body.n, offsets: 100}\nsinks:\n";
    let remembering = WITH_MODULE.replace("sinks:\n", dedupe);
    world.pipeline = pipeline(&remembering);
    let first = without_source(&world, Until::Drained);
    let summary = hold(&host, first.finish(), || true).await.unwrap();
    assert_eq!(summary.sinks["all"].read, 5);
    let committed = world.state().await.sinks["all"].resume.clone();
    let summary = stop_at_work(&world, &host).await;
    assert_eq!(summary.sinks, BTreeMap::new());
    assert_eq!(world.state().await.sinks["all"].resume, committed);
}
