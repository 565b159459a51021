use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use millrace_disk::Disk;
use millrace_engine::{EngineConfig, QUEUES_MAX};
use millrace_store::{OpenError as StoreError, Recovered, StoreConfig};
use millrace_wasm_host::{Host, Limits as FilterLimits};
use rustix::process::{Resource, getrlimit};
use tracing::{error, info, warn};

use crate::clock::{Clock, system_clock};
use crate::config::{MESSAGE_BYTES_MAX, ServerConfig};
use crate::core::{CloseError, Core, CoreConfig, OpenError};
use crate::dispatch::Role;
use crate::filters::{Filters, MakeHost};
use crate::flushing::Flushing;
use crate::local::LocalBroker;
use crate::metrics::Metrics;
use crate::reactor::{Control, Listener, Reactor};
use crate::registrar::Registrar;
use crate::shell::{Names, Serves, Shell};

/// A broker and a name server that clients reach over sockets.
///
/// Dropping it stops it as [`Server::stop`] does, but for saying how that went.
pub struct Server {
    core: Core,
    addresses: Addresses,
    recovered: Recovered,
    control: Arc<Control>,
    waker: Arc<mio::Waker>,
    metrics: Option<Metrics>,
    registrar: Option<Registrar>,
    reactor: Option<thread::JoinHandle<io::Result<()>>>,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For routes, if it gives any.
    pub namesrv: Option<SocketAddr>,
    /// For everything else, if there is a broker.
    pub broker: Option<SocketAddr>,
    /// What routes tell clients to connect to, or where the name server alone is.
    pub advertised: SocketAddr,
}

/// How much a server has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Open connections.
    pub connections: usize,
    /// Bytes held for peers: requests that are not whole, answers that are not taken.
    pub held_bytes: usize,
    /// The most that was ever held.
    pub held_bytes_peak: usize,
}

/// Why a server does not start. Each variant is something else for a person to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process has the data directory open.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// Another process listens there.
    #[error("{address} is taken by another process{}", perhaps_vip(.vip_of))]
    PortTaken {
        /// Where.
        address: SocketAddr,
        /// Somebody listens there as well: a broker whose VIP port this would be.
        vip_of: Option<SocketAddr>,
    },
    /// The broker and the name server cannot both listen at one address.
    #[error(
        "the broker and the name server are to listen at the same address: {broker} and {namesrv}"
    )]
    SameAddress {
        /// Where the broker is to listen.
        broker: SocketAddr,
        /// Where the name server is.
        namesrv: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Neither a name server nor a broker was asked for.
    #[error("a server needs a place to listen: that of a name server, of a broker, or both")]
    Nowhere,
    /// Listening everywhere, so nobody knows which address clients can reach.
    #[error("listening on {0} needs an advertised address, which routes can give to clients")]
    NotAdvertised(SocketAddr),
    /// The disk has no room even for an empty log.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// What lies behind the end of the log cannot be copied, most likely for want of room.
    #[error("{0}")]
    TailNotCopied(String),
    /// The data directory is of another program, or of another version of this one.
    #[error("{0}")]
    Foreign(String),
    /// Something in the data directory is missing or damaged.
    #[error("{0}")]
    Damaged(String),
    /// The data directory cannot be read or written.
    #[error("cannot use the data directory: {0}")]
    Data(io::Error),
    /// The system gives no thread, poll or waker.
    #[error("the system is short of resources: {0}")]
    Resources(io::Error),
}

/// What went wrong while a server stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The reactor had stopped before, and why.
    #[error("the reactor failed: {0}")]
    Reactor(String),
    /// The last messages may not be on disk.
    #[error(transparent)]
    Close(#[from] CloseError),
}

impl Server {
    /// Takes up the data directory, listens, and starts to serve.
    pub fn start(disk: Arc<dyn Disk>, config: ServerConfig) -> Result<Self, StartError> {
        Self::start_at(disk, config, system_clock())
    }

    fn start_at(
        disk: Arc<dyn Disk>,
        config: ServerConfig,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let host = Box::new(|| Arc::new(Host::new(FilterLimits::default())));
        Self::start_with(disk, config, clock, host)
    }

    fn start_with(
        disk: Arc<dyn Disk>,
        config: ServerConfig,
        clock: Clock,
        host: MakeHost,
    ) -> Result<Self, StartError> {
        if let (Some(broker), Some(namesrv)) = (config.broker_listen, config.namesrv_listen)
            && collide(broker, namesrv)
        {
            return Err(StartError::SameAddress { broker, namesrv });
        }
        let broker = config.broker_listen.map(|at| bind(at, Role::Broker)).transpose()?;
        let namesrv = config.namesrv_listen.map(|at| bind(at, Role::NameServer)).transpose()?;
        let metrics = config.metrics_listen.map(bind_metrics).transpose()?;
        let addresses = addresses(&config, broker.as_ref(), namesrv.as_ref())?;
        // Last, so that it takes the place of nothing that was asked for.
        let vip = config.broker_listen.filter(|_| config.vip_port).and_then(bind_vip);

        let core_config = CoreConfig {
            store: StoreConfig {
                segment_bytes: config.segment_bytes,
                flush: config.flush,
                store_host: addresses.advertised,
                ..StoreConfig::default()
            },
            engine: EngineConfig {
                broker_name: config.broker_name.as_str().into(),
                auto_create_topics: config.auto_create_topics,
                message_bytes_max: config.message_bytes_max.min(MESSAGE_BYTES_MAX),
                delay_levels: config.delay_levels,
                retention: config.retention,
                lost_state: config.lost_state,
                limits: config.limits.remembered,
                timer_ms_max: config.timer_max.as_millis() as u64,
                transactions: config.transactions,
                ..EngineConfig::default()
            },
            flushing: Flushing::Thread,
            clock,
        };
        let (core, recovered) = Core::open(Arc::clone(&disk), &config.dir, core_config)?;
        // Who uses it from within this process may be done before the reactor looks at the disk.
        core.tick();
        let shared = Arc::clone(core.shared());
        let filters = Arc::new(Filters::open(disk, &config.dir, shared, host));
        let names = Names {
            host: addresses.advertised,
            namesrv: addresses.namesrv,
            broker: Arc::clone(core.name()),
            cluster: config.cluster_name.as_str().into(),
            auto_create_topics: config.auto_create_topics,
            template_queues: config.template_queues.clamp(1, QUEUES_MAX),
            serves: if broker.is_some() { Serves::Messages } else { Serves::RoutesOnly },
        };
        let registrar = match broker {
            Some(_) if !config.name_servers.is_empty() => {
                let to = config.name_servers;
                Some(Registrar::start(to, names.clone(), Arc::clone(core.shared())))
            }
            _ => None,
        };
        let registrar = registrar.transpose().map_err(StartError::Resources)?;
        let connections_max = config.limits.connections_max;
        let open_files_max = getrlimit(Resource::Nofile).current;
        let limits = config.limits.within(open_files_max);
        if limits.connections_max < connections_max {
            let most = limits.connections_max;
            warn!(
                most,
                wanted = connections_max,
                "the process may open few files, so there are fewer connections"
            );
        }
        let mut shell = Shell::new(names, limits, Arc::clone(core.shared()), Arc::clone(&filters));
        shell.known = registrar.as_ref().map(Registrar::known);
        let control = Arc::new(Control::default());
        let listeners = namesrv.into_iter().chain(broker).chain(vip).collect();
        let (reactor, waker) = Reactor::new(core.shared(), shell, listeners, Arc::clone(&control))
            .map_err(StartError::Resources)?;
        let metrics = metrics
            .map(|listener| {
                Metrics::start(listener, Arc::clone(core.shared()), Arc::clone(&control), filters)
            })
            .transpose()
            .map_err(StartError::Resources)?;
        let reactor = thread::Builder::new()
            .name("millrace-reactor".into())
            .spawn(move || reactor.run())
            .map_err(StartError::Resources)?;
        info!(broker = ?addresses.broker, namesrv = ?addresses.namesrv, "listening");
        let reactor = Some(reactor);
        Ok(Self { core, addresses, recovered, control, waker, metrics, registrar, reactor })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Where figures are given over HTTP, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(Metrics::address)
    }

    /// What was found in the data directory at the start.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// How much there is to do.
    pub fn load(&self) -> Load {
        let Control { connections, held_bytes, held_bytes_peak, .. } = &*self.control;
        Load {
            connections: connections.load(Ordering::Relaxed),
            held_bytes: held_bytes.load(Ordering::Relaxed),
            held_bytes_peak: held_bytes_peak.load(Ordering::Relaxed),
        }
    }

    /// The same broker as seen from this process.
    pub fn local(&self) -> LocalBroker {
        self.core.local()
    }

    /// Leaves the name servers, takes no more connections, answers what is pending, closes the others, and closes the store
    /// so that the next start has nothing to do.
    pub fn stop(mut self) -> Result<(), StopError> {
        drop(self.metrics.take());
        let served = self.stop_reactor();
        self.core.close()?;
        served
    }

    fn stop_reactor(&mut self) -> Result<(), StopError> {
        // First, so that clients look elsewhere while what is pending is answered.
        drop(self.registrar.take());
        let Some(reactor) = self.reactor.take() else {
            return Ok(());
        };
        self.control.stopping.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            return Err(StopError::Reactor(error.to_string()));
        }
        match reactor.join() {
            Ok(served) => served.map_err(|error| StopError::Reactor(error.to_string())),
            Err(_) => Err(StopError::Reactor("it has panicked".into())),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.reactor.is_some() {
            if let Err(error) = self.stop_reactor() {
                error!(error = %error, "the server did not stop cleanly");
            }
            if let Err(error) = self.core.close() {
                error!(error = %error, "the store was not closed cleanly");
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

fn perhaps_vip(of: &Option<SocketAddr>) -> String {
    of.map_or_else(String::new, |of| format!(", perhaps as the VIP port of a broker at {of}"))
}

/// Whether nobody can listen at both.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let either_is_all = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_same_host =
        one.ip() == other.ip() || (either_is_all && one.is_ipv4() == other.is_ipv4());
    one.port() != 0 && one.port() == other.port() && is_same_host
}

/// Listens; beyond loopback only with a warning (P12).
fn bind(address: SocketAddr, role: Role) -> Result<Listener, StartError> {
    if !address.ip().is_loopback() {
        warn!(%address, "open to everybody who can reach it: there is no access control");
    }
    Listener::bind(address, role).map_err(|source| not_bound(address, source))
}

/// Why nobody listens at an address.
fn not_bound(address: SocketAddr, source: io::Error) -> StartError {
    if source.kind() != ErrorKind::AddrInUse {
        return StartError::Listen { address, source };
    }
    let above = address.port().checked_add(VIP_PORT_BELOW);
    let above = above.map(|port| SocketAddr::new(address.ip(), port));
    // Whoever has that port tells nothing but that it has it.
    let is_taken = |at: &SocketAddr| {
        TcpListener::bind(at).is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
    };
    StartError::PortTaken { address, vip_of: above.filter(is_taken) }
}

/// Listens at the broker's VIP port as well: clients before 4.5 send there, and newer ones that are
/// told to. Whoever is taken in there is served like everybody else. A broker at whatever port is
/// free has none, and without it newer clients miss nothing, so it is not worth a refusal.
/// Source: `MixAll.brokerVIPChannel`, Apache RocketMQ 5.3.
fn bind_vip(broker: SocketAddr) -> Option<Listener> {
    let port = broker.port().checked_sub(VIP_PORT_BELOW).filter(|port| *port > 0)?;
    let address = SocketAddr::new(broker.ip(), port);
    let bound = Listener::bind(address, Role::Broker);
    bound
        .inspect_err(|error| {
            warn!(%address, error = %error, "no VIP port, where clients before 4.5 send");
        })
        .ok()
}

fn bind_metrics(address: SocketAddr) -> Result<TcpListener, StartError> {
    if !address.ip().is_loopback() {
        warn!(%address, "figures are open to everybody who can reach it");
    }
    Metrics::bind(address).map_err(|source| not_bound(address, source))
}

fn addresses(
    config: &ServerConfig,
    broker: Option<&Listener>,
    namesrv: Option<&Listener>,
) -> Result<Addresses, StartError> {
    let broker = broker.map(Listener::address).transpose().map_err(StartError::Resources)?;
    let namesrv = namesrv.map(Listener::address).transpose().map_err(StartError::Resources)?;
    let told = broker.or(namesrv).ok_or(StartError::Nowhere)?;
    let reachable: IpAddr = match config.advertised {
        Some(ip) => ip,
        // Nobody is told where a name server is; who comes to it knows.
        None if told.ip().is_unspecified() && broker.is_some() => {
            return Err(StartError::NotAdvertised(told));
        }
        None => told.ip(),
    };
    let advertised = SocketAddr::new(reachable, told.port());
    Ok(Addresses { namesrv, broker, advertised })
}

/// How far the VIP port lies below the broker's.
const VIP_PORT_BELOW: u16 = 2;

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(StoreError::InUse(dir)) => Self::InUse(dir),
            OpenError::Store(error @ StoreError::DiskFull { .. }) => {
                Self::DiskFull(error.to_string())
            }
            OpenError::Store(
                error @ (StoreError::FormatMissing(_) | StoreError::MissingSegment { .. }),
            ) => Self::Damaged(error.to_string()),
            OpenError::Store(error @ (StoreError::Format { .. } | StoreError::NotOurs(_))) => {
                Self::Foreign(error.to_string())
            }
            OpenError::Store(error @ StoreError::TailNotCopied { .. }) => {
                Self::TailNotCopied(error.to_string())
            }
            OpenError::Store(StoreError::Io(error)) => match error.kind() {
                ErrorKind::StorageFull => Self::DiskFull(error.to_string()),
                _ => Self::Data(error),
            },
            OpenError::State(error) => Self::Damaged(error.to_string()),
            OpenError::Thread(error) => Self::Resources(error),
        }
    }
}

#[cfg(test)]
mod tests;
