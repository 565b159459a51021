//! The `broker.conf` of RocketMQ tutorials: Java properties, of which we take what we can keep.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace_server::{DelayLevelsError, MESSAGE_BYTES_MAX, QUEUES_MAX, ServerConfig};
use millrace_store::FlushMode;

use crate::exit::{Exit, Failure, codes};
use crate::figures;
use crate::properties::{self, Property};

/// Keys that mean something here.
const KNOWN: [&str; 26] = [
    "autoCreateTopicEnable",
    "brokerClusterName",
    "brokerIP1",
    "brokerName",
    "cleanFileForciblyEnable",
    "defaultTopicQueueNums",
    "deleteWhen",
    "diskMaxUsedSpaceRatio",
    "diskSpaceCleanForciblyRatio",
    "diskSpaceWarningLevelRatio",
    "enablePropertyFilter",
    "fileReservedTime",
    "flushDiskType",
    "flushIntervalCommitLog",
    "listenPort",
    "mappedFileSizeCommitLog",
    "maxMessageSize",
    "messageDelayLevel",
    "namesrvAddr",
    "rejectTransactionMessage",
    "storePathRootDir",
    "timerMaxDelaySec",
    "transactionCheckInterval",
    "transactionCheckMax",
    "transactionTimeOut",
    "waitTimeMillsInSendQueue",
];
/// Keys of tutorials and of RocketMQ's own manual that we read and do not obey; the broker works
/// without them.
const WITHOUT_EFFECT: [&str; 86] = [
    "abortFile",
    "accessMessageInMemoryMaxRatio",
    "autoCreateSubscriptionGroup",
    "brokerElectionPriority",
    "brokerFastFailureEnable",
    "brokerHeartbeatInterval",
    "brokerIP2",
    "brokerNotActiveTimeoutMillis",
    "brokerTopicEnable",
    "checkCRCOnRecover",
    "checkTransactionMessageEnable",
    "clusterTopicEnable",
    "configBlackList",
    "consumerFallbehindThreshold",
    "defaultMessageRequestMode",
    "destroyMapedFileIntervalForcibly",
    "disableConsumeIfConsumerReadSlowly",
    "enableCalcFilterBitMap",
    "enableConsumeQueueExt",
    "enableMixedMessageType",
    "enablePopBufferMerge",
    "enableRetryTopicV2",
    "enableSingleTopicRegister",
    "enableSplitRegistration",
    "filterServerNums",
    "filterSupportRetry",
    "flushCommitLogLeastPages",
    "flushCommitLogThoroughInterval",
    "flushCommitLogTimed",
    "flushConsumeQueueLeastPages",
    "flushConsumeQueueThoroughInterval",
    "flushConsumerOffsetInterval",
    "flushIntervalConsumeQueue",
    "haHousekeepingInterval",
    "haListenPort",
    "haMaxGapNotInSync",
    "haSendHeartbeatInterval",
    "haTransferBatchSize",
    "longPollingEnable",
    "mapedFileSizeCommitLog",
    "mapedFileSizeConsumeQueue",
    "mappedFileSizeConsumeQueue",
    "maxTransferBytesOnMessageInDisk",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInDisk",
    "maxTransferCountOnMessageInMemory",
    "messageIndexEnable",
    "messageIndexSafe",
    "metricsExporterType",
    "metricsPromExporterHost",
    "metricsPromExporterPort",
    "msgTraceTopicName",
    "notifyConsumerIdsChangedEnable",
    "osPageCacheBusyTimeOutMills",
    "popConsumerKVServiceEnable",
    "pullMessageThreadPoolNums",
    "pullThreadPoolQueueCapacity",
    "recallMessageEnable",
    "redeleteHangedFileInterval",
    "registerBrokerTimeoutMills",
    "registerNameServerPeriod",
    "reviveQueueNum",
    "sendMessageThreadPoolNums",
    "sendThreadPoolQueueCapacity",
    "serverChannelMaxIdleTimeSeconds",
    "serverSelectorThreads",
    "serverWorkerThreads",
    "shortPollingTimeMills",
    "slaveTimeout",
    "storeCheckpoint",
    "storePathCommitLog",
    "storePathConsumeQueue",
    "storePathIndex",
    "syncFlushTimeout",
    "timerPrecisionMs",
    "timerWheelEnable",
    "tlsTestModeEnable",
    "traceOn",
    "traceTopicEnable",
    "transferMsgByHeap",
    "transientStorePoolEnable",
    "transientStorePoolSize",
    "useReentrantLockWhenPutMessage",
    "useServerSideResetOffset",
    "waitTimeMillsInPullQueue",
    "warmMapedFileEnable",
];
/// What to do instead of setting one of these.
const INSTEAD: [(&str, &str); 9] = [
    ("mapedFileSizeCommitLog", "`mappedFileSizeCommitLog` is obeyed"),
    ("metricsExporterType", METRICS),
    ("metricsPromExporterHost", METRICS),
    ("metricsPromExporterPort", METRICS),
    ("mapedFileSizeConsumeQueue", CONSUME_QUEUES),
    ("mappedFileSizeConsumeQueue", CONSUME_QUEUES),
    ("storePathCommitLog", ROOT),
    ("storePathConsumeQueue", ROOT),
    ("storePathIndex", ROOT),
];
const METRICS: &str = "the flag --metrics-listen says where Prometheus finds figures";
const CONSUME_QUEUES: &str = "ConsumeQueues have files of a size of their own";
const ROOT: &str = "everything is kept below `storePathRootDir`";
/// Keys that promise something to an operator, and what it takes to keep it. They may be set to
/// the value that promises nothing.
const PROMISES: [(&str, &str, &str); 21] = [
    ("aclEnable", "false", ACCESS),
    ("allAckInSyncStateSet", "false", REPLICATION),
    ("authenticationEnabled", "false", ACCESS),
    ("authorizationEnabled", "false", ACCESS),
    ("brokerId", "0", REPLICATION),
    ("brokerPermission", "6", "a permission of the whole broker"),
    ("brokerRole", "ASYNC_MASTER", REPLICATION),
    ("enableAutoInSyncReplicas", "false", REPLICATION),
    ("enableControllerMode", "false", REPLICATION),
    ("enableDLegerCommitLog", "false", REPLICATION),
    ("enableLmq", "false", LIGHT),
    ("enableMultiDispatch", "false", LIGHT),
    ("enableRemoteEscape", "false", REPLICATION),
    ("enableSlaveActingMaster", "false", REPLICATION),
    ("fetchNamesrvAddrByAddressServer", "false", "a list of name servers over HTTP"),
    ("haMasterAddress", "", REPLICATION),
    ("inSyncReplicas", "1", REPLICATION),
    ("minInSyncReplicas", "1", REPLICATION),
    ("slaveReadEnable", "false", REPLICATION),
    ("storeType", "default", "a store of another kind"),
    ("totalReplicas", "1", REPLICATION),
];
const ACCESS: &str = "access control";
const REPLICATION: &str = "replication";
const LIGHT: &str = "light queues";
/// The smallest file of the log in which the broker's own records and a usual message have room.
const SEGMENT_BYTES_MIN: u64 = 1 << 20;
/// The largest: RocketMQ's number has 31 bits.
const SEGMENT_BYTES_MAX: u64 = i32::MAX as u64;

/// Sets what a file says; gives back what a person should know about the rest of it.
pub(crate) fn apply(file: &Path, config: &mut ServerConfig) -> Result<Vec<String>, Failure> {
    let bytes = std::fs::read(file).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::new(Exit::Input, codes::FILE, message).caused_by(&error)
    })?;
    set(&bytes, config).map_err(|message| {
        let message = format!("{}: {message}", file.display());
        Failure::new(Exit::Input, codes::BROKER_CONF, message)
    })
}

fn set(bytes: &[u8], config: &mut ServerConfig) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    let mut ip = None;
    // RocketMQ does this unless told otherwise; here somebody has to ask for it.
    let (mut forcibly, mut forcibly_at) = (None, 85);
    let properties = properties::parse(bytes).map_err(|error| error.to_string())?;
    for (n, Property { line, key, value }) in properties.iter().enumerate() {
        let (at, key, value) = (*line, key.as_str(), value.as_str());
        // As in Java, the last one counts.
        if let Some(later) = properties[n + 1..].iter().find(|later| later.key == key) {
            let line = later.line;
            warnings.push(format!("line {at}: `{key}` is set again in line {line}, which counts"));
            continue;
        }
        if value.contains("${") {
            let message = format!("`{key}={value}`: nothing replaces variables here; write it out");
            return Err(wrong(at, message));
        }
        if let Some((_, harmless, needs)) = PROMISES.iter().find(|(known, ..)| *known == key) {
            if !value.eq_ignore_ascii_case(harmless) {
                let message = format!("`{key}={value}` needs {needs}, which there is none of");
                return Err(wrong(at, message));
            }
            continue;
        }
        match key {
            "brokerClusterName" => config.cluster_name = text(at, key, value)?,
            "brokerName" => config.broker_name = text(at, key, value)?,
            "storePathRootDir" if value.starts_with('~') => {
                let message = format!("`{key}={value}`: nothing replaces `~` here; write it out");
                return Err(wrong(at, message));
            }
            "storePathRootDir" => config.dir = PathBuf::from(text(at, key, value)?),
            "brokerIP1" => ip = Some(reachable(at, key, value)?),
            "listenPort" => set_port(config, parsed(at, key, value)?),
            "autoCreateTopicEnable" => config.auto_create_topics = flag(at, key, value)?,
            "defaultTopicQueueNums" => {
                config.template_queues = within(at, key, value, 1, QUEUES_MAX)?;
            }
            "maxMessageSize" => {
                config.message_bytes_max = within(at, key, value, 1, MESSAGE_BYTES_MAX)?;
            }
            "waitTimeMillsInSendQueue" => {
                let ms = within(at, key, value, 1, u64::from(u32::MAX))?;
                config.limits.send_wait_max = Duration::from_millis(ms);
            }
            "messageDelayLevel" => {
                let levels = value.parse();
                let wrong_level = |error: DelayLevelsError| wrong(at, format!("`{key}`: {error}"));
                config.delay_levels = levels.map_err(wrong_level)?;
            }
            "timerMaxDelaySec" => {
                let seconds = parsed::<u32>(at, key, value)?;
                config.timer_max = Duration::from_secs(seconds.into());
            }
            "rejectTransactionMessage" => {
                config.transactions.accepted = !flag(at, key, value)?;
            }
            "transactionTimeOut" => config.transactions.first_check_ms = parsed(at, key, value)?,
            "transactionCheckInterval" => {
                config.transactions.check_every_ms = within(at, key, value, 1, u64::MAX)?;
            }
            "transactionCheckMax" => config.transactions.checks_max = parsed(at, key, value)?,
            "mappedFileSizeCommitLog" => {
                config.segment_bytes =
                    within(at, key, value, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)?;
            }
            "fileReservedTime" => {
                let hours = within(at, key, value, 1, u64::from(u32::MAX))?;
                config.retention.keep_ms = hours * 3_600_000;
            }
            "deleteWhen" => {
                config.retention.hours = hours(value).map_err(|message| wrong(at, message))?;
                warnings.push(format!("line {at}: `{key}` is in hours of UTC"));
            }
            "diskMaxUsedSpaceRatio" => {
                config.retention.any_hour_percent = within(at, key, value, 1, 100)?;
            }
            "diskSpaceWarningLevelRatio" => {
                config.retention.refuse_percent = within(at, key, value, 1, 100)?;
            }
            "cleanFileForciblyEnable" => forcibly = Some(flag(at, key, value)?),
            "diskSpaceCleanForciblyRatio" => forcibly_at = within(at, key, value, 1, 100)?,
            "enablePropertyFilter" => {
                if !flag(at, key, value)? {
                    warnings.push(format!("line {at}: `{key}` is always true"));
                }
            }
            "flushDiskType" if value == "SYNC_FLUSH" => config.flush = FlushMode::Sync,
            "flushDiskType" if value == "ASYNC_FLUSH" => {}
            "flushIntervalCommitLog" => set_interval(config, parsed(at, key, value)?),
            "namesrvAddr" => name_servers(at, value, config, &mut warnings)?,
            "flushDiskType" => {
                return Err(wrong(at, format!("`{key}` cannot be `{value}`")));
            }
            key if WITHOUT_EFFECT.contains(&key) => {
                let instead = INSTEAD.iter().find(|(known, _)| *known == key);
                let instead = instead.map(|(_, instead)| format!("; {instead}"));
                let instead = instead.unwrap_or_default();
                warnings.push(format!("line {at}: `{key}` has no effect{instead}"));
            }
            key => warnings.push(unknown(at, key)),
        }
    }
    if let Some(forcibly) = forcibly {
        config.retention.sacrifice_percent = forcibly.then_some(forcibly_at);
    }
    if let Some(ip) = ip {
        advertise(ip, config);
    }
    let (file, message) = (config.segment_bytes, config.message_bytes_max as u64);
    if file < message {
        warnings.push(format!(
            "messages of up to {} are allowed, and refused where they do not fit into a file of \
             the log, {} (`maxMessageSize`, `mappedFileSizeCommitLog`)",
            figures::bytes(message),
            figures::bytes(file)
        ));
    }
    Ok(warnings)
}

/// Has clients told this address. Whoever gives one that others reach wants to be reached by them,
/// at an address which inside of a container, or behind one that translates addresses, is not of
/// this machine: so the broker listens on all. (RocketMQ does so always.)
fn advertise(ip: IpAddr, config: &mut ServerConfig) {
    config.advertised = Some(ip);
    if let Some(listen) = &mut config.broker_listen {
        listen.set_ip(match ip {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        });
    }
}

/// Reads an address that clients can be told.
fn reachable(at: usize, key: &str, value: &str) -> Result<IpAddr, String> {
    let ip = value.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
    ip.ok_or_else(|| {
        let message = format!(
            "`{key}` cannot be `{value}`: it is the IP address that clients are told to connect to"
        );
        wrong(at, message)
    })
}

/// Reads hours of the day, `04` or `04;16`.
fn hours(text: &str) -> Result<Vec<u8>, String> {
    let hour = |part: &str| part.trim().parse().ok().filter(|hour| *hour < 24);
    let hours = text.split(';').map(hour).collect::<Option<Vec<u8>>>();
    hours.ok_or_else(|| format!("`{text}` are no hours of the day"))
}

fn set_port(config: &mut ServerConfig, port: u16) {
    if let Some(listen) = &mut config.broker_listen {
        listen.set_port(port);
    }
}

fn set_interval(config: &mut ServerConfig, ms: u64) {
    if let FlushMode::Async { interval } = &mut config.flush {
        *interval = Duration::from_millis(ms.max(1));
    }
}

/// Takes the name servers to register with; that of this process needs no registration.
fn name_servers(
    at: usize,
    value: &str,
    config: &mut ServerConfig,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let all = parse_name_servers(value).map_err(|message| wrong(at, message))?;
    config.name_servers = others(&all, config.namesrv_listen);
    if let Some(own) = config.namesrv_listen
        && config.name_servers.len() == all.len()
    {
        warnings.push(format!(
            "line {at}: the name server of this process, {own}, is not among those of \
             namesrvAddr; without it: --role broker"
        ));
    }
    Ok(())
}

/// Reads `host:port[;host:port...]`.
pub(crate) fn parse_name_servers(text: &str) -> Result<Vec<String>, String> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let addresses: Vec<String> = parts.map(str::to_owned).collect();
    for address in &addresses {
        let parts = address.rsplit_once(':');
        if parts.is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(format!("the name server `{address}` is no host:port"));
        }
    }
    match addresses.is_empty() {
        true => Err("no name server is given".to_owned()),
        false => Ok(addresses),
    }
}

/// The name servers that are not the one of this process.
pub(crate) fn others(all: &[String], own: Option<SocketAddr>) -> Vec<String> {
    let is_own = |address: &String| {
        let local = address.replace("localhost", "127.0.0.1");
        own.is_some_and(|own| local.parse() == Ok(own))
    };
    all.iter().filter(|address| !is_own(address)).cloned().collect()
}

fn parsed<T: std::str::FromStr>(at: usize, key: &str, value: &str) -> Result<T, String> {
    value.parse().map_err(|_| wrong(at, format!("`{key}` cannot be `{value}`")))
}

/// Reads a number that has to lie between two others.
fn within<N>(at: usize, key: &str, value: &str, min: N, max: N) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    let number = parsed::<N>(at, key, value)?;
    if number < min || number > max {
        let message = format!("`{key}` cannot be `{value}`: it lies between {min} and {max}");
        return Err(wrong(at, message));
    }
    Ok(number)
}

/// A truth as Java reads it, in any case; anything else, which Java takes for `false`, is none.
fn flag(at: usize, key: &str, value: &str) -> Result<bool, String> {
    parsed(at, key, &value.to_ascii_lowercase())
}

fn text(at: usize, key: &str, value: &str) -> Result<String, String> {
    match value.is_empty() {
        true => Err(wrong(at, format!("`{key}` cannot be empty"))),
        false => Ok(value.to_owned()),
    }
}

fn wrong(at: usize, message: String) -> String {
    format!("line {at}: {message}")
}

fn unknown(at: usize, key: &str) -> String {
    let promises = PROMISES.iter().map(|(key, ..)| key);
    let all = KNOWN.iter().chain(&WITHOUT_EFFECT).chain(promises);
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
                    brokerIP1=127.0.0.2\nautoCreateTopicEnabel=false\n\
                    defaultTopicQueueNums=4\nmaxMessageSize=65536\nwaitTimeMillsInSendQueue=1000\n";
        let mut config = ServerConfig::new("d");
        let warnings = set(text.as_bytes(), &mut config).unwrap();
        assert_eq!(config.broker_name, "broker-a");
        assert_eq!(config.flush, FlushMode::Sync);
        assert_eq!(config.advertised, Some("127.0.0.2".parse().unwrap()));
        assert_eq!(config.broker_listen, Some("127.0.0.2:10921".parse().unwrap()));
        // The name server of this process needs no registration.
        assert_eq!(config.name_servers, [""; 0]);
        assert!(config.auto_create_topics);
        assert_eq!(config.retention.hours, [4]);
        assert_eq!(config.retention.keep_ms, 48 * 3_600_000);
        assert_eq!(config.retention.sacrifice_percent, None);
        assert_eq!((config.template_queues, config.message_bytes_max), (4, 65_536));
        assert_eq!(config.limits.send_wait_max, Duration::from_secs(1));
        assert_eq!(
            warnings,
            [
                "line 5: `deleteWhen` is in hours of UTC",
                "line 12: `autoCreateTopicEnabel` is unknown and has no effect; did you mean \
                 `autoCreateTopicEnable`?",
            ]
        );
    }

    #[test]
    fn the_address_of_a_broker_is_told_and_not_listened_on() {
        for (ip, listen) in [
            ("192.168.56.10", "0.0.0.0:10911"),
            ("2001:db8::7", "[::]:10911"),
            ("127.0.0.2", "127.0.0.2:10911"),
        ] {
            let mut config = ServerConfig::new("d");
            set(format!("brokerIP1={ip}\n").as_bytes(), &mut config).unwrap();
            assert_eq!(config.advertised, Some(ip.parse().unwrap()));
            assert_eq!(config.broker_listen, Some(listen.parse().unwrap()));
        }
        for ip in ["0.0.0.0", "::", "broker", ""] {
            let text = format!("brokerIP1={ip}\n");
            assert!(set(text.as_bytes(), &mut ServerConfig::new("d")).is_err(), "{ip}");
        }
    }

    #[test]
    fn what_would_promise_too_much_is_refused() {
        for text in [
            "brokerRole=SYNC_MASTER",
            "brokerRole=SLAVE",
            "brokerId=1",
            "aclEnable=true",
            "minInSyncReplicas=2",
            "enableDLegerCommitLog=true",
            "namesrvAddr=10.0.0.1",
            "namesrvAddr=;",
            "flushDiskType=SOON",
            "listenPort=seven",
            "defaultTopicQueueNums=0",
            "defaultTopicQueueNums=16385",
            "maxMessageSize=15728641",
            "waitTimeMillsInSendQueue=0",
            "brokerPermission=4",
            "mappedFileSizeCommitLog=1024",
            "mappedFileSizeCommitLog=0",
            "storePathRootDir=",
            "storePathRootDir=${user.home}/store",
            "storePathRootDir=~/store",
            "brokerName=",
            "brokerClusterName",
            "fileReservedTime=0",
            "diskSpaceWarningLevelRatio=200",
            "diskMaxUsedSpaceRatio=0",
            "autoCreateTopicEnable=yes",
        ] {
            let refused = set(text.as_bytes(), &mut ServerConfig::new("d")).expect_err(text);
            assert!(refused.starts_with("line 1: "), "{refused}");
        }
    }

    #[test]
    fn values_are_read_as_java_reads_them() {
        let text = "\u{feff}brokerName: broker\\u002da\nautoCreateTopicEnable = False\n\
                    deleteWhen 04;\\\n  16\naclEnable=FALSE\nfileReservedTime=1\n\
                    fileReservedTime=2\nmapedFileSizeCommitLog=1\nmetricsExporterType=PROM\n\
                    traceOn=true\n";
        let mut config = ServerConfig::new("d");
        let warnings = set(text.as_bytes(), &mut config).unwrap();
        assert_eq!(config.broker_name, "broker-a");
        assert!(!config.auto_create_topics);
        assert_eq!(config.retention.hours, [4, 16]);
        assert_eq!(config.retention.keep_ms, 2 * 3_600_000);
        assert_eq!(
            warnings,
            [
                "line 3: `deleteWhen` is in hours of UTC",
                "line 6: `fileReservedTime` is set again in line 7, which counts",
                "line 8: `mapedFileSizeCommitLog` has no effect; `mappedFileSizeCommitLog` is \
                 obeyed",
                "line 9: `metricsExporterType` has no effect; the flag --metrics-listen says where \
                 Prometheus finds figures",
                "line 10: `traceOn` has no effect",
            ]
        );
    }

    #[test]
    fn files_without_room_for_a_message_are_told() {
        let text = b"maxMessageSize=2097152\nmappedFileSizeCommitLog=1048576\n";
        let warnings = set(text, &mut ServerConfig::new("d")).unwrap();
        let [warning] = &*warnings else { panic!("{warnings:?}") };
        assert!(warning.starts_with("messages of up to 2 MiB are allowed"), "{warning}");
    }

    #[test]
    fn what_promises_nothing_is_taken() {
        let text =
            "brokerPermission=6\naclEnable=false\nbrokerRole = ASYNC_MASTER\ninSyncReplicas=1\n";
        assert_eq!(set(text.as_bytes(), &mut ServerConfig::new("d")).unwrap(), [""; 0]);
    }

    #[test]
    fn other_name_servers_are_registered_with() {
        let text = "namesrvAddr = 10.0.0.1:9876; localhost:9876\n";
        let mut config = ServerConfig::new("d");
        assert_eq!(set(text.as_bytes(), &mut config).unwrap(), [""; 0]);
        assert_eq!(config.name_servers, ["10.0.0.1:9876"]);
        // Alone, a broker registers with whatever is there.
        let mut alone = ServerConfig { namesrv_listen: None, ..ServerConfig::new("d") };
        assert_eq!(set(text.as_bytes(), &mut alone).unwrap(), [""; 0]);
        assert_eq!(alone.name_servers, ["10.0.0.1:9876", "localhost:9876"]);
        let elsewhere = set(b"namesrvAddr=10.0.0.1:9876", &mut config).unwrap();
        assert!(elsewhere[0].ends_with("without it: --role broker"), "{elsewhere:?}");
    }

    #[test]
    fn every_key_is_in_one_list_and_in_order() {
        assert!(KNOWN.is_sorted_by_key(|key| key.to_lowercase()));
        assert!(WITHOUT_EFFECT.is_sorted() && PROMISES.is_sorted());
        assert!(INSTEAD.iter().all(|(key, _)| WITHOUT_EFFECT.contains(key)));
        assert!(!WITHOUT_EFFECT.iter().any(|key| KNOWN.contains(key)));
    }
}
