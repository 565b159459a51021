use millrace_connect_api::{Batch, Cut, FileSink, Part, PartState, Plan, SinkError, Written};

use crate::error::RunError;
use crate::link::{Link, Pauses};

/// A sink that is asked again while its destination is away.
pub(crate) struct Patient<'a> {
    pub(crate) link: &'a Link,
    pub(crate) name: &'a str,
    pub(crate) sink: &'a mut dyn FileSink,
}

impl Patient<'_> {
    pub(crate) async fn write(&mut self, batch: &Batch) -> Result<Written, RunError> {
        let mut pauses = self.link.pauses();
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
        let mut pauses = self.link.pauses();
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

    /// Makes a staged part visible.
    pub(crate) async fn publish(&mut self, part: &Part) -> Result<(), RunError> {
        let mut pauses = self.link.pauses();
        while let Err(error) = self.sink.publish(part).await {
            unavailable(self.name, &mut pauses, error).await?;
        }
        pauses.over();
        Ok(())
    }

    pub(crate) async fn abort(&mut self, part: &Part) -> Result<(), RunError> {
        let mut pauses = self.link.pauses();
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
        let mut pauses = self.link.pauses();
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

    pub(crate) async fn sweep(&mut self) -> Result<(), RunError> {
        let mut pauses = self.link.pauses();
        while let Err(error) = self.sink.sweep(&[]).await {
            unavailable(self.name, &mut pauses, error).await?;
        }
        pauses.over();
        Ok(())
    }
}

/// Pauses if the destination may come back, or fails.
async fn unavailable(
    sink: &str,
    pauses: &mut Pauses<'_>,
    error: SinkError,
) -> Result<(), RunError> {
    let passes = match &error {
        SinkError::Unavailable(reason) => {
            pauses.pause(reason, || format!("write to sink `{sink}`")).await
        }
        SinkError::Broken(_) => false,
    };
    if passes { Ok(()) } else { Err(RunError::Sink { sink: sink.to_owned(), source: error }) }
}
