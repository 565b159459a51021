use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use millrace_protocol::{
    BodyError, Call, ClusterInfo, GetRoute, HeaderKind, MessageQueue, Refused, ResponseCode,
    TopicRoute,
};
use millrace_transport::Config;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::peers::{Answered, Called, NameServers, Peers};
use crate::unique_ids::UniqueIds;
use crate::{ClientError, routes};

/// How a client finds its cluster and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// How long to wait for a connection.
    pub connect_timeout: Duration,
    /// How long to wait for an answer to a question.
    pub request_timeout: Duration,
    /// How old a route may be before it is asked for again.
    pub route_age_max: Duration,
}

impl Default for ClusterOptions {
    /// As Java's clients: 3 s, 3 s, 30 s.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(3),
            route_age_max: Duration::from_secs(30),
        }
    }
}

/// What a client knows of a cluster, and its connections to it: one for each broker and name
/// server, made when it is needed. Millrace or Apache RocketMQ, it cannot tell. (In RocketMQ,
/// `MQClientInstance`.)
///
/// Name servers are asked one after the other until one answers, and the one that did is asked
/// first the next time. If none does, what they said before still holds.
#[derive(Debug)]
pub struct Cluster {
    name_servers: NameServers,
    peers: Peers,
    options: ClusterOptions,
    client_id: String,
    ids: Mutex<UniqueIds>,
    /// One place per topic, so that one look-up serves all who wait for it.
    routes: Mutex<BTreeMap<String, Arc<Place>>>,
}

type Place = tokio::sync::Mutex<Looked>;

/// What came of looking a topic up.
#[derive(Debug, Default)]
struct Looked {
    known: Option<Known>,
    /// The last failure, and when it was told.
    failure: Option<(ClientError, Instant)>,
}

#[derive(Clone, Debug)]
struct Known {
    route: Arc<TopicRoute>,
    asked_at: Instant,
    /// A broker in it did not answer, or does not have the topic.
    in_doubt: bool,
    /// A broker in it does not have the topic.
    is_denied: bool,
}

impl Known {
    fn now(route: Arc<TopicRoute>) -> Self {
        Self { route, asked_at: Instant::now(), in_doubt: false, is_denied: false }
    }

    /// The same route, which is not asked for before every call anew.
    fn again(&self) -> Self {
        Self::now(Arc::clone(&self.route))
    }
}

/// How old a route may be in which a broker did not answer.
const DOUBT: Duration = Duration::from_secs(1);

/// Where a message may go.
#[derive(Clone, Debug)]
pub(crate) struct Writable {
    pub(crate) queues: Vec<MessageQueue>,
    pub(crate) route: Arc<TopicRoute>,
}

impl Cluster {
    /// A cluster behind `host:port[;host:port...]`. Nothing is connected to yet.
    pub async fn new(namesrv: &str, options: ClusterOptions) -> Result<Self, ClientError> {
        Self::with_callbacks(namesrv, options, None).await
    }

    pub(crate) async fn with_callbacks(
        namesrv: &str,
        options: ClusterOptions,
        callbacks: Option<mpsc::Sender<Called>>,
    ) -> Result<Self, ClientError> {
        let config = Config {
            // What every broker and name server reads.
            header_kind: HeaderKind::Json,
            connect_timeout: options.connect_timeout,
            ..Config::default()
        };
        let name_servers = NameServers::parse(namesrv, config.clone())?;
        let ip = own_address(&name_servers.addresses()[0]).await;
        let (process, maker) = (std::process::id(), next_maker());
        Ok(Self {
            name_servers,
            peers: Peers::new(config, callbacks),
            options,
            client_id: format!("{ip}@{process}#{maker}"),
            ids: Mutex::new(UniqueIds::new(ip, process, maker as u32)),
            routes: Mutex::default(),
        })
    }

    /// What this client calls itself: its address, and what no other client has.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// How it finds its cluster and how long it waits.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The name servers, as they were given.
    pub(crate) fn name_servers(&self) -> &NameServers {
        &self.name_servers
    }

    /// Ends the connections, after writing what is queued. A call afterwards connects again.
    pub async fn close(&self) {
        self.peers.close().await;
        self.name_servers.close().await;
    }

    /// The next unique id of a message.
    pub(crate) fn next_id(&self) -> String {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).next(now_ms())
    }

    /// All brokers and clusters.
    pub async fn brokers(&self) -> Result<ClusterInfo, ClientError> {
        let deadline = Instant::now() + self.options.request_timeout;
        Ok(self.name_servers.clusters(deadline).await?)
    }

    /// Which brokers serve a topic; `None` if no name server knows it.
    pub async fn find_route(&self, topic: &str) -> Result<Option<Arc<TopicRoute>>, ClientError> {
        let place = {
            let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(routes.entry(topic.to_owned()).or_default())
        };
        let came_at = Instant::now();
        let mut looked = place.lock().await;
        let known = looked.known.as_ref();
        let is_fresh = |known: &&Known| {
            // A doubt is not worth more than one question a second.
            let age_max = if known.in_doubt { DOUBT } else { self.options.route_age_max };
            known.asked_at.elapsed() < age_max
        };
        if let Some(known) = known.filter(is_fresh) {
            return Ok(Some(Arc::clone(&known.route)));
        }
        if let Some((failure, at)) = &looked.failure
            && *at >= came_at
        {
            // Whoever waited through somebody else's question does not ask once more.
            return Err(failure.clone());
        }
        let found = match (self.ask_route(topic).await, known) {
            (Ok(Some(route)), _) => Known::now(Arc::new(route)),
            (Err(error), Some(known)) => {
                warn!(topic, %error, "no name server answers; the route of before is used");
                known.again()
            }
            // Neither a broker nor a name server has it: somebody deleted it.
            (Ok(None), Some(known)) if known.is_denied => {
                info!(topic, "the topic is gone");
                looked.known = None;
                return Ok(None);
            }
            // A name server that has just started knows no broker yet, and one whose broker starts
            // anew has forgotten it. Whoever gave all queues up for that would have to take them
            // again. (In RocketMQ, `updateTopicRouteInfoFromNameServer` keeps the route, too.)
            (Ok(None), Some(known)) => {
                warn!(topic, "a name server knows no such topic; the route of before is used");
                known.again()
            }
            (Ok(None), None) => return Ok(None),
            (Err(error), None) => {
                looked.failure = Some((error.clone(), Instant::now()));
                return Err(error);
            }
        };
        let route = Arc::clone(&found.route);
        looked.known = Some(found);
        Ok(Some(route))
    }

    /// Which brokers serve a topic that has to exist.
    pub async fn route(&self, topic: &str) -> Result<Arc<TopicRoute>, ClientError> {
        self.find_route(topic).await?.ok_or_else(|| ClientError::NoRoute(topic.to_owned()))
    }

    /// Forgets the route, so that the next one who needs it asks a name server.
    pub(crate) fn forget_route(&self, topic: &str) {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    /// Asks for the route again if a broker in it does not answer, which may be somewhere else by
    /// now, or does not have the topic. If no name server answers either, what is known stays; if
    /// one says that there is no such topic, it stays unless a broker said so, too.
    pub(crate) fn doubt_route(&self, topic: &str, error: &ClientError) {
        let is_denied = match error {
            ClientError::Unreachable { .. } | ClientError::Unanswered { .. } => false,
            ClientError::Refused { refused, .. }
                if refused.code == ResponseCode::TOPIC_NOT_EXIST =>
            {
                true
            }
            _ => return,
        };
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is looking it up right now will know it better.
        if let Some(place) = routes.get_mut(topic)
            && let Ok(mut looked) = place.try_lock()
            && let Some(known) = looked.known.as_mut()
        {
            known.in_doubt = true;
            known.is_denied |= is_denied;
        }
    }

    async fn ask_route(&self, topic: &str) -> Result<Option<TopicRoute>, ClientError> {
        let call = GetRoute { topic: topic.into(), standard_json_only: Some(true) };
        let deadline = Instant::now() + self.options.request_timeout;
        let answered = self.name_servers.ask(&call, deadline).await?;
        let header = answered.response.header();
        match header.response_code() {
            ResponseCode::SUCCESS => {
                let route = TopicRoute::decode(answered.response.body());
                let route = route.map_err(|error| garbled(&answered, error))?;
                debug!(topic, namesrv = &*answered.address, "asked for the route");
                Ok(Some(route))
            }
            ResponseCode::TOPIC_NOT_EXIST => Ok(None),
            _ => Err(refused(&answered)),
        }
    }

    /// The queues to write to, and where their brokers are. A topic that nobody has yet gets the
    /// queues that it will have once a broker makes it from its template.
    pub(crate) async fn writable(
        &self,
        topic: &str,
        queues_if_new: i32,
    ) -> Result<Writable, ClientError> {
        let (queues, route) = match self.find_route(topic).await? {
            Some(route) => (routes::writable(&route, topic), route),
            None => {
                let template = self.find_route(millrace_types::TEMPLATE_TOPIC).await?;
                let route = template.ok_or_else(|| ClientError::NoRoute(topic.to_owned()))?;
                (routes::to_be_made(&route, topic, queues_if_new), route)
            }
        };
        if queues.is_empty() {
            // Perhaps only for a moment: ask again the next time.
            self.forget_route(topic);
            return Err(ClientError::NoRoute(topic.to_owned()));
        }
        Ok(Writable { queues, route })
    }

    /// The queues of a topic that can be read.
    pub(crate) async fn readable(&self, topic: &str) -> Result<Vec<MessageQueue>, ClientError> {
        Ok(routes::readable(&*self.route(topic).await?, topic))
    }

    /// Where the broker of a queue takes writes.
    pub(crate) async fn master(&self, queue: &MessageQueue) -> Result<String, ClientError> {
        let route = self.route(&queue.topic).await?;
        let found = routes::master(&route, &queue.broker_name);
        found.map(str::to_owned).ok_or_else(|| ClientError::NoBroker(queue.broker_name.clone()))
    }

    /// Sends a request, once, and waits for its answer, whatever its code.
    pub(crate) async fn call(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
        timeout: Duration,
    ) -> Result<Answered, ClientError> {
        Ok(self.peers.call(address, call, timeout).await?)
    }

    /// The same for a request that may be carried out twice.
    pub(crate) async fn ask(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
    ) -> Result<Answered, ClientError> {
        Ok(self.peers.ask(address, call, self.options.request_timeout).await?)
    }

    /// Queues a request that nobody answers.
    pub(crate) async fn send_oneway(
        &self,
        address: &str,
        call: &(dyn Call + Sync),
    ) -> Result<(), ClientError> {
        Ok(self.peers.send_oneway(address, call).await?)
    }
}

/// What it means that an answer's code is an error.
pub(crate) fn refused(answered: &Answered) -> ClientError {
    let refused = Refused::of(&answered.response.header());
    ClientError::Refused { address: answered.address.to_string(), refused }
}

/// What it means that an answer's body is not that of one.
pub(crate) fn garbled(answered: &Answered, error: BodyError) -> ClientError {
    ClientError::Garbled { address: answered.address.to_string(), reason: error.to_string() }
}

/// The time of the wall clock.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Differs for every cluster that this process makes, and from run to run.
fn next_maker() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static MADE: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = since.as_nanos() as u64;
    nanos.wrapping_add(MADE.fetch_add(1, Ordering::Relaxed))
}

/// The address of this machine as seen from a peer, if it is one of the fourth version. No packet
/// is sent for this.
async fn own_address(peer: &str) -> Ipv4Addr {
    let found = async {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        socket.connect(peer).await?;
        socket.local_addr()
    };
    match found.await.map(|address| address.ip()) {
        Ok(IpAddr::V4(ip)) => ip,
        _ => Ipv4Addr::LOCALHOST,
    }
}
