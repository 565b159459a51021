use millrace_disk::{Fault, SimDisk};
use millrace_types::{PhysicalOffset, QueueId, QueueOffset, TopicName};

use super::super::{Opened, draft, open};
use super::expected::{Group, LITE, Message, Model, QUEUES, Stored};
use super::steps::Step;
use super::{Lived, harm};
use crate::{AppendError, OpenError, StoreConfig, Watermarks};

/// A store, its disk, and what it has promised.
pub(super) struct Life {
    pub(super) disk: SimDisk,
    pub(super) config: StoreConfig,
    opened: Option<Opened>,
    /// Outlive the store, so that its last promise is known.
    marks: Watermarks,
    pub(super) model: Model,
    /// Every byte before it was durable once.
    promised: PhysicalOffset,
    /// How many messages each queue had when segments were last removed, all durable.
    ends: Vec<u64>,
    /// Something was made to fail, so operations may.
    troubled: bool,
    /// The disk is small.
    pub(super) narrow: bool,
    now_ms: i64,
    pub(super) lived: Lived,
}

/// Lives through the steps; an error says which promise is broken.
pub(super) fn live(seed: u64, steps: &[Step], config: &StoreConfig) -> Result<Lived, String> {
    let disk = SimDisk::new(seed);
    let config = StoreConfig { multi_dispatch: true, ..config.clone() };
    let opened = open(&disk, config.clone()).map_err(|error| error.to_string())?;
    let marks = opened.store.watermarks().clone();
    let mut life = Life {
        disk,
        config,
        opened: Some(opened),
        marks,
        model: Model::default(),
        promised: PhysicalOffset(0),
        ends: vec![0; QUEUES.len()],
        troubled: false,
        narrow: false,
        now_ms: 1_000,
        lived: Lived::default(),
    };
    for (number, step) in steps.iter().enumerate() {
        life.step(step).map_err(|broken| format!("step {number}, {step:?}: {broken}"))?;
    }
    life.step(&Step::PowerCut(None)).map_err(|broken| format!("at the end: {broken}"))?;
    Ok(life.lived)
}

impl Life {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Stage(group) => self.stage(group),
            Step::Commit => self.commit(),
            Step::Append(group) => self.stage(group).and_then(|()| self.commit()),
            Step::Flush => self.flush(),
            Step::Housekeep => {
                self.opened().flusher.housekeep();
                Ok(())
            }
            Step::Read(piece) => self.look(*piece),
            Step::Find(key) => self.find(*key),
            Step::Remove(count) => {
                self.remove(*count);
                self.look(3)
            }
            Step::Hide(queue) => {
                self.hide(*queue);
                self.look(3)
            }
            Step::Snapshot(next) => {
                let body = snapshot(*next);
                self.opened().store.keep_snapshot(QueueOffset(*next), body);
                Ok(())
            }
            Step::Fail(fault) => {
                self.troubled = true;
                self.disk.inject(fault.clone());
                Ok(())
            }
            Step::Room(bytes) => {
                (self.troubled, self.narrow) = (true, true);
                self.disk.inject(Fault::Capacity { bytes: *bytes });
                Ok(())
            }
            Step::Close => self.close(),
            Step::Kill(fault) => self.restart(false, fault.as_ref()),
            Step::PowerCut(fault) => self.restart(true, fault.as_ref()),
            Step::Damage(seed) => harm::harm(self, *seed),
        }
    }

    pub(super) fn opened(&mut self) -> &mut Opened {
        self.opened.as_mut().expect("open between the steps")
    }

    fn stage(&mut self, group: &[Message]) -> Result<(), String> {
        self.now_ms += group[0].id as i64 % 3;
        let mut lite_end = self.model.queue((LITE, 0), PhysicalOffset(u64::MAX)).len();
        let mut texts = Vec::new();
        for message in group {
            let mut text =
                format!("KEYS\u{1}{}\u{2}TAGS\u{1}t{}\u{2}", message.key(), message.id % 3);
            if message.lite {
                text = format!(
                    "INNER_MULTI_DISPATCH\u{1}{LITE}\u{2}INNER_MULTI_QUEUE_OFFSET\u{1}{lite_end}\u{2}{text}"
                );
                lite_end += 1;
            }
            texts.push((message.body(), text));
        }
        let (now_ms, troubled) = (self.now_ms, self.troubled);
        let store = &mut self.opened().store;
        let mut numbered = Vec::new();
        for (message, (body, properties)) in group.iter().zip(&texts) {
            let topic = TopicName::parse(message.topic()).map_err(|error| error.to_string())?;
            let queue_id = QueueId(message.queue);
            let draft = draft(message.topic(), queue_id, body, properties.as_bytes());
            numbered.push((store.queue(&topic, queue_id), draft));
        }
        let mut placed = Vec::new();
        match store.stage(&numbered, now_ms, &mut placed) {
            Ok(()) => {
                let end = store.staged_end();
                let places = group.iter().cloned().zip(placed);
                let stored = places.map(|(message, placed)| {
                    let (at, size) = (placed.physical_offset, placed.size);
                    Stored { message, at, size }
                });
                self.model.groups.push(Group { stored: stored.collect(), end });
                Ok(())
            }
            Err(AppendError::Poisoned | AppendError::DiskFull(_)) if troubled => Ok(()),
            Err(error) => Err(format!("refused: {error}")),
        }
    }

    fn commit(&mut self) -> Result<(), String> {
        let poisoned = self.marks.poisoned();
        match self.opened().store.commit() {
            Ok(_) if poisoned => Err("written although an earlier write had failed".into()),
            Err(error) if !self.troubled => Err(format!("not written: {error}")),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), String> {
        let poisoned = self.marks.poisoned();
        match self.opened().flusher.flush() {
            Ok(_) if poisoned => Err("flushed although an earlier write had failed".into()),
            Err(error) if !self.troubled => Err(format!("not flushed: {error}")),
            _ => Ok(()),
        }
    }

    /// What readers of both flush modes see.
    fn look(&mut self, piece: usize) -> Result<(), String> {
        if self.disk.is_cut() {
            return Ok(());
        }
        let (durable, appended) = (self.marks.durable(), self.marks.appended());
        let opened = self.opened.as_ref().expect("open between the steps");
        self.model.check(opened, durable, piece)?;
        self.model.check(opened, appended, piece)
    }

    fn find(&mut self, key: u64) -> Result<(), String> {
        if self.disk.is_cut() {
            return Ok(());
        }
        let (durable, appended) = (self.marks.durable(), self.marks.appended());
        let opened = self.opened.as_ref().expect("open between the steps");
        self.model.check_key(opened, key, durable)?;
        self.model.check_key(opened, key, appended)
    }

    fn remove(&mut self, count: usize) {
        let durable = self.marks.durable();
        let spans = self.opened().store.segments();
        let Some(to) = spans.iter().take(count).map(|span| span.1).rfind(|to| *to <= durable)
        else {
            return;
        };
        let ends = QUEUES.map(|queue| self.model.queue(queue, durable).len() as u64);
        self.opened().store.remove_before(to);
        self.ends = ends.to_vec();
        self.model.removed_to = self.opened().store.log_min();
    }

    /// Hides the first half of what a queue has so far.
    fn hide(&mut self, queue: usize) {
        let (topic, id) = QUEUES[queue];
        let all = self.model.queue((topic, id), PhysicalOffset(u64::MAX));
        let Some(to) = all.get(all.len() / 2).map(|stored| stored.at) else { return };
        let to = to.max(self.model.hidden[queue]);
        if let Some(no) = self.opened().store.find_queue(topic, QueueId(id)) {
            self.opened().store.hide_below(no, to);
            self.model.hidden[queue] = to;
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let Opened { store, flusher, .. } = self.opened.take().expect("open between the steps");
        let closed = store.close(flusher);
        if let Err(error) = &closed
            && !self.troubled
        {
            return Err(format!("not closed: {error}"));
        }
        self.end(true, None)?;
        if closed.is_ok() && !self.opened().found.clean {
            return Err("it was closed, and the start does not know".into());
        }
        Ok(())
    }

    fn restart(&mut self, power_cut: bool, fault: Option<&Fault>) -> Result<(), String> {
        self.opened = None;
        self.end(power_cut, fault)
    }

    /// The process is gone; starts again, and judges what is there.
    fn end(&mut self, power_cut: bool, fault: Option<&Fault>) -> Result<(), String> {
        self.promised = self.promised.max(self.marks.durable());
        let mut at_least = self.promised;
        let cut = power_cut || self.disk.is_cut();
        self.disk = if cut {
            self.disk.power_cut()
        } else {
            at_least = self.marks.appended();
            self.disk.kill()
        };
        if let Some(fault) = fault {
            self.disk.inject(fault.clone());
        }
        let mut excused = fault.is_some();
        let opened = loop {
            self.lived.starts += 1;
            match open(&self.disk, self.config.clone()) {
                Ok(opened) => break opened,
                Err(_) if self.disk.is_cut() => {
                    at_least = self.promised;
                    self.disk = self.disk.power_cut();
                }
                // What lies behind the end is not given up for want of room.
                Err(OpenError::TailNotCopied { .. }) if self.narrow => self.widen(),
                Err(_) if excused => excused = false,
                Err(_) if self.narrow => self.widen(),
                Err(error) => return Err(format!("the start failed by itself: {error}")),
            }
        };
        self.troubled = excused || self.narrow;
        self.take_over(opened, at_least)?;
        self.look(4)?;
        self.find(1)
    }

    fn widen(&mut self) {
        self.narrow = false;
        self.disk.inject(Fault::Capacity { bytes: 1 << 30 });
    }

    /// Judges what a start found.
    fn take_over(&mut self, mut opened: Opened, at_least: PhysicalOffset) -> Result<(), String> {
        self.raise_ends(&mut opened);
        check_snapshots(&mut opened)?;
        let found = &opened.found;
        let lost = self.model.groups.iter().find(|group| group.end > found.end);
        if let Some(lost) = lost.filter(|group| group.end <= at_least) {
            return Err(format!("the log ends at {}, but {lost:?} was promised", found.end));
        }
        if !found.damage.is_empty() {
            return Err(format!("damage without cause: {:?}", found.damage));
        }
        let min = opened.store.log_min();
        if min > self.model.removed_to {
            return Err(format!("the log starts at {min}, not at {}", self.model.removed_to));
        }
        self.model.cut(found.end);
        self.model.hidden = Default::default();
        self.marks = opened.store.watermarks().clone();
        self.promised = self.marks.durable();
        self.opened = Some(opened);
        Ok(())
    }

    /// Whoever removes segments knows how the queues go on; the engine keeps it in the log.
    pub(super) fn raise_ends(&self, opened: &mut Opened) {
        for ((topic, queue), end) in QUEUES.into_iter().zip(&self.ends) {
            let topic = TopicName::parse(topic).expect("a legal name");
            let no = opened.store.queue(&topic, QueueId(queue));
            opened.store.raise_end(no, QueueOffset(*end));
        }
    }
}

/// The state that a snapshot of this name has.
fn snapshot(next: u64) -> Vec<u8> {
    next.to_be_bytes().repeat(10)
}

/// A snapshot is what was handed over, or it is not there.
pub(super) fn check_snapshots(opened: &mut Opened) -> Result<(), String> {
    let found = opened.store.take_snapshots();
    match found.iter().find(|found| found.body != snapshot(found.next.0)) {
        Some(wrong) => Err(format!("{} is not what was kept", wrong.path.display())),
        None => Ok(()),
    }
}
