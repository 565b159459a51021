use std::collections::BTreeMap;

use millrace_engine::{Request, Space};
use millrace_protocol::{Admin, KvEntry, KvTable, KvValue, ResponseCode, TopicNames};
use millrace_types::is_system_topic;

use crate::dispatch::Exchange;
use crate::handlers::topics::TEMPLATE_TOPIC;
use crate::waiting::Awaited;

/// Requests of tools to a name server; others are not for it.
pub(crate) fn answer(exchange: &mut Exchange<'_, '_>, request: &Admin<'_>) {
    match request {
        Admin::PutKv(entry) => put(exchange, entry, Some(&entry.value)),
        Admin::DeleteKv(entry) => put(exchange, entry, None),
        Admin::GetKv(entry) => get(exchange, entry),
        Admin::ListKv(entry) => list(exchange, entry),
        Admin::ClusterTopics(request) if *request.cluster != *exchange.shell.names.cluster => {
            exchange.answer(&TopicNames::default());
        }
        Admin::TopicNames | Admin::ClusterTopics(_) => {
            let names = topics(exchange);
            exchange.answer(&TopicNames { broker: None, names });
        }
        Admin::ReservedNames => {
            let names = &exchange.shell.names;
            let reserved = [&names.cluster, &names.broker].map(|name| name.to_string());
            let answer =
                TopicNames { broker: Some(names.host.to_string()), names: reserved.to_vec() };
            exchange.answer(&answer);
        }
        other => {
            let remark = format!("{other:?} is not for a name server");
            exchange.refuse(ResponseCode::REQUEST_CODE_NOT_SUPPORTED, remark);
        }
    }
}

/// The topics that clients may see.
fn topics(exchange: &Exchange<'_, '_>) -> Vec<String> {
    let known = exchange.step.engine.topics().filter(|topic| !is_system_topic(&topic.name));
    let mut names: Vec<String> = known.map(|topic| topic.name.to_string()).collect();
    if exchange.shell.names.auto_create_topics {
        names.push(TEMPLATE_TOPIC.to_owned());
    }
    names
}

/// Stands between a namespace and a key; no header has it in either.
const SEPARATOR: char = '\u{1}';

fn name(entry: &KvEntry<'_>) -> String {
    format!("{}{SEPARATOR}{}", entry.namespace, entry.key)
}

fn put(exchange: &mut Exchange<'_, '_>, entry: &KvEntry<'_>, value: Option<&str>) {
    if entry.key.is_empty() {
        return exchange.refuse(ResponseCode::SYSTEM_ERROR, "namespace or key is null");
    }
    let key = name(entry);
    let put = Request::PutSetting { space: Space::NameServer, key: &key, value };
    exchange.later(Awaited::Done, None, put);
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

fn list(exchange: &mut Exchange<'_, '_>, entry: &KvEntry<'_>) {
    let prefix = format!("{}{SEPARATOR}", entry.namespace);
    let all = exchange.step.engine.settings(Space::NameServer);
    let found = all.filter_map(|(key, value)| Some((key.strip_prefix(&prefix)?, value)));
    let table: BTreeMap<String, String> =
        found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if table.is_empty() {
        let remark = format!("No config item, Namespace: {}", entry.namespace);
        return exchange.refuse(ResponseCode::QUERY_NOT_FOUND, remark);
    }
    exchange.answer(&KvTable(table));
}
