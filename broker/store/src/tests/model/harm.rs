//! Damage to bytes that were durable, on a copy of the disk.

use std::ops::Range;
use std::path::{Path, PathBuf};

use millrace_disk::{Access, Disk, Fault, SimDisk};
use millrace_types::PhysicalOffset;
use millrace_types::record::Record;

use super::super::{DIR, Odds, Opened, TOPICS, open};
use super::expected::{LITE, Message, Model, QUEUES, Stored, read};
use super::life::{Life, check_snapshots};

/// How many copies are damaged each time.
const COPIES: u64 = 6;
/// More messages than this do not lie in one sector, even in part; and where neither an index run nor
/// the start of the log is left to count from, the bytes of two large ones could have held so many.
const MESSAGES_HIT_MAX: u64 = 16;

/// Damages copies of the disk as a power cut would leave it, and judges what a start makes of each.
pub(super) fn harm(life: &mut Life, seed: u64) -> Result<(), String> {
    if life.disk.is_cut() || life.narrow {
        return Ok(());
    }
    let mut odds = Odds(seed);
    let image = life.disk.image(seed);
    let mut opened = open(&image, life.config.clone()).map_err(|error| error.to_string())?;
    let mut model = life.model.clone();
    model.cut(opened.found.end);
    life.raise_ends(&mut opened);
    let closed = odds.below(2) == 0;
    let Opened { store, flusher, .. } = opened;
    if closed {
        store.close(flusher).map_err(|error| error.to_string())?;
    } else {
        drop((store, flusher));
    }
    let image = image.power_cut();
    for copy in 0..COPIES {
        let disk = image.image(copy);
        let Some(hit) = Hit::random(&disk, &model, &mut odds) else {
            return Ok(());
        };
        hit.strike(&disk);
        life.lived.damaged += 1;
        judge(life, &model, &disk, &hit, closed)
            .map_err(|broken| format!("{hit:?}, closed {closed}: {broken}"))?;
    }
    Ok(())
}

#[derive(Debug)]
enum Blow {
    Flip { bit: u8 },
    Zero,
    BadSector,
}

#[derive(Debug)]
struct Hit {
    path: PathBuf,
    byte: u64,
    blow: Blow,
    /// Which part of the log, if it is one.
    range: Option<Range<u64>>,
}

impl Hit {
    fn random(disk: &SimDisk, model: &Model, odds: &mut Odds) -> Option<Self> {
        let mut paths = disk.paths();
        paths.retain(|path| disk.file_bytes(path).is_some_and(|bytes| !bytes.is_empty()));
        let logs: Vec<PathBuf> =
            paths.iter().filter(|path| path.starts_with("/data/commitlog")).cloned().collect();
        let stored: Vec<&Stored> = model.groups.iter().flat_map(|group| &group.stored).collect();
        let (path, byte) = if odds.below(4) > 0 && !stored.is_empty() {
            // Where mistakes by one are made: the edges of a record, and anywhere in it.
            let stored = stored[odds.below(stored.len() as u64) as usize];
            let size = u64::from(stored.size);
            let within = match odds.below(3) {
                0 => odds.below(8),
                1 => size - 1 - odds.below(24),
                _ => odds.below(size),
            };
            let at = stored.at + within;
            let path = logs.iter().rfind(|path| base(path).is_some_and(|base| base <= at.0))?;
            (path.clone(), at.since(PhysicalOffset(base(path)?)))
        } else {
            let path = paths[odds.below(paths.len() as u64) as usize].clone();
            let len = disk.file_bytes(&path)?.len() as u64;
            (path, odds.below(len))
        };
        let blow = match odds.below(4) {
            0 => Blow::Zero,
            1 => Blow::BadSector,
            _ => Blow::Flip { bit: odds.below(8) as u8 },
        };
        let range = base(&path).map(|base| match blow {
            Blow::Flip { .. } => base + byte..base + byte + 1,
            _ => base + byte / 512 * 512..base + (byte / 512 + 1) * 512,
        });
        Some(Self { path, byte, blow, range })
    }

    fn strike(&self, disk: &SimDisk) {
        let sector = self.byte / 512;
        match self.blow {
            Blow::Flip { bit } => disk.flip_bit(&self.path, self.byte, bit),
            Blow::BadSector => disk.inject(Fault::BadSector { path: self.path.clone(), sector }),
            Blow::Zero => {
                let file = disk.open(&self.path, Access::ReadWrite).expect("it is there");
                file.zero(sector * 512..(sector + 1) * 512).expect("the disk is whole");
                file.sync().expect("the disk is whole");
            }
        }
    }

    /// Whether a message may be lost to this.
    fn touches(&self, stored: &Stored) -> bool {
        let record = stored.at.0..stored.at.0 + u64::from(stored.size);
        self.range.as_ref().is_some_and(|hit| hit.start < record.end && record.start < hit.end)
    }
}

/// Where a segment starts; `None` if it is another file.
fn base(path: &Path) -> Option<u64> {
    let name = path.strip_prefix("/data/commitlog").ok()?;
    name.to_str()?.parse().ok()
}

/// Never another message, never a loss elsewhere, never a loss in silence.
fn judge(
    life: &Life,
    model: &Model,
    disk: &SimDisk,
    hit: &Hit,
    closed: bool,
) -> Result<(), String> {
    let mut opened = match open(disk, life.config.clone()) {
        Ok(opened) => opened,
        Err(error) if error.to_string().contains(&*hit.path.to_string_lossy()) => return Ok(()),
        Err(error) => return Err(format!("refused without a name: {error}")),
    };
    life.raise_ends(&mut opened);
    check_snapshots(&mut opened)?;
    let min = opened.store.log_min();
    let mut reported = !opened.found.damage.is_empty() || opened.found.torn.is_some();
    let mut lost = 0;
    for queue in QUEUES {
        let expected = model.queue(queue, PhysicalOffset(u64::MAX));
        let mut seen = read(&opened, queue, PhysicalOffset(u64::MAX), 1)?;
        for (offset, stored) in (0u64..).zip(expected).filter(|(_, stored)| stored.at >= min) {
            let whole = match seen.remove(&offset) {
                Some(Ok(bytes)) => {
                    let record = Record::parse(&bytes).map_err(|error| error.to_string())?;
                    if !stored.message.is(&record) {
                        return Err(format!("{queue:?}: another message at {offset}"));
                    }
                    true
                }
                Some(Err(_)) => {
                    reported = true;
                    false
                }
                None => false,
            };
            if !whole && !hit.touches(stored) {
                return Err(format!("{queue:?}: the message at {offset} is lost, and was not hit"));
            }
            lost += usize::from(!whole);
        }
        if let Some((offset, _)) = seen.pop_first() {
            return Err(format!("{queue:?}: a message at {offset} that never was"));
        }
    }
    if lost > 0 && !reported {
        return Err(format!("{lost} messages are lost in silence"));
    }
    goes_on(model, &mut opened, disk, life, hit, closed)
}

/// A store that was damaged gives its next messages the offsets after those it had, and keeps them.
/// Of one that was not closed, the last ones may be gone without a trace; then it leaves out offsets
/// rather than give one again.
fn goes_on(
    model: &Model,
    opened: &mut Opened,
    disk: &SimDisk,
    life: &Life,
    hit: &Hit,
    closed: bool,
) -> Result<(), String> {
    let mut placed = Vec::new();
    let queues = QUEUES.into_iter().filter(|(topic, _)| *topic != LITE);
    for (n, queue) in (0..).zip(queues) {
        let end = model.queue(queue, PhysicalOffset(u64::MAX)).len() as u64;
        let (topic, id) = (usize::from(queue.0 != TOPICS[0]), (1 << 40) + n);
        let message = Message { id, topic, queue: queue.1, len: 40, lite: false };
        let kept = super::super::Kept { topic: queue.0, queue: queue.1, body: message.body() };
        let next = opened.stage(&[kept]).map_err(|error| error.to_string())?[0].queue_offset.0;
        if closed && next != end || next < end {
            return Err(format!("the next message of {queue:?} got offset {next}, not {end}"));
        }
        if next > end + MESSAGES_HIT_MAX {
            return Err(format!("{queue:?} leaves out {} offsets", next - end));
        }
        placed.push((queue, next, message));
    }
    opened.store.commit().map_err(|error| error.to_string())?;
    opened.flusher.flush().map_err(|error| error.to_string())?;
    let again = open(&disk.image(1), life.config.clone());
    let again = match again {
        Ok(again) => again,
        // The end of the log is in a bad sector: what lies behind it cannot be put aside, and is not
        // given up.
        Err(error)
            if matches!(hit.blow, Blow::BadSector)
                && error.to_string().contains(&*hit.path.to_string_lossy()) =>
        {
            return Ok(());
        }
        Err(error) => return Err(format!("the second start failed: {error}")),
    };
    for (queue, next, message) in placed {
        match read(&again, queue, PhysicalOffset(u64::MAX), 1)?.remove(&next) {
            Some(Ok(bytes)) if Record::parse(&bytes).is_ok_and(|r| r.body() == message.body()) => {}
            other => {
                return Err(format!("what was appended after the damage is {other:?}, in {DIR}"));
            }
        }
    }
    Ok(())
}
