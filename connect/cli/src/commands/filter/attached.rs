//! Filters in a broker: which messages its consumers are given.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use millrace_client::{
    Admin, AttachFilter, AttachedFilter, ClientError, FilterPlace, FilterTerms, Master,
    ResponseCode,
};
use millrace_types::{GroupName, TopicName};
use serde_json::{Map, Value, json};

use super::module_bytes;
use super::run::parse_params;
use crate::cluster::{At, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::{count, counted};
use crate::moments::moment;
use crate::output::Answer;
use crate::table::table;
use crate::wire::parse_namesrv;

/// Attach a module to a group, a topic, or a group in one topic: consumers are then given the
/// messages that it keeps.
///
/// It narrows what they subscribe to, whatever client they use, and takes the place of what was
/// attached before. Every broker that takes writes keeps it, over restarts, until it is detached.
#[derive(Args, Debug)]
pub(super) struct Attach {
    #[command(flatten)]
    cluster: Namesrv,
    #[command(flatten)]
    place: Place,
    /// The module; of the kind `filter`.
    #[arg(long, value_name = "FILE")]
    module: PathBuf,
    /// Its parameters, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = parse_params)]
    params: Map<String, Value>,
    /// What becomes of a message at which the module fails.
    #[arg(long, value_name = "WHAT", value_enum, default_value = "deliver")]
    on_failure: OnFailure,
}

/// Take a module away from what it was attached to.
#[derive(Args, Debug)]
pub(super) struct Detach {
    #[command(flatten)]
    cluster: Namesrv,
    #[command(flatten)]
    place: Place,
}

/// Name the modules that are attached, and what they did since they were or since the broker was
/// started: messages kept, dropped, and failed at.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    cluster: Namesrv,
}

#[derive(Args, Debug)]
struct Namesrv {
    /// The name servers: `host:port`, several with `;` in between.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_namesrv)]
    #[arg(env = "MILLRACE_NAMESRV", default_value = "127.0.0.1:9876")]
    namesrv: String,
}

#[derive(Args, Debug)]
#[group(required = true, multiple = true)]
struct Place {
    /// What this group is given.
    #[arg(long)]
    group: Option<String>,
    /// What groups are given of this topic.
    #[arg(long)]
    topic: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnFailure {
    /// It is given to the consumer.
    Deliver,
    /// It is not.
    Drop,
}

impl Namesrv {
    async fn admin(&self) -> Result<Admin, Failure> {
        At { namesrv: self.namesrv.clone(), json: false }.admin().await
    }
}

impl Place {
    /// The same as a broker understands it, if the names can be some.
    fn named(&self) -> Result<FilterPlace<'_>, Failure> {
        self.group.as_deref().map(|group| parse_name(group, GroupName::parse)).transpose()?;
        self.topic.as_deref().map(|topic| parse_name(topic, TopicName::parse)).transpose()?;
        let (group, topic) = (self.group.as_deref(), self.topic.as_deref());
        Ok(FilterPlace { group: group.map(Into::into), topic: topic.map(Into::into) })
    }

    /// The brokers that may have a filter for it, also for a topic that is not there yet.
    async fn all_brokers(&self, admin: &Admin) -> Result<Vec<Master>, Failure> {
        let Some(topic) = &self.topic else { return Ok(admin.masters().await?) };
        match admin.masters_of(topic).await {
            Err(ClientError::NoRoute(_)) => Ok(admin.masters().await?),
            masters => Ok(masters?),
        }
    }

    /// The brokers that it concerns.
    async fn brokers(&self, admin: &Admin) -> Result<Vec<Master>, Failure> {
        Ok(match &self.topic {
            Some(topic) => admin.masters_of(topic).await?,
            None => admin.masters().await?,
        })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&place(self.group.as_deref(), self.topic.as_deref()))
    }
}

fn place(group: Option<&str>, topic: Option<&str>) -> String {
    match (group, topic) {
        (Some(group), Some(topic)) => format!("the group {group} in the topic {topic}"),
        (Some(group), None) => format!("the group {group}"),
        (None, Some(topic)) => format!("the topic {topic}"),
        (None, None) => "nothing".to_owned(),
    }
}

impl Attach {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let module = module_bytes(&self.module)?;
        let attach = AttachFilter {
            place: self.place.named()?,
            terms: FilterTerms {
                params: Value::Object(self.params.clone()).to_string().into(),
                on_failure: match self.on_failure {
                    OnFailure::Deliver => "deliver",
                    OnFailure::Drop => "drop",
                }
                .into(),
            },
            module: &module,
        };
        let attached = run(async {
            let admin = self.cluster.admin().await?;
            let brokers = self.place.brokers(&admin).await?;
            let attached = admin.attach_filter(&attach, &brokers).await;
            attached.map_err(|error| self.refused(error))
        })?;
        let of = attached.first().map(|(_, filter)| format!("{} {}", filter.name, filter.version));
        let brokers = counted(attached.len() as u64, "broker");
        let filter = of.unwrap_or_default();
        let summary = format!("{filter} attached to {}, on {brokers}", self.place);
        Ok(Answer::line(Exit::Done, summary, described(&attached)))
    }

    fn refused(&self, error: ClientError) -> Failure {
        match &error {
            ClientError::Refused { refused, .. }
                if refused.code == ResponseCode::INVALID_PARAMETER =>
            {
                let message = format!("cannot use {}: {}", self.module.display(), refused.remark);
                Failure::new(Exit::Input, codes::FILTER, message)
                    .hint("`millrace filter check` tells what the module is and takes")
                    .caused_by(&error)
            }
            _ => not_ours(error),
        }
    }
}

/// Apache RocketMQ has no filters in WebAssembly.
fn not_ours(error: ClientError) -> Failure {
    match &error {
        ClientError::Refused { address, refused }
            if refused.code == ResponseCode::REQUEST_CODE_NOT_SUPPORTED =>
        {
            let message = format!("the broker at {address} knows no filters in WebAssembly");
            Failure::new(Exit::Failed, codes::BROKER_REFUSED, message).caused_by(&error)
        }
        _ => error.into(),
    }
}

impl Detach {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let named = self.place.named()?;
        let had_it = run(async {
            let admin = self.cluster.admin().await?;
            let brokers = self.place.all_brokers(&admin).await?;
            admin.detach_filter(&named, &brokers).await.map_err(not_ours)
        })?;
        let brokers: Vec<&str> = had_it.iter().map(|broker| broker.name.as_str()).collect();
        let (exit, summary) = match brokers.len() as u64 {
            0 => (Exit::No, format!("nothing is attached to {}", self.place)),
            n => {
                let brokers = counted(n, "broker");
                (Exit::Done, format!("detached from {}, on {brokers}", self.place))
            }
        };
        Ok(Answer::line(exit, summary, json!({ "brokers": brokers })))
    }
}

impl List {
    pub(super) fn execute(&self) -> Result<Answer, Failure> {
        let all = run(async {
            let admin = self.cluster.admin().await?;
            Ok(admin.filters().await?)
        })?;
        let rows: Vec<_> = all
            .iter()
            .map(|(broker, filter)| {
                [
                    place(filter.group.as_deref(), filter.topic.as_deref()),
                    broker.name.clone(),
                    format!("{} {}", filter.name, filter.version),
                    filter.sha256.chars().take(12).collect(),
                    moment(filter.attached_at_ms),
                    moment(filter.counted_from_ms),
                    count(filter.kept),
                    count(filter.dropped),
                    count(filter.failed),
                ]
            })
            .collect();
        let heading = [
            "attached to",
            "broker",
            "filter",
            "sha256",
            "attached",
            "counted since",
            "kept",
            "dropped",
            "failed",
        ];
        let summary = counted(all.len() as u64, "filter");
        let mut text = if all.is_empty() { String::new() } else { table(heading, &rows) };
        for (broker, filter) in &all {
            let told = [("", &filter.trouble), ("last failure: ", &filter.last_failure)];
            for (what, reason) in told {
                if let Some(reason) = reason {
                    let place = place(filter.group.as_deref(), filter.topic.as_deref());
                    text.push_str(&format!("{place} on {}: {what}{reason}\n", broker.name));
                }
            }
        }
        text.push_str(&format!("{summary}\n"));
        Ok(Answer { exit: Exit::Done, summary, text, result: described(&all) })
    }
}

fn described(all: &[(Master, AttachedFilter)]) -> Value {
    let filters = all.iter().map(|(broker, filter)| {
        json!({
            "broker": broker.name,
            "group": filter.group,
            "topic": filter.topic,
            "name": filter.name,
            "version": filter.version,
            "sha256": filter.sha256,
            "params": serde_json::from_str::<Value>(&filter.params).unwrap_or_default(),
            "on_failure": filter.on_failure,
            "attached_at_ms": filter.attached_at_ms,
            "counted_from_ms": filter.counted_from_ms,
            "kept": filter.kept,
            "dropped": filter.dropped,
            "failed": filter.failed,
            "trouble": filter.trouble,
            "last_failure": filter.last_failure,
        })
    });
    json!({ "filters": filters.collect::<Vec<_>>() })
}
