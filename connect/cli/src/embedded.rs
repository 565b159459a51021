//! The broker inside this process.

use std::path::Path;
use std::sync::Arc;

use millrace_disk::RealDisk;
use millrace_server::{Core, CoreConfig, RetentionConfig};
use millrace_store::{CutOff, CutOffMessages, FlushMode, LostMessages, Recovered, StoreConfig};

use crate::exit::Failure;
use crate::figures;

/// Opens a data directory for this process alone, without any socket.
///
/// It is flushed as in async-flush mode: producer and log end together when the power goes, and
/// whatever a pipeline promises waits for the disk in every mode.
pub(crate) fn open(
    dir: &Path,
    segment_bytes: u64,
    retention: RetentionConfig,
) -> Result<(Core, Recovered), Failure> {
    let store = store_config(segment_bytes, StoreConfig::default().flush);
    let mut config = CoreConfig { store, ..CoreConfig::default() };
    config.engine.retention = retention;
    let opened = Core::open(Arc::new(RealDisk::new()), dir, config)?;
    // A run may be over before the broker looks at its disk by itself.
    opened.0.tick();
    Ok(opened)
}

/// How the store keeps its files.
pub(crate) fn store_config(segment_bytes: u64, flush: FlushMode) -> StoreConfig {
    StoreConfig {
        segment_bytes,
        flush,
        #[cfg(feature = "faults")]
        faults: planted(),
        ..StoreConfig::default()
    }
}

/// The planted bugs of the store that `MILLRACE_PLANT` names.
#[cfg(feature = "faults")]
fn planted() -> millrace_store::Faults {
    let plant = std::env::var("MILLRACE_PLANT").unwrap_or_default();
    millrace_store::Faults {
        skip_fsync: plant == "skip-fsync",
        keep_half_groups: plant == "keep-half-groups",
        ..millrace_store::Faults::default()
    }
}

/// So many stretches of lost messages are listed.
const LOST_SHOWN: usize = 20;

/// What a start cut off: whole records first, because they may have been answered.
fn cut_off(torn: &CutOff) -> Vec<String> {
    let (bytes, copy) = (figures::counted(torn.bytes, "byte"), torn.copy.display());
    if torn.records == 0 {
        return vec![format!(
            "torn tail: {bytes} behind the end, no whole group among them, cut off; a copy is in \
             {copy}"
        )];
    }
    let records = figures::counted(torn.records, "whole record");
    let mut lines = vec![format!(
        "cut off: {bytes} behind the end of the log, the first place that does not verify; {records} \
         among them may have been answered; `millrace inspect {copy} --salvage FILE` reads them"
    )];
    for CutOffMessages { topic, queue, count, from, to } in torn.messages.iter().take(LOST_SHOWN) {
        let messages = figures::counted(*count, "message");
        lines.push(format!("cut off: {topic}/{queue} from {from} to {to}, {messages}"));
    }
    if let Some(more) = torn.messages.len().checked_sub(LOST_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("cut off: messages of {more} queues more"));
    }
    lines
}

/// What a start found, one line for each thing that a person may want to know.
pub(crate) fn findings(found: &Recovered) -> Vec<String> {
    let mut lines = Vec::new();
    for damage in &found.damage {
        lines.push(format!(
            "damage: physical offsets {} to {} are not what was written ({}); passed over",
            damage.from, damage.to, damage.reason
        ));
    }
    for lost in found.lost.iter().take(LOST_SHOWN) {
        let LostMessages { topic, queue, from, to, certain } = lost;
        lines.push(match certain {
            true => format!("lost: {topic}/{queue} from {from} to {to}"),
            false => format!(
                "lost, perhaps: {topic}/{queue} from {from} to {to}; no other message gets these \
                 offsets"
            ),
        });
    }
    if let Some(more) = found.lost.len().checked_sub(LOST_SHOWN).filter(|more| *more > 0) {
        lines.push(format!("lost, perhaps: messages of {more} queues more; see millrace inspect"));
    }
    if let Some(torn) = &found.torn {
        lines.extend(cut_off(torn));
    }
    if found.unfinished_records > 0 {
        let records = figures::counted(found.unfinished_records as u64, "record");
        lines.push(format!("unfinished group: {records} at the end cut off"));
    }
    for path in &found.snapshots_damaged {
        lines.push(format!("{} is damaged; the state was built again without it", path.display()));
    }
    if let Some(path) = &found.checkpoint_rebuilt {
        lines.push(format!(
            "{} is damaged; how far the log goes was read from the log itself",
            path.display()
        ));
    }
    if !found.index_rebuilt.is_empty() {
        let files = figures::counted(found.index_rebuilt.len() as u64, "index file");
        lines.push(format!("{files} built again from the log"));
    }
    lines
}
