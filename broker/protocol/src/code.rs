use std::fmt;

macro_rules! codes {
    ($type:ident { $($name:ident = $code:literal, $doc:literal;)* }) => {
        impl $type {
            $(#[doc = $doc] pub const $name: Self = Self($code);)*

            /// RocketMQ's name of the code, or ours from 9001 up; `None` if we have none.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// Every code that has a name, in ascending order.
            pub const ALL: &[Self] = &[$(Self($code),)*];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{} {name}", self.0),
                    None => write!(f, "{}", self.0),
                }
            }
        }
    };
}

/// What a request asks for. Names and numbers are those of `RequestCode.java`, Apache RocketMQ 5.4,
/// and of 4.9 where 5 has none; those from 9001 up are ours, far from any range Apache uses, and fit the 16 bits that a
/// binary header has for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestCode(pub i32);

codes!(RequestCode {
    SEND_MESSAGE = 10, "One message, with the long field names.";
    PULL_MESSAGE = 11, "Messages of one queue.";
    QUERY_MESSAGE = 12, "Messages by key.";
    QUERY_BROKER_OFFSET = 13, "How far the broker's log is.";
    QUERY_CONSUMER_OFFSET = 14, "A group's committed offset.";
    UPDATE_CONSUMER_OFFSET = 15, "Commits a group's offset; usually oneway.";
    UPDATE_AND_CREATE_TOPIC = 17, "Creates or overwrites a topic.";
    UPDATE_AND_CREATE_TOPIC_LIST = 18, "The same for several.";
    GET_ALL_TOPIC_CONFIG = 21, "Every topic's configuration.";
    GET_TOPIC_CONFIG_LIST = 22, "Several topics' configuration.";
    GET_TOPIC_NAME_LIST = 23, "Names of topics.";
    UPDATE_BROKER_CONFIG = 25, "Changes broker settings.";
    GET_BROKER_CONFIG = 26, "The broker's settings.";
    TRIGGER_DELETE_FILES = 27, "Applies retention now, of old.";
    GET_BROKER_RUNTIME_INFO = 28, "The broker's figures.";
    SEARCH_OFFSET_BY_TIMESTAMP = 29, "The first offset stored at or after a time.";
    GET_MAX_OFFSET = 30, "The end of a queue.";
    GET_MIN_OFFSET = 31, "The start of a queue.";
    GET_EARLIEST_MSG_STORETIME = 32, "When a queue's oldest message was stored.";
    VIEW_MESSAGE_BY_ID = 33, "One message by physical offset.";
    HEART_BEAT = 34, "What a client's producers and consumers are.";
    UNREGISTER_CLIENT = 35, "A client leaves a group.";
    CONSUMER_SEND_MSG_BACK = 36, "A message whose consumption failed.";
    END_TRANSACTION = 37, "Commits or rolls back a half message; oneway.";
    GET_CONSUMER_LIST_BY_GROUP = 38, "The client ids of a group.";
    CHECK_TRANSACTION_STATE = 39, "Broker to client: what became of a half message?";
    NOTIFY_CONSUMER_IDS_CHANGED = 40, "Broker to client: the group has changed.";
    LOCK_BATCH_MQ = 41, "Locks queues for ordered consumption.";
    UNLOCK_BATCH_MQ = 42, "Gives the locks back.";
    GET_ALL_CONSUMER_OFFSET = 43, "Every group's offsets.";
    GET_ALL_DELAY_OFFSET = 45, "The offsets of the delay levels.";
    CHECK_CLIENT_CONFIG = 46, "Whether a subscription's expression is usable.";
    GET_CLIENT_CONFIG = 47, "Defined, but Apache has no handler.";
    UPDATE_AND_CREATE_ACL_CONFIG = 50, "Creates or overwrites an account, 4.x.";
    DELETE_ACL_CONFIG = 51, "Removes an account, 4.x.";
    GET_BROKER_CLUSTER_ACL_INFO = 52, "Which version of the accounts is in force, 4.x.";
    UPDATE_GLOBAL_WHITE_ADDRS_CONFIG = 53, "Addresses that need no account, 4.x.";
    GET_BROKER_CLUSTER_ACL_CONFIG = 54, "All accounts, 4.x.";
    GET_TIMER_CHECK_POINT = 60, "How far the timers have got.";
    GET_TIMER_METRICS = 61, "How many timers wait in which topics.";
    PUT_KV_CONFIG = 100, "Stores a name server key.";
    GET_KV_CONFIG = 101, "Reads a name server key.";
    DELETE_KV_CONFIG = 102, "Removes a name server key.";
    REGISTER_BROKER = 103, "A broker announces its topics to a name server.";
    UNREGISTER_BROKER = 104, "A broker leaves a name server.";
    GET_ROUTEINFO_BY_TOPIC = 105, "Which brokers serve a topic.";
    GET_BROKER_CLUSTER_INFO = 106, "All brokers and clusters.";
    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP = 200, "Creates or overwrites a group.";
    GET_ALL_SUBSCRIPTIONGROUP_CONFIG = 201, "Every group's configuration.";
    GET_TOPIC_STATS_INFO = 202, "Offsets of every queue of a topic.";
    GET_CONSUMER_CONNECTION_LIST = 203, "The members of a consumer group.";
    GET_PRODUCER_CONNECTION_LIST = 204, "The members of a producer group.";
    WIPE_WRITE_PERM_OF_BROKER = 205, "Takes a broker's write permission in the routes.";
    GET_ALL_TOPIC_LIST_FROM_NAMESERVER = 206, "Every topic a name server knows.";
    DELETE_SUBSCRIPTIONGROUP = 207, "Removes a group.";
    GET_CONSUME_STATS = 208, "How far a group is behind.";
    SUSPEND_CONSUMER = 209, "Stops a group.";
    RESUME_CONSUMER = 210, "Lets a group go on.";
    RESET_CONSUMER_OFFSET_IN_CONSUMER = 211, "Moves a group at its clients.";
    RESET_CONSUMER_OFFSET_IN_BROKER = 212, "Moves a group at the broker.";
    ADJUST_CONSUMER_THREAD_POOL = 213, "Sets a consumer's threads.";
    WHO_CONSUME_THE_MESSAGE = 214, "Who has consumed a message.";
    DELETE_TOPIC_IN_BROKER = 215, "Removes a topic from a broker.";
    DELETE_TOPIC_IN_NAMESRV = 216, "Removes a topic from a name server.";
    REGISTER_TOPIC_IN_NAMESRV = 217, "Adds queue data of one topic.";
    GET_KVLIST_BY_NAMESPACE = 219, "All name server keys of a namespace.";
    RESET_CONSUMER_CLIENT_OFFSET = 220, "Broker to client: start from these offsets.";
    GET_CONSUMER_STATUS_FROM_CLIENT = 221, "Broker to client: how far are you?";
    INVOKE_BROKER_TO_RESET_OFFSET = 222, "Resets a group's offsets.";
    INVOKE_BROKER_TO_GET_CONSUMER_STATUS = 223, "How far every member is.";
    GET_TOPICS_BY_CLUSTER = 224, "Topics with a queue in a cluster.";
    UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST = 225, "Creates or overwrites several groups.";
    QUERY_TOPIC_CONSUME_BY_WHO = 300, "The groups of a topic.";
    REGISTER_FILTER_SERVER = 301, "A filter server is there.";
    REGISTER_MESSAGE_FILTER_CLASS = 302, "Gives a filter server its code.";
    QUERY_CONSUME_TIME_SPAN = 303, "The times that a group's offsets span.";
    GET_SYSTEM_TOPIC_LIST_FROM_NS = 304, "System topics a name server knows.";
    GET_SYSTEM_TOPIC_LIST_FROM_BROKER = 305, "System topics of a broker.";
    CLEAN_EXPIRED_CONSUMEQUEUE = 306, "Removes index files that are no longer needed.";
    GET_CONSUMER_RUNNING_INFO = 307, "A consumer's inner state.";
    QUERY_CORRECTION_OFFSET = 308, "The smallest offset over several groups.";
    CONSUME_MESSAGE_DIRECTLY = 309, "Has one consumer consume one message.";
    SEND_MESSAGE_V2 = 310, "One message, with one-letter field names.";
    GET_UNIT_TOPIC_LIST = 311, "Topics with the unit flag.";
    GET_HAS_UNIT_SUB_TOPIC_LIST = 312, "Topics with unit subscribers.";
    GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST = 313, "Topics with unit subscribers only.";
    CLONE_GROUP_OFFSET = 314, "Copies a group's offsets.";
    VIEW_BROKER_STATS_DATA = 315, "One statistic of the broker.";
    CLEAN_UNUSED_TOPIC = 316, "Removes topics without messages.";
    GET_BROKER_CONSUME_STATS = 317, "How far every group is behind.";
    UPDATE_NAMESRV_CONFIG = 318, "Changes name server settings.";
    GET_NAMESRV_CONFIG = 319, "The name server's settings.";
    SEND_BATCH_MESSAGE = 320, "Several messages to one queue.";
    QUERY_CONSUME_QUEUE = 321, "Entries of a ConsumeQueue.";
    QUERY_DATA_VERSION = 322, "Whether a broker must register anew.";
    RESUME_CHECK_HALF_MESSAGE = 323, "Checks a given-up half message again.";
    SEND_REPLY_MESSAGE = 324, "The reply to a request message.";
    SEND_REPLY_MESSAGE_V2 = 325, "The same, with one-letter field names.";
    PUSH_REPLY_MESSAGE_TO_CLIENT = 326, "Broker to client: the reply you wait for.";
    ADD_WRITE_PERM_OF_BROKER = 327, "Gives the write permission back.";
    GET_ALL_PRODUCER_INFO = 328, "Every producer that is connected.";
    DELETE_EXPIRED_COMMITLOG = 329, "Applies retention now.";
    QUERY_TOPICS_BY_CONSUMER = 343, "Topics in which a group has offsets.";
    QUERY_SUBSCRIPTION_BY_CONSUMER = 345, "A group's subscription of a topic.";
    GET_TOPIC_CONFIG = 351, "One topic's configuration.";
    GET_SUBSCRIPTIONGROUP_CONFIG = 352, "One group's configuration.";
    UPDATE_AND_GET_GROUP_FORBIDDEN = 353, "Forbids a group to read a topic.";
    CHECK_ROCKSDB_CQ_WRITE_PROGRESS = 354, "Compares indexes in files with those in RocksDB.";
    EXPORT_ROCKSDB_CONFIG_TO_JSON = 355, "Writes what RocksDB has of the configuration to files.";
    LITE_PULL_MESSAGE = 361, "A pull of `DefaultLitePullConsumer`, 5.x.";
    RECALL_MESSAGE = 370, "Takes a timed message back.";
    QUERY_ASSIGNMENT = 400, "Has the broker assign queues to a consumer.";
    SET_MESSAGE_REQUEST_MODE = 401, "Switches a group to POP.";
    GET_ALL_MESSAGE_REQUEST_MODE = 402, "Which groups use POP.";
    UPDATE_AND_CREATE_STATIC_TOPIC = 513, "Creates a topic with logical queues.";
    GET_BROKER_MEMBER_GROUP = 901, "All addresses of one broker name.";
    ADD_BROKER = 902, "To a broker container: starts a broker.";
    REMOVE_BROKER = 903, "To a broker container: stops a broker.";
    BROKER_HEARTBEAT = 904, "A broker is still there.";
    NOTIFY_MIN_BROKER_ID_CHANGE = 905, "Name server to broker: who acts as master.";
    EXCHANGE_BROKER_HA_INFO = 906, "Between master and replica.";
    GET_BROKER_HA_STATUS = 907, "How far replicas are.";
    RESET_MASTER_FLUSH_OFFSET = 908, "Replica to master.";
    CONTROLLER_ALTER_SYNC_STATE_SET = 1001, "Replicas that are in step.";
    CONTROLLER_ELECT_MASTER = 1002, "Elects a master.";
    CONTROLLER_REGISTER_BROKER = 1003, "A broker is there.";
    CONTROLLER_GET_REPLICA_INFO = 1004, "The replicas of a broker.";
    CONTROLLER_GET_METADATA_INFO = 1005, "The state of the controllers.";
    CONTROLLER_GET_SYNC_STATE_DATA = 1006, "Which replicas are in step.";
    GET_BROKER_EPOCH_CACHE = 1007, "The epochs of a broker's log.";
    NOTIFY_BROKER_ROLE_CHANGED = 1008, "Controller to broker: who is master.";
    UPDATE_CONTROLLER_CONFIG = 1009, "Changes settings of a controller.";
    GET_CONTROLLER_CONFIG = 1010, "The settings of a controller.";
    CLEAN_BROKER_DATA = 1011, "Forgets a broker.";
    CONTROLLER_GET_NEXT_BROKER_ID = 1012, "The next free number of a broker.";
    CONTROLLER_APPLY_BROKER_ID = 1013, "A broker takes a number.";
    UPDATE_COLD_DATA_FLOW_CTR_CONFIG = 2001, "Limits a group's reading of cold data.";
    REMOVE_COLD_DATA_FLOW_CTR_CONFIG = 2002, "Lifts that limit.";
    GET_COLD_DATA_FLOW_CTR_INFO = 2003, "Which groups read cold data.";
    SET_COMMITLOG_READ_MODE = 2004, "Tells the system how files are read.";
    AUTH_CREATE_USER = 3001, "Creates a user.";
    AUTH_UPDATE_USER = 3002, "Changes a user.";
    AUTH_DELETE_USER = 3003, "Removes a user.";
    AUTH_GET_USER = 3004, "One user.";
    AUTH_LIST_USER = 3005, "All users.";
    AUTH_CREATE_ACL = 3006, "Creates rules.";
    AUTH_UPDATE_ACL = 3007, "Changes rules.";
    AUTH_DELETE_ACL = 3008, "Removes rules.";
    AUTH_GET_ACL = 3009, "One subject's rules.";
    AUTH_LIST_ACL = 3010, "All rules.";
    SWITCH_TIMER_ENGINE = 5001, "Moves timers to RocksDB or back, 5.4.";
    MR_HELLO = 9001, "Ours: who are you? Apache RocketMQ answers 3.";
    MR_TOPIC = 9002, "Ours: creates a topic unless it exists, answers its queue count.";
    MR_APPEND_GROUP = 9003, "Ours: messages of any topics and queues, appended as one, fenced.";
    MR_PULL = 9004, "Ours: records as they are stored.";
    MR_ATTACH_FILTER = 9005, "Ours: attaches a filter in WebAssembly to a group or a topic.";
    MR_DETACH_FILTER = 9006, "Ours: takes such a filter away.";
    MR_LIST_FILTERS = 9007, "Ours: which filters there are, and what they have done.";
    POP_MESSAGE = 200050, "Messages with a time-limited claim.";
    ACK_MESSAGE = 200051, "Settles a claim.";
    PEEK_MESSAGE = 200052, "Messages without a claim.";
    CHANGE_MESSAGE_INVISIBLETIME = 200053, "Prolongs a claim.";
    NOTIFICATION = 200054, "Waits for a message without taking it.";
    POLLING_INFO = 200055, "How many POP requests wait.";
    POP_ROLLBACK = 200056, "Leaves the new store of POP, 5.x.";
    BATCH_ACK_MESSAGE = 200151, "Settles several claims.";
});

/// How a request went. Names and numbers are those of `ResponseCode.java`, Apache RocketMQ 5.3;
/// those from 9001 up are ours, and are given only to
/// requests that are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResponseCode(pub i32);

codes!(ResponseCode {
    SUCCESS = 0, "Done.";
    SYSTEM_ERROR = 1, "Any internal failure. A producer tries another broker.";
    SYSTEM_BUSY = 2, "Too much to do. A 5.x producer tries another broker, a 4.9 one fails.";
    REQUEST_CODE_NOT_SUPPORTED = 3, "Nobody handles this request.";
    FLUSH_DISK_TIMEOUT = 10, "Stored, but not known to be on disk in time.";
    SLAVE_NOT_AVAILABLE = 11, "Stored, but there is no replica to confirm it.";
    FLUSH_SLAVE_TIMEOUT = 12, "Stored, but not confirmed by a replica in time.";
    MESSAGE_ILLEGAL = 13, "Sizes or format. A producer fails at once.";
    SERVICE_NOT_AVAILABLE = 14, "The store accepts nothing. A producer tries another broker.";
    NO_PERMISSION = 16, "Not allowed, or the feature is off.";
    TOPIC_NOT_EXIST = 17, "No such topic, or no route to it.";
    PULL_NOT_FOUND = 19, "Nothing there yet; pull again.";
    PULL_RETRY_IMMEDIATELY = 20, "Everything was filtered out; pull on from the next offset.";
    PULL_OFFSET_MOVED = 21, "The offset is outside the queue; start at the one given.";
    QUERY_NOT_FOUND = 22, "No such offset, message or key.";
    SUBSCRIPTION_PARSE_FAILED = 23, "The expression is malformed.";
    SUBSCRIPTION_NOT_EXIST = 24, "No heartbeat has named this subscription yet.";
    SUBSCRIPTION_NOT_LATEST = 25, "The last heartbeat's subscription is older.";
    SUBSCRIPTION_GROUP_NOT_EXIST = 26, "No such group.";
    FILTER_DATA_NOT_EXIST = 27, "No SQL expression is registered.";
    FILTER_DATA_NOT_LATEST = 28, "The registered SQL expression is older.";
    INVALID_PARAMETER = 29, "A bad argument. Clients fail at once.";
    CONSUMER_NOT_ONLINE = 206, "The group has no member.";
    CONSUME_MSG_TIMEOUT = 207, "The client asked did not answer.";
    NO_MESSAGE = 208, "The offset lies outside the queue.";
    POLLING_FULL = 209, "Too many POP requests wait.";
    POLLING_TIMEOUT = 210, "The POP wait ended without a message.";
    ILLEGAL_OPERATION = 604, "Too late, or a bad handle.";
    GO_AWAY = 1500, "The server shuts down; connect again elsewhere.";
    MR_FENCED = 9001, "Ours: the append named an epoch that is no longer the current one.";
    MR_DISK_FULL = 9002, "Ours: nothing can be stored for now; reading works.";
    MR_POISONED = 9003, "Ours: the broker stopped writing, as it no longer knows what is on disk.";
    MR_UNREADABLE = 9004, "Ours: stored bytes that the request needs are damaged.";
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_listed_once_and_in_order() {
        assert!(RequestCode::ALL.is_sorted_by(|a, b| a < b));
        assert!(ResponseCode::ALL.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn our_own_codes_fit_a_binary_header() {
        for code in RequestCode::ALL.iter().filter(|code| (9000..10_000).contains(&code.0)) {
            assert!(i16::try_from(code.0).is_ok(), "{code}");
        }
    }

    #[test]
    fn a_code_shows_its_name() {
        assert_eq!(RequestCode::SEND_MESSAGE_V2.to_string(), "310 SEND_MESSAGE_V2");
        assert_eq!(ResponseCode(-5).to_string(), "-5");
    }
}
