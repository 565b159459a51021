use std::collections::BTreeMap;

use millrace_engine::{Answer as Answered, Request, Topic};
use millrace_namesrv::{BrokerAddresses as Addresses, QueueRoute as Queues, Route, TopicQueues};
use millrace_protocol::{
    BrokerAddresses, ClusterInfo, GetRoute, QueueRoute, ResponseCode, TopicRoute,
};
use millrace_types::TEMPLATE_TOPIC;

use crate::dispatch::Exchange;
use crate::handlers::registry::order_of;
use crate::shell::Serves;

/// Code 105.
pub(crate) fn route(exchange: &mut Exchange<'_, '_>, request: &GetRoute<'_>) {
    let topic = &*request.topic;
    if topic != TEMPLATE_TOPIC {
        look_up_own(exchange, topic);
    }
    match exchange.shell.routes.route(topic) {
        Some(route) => {
            let order_conf = order_of(exchange, topic);
            exchange.answer(&TopicRoute { order_conf, ..to_wire(route) });
        }
        None => no_route(exchange, topic),
    }
}

/// The engine knows its own topics best; what it says is registered on the way.
fn look_up_own(exchange: &mut Exchange<'_, '_>, topic: &str) {
    if exchange.shell.names.serves == Serves::RoutesOnly {
        return;
    }
    let known = exchange.ask(Request::DescribeTopic { topic });
    let shell = &mut *exchange.shell;
    match known {
        Ok(Answered::Topic(known)) => {
            shell.routes.put_topic(&shell.names.broker, &known.name, queues(&known));
        }
        _ => shell.routes.drop_topic_of(&shell.names.broker, topic),
    }
}

fn no_route(exchange: &mut Exchange<'_, '_>, topic: &str) {
    // Tools look for this text.
    let remark = format!("No topic route info in name server for the topic: {topic}");
    exchange.refuse(ResponseCode::TOPIC_NOT_EXIST, remark);
}

/// Code 106.
pub(crate) fn cluster_info(exchange: &mut Exchange<'_, '_>) {
    let all = exchange.shell.routes.clusters();
    let brokers = all.brokers.into_iter().map(|broker| {
        let broker = addresses(broker);
        (broker.broker_name.clone(), broker)
    });
    let clusters = all.clusters.iter().map(|(cluster, names)| {
        (cluster.to_string(), names.iter().map(ToString::to_string).collect())
    });
    let info =
        ClusterInfo { brokers: brokers.collect::<BTreeMap<_, _>>(), clusters: clusters.collect() };
    exchange.answer(&info);
}

fn queues(topic: &Topic) -> TopicQueues {
    TopicQueues {
        read_queues: topic.read_queues,
        write_queues: topic.write_queues,
        permission: topic.permission.to_bits(),
    }
}

fn to_wire(route: Route) -> TopicRoute {
    let queues = route.queues.into_iter().map(|Queues { broker_name, queues }| QueueRoute {
        broker_name: broker_name.to_string(),
        read_queues: number(queues.read_queues),
        write_queues: number(queues.write_queues),
        permission: number(queues.permission),
        topic_sys_flag: 0,
    });
    TopicRoute {
        queues: queues.collect(),
        brokers: route.brokers.into_iter().map(addresses).collect(),
        order_conf: String::new(),
    }
}

pub(super) fn addresses(broker: Addresses) -> BrokerAddresses {
    BrokerAddresses {
        cluster: broker.cluster.to_string(),
        broker_name: broker.broker_name.to_string(),
        addresses: broker.addresses,
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
