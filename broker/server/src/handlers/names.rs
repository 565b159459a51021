use std::collections::{BTreeMap, BTreeSet};

use millrace_engine::{Request, Space};
use millrace_protocol::{Admin, KvEntry, KvTable, KvValue, ResponseCode, TopicNames};
use millrace_types::is_system_topic;

use crate::dispatch::Exchange;
use crate::handlers::registry::ORDERS;
use crate::shell::Serves;
use crate::waiting::Awaited;

/// Requests of tools to a name server; others are not for it.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &Admin<'_>) {
    match request {
        Admin::PutKv(entry) => put(exchange, entry, Some(&entry.value)),
        Admin::DeleteKv(entry) => put(exchange, entry, None),
        Admin::GetKv(entry) => get(exchange, entry),
        Admin::ListKv(entry) => list(exchange, entry),
        Admin::TopicNames => {
            let names = topics(exchange, None);
            exchange.answer(&TopicNames { broker: None, names });
        }
        Admin::ClusterTopics(request) => {
            let names = topics(exchange, Some(&request.cluster));
            exchange.answer(&TopicNames { broker: None, names });
        }
        Admin::ReservedNames => reserved(exchange),
        other => {
            let remark = format!("{other:?} is not for a name server");
            exchange.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark);
        }
    }
}

/// The topics that clients may see, of all brokers or of those of one cluster.
fn topics(exchange: &Exchange<'_, '_>, cluster: Option<&str>) -> Vec<String> {
    let (names, routes) = (&exchange.shell.names, &exchange.shell.routes);
    let mut found: BTreeSet<String> = routes.topics(cluster).map(ToString::to_string).collect();
    // The table has only those of this process's topics that somebody has asked for.
    if names.serves == Serves::Messages && cluster.is_none_or(|wanted| *wanted == *names.cluster) {
        let own = exchange.step.engine.topics().filter(|topic| !is_system_topic(&topic.name));
        found.extend(own.map(|topic| topic.name.to_string()));
    }
    found.into_iter().collect()
}

/// Code 304: the names that topics must not have, and a broker that knows more of them.
fn reserved(exchange: &mut Exchange<'_, '_>) {
    let all = exchange.shell.routes.clusters();
    let clusters = all.clusters.keys();
    let brokers = all.brokers.iter().map(|broker| &broker.broker_name);
    let names = clusters.chain(brokers).map(ToString::to_string).collect();
    let broker = all.brokers.iter().find_map(|broker| broker.addresses.get(&0).cloned());
    exchange.answer(&TopicNames { broker, names });
}

/// Stands between a namespace and a key; no header has it in either.
const SEPARATOR: char = '\u{1}';

/// What a key of a namespace is called among the settings.
pub(super) fn setting_name(namespace: &str, key: &str) -> String {
    format!("{namespace}{SEPARATOR}{key}")
}

fn name(entry: &KvEntry<'_>) -> String {
    setting_name(&entry.namespace, &entry.key)
}

fn put(exchange: &mut Exchange<'_, '_>, entry: &KvEntry<'_>, value: Option<&str>) {
    if entry.key.is_empty() {
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, "namespace or key is null");
    }
    let key = name(entry);
    let put = Request::PutSetting { space: Space::NameServer, key: &key, value };
    exchange.later(Awaited::Done, None, put);
    let engine = &mut exchange.step.engine;
    // What was refused orders nothing.
    let is_kept = value.is_some() && engine.setting(Space::NameServer, &key) == value;
    if is_kept && entry.namespace == ORDERS {
        engine.note_order(exchange.step.now, std::iter::once(&*entry.key));
    }
}

fn get(exchange: &mut Exchange<'_, '_>, entry: &KvEntry<'_>) {
    let value = exchange.step.engine.setting(Space::NameServer, &name(entry)).map(str::to_owned);
    match value {
        Some(value) => exchange.answer(&KvValue { value: value.into() }),
        None => {
            let KvEntry { namespace, key, .. } = entry;
            let remark = format!("No config item, Namespace: {namespace} Key: {key}");
            exchange.refuse(ResponseCode::QUERY_NOT_FOUND, remark);
        }
    }
}

/// All keys of a namespace.
pub(super) fn settings_of(
    exchange: &Exchange<'_, '_>,
    namespace: &str,
) -> BTreeMap<String, String> {
    let prefix = setting_name(namespace, "");
    let all = exchange.step.engine.settings(Space::NameServer);
    let found = all.filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn list(exchange: &mut Exchange<'_, '_>, entry: &KvEntry<'_>) {
    let table = settings_of(exchange, &entry.namespace);
    if table.is_empty() {
        let remark = format!("No config item, Namespace: {}", entry.namespace);
        return exchange.refuse(ResponseCode::QUERY_NOT_FOUND, remark);
    }
    exchange.answer(&KvTable(table));
}
