use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_protocol::{Call, ClusterInfo, GetClusterInfo, Refused, ResponseCode};
use millrace_transport::Config;
use tokio::time::{Instant, timeout_at};

use super::{Answered, Lost, Peers};
use crate::BrokerError;

/// The name servers, of which one has to answer.
#[derive(Debug)]
pub(crate) struct NameServers {
    addresses: Vec<String>,
    peers: Peers,
    /// Which one to ask first: the one that answered last.
    first: AtomicUsize,
}

impl NameServers {
    /// Reads `host:port[;host:port...]`.
    pub(crate) fn parse(text: &str, config: Config) -> Result<Self, BrokerError> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let addresses: Vec<String> = parts.map(str::to_owned).collect();
        if addresses.is_empty() {
            return Err(BrokerError::Refused("no name server is given".into()));
        }
        if let Some(bad) = addresses.iter().find(|address| !is_address(address)) {
            return Err(BrokerError::Refused(format!("the name server `{bad}` is no `host:port`")));
        }
        Ok(Self { addresses, peers: Peers::new(config, None), first: AtomicUsize::new(0) })
    }

    /// All of them, as they were given.
    pub(crate) fn text(&self) -> String {
        self.addresses.join(";")
    }

    /// Each of them.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Asks the name servers in turn until one answers, whatever it answers. Each one has an equal
    /// part of the time, and leaves one for whatever comes after.
    pub(crate) async fn ask(
        &self,
        call: &(dyn Call + Sync),
        deadline: Instant,
    ) -> Result<Answered, Lost> {
        self.first_of(call, deadline, Ok).await
    }

    /// Which brokers there are, by the first name server that answers.
    pub(crate) async fn clusters(&self, deadline: Instant) -> Result<ClusterInfo, Lost> {
        let understand = |answered: Answered| {
            let (header, address) = (answered.response.header(), &answered.address);
            match header.response_code() {
                ResponseCode::SUCCESS => {
                    ClusterInfo::decode(answered.response.body()).map_err(|error| {
                        Lost::Refused(format!(
                            "the name server {address} gave no list of brokers: {error}"
                        ))
                    })
                }
                _ => Err(Lost::Refused(format!(
                    "{address} does not act as a name server, it answered {}",
                    Refused::of(&header)
                ))),
            }
        };
        self.first_of(&GetClusterInfo, deadline, understand).await
    }

    async fn first_of<T>(
        &self,
        call: &(dyn Call + Sync),
        deadline: Instant,
        understand: impl Fn(Answered) -> Result<T, Lost>,
    ) -> Result<T, Lost> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        let mut refused = None;
        let mut silent = None;
        for turn in 0..count {
            let at = (first + turn) % count;
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let parts = u32::try_from(count - turn + 1).unwrap_or(u32::MAX);
            let answered = self.ask_one(&self.addresses[at], call, now + left / parts).await;
            match answered.and_then(&understand) {
                Ok(understood) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(understood);
                }
                Err(lost @ Lost::Refused(_)) => refused = Some(lost),
                Err(lost) => silent = Some(lost),
            }
        }
        // While one of them is silent there is still hope.
        Err(silent.or(refused).expect("there is at least one name server"))
    }

    /// Asks one name server. One that is busy or goes away has not answered.
    pub(crate) async fn ask_one(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
        deadline: Instant,
    ) -> Result<Answered, Lost> {
        let silent = |reason: String| Lost::NotSent {
            address: address.to_owned(),
            reason: format!("the name server does not answer: {reason}"),
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = timeout_at(deadline, self.peers.ask(address, call, left)).await;
        let answered = match asked {
            Err(_) => return Err(silent("timed out".into())),
            Ok(Err(Lost::NotSent { reason, .. } | Lost::Unanswered { reason, .. })) => {
                return Err(silent(reason));
            }
            Ok(Err(refused @ Lost::Refused(_))) => return Err(refused),
            Ok(Ok(answered)) => answered,
        };
        let header = answered.response.header();
        match header.response_code() {
            ResponseCode::SYSTEM_BUSY | ResponseCode::GO_AWAY => {
                Err(silent(Refused::of(&header).to_string()))
            }
            _ => {
                drop(header);
                Ok(answered)
            }
        }
    }

    /// Ends the connections.
    pub(crate) async fn close(&self) {
        self.peers.close().await;
    }
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}
