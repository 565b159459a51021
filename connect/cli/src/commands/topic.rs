//! `millrace topic`: look at topics and change them.

use clap::{Args, Subcommand};
use millrace_client::{Admin, Master, QueueStats, Seen, TopicConfig, TopicOn, permission};
use millrace_types::TopicName;
use serde_json::{Value, json};

use crate::cluster::{At, Gaps, looked, only_looked, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::{counted, parse_size};
use crate::moments::moment;
use crate::output::Answer;
use crate::plain;
use crate::table::table;

/// What its help ends with.
const EXAMPLES: &str = "\
For instance:
  millrace topic create orders --queues 8
  millrace topic describe orders";

/// Look at the topics of a cluster and change them.
///
/// Works with Millrace and with Apache RocketMQ.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Topic {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name all topics.
    List {
        /// Those of the brokers themselves, retry topics and dead-letter topics too.
        #[arg(long)]
        all: bool,
    },
    /// Tell what a topic looks like on each broker, and who consumes it.
    Describe {
        /// Its name.
        topic: String,
    },
    /// Tell where each queue begins and ends, and when its last message was stored.
    Status {
        /// Its name.
        topic: String,
    },
    /// Tell which brokers serve a topic, as the name server has it.
    Route {
        /// Its name.
        topic: String,
    },
    /// Make a topic on those brokers that do not have it.
    Create {
        /// Its name.
        topic: String,
        /// Queues on each broker.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
        queues: u32,
        /// What may be done: read, write or both.
        #[arg(long, value_name = "r|w|rw", default_value = "rw", value_parser = parse_permission)]
        permission: u32,
        #[command(flatten)]
        attributes: Attributes,
        #[command(flatten)]
        on: On,
    },
    /// Change a topic on the brokers that have it.
    Update {
        /// Its name.
        topic: String,
        #[command(flatten)]
        queues: Queues,
        /// What may be done: read, write or both.
        #[arg(long, value_name = "r|w|rw", value_parser = parse_permission)]
        permission: Option<u32>,
        #[command(flatten)]
        attributes: Attributes,
        /// Even if nobody can read messages any more that are there.
        #[arg(long)]
        yes: bool,
    },
    /// Remove a topic, its messages and the offsets of its groups.
    Delete {
        /// Its name.
        topic: String,
        /// Yes, I mean it.
        #[arg(long)]
        yes: bool,
    },
}

/// How many queues a topic has. To have fewer, first give it fewer to write to, and fewer to read
/// from once the others are read.
#[derive(Args, Clone, Copy, Debug)]
struct Queues {
    /// Queues on each broker, to read from and to write to.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024),
        conflicts_with_all = ["read_queues", "write_queues"])]
    queues: Option<u32>,
    /// Queues on each broker that consumers read from.
    #[arg(long, value_name = "QUEUES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    read_queues: Option<u32>,
    /// Queues on each broker that producers write to.
    #[arg(long, value_name = "QUEUES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    write_queues: Option<u32>,
}

impl Queues {
    fn read(self) -> Option<u32> {
        self.queues.or(self.read_queues)
    }

    fn write(self) -> Option<u32> {
        self.queues.or(self.write_queues)
    }
}

/// What else is set for a topic.
#[derive(Args, Debug)]
struct Attributes {
    /// Hours that its messages are kept, whatever the broker says (the attribute `reserve.time`).
    #[arg(long, value_name = "HOURS")]
    keep_hours: Option<u32>,
    /// The newest so many bytes of it are kept; older ones may go before their time
    /// (`reserve.bytes`).
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_bytes: Option<u64>,
    /// Any attribute: `+name=value` sets one and `-name` removes one, with `,` between several.
    #[arg(short, long, value_name = "CHANGES", allow_hyphen_values = true)]
    attributes: Option<String>,
}

impl Attributes {
    /// The changes as brokers take them; `None` if there are none.
    fn changes(&self) -> Option<String> {
        let hours = self.keep_hours.map(|hours| format!("+reserve.time={hours}"));
        let bytes = self.keep_bytes.map(|bytes| format!("+reserve.bytes={bytes}"));
        let all: Vec<_> = [self.attributes.clone(), hours, bytes].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join(","))
    }
}

/// On which brokers; all of them if nothing is said.
#[derive(Args, Debug)]
struct On {
    /// On the brokers of this cluster only.
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// On this broker only.
    #[arg(long, value_name = "NAME", conflicts_with = "cluster")]
    broker: Option<String>,
}

impl Topic {
    /// The command with its action.
    pub(crate) fn name(&self) -> &'static str {
        match self.action {
            Action::List { .. } => "topic list",
            Action::Describe { .. } => "topic describe",
            Action::Status { .. } => "topic status",
            Action::Route { .. } => "topic route",
            Action::Create { .. } => "topic create",
            Action::Update { .. } => "topic update",
            Action::Delete { .. } => "topic delete",
        }
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        run(async {
            let admin = self.at.admin().await?;
            match &self.action {
                Action::List { all } => list(&admin, *all).await.map_err(only_looked),
                Action::Describe { topic } => describe(&admin, topic).await.map_err(only_looked),
                Action::Status { topic } => status(&admin, topic).await.map_err(only_looked),
                Action::Route { topic } => route(&admin, topic).await.map_err(only_looked),
                Action::Create { topic, queues, permission, attributes, on } => {
                    create(&admin, topic, (*queues, *permission), attributes, on).await
                }
                Action::Update { topic, queues, permission, attributes, yes } => {
                    update(&admin, topic, (*queues, *permission), attributes, *yes).await
                }
                Action::Delete { topic, yes } => delete(&admin, topic, *yes).await,
            }
        })
    }
}

async fn list(admin: &Admin, all: bool) -> Result<Answer, Failure> {
    let mut topics = admin.topics().await?;
    topics.retain(|topic| all || !is_inner(topic));
    let text = topics.iter().map(|topic| format!("{topic}\n")).collect();
    let summary = counted(topics.len() as u64, "topic");
    Ok(Answer { exit: Exit::Done, summary, text, result: json!({ "topics": topics }) })
}

/// Whether a topic is one that brokers and clients made for themselves.
fn is_inner(topic: &str) -> bool {
    const PREFIXES: [&str; 7] =
        ["%RETRY%", "%DLQ%", "%SYS%", "RMQ_SYS_", "rmq_sys_", "MILLRACE_", "%LMQ%"];
    const NAMES: [&str; 7] = [
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "BenchmarkTest",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "TRANS_CHECK_MAXTIME_TOPIC",
    ];
    PREFIXES.iter().any(|prefix| topic.starts_with(prefix)) || NAMES.contains(&topic)
}

async fn describe(admin: &Admin, topic: &str) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let configs = gaps.take(admin.topic_configs(topic).await?);
    let brokers: Vec<_> = configs.iter().map(|on| on.broker.clone()).collect();
    let stats = gaps.take_any(admin.topic_stats(topic).await, &brokers);
    let groups = gaps.take_any(admin.groups_of(topic).await, &brokers);
    let held = |name: &str| {
        let of_broker = stats.iter().filter(|stats| stats.queue.broker_name == name);
        of_broker.map(messages).sum::<u64>()
    };
    let rows: Vec<_> = configs
        .iter()
        .map(|TopicOn { broker, config }| {
            [
                broker.name.clone(),
                config.read_queues.to_string(),
                config.write_queues.to_string(),
                show_permission(config.permission).to_owned(),
                held(&broker.name).to_string(),
            ]
        })
        .collect();
    let mut text =
        table(["broker", "read queues", "write queues", "permission", "messages"], &rows);
    let consumers = if groups.is_empty() { "none".to_owned() } else { groups.join(", ") };
    text.push_str(&format!("groups: {consumers}\n"));
    for TopicOn { broker, config } in &configs {
        for (name, value) in &config.attributes {
            let line = format!("{name} = {value} on {}", broker.name);
            text.push_str(&format!("{}\n", plain::line(&line)));
        }
    }
    let brokers: Vec<Value> = configs
        .iter()
        .map(|TopicOn { broker, config }| {
            json!({
                "broker": broker.name,
                "address": broker.address,
                "cluster": broker.cluster,
                "read_queues": config.read_queues,
                "write_queues": config.write_queues,
                "permission": show_permission(config.permission),
                "messages": held(&broker.name),
                "attributes": config.attributes,
            })
        })
        .collect();
    let total: u64 = stats.iter().map(messages).sum();
    let summary = format!("{topic}: {}", counted(total, "message"));
    let result = json!({ "topic": topic, "messages": total, "brokers": brokers, "groups": groups });
    Ok(gaps.told(Answer { exit: Exit::Done, summary, text, result }))
}

fn messages(stats: &QueueStats) -> u64 {
    stats.max.since(stats.min)
}

async fn status(admin: &Admin, topic: &str) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let stats = gaps.take(admin.topic_stats(topic).await?);
    let rows: Vec<_> = stats
        .iter()
        .map(|stats| {
            [
                stats.queue.broker_name.clone(),
                stats.queue.queue_id.to_string(),
                stats.min.to_string(),
                stats.max.to_string(),
                moment(stats.updated_at_ms),
            ]
        })
        .collect();
    let text = table(["broker", "queue", "begins", "ends", "last stored"], &rows);
    let queues: Vec<Value> = stats
        .iter()
        .map(|stats| {
            json!({
                "broker": stats.queue.broker_name,
                "queue": stats.queue.queue_id.0,
                "min": stats.min.0,
                "max": stats.max.0,
                "updated_at_ms": stats.updated_at_ms,
            })
        })
        .collect();
    let total: u64 = stats.iter().map(messages).sum();
    let summary = format!("{topic}: {}", counted(total, "message"));
    let result = json!({ "topic": topic, "messages": total, "queues": queues });
    Ok(gaps.told(Answer { exit: Exit::Done, summary, text, result }))
}

async fn route(admin: &Admin, topic: &str) -> Result<Answer, Failure> {
    let route = admin.cluster().route(topic).await?;
    let mut rows = Vec::new();
    let mut brokers = Vec::new();
    for queues in &route.queues {
        let known = route.brokers.iter().find(|broker| broker.broker_name == queues.broker_name);
        let addresses = known.map(|broker| broker.addresses.clone()).unwrap_or_default();
        let shown: Vec<_> = addresses.iter().map(|(id, at)| format!("{id}={at}")).collect();
        let permission = show_permission(u32::try_from(queues.permission).unwrap_or(0));
        rows.push([
            queues.broker_name.clone(),
            queues.read_queues.to_string(),
            queues.write_queues.to_string(),
            permission.to_owned(),
            shown.join(" "),
        ]);
        brokers.push(json!({
            "broker": queues.broker_name,
            "cluster": known.map(|broker| broker.cluster.as_str()),
            "read_queues": queues.read_queues,
            "write_queues": queues.write_queues,
            "permission": permission,
            "addresses": addresses,
        }));
    }
    let text = table(["broker", "read queues", "write queues", "permission", "addresses"], &rows);
    let summary = format!("{topic}: {}", counted(brokers.len() as u64, "broker"));
    let result = json!({ "topic": topic, "brokers": brokers });
    Ok(Answer { exit: Exit::Done, summary, text, result })
}

async fn create(
    admin: &Admin,
    topic: &str,
    (queues, permission): (u32, u32),
    attributes: &Attributes,
    on: &On,
) -> Result<Answer, Failure> {
    parse_name(topic, TopicName::parse)?;
    let mut masters = on.choose(looked(admin.masters().await)?)?;
    if let Some(route) = looked(admin.cluster().find_route(topic).await)? {
        let has = |master: &Master| route.queues.iter().any(|on| on.broker_name == master.name);
        masters.retain(|master| !has(master));
    }
    if masters.is_empty() {
        let message = format!("the topic `{topic}` is there already");
        return Err(Failure::new(Exit::Failed, codes::TOPIC_EXISTS, message)
            .hint("`millrace topic update` changes it"));
    }
    let config = TopicConfig {
        topic: topic.to_owned(),
        read_queues: queues,
        write_queues: queues,
        permission,
        ..TopicConfig::default()
    };
    admin.put_topic_with(&config, attributes.changes().as_deref(), &masters).await?;
    Ok(done(topic, "made", &masters))
}

impl On {
    fn choose(&self, mut masters: Vec<Master>) -> Result<Vec<Master>, Failure> {
        let known: Vec<_> = masters.iter().map(|master| master.name.clone()).collect();
        if let Some(cluster) = &self.cluster {
            masters.retain(|master| master.cluster == *cluster);
        }
        if let Some(broker) = &self.broker {
            masters.retain(|master| master.name == *broker);
        }
        if masters.is_empty() {
            let message = "no broker that takes writes is among those asked for";
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
                .hint(format!("the name server knows these brokers: {known}")));
        }
        Ok(masters)
    }
}

async fn update(
    admin: &Admin,
    topic: &str,
    (queues, permission): (Queues, Option<u32>),
    attributes: &Attributes,
    yes: bool,
) -> Result<Answer, Failure> {
    let attributes = attributes.changes();
    let counts = queues.read().or(queues.write());
    if counts.is_none() && permission.is_none() && attributes.is_none() {
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, "there is nothing to change").hint(
            "say --queues, --read-queues, --write-queues, --permission, --keep-hours, --keep-bytes \
             or --attributes",
        ));
    }
    // What one broker does not do hinders nothing at the others.
    let mut gaps = Gaps::default();
    let before = gaps.take(looked(admin.topic_configs(topic).await)?);
    let reads_less = |on: &&TopicOn| queues.read().is_some_and(|read| read < on.config.read_queues);
    let hiding: Vec<_> = before.iter().filter(reads_less).map(|on| on.broker.clone()).collect();
    let after: Vec<_> = before
        .into_iter()
        .map(|TopicOn { broker, config }| {
            let config = TopicConfig {
                topic: topic.to_owned(),
                read_queues: queues.read().unwrap_or(config.read_queues),
                write_queues: queues.write().unwrap_or(config.write_queues),
                permission: permission.unwrap_or(config.permission),
                ..config
            };
            (broker, config)
        })
        .collect();
    if counts.is_some() && !yes {
        let stats = match hiding.is_empty() {
            true => Vec::new(),
            false => looked(admin.topic_stats_on(topic, hiding).await.and_then(Seen::whole))?,
        };
        refuse_unread(&after, &stats)?;
    }
    let (mut changed, mut failed) = (Vec::new(), None);
    for (master, config) in after {
        let on = std::slice::from_ref(&master);
        match admin.put_topic_with(&config, attributes.as_deref(), on).await {
            Ok(()) => changed.push(master),
            Err(error) => {
                gaps.note(master, &error);
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) if changed.is_empty() => Err(error.into()),
        _ => Ok(gaps.told(done(topic, "changed", &changed))),
    }
}

/// Refuses what would leave messages, of now or later, in queues that nobody reads from.
fn refuse_unread(after: &[(Master, TopicConfig)], stats: &[QueueStats]) -> Result<(), Failure> {
    for (broker, config) in after {
        let (read, write) = (config.read_queues, config.write_queues);
        let name = &broker.name;
        let gone = stats.iter().filter(|stats| {
            stats.queue.broker_name == *name
                && stats.queue.queue_id.0 >= read
                && messages(stats) > 0
        });
        let lost: u64 = gone.map(messages).sum();
        let (message, hint) = if lost > 0 {
            let lost = counted(lost, "message");
            let message = format!("{lost} on {name} would lie in queues that nobody reads from");
            (
                message,
                format!(
                    "--write-queues {read} first, and --read-queues {read} once they are read; or say --yes"
                ),
            )
        } else if write > read {
            let message = format!(
                "{write} queues on {name} would be written to and {read} read from, so that \
                 messages would lie in the others unread"
            );
            (message, "give it more --read-queues; or say --yes".to_owned())
        } else {
            continue;
        };
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, message).hint(hint));
    }
    Ok(())
}

async fn delete(admin: &Admin, topic: &str, yes: bool) -> Result<Answer, Failure> {
    let masters = looked(admin.masters_of(topic).await)?;
    if !yes {
        let message = format!("`{topic}` would be gone with its messages");
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
            .hint("say --yes if that is what you want"));
    }
    admin.delete_topic(topic, &masters).await?;
    Ok(done(topic, "removed", &masters))
}

fn done(topic: &str, what: &str, on: &[Master]) -> Answer {
    let names: Vec<_> = on.iter().map(|master| master.name.as_str()).collect();
    let summary = format!("{what} {topic} on {}", names.join(", "));
    let result = json!({ "topic": topic, "brokers": names });
    Answer::line(Exit::Done, summary, result)
}

fn parse_permission(text: &str) -> Result<u32, String> {
    let bits = match text {
        "r" => permission::READ,
        "w" => permission::WRITE,
        "rw" => permission::READ | permission::WRITE,
        _ => return Err("say `r`, `w` or `rw`".to_owned()),
    };
    Ok(bits.unsigned_abs())
}

fn show_permission(bits: u32) -> &'static str {
    let has = |bit: i32| bits & bit.unsigned_abs() != 0;
    match (has(permission::READ), has(permission::WRITE)) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "none",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_letters() {
        for text in ["r", "w", "rw"] {
            assert_eq!(show_permission(parse_permission(text).unwrap()), text);
        }
        assert_eq!(parse_permission("rw"), Ok(6));
        assert!(parse_permission("x").is_err());
        assert_eq!(show_permission(1), "none");
    }

    #[test]
    fn attributes_are_changes() {
        let told = |keep_hours, keep_bytes, attributes: Option<&str>| {
            let attributes = attributes.map(str::to_owned);
            Attributes { keep_hours, keep_bytes, attributes }.changes()
        };
        assert_eq!(told(None, None, None), None);
        assert_eq!(told(Some(24), None, None).unwrap(), "+reserve.time=24");
        let all = told(Some(1), Some(2), Some("+message.type=FIFO,-x"));
        assert_eq!(all.unwrap(), "+message.type=FIFO,-x,+reserve.time=1,+reserve.bytes=2");
    }

    #[test]
    fn inner_topics_are_known_by_name() {
        for inner in ["%RETRY%g", "%DLQ%g", "RMQ_SYS_TRACE_TOPIC", "MILLRACE_META", "TBW102"] {
            assert!(is_inner(inner), "{inner}");
        }
        assert!(!is_inner("orders"));
    }
}
