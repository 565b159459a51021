use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use async_trait::async_trait;
use millrace_connect_api::{
    Batch, Cut, FileSink, OffsetRange, Part, PartState, Plan, Published, QueueRef, Reject, Resume,
    SinkError, Written,
};
use millrace_types::{Now, QueueOffset};

use crate::delivery::{OpenSink, SinkOpening};
use crate::rng::Rng;

/// Where the parts of all sinks of a test are, whoever wrote them.
#[derive(Clone)]
pub(crate) struct Destination(Arc<Mutex<Inner>>);

struct Inner {
    staged: BTreeMap<String, Rows>,
    visible: BTreeMap<String, Rows>,
    rng: Rng,
    /// Of a thousand calls, so many find the destination away.
    unavailable: u64,
}

/// Rows of a part: queue, queue offset, and the column `n`.
pub(crate) type Rows = Vec<(u32, u64, i64)>;

/// Rows of this `n` or more the sink refuses.
pub(crate) const REFUSED_FROM: i64 = 1_000_000;
/// A part is due with so many rows.
const ROWS_MAX: usize = 9;
/// A part is due this long after its first row, milliseconds.
const AGE_MAX_MS: u64 = 900;

impl Destination {
    pub(crate) fn new(seed: u64, unavailable: u64) -> Self {
        let (staged, visible) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Inner { staged, visible, rng: Rng::new(seed), unavailable })))
    }

    /// Makes sinks whose parts are partitioned by the text column named, if one is.
    pub(crate) fn sinks(&self, partition_by: Option<&'static str>) -> OpenSink {
        let destination = self.clone();
        Box::new(move |opening| {
            Ok(Box::new(Parts::new(destination.clone(), opening, partition_by)))
        })
    }

    /// All visible rows of a sink.
    pub(crate) fn rows(&self, sink: &str) -> Rows {
        let inner = self.inner();
        let of_sink =
            inner.visible.iter().filter(|(name, _)| name.starts_with(&format!("{sink}/")));
        of_sink.flat_map(|(_, rows)| rows.clone()).collect()
    }

    pub(crate) fn visible(&self) -> Vec<String> {
        self.inner().visible.keys().cloned().collect()
    }

    pub(crate) fn staged(&self) -> Vec<String> {
        self.inner().staged.keys().cloned().collect()
    }

    /// Removes what is staged, as somebody might who cleans up by hand.
    pub(crate) fn lose_staged(&self, lost: impl Fn(&str) -> bool) {
        self.inner().staged.retain(|name, _| !lost(name));
    }

    pub(crate) fn set_unavailable(&self, unavailable: u64) {
        self.inner().unavailable = unavailable;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// Gives others a turn, so that whoever calls may be dropped here.
    async fn turn(&self) {
        let turns = self.inner().rng.below(3);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    async fn weather(&self) -> Result<(), SinkError> {
        self.turn().await;
        let mut inner = self.inner();
        let unavailable = inner.unavailable;
        if inner.rng.below(1000) < unavailable {
            return Err(SinkError::Unavailable("chance".into()));
        }
        Ok(())
    }
}

/// A sink as the contract describes it, with parts in memory.
struct Parts {
    destination: Destination,
    opening: SinkOpening,
    partition_by: Option<&'static str>,
    next_id: u64,
    open: BTreeMap<String, Open>,
    read_to: BTreeMap<QueueRef, QueueOffset>,
    ahead: BTreeMap<String, BTreeMap<QueueRef, QueueOffset>>,
    /// Staged by a plan that the runtime has not heard of yet.
    planned: Vec<Part>,
}

struct Open {
    /// Given when the part is opened, so parts are not planned in the order of their numbers.
    id: u64,
    rows: Rows,
    ranges: BTreeMap<QueueRef, (QueueOffset, QueueOffset)>,
    since_ms: u64,
}

impl Parts {
    fn new(
        destination: Destination,
        opening: SinkOpening,
        partition_by: Option<&'static str>,
    ) -> Self {
        Self {
            destination,
            next_id: opening.next_part_id,
            open: BTreeMap::new(),
            read_to: opening.resume.next.clone(),
            ahead: opening.resume.ahead.clone(),
            planned: Vec::new(),
            opening,
            partition_by,
        }
    }

    fn partition(&self, batch: &Batch, row: usize) -> String {
        let Some(column) = self.partition_by else { return String::new() };
        let value = batch.column(column).unwrap().as_string::<i32>().value(row);
        format!("{column}={value}")
    }

    fn resume(&self) -> Resume {
        let mut next = self.read_to.clone();
        for open in self.open.values() {
            for (queue, (from, _)) in &open.ranges {
                let next = next.get_mut(queue).unwrap();
                *next = (*next).min(*from);
            }
        }
        let mut ahead = self.ahead.clone();
        for places in ahead.values_mut() {
            places.retain(|queue, offset| *offset > next[queue]);
        }
        ahead.retain(|_, places| !places.is_empty());
        Resume { next, ahead }
    }
}

#[async_trait]
impl FileSink for Parts {
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        self.destination.weather().await?;
        let messages = batch.messages();
        let queue = messages.queue().clone();
        if let Some(read_to) = self.read_to.insert(queue.clone(), messages.to()) {
            assert_eq!(read_to, messages.from(), "a gap or a repetition in {queue}");
        }
        let numbers = batch.column("n").unwrap().as_primitive::<Int64Type>().clone();
        let mut written = Written::default();
        for row in batch.selection().iter() {
            let offset = messages.get(row).queue_offset;
            let partition = self.partition(batch, row);
            let done = self.ahead.get(&partition).and_then(|places| places.get(&queue));
            if numbers.value(row) >= REFUSED_FROM {
                let error = "too large".to_owned();
                let reject = Reject { code: "E-SINK-01", error, field: Some("n".to_owned()) };
                written.rejected.push((row as u32, reject));
                continue;
            }
            if done.is_some_and(|done| offset < *done) {
                written.skipped += 1;
                continue;
            }
            let next_id = &mut self.next_id;
            let open = self.open.entry(partition).or_insert_with(|| {
                *next_id += 1;
                let (rows, ranges) = (Vec::new(), BTreeMap::new());
                Open { id: *next_id - 1, rows, ranges, since_ms: now.mono_ms }
            });
            open.rows.push((queue.queue.0, offset.0, numbers.value(row)));
            let range = open.ranges.entry(queue.clone()).or_insert((offset, offset));
            range.1 = offset + 1;
            written.rows += 1;
        }
        Ok(written)
    }

    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        let due: Vec<String> = self
            .open
            .iter()
            .filter(|(_, open)| {
                cut == Cut::All
                    || open.rows.len() >= ROWS_MAX
                    || now.mono_ms >= open.since_ms + AGE_MAX_MS
            })
            .map(|(partition, _)| partition.clone())
            .collect();
        for partition in due {
            let SinkOpening { name: sink, parts, epoch, .. } = &self.opening;
            self.destination.weather().await?;
            let Open { id, rows, ranges, .. } = self.open.remove(&partition).unwrap();
            let staged = format!("{sink}/.{parts}-{id}.{epoch}");
            let ranges =
                ranges.into_iter().map(|(queue, (from, to))| OffsetRange { queue, from, to });
            let part = Part {
                id,
                name: format!("{sink}/{parts}-{id}"),
                staged: staged.clone(),
                partition: partition.clone(),
                ranges: ranges.collect(),
                rows: rows.len() as u64,
                bytes: 8 * rows.len() as u64,
                checksum: 0,
            };
            self.ahead.insert(partition, self.read_to.clone());
            self.destination.inner().staged.insert(staged, rows);
            self.planned.push(part);
            self.destination.turn().await;
        }
        Ok(Plan { parts: std::mem::take(&mut self.planned), resume: self.resume() })
    }

    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError> {
        self.destination.weather().await?;
        {
            let mut inner = self.destination.inner();
            if let Some(rows) = inner.staged.remove(&part.staged) {
                let replaced = inner.visible.insert(part.name.clone(), rows);
                assert!(replaced.is_none(), "{} was replaced", part.name);
            } else if !inner.visible.contains_key(&part.name) {
                return Err(SinkError::Broken(format!("{} is not staged", part.name).into()));
            }
        }
        // It is visible, and still the answer may not arrive.
        self.destination.weather().await?;
        Ok(Published::default())
    }

    async fn probe(&mut self, part: &Part) -> Result<PartState, SinkError> {
        self.destination.weather().await?;
        let inner = self.destination.inner();
        Ok(match inner.visible.get(&part.name) {
            Some(rows) if rows.len() as u64 == part.rows => PartState::Published,
            _ if inner.staged.contains_key(&part.staged) => PartState::Staged,
            _ => PartState::Gone,
        })
    }

    async fn abort(&mut self, part: &Part) -> Result<(), SinkError> {
        self.destination.weather().await?;
        self.destination.inner().staged.remove(&part.staged);
        Ok(())
    }

    async fn sweep(&mut self, planned: &[Part]) -> Result<(), SinkError> {
        self.destination.weather().await?;
        let SinkOpening { name, parts, .. } = &self.opening;
        let of_sink = format!("{name}/.{parts}-");
        let mut inner = self.destination.inner();
        inner.staged.retain(|name, _| {
            !name.starts_with(&of_sink) || planned.iter().any(|part| part.staged == *name)
        });
        Ok(())
    }
}
