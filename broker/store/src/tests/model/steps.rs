use millrace_disk::Fault;

use super::super::Odds;
use super::expected::{Message, QUEUES};

/// One thing that happens to a store. A step says all about itself, so that a failing life can be
/// shortened by leaving steps out.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Stages a group and leaves it at that.
    Stage(Vec<Message>),
    /// Writes everything staged.
    Commit,
    /// Stages a group and writes it.
    Append(Vec<Message>),
    Flush,
    Housekeep,
    /// Reads all queues up to both watermarks, in pieces of so many messages.
    Read(usize),
    /// Finds messages by key.
    Find(u64),
    /// Removes so many of the oldest segments, as far as they are durable.
    Remove(usize),
    /// Hides the first half of what this one of the queues has.
    Hide(usize),
    /// Hands over a snapshot of the state.
    Snapshot(u64),
    /// Something will go wrong.
    Fail(Fault),
    /// The disk has room for so many bytes from now on.
    Room(u64),
    /// Closes the store, and opens it again after a power cut.
    Close,
    /// Ends the process, and starts again; the first start meets with this.
    Kill(Option<Fault>),
    /// The same, but power fails.
    PowerCut(Option<Fault>),
    /// Damages a copy of the disk and judges what a start makes of it.
    Damage(u64),
}

const PLENTY: u64 = 1 << 30;

/// Which kinds of trouble a life knows. Each on its own half of the time, so that none hides
/// another for ever.
struct Troubles {
    errors: bool,
    full: bool,
    cuts: bool,
    removal: bool,
    damage: bool,
}

/// A whole life, by its seed.
pub(super) fn steps(seed: u64) -> Vec<Step> {
    let mut odds = Odds(seed);
    let mut yes = || odds.below(2) == 0;
    let troubles =
        Troubles { errors: yes(), full: yes(), cuts: yes(), removal: yes(), damage: yes() };
    let mut id = 0;
    (0..50).map(|_| step(&mut odds, &troubles, &mut id)).collect()
}

/// A few groups, and then damage.
pub(super) fn damage(seed: u64) -> Vec<Step> {
    let (mut odds, mut id) = (Odds(seed), 0);
    let mut steps = Vec::new();
    for _ in 0..24 {
        steps.push(Step::Append(group(&mut odds, &mut id)));
        if odds.below(3) == 0 {
            steps.extend([Step::Flush, Step::Housekeep]);
        }
    }
    steps.extend((0..5).map(|_| Step::Damage(odds.next())));
    steps
}

fn step(odds: &mut Odds, troubles: &Troubles, id: &mut u64) -> Step {
    match odds.below(40) {
        0 | 1 => Step::Stage(group(odds, id)),
        2 => Step::Commit,
        3..=15 => Step::Append(group(odds, id)),
        16..=20 => Step::Flush,
        21 | 22 => Step::Housekeep,
        23 | 24 => Step::Read(1 + odds.below(7) as usize),
        25 if odds.below(3) == 0 => Step::Hide(odds.below(QUEUES.len() as u64) as usize),
        25 => Step::Find(odds.below(4)),
        26 if troubles.removal => Step::Remove(1 + odds.below(3) as usize),
        26 => Step::Snapshot(*id),
        27 | 28 if troubles.errors => Step::Fail(error(odds)),
        29 if troubles.full => Step::Room((8 + odds.below(40)) << 10),
        30 if troubles.full => Step::Room(PLENTY),
        31 | 32 if troubles.cuts => Step::Fail(Fault::PowerCut { after: odds.below(12) }),
        33 => Step::Close,
        34 | 35 => Step::Kill(at_start(odds, troubles)),
        36 | 37 => Step::PowerCut(at_start(odds, troubles)),
        38 | 39 if troubles.damage => Step::Damage(odds.next()),
        _ => Step::Append(group(odds, id)),
    }
}

/// Mostly few messages, of sizes that repeat, so that what is left of one life lines up with what
/// the next one writes.
fn group(odds: &mut Odds, id: &mut u64) -> Vec<Message> {
    let len = if odds.below(2) == 0 { 1 } else { 1 + odds.below(4) };
    (0..len)
        .map(|_| {
            *id += 1;
            let sizes = [8, 8, 8, 40, 40, 100, 300, 700];
            Message {
                id: *id,
                topic: odds.below(2) as usize,
                queue: odds.below(2) as u32,
                len: sizes[odds.below(sizes.len() as u64) as usize],
                lite: odds.below(8) == 0,
            }
        })
        .collect()
}

fn error(odds: &mut Odds) -> Fault {
    let nth = 1 + odds.below(4);
    match odds.below(7) {
        0 => Fault::FailWrite { nth },
        1 => Fault::FullWrite { nth },
        2 | 3 => Fault::FailSync { nth },
        4 => Fault::FailSyncDir { nth },
        5 => Fault::FailRename { nth },
        _ => Fault::FailOperation { nth },
    }
}

fn at_start(odds: &mut Odds, troubles: &Troubles) -> Option<Fault> {
    match odds.below(4) {
        0 if troubles.errors => Some(Fault::FailOperation { nth: 1 + odds.below(14) }),
        1 if troubles.errors => Some(Fault::FailSync { nth: 1 + odds.below(4) }),
        2 if troubles.cuts => Some(Fault::PowerCut { after: odds.below(14) }),
        _ => None,
    }
}
