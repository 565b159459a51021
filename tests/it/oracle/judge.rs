use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{History, Outcome, QUEUES, Sent, Traffic, Wire};

/// What may be missing of what was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// Nothing.
    None,
    /// What the start reported as damage; whoever asks compares that.
    Reported,
    /// The end of the log, if it was answered no longer than `window` before `cut`.
    Suffix { cut: Instant, window: Duration },
}

/// The history of one data directory, and what was found in it.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) history: Arc<History>,
    next_id: Arc<AtomicU64>,
    /// Which message a place was found to hold, by queue and offset.
    placed: BTreeMap<(u32, u64), u64>,
    /// The oldest answer that was lost, by its age at the cut.
    pub(crate) oldest_loss: Duration,
    pub(crate) lost: usize,
}

impl Oracle {
    /// Has the topic be there and, in sync-flush mode, on the disk, with what the start wrote before.
    /// Without a topic nobody sends, so a broker that fails before it is never asked anything.
    pub(crate) fn prepare(address: &str) -> io::Result<()> {
        Wire::open(address).map(drop)
    }

    pub(crate) fn traffic(&self, address: &str) -> Traffic {
        Traffic::start(address, &self.history, &self.next_id)
    }

    /// Reads everything back and compares. Answers how many messages there are.
    pub(crate) fn judge(&mut self, address: &str, loss: Loss) -> Result<usize, String> {
        let found = read_all(address).map_err(|error| format!("reading back: {error}"))?;
        let mut sends = self.history.sends.lock().unwrap_or_else(PoisonError::into_inner);
        let by_id: BTreeMap<u64, Sent> = sends.iter().map(|sent| (sent.id, *sent)).collect();
        let mut places = BTreeMap::new();
        for ((queue, offset), id) in &found {
            let place = format!("queue {queue}, offset {offset}");
            let Some(sent) = by_id.get(id) else {
                return Err(format!("I2: {place}: message {id} was never sent"));
            };
            if sent.queue != *queue {
                return Err(format!("I2: {place}: message {id} was sent to {}", sent.queue));
            }
            if sent.outcome == Outcome::Failed {
                return Err(format!("I10: {place}: message {id} had been refused"));
            }
            if places.insert(*id, *offset).is_some() {
                return Err(format!("I3: {place}: message {id} is there twice"));
            }
        }
        let lost: Vec<Sent> = by_id
            .values()
            .filter(|sent| matches!(sent.outcome, Outcome::Ok { offset } if places.get(&sent.id) != Some(&offset)))
            .copied()
            .collect();
        self.lost += lost.len();
        self.oldest_loss = self.oldest_loss.max(judge_loss(&lost, &by_id, &places, loss)?);
        in_order(&by_id, &places)?;

        let mut consumed = self.history.consumed.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(loss, Loss::None) {
            // What was lost may be followed by others at the same places.
            self.placed.retain(|place, _| found.contains_key(place));
            consumed.retain(|place, _| found.contains_key(place));
        }
        let consumed = consumed.iter().map(|(place, (id, _))| (place, id));
        for (place, id) in self.placed.iter().chain(consumed) {
            if found.get(place) != Some(id) {
                let now = found.get(place);
                return Err(format!("I3: {place:?} held message {id} once, and now {now:?}"));
            }
        }
        // A message that was lost with good reason must not come back later.
        for sent in sends.iter_mut().filter(|sent| !places.contains_key(&sent.id)) {
            if sent.outcome != Outcome::Failed {
                sent.outcome = Outcome::Failed;
            }
        }
        self.placed = found;
        Ok(places.len())
    }
}

/// I4 by the way: offsets are dense from 0 on, because each pull must go on where the last ended.
fn read_all(address: &str) -> io::Result<BTreeMap<(u32, u64), u64>> {
    let mut wire = Wire::open(address)?;
    let mut found = BTreeMap::new();
    for queue in 0..QUEUES {
        let mut next = 0;
        loop {
            let ids = wire.pull(queue, next)?;
            if ids.is_empty() {
                break;
            }
            for id in ids {
                found.insert((queue, next), id);
                next += 1;
            }
        }
    }
    Ok(found)
}

/// I1 and I6. Answers the age of the oldest loss.
fn judge_loss(
    lost: &[Sent],
    sends: &BTreeMap<u64, Sent>,
    places: &BTreeMap<u64, u64>,
    loss: Loss,
) -> Result<Duration, String> {
    let Some(first) = lost.iter().min_by_key(|sent| sent.ended) else {
        return Ok(Duration::ZERO);
    };
    let (cut, window) = match loss {
        Loss::None => {
            let count = lost.len();
            return Err(format!("I1: {count} answered messages are lost, the first {first:?}"));
        }
        Loss::Reported => return Ok(Duration::ZERO),
        Loss::Suffix { cut, window } => (cut, window),
    };
    let age = cut.saturating_duration_since(first.ended);
    if age > window {
        return Err(format!("I6: {first:?} is lost, answered {age:?} before the cut"));
    }
    let later =
        sends.values().find(|sent| places.contains_key(&sent.id) && sent.begun > first.ended);
    match later {
        Some(later) => Err(format!("I6: {first:?} is lost, and the later {later:?} is there")),
        None => Ok(age),
    }
}

/// I5: what one producer sent to one queue lies there in the order of sending.
fn in_order(sends: &BTreeMap<u64, Sent>, places: &BTreeMap<u64, u64>) -> Result<(), String> {
    let mut last = BTreeMap::new();
    // Ids of one producer ascend.
    for sent in sends.values() {
        if let Some(offset) = places.get(&sent.id)
            && let Some((id, before)) = last.insert((sent.producer, sent.queue), (sent.id, *offset))
            && before >= *offset
        {
            return Err(format!(
                "I5: message {id} lies at {before}, the later {sent:?} at {offset}"
            ));
        }
    }
    Ok(())
}
