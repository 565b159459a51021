use std::sync::Arc;

use millrace_engine::{Request, Space};
use millrace_namesrv::{Departure, Gone, Link, Registration, Stay, TopicQueues, TopicsVersion};
use millrace_protocol::{
    AddTopic, BrokerGroup, BrokerIdentity, DataVersion, Done, DropTopic, KvTable, OfBroker,
    RegisterBroker, Registered, RegisteredTopics, RegistrationAnswer, Registry, ResponseCode,
    SettingsText, TouchedTopics, UnregisterBroker, VersionAnswer,
};
use millrace_types::TopicName;
use tracing::{info, warn};

use crate::dispatch::Exchange;
use crate::handlers::names::settings_of;
use crate::handlers::routes::addresses;
use crate::shell::Serves;

/// A broker that is not heard of for so long is gone, unless it said otherwise.
const LIFETIME_MS: u64 = 120_000;
/// What a broker may ask for itself.
const LIFETIME_MS_MAX: u64 = 3_600_000;
/// Where the orders of topics are kept.
pub(super) const ORDERS: &str = "ORDER_TOPIC_CONFIG";

/// What brokers, and tools about brokers, ask of a name server.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &Registry<'_>) {
    match request {
        Registry::Register(request) => register(exchange, request),
        Registry::Unregister(request) => unregister(exchange, request),
        Registry::Heartbeat(broker) => {
            hear(exchange, broker);
            exchange.answer(&Done);
        }
        Registry::QueryVersion(broker, version) => query_version(exchange, broker, *version),
        Registry::WipeWrite(of) => wipe(exchange, of),
        Registry::AddWrite(of) => add_write(exchange, of),
        Registry::DropTopic(DropTopic { topic, cluster }) => {
            exchange.shell.routes.drop_topic(topic, cluster.as_deref());
            exchange.answer(&Done);
        }
        Registry::AddTopic(request) => add_topic(exchange, request),
        Registry::Members(of) => {
            let known = exchange.shell.routes.addresses(&of.broker_name);
            let group = BrokerGroup(known.map(addresses).unwrap_or_default());
            exchange.answer(&group);
        }
        Registry::Settings => {
            let names = &exchange.shell.names;
            let port = names.namesrv.unwrap_or(names.host).port();
            let settings = [("listenPort", port.to_string())];
            let values = settings.map(|(key, value)| (key.to_owned(), value)).into();
            exchange.answer(&SettingsText { version: DataVersion::default(), values });
        }
    }
}

/// Code 103.
fn register(exchange: &mut Exchange<'_, '_>, request: &RegisterBroker<'_>) {
    let topics = match request.topics() {
        Ok(topics) => topics,
        Err(error) => return exchange.refuse(ResponseCode::SYSTEM_ERROR, error.to_string()),
    };
    let Some(registration) = registration(exchange, request, topics) else {
        let remark = "register broker failed: names or the address are illegal";
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, remark);
    };
    let (broker, address) = (Arc::clone(&registration.broker_name), registration.address.clone());
    let topics = registration.topics.len();
    match exchange.shell.routes.register(exchange.step.now, registration) {
        Ok(registered) => {
            if registered.is_new {
                info!(broker = %broker, address, topics, "broker registered");
            }
            let master = registered.master;
            let (master_address, ha_address) = match master {
                Some((address, ha)) => (Some(address.into()), Some(ha.into())),
                None => (None, None),
            };
            let header = RegistrationAnswer { ha_address, master_address };
            exchange.answer(&Registered { header, orders: orders(exchange) });
        }
        Err(error) => {
            if exchange.shell.complaints.may_say(exchange.step.now.mono_ms) {
                warn!(broker = %broker, address, error = %error, "broker not registered");
            }
            exchange.refuse(ResponseCode::SYSTEM_ERROR, error.to_string());
        }
    }
}

/// What a registration says, if that is something to tell clients.
fn registration(
    exchange: &mut Exchange<'_, '_>,
    request: &RegisterBroker<'_>,
    topics: RegisteredTopics,
) -> Option<Registration> {
    let BrokerIdentity { broker_name, address, cluster, broker_id } = &request.broker;
    if !is_name(broker_name) || !is_name(cluster) || !is_address(address) {
        return None;
    }
    let lifetime_ms = request.terms.lifetime_ms.and_then(|ms| u64::try_from(ms).ok());
    let lifetime_ms = lifetime_ms.filter(|ms| *ms > 0).unwrap_or(LIFETIME_MS);
    let served = topics.topics.iter().filter_map(|topic| {
        let queues = TopicQueues {
            read_queues: topic.read_queues,
            write_queues: topic.write_queues,
            permission: topic.permission,
        };
        Some((TopicName::parse(&topic.topic).ok()?, queues))
    });
    let served: Vec<_> = served.collect();
    if served.len() < topics.topics.len()
        && exchange.shell.complaints.may_say(exchange.step.now.mono_ms)
    {
        let illegal = topics.topics.len() - served.len();
        warn!(broker = %broker_name, illegal, "topics with illegal names are not registered");
    }
    Some(Registration {
        broker_name: broker_name.as_ref().into(),
        cluster: cluster.as_ref().into(),
        broker_id: u64::try_from(*broker_id).ok()?,
        address: address.to_string(),
        ha_address: request.terms.ha_address.to_string(),
        stay: Stay::For {
            lifetime_ms: lifetime_ms.min(LIFETIME_MS_MAX),
            link: Link(exchange.caller.connection.0),
        },
        version: version(topics.version),
        topics: served,
    })
}

/// Whether clients can show a name; RocketMQ lets brokers and clusters be called almost anything.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 127 && !text.chars().any(|c| c.is_control() || c == ',')
}

/// Whether clients can read an address. Go clients split what they read at commas.
fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    let port = parts.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
    port && text.len() <= 255 && !text.starts_with(':') && is_name(text) && !text.contains(';')
}

fn version(from: DataVersion) -> TopicsVersion {
    let DataVersion { counter, state, timestamp } = from;
    TopicsVersion { counter, state, timestamp }
}

/// The orders of topics, which a broker is told with each registration.
fn orders(exchange: &Exchange<'_, '_>) -> KvTable {
    let orders = settings_of(exchange, ORDERS);
    KvTable(orders)
}

/// How the queues of a topic are ordered over brokers, as an administrator said.
pub(crate) fn order_of(exchange: &Exchange<'_, '_>, topic: &str) -> String {
    let key = super::names::setting_name(ORDERS, topic);
    let order = exchange.step.engine.setting(Space::NameServer, &key);
    order.unwrap_or_default().to_owned()
}

/// Code 104.
fn unregister(exchange: &mut Exchange<'_, '_>, request: &UnregisterBroker<'_>) {
    let UnregisterBroker { broker_name: broker, address, broker_id, .. } = request;
    if let Ok(broker_id) = u64::try_from(*broker_id) {
        let routes = &mut exchange.shell.routes;
        log_gone(
            &routes.unregister(Departure::Announced { broker, broker_id, address }),
            "it left",
        );
    }
    if !exchange.shell.routes.is_wiped(broker) {
        exchange.tell(Request::PutSetting { space: Space::Wiped, key: broker, value: None });
    }
    exchange.answer(&Done);
}

/// Tells an operator which brokers are gone.
pub(crate) fn log_gone(gone: &[Gone], reason: &str) {
    for Gone { broker_name, broker_id, address } in gone {
        warn!(broker = %broker_name, broker_id, address, reason, "broker unregistered");
    }
}

/// Code 904, and what others say by the way.
fn hear(exchange: &mut Exchange<'_, '_>, broker: &BrokerIdentity<'_>) -> Option<TopicsVersion> {
    exchange.shell.routes.hear(exchange.step.now, &broker.broker_name, &broker.address)
}

/// Code 322.
fn query_version(
    exchange: &mut Exchange<'_, '_>,
    broker: &BrokerIdentity<'_>,
    current: DataVersion,
) {
    let known = hear(exchange, broker);
    let changed = known != Some(version(current));
    let known = known.map(|TopicsVersion { counter, state, timestamp }| DataVersion {
        counter,
        state,
        timestamp,
    });
    exchange.answer(&VersionAnswer { changed, known });
}

/// Code 205. Kept in the log, so that a restart of the name server does not undo it.
fn wipe(exchange: &mut Exchange<'_, '_>, of: &OfBroker<'_>) {
    let own = own_writable(exchange, &of.broker_name);
    match exchange.shell.routes.wipe_write(&of.broker_name) {
        Some(topics) => {
            let (space, key, value) = (Space::Wiped, &*of.broker_name, Some("true"));
            exchange.tell(Request::PutSetting { space, key, value });
            exchange.answer(&TouchedTopics::Wiped(own.unwrap_or(topics)));
        }
        None => exchange.answer(&TouchedTopics::Wiped(0)),
    }
}

/// Code 327.
fn add_write(exchange: &mut Exchange<'_, '_>, of: &OfBroker<'_>) {
    let own = own_writable(exchange, &of.broker_name);
    let topics = exchange.shell.routes.add_write(&of.broker_name).unwrap_or(0);
    exchange.tell(Request::PutSetting { space: Space::Wiped, key: &of.broker_name, value: None });
    exchange.answer(&TouchedTopics::Added(own.unwrap_or(topics)));
}

/// How many topics of the broker of this process can be written; the table has only those that
/// somebody asked for. `None` for another broker.
fn own_writable(exchange: &Exchange<'_, '_>, broker: &str) -> Option<usize> {
    let names = &exchange.shell.names;
    if names.serves == Serves::RoutesOnly || *names.broker != *broker {
        return None;
    }
    let topics = exchange.step.engine.topics();
    let writable = topics
        .filter(|topic| topic.permission.write && !millrace_types::is_system_topic(&topic.name));
    Some(writable.count() + usize::from(names.auto_create_topics))
}

/// Code 217.
fn add_topic(exchange: &mut Exchange<'_, '_>, request: &AddTopic) {
    let Ok(topic) = TopicName::parse(&request.topic) else {
        return exchange.refuse(ResponseCode::INVALID_PARAMETER, "the topic is illegal");
    };
    for queues in &request.queues {
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        let queue = TopicQueues {
            read_queues: number(queues.read_queues),
            write_queues: number(queues.write_queues),
            permission: number(queues.permission),
        };
        exchange.shell.routes.put_topic(&queues.broker_name, &topic, queue);
    }
    exchange.answer(&Done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_such_that_clients_can_read_them() {
        for good in ["10.0.0.1:10911", "broker-a.example:1", "[::1]:10911"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "h", ":1", "h:0", "h:x", "a,b:1", "a:1;b:2", "a\n:1"] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(is_name("broker a"));
        assert!(!is_name("") && !is_name("a\u{1}") && !is_name(&"x".repeat(128)));
    }
}
