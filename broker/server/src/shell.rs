use std::net::SocketAddr;
use std::sync::Arc;

use millrace_namesrv::{Registration, RouteTable};

use crate::clients::{Changed, Clients};
use crate::core::{Needs, Shared};
use crate::locks::QueueLocks;
use crate::readers::Job;
use crate::rules::Rules;
use crate::unique_ids::UniqueIds;
use crate::waiting::WaitingList;

/// What the reactor knows of a broker beside its engine: who its clients are, who waits for what,
/// and what the name server tells. Used by one thread; gone with the process.
pub(crate) struct Shell {
    pub(crate) names: Names,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clients: Clients,
    pub(crate) locks: QueueLocks,
    pub(crate) rules: Rules,
    pub(crate) routes: RouteTable,
    pub(crate) unique_ids: UniqueIds,
    pub(crate) waiting: WaitingList,
    /// Groups whose members are to be told of a change after this burst.
    pub(crate) changed: Vec<Changed>,
    /// What this burst leaves to the readers.
    pub(crate) jobs: Vec<Job>,
    /// What this burst needs of the flush thread.
    pub(crate) needs: Needs,
    /// Encoded properties that got something added.
    pub(crate) properties: Vec<u8>,
}

/// What a broker is called and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// As clients reach it.
    pub(crate) host: SocketAddr,
    pub(crate) broker: Arc<str>,
    pub(crate) cluster: Arc<str>,
    pub(crate) auto_create_topics: bool,
}

impl Shell {
    pub(crate) fn new(names: Names, shared: Arc<Shared>) -> Self {
        let now = shared.now();
        let mut routes = RouteTable::default();
        let registration = Registration {
            broker_name: Arc::clone(&names.broker),
            cluster: Arc::clone(&names.cluster),
            broker_id: 0,
            address: names.host.to_string(),
            lifetime_ms: None,
            topics: Vec::new(),
        };
        routes.register(now, registration);
        Self {
            unique_ids: UniqueIds::new(names.host, now),
            names,
            clients: Clients::default(),
            locks: QueueLocks::default(),
            rules: Rules::of(&shared),
            shared,
            routes,
            waiting: WaitingList::default(),
            changed: Vec::new(),
            jobs: Vec::new(),
            needs: Needs::Policy,
            properties: Vec::new(),
        }
    }
}
