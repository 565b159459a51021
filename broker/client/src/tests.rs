//! Producers, consumers and tools against name servers and brokers that do as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use millrace_protocol::{BrokerAddresses, QueueRoute, Refused, Request, ResponseCode, TopicRoute};
use millrace_types::{GroupName, TopicName};

use crate::fake::{Fake, Reply, answer};
use crate::{ClientError, Cluster, ClusterOptions, Message, Producer, ProducerOptions};

mod administering; // tools, and brokers that are not Millrace
mod consuming; // members of groups, and what brokers ask of them
mod finding; // name servers that come and go
mod producing; // brokers that take messages, or not

/// Which brokers serve `orders` and the retry topic of the group `g`, two queues each, as name
/// servers tell it.
#[derive(Clone, Default)]
struct Routes(Arc<Mutex<Vec<(String, String)>>>);

impl Routes {
    fn put(&self, brokers: &[(&str, &str)]) {
        let brokers = brokers.iter().map(|(name, at)| ((*name).to_owned(), (*at).to_owned()));
        *self.0.lock().unwrap() = brokers.collect();
    }

    fn reply(&self, request: &Request<'_>) -> Option<Reply> {
        match request {
            Request::Route(asked) if matches!(&*asked.topic, "orders" | "%RETRY%g") => {
                answer(self.route())
            }
            Request::Route(_) => answer(Refused::new(ResponseCode::TOPIC_NOT_EXIST, "no route")),
            _ => None,
        }
    }

    fn route(&self) -> TopicRoute {
        let brokers = self.0.lock().unwrap();
        let queues = |(name, _): &(String, String)| QueueRoute {
            broker_name: name.clone(),
            read_queues: 2,
            write_queues: 2,
            permission: 6,
            topic_sys_flag: 0,
        };
        let addresses = |(name, address): &(String, String)| BrokerAddresses {
            cluster: "c".into(),
            broker_name: name.clone(),
            addresses: BTreeMap::from([(0, address.clone())]),
        };
        TopicRoute {
            queues: brokers.iter().map(queues).collect(),
            brokers: brokers.iter().map(addresses).collect(),
            order_conf: String::new(),
        }
    }
}

/// A name server that knows nothing else.
async fn name_server(routes: &Routes) -> Fake {
    let routes = routes.clone();
    Fake::start(move |request| routes.reply(request)).await
}

async fn cluster(namesrv: &str) -> Arc<Cluster> {
    Arc::new(Cluster::new(namesrv, ClusterOptions::default()).await.unwrap())
}

fn topic() -> TopicName {
    TopicName::parse("orders").unwrap()
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}
