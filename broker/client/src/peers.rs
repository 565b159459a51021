//! Connections to brokers and name servers: made when they are first needed, and again after they
//! were lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use millrace_protocol::Call;
use millrace_transport::{Callback, Callbacks, Config, Connection};
use tokio::sync::mpsc;

mod channel; // a connection that comes back
mod lost; // why there is no answer
mod name_servers; // who knows where brokers are

pub(crate) use channel::{Answered, Channel, Reach, Reached};
pub(crate) use lost::{Lost, with_causes};
pub(crate) use name_servers::NameServers;

/// A request of a broker, and the connection to answer it on.
pub(crate) struct Called {
    pub(crate) reached: Arc<Reached>,
    pub(crate) callback: Callback,
}

/// One connection for each address, shared by all who call there.
#[derive(Debug)]
pub(crate) struct Peers {
    config: Config,
    channels: Mutex<BTreeMap<Box<str>, Arc<Channel>>>,
    /// Where requests of brokers go; without it they are answered "not supported".
    callbacks: Option<mpsc::Sender<Called>>,
}

impl Peers {
    pub(crate) fn new(config: Config, callbacks: Option<mpsc::Sender<Called>>) -> Self {
        Self { config, channels: Mutex::default(), callbacks }
    }

    /// The connection to an address, whether it is there or not.
    pub(crate) fn at(&self, address: &str) -> Arc<Channel> {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(address) {
            return Arc::clone(channel);
        }
        let at = At { address: address.into(), config: self.config.clone() };
        let channel = Arc::new(Channel::new(Arc::new(at), self.callbacks.clone()));
        channels.insert(address.into(), Arc::clone(&channel));
        channel
    }

    /// Sends a request that nobody answers.
    pub(crate) async fn send_oneway(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
    ) -> Result<(), Lost> {
        self.at(address).send_oneway(call).await
    }

    /// Sends a request, once, and waits for its answer.
    pub(crate) async fn call(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, Lost> {
        self.at(address).call(call, timeout).await
    }

    /// The same for a request that may be carried out twice.
    pub(crate) async fn ask(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, Lost> {
        self.at(address).ask(call, timeout).await
    }

    /// Ends all connections, after writing what is queued.
    pub(crate) async fn close(&self) {
        let channels = std::mem::take(&mut *self.lock());
        for channel in channels.into_values() {
            channel.close().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<str>, Arc<Channel>>> {
        // Nothing under the lock can panic halfway through a change.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address that does not change.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) address: Arc<str>,
    pub(crate) config: Config,
}

#[async_trait]
impl Reach for At {
    async fn reach(&self) -> Result<(Arc<str>, Connection, Callbacks), Lost> {
        let connecting = Connection::connect(&*self.address, &self.config).await;
        let (connection, callbacks) = connecting.map_err(|error| Lost::NotSent {
            address: self.address.to_string(),
            reason: with_causes(&error),
        })?;
        Ok((Arc::clone(&self.address), connection, callbacks))
    }
}
