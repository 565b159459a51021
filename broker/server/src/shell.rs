use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use millrace_engine::{ConnectionId, Space};
use millrace_namesrv::{Registration, RouteTable, Stay, TopicQueues, TopicsVersion};
use millrace_protocol::permission;
use millrace_types::{Now, TEMPLATE_TOPIC, TopicName};

use crate::clients::Clients;
use crate::complaints::Complaints;
use crate::config::Limits;
use crate::core::{Needs, Shared};
use crate::filters::Filters;
use crate::locks::QueueLocks;
use crate::producers::Producers;
use crate::readers::Question;
use crate::registrar::Known;
use crate::relays::Relays;
use crate::resets::Resets;
use crate::rules::Rules;
use crate::traffic::History;
use crate::unique_ids::UniqueIds;
use crate::waiting::WaitingList;

/// What the reactor knows of a broker beside its engine: who its clients are, who waits for what,
/// and what the name server tells. Used by one thread; gone with the process.
pub(crate) struct Shell {
    pub(crate) names: Names,
    pub(crate) shared: Arc<Shared>,
    pub(crate) clients: Clients,
    pub(crate) producers: Producers,
    pub(crate) relays: Relays,
    pub(crate) resets: Arc<Resets>,
    pub(crate) history: History,
    pub(crate) locks: QueueLocks,
    pub(crate) rules: Rules,
    pub(crate) routes: RouteTable,
    pub(crate) unique_ids: UniqueIds,
    pub(crate) waiting: WaitingList,
    /// What name servers of other processes know, if there are any.
    pub(crate) known: Option<Arc<Known>>,
    /// Connections that are gone and may have been members of groups.
    pub(crate) gone: Vec<ConnectionId>,
    /// What waits for a reader, oldest first.
    pub(crate) questions: VecDeque<Question>,
    /// What changes the filters, oldest first.
    pub(crate) chores: VecDeque<Question>,
    pub(crate) filters: Arc<Filters>,
    pub(crate) complaints: Complaints,
    /// What peers may take of this machine.
    pub(crate) limits: Limits,
    /// For so long what comes in this burst may have waited already, because the last one took
    /// as long.
    pub(crate) late_ms: u64,
    /// What this burst needs of the flush thread.
    pub(crate) needs: Needs,
    /// Records that the pulls of this burst have found so far, and their bytes.
    pub(crate) planned: usize,
    pub(crate) planned_bytes: usize,
    /// Encoded properties that got something added.
    pub(crate) properties: Vec<u8>,
}

/// What a broker is called and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// As clients reach it.
    pub(crate) host: SocketAddr,
    /// Where the name server listens, if there is one in this process.
    pub(crate) namesrv: Option<SocketAddr>,
    pub(crate) broker: Arc<str>,
    pub(crate) cluster: Arc<str>,
    pub(crate) auto_create_topics: bool,
    /// Queues of the template: a topic created on the way gets no more.
    pub(crate) template_queues: u32,
    pub(crate) serves: Serves,
}

/// Whether there is a broker in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// Yes.
    Messages,
    /// No, a name server alone.
    RoutesOnly,
}

impl Names {
    /// The broker's template for topics that are created on the way, if there is one.
    pub(crate) fn template(&self) -> Option<TopicQueues> {
        let bits = permission::INHERIT | permission::WRITE | permission::READ;
        self.auto_create_topics.then_some(TopicQueues {
            read_queues: self.template_queues,
            write_queues: self.template_queues,
            permission: bits as u32,
        })
    }
}

impl Shell {
    pub(crate) fn new(
        names: Names,
        limits: Limits,
        shared: Arc<Shared>,
        filters: Arc<Filters>,
    ) -> Self {
        let now = shared.now();
        let mut routes = RouteTable::default();
        if names.serves == Serves::Messages {
            register_own(&mut routes, now, &names);
        }
        restore_wiped(&mut routes, &shared, &names);
        Self {
            unique_ids: UniqueIds::new(names.host, now),
            names,
            clients: Clients::default(),
            producers: Producers::default(),
            relays: Relays::default(),
            resets: Arc::default(),
            history: History::default(),
            locks: QueueLocks::default(),
            rules: Rules::of(&shared),
            shared,
            routes,
            waiting: WaitingList::default(),
            known: None,
            gone: Vec::new(),
            questions: VecDeque::new(),
            chores: VecDeque::new(),
            filters,
            complaints: Complaints::default(),
            limits,
            late_ms: 0,
            needs: Needs::Policy,
            planned: 0,
            planned_bytes: 0,
            properties: Vec::new(),
        }
    }
}

/// The broker of this process is always there, and every topic that can be created on the way has
/// its template.
fn register_own(routes: &mut RouteTable, now: Now, names: &Names) {
    let registration = Registration {
        broker_name: Arc::clone(&names.broker),
        cluster: Arc::clone(&names.cluster),
        broker_id: 0,
        address: names.host.to_string(),
        ha_address: String::new(),
        stay: Stay::Always,
        version: TopicsVersion::default(),
        topics: Vec::new(),
    };
    let taken_in = routes.register(now, registration);
    debug_assert!(taken_in.is_ok(), "an empty table takes its first broker");
    let topic = TopicName::parse(TEMPLATE_TOPIC).expect("a legal name");
    if let Some(template) = names.template() {
        routes.put_topic(&names.broker, &topic, template);
    }
}

/// Wipes are kept over a restart of the name server; that of its own broker has restarted, too,
/// which ends its wipe.
fn restore_wiped(routes: &mut RouteTable, shared: &Shared, names: &Names) {
    shared.step(Needs::Policy, |step| {
        let wiped = step.engine.settings(Space::Wiped).map(|(broker, _)| broker);
        wiped.filter(|broker| *broker != &*names.broker).for_each(|broker| {
            routes.restore_wiped(broker);
        });
    });
}
