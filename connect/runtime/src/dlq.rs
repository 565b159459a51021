//! Dead letters after the fact: whose there are, what they say, and what became of them.

use std::sync::Arc;

use millrace_client::{Broker, BrokerError};
use millrace_sql_filter::{Dialect, Expr, Row, SyntaxError, Truth, Value};
use millrace_types::{Properties, QueueOffset, TopicName};

use crate::error::RunError;
use crate::{ledger, letter};

pub use crate::letter::SOURCE;

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
    /// When it was stored, milliseconds since the Unix epoch.
    pub stored_at_ms: i64,
    /// The bytes of the message.
    pub body: &'a [u8],
    /// The properties of the message, and those that say why it is a letter.
    pub properties: Properties<'a>,
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
    /// The property with the kind of mistake.
    pub const CODE: &'static str = "dlq_code";

    /// The kind of mistake. What others put into the topic has none.
    pub fn code(&self) -> Option<&'a str> {
        self.properties.get(Self::CODE)
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
    let topic = whose.topic()?;
    let read = ledger::looking(Arc::clone(broker))
        .read_through(&topic, letter::QUEUE, QueueOffset(0), &mut |message| {
            each(Letter {
                at: message.queue_offset,
                stored_at_ms: message.store_at_ms,
                body: message.body,
                properties: message.properties,
            });
            Ok(())
        })
        .await;
    match read {
        Ok(_) => Ok(true),
        Err(RunError::Broker { source: BrokerError::NoSuchQueue { .. }, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
