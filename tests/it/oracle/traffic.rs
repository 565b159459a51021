use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{History, Outcome, QUEUES, Sent, Wire};

/// Producers that send one message after the other, and a consumer that reads along.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How many producers there are.
pub(crate) const PRODUCERS: usize = 4;

impl Traffic {
    pub(crate) fn start(address: &str, history: &Arc<History>, next_id: &Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for producer in 0..PRODUCERS {
            let (address, history) = (address.to_owned(), Arc::clone(history));
            let (stop, next_id) = (Arc::clone(&stop), Arc::clone(next_id));
            threads.push(thread::spawn(move || {
                produce(producer, &address, &history, &stop, &next_id);
            }));
        }
        let (address, history) = (address.to_owned(), Arc::clone(history));
        let stopped = Arc::clone(&stop);
        threads.push(thread::spawn(move || consume(&address, &history, &stopped)));
        Self { stop, threads }
    }

    /// Waits until all have seen that they are to stop.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            thread.join().expect("traffic does not panic");
        }
    }
}

fn produce(
    producer: usize,
    address: &str,
    history: &History,
    stop: &AtomicBool,
    next_id: &AtomicU64,
) {
    let mut wire = None;
    while !stop.load(Ordering::Acquire) {
        let Some(open) = connected(&mut wire, address) else {
            continue;
        };
        let id = next_id.fetch_add(1, Ordering::Relaxed);
        let queue = (id.wrapping_mul(0x9E37_79B9) >> 16) as u32 % QUEUES;
        let begun = Instant::now();
        let answered = open.send(id, queue);
        let outcome = *answered.as_ref().unwrap_or(&Outcome::Unknown);
        history.note(Sent { id, producer, queue, begun, ended: Instant::now(), outcome });
        if answered.is_err() {
            wire = None;
        } else if !matches!(outcome, Outcome::Ok { .. }) {
            rest();
        }
    }
}

fn consume(address: &str, history: &History, stop: &AtomicBool) {
    let mut next = [0u64; QUEUES as usize];
    let mut wire = None;
    while !stop.load(Ordering::Acquire) {
        let Some(open) = connected(&mut wire, address) else {
            continue;
        };
        let mut idle = true;
        for queue in 0..QUEUES {
            let next = &mut next[queue as usize];
            let Ok(ids) = open.pull(queue, *next) else {
                wire = None;
                break;
            };
            for id in ids {
                history.see(queue, *next, id);
                *next += 1;
                idle = false;
            }
        }
        if idle {
            rest();
        }
    }
}

/// The connection, made if there is none; rests where that fails.
fn connected<'w>(wire: &'w mut Option<Wire>, address: &str) -> Option<&'w mut Wire> {
    if wire.is_none() {
        *wire = Wire::open(address).ok();
    }
    if wire.is_none() {
        rest();
    }
    wire.as_mut()
}

fn rest() {
    thread::park_timeout(Duration::from_millis(5));
}
