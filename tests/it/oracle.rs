//! The judge of a broker: it keeps the history of every send outside of the broker's process, and
//! compares it with what the broker gives back after whatever happened to it.
//!
//! A message's body follows from its id, so content is checked without being kept. What a send came
//! to is *ok*, *failed* (certainly not stored) or *unknown*; an unknown message may be there or not.

mod judge; // what must hold
mod traffic; // producers and a consumer
mod wire; // one connection to a broker

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

pub(crate) use judge::{Loss, Oracle};
pub(crate) use traffic::{PRODUCERS, Traffic};
pub(crate) use wire::Wire;

pub(crate) const TOPIC: &str = "oracle";
pub(crate) const QUEUES: u32 = 4;

/// What became of a send, as far as its producer was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Stored as promised, at this queue offset.
    Ok { offset: u64 },
    /// Refused, so it must never appear.
    Failed,
    /// No answer, or one that promises nothing.
    Unknown,
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) producer: usize,
    pub(crate) queue: u32,
    pub(crate) begun: Instant,
    pub(crate) ended: Instant,
    pub(crate) outcome: Outcome,
}

/// All sends so far, and what a consumer saw on the way.
#[derive(Debug, Default)]
pub(crate) struct History {
    sends: Mutex<Vec<Sent>>,
    /// By queue and offset: the id, and when.
    consumed: Mutex<BTreeMap<(u32, u64), (u64, Instant)>>,
}

impl History {
    fn note(&self, sent: Sent) {
        self.sends.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }

    fn see(&self, queue: u32, offset: u64, id: u64) {
        let mut consumed = self.consumed.lock().unwrap_or_else(PoisonError::into_inner);
        consumed.insert((queue, offset), (id, Instant::now()));
    }

    /// Takes answers that came after `cut` for unknown: a machine without power gives none. (ext4
    /// lets an `fdatasync` that meets its shutdown succeed without its data.)
    pub(crate) fn doubt_after(&self, cut: Instant) {
        let mut sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        for sent in sends.iter_mut().filter(|sent| sent.ended > cut) {
            sent.outcome = Outcome::Unknown;
        }
        let mut consumed = self.consumed.lock().unwrap_or_else(PoisonError::into_inner);
        consumed.retain(|_, (_, seen)| *seen <= cut);
    }

    /// How many sends came to what `which` asks for.
    pub(crate) fn count(&self, which: impl Fn(&Sent) -> bool) -> usize {
        let sends = self.sends.lock().unwrap_or_else(PoisonError::into_inner);
        sends.iter().filter(|sent| which(sent)).count()
    }
}

/// The body of a message: its id, and as many bytes more as the id says.
pub(crate) fn payload(id: u64) -> Vec<u8> {
    let mut state = id.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut body = id.to_be_bytes().to_vec();
    for _ in 0..state % 61 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        body.extend_from_slice(&state.to_be_bytes());
    }
    body
}
