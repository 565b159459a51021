use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use millrace_protocol::{
    ClusterInfo, HeaderKind, Hello, HelloAnswer, Limits, Refused, ResponseCode,
};
use millrace_transport::{Callbacks, Config, Connection};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use crate::BrokerError;
use crate::peers::{Lost, NameServers, Reach, with_causes};

const PRODUCT: &str = "Millrace";

/// Where a broker is to be found.
#[derive(Debug)]
pub(super) struct Home {
    name_servers: NameServers,
    connect_timeout: Duration,
    config: Config,
}

/// A broker that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Arc<str>,
    pub(super) address: Arc<str>,
    pub(super) connection: Connection,
    pub(super) callbacks: Callbacks,
}

/// The longest request and the longest answer.
pub(super) fn frame_bytes_max() -> usize {
    Limits::default().frame_bytes_max
}

impl Home {
    pub(super) fn new(namesrv: &str, connect_timeout: Duration) -> Result<Self, BrokerError> {
        let config =
            Config { header_kind: HeaderKind::Binary, connect_timeout, ..Config::default() };
        let name_servers = NameServers::parse(namesrv, config.clone())?;
        Ok(Self { name_servers, connect_timeout, config })
    }

    /// Finds the broker of that name, or the only one, connects, and makes sure that it is
    /// Millrace. Nothing but that has been sent when this fails.
    ///
    /// There is no falling back on an address of before: another broker may be there by now.
    pub(super) async fn reach(&self, name: Option<&str>) -> Result<Found, Lost> {
        let deadline = Instant::now() + self.connect_timeout;
        let clusters = self.name_servers.clusters(deadline).await?;
        let (name, address) = self.choose(&clusters, name)?;
        let connection = timeout_at(deadline, self.greet(name, address, deadline)).await;
        let timed_out = |_| Lost::NotSent { address: address.into(), reason: "timed out".into() };
        let (connection, callbacks) = connection.map_err(timed_out)??;
        info!(broker = name, peer = address, "connected to the broker");
        Ok(Found { name: name.into(), address: address.into(), connection, callbacks })
    }

    /// The name and the address of the broker that takes writes.
    fn choose<'a>(
        &self,
        clusters: &'a ClusterInfo,
        name: Option<&str>,
    ) -> Result<(&'a str, &'a str), Lost> {
        let mut found = clusters.brokers.iter().filter_map(|(known, broker)| {
            let wanted = name.is_none_or(|name| name == known);
            let address = broker.addresses.get(&0).filter(|_| wanted)?;
            Some((known.as_str(), address.as_str()))
        });
        match (found.next(), found.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => {
                let reason = match name {
                    Some(name) => format!("the name server knows no broker `{name}`"),
                    None => "the name server knows no broker yet".to_owned(),
                };
                Err(Lost::NotSent { address: self.name_servers.text(), reason })
            }
            (Some(_), Some(_)) => {
                let names: Vec<_> = clusters.brokers.keys().map(String::as_str).collect();
                Err(Lost::Refused(format!(
                    "there are several brokers ({}), and which one to use is not said",
                    names.join(", ")
                )))
            }
        }
    }

    async fn greet(
        &self,
        name: &str,
        address: &str,
        deadline: Instant,
    ) -> Result<(Connection, Callbacks), Lost> {
        let unreachable = |reason| Lost::NotSent { address: address.to_owned(), reason };
        let connecting = Connection::connect(address, &self.config).await;
        let (connection, callbacks) =
            connecting.map_err(|error| unreachable(with_causes(&error)))?;
        let hello = Hello { product: PRODUCT.into(), version: env!("CARGO_PKG_VERSION").into() };
        let left = deadline.saturating_duration_since(Instant::now());
        let greeting = connection.call(&hello, left).await;
        let response = greeting.map_err(|error| unreachable(with_causes(&error)))?;
        let header = response.header();
        let stranger = |answer: String| {
            Lost::Refused(format!(
                "the broker `{name}` at {address} is not Millrace, it {answer}; \
                 pipelines on Apache RocketMQ are not supported yet"
            ))
        };
        match header.response_code() {
            ResponseCode::SUCCESS => match HelloAnswer::decode(&header) {
                Ok(answer) if answer.product == PRODUCT => {
                    // Routes may be older than what listens there by now.
                    if !answer.broker.is_empty() && answer.broker != name {
                        let other = format!("the broker there calls itself `{}`", answer.broker);
                        return Err(unreachable(other));
                    }
                }
                Ok(answer) => return Err(stranger(format!("calls itself `{}`", answer.product))),
                Err(error) => return Err(stranger(format!("does not say what it is: {error}"))),
            },
            ResponseCode::SYSTEM_BUSY | ResponseCode::GO_AWAY => {
                return Err(unreachable(Refused::of(&header).to_string()));
            }
            _ => return Err(stranger(format!("answered {}", Refused::of(&header)))),
        }
        Ok((connection, callbacks))
    }

    /// Ends the connections to the name servers.
    pub(super) async fn close(&self) {
        self.name_servers.close().await;
    }
}

/// The broker of one name, wherever it is.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) home: Arc<Home>,
    pub(super) broker: Arc<str>,
}

#[async_trait]
impl Reach for Named {
    async fn reach(&self) -> Result<(Arc<str>, Connection, Callbacks), Lost> {
        let found = self.home.reach(Some(&self.broker)).await?;
        Ok((found.address, found.connection, found.callbacks))
    }
}
