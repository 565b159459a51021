use std::time::Duration;

use millrace_config::Retry;
use millrace_connect_api::{
    Batch, Cut, FileSink, Part, PartState, Plan, Published, SinkError, Written,
};

use crate::error::RunError;
use crate::link::{Link, Pauses};

/// A sink that is asked again while its destination is away.
pub(crate) struct Patient<'a> {
    pub(crate) link: &'a Link,
    pub(crate) name: &'a str,
    pub(crate) sink: &'a mut dyn FileSink,
    /// What the pipeline says about attempts, if anything.
    pub(crate) retry: Option<&'a Retry>,
}

impl<'a> Patient<'a> {
    pub(crate) async fn write(&mut self, batch: &Batch) -> Result<Written, RunError> {
        let mut pauses = self.pauses();
        loop {
            match self.sink.write(batch, self.link.now()).await {
                Ok(written) => {
                    pauses.over();
                    return Ok(written);
                }
                Err(error) => unavailable(self.name, &mut pauses, error).await?,
            }
        }
    }

    pub(crate) async fn plan(&mut self, cut: Cut) -> Result<Plan, RunError> {
        let mut pauses = self.pauses();
        loop {
            match self.sink.plan(self.link.now(), cut).await {
                Ok(plan) => {
                    pauses.over();
                    return Ok(plan);
                }
                Err(error) => unavailable(self.name, &mut pauses, error).await?,
            }
        }
    }

    /// Makes a staged part visible. Where the pipeline sets a time for that and the time is over, what
    /// is left of the part is refused, if the sink knows how.
    pub(crate) async fn publish(&mut self, part: &Part) -> Result<Published, RunError> {
        let mut pauses = self.pauses();
        let since_ms = self.link.now().mono_ms;
        let most = self.retry.and_then(|retry| retry.max_elapsed);
        loop {
            let error = match self.sink.publish(part).await {
                Ok(published) => {
                    pauses.over();
                    return Ok(published);
                }
                Err(error) => error,
            };
            let passed = Duration::from_millis(self.link.now().mono_ms - since_ms);
            if !matches!(error, SinkError::Broken(_)) && most.is_some_and(|most| passed >= most) {
                let sink = self.name.to_owned();
                let refused = self.sink.give_up(part);
                return refused.ok_or(RunError::Sink { sink, source: error });
            }
            unavailable(self.name, &mut pauses, error).await?;
        }
    }

    pub(crate) async fn abort(&mut self, part: &Part) -> Result<(), RunError> {
        let mut pauses = self.pauses();
        while let Err(error) = self.sink.abort(part).await {
            unavailable(self.name, &mut pauses, error).await?;
        }
        pauses.over();
        Ok(())
    }

    pub(crate) async fn probe(
        &mut self,
        parts: &[Part],
    ) -> Result<Vec<(Part, PartState)>, RunError> {
        let mut states = Vec::with_capacity(parts.len());
        let mut pauses = self.pauses();
        for part in parts {
            let state = loop {
                match self.sink.probe(part).await {
                    Ok(state) => break state,
                    Err(error) => unavailable(self.name, &mut pauses, error).await?,
                }
            };
            states.push((part.clone(), state));
        }
        pauses.over();
        Ok(states)
    }

    pub(crate) async fn sweep(&mut self, planned: &[Part]) -> Result<(), RunError> {
        let mut pauses = self.pauses();
        while let Err(error) = self.sink.sweep(planned).await {
            unavailable(self.name, &mut pauses, error).await?;
        }
        pauses.over();
        Ok(())
    }

    fn pauses(&self) -> Pauses<'a> {
        match self.retry {
            Some(retry) => self.link.pauses().between(retry.initial, retry.max),
            None => self.link.pauses(),
        }
    }
}

/// Pauses if the destination may come back, or fails.
async fn unavailable(
    sink: &str,
    pauses: &mut Pauses<'_>,
    error: SinkError,
) -> Result<(), RunError> {
    let doing = || format!("write to sink `{sink}`");
    let passes = match &error {
        SinkError::Unavailable(reason) => pauses.pause(reason, doing, Duration::ZERO).await,
        SinkError::Busy { after, source } => pauses.pause(source, doing, *after).await,
        SinkError::Broken(_) => false,
    };
    if passes { Ok(()) } else { Err(RunError::Sink { sink: sink.to_owned(), source: error }) }
}
