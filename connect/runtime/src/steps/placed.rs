use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard};

use millrace_connect_api::{Batch, Messages};

use super::{Chain, Rejected};
use crate::error::RunError;

/// A chain and where it runs.
///
/// A module may compute for a tenth of a second at a time, and again, so a chain that holds one goes
/// to a thread of its own with each batch, while the rest of the run goes on: the source, other
/// sinks, commits. Waking a thread costs some ten microseconds a batch. Other chains run where they
/// are asked.
pub(crate) struct PlacedChain {
    /// Locked by one batch at a time, and by the next one should nobody have waited for it.
    chain: Arc<Mutex<Chain>>,
    place: Place,
}

/// Where chains run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those that may take long have a thread of their own.
    #[default]
    Aside,
    /// All of them are where they are asked.
    Here,
}

/// What became of messages.
pub(crate) struct Applied {
    /// What goes on.
    pub(crate) batch: Batch,
    /// The rows that cannot.
    pub(crate) rejected: Vec<Rejected>,
}

impl PlacedChain {
    pub(crate) fn new(chain: Chain, place: Place) -> Self {
        let place = if chain.takes_long() { place } else { Place::Here };
        Self { chain: Arc::new(Mutex::new(chain)), place }
    }

    /// As [`Chain::apply`]. If it is dropped, the chain has seen the messages nevertheless.
    pub(crate) async fn apply(&self, messages: Arc<Messages>) -> Result<Applied, RunError> {
        let pass = |chain: &mut Chain| {
            let mut rejected = Vec::new();
            let batch = chain.apply(messages, &mut rejected)?;
            Ok(Applied { batch, rejected })
        };
        self.run(pass).await
    }

    /// As [`Chain::apply_to`]. If it is dropped, the chain has seen the messages nevertheless.
    pub(crate) async fn apply_to(
        &self,
        messages: Arc<Messages>,
        wanted: Vec<Option<u32>>,
    ) -> Result<Applied, RunError> {
        let pass = move |chain: &mut Chain| {
            let mut rejected = Vec::new();
            let batch = chain.apply_to(messages, Some(&wanted), &mut rejected)?;
            Ok(Applied { batch, rejected })
        };
        self.run(pass).await
    }

    /// As [`Chain::remember`]. If it is dropped, the chain has seen the messages nevertheless.
    pub(crate) async fn remember(&self, messages: Arc<Messages>) -> Result<(), RunError> {
        self.run(|chain| chain.remember(messages)).await
    }

    /// The chain, for what it has counted; at once while no batch is under way.
    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain> {
        lock(&self.chain)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chain) -> Result<T, RunError> + Send + 'static,
    ) -> Result<T, RunError> {
        if self.place == Place::Here {
            return work(&mut self.chain());
        }
        let chain = Arc::clone(&self.chain);
        // A thread of the runtime's pool: the runtime waits for it when it ends, and a paused clock
        // stands still meanwhile.
        match tokio::task::spawn_blocking(move || work(&mut lock(&chain))).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(RunError::Setup("the runtime of the run is ending".to_owned())),
            },
        }
    }
}

fn lock(chain: &Mutex<Chain>) -> MutexGuard<'_, Chain> {
    chain.lock().expect("a chain that panicked took its run down with it")
}
