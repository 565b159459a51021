//! Dead letters after the fact: whose there are, what they say, and what became of them.
//!
//! A letter is *open* until the ledger of its sink's letters says that it was replayed or dropped.
//! Whoever does either holds the lease of that ledger, so there is one at a time. The pipeline's
//! own ledger and lease have no part in it, so a run goes on beside it.

mod replay; // letters go through their pipeline again

use std::sync::Arc;

use millrace_client::{Broker, BrokerError, Wait};
use millrace_connect_api::Message;
use millrace_sql_filter::{Dialect, Expr, Row, SyntaxError, Truth, Value};
use millrace_types::{Properties, QueueOffset, TopicName};

use crate::error::RunError;
use crate::ledger::{Dropped, Ledger, OffsetSet, Record, SinkState};
use crate::link::Link;
use crate::{fault, ledger, letter};

pub use crate::letter::SOURCE;
pub use replay::{Failed, Replayed, Selected, rehearse, replay};

/// Whose letters: those of one sink, or of the source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whose {
    /// The pipeline.
    pub pipeline: String,
    /// The sink, or [`SOURCE`].
    pub sink: String,
}

/// A dead letter as it lies in its topic.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Where it lies; letters have one queue.
    pub at: QueueOffset,
    /// What became of it.
    pub fate: Fate,
    /// When it was stored, milliseconds since the Unix epoch.
    pub stored_at_ms: i64,
    /// The bytes of the message.
    pub body: &'a [u8],
    /// The properties of the message, and those that say why it is a letter.
    pub properties: Properties<'a>,
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing yet.
    Open,
    /// A replay ended before the ledger could say that it was replayed. The next replay settles
    /// what became of it.
    Unsettled,
    /// Its message went through the steps again, and what came of it is in the destination.
    Replayed,
    /// Somebody gave it up.
    Dropped,
}

/// What a drop did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Letters dropped.
    pub dropped: u64,
    /// Letters that were meant, and left as they are because they are [`Fate::Unsettled`].
    pub unsettled: u64,
}

/// A condition over what letters say: SQL92 over their properties, all of which are texts.
#[derive(Clone, Debug)]
pub struct Condition(Expr);

impl Whose {
    /// The topic of the letters.
    pub fn topic(&self) -> Result<TopicName, RunError> {
        letter::topic(&self.pipeline, &self.sink)
    }
}

impl<'a> Letter<'a> {
    fn new(message: &Message<'a>, fate: Fate) -> Self {
        Self {
            at: message.queue_offset,
            fate,
            stored_at_ms: message.store_at_ms,
            body: message.body,
            properties: message.properties,
        }
    }

    /// The kind of mistake. What others put into the topic has none.
    pub fn code(&self) -> Option<&'a str> {
        self.properties.get(letter::CODE)
    }
}

impl Condition {
    /// Reads a condition such as `dlq_code = 'E-DECODE-03' AND dlq_field = 'amount'`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        Expr::parse_condition(text, Dialect::Strict).map(Self)
    }

    /// Whether it is true of a letter. One for which it has no value is not meant.
    pub fn holds(&self, letter: &Letter<'_>) -> bool {
        struct Of<'a>(&'a Expr, Properties<'a>);
        impl<'a> Row<'a> for Of<'a> {
            fn value(&self, slot: usize) -> Value<'a> {
                let column = &self.0.columns()[slot];
                self.1.get(&column.name).map_or(Value::Null, Value::text)
            }
        }
        matches!(self.0.verdict(&Of(&self.0, letter.properties)), Ok(Truth::True))
    }
}

/// Whose letters there may be: of all pipelines that ever ran, the source and the sinks.
pub async fn all(broker: &Arc<dyn Broker>) -> Result<Vec<Whose>, RunError> {
    let mut all = Vec::new();
    for pipeline in ledger::pipelines(Arc::clone(broker)).await? {
        let Some(state) = ledger::read(Arc::clone(broker), &pipeline).await? else { continue };
        let sinks = [SOURCE.to_owned()].into_iter().chain(state.sinks.into_keys());
        all.extend(sinks.map(|sink| Whose { pipeline: pipeline.clone(), sink }));
    }
    all.sort();
    Ok(all)
}

/// Reads all letters of a sink, oldest first. `false` if there never were any.
pub async fn read(
    broker: &Arc<dyn Broker>,
    whose: &Whose,
    each: &mut (dyn FnMut(Letter<'_>) + Send),
) -> Result<bool, RunError> {
    let link = ledger::looking(Arc::clone(broker));
    if !exist(&link, whose).await? {
        return Ok(false);
    }
    let state = state(Arc::clone(broker), whose).await?;
    read_through(&link, whose, &state, each).await?;
    Ok(true)
}

/// Drops the open letters of a sink that a condition means, durably; `None` if there never were
/// any. `worker` is different for every call, as in [`RunOptions`](crate::RunOptions).
pub async fn drop_letters(
    broker: &Arc<dyn Broker>,
    whose: &Whose,
    condition: Option<&Condition>,
    worker: &str,
) -> Result<Option<Drops>, RunError> {
    let link = Arc::new(ledger::looking(Arc::clone(broker)));
    if !exist(&link, whose).await? {
        return Ok(None);
    }
    let name = ledger::of_letters(&whose.pipeline, &whose.sink);
    let (ledger, mut state) = Ledger::open(Arc::clone(&link), &name, worker).await?;
    let state = state.sinks.remove(&whose.sink).unwrap_or_default();
    let mut meant = Vec::new();
    let mut drops = Drops::default();
    read_through(&link, whose, &state, &mut |letter| {
        if condition.is_none_or(|condition| condition.holds(&letter)) {
            match letter.fate {
                Fate::Open => meant.push(letter.at),
                Fate::Unsettled => drops.unsettled += 1,
                Fate::Replayed | Fate::Dropped => {}
            }
        }
    })
    .await?;
    for letters in meant.chunks(LETTERS_MAX) {
        fault::point("before-dropped")?;
        let letters: OffsetSet = letters.iter().copied().collect();
        drops.dropped += letters.len();
        let dropped = Record::Dropped(Dropped { sink: whose.sink.clone(), letters });
        ledger.append_records(vec![dropped], Wait::Durable).await?;
        fault::point("after-dropped")?;
    }
    Ok(Some(drops))
}

/// So many letters fit into one record of the ledger, however they lie.
const LETTERS_MAX: usize = 50_000;

/// Whether there ever was a letter of this sink.
async fn exist(link: &Link, whose: &Whose) -> Result<bool, RunError> {
    match link.bounds(&whose.topic()?, letter::QUEUE).await {
        Ok((_, end)) => Ok(end > QueueOffset(0)),
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What became of the letters of a sink.
async fn state(broker: Arc<dyn Broker>, whose: &Whose) -> Result<SinkState, RunError> {
    let name = ledger::of_letters(&whose.pipeline, &whose.sink);
    let state = ledger::read(broker, &name).await?;
    Ok(state.and_then(|mut state| state.sinks.remove(&whose.sink)).unwrap_or_default())
}

async fn read_through(
    link: &Link,
    whose: &Whose,
    state: &SinkState,
    each: &mut (dyn FnMut(Letter<'_>) + Send),
) -> Result<(), RunError> {
    link.read_through(&whose.topic()?, letter::QUEUE, QueueOffset(0), &mut |message| {
        each(Letter::new(&message, fate(state, message.queue_offset)));
        Ok(())
    })
    .await?;
    Ok(())
}

fn fate(state: &SinkState, letter: QueueOffset) -> Fate {
    if state.replayed.contains(letter) {
        Fate::Replayed
    } else if state.dropped.contains(letter) {
        Fate::Dropped
    } else if state.planned.iter().any(|unsettled| unsettled.letters.contains(letter)) {
        Fate::Unsettled
    } else {
        Fate::Open
    }
}

#[cfg(test)]
mod tests;
