use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_protocol::{
    Admin as Ask, AnswerError, AttachFilter, AttachedFilter, AttachedFilters, BodyError, Call,
    ConsumerConnections, CreateTopic, DeleteGroup, Done, FieldWriter, FilterPlace, FilterRequest,
    GroupConfig, GroupNames, GroupProgress, GroupRules, GroupSettings, MessageQueue, MovedTo,
    OfConsumers, OfGroup, OfPage, OfTopic, OffsetMessageId, QueryAnswer, QueryMessage,
    QueueProgress, QueueStats, Refused, RequestCode, ResetOffset, ResponseCode, TopicConfig,
    TopicConfigs, TopicNames, TopicStats, UpdateConsumerOffset, ViewMessage,
};
use millrace_types::QueueOffset;
use tokio::time::Instant;

use crate::cluster::{garbled, refused};
use crate::peers::Answered;
use crate::{ClientError, Cluster, Received, routes};

/// Looks at a cluster and changes it, as `mqadmin` does. (In RocketMQ, `DefaultMQAdminExt`.)
#[derive(Debug)]
pub struct Admin {
    cluster: Arc<Cluster>,
}

/// A broker that takes writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its name.
    pub name: String,
    /// The cluster it belongs to.
    pub cluster: String,
    /// Where it is.
    pub address: String,
}

/// What brokers answered, and who of them did not.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    /// What those say that answered, of whom there is one at least.
    pub known: T,
    /// The others, and why.
    pub missing: Vec<(Master, ClientError)>,
}

impl<T> Seen<T> {
    /// What all of them say, for who must not do with less.
    pub fn whole(self) -> Result<T, ClientError> {
        match self.missing.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(self.known),
        }
    }

    fn map<U>(self, of: impl FnOnce(T) -> U) -> Seen<U> {
        Seen { known: of(self.known), missing: self.missing }
    }
}

impl<T> Seen<Vec<T>> {
    /// An error if nobody answered.
    fn by_anybody(self) -> Result<Self, ClientError> {
        match self.missing.first() {
            Some((_, error)) if self.known.is_empty() => Err(error.clone()),
            _ => Ok(self),
        }
    }
}

/// What a topic looks like on a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOn {
    /// Which one.
    pub broker: Master,
    /// Its queues and what may be done with it.
    pub config: TopicConfig,
}

/// Where a group is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the first message of each queue.
    Earliest,
    /// Behind the last one.
    Latest,
    /// At the first message stored at this time or later, ms.
    Time(i64),
}

/// A group by one word: how a tool shows it.
pub type Settings = BTreeMap<String, String>;

/// How long a broker may take to compile a module, and to wait for its disk.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(60);
/// Messages that one look-up gives at most.
pub const FOUND_MAX: i32 = 64;

impl Admin {
    /// For a cluster. Nothing is asked yet.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The brokers that take writes, by name.
    pub async fn masters(&self) -> Result<Vec<Master>, ClientError> {
        let known = self.cluster.brokers().await?;
        let masters = known.brokers.into_iter().filter_map(|(name, broker)| {
            let address = broker.addresses.get(&routes::MASTER)?.clone();
            Some(Master { name, cluster: broker.cluster, address })
        });
        Ok(masters.collect())
    }

    /// The names of all topics.
    pub async fn topics(&self) -> Result<Vec<String>, ClientError> {
        let answered = self.ask_namesrv(&Ask::TopicNames).await?;
        let mut names = body(&answered, TopicNames::decode)?.names;
        names.sort();
        Ok(names)
    }

    /// What a topic looks like on each broker that has it.
    pub async fn topic_configs(&self, topic: &str) -> Result<Seen<Vec<TopicOn>>, ClientError> {
        let mut seen = Seen { known: Vec::new(), missing: Vec::new() };
        for broker in self.masters_of(topic).await? {
            match self.topic_config(topic, &broker).await {
                Ok(config) => seen.known.push(TopicOn { broker, config }),
                Err(error) => seen.missing.push((broker, error)),
            }
        }
        seen.by_anybody()
    }

    async fn topic_config(&self, topic: &str, broker: &Master) -> Result<TopicConfig, ClientError> {
        let ask = Ask::TopicConfig(OfTopic { topic: topic.into() });
        let answered = self.cluster.ask(&broker.address, &ask).await?;
        let code = answered.response.header().response_code();
        if code != ResponseCode::REQUEST_CODE_NOT_SUPPORTED {
            return body(&answered, TopicConfig::decode);
        }
        // Apache RocketMQ before 5.0 tells what all topics look like.
        let ask = Ask::AllTopics(OfPage { first: 0, topics_max: None });
        let answered = self.cluster.ask(&broker.address, &ask).await?;
        let all = body(&answered, TopicConfigs::decode)?.topics;
        let found = all.into_iter().find(|config| config.topic == topic);
        found.ok_or_else(|| ClientError::NoRoute(topic.to_owned()))
    }

    /// Where the queues of a topic begin and end, by broker name and number.
    pub async fn topic_stats(&self, topic: &str) -> Result<Seen<Vec<QueueStats>>, ClientError> {
        let masters = self.masters_of(topic).await?;
        self.topic_stats_on(topic, masters).await
    }

    /// The same on some brokers alone.
    pub async fn topic_stats_on(
        &self,
        topic: &str,
        masters: Vec<Master>,
    ) -> Result<Seen<Vec<QueueStats>>, ClientError> {
        let ask = Ask::TopicStats(OfTopic { topic: topic.into() });
        let seen = self.look(masters, &ask, |answered| body(answered, TopicStats::decode)).await?;
        Ok(seen.map(|all| {
            let mut stats: Vec<_> = all.into_iter().flat_map(|(_, stats)| stats.queues).collect();
            stats.sort_by(|a, b| a.queue.cmp(&b.queue));
            stats
        }))
    }

    /// The groups that consume a topic, or have offsets in it.
    pub async fn groups_of(&self, topic: &str) -> Result<Seen<Vec<String>>, ClientError> {
        let ask = Ask::ConsumersOf(OfTopic { topic: topic.into() });
        let masters = self.masters_of(topic).await?;
        let seen = self.look(masters, &ask, |answered| body(answered, GroupNames::decode)).await?;
        Ok(seen.map(|all| {
            let mut groups: Vec<_> = all.into_iter().flat_map(|(_, groups)| groups.0).collect();
            groups.sort();
            groups.dedup();
            groups
        }))
    }

    /// Makes a topic on brokers, or changes it.
    pub async fn put_topic(
        &self,
        topic: &TopicConfig,
        brokers: &[Master],
    ) -> Result<(), ClientError> {
        self.put_topic_with(topic, None, brokers).await
    }

    /// The same with changes to its attributes: `+name=value` sets one and `-name` removes one,
    /// with `,` between several.
    pub async fn put_topic_with(
        &self,
        topic: &TopicConfig,
        attributes: Option<&str>,
        brokers: &[Master],
    ) -> Result<(), ClientError> {
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let call = CreateTopic {
            topic: topic.topic.as_str().into(),
            default_topic: millrace_types::TEMPLATE_TOPIC.into(),
            read_queues: number(topic.read_queues),
            write_queues: number(topic.write_queues),
            permission: number(topic.permission),
            filter_type: Some(topic.kept.filter_type().into()),
            topic_sys_flag: Some(topic.kept.sys_flag),
            order: topic.order,
            attributes: attributes.map(Into::into),
        };
        self.tell(&call, brokers).await
    }

    /// Removes a topic from brokers and then from all name servers. All of either are told, also
    /// where one of them fails; name servers are not where a broker has kept it, so that it is
    /// found again.
    pub async fn delete_topic(&self, topic: &str, brokers: &[Master]) -> Result<(), ClientError> {
        let in_broker = DeleteTopic { topic, code: RequestCode::DELETE_TOPIC_IN_BROKER };
        let mut removed = Ok(());
        for broker in brokers {
            removed = removed.and(self.tell(&in_broker, std::slice::from_ref(broker)).await);
        }
        removed?;
        let in_namesrv = DeleteTopic { topic, code: RequestCode::DELETE_TOPIC_IN_NAMESRV };
        let name_servers = self.cluster.name_servers();
        let timeout = self.cluster.options().request_timeout;
        let mut forgotten = Ok(());
        for address in name_servers.addresses() {
            let told = name_servers.ask_one(address, &in_namesrv, Instant::now() + timeout).await;
            let told = told.map_err(ClientError::from).and_then(|answered| {
                match answered.response.header().response_code() {
                    // One that lives inside of its broker has just forgotten it.
                    ResponseCode::SUCCESS | ResponseCode::REQUEST_CODE_NOT_SUPPORTED => Ok(()),
                    _ => Err(refused(&answered)),
                }
            });
            forgotten = forgotten.and(told);
        }
        self.cluster.forget_route(topic);
        forgotten
    }

    /// What the groups are set to, on all brokers together: those that somebody set or that were
    /// online.
    pub async fn groups(&self) -> Result<Seen<BTreeMap<String, Settings>>, ClientError> {
        let decode = |answered: &Answered| body(answered, GroupSettings::decode);
        let seen = self.look(self.masters().await?, &Ask::AllGroups, decode).await?;
        Ok(seen.map(|all| {
            // Of several brokers the first one's count.
            all.into_iter().rev().flat_map(|(_, groups)| groups.0).collect()
        }))
    }

    /// What a group is set to on the first broker that knows it; `None` if none does.
    pub async fn group(&self, group: &str) -> Result<Seen<Option<Settings>>, ClientError> {
        Ok(self.groups().await?.map(|mut all| all.remove(group)))
    }

    /// What a group is set to on each broker, as RocketMQ writes it in JSON; `None` where it is not
    /// known.
    pub async fn group_configs(
        &self,
        group: &str,
    ) -> Result<Seen<Vec<(Master, Option<String>)>>, ClientError> {
        // Apache RocketMQ makes a group of which one asks alone, unless it is told not to.
        let is_there =
            |answered: &Answered| Ok(body(answered, GroupSettings::decode)?.0.contains_key(group));
        let brokers = self.look(self.masters().await?, &Ask::AllGroups, is_there).await?;
        let mut seen = Seen { known: Vec::new(), missing: brokers.missing };
        let ask = Ask::GetGroup(OfGroup { group: group.into() });
        let text = |bytes: &[u8]| Ok(String::from_utf8_lossy(bytes).into_owned());
        for (master, is_there) in brokers.known {
            let config = match is_there {
                true => Some(body(&self.cluster.ask(&master.address, &ask).await?, text)?),
                false => None,
            };
            seen.known.push((master, config));
        }
        Ok(seen)
    }

    /// Makes a group on brokers, or changes it. `json` is its settings as RocketMQ writes them.
    pub async fn put_group(
        &self,
        group: &str,
        json: &str,
        brokers: &[Master],
    ) -> Result<(), ClientError> {
        let call = Ask::PutGroup(GroupConfig {
            group: group.to_owned(),
            rules: GroupRules::default(),
            json,
        });
        self.tell(&call, brokers).await
    }

    /// Removes a group from all brokers.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let masters = self.masters().await?;
        self.tell(&Ask::DeleteGroup(DeleteGroup { group: group.into() }), &masters).await
    }

    /// The members of a group, broker by broker; `None` if nobody is online.
    pub async fn members(
        &self,
        group: &str,
    ) -> Result<Seen<Option<ConsumerConnections>>, ClientError> {
        let ask = Ask::ConsumerConnections(OfConsumers { group: group.into(), topic: None });
        let decode = |answered: &Answered| match answered.response.header().response_code() {
            ResponseCode::CONSUMER_NOT_ONLINE => Ok(None),
            _ => body(answered, ConsumerConnections::decode).map(Some),
        };
        let seen = self.look(self.masters().await?, &ask, decode).await?;
        Ok(seen.map(|all| {
            let mut all = all.into_iter().filter_map(|(_, members)| members);
            let mut found = all.next()?;
            // A member is connected to every broker, each time from another port.
            for member in all.flat_map(|here| here.members) {
                if found.members.iter().all(|known| known.client_id != member.client_id) {
                    found.members.push(member);
                }
            }
            Some(found)
        }))
    }

    /// How far a group is in each queue, in one topic or in all of its topics.
    pub async fn progress(
        &self,
        group: &str,
        topic: Option<&str>,
    ) -> Result<Seen<Vec<QueueProgress>>, ClientError> {
        let topic = topic.map(Into::into);
        let ask = Ask::ConsumeStats(OfConsumers { group: group.into(), topic });
        let decode = |answered: &Answered| body(answered, GroupProgress::decode);
        let seen = self.look(self.masters().await?, &ask, decode).await?;
        Ok(seen.map(|all| {
            let mut progress: Vec<_> = all.into_iter().flat_map(|(_, here)| here.queues).collect();
            progress.sort_by(|a, b| a.queue.cmp(&b.queue));
            progress
        }))
    }

    /// Moves a group in a topic, and tells where each queue begins now.
    pub async fn reset(
        &self,
        group: &str,
        topic: &str,
        to: Place,
    ) -> Result<Vec<(MessageQueue, QueueOffset)>, ClientError> {
        let timestamp_ms = match to {
            Place::Earliest => 0,
            Place::Latest => -1,
            Place::Time(at) => at,
        };
        let ask = Ask::ResetOffset(ResetOffset {
            group: group.into(),
            topic: topic.into(),
            queue_id: -1,
            offset: None,
            timestamp_ms,
            force: true,
        });
        let mut moved = Vec::new();
        for master in self.masters_of(topic).await? {
            let answered = self.cluster.ask(&master.address, &ask).await?;
            let refused = Refused::of(&answered.response.header());
            let is_offline = match refused.code {
                ResponseCode::CONSUMER_NOT_ONLINE => true,
                // A queue in which the group has no offset; members are not looked for any more.
                ResponseCode::SYSTEM_ERROR if refused.remark.contains("not exist") => {
                    self.is_offline(group, &master).await?
                }
                _ => false,
            };
            match is_offline {
                true => moved.extend(self.reset_by_commits(group, topic, to, &master).await?),
                false => moved.extend(body(&answered, MovedTo::decode)?.0),
            }
        }
        moved.sort();
        Ok(moved)
    }

    async fn is_offline(&self, group: &str, master: &Master) -> Result<bool, ClientError> {
        let ask = Ask::ConsumerConnections(OfConsumers { group: group.into(), topic: None });
        let answered = self.cluster.ask(&master.address, &ask).await?;
        Ok(answered.response.header().response_code() == ResponseCode::CONSUMER_NOT_ONLINE)
    }

    /// Moves a group of which nobody is online, queue by queue. Apache RocketMQ before 5.2, and
    /// with `useServerSideResetOffset=false`, only has members move themselves. (In RocketMQ,
    /// `resetOffsetByTimestampOld`.)
    async fn reset_by_commits(
        &self,
        group: &str,
        topic: &str,
        to: Place,
        master: &Master,
    ) -> Result<Vec<(MessageQueue, QueueOffset)>, ClientError> {
        let mut moved = Vec::new();
        for queue in routes::of_broker(&*self.cluster.route(topic).await?, topic, &master.name) {
            let offset = match to {
                Place::Earliest => self.cluster.min_offset(&queue).await?,
                Place::Latest => self.cluster.max_offset(&queue).await?,
                Place::Time(at) => self.cluster.offset_at(&queue, at).await?,
            };
            let queue_id = queue.queue_id;
            let (group, topic) = (group.into(), topic.into());
            let commit = UpdateConsumerOffset { group, topic, queue_id, offset };
            self.tell(&commit, std::slice::from_ref(master)).await?;
            moved.push((queue, offset));
        }
        Ok(moved)
    }

    /// The message that is stored where an id says; `None` if there is none.
    pub async fn message_at(&self, id: &OffsetMessageId) -> Result<Option<Received>, ClientError> {
        let call = ViewMessage { topic: None, physical_offset: id.physical_offset };
        let address = id.store_host.to_string();
        let answered = self.cluster.ask(&address, &call).await?;
        let header = answered.response.header();
        match header.response_code() {
            ResponseCode::SUCCESS => {
                let name = self.name_at(id.store_host).await;
                Ok(records(&answered, &name)?.pop())
            }
            ResponseCode::SYSTEM_ERROR => Ok(None),
            _ => Err(refused(&answered)),
        }
    }

    /// The message at an offset of a queue; `None` if there is none.
    pub async fn message_in(
        &self,
        queue: &MessageQueue,
        offset: QueueOffset,
    ) -> Result<Option<Received>, ClientError> {
        let pulled = self.cluster.read(queue, offset, 1).await?;
        Ok(pulled.messages.into_iter().next().filter(|message| message.offset == offset))
    }

    /// The messages of a topic that have a key, or that have this id from their producer, oldest
    /// first.
    pub async fn messages_by_key(
        &self,
        topic: &str,
        key: &str,
        is_id: bool,
    ) -> Result<Vec<Received>, ClientError> {
        self.found_by_key(topic, key, is_id, FOUND_MAX).await.map(|(found, _)| found)
    }

    /// At most so many of the messages with a key from each broker, of which none gives more than
    /// [`FOUND_MAX`]; and whether a broker gave as many as that, so that there may be more.
    pub async fn found_by_key(
        &self,
        topic: &str,
        key: &str,
        is_id: bool,
        messages_max: i32,
    ) -> Result<(Vec<Received>, bool), ClientError> {
        let call = QueryMessage {
            topic: topic.into(),
            key: key.into(),
            messages_max,
            begin_ms: 0,
            end_ms: i64::MAX,
            by_unique_key: is_id,
        };
        let (mut found, mut more) = (Vec::new(), false);
        for master in self.masters_of(topic).await? {
            let answered = self.cluster.ask(&master.address, &call).await?;
            let header = answered.response.header();
            match QueryAnswer::decode(&header) {
                Ok(_) => {
                    let before = found.len();
                    found.extend(records(&answered, &master.name)?);
                    more |= found.len() - before >= usize::try_from(messages_max).unwrap_or(0);
                }
                Err(AnswerError::Refused(refused))
                    if refused.code == ResponseCode::QUERY_NOT_FOUND => {}
                Err(error) => return Err(ClientError::of_answer(error, &answered)),
            }
        }
        // Brokers index hashes.
        found.retain(|message| {
            let has_key = || message.keys().is_some_and(|keys| keys.split(' ').any(|k| k == key));
            if is_id { message.id() == key } else { has_key() }
        });
        found.sort_by_key(|message| (message.stored_at_ms, message.offset));
        Ok((found, more))
    }

    /// Attaches a filter to something on brokers, one after the other; the first that refuses ends
    /// it. Only Millrace has filters.
    pub async fn attach_filter(
        &self,
        attach: &AttachFilter<'_>,
        brokers: &[Master],
    ) -> Result<Vec<(Master, AttachedFilter)>, ClientError> {
        let mut attached = Vec::new();
        for broker in brokers {
            let call = FilterRequest::Attach(attach.clone());
            // It compiles the module.
            let answered = self.cluster.call(&broker.address, &call, ATTACH_TIMEOUT).await?;
            let filters = body(&answered, AttachedFilters::decode)?.0;
            attached.extend(filters.into_iter().map(|filter| (broker.clone(), filter)));
        }
        Ok(attached)
    }

    /// Takes the filter away that is attached to something; tells which of the brokers had it.
    pub async fn detach_filter(
        &self,
        place: &FilterPlace<'_>,
        brokers: &[Master],
    ) -> Result<Vec<Master>, ClientError> {
        let mut had_it = Vec::new();
        for broker in brokers {
            let call = FilterRequest::Detach(place.clone());
            let answered = self.cluster.call(&broker.address, &call, ATTACH_TIMEOUT).await?;
            match answered.response.header().response_code() {
                ResponseCode::SUCCESS => had_it.push(broker.clone()),
                ResponseCode::QUERY_NOT_FOUND => {}
                _ => return Err(refused(&answered)),
            }
        }
        Ok(had_it)
    }

    /// The filters of all brokers that know filters.
    pub async fn filters(&self) -> Result<Vec<(Master, AttachedFilter)>, ClientError> {
        let mut all = Vec::new();
        for master in self.masters().await? {
            let answered = self.cluster.ask(&master.address, &FilterRequest::List).await?;
            let code = answered.response.header().response_code();
            if code == ResponseCode::REQUEST_CODE_NOT_SUPPORTED {
                continue;
            }
            let filters = body(&answered, AttachedFilters::decode)?.0;
            all.extend(filters.into_iter().map(|filter| (master.clone(), filter)));
        }
        Ok(all)
    }

    async fn ask_namesrv(&self, call: &(dyn Call + Sync)) -> Result<Answered, ClientError> {
        let deadline = Instant::now() + self.cluster.options().request_timeout;
        Ok(self.cluster.name_servers().ask(call, deadline).await?)
    }

    /// The brokers that take writes and have a topic.
    pub async fn masters_of(&self, topic: &str) -> Result<Vec<Master>, ClientError> {
        let route = self.cluster.route(topic).await?;
        let masters = route.queues.iter().filter_map(|queues| {
            let broker = route.brokers.iter().find(|b| b.broker_name == queues.broker_name)?;
            Some(Master {
                name: broker.broker_name.clone(),
                cluster: broker.cluster.clone(),
                address: broker.addresses.get(&routes::MASTER)?.clone(),
            })
        });
        let masters: Vec<_> = masters.collect();
        if masters.is_empty() { Err(ClientError::NoRoute(topic.to_owned())) } else { Ok(masters) }
    }

    /// Asks brokers one after the other. One that does not answer, or says no, keeps nobody from
    /// hearing the others; if that is all of them, it is an error.
    async fn look<T>(
        &self,
        masters: Vec<Master>,
        ask: &Ask<'_>,
        decode: impl Fn(&Answered) -> Result<T, ClientError>,
    ) -> Result<Seen<Vec<(Master, T)>>, ClientError> {
        let mut seen = Seen { known: Vec::new(), missing: Vec::new() };
        for master in masters {
            let answered = self.cluster.ask(&master.address, ask).await;
            match answered.and_then(|answered| decode(&answered)) {
                Ok(said) => seen.known.push((master, said)),
                Err(error) => seen.missing.push((master, error)),
            }
        }
        seen.by_anybody()
    }

    /// Has each broker do the same thing, one after the other; the first that refuses ends it.
    async fn tell(&self, call: &(dyn Call + Sync), brokers: &[Master]) -> Result<(), ClientError> {
        for broker in brokers {
            let answered = self.cluster.ask(&broker.address, call).await?;
            let done = Done::decode(&answered.response.header());
            done.map_err(|error| ClientError::of_answer(error, &answered))?;
        }
        Ok(())
    }

    /// The name of the broker at an address; the address if nobody knows it.
    async fn name_at(&self, address: SocketAddr) -> String {
        let address = address.to_string();
        let masters = self.masters().await.unwrap_or_default();
        let known = masters.into_iter().find(|master| master.address == address);
        known.map_or(address, |master| master.name)
    }
}

/// Removes a topic; which half of it, the code says.
struct DeleteTopic<'a> {
    topic: &'a str,
    code: RequestCode,
}

impl Call for DeleteTopic<'_> {
    fn code(&self) -> RequestCode {
        self.code
    }

    fn fields(&self, to: &mut FieldWriter<'_>) {
        to.text("topic", self.topic);
    }
}

/// The body of a success.
fn body<T>(
    answered: &Answered,
    decode: impl Fn(&[u8]) -> Result<T, BodyError>,
) -> Result<T, ClientError> {
    if answered.response.header().response_code() != ResponseCode::SUCCESS {
        return Err(refused(answered));
    }
    decode(answered.response.body()).map_err(|error| garbled(answered, error))
}

fn records(answered: &Answered, broker_name: &str) -> Result<Vec<Received>, ClientError> {
    let records: &Bytes = answered.response.body();
    match Received::read_all(records, broker_name) {
        (messages, None) => Ok(messages),
        (_, Some(error)) => Err(ClientError::Garbled {
            address: answered.address.to_string(),
            reason: error.to_string(),
        }),
    }
}
