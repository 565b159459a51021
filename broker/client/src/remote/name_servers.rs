use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_protocol::{ClusterInfo, GetClusterInfo, Refused, ResponseCode};
use millrace_transport::{Config, Connection};
use tokio::time::{Instant, timeout_at};

use super::failure::{Lost, with_causes};
use crate::BrokerError;

/// The name servers, of which one has to answer.
#[derive(Debug)]
pub(super) struct NameServers {
    addresses: Vec<String>,
    /// Which one to ask first: the one that answered last.
    first: AtomicUsize,
}

impl NameServers {
    /// Reads `host:port[;host:port...]`.
    pub(super) fn parse(text: &str) -> Result<Self, BrokerError> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let addresses: Vec<String> = parts.map(str::to_owned).collect();
        if addresses.is_empty() {
            return Err(BrokerError::Refused("no name server is given".into()));
        }
        if let Some(bad) = addresses.iter().find(|address| !is_address(address)) {
            return Err(BrokerError::Refused(format!("the name server `{bad}` is no `host:port`")));
        }
        Ok(Self { addresses, first: AtomicUsize::new(0) })
    }

    /// All of them, as they were given.
    pub(super) fn text(&self) -> String {
        self.addresses.join(";")
    }

    /// Which brokers there are, by the first name server that answers. Each one has an equal part
    /// of the time, and leaves one for the broker.
    pub(super) async fn clusters(
        &self,
        config: &Config,
        deadline: Instant,
    ) -> Result<ClusterInfo, Lost> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut refused = None;
        let mut silent = None;
        for turn in 0..count {
            let at = (first + turn) % count;
            let address = &self.addresses[at];
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let parts = u32::try_from(count - turn + 1).unwrap_or(u32::MAX);
            match ask(address, config, now + left / parts).await {
                Ok(clusters) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(clusters);
                }
                Err(lost @ Lost::Refused(_)) => refused = Some(lost),
                Err(lost) => silent = Some(lost),
            }
        }
        // While one of them is silent there is still hope.
        Err(silent.or(refused).expect("there is at least one name server"))
    }
}

async fn ask(address: &str, config: &Config, deadline: Instant) -> Result<ClusterInfo, Lost> {
    let unreachable = |reason: String| Lost::NotSent {
        address: address.to_owned(),
        reason: format!("the name server does not answer: {reason}"),
    };
    let asking = async {
        let connecting = Connection::connect(address, config).await;
        let (connection, _) = connecting.map_err(|error| unreachable(with_causes(&error)))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = connection.call(&GetClusterInfo, left).await;
        asked.map_err(|error| unreachable(with_causes(&error)))
    };
    let answered = timeout_at(deadline, asking).await;
    let response = answered.map_err(|_| unreachable("timed out".into()))??;
    let header = response.header();
    match header.response_code() {
        ResponseCode::SUCCESS => ClusterInfo::decode(response.body()).map_err(|error| {
            Lost::Refused(format!("the name server {address} gave no list of brokers: {error}"))
        }),
        ResponseCode::SYSTEM_BUSY | ResponseCode::GO_AWAY => {
            Err(unreachable(Refused::of(&header).to_string()))
        }
        _ => Err(Lost::Refused(format!(
            "{address} does not act as a name server, it answered {}",
            Refused::of(&header)
        ))),
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
