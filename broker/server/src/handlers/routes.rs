use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_engine::{Answer as Answered, Request, Topic};
use millrace_namesrv::{BrokerAddresses as Addresses, QueueRoute as Queues, Route, TopicQueues};
use millrace_protocol::{
    BrokerAddresses, ClusterInfo, GetRoute, QueueRoute, ResponseCode, TopicRoute, permission,
};

use crate::dispatch::Exchange;
use crate::handlers::topics::{TEMPLATE_QUEUES, TEMPLATE_TOPIC};

/// Code 105.
pub(crate) fn route(exchange: &mut Exchange<'_, '_>, request: &GetRoute<'_>) {
    let topic = &*request.topic;
    if topic == TEMPLATE_TOPIC {
        return template(exchange);
    }
    // The engine knows its own topics best; what it says is registered on the way.
    if let Ok(Answered::Topic(known)) = exchange.ask(Request::DescribeTopic { topic }) {
        let shell = &mut *exchange.shell;
        shell.routes.put_topic(&shell.names.broker, &known.name, queues(&known));
    }
    match exchange.shell.routes.route(topic) {
        Some(route) => exchange.answer(&to_wire(route)),
        None => no_route(exchange, topic),
    }
}

/// Producers ask for the template's route when they want to send to a topic that has none.
fn template(exchange: &mut Exchange<'_, '_>) {
    if !exchange.shell.names.auto_create_topics {
        return no_route(exchange, TEMPLATE_TOPIC);
    }
    let bits = permission::INHERIT | permission::WRITE | permission::READ;
    let queues = TopicQueues {
        read_queues: TEMPLATE_QUEUES,
        write_queues: TEMPLATE_QUEUES,
        permission: bits as u32,
    };
    let clusters = exchange.shell.routes.clusters();
    let queues = clusters
        .brokers
        .iter()
        .map(|broker| Queues { broker_name: Arc::clone(&broker.broker_name), queues })
        .collect();
    exchange.answer(&to_wire(Route { queues, brokers: clusters.brokers }));
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

fn addresses(broker: Addresses) -> BrokerAddresses {
    BrokerAddresses {
        cluster: broker.cluster.to_string(),
        broker_name: broker.broker_name.to_string(),
        addresses: broker.addresses,
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
