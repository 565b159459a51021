//! A cluster elsewhere, Millrace or Apache RocketMQ, for the commands that look at one and use it.

use std::sync::Arc;

use clap::Args;
use millrace_client::{Admin, ClientError, Cluster, ClusterOptions, ResponseCode, StorageTrouble};
use millrace_types::NameError;

use crate::causes::LOOK_AT_DISK;
use crate::commands::run::one_thread;
use crate::exit::{Exit, Failure, codes};
use crate::wire::parse_namesrv;

/// Where the cluster is, and how to answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct At {
    /// The name servers: `host:port`, several with `;` in between.
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = parse_namesrv)]
    #[arg(env = "MILLRACE_NAMESRV", default_value = "127.0.0.1:9876")]
    pub(crate) namesrv: String,
    /// Answer in JSON: one line, or one line per message and a last one for the outcome.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl At {
    /// The cluster; nothing is connected to yet.
    pub(crate) async fn cluster(&self) -> Result<Arc<Cluster>, Failure> {
        let cluster = Cluster::new(&self.namesrv, ClusterOptions::default()).await;
        Ok(Arc::new(cluster.map_err(Failure::from)?))
    }

    /// What looks at it and changes it.
    pub(crate) async fn admin(&self) -> Result<Admin, Failure> {
        Ok(Admin::new(self.cluster().await?))
    }
}

/// Runs a command's future to its end.
pub(crate) fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    one_thread()?.block_on(work)
}

/// A name from the command line.
pub(crate) fn parse_name<T>(parsed: Result<T, NameError>) -> Result<T, Failure> {
    parsed.map_err(|error| Failure::new(Exit::Input, codes::ARGUMENT, error.to_string()))
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        if let Some(trouble) = error.storage_trouble() {
            return storage(trouble).caused_by(&error);
        }
        let (exit, code, hint) = match &error {
            ClientError::Unreachable { .. } => (
                Exit::Environment,
                codes::BROKER_AWAY,
                Some("is it running, and is --namesrv the address of a name server?"),
            ),
            ClientError::Unanswered { .. } => (
                Exit::Environment,
                codes::BROKER_AWAY,
                Some("it may have been carried out; look before doing it again"),
            ),
            ClientError::NoBroker(_) => (
                Exit::Environment,
                codes::BROKER_AWAY,
                Some("`millrace topic route` shows what the name server knows"),
            ),
            ClientError::NoRoute(_) => (
                Exit::Failed,
                codes::TOPIC_MISSING,
                Some("`millrace topic list` shows the topics, `millrace topic create` makes one"),
            ),
            ClientError::Refused { refused, .. } => match refused.code {
                // It is the state of the broker, and not the request.
                ResponseCode::SERVICE_NOT_AVAILABLE | ResponseCode::SYSTEM_BUSY => {
                    (Exit::Environment, codes::BROKER_REFUSED, Some("look at the broker's log"))
                }
                _ => (Exit::Failed, codes::BROKER_REFUSED, None),
            },
            ClientError::Garbled { .. } => (Exit::Failed, codes::BROKER_REFUSED, None),
            ClientError::Invalid(_) => (Exit::Input, codes::ARGUMENT, None),
        };
        let failure = Failure::new(exit, code, error.to_string()).caused_by(&error);
        if let Some(hint) = hint { failure.hint(hint) } else { failure }
    }
}

fn storage(trouble: StorageTrouble) -> Failure {
    match trouble {
        StorageTrouble::DiskFull(reason) => {
            let message = format!("the broker's disk is full: {reason}");
            Failure::new(Exit::Environment, codes::DISK_FULL, message)
                .hint("make room on the broker's disk; what is stored can be consumed meanwhile")
        }
        StorageTrouble::Stopped(reason) => {
            let message = format!("the broker stopped writing: {reason}");
            Failure::new(Exit::Environment, codes::DISK_IO, message).hint(LOOK_AT_DISK)
        }
    }
}

#[cfg(test)]
mod tests {
    use millrace_client::Refused;

    use super::*;

    #[track_caller]
    fn check(code: ResponseCode, remark: &'static str, exit: Exit, expected: &str) {
        let refused = Refused::new(code, remark);
        let failure = Failure::from(ClientError::Refused { address: "b:1".into(), refused });
        assert_eq!((failure.exit, failure.code), (exit, expected), "{failure:?}");
    }

    #[test]
    fn the_state_of_a_broker_is_told_from_a_request_that_it_refuses() {
        let full = "the broker's disk is full: 99 percent";
        let reasons = "service not available now. It may be caused by one of the following reasons";
        let environment = Exit::Environment;
        check(ResponseCode::SERVICE_NOT_AVAILABLE, full, environment, "E-DISK-01");
        // Apache RocketMQ names several reasons at once.
        check(ResponseCode::SERVICE_NOT_AVAILABLE, reasons, environment, "E-NET-03");
        check(ResponseCode::SYSTEM_BUSY, "", environment, "E-NET-03");
        let stopped = "the broker stopped writing: fsync failed";
        check(ResponseCode::SYSTEM_ERROR, stopped, environment, "E-DISK-02");
        check(ResponseCode::SYSTEM_ERROR, "", Exit::Failed, "E-NET-03");
        check(ResponseCode::NO_PERMISSION, "", Exit::Failed, "E-NET-03");
    }
}
