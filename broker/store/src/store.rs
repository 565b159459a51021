use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_disk::{Disk, Lock};
use millrace_types::record::{self, Draft, Stamp};
use millrace_types::{
    PhysicalOffset, Properties, QueueId, QueueOffset, TopicName, is_system_topic_name,
};
use tracing::warn;

use crate::buffers::Buffers;
use crate::checkpoint::{self, Checkpoint, Mark};
use crate::commit_log::{CommitLog, Segments};
use crate::config::StoreConfig;
use crate::dispatch::Dispatch;
use crate::error::{AppendError, FlushError, OpenError};
use crate::flush::{CheckpointDue, Flusher, RunExchange, write_run};
use crate::format;
use crate::key_index::KeyLookup;
use crate::lost;
#[cfg(feature = "faults")]
use crate::planted;
use crate::queue_index::{Entry, QueueIndex, QueueNo};
use crate::read::LogReader;
use crate::recovery::{self, Leftovers, LogStart, Recovered, ScanFaults};
use crate::scan::Origin;
use crate::snapshot::{self, Checksums, Snapshot, SnapshotExchange};
use crate::tail;
use crate::tally::Tally;
use crate::watermark::Watermarks;

/// The one writer of a data directory.
///
/// ```text
/// <dir>/lock          held while the store is open
/// <dir>/format        one line that names the format
/// <dir>/checkpoint    how far the log is durable
/// <dir>/commitlog/    the messages
/// <dir>/index/        runs of the queue index, a cache
/// <dir>/state/        snapshots of the broker's state, which the log has too
/// <dir>/torn/         what a start cut off the end, each in a data directory of its own
/// ```
#[derive(Debug)]
pub struct Store {
    log: CommitLog,
    pub(crate) index: QueueIndex,
    segments: Arc<Segments>,
    buffers: Arc<Buffers>,
    marks: Watermarks,
    runs: Arc<RunExchange>,
    snapshots: Arc<SnapshotExchange>,
    found_snapshots: Vec<Snapshot>,
    config: StoreConfig,
    last_store_ms: i64,
    /// The last place at which the start found damage.
    damaged_at: Option<PhysicalOffset>,
    /// Whether only the index in memory knows which offsets are left out because of it.
    keeps_left_out: bool,
    disk: Arc<dyn Disk>,
    index_dir: PathBuf,
    _lock: Box<dyn Lock>,
}

/// Where a staged message will lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its position in its queue.
    pub queue_offset: QueueOffset,
    /// Where its record starts.
    pub physical_offset: PhysicalOffset,
    /// Bytes of the record.
    pub size: u32,
}

/// The offsets that a queue has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first one.
    pub min: QueueOffset,
    /// One past the last one, whether readers may see it yet or not.
    pub end: QueueOffset,
}

/// How full the disk is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Used or free.
    pub total: u64,
    /// Free.
    pub free: u64,
}

/// Which records a read is going to touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Queue offset of the first entry.
    pub from: QueueOffset,
    /// One entry per consecutive queue offset.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// The queue offset after the last entry.
    pub fn next(&self) -> QueueOffset {
        self.from + self.entries.len() as u64
    }
}

impl Store {
    /// Opens a data directory, creating it if needed, and recovers from whatever happened before.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        config: StoreConfig,
    ) -> Result<(Self, Flusher, Recovered), OpenError> {
        let (log_dir, index_dir) = (dir.join("commitlog"), dir.join("index"));
        #[cfg(feature = "faults")]
        let disk = planted::prepare(disk, &config.faults);
        #[cfg(feature = "faults")]
        let faults = ScanFaults {
            keep_half_groups: config.faults.keep_half_groups,
            dispatch_past_damage: config.faults.dispatch_past_damage,
            trust_stale_mark: config.faults.trust_stale_mark,
            trust_runs: config.faults.trust_runs,
        };
        #[cfg(not(feature = "faults"))]
        let faults = ScanFaults::default();
        disk.create_dir_durably(dir)?;
        let lock = lock(&*disk, dir)?;
        format::check(&*disk, dir)?;
        disk.create_dir_durably(&log_dir)?;
        disk.create_dir_durably(&index_dir)?;

        let mark = checkpoint::peek(&*disk, dir)?;
        let mut found = Recovered { clean: mark.clean, ..Recovered::default() };
        let mut leftovers = Leftovers::default();
        let mut list = recovery::open_segments(&*disk, &log_dir, &mut leftovers)?;
        if mark.min.is_none() && !list.is_empty() {
            found.checkpoint_rebuilt = Some(dir.join("checkpoint"));
        }
        recovery::settle_ends(&log_dir, &mut list, mark, &mut leftovers)?;
        let log_min = list.first().map_or(PhysicalOffset(0), |segment| segment.base);
        let (mut index, indexed_to) = recovery::load_runs(
            &*disk,
            &index_dir,
            &list,
            log_min,
            faults,
            &mut found,
            &mut leftovers,
        )?;
        recovery::reaches(&log_dir, &list, log_min, indexed_to)?;
        let snapshot_dir = dir.join("state");
        #[cfg(feature = "faults")]
        let checksums =
            if config.faults.trust_snapshots { Checksums::Ignored } else { Checksums::Compared };
        #[cfg(not(feature = "faults"))]
        let checksums = Checksums::Compared;
        let found_snapshots = snapshot::read_all(&*disk, &snapshot_dir, checksums)?;
        found.snapshots_damaged = found_snapshots.damaged;
        // From here on nothing but a disk that is full or fails stands in the way.
        leftovers.remove(&*disk, &log_dir)?;
        let durable = mark.durable.max(indexed_to);
        let run_bytes = config.index_run_bytes;
        let mut unwritten = None;
        // Without a run, only the very start of the log tells how much was there before it.
        let log_start = match log_min {
            PhysicalOffset(0) => LogStart::Whole,
            _ => LogStart::Removed,
        };
        let is_counted = indexed_to > log_min || log_start == LogStart::Whole;
        let (mut at_mark, mut lost) = (None, Vec::new());
        let scanned = recovery::scan(
            &list,
            indexed_to,
            durable,
            Origin::Ours,
            faults,
            &mut found,
            &mut |record| {
                // What is rebuilt goes out in runs of the usual size, so that a lost index of a
                // large log costs no more memory than a working one. Only durable bytes may be
                // covered by a run. Nor may damage, before it is known which offsets are left out
                // because of it: the next start would not see it, and give them to others.
                let at = record.entry().physical_offset;
                if at >= mark.durable {
                    at_mark.get_or_insert(index.tally());
                }
                if at <= durable
                    && !record.after_damage
                    && let Some(frozen) = index.freeze(at, run_bytes)
                {
                    match write_run(&*disk, &index_dir, &frozen) {
                        Ok(run) => index.install(run),
                        Err(error) => {
                            warn!(error = %error, "index run not written");
                            unwritten = Some(frozen);
                        }
                    }
                }
                recovery::index_found(
                    &mut index,
                    config.multi_dispatch,
                    log_start,
                    &record,
                    &mut lost,
                );
            },
        );
        found.end = scanned.end;
        let at_mark = at_mark.unwrap_or(index.tally());
        let missing = mark.tally.filter(|_| is_counted).map(|due| due.without(at_mark));
        index.settle();
        if !found.damage.is_empty() {
            lost::leave_out(&mut index, &found.damage, missing, &mut lost);
            index.settle();
        }
        // Counted, so that the next start does not miss it again.
        let counted = at_mark.max(mark.tally.unwrap_or_default());
        index.set_tally(counted + index.tally().without(at_mark));
        found.lost = lost;
        // Behind the end of a store that was closed properly nothing was ever written.
        // But somebody may have put another file there.
        let tail_is_empty =
            mark.clean && mark.durable == scanned.end && tail::looks_unwritten(&list, scanned.end);
        #[cfg(feature = "faults")]
        let tail_is_empty = tail_is_empty || config.faults.keep_torn_tail;
        if !scanned.out_of_segments && !tail_is_empty {
            found.torn = tail::cut(&*disk, dir, &mut list, &scanned)?;
        }
        recovery::drop_unused(&*disk, &log_dir, &mut list, scanned.end, config.segment_bytes)?;
        recovery::write_again(&list, durable, found.end)?;
        let tally = Some(index.tally());
        let (mut checkpoint, _) = Checkpoint::open(&*disk, dir)?;
        checkpoint.write(Mark { durable: found.end, clean: false, min: Some(log_min), tally })?;
        checkpoint.sync()?;

        let marks = Watermarks::starting_at(found.end, index.tally());
        let segments = Arc::new(Segments::new(
            Arc::clone(&disk),
            &log_dir,
            config.segment_bytes,
            list,
            found.end,
        ));
        let log =
            CommitLog::new(Arc::clone(&segments), marks.clone()).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::StorageFull => {
                        OpenError::DiskFull { path: log_dir.clone(), source: error }
                    }
                    _ => error.into(),
                }
            })?;
        let runs = Arc::new(RunExchange::default());
        if let Some(frozen) = unwritten {
            runs.hand_over(frozen);
        }
        let snapshots = Arc::new(SnapshotExchange::default());
        let flusher = Flusher {
            disk: Arc::clone(&disk),
            index_dir: index_dir.clone(),
            segments: Arc::clone(&segments),
            marks: marks.clone(),
            checkpoint,
            checkpoint_due: CheckpointDue::new(config.flush, found.end),
            runs: Arc::clone(&runs),
            snapshots: Arc::clone(&snapshots),
            snapshot_dir,
            min: log_min,
            removed_to: log_min,
            tally: index.tally(),
            #[cfg(feature = "faults")]
            faults: config.faults,
        };
        let last_store_ms = found.last_store_ms;
        let damaged_at = found.damage.last().map(|damage| damage.from);
        let store = Self {
            log,
            index,
            segments,
            buffers: Arc::default(),
            marks,
            runs,
            snapshots,
            found_snapshots: found_snapshots.whole,
            config,
            last_store_ms,
            damaged_at,
            keeps_left_out: damaged_at.is_some(),
            disk,
            index_dir,
            _lock: lock,
        };
        Ok((store, flusher, found))
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// How far the log is written and durable.
    pub fn watermarks(&self) -> &Watermarks {
        &self.marks
    }

    /// A reader of records, for any thread.
    pub fn reader(&self) -> LogReader {
        LogReader { segments: Arc::clone(&self.segments), buffers: Arc::clone(&self.buffers) }
    }

    /// The first byte of the log that is still there.
    pub fn log_min(&self) -> PhysicalOffset {
        self.segments.min()
    }

    /// The store time of the newest record, ms; no later record has an earlier one.
    pub fn last_store_ms(&self) -> i64 {
        self.last_store_ms
    }

    /// The queue of this name, registered if it is new.
    pub fn queue(&mut self, topic: &TopicName, id: QueueId) -> QueueNo {
        self.index.find_or_add(topic, id)
    }

    /// The queue of this name, if a message was ever staged for it or it was registered.
    pub fn find_queue(&self, topic: &str, id: QueueId) -> Option<QueueNo> {
        self.index.find(topic, id)
    }

    /// What a queue of this store is called.
    pub fn queue_name(&self, queue: QueueNo) -> (&TopicName, QueueId) {
        self.index.name(queue)
    }

    /// All queues.
    pub fn queues(&self) -> impl Iterator<Item = (&TopicName, QueueId, QueueNo)> {
        self.index.all()
    }

    /// How many queues there are. None is ever forgotten while the store is open.
    pub fn queue_count(&self) -> usize {
        self.index.queue_count()
    }

    /// How many of them are of this topic.
    pub fn queues_of(&self, topic: &str) -> usize {
        self.index.queues_of(topic)
    }

    /// The offsets that a queue has.
    pub fn bounds(&self, queue: QueueNo) -> Bounds {
        Bounds { min: self.index.min(queue), end: self.index.end(queue) }
    }

    /// One past the last message of a queue whose record ends at or before `limit`.
    pub fn end_within(&self, queue: QueueNo, limit: PhysicalOffset) -> QueueOffset {
        #[cfg(feature = "faults")]
        if self.config.faults.read_past_watermark {
            return self.index.end(queue);
        }
        self.index.end_within(queue, limit)
    }

    /// Stages a group: all its messages become readable, and survive, together or not at all (P3).
    /// Their places are added to `placed`. Nothing is written before [`Store::commit`]; after an
    /// error nothing is staged.
    pub fn stage(
        &mut self,
        group: &[(QueueNo, Draft<'_>)],
        now_ms: i64,
        placed: &mut Vec<Placed>,
    ) -> Result<(), AppendError> {
        let host = self.config.store_host;
        let last = group.len().saturating_sub(1);
        if self.keeps_left_out {
            self.write_left_out();
        }
        // With many queues nothing of a queue is in the processor's caches. These loads do not
        // depend on each other, so many are on their way at once.
        if group.len() > 1 {
            let ends = group.iter().map(|(queue, _)| self.index.end(*queue).0);
            std::hint::black_box(ends.fold(0, |all, end| all ^ end));
        }
        let lens = group.iter().enumerate();
        let lens = lens.map(|(n, (_, draft))| record::encoded_len(draft, host, n < last));
        let total: usize = lens.sum();
        // With nothing but the last segment left, its end is for the broker's own state: consumers
        // go on when producers no longer can.
        let states = group.iter().filter(|(_, draft)| is_system_topic_name(draft.topic)).count();
        let spare = if states == group.len() { 0 } else { self.config.reserve_bytes() };
        self.log.reserve(total as u64, spare)?;
        // RocketMQ's look-up by time searches a queue for it, so it must not go back.
        self.last_store_ms = self.last_store_ms.max(now_ms);
        self.index.note_time(self.last_store_ms);
        let mut tally = Tally::default();
        for (n, (queue, draft)) in group.iter().enumerate() {
            let more = n < last;
            let len = if last == 0 { total } else { record::encoded_len(draft, host, more) };
            let (at, buffer) = self.log.place(len);
            let properties = Properties::new(draft.properties);
            let dispatch = Dispatch::of(draft.topic, draft.sys_flag, properties);
            let queued = dispatch.is_queued();
            let queue_offset = if queued { self.index.end(*queue) } else { QueueOffset(0) };
            #[cfg(feature = "faults")]
            let queue_offset = match self.config.faults.reuse_queue_offset {
                true if queue_offset.0 % 8 == 7 => QueueOffset(queue_offset.0 - 1),
                _ => queue_offset,
            };
            let stamp = Stamp {
                queue_offset,
                physical_offset: at,
                store_at_ms: self.last_store_ms,
                store_host: host,
                more,
            };
            record::encode(draft, &stamp, buffer);
            // Nothing waits for a checksum, so the processor goes on with the hashes meanwhile.
            dispatch.each_key(|hash| self.index.push_key(hash, at));
            let tags_code = dispatch.tags_code();
            let entry = Entry { physical_offset: at, size: len as u32, tags_code };
            if queued {
                self.index.push(*queue, entry);
                // Most groups are of one kind.
                let is_state = match states {
                    0 => false,
                    states => states == group.len() || is_system_topic_name(draft.topic),
                };
                let count = if is_state { &mut tally.state } else { &mut tally.messages };
                *count += 1;
            }
            if self.config.multi_dispatch {
                self.push_further(&dispatch, entry);
            }
            placed.push(Placed { queue_offset, physical_offset: at, size: len as u32 });
        }
        self.index.count(tally);
        Ok(())
    }

    /// Writes a run that knows which offsets are left out, before a message comes after them. The log
    /// does not tell, and a count of what is missing in it would be wrong from then on. Until then
    /// every start finds the damage again, and says so.
    ///
    /// An earlier run may be on its way, or this one cannot be written: then the next stage has
    /// another look.
    fn write_left_out(&mut self) {
        self.take_written_run();
        let appended = self.marks.appended();
        if self.index.is_frozen() || self.log.next() != appended {
            return;
        }
        // Once nothing of the damage is live, a run has it.
        let is_live = self.damaged_at.is_some_and(|at| self.index.live_from() <= at);
        let frozen = if is_live { self.index.freeze(appended, 1) } else { None };
        let Some(frozen) = frozen else {
            self.keeps_left_out = false;
            return;
        };
        // The flusher writes what is not durable yet.
        if self.marks.durable() < appended {
            self.runs.hand_over(frozen);
            return;
        }
        match write_run(&*self.disk, &self.index_dir, &frozen) {
            Ok(run) => {
                self.index.install(run);
                self.keeps_left_out = false;
            }
            Err(error) => {
                warn!(error = %error, "index run not written");
                self.runs.hand_over(frozen);
            }
        }
    }

    /// Adds a record to the lite queues it names, where the offset it names is the next one.
    fn push_further(&mut self, dispatch: &Dispatch<'_>, entry: Entry) {
        for (name, offset) in dispatch.further_queues() {
            let Ok(topic) = TopicName::parse(name) else {
                continue;
            };
            let queue = self.index.find_or_add(&topic, QueueId(0));
            if self.index.end(queue) == offset {
                self.index.push(queue, entry);
                self.index.count(Tally::of(name, 1));
            }
        }
    }

    /// The keys of all records that end at or before `limit`, to be searched on any thread.
    pub fn key_lookup(&self, limit: PhysicalOffset) -> KeyLookup {
        let (live, frozen, runs) = self.index.keys();
        let limit = limit.min(self.marks.appended());
        let last_store_ms = self.last_store_ms;
        KeyLookup {
            live,
            frozen,
            runs,
            reader: self.reader(),
            from: self.log_min(),
            limit,
            last_store_ms,
        }
    }

    /// One past the last staged byte: once the durable watermark reaches this, all that was staged
    /// so far survives a power cut.
    pub fn staged_end(&self) -> PhysicalOffset {
        self.log.next()
    }

    /// Whether the disk takes what is appended. If not, appending goes on, but costs memory: what
    /// is not durable has its index in memory. It says yes again without any append.
    pub fn keeps_up(&mut self) -> bool {
        let unflushed = self.staged_end().since(self.marks.durable());
        if unflushed > self.config.unflushed_bytes_max {
            return false;
        }
        if self.index.bytes() <= self.config.index_bytes_max {
            return true;
        }
        self.take_written_run();
        // With no run on its way, the next append sends one.
        self.index.bytes() <= self.config.index_bytes_max || !self.index.is_frozen()
    }

    fn take_written_run(&mut self) {
        if self.index.is_frozen()
            && let Some(run) = self.runs.take_written()
        {
            self.index.install(run);
        }
    }

    /// Writes everything staged since the last commit and raises the appended watermark. After an
    /// error the store is poisoned and takes nothing more.
    pub fn commit(&mut self) -> Result<PhysicalOffset, AppendError> {
        self.index.settle();
        let appended = self.log.commit(self.index.tally())?;
        self.take_written_run();
        // Messages with many keys take far more memory for the index than bytes of the log. At half
        // of what it may take, what is appended meanwhile has the other half.
        let is_large = self.index.bytes() > self.config.index_bytes_max / 2;
        let due = if is_large { 1 } else { self.config.index_run_bytes };
        if let Some(frozen) = self.index.freeze(appended, due) {
            self.runs.hand_over(frozen);
        }
        Ok(appended)
    }

    /// Which records a read of `queue` from `from` touches: whole records that end at or before
    /// `limit`, at most `count_max` and, but for the first, `bytes_max` bytes.
    pub fn plan(
        &self,
        queue: QueueNo,
        from: QueueOffset,
        count_max: usize,
        bytes_max: u64,
        limit: PhysicalOffset,
    ) -> Plan {
        let end = self.end_within(queue, limit);
        let mut plan = Plan { from, entries: Vec::new() };
        let mut bytes = 0;
        while plan.entries.len() < count_max && plan.next() < end {
            let want = (count_max - plan.entries.len()).min(end.since(plan.next()) as usize);
            // Most pulls end by bytes long before they end by count.
            let read = self.index.read(queue, plan.next(), want.min(4096));
            if read.is_empty() {
                break;
            }
            for entry in read {
                bytes += u64::from(entry.size);
                if bytes > bytes_max && !plan.entries.is_empty() {
                    return plan;
                }
                plan.entries.push(entry);
            }
        }
        plan
    }

    /// Whether the start found damage, and so queues may leave out offsets.
    pub fn was_damaged(&self) -> bool {
        self.damaged_at.is_some()
    }

    /// Whoever keeps the broker's own state has read all of it, and knows what is lost. A queue of it
    /// that becomes known from now on leaves out offsets as others do, without messages to miss.
    pub fn state_was_read(&mut self) {
        self.index.state_was_read();
    }

    /// The snapshots of the broker's state that a start found whole, newest first; once.
    pub fn take_snapshots(&mut self) -> Vec<Snapshot> {
        std::mem::take(&mut self.found_snapshots)
    }

    /// Keeps a snapshot of the state in a file, once everything staged so far is durable. `next` is
    /// the queue offset of the first state record that is not in it.
    pub fn keep_snapshot(&self, next: QueueOffset, body: Vec<u8>) {
        self.snapshots.hand_over(self.staged_end(), next, body);
    }

    /// How full the disk is.
    pub fn space(&self) -> io::Result<Space> {
        let total = self.disk.total_space(&self.index_dir)?;
        let free = self.disk.free_space(&self.index_dir)?.min(total);
        Ok(Space { total, free })
    }

    /// Where each segment of the log starts and ends, in order.
    pub fn segments(&self) -> Vec<(PhysicalOffset, PhysicalOffset)> {
        self.segments.spans()
    }

    /// Removes every segment that ends at or before `to`, but never the newest. Readers see at once
    /// that its messages are gone; whoever is reading them already finishes. The flusher removes
    /// the files.
    ///
    /// The caller has made durable whatever it still needs of them, and knows from there on which
    /// offsets the queues go on with: see [`Store::raise_end`].
    pub fn remove_before(&mut self, to: PhysicalOffset) {
        self.segments.forget_before(to.min(self.marks.durable()));
        self.index.trim(self.segments.min());
    }

    /// Makes the messages of a queue that lie before `to` invisible, for as long as the store is
    /// open. Its next offset stays.
    pub fn hide_below(&mut self, queue: QueueNo, to: PhysicalOffset) {
        self.index.hide_below(queue, to);
    }

    /// Lets a queue go on with at least this offset. After a start, the log cannot tell for a queue
    /// whose messages have all been removed.
    pub fn raise_end(&mut self, queue: QueueNo, next: QueueOffset) {
        self.index.raise_end(queue, next);
    }

    /// Where the first message of a queue at or after `from` lies; `None` if there is none.
    pub fn first_at(&self, queue: QueueNo, from: QueueOffset) -> Option<PhysicalOffset> {
        let bounds = self.bounds(queue);
        let found = self.index.next_kept(queue, from.max(bounds.min), bounds.end);
        found.map(|(_, entry)| entry.physical_offset)
    }

    /// The first offset of a queue whose message lies at or after `to`; its end without one.
    pub fn first_from(&self, queue: QueueNo, to: PhysicalOffset) -> QueueOffset {
        self.index.first_from(queue, to)
    }

    /// The segment in which a message of a queue lies or, if it was lost, must have lain.
    pub fn segment_near(&self, queue: QueueNo, at: QueueOffset) -> PathBuf {
        let bounds = self.bounds(queue);
        let after = self.index.next_kept(queue, at, bounds.end);
        let after = after.map(|(_, entry)| entry.physical_offset).or(self.damaged_at);
        let near = after.unwrap_or(self.staged_end());
        let spans = self.segments.spans();
        let holding = spans.iter().rfind(|(base, _)| *base <= near);
        let base = holding.map_or(PhysicalOffset(0), |(base, _)| *base);
        crate::segment::path(self.segments.dir(), base)
    }

    /// Bytes of a queue's records from `from` on, counted no further than `enough`.
    pub fn bytes_from(&self, queue: QueueNo, from: PhysicalOffset, enough: u64) -> u64 {
        self.index.bytes_from(queue, from, enough)
    }

    /// Makes everything durable, writes out the whole index and leaves a mark, so that the next
    /// start reads nothing again.
    pub fn close(mut self, mut flusher: Flusher) -> Result<(), FlushError> {
        self.commit().map_err(|error| FlushError(std::io::Error::other(error)))?;
        flusher.flush()?;
        flusher.housekeep();
        if let Some(run) = self.runs.take_written() {
            self.index.install(run);
        }
        if let Some(frozen) = self.index.freeze(self.marks.durable(), 1) {
            write_run(&*self.disk, &self.index_dir, &frozen).map_err(FlushError)?;
        }
        flusher.mark_clean().map_err(FlushError)
    }
}

/// Takes the lock of a data directory.
pub(crate) fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn Lock>, OpenError> {
    disk.lock(&dir.join("lock")).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse(dir.into()),
        _ => error.into(),
    })
}
