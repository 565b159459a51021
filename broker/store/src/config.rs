use std::net::SocketAddr;
use std::time::Duration;

/// How a store keeps its files.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Bytes of one CommitLog segment; a record never spans two. Applies to segments made from
    /// now on.
    pub segment_bytes: u64,
    /// What the answer to a producer waits for.
    pub flush: FlushMode,
    /// The address that records carry as the host that stored them.
    pub store_host: SocketAddr,
    /// Bytes of log after which the queue index of that stretch is written out. Bounds both the
    /// memory of the index and the time that a start takes to rebuild it.
    pub index_run_bytes: u64,
    /// Bytes that are not durable yet, above which [`Store::keeps_up`](crate::Store::keeps_up)
    /// says no: the disk does not keep up, and the system's write-back would stop everybody.
    pub unflushed_bytes_max: u64,
    /// Bytes of memory for entries and keys that no index run holds yet, above which it says no as
    /// well. From half of it on a run is written whatever the log has grown by. Writing one sorts a
    /// copy of its keys, so it takes about half as much again.
    pub index_bytes_max: u64,
    /// Whether a record may also stand in lite queues, as its `INNER_MULTI_DISPATCH` says. Off,
    /// because every name a producer makes up would become a queue. (`enableLmq`)
    pub multi_dispatch: bool,
    /// Mistakes made on purpose, to prove that tests find them.
    #[cfg(feature = "faults")]
    pub faults: Faults,
}

/// At most this much of the last segment is kept for the broker's own state on a full disk: some
/// 60,000 offsets of groups.
const RESERVE_BYTES_MAX: u64 = 16 << 20;

impl StoreConfig {
    /// Bytes at the end of the last segment that only the broker's own state may use.
    pub(crate) fn reserve_bytes(&self) -> u64 {
        (self.segment_bytes / 8).min(RESERVE_BYTES_MAX)
    }
}

/// What the answer to a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// Answer once the message is on disk.
    Sync,
    /// Answer at once; a power cut may lose what was written in the last `interval`.
    Async {
        /// Longest time between two flushes while there is something to flush.
        interval: Duration,
    },
}

/// Mistakes made on purpose.
#[cfg(feature = "faults")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Raise the durable watermark without `fdatasync`.
    pub skip_fsync: bool,
    /// Raise the durable watermark just before `fdatasync`.
    pub answer_early: bool,
    /// Leave what lies behind the end of the log as it is.
    pub keep_torn_tail: bool,
    /// Leave the last byte before the checksum out of it.
    pub shorten_checksum: bool,
    /// Create and rename files without making their names durable.
    pub skip_dir_sync: bool,
    /// Take the mark in the checkpoint for the end of the log.
    pub trust_stale_mark: bool,
    /// Take an index run for whole without comparing its checksum.
    pub trust_runs: bool,
    /// Keep the first records of a group whose last ones are missing.
    pub keep_half_groups: bool,
    /// Step over damage to the end of its segment, and say nothing.
    pub dispatch_past_damage: bool,
    /// Give every eighth message of a queue the offset of the one before it.
    pub reuse_queue_offset: bool,
    /// Let readers see what is only staged or not yet durable.
    pub read_past_watermark: bool,
    /// Take a snapshot of the state for whole without comparing its checksum.
    pub trust_snapshots: bool,
    /// Remove segments that somebody holds.
    pub ignore_holds: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            flush: FlushMode::Async { interval: Duration::from_millis(500) },
            store_host: SocketAddr::from(([127, 0, 0, 1], 10911)),
            index_run_bytes: 128 << 20,
            unflushed_bytes_max: 1 << 30,
            // Three million small messages.
            index_bytes_max: 112 << 20,
            multi_dispatch: false,
            #[cfg(feature = "faults")]
            faults: Faults::default(),
        }
    }
}
