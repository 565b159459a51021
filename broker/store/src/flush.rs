use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use millrace_disk::Disk;
use millrace_types::PhysicalOffset;
use tracing::{debug, info, warn};

use crate::checkpoint::{Checkpoint, Mark};
use crate::commit_log::Segments;
use crate::config::FlushMode;
use crate::error::FlushError;
use crate::queue_index::{self, Frozen, Run};
use crate::segment;
use crate::snapshot::SnapshotExchange;
use crate::tally::Tally;
use crate::watermark::Watermarks;

/// Makes the log durable, and does what else may block: making the next segment and writing out
/// the index. There is one per store; a thread of the shell owns it and calls it in a loop.
#[derive(Debug)]
pub struct Flusher {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) index_dir: PathBuf,
    pub(crate) segments: Arc<Segments>,
    pub(crate) marks: Watermarks,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) checkpoint_due: CheckpointDue,
    pub(crate) runs: Arc<RunExchange>,
    pub(crate) snapshots: Arc<SnapshotExchange>,
    pub(crate) snapshot_dir: PathBuf,
    /// First byte of the log that the checkpoint says was not removed.
    pub(crate) min: PhysicalOffset,
    /// What lies before this has no file any more.
    pub(crate) removed_to: PhysicalOffset,
    /// Entries of queues up to the durable watermark.
    pub(crate) tally: Tally,
    #[cfg(feature = "faults")]
    pub(crate) faults: crate::config::Faults,
}

/// Frozen stretches on their way to the flusher, written runs on their way back.
#[derive(Debug, Default)]
pub(crate) struct RunExchange(Mutex<Exchanged>);

#[derive(Debug, Default)]
struct Exchanged {
    frozen: Option<Arc<Frozen>>,
    written: Option<Arc<Run>>,
}

impl RunExchange {
    pub(crate) fn hand_over(&self, frozen: Arc<Frozen>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).frozen = Some(frozen);
    }

    pub(crate) fn take_written(&self) -> Option<Arc<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).written.take()
    }

    fn frozen(&self) -> Option<Arc<Frozen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).frozen.clone()
    }

    fn put_written(&self, run: Arc<Run>) {
        let mut exchanged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        exchanged.frozen = None;
        exchanged.written = Some(run);
    }
}

/// When the checkpoint is made durable: what was answered since is behind its mark after a power
/// cut, where a start takes the first place that does not verify for the end of the log. So that is
/// not much: so many bytes, so many flushes, or nothing once the store has been quiet for a moment.
#[derive(Debug)]
pub(crate) struct CheckpointDue {
    /// What the durable checkpoint says.
    synced: PhysicalOffset,
    /// Where it was last tried, whether that worked or not.
    tried: PhysicalOffset,
    /// Flushes since.
    flushes: u32,
    flushes_max: u32,
    /// Whether there was a flush since house was kept.
    is_busy: bool,
    /// Whether the operator has been told that it fails.
    is_told: bool,
}

const CHECKPOINT_BYTES_MAX: u64 = 16 << 20;

impl CheckpointDue {
    pub(crate) fn new(flush: FlushMode, synced: PhysicalOffset) -> Self {
        let flushes_max = match flush {
            // A sync costs about as much as a flush.
            FlushMode::Sync => 64,
            // Some seconds, unless somebody waits for flushes.
            FlushMode::Async { .. } => 16,
        };
        Self { synced, tried: synced, flushes: 0, flushes_max, is_busy: false, is_told: false }
    }

    fn on_flush(&mut self) {
        self.flushes += 1;
        self.is_busy = true;
    }

    /// Whether as much has become durable since the last try as is bearable.
    fn is_due(&self, durable: PhysicalOffset) -> bool {
        self.flushes >= self.flushes_max || durable.since(self.tried) >= CHECKPOINT_BYTES_MAX
    }

    /// Notes that house is kept, and answers whether it is due, if only because nothing was flushed
    /// since the last time.
    fn on_housekeeping(&mut self, durable: PhysicalOffset) -> bool {
        let is_quiet = !std::mem::take(&mut self.is_busy);
        self.is_due(durable) || (is_quiet && self.synced < durable)
    }

    /// Notes a try. One that failed is made again when as much more is durable, or it is quiet, and
    /// not at once: the disk has something else to do, and the operator to read.
    fn on_sync(&mut self, durable: PhysicalOffset, synced: &io::Result<()>) {
        (self.tried, self.flushes) = (durable, 0);
        match synced {
            Ok(()) => {
                self.synced = durable;
                if std::mem::take(&mut self.is_told) {
                    info!("the checkpoint is written again");
                }
            }
            Err(error) => self.tell(error),
        }
    }

    /// Tells a failure, the first of a row.
    fn tell(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(
                error = %error,
                "the checkpoint cannot be written, so it lags behind what was answered; trying \
                 again",
            );
        }
    }
}

impl Flusher {
    /// Makes everything appended so far durable, whatever was appended by whom, and says how far
    /// that is. After an error the store is poisoned (P2): calling again cannot mend it, because
    /// the system may have dropped the pages. After each flush, once those who waited for it are
    /// answered, [`Flusher::housekeep`] is to be called.
    pub fn flush(&mut self) -> Result<PhysicalOffset, FlushError> {
        let (from, (to, tally)) = (self.marks.durable(), self.marks.appended_and_tally());
        if self.marks.poisoned() {
            return Err(FlushError(io::Error::other("an earlier write or flush failed")));
        }
        if from == to {
            return Ok(to);
        }
        // Still due if nobody has kept house since: before more is answered behind the mark.
        if self.checkpoint_due.is_due(from) {
            let _ = self.sync_mark(self.mark_at(from));
        }
        #[cfg(feature = "faults")]
        if self.faults.answer_early {
            self.marks.raise_durable(to);
        }
        for segment in self.segments.overlapping(from, to) {
            #[cfg(feature = "faults")]
            if self.faults.skip_fsync {
                continue;
            }
            if let Err(error) = segment.file.sync() {
                self.marks.poison();
                return Err(FlushError(error));
            }
        }
        self.marks.raise_durable(to);
        self.tally = tally;
        self.mark(self.mark_at(to));
        Ok(to)
    }

    /// Does what is due besides flushing: the next segment ahead of time, a durable checkpoint, and
    /// the index of a frozen stretch. Failures are reported and tried again; nothing is lost by
    /// them. Answers whether something is left that should not wait for the next flush.
    pub fn housekeep(&mut self) -> bool {
        let appended = self.marks.appended();
        if let Some(active) = self.segments.holding(appended)
            && appended.since(active.base) > active.len / 2
            && self.segments.holding(active.end()).is_none()
            && let Err(error) = self.segments.grow(active.end())
        {
            // Whoever needs the segment tries again and is told; here it was only ahead of time.
            debug!(error = %error, physical_offset = %active.end(), "next segment not made");
        }
        let mut is_left = false;
        let durable = self.marks.durable();
        if self.checkpoint_due.on_housekeeping(durable) {
            is_left = self.sync_mark(self.mark_at(durable)).is_err();
        }
        let frozen = self.runs.frozen();
        if let Some(frozen) = frozen.filter(|frozen| frozen.to <= self.marks.durable()) {
            match write_run(&*self.disk, &self.index_dir, &frozen) {
                Ok(run) => self.runs.put_written(run),
                Err(error) => {
                    is_left = true;
                    warn!(error = %error, "index run not written");
                }
            }
        }
        self.snapshots.write(&*self.disk, &self.snapshot_dir, self.marks.durable());
        if let Err(error) = self.remove_files() {
            is_left = true;
            warn!(error = %error, "removed segments still have files; trying again");
        }
        is_left
    }

    /// Removes the files of what the log has forgotten. The checkpoint says so first, durably, and
    /// then they go one by one from the oldest on: whatever a crash leaves is a log without gaps
    /// that the next start goes on removing.
    fn remove_files(&mut self) -> io::Result<()> {
        let min = self.segments.min();
        if min == self.removed_to {
            return Ok(());
        }
        let durable = self.marks.durable();
        self.sync_mark(Mark { min: Some(min), ..self.mark_at(durable) })?;
        self.min = min;
        let dir = self.segments.dir();
        for base in segment::list(&*self.disk, dir)?.into_iter().filter(|base| *base < min) {
            segment::remove(&*self.disk, dir, base)?;
            info!(physical_offset = %base, "segment removed");
        }
        for (_, to, path) in queue_index::list(&*self.disk, &self.index_dir)? {
            if to <= min {
                // A cache: if it comes back, the next start removes it.
                self.disk.remove(&path)?;
            }
        }
        self.removed_to = min;
        Ok(())
    }

    /// Leaves a mark that the store was closed with everything durable.
    pub(crate) fn mark_clean(&mut self) -> io::Result<()> {
        let durable = self.marks.durable();
        self.sync_mark(Mark { clean: true, ..self.mark_at(durable) })
    }

    /// What the checkpoint has to say about the durable watermark.
    fn mark_at(&self, durable: PhysicalOffset) -> Mark {
        Mark { durable, clean: false, min: Some(self.min), tally: Some(self.tally) }
    }

    /// Writes a mark that survives the process, and the power only once it is synced.
    fn mark(&mut self, mark: Mark) {
        self.checkpoint_due.on_flush();
        // Whole records behind the last mark are found all the same. But there the first place that
        // does not verify ends the log, so an old mark costs more than a longer scan: where one of
        // them decays, all that follow it. That is why it must not lag by much.
        if let Err(error) = self.checkpoint.write(mark) {
            self.checkpoint_due.tell(&error);
        }
    }

    /// Writes a mark and makes it durable. A sync alone would not do: where an earlier one has
    /// failed, the system takes the page for written that never was, and passes over it.
    fn sync_mark(&mut self, mark: Mark) -> io::Result<()> {
        let synced = self.checkpoint.write(mark).and_then(|()| self.checkpoint.sync());
        self.checkpoint_due.on_sync(mark.durable, &synced);
        synced
    }
}

/// Writes a run under its final name, durably.
pub(crate) fn write_run(disk: &dyn Disk, dir: &Path, frozen: &Frozen) -> io::Result<Arc<Run>> {
    let path = Run::path(dir, frozen);
    let draft = path.with_extension("tmp");
    if disk.exists(&draft)? {
        disk.remove(&draft)?;
    }
    let file = disk.create(&draft)?;
    queue_index::write(frozen, &*file)?;
    file.sync()?;
    disk.replace(&draft, &path)?;
    disk.sync_dir(dir)?;
    Run::written(frozen, file)
}
