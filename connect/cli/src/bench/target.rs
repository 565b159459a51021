use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use millrace_protocol::{
    Call, CallMode, ClusterInfo, CreateTopic, Done, Frame, GetClusterInfo, GetMaxOffset,
    GetMinOffset, Header, HeaderKind, Limits, OffsetAnswer, Split,
};
use millrace_types::{QueueId, QueueOffset};

use crate::exit::{Exit, Failure, codes};

/// The broker that is driven: the first one that the name server knows, in order of names.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) topic: String,
    pub(crate) queues: u32,
}

const TIMEOUT: Duration = Duration::from_secs(10);

impl Target {
    /// Finds the broker and makes sure that the topic exists there.
    pub(crate) fn find(namesrv: &str, topic: &str, queues: u32) -> Result<Self, Failure> {
        let brokers = ask(resolve(namesrv)?, &GetClusterInfo, |header, body| {
            Done::decode(header).map_err(|error| error.to_string())?;
            ClusterInfo::decode(body).map_err(|error| error.to_string())
        })?;
        let addresses = brokers.brokers.values().find_map(|broker| broker.addresses.get(&0));
        let address = addresses.ok_or_else(|| {
            let message = format!("the name server at {namesrv} knows no broker");
            Failure::new(Exit::Environment, codes::BROKER_AWAY, message)
        })?;
        let target = Self { address: resolve(address)?, topic: topic.to_owned(), queues };
        let count = i32::try_from(queues).unwrap_or(i32::MAX);
        let create = CreateTopic {
            topic: topic.into(),
            default_topic: "TBW102".into(),
            read_queues: count,
            write_queues: count,
            permission: 6,
            filter_type: Some("SINGLE_TAG".into()),
            topic_sys_flag: Some(0),
            order: false,
            attributes: None,
        };
        ask(target.address, &create, |header, _| Done::decode(header))?;
        Ok(target)
    }

    /// First and next offset of a queue.
    pub(crate) fn bounds(&self, queue: u32) -> Result<(QueueOffset, QueueOffset), Failure> {
        let (topic, queue_id) = (self.topic.as_str(), QueueId(queue));
        let min = GetMinOffset { topic: topic.into(), queue_id };
        let max = GetMaxOffset { topic: topic.into(), queue_id, committed: true };
        let min = ask(self.address, &min, |header, _| OffsetAnswer::decode(header))?;
        let max = ask(self.address, &max, |header, _| OffsetAnswer::decode(header))?;
        Ok((min.offset, max.offset))
    }

    /// How many messages the topic has.
    pub(crate) fn messages(&self) -> Result<u64, Failure> {
        (0..self.queues).map(|queue| self.bounds(queue).map(|(min, max)| max.since(min))).sum()
    }

    pub(super) fn lost(&self, error: &std::io::Error) -> Failure {
        lost(self.address, error)
    }
}

/// Asks once, on a connection of its own.
fn ask<T, E: ToString>(
    address: SocketAddr,
    call: &impl Call,
    read: impl FnOnce(&Header<'_>, &[u8]) -> Result<T, E>,
) -> Result<T, Failure> {
    let mut request = Vec::new();
    call.write(HeaderKind::Json, 1, CallMode::Answered, &mut request);
    let exchange = || {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.write_all(&request)?;
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        let mut answer = len.to_vec();
        let len = u64::from(u32::from_be_bytes(len)).min(Limits::default().frame_bytes_max as u64);
        stream.take(len).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error: std::io::Error| lost(address, &error))?;
    let refused = |why: String| {
        let message = format!("{address} does not do what a benchmark needs: {why}");
        Failure::new(Exit::Failed, codes::BROKER_REFUSED, message)
    };
    let frame = match Frame::split(&answer, &Limits::default()) {
        Ok(Split::Frame(frame, _)) => frame,
        Ok(Split::Partial(_)) => return Err(refused("its answer ends early".into())),
        Err(error) => return Err(refused(error.to_string())),
    };
    let header = frame.header().map_err(|error| refused(error.to_string()))?;
    read(&header, frame.body).map_err(|error| refused(error.to_string()))
}

fn lost(address: SocketAddr, error: &std::io::Error) -> Failure {
    let message = format!("the connection to {address} failed: {error}");
    Failure::new(Exit::Environment, codes::BROKER_AWAY, message).caused_by(error)
}

fn resolve(address: &str) -> Result<SocketAddr, Failure> {
    let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        let message = format!("`{address}` is not an address: write `host:port`");
        Failure::new(Exit::Input, codes::ARGUMENT, message)
    })
}
