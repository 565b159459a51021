//! `millrace group`: look at consumer groups and change them.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use millrace_client::{Admin, ConsumerConnections, Place, QueueProgress, Seen};
use millrace_types::GroupName;
use serde_json::{Map, Value, json};

use crate::cluster::{At, Gaps, looked, only_looked, parse_name, run};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::moments::{moment, parse_place};
use crate::output::Answer;
use crate::plain;
use crate::table::table;

/// What its help ends with.
const EXAMPLES: &str = "\
For instance:
  millrace group lag billing
  millrace group reset billing --topic orders --to 2026-01-02T03:04:05Z";

/// Look at the consumer groups of a cluster and change them.
///
/// Works with Millrace and with Apache RocketMQ.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Group {
    #[command(flatten)]
    pub(crate) at: At,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Name the groups that were made or that were online.
    List,
    /// Tell what a group is set to, who is online, and how far it is.
    Describe {
        /// Its name.
        group: String,
    },
    /// Tell who is online and what they subscribe to.
    Members {
        /// Its name.
        group: String,
    },
    /// Tell how far a group is behind in each queue.
    Lag {
        /// Its name.
        group: String,
        /// In this topic only.
        #[arg(long)]
        topic: Option<String>,
    },
    /// Make a group on all brokers that do not have it. A group need not be made: one that consumes is
    /// made by itself.
    Create {
        /// Its name.
        group: String,
        #[command(flatten)]
        settings: Changes,
    },
    /// Change a group on all brokers.
    Update {
        /// Its name.
        group: String,
        #[command(flatten)]
        settings: Changes,
    },
    /// Remove what a group is set to from all brokers. Where it was in its topics stays.
    Delete {
        /// Its name.
        group: String,
    },
    /// Move a group to another place in a topic.
    Reset {
        /// Its name.
        group: String,
        /// In which topic.
        #[arg(long)]
        topic: String,
        /// `earliest`, `latest`, or a time such as 2026-01-02T03:04:05Z.
        #[arg(long, value_name = "PLACE", value_parser = parse_place)]
        to: Place,
        /// Even if no broker knows the group, so that it begins there once it consumes.
        #[arg(long)]
        new: bool,
    },
}

/// What a group is set to.
#[derive(Args, Debug)]
struct Changes {
    /// How often a message is delivered again before it is a dead letter.
    #[arg(long, value_name = "TIMES")]
    retries: Option<u32>,
    /// Whether it may consume at all.
    #[arg(long, value_name = "true|false")]
    enabled: Option<bool>,
    /// Whether its members may each get every message.
    #[arg(long, value_name = "true|false")]
    broadcast: Option<bool>,
}

impl Group {
    /// The command with its action.
    pub(crate) fn name(&self) -> &'static str {
        match self.action {
            Action::List => "group list",
            Action::Describe { .. } => "group describe",
            Action::Members { .. } => "group members",
            Action::Lag { .. } => "group lag",
            Action::Create { .. } => "group create",
            Action::Update { .. } => "group update",
            Action::Delete { .. } => "group delete",
            Action::Reset { .. } => "group reset",
        }
    }

    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        run(async {
            let admin = self.at.admin().await?;
            match &self.action {
                Action::List => list(&admin).await.map_err(only_looked),
                Action::Describe { group } => describe(&admin, group).await.map_err(only_looked),
                Action::Members { group } => members(&admin, group).await.map_err(only_looked),
                Action::Lag { group, topic } => {
                    lag(&admin, group, topic.as_deref()).await.map_err(only_looked)
                }
                Action::Create { group, settings } => create(&admin, group, settings).await,
                Action::Update { group, settings } => update(&admin, group, settings).await,
                Action::Delete { group } => delete(&admin, group).await,
                Action::Reset { group, topic, to, new } => {
                    if !new {
                        known(&admin, group, "--new moves it all the same").await?;
                    }
                    reset(&admin, group, topic, *to).await
                }
            }
        })
    }
}

async fn list(admin: &Admin) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let mut groups: BTreeSet<String> = gaps.take(admin.groups().await?).into_keys().collect();
    // Whoever consumes has a retry topic, whether anybody set anything or not.
    let topics = admin.topics().await?;
    groups.extend(topics.iter().filter_map(|topic| topic.strip_prefix("%RETRY%")).map(Into::into));
    let text = groups.iter().map(|group| format!("{group}\n")).collect();
    let summary = counted(groups.len() as u64, "group");
    let result = json!({ "groups": groups });
    Ok(gaps.told(Answer { exit: Exit::Done, summary, text, result }))
}

async fn describe(admin: &Admin, group: &str) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let settings = gaps.take(admin.group(group).await?);
    let members = gaps.take(admin.members(group).await?);
    let progress = gaps.take(admin.progress(group, None).await?);
    if settings.is_none() && members.is_none() && progress.is_empty() {
        return Ok(gaps.told(unknown(group)));
    }
    let mut text = String::new();
    for (name, value) in settings.iter().flatten() {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text.push_str(&members_text(members.as_ref()));
    let lags = lag_by_topic(&progress);
    let rows: Vec<_> = lags.iter().map(|(topic, lag)| [topic.clone(), lag.to_string()]).collect();
    text.push_str(&table(["topic", "lag"], &rows));
    let total: u64 = lags.values().sum();
    let online = members.as_ref().map_or(0, |members| members.members.len() as u64);
    let summary = format!("{group}: {} online, {} behind", online, counted(total, "message"));
    let result = json!({
        "group": group,
        "settings": settings,
        "members": members_json(members.as_ref()),
        "lag": lags,
    });
    Ok(gaps.told(Answer { exit: Exit::Done, summary, text, result }))
}

fn unknown(group: &str) -> Answer {
    let summary = format!("no broker knows a group `{group}`");
    Answer::line(Exit::No, summary, json!({ "group": group }))
}

async fn members(admin: &Admin, group: &str) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let found = gaps.take(admin.members(group).await?);
    let online = found.as_ref().map_or(0, |members| members.members.len() as u64);
    let exit = if found.is_some() { Exit::Done } else { Exit::No };
    let summary = format!("{group}: {online} online");
    let text = members_text(found.as_ref());
    let result = json!({ "group": group, "members": members_json(found.as_ref()) });
    Ok(gaps.told(Answer { exit, summary, text, result }))
}

fn members_text(found: Option<&ConsumerConnections>) -> String {
    let Some(found) = found else { return "nobody is online\n".to_owned() };
    let rows: Vec<_> = found
        .members
        .iter()
        .map(|member| {
            let language = member.language.name().to_owned();
            [member.client_id.clone(), member.address.clone(), language, member.version.to_string()]
        })
        .collect();
    let mut text = table(["client", "address", "language", "version"], &rows);
    for subscription in &found.subscriptions {
        text.push_str(&format!(
            "subscribes to {}: {}\n",
            plain::line(&subscription.topic),
            plain::line(&subscription.expression)
        ));
    }
    text
}

fn members_json(found: Option<&ConsumerConnections>) -> Value {
    let Some(found) = found else { return Value::Null };
    let clients: Vec<Value> = found
        .members
        .iter()
        .map(|member| {
            json!({
                "client_id": member.client_id,
                "address": member.address,
                "language": member.language.name(),
                "version": member.version,
            })
        })
        .collect();
    let subscriptions: Vec<Value> = found
        .subscriptions
        .iter()
        .map(|subscription| {
            json!({
                "topic": subscription.topic,
                "expression": subscription.expression,
                "type": subscription.expression_type,
            })
        })
        .collect();
    json!({
        "clients": clients,
        "consume_type": found.consume_type,
        "message_model": found.message_model,
        "consume_from": found.consume_from,
        "subscriptions": subscriptions,
    })
}

async fn lag(admin: &Admin, group: &str, topic: Option<&str>) -> Result<Answer, Failure> {
    let mut gaps = Gaps::default();
    let progress = gaps.take(admin.progress(group, topic).await?);
    if progress.is_empty() {
        return Ok(gaps.told(unknown(group)));
    }
    let rows: Vec<_> = progress
        .iter()
        .map(|progress| {
            [
                progress.queue.topic.clone(),
                progress.queue.broker_name.clone(),
                progress.queue.queue_id.to_string(),
                progress.committed.to_string(),
                progress.end.to_string(),
                behind(progress).to_string(),
                moment(progress.consumed_until_ms),
            ]
        })
        .collect();
    let heading = ["topic", "broker", "queue", "committed", "ends", "lag", "consumed until"];
    let queues: Vec<Value> = progress
        .iter()
        .map(|progress| {
            json!({
                "topic": progress.queue.topic,
                "broker": progress.queue.broker_name,
                "queue": progress.queue.queue_id.0,
                "committed": progress.committed.0,
                "end": progress.end.0,
                "lag": behind(progress),
                "consumed_until_ms": progress.consumed_until_ms,
            })
        })
        .collect();
    let total: u64 = progress.iter().map(behind).sum();
    let summary = format!("{group}: {} behind", counted(total, "message"));
    let mut text = table(heading, &rows);
    text.push_str(&format!("{summary}\n"));
    let result = json!({ "group": group, "lag": total, "queues": queues });
    Ok(gaps.told(Answer { exit: Exit::Done, summary, text, result }))
}

fn behind(progress: &QueueProgress) -> u64 {
    progress.end.since(progress.committed)
}

fn lag_by_topic(progress: &[QueueProgress]) -> BTreeMap<String, u64> {
    let mut lags = BTreeMap::new();
    for progress in progress {
        *lags.entry(progress.queue.topic.clone()).or_default() += behind(progress);
    }
    lags
}

async fn create(admin: &Admin, group: &str, changes: &Changes) -> Result<Answer, Failure> {
    parse_name(group, GroupName::parse)?;
    let configs = looked(admin.group_configs(group).await.and_then(Seen::whole))?;
    let without: Vec<_> = configs.into_iter().filter(|(_, config)| config.is_none()).collect();
    if without.is_empty() {
        let message = format!("the group `{group}` is there already");
        return Err(Failure::new(Exit::Failed, codes::GROUP_EXISTS, message)
            .hint("`millrace group update` changes it"));
    }
    let masters: Vec<_> = without.into_iter().map(|(master, _)| master).collect();
    admin.put_group(group, &changes.over(group, Map::new()), &masters).await?;
    Ok(done(group, "made"))
}

async fn update(admin: &Admin, group: &str, changes: &Changes) -> Result<Answer, Failure> {
    if changes.retries.is_none() && changes.enabled.is_none() && changes.broadcast.is_none() {
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, "there is nothing to change")
            .hint("say --retries, --enabled or --broadcast"));
    }
    known(admin, group, "`millrace group create` makes it").await?;
    for (master, config) in looked(admin.group_configs(group).await.and_then(Seen::whole))? {
        let before = match config.as_deref().map(serde_json::from_str) {
            Some(Ok(before)) => before,
            None => Map::new(),
            // What is not understood must not be lost by writing it back.
            Some(Err(error)) => {
                let message =
                    format!("what {} says of the group `{group}` is not JSON", master.name);
                return Err(
                    Failure::new(Exit::Failed, codes::BROKER_REFUSED, message).caused_by(&error)
                );
            }
        };
        admin.put_group(group, &changes.over(group, before), &[master]).await?;
    }
    Ok(done(group, "changed"))
}

/// Refuses a group of which no broker has settings, members or offsets.
async fn known(admin: &Admin, group: &str, hint: &str) -> Result<(), Failure> {
    let set = looked(admin.group(group).await)?;
    if set.known.is_some() {
        return Ok(());
    }
    let progress = looked(admin.progress(group, None).await)?;
    if !progress.known.is_empty() {
        return Ok(());
    }
    let members = looked(admin.members(group).await)?;
    if members.known.is_some() {
        return Ok(());
    }
    // A broker that does not answer may know it.
    looked(set.whole())?;
    looked(progress.whole())?;
    looked(members.whole())?;
    let message = format!("no broker knows a group `{group}`");
    Err(Failure::new(Exit::Failed, codes::GROUP_MISSING, message).hint(hint))
}

async fn delete(admin: &Admin, group: &str) -> Result<Answer, Failure> {
    known(admin, group, "`millrace group list` shows those that are known").await?;
    admin.delete_group(group).await?;
    let stays: BTreeSet<_> = admin
        .progress(group, None)
        .await?
        .whole()?
        .into_iter()
        .map(|progress| progress.queue.topic)
        .collect();
    let topics: Vec<_> = stays.iter().map(String::as_str).collect();
    let mut summary = format!("removed what {group} was set to");
    if !topics.is_empty() {
        summary.push_str(&format!("; its offsets in {} stay", topics.join(", ")));
    }
    let result = json!({ "group": group, "offsets_stay_in": topics });
    Ok(Answer::line(Exit::Done, summary, result))
}

const ATTRIBUTES: &str = "attributes";

impl Changes {
    /// The settings as RocketMQ writes them: those of before, or its defaults, and these.
    fn over(&self, group: &str, before: Map<String, Value>) -> String {
        let mut settings = json!({
            "groupName": group,
            "consumeEnable": true,
            "consumeFromMinEnable": true,
            "consumeBroadcastEnable": true,
            "consumeMessageOrderly": false,
            "retryQueueNums": 1,
            "retryMaxTimes": 16,
            "brokerId": 0,
            "whichBrokerWhenConsumeSlowly": 1,
            "notifyConsumerIdsChangedEnable": true,
            "groupSysFlag": 0,
            "consumeTimeoutMinute": 15,
        });
        for (name, mut value) in before {
            // Apache takes these for changes, `+name` and `-name`, to what it has, and refuses
            // anything else.
            if let (ATTRIBUTES, Value::Object(attributes)) = (name.as_str(), &mut value) {
                attributes.retain(|name, _| name.starts_with(['+', '-']));
            }
            settings[name] = value;
        }
        if let Some(retries) = self.retries {
            settings["retryMaxTimes"] = json!(retries);
        }
        if let Some(enabled) = self.enabled {
            settings["consumeEnable"] = json!(enabled);
        }
        if let Some(broadcast) = self.broadcast {
            settings["consumeBroadcastEnable"] = json!(broadcast);
        }
        settings["groupName"] = json!(group);
        settings.to_string()
    }
}

async fn reset(admin: &Admin, group: &str, topic: &str, place: Place) -> Result<Answer, Failure> {
    let moved = admin.reset(group, topic, place).await?;
    let rows: Vec<_> = moved
        .iter()
        .map(|(queue, offset)| {
            [queue.broker_name.clone(), queue.queue_id.to_string(), offset.to_string()]
        })
        .collect();
    let queues: Vec<Value> = moved
        .iter()
        .map(|(queue, offset)| {
            json!({
                "broker": queue.broker_name,
                "queue": queue.queue_id.0,
                "offset": offset.0,
            })
        })
        .collect();
    let summary = format!("moved {group} in {} of {topic}", counted(queues.len() as u64, "queue"));
    let text = table(["broker", "queue", "offset"], &rows);
    let result = json!({ "group": group, "topic": topic, "queues": queues });
    Ok(Answer { exit: Exit::Done, summary, text, result })
}

fn done(group: &str, what: &str) -> Answer {
    Answer::line(Exit::Done, format!("{what} {group}"), json!({ "group": group }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_before_stay_unless_they_are_changed() {
        // As Apache RocketMQ answers.
        let before = json!({
            "groupName": "billing",
            "retryQueueNums": 3,
            "consumeEnable": false,
            "groupRetryPolicy": {"type": "EXPONENTIAL", "exponentialRetryPolicy": {"max": 7}},
            "attributes": {"priority.factor": "2", "+x": "1"},
        });
        let before = before.as_object().unwrap().clone();
        let changes = Changes { retries: Some(2), enabled: None, broadcast: None };
        let json: Value = serde_json::from_str(&changes.over("billing", before)).unwrap();
        assert_eq!(json["groupName"], "billing");
        assert_eq!(json["retryMaxTimes"], 2);
        assert_eq!(json["retryQueueNums"], 3);
        assert_eq!(json["consumeEnable"], false);
        assert_eq!(json["consumeTimeoutMinute"], 15);
        assert_eq!(json["groupRetryPolicy"]["exponentialRetryPolicy"]["max"], 7);
        assert_eq!(json["attributes"], json!({"+x": "1"}));
    }
}
