//! A cluster elsewhere, Millrace or Apache RocketMQ, for the commands that look at one and use it.

use std::sync::Arc;

use clap::Args;
use millrace_client::{
    Admin, ClientError, Cluster, ClusterOptions, Master, ResponseCode, Seen, StorageTrouble,
};
use millrace_types::NameError;
use serde_json::{Value, json};

use crate::causes::LOOK_AT_DISK;
use crate::commands::run::one_thread;
use crate::exit::{Exit, Failure, codes};
use crate::output::{Answer, complain};
use crate::plain;
use crate::wire::parse_namesrv;

/// Where the cluster is, and how to answer.
#[derive(Args, Clone, Debug)]
pub(crate) struct At {
    /// The name servers: `host:port`, several with `;` in between.
    #[arg(long, global = true, value_name = "HOST:PORT", value_parser = parse_namesrv)]
    #[arg(env = "MILLRACE_NAMESRV", default_value = "127.0.0.1:9876", display_order = LAST)]
    pub(crate) namesrv: String,
    /// Answer in JSON: one line, or one line per message and a last one for the outcome.
    #[arg(long, global = true, display_order = LAST)]
    pub(crate) json: bool,
}

/// What a command itself takes comes first in its help.
const LAST: usize = 100;

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
pub(crate) fn parse_name<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, NameError>,
) -> Result<T, Failure> {
    parse(text).map_err(|error| {
        Failure::new(Exit::Input, codes::ARGUMENT, format!("`{text}` cannot be a name: {error}"))
    })
}

/// What is said of a request that nobody answered.
const CARRIED_OUT: &str = "it may have been carried out; look before doing it again";

/// The failure of a command that changes nothing.
pub(crate) fn only_looked(mut failure: Failure) -> Failure {
    if failure.hint.as_deref() == Some(CARRIED_OUT) {
        failure.hint = Some("nothing was changed; is the broker stopped, or very busy?".to_owned());
    }
    failure
}

/// What was found out before anything is changed.
pub(crate) fn looked<T>(found: Result<T, ClientError>) -> Result<T, Failure> {
    found.map_err(|error| only_looked(error.into()))
}

/// What brokers did not tell of what a command shows, or did not do.
#[derive(Debug, Default)]
pub(crate) struct Gaps(Vec<(Master, String)>);

impl Gaps {
    /// Takes what is known, and remembers who did not answer.
    pub(crate) fn take<T>(&mut self, seen: Seen<T>) -> T {
        self.0.extend(seen.missing.into_iter().map(|(master, error)| (master, error.to_string())));
        seen.known
    }

    /// The same where something is known without it, too: if nobody answered, that is nobody of
    /// these.
    pub(crate) fn take_any<T: Default>(
        &mut self,
        seen: Result<Seen<T>, ClientError>,
        all: &[Master],
    ) -> T {
        let nothing = |error: ClientError| Seen {
            known: T::default(),
            missing: all.iter().map(|master| (master.clone(), error.clone())).collect(),
        };
        self.take(seen.unwrap_or_else(nothing))
    }

    /// Remembers who did not do as it was told.
    pub(crate) fn note(&mut self, master: Master, error: &ClientError) {
        self.0.push((master, error.to_string()));
    }

    /// The answer with a warning for each such broker, if there are any: it is not whole, because
    /// of what the command found around it.
    pub(crate) fn told(mut self, mut answer: Answer) -> Answer {
        if self.0.is_empty() {
            return answer;
        }
        self.0.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        self.0.dedup_by(|(a, _), (b, _)| a.name == b.name);
        for (master, error) in &self.0 {
            complain(&format!("warning: without {}: {}\n", master.name, plain::line(error)));
        }
        if let Value::Object(result) = &mut answer.result {
            let missing = self.0.iter().map(|(master, error)| {
                json!({ "broker": master.name, "address": master.address, "error": error })
            });
            result.insert("missing".to_owned(), missing.collect());
        }
        Answer { exit: Exit::Environment, ..answer }
    }
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
            ClientError::Unanswered { .. } => {
                (Exit::Environment, codes::BROKER_AWAY, Some(CARRIED_OUT))
            }
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
                ResponseCode::SUBSCRIPTION_PARSE_FAILED => {
                    (Exit::Input, codes::BROKER_REFUSED, Some("it is what --sql or --tag says"))
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
        check(ResponseCode::SUBSCRIPTION_PARSE_FAILED, "", Exit::Input, "E-NET-03");
    }
}
