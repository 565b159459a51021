//! The `broker.conf` of RocketMQ tutorials: Java properties, of which we take what we can keep.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use millrace_server::{DelayLevelsError, ServerConfig};
use millrace_store::FlushMode;

use crate::exit::{Exit, Failure};

/// Keys that mean something here.
const KNOWN: [&str; 12] = [
    "autoCreateTopicEnable",
    "brokerClusterName",
    "brokerId",
    "brokerIP1",
    "brokerName",
    "brokerRole",
    "enablePropertyFilter",
    "flushDiskType",
    "listenPort",
    "messageDelayLevel",
    "namesrvAddr",
    "storePathRootDir",
];
/// Keys of tutorials that we read and do not obey; the broker works without them.
const WITHOUT_EFFECT: [&str; 7] = [
    "defaultTopicQueueNums",
    "deleteWhen",
    "diskMaxUsedSpaceRatio",
    "fileReservedTime",
    "mapedFileSizeCommitLog",
    "maxMessageSize",
    "storePathCommitLog",
];

/// Sets what a file says; gives back what a person should know about the rest of it.
pub(crate) fn apply(text: &str, config: &mut ServerConfig) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    let mut listen_ip = None;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let at = n + 1;
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return Err(wrong(at, format!("`{line}` is not key=value")));
        };
        let (key, value) = (key.trim(), value.trim());
        match key {
            "brokerClusterName" => config.cluster_name = value.to_owned(),
            "brokerName" => config.broker_name = value.to_owned(),
            "storePathRootDir" => config.dir = PathBuf::from(value),
            "brokerIP1" => listen_ip = Some(parsed::<IpAddr>(at, key, value)?),
            "listenPort" => config.broker_listen.set_port(parsed(at, key, value)?),
            "autoCreateTopicEnable" => config.auto_create_topics = parsed(at, key, value)?,
            "messageDelayLevel" => {
                let levels = value.parse();
                let wrong_level = |error: DelayLevelsError| wrong(at, format!("`{key}`: {error}"));
                config.delay_levels = levels.map_err(wrong_level)?;
            }
            "enablePropertyFilter" if value == "true" => {}
            "brokerId" if value == "0" => {}
            "brokerRole" if value == "ASYNC_MASTER" => {}
            "flushDiskType" if value == "SYNC_FLUSH" => config.flush = FlushMode::Sync,
            "flushDiskType" if value == "ASYNC_FLUSH" => {}
            "namesrvAddr" => check_name_servers(at, value, config.namesrv_listen)?,
            "brokerId" | "brokerRole" => {
                return Err(wrong(
                    at,
                    format!("`{key}={value}` needs replication, which there is none of"),
                ));
            }
            "enablePropertyFilter" | "flushDiskType" => {
                return Err(wrong(at, format!("`{key}` cannot be `{value}`")));
            }
            key if WITHOUT_EFFECT.contains(&key) => {
                warnings.push(format!("line {at}: `{key}` has no effect"));
            }
            key => warnings.push(unknown(at, key)),
        }
    }
    if let Some(ip) = listen_ip {
        config.broker_listen.set_ip(ip);
    }
    Ok(warnings)
}

/// A broker serves routes itself and registers nowhere else, so another address would leave its
/// clients without a route.
fn check_name_servers(at: usize, value: &str, own: Option<SocketAddr>) -> Result<(), Failure> {
    let Some(own) = own else {
        return Ok(());
    };
    for address in value.split(';').map(str::trim).filter(|address| !address.is_empty()) {
        let local = address.replace("localhost", "127.0.0.1");
        if local.parse() != Ok(own) {
            let message = format!(
                "namesrvAddr names {address}, and this broker registers with its own name server \
                 at {own} only"
            );
            let hint = "let clients use that one, or choose where it listens: --namesrv-listen";
            return Err(wrong(at, message).hint(hint));
        }
    }
    Ok(())
}

fn parsed<T: std::str::FromStr>(at: usize, key: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| wrong(at, format!("`{key}` cannot be `{value}`")))
}

fn wrong(at: usize, message: String) -> Failure {
    Failure::new(Exit::Input, "broker-conf", format!("line {at} of the broker's file: {message}"))
}

fn unknown(at: usize, key: &str) -> String {
    let all = KNOWN.iter().chain(&WITHOUT_EFFECT);
    let nearest = all.map(|known| (distance(key, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= 3 => {
            format!("line {at}: `{key}` is unknown and has no effect; did you mean `{known}`?")
        }
        _ => format!("line {at}: `{key}` is unknown and has no effect"),
    }
}

/// How many letters have to be added, dropped or changed, whatever their case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tutorials_file_is_understood() {
        let text = "brokerClusterName = DefaultCluster\nbrokerName=broker-a\nbrokerId=0\n\
                    # kept for\ndeleteWhen=04\nfileReservedTime=48\nbrokerRole=ASYNC_MASTER\n\
                    flushDiskType=SYNC_FLUSH\nnamesrvAddr=localhost:9876\nlistenPort=10921\n\
                    brokerIP1=127.0.0.2\nautoCreateTopicEnabel=false\n";
        let mut config = ServerConfig::new("d");
        let warnings = apply(text, &mut config).unwrap();
        assert_eq!(config.broker_name, "broker-a");
        assert_eq!(config.flush, FlushMode::Sync);
        assert_eq!(config.broker_listen, "127.0.0.2:10921".parse().unwrap());
        assert!(config.auto_create_topics);
        assert_eq!(
            warnings,
            [
                "line 5: `deleteWhen` has no effect",
                "line 6: `fileReservedTime` has no effect",
                "line 12: `autoCreateTopicEnabel` is unknown and has no effect; did you mean \
                 `autoCreateTopicEnable`?",
            ]
        );
    }

    #[test]
    fn what_would_promise_too_much_is_refused() {
        for text in [
            "brokerRole=SYNC_MASTER",
            "brokerRole=SLAVE",
            "brokerId=1",
            "namesrvAddr=10.0.0.1:9876;10.0.0.2:9876",
            "flushDiskType=SOON",
            "listenPort=seven",
            "no pair",
        ] {
            assert!(apply(text, &mut ServerConfig::new("d")).is_err(), "{text}");
        }
    }
}
