use serde_json::{Map, Value};
use wasmtime::{Memory, Store, TypedFunc, UpdateDeadline};

use crate::answer::{Answer, OUT_BYTES, UNDECIDED};
use crate::batch::Batch;
use crate::decisions::Decisions;
use crate::error::Fault;
use crate::manifest::Kind;
use crate::module::Module;
use crate::state::{Level, State};

/// A running copy of a module. After a fault it is thrown away: it could still be called, but
/// nobody knows what it would do.
pub(crate) struct Instance {
    store: Store<State>,
    memory: Memory,
    alloc: TypedFunc<(u32, u32), u32>,
    free: Option<TypedFunc<(u32, u32, u32), ()>>,
    call: TypedFunc<(u32, u32, u32), i32>,
    /// What the batch goes to, and what the answer comes from.
    batch: Buffer,
    answer: Buffer,
    /// Whether it has seen no record yet.
    is_fresh: bool,
}

/// A piece of the module's memory that it gave us.
#[derive(Clone, Copy, Default)]
struct Buffer {
    at: u32,
    len: u32,
}

/// How a call ended, if not with an answer.
pub(crate) enum Ended {
    /// Something went wrong. `at` is the record that the module says it was at, counted in what it
    /// was given.
    Fault { fault: Fault, at: Option<u32> },
    /// What was left for the batch was over, before a whole deadline was.
    OutOfTime,
}

/// What every buffer is aligned to.
const ALIGN: u32 = 8;
/// An instance that has grown beyond this part of its limit is not used again.
const RECYCLED_AT: usize = 2;

impl Instance {
    /// Starts a module, in at most so many ticks.
    pub(crate) fn start(
        module: &Module,
        params: &Map<String, Value>,
        ticks: u32,
    ) -> Result<Self, Fault> {
        let state = State::new(module.limits(), ticks);
        let mut store = Store::new(module.linked().module().engine(), state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut context| {
            let state = context.data_mut();
            state.ticks_left = state.ticks_left.saturating_sub(1);
            match state.ticks_left {
                0 => Err(wasmtime::Error::msg("out of ticks")),
                _ => Ok(UpdateDeadline::Continue(1)),
            }
        });
        let fault = |store: &Store<State>, error: wasmtime::Error| explain(store, module, &error);
        let instance = module.linked().instantiate(&mut store);
        let instance = instance.map_err(|error| fault(&store, error))?;
        let memory = instance.get_memory(&mut store, "memory").expect("exports were checked");
        store.data_mut().memory = Some(memory);
        let alloc = instance.get_typed_func(&mut store, "mr_alloc");
        let free = instance.get_typed_func(&mut store, "mr_free").ok();
        let call = instance.get_typed_func(&mut store, module.kind().export());
        let initialize = instance.get_typed_func::<(), ()>(&mut store, "_initialize").ok();
        let init = instance.get_typed_func::<(u32, u32), i32>(&mut store, "mr_init").ok();
        let progress = instance.get_global(&mut store, "mr_progress");
        let progress = progress.and_then(|cell| cell.get(&mut store).i32());
        store.data_mut().progress = progress.map(|at| at as u32);
        let mut started = Self {
            store,
            memory,
            alloc: alloc.expect("exports were checked"),
            free,
            call: call.expect("exports were checked"),
            batch: Buffer::default(),
            answer: Buffer::default(),
            is_fresh: true,
        };
        if let Some(initialize) = initialize {
            let ended = initialize.call(&mut started.store, ());
            ended.map_err(|error| fault(&started.store, error))?;
        }
        if let Some(init) = init {
            started.init(module, &init, params)?;
        }
        started.report(module);
        Ok(started)
    }

    fn init(
        &mut self,
        module: &Module,
        init: &TypedFunc<(u32, u32), i32>,
        params: &Map<String, Value>,
    ) -> Result<(), Fault> {
        let text = serde_json::to_string(params).expect("a map of JSON values is JSON");
        let buffer = self.allocate(module, Buffer::default(), text.len())?;
        self.part_mut(buffer, text.len())?.copy_from_slice(text.as_bytes());
        let done = init.call(&mut self.store, (buffer.at, text.len() as u32));
        let done = done.map_err(|error| explain(&self.store, module, &error))?;
        if done < 0 {
            return Err(Fault::Refused(self.reason(done)));
        }
        if let Some(free) = &self.free {
            let freed = free.call(&mut self.store, (buffer.at, buffer.len, ALIGN));
            freed.map_err(|error| explain(&self.store, module, &error))?;
        }
        Ok(())
    }

    /// Whether it has seen no record.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// What its start, or its last call, left of its ticks.
    pub(crate) fn ticks_left(&self) -> u32 {
        self.store.data().ticks_left
    }

    /// Whether it may be used for another batch.
    pub(crate) fn is_slim(&self, module: &Module) -> bool {
        self.memory.data_size(&self.store) <= module.limits().memory_bytes_max / RECYCLED_AT
    }

    /// Has the module decide about some records of a batch, in at most `ticks`. What it says goes
    /// into `decisions`, where nothing is changed unless all of it is good.
    pub(crate) fn call(
        &mut self,
        module: &Module,
        batch: &Batch<'_>,
        rows: &[u32],
        ticks: u32,
        decisions: &mut Decisions,
    ) -> Result<(), Ended> {
        let was_fresh = std::mem::replace(&mut self.is_fresh, false);
        let first = rows.first().map(|row| &batch.records[*row as usize]);
        let now_ms = first.map_or(0, |record| record.store_at_ms);
        let seed = first.map_or(0, |record| record.queue_offset as u64);
        self.store.data_mut().begin_call(ticks, now_ms, seed);
        // The next tick is the first one that counts: those since the last call are nobody's.
        self.store.set_epoch_deadline(1);
        let called = self.try_call(module, batch, rows, seed, decisions);
        let ended = called.map_err(|fault| match fault {
            Fault::Deadline { .. } if ticks < module.limits().deadline_ticks => Ended::OutOfTime,
            fault => Ended::Fault { fault, at: self.progress(rows.len()) },
        });
        // What fails beside others, or after others, is tried again and says the same again.
        let is_tried_again = matches!(ended, Err(Ended::Fault { .. }));
        if !is_tried_again || (was_fresh && rows.len() == 1) {
            self.report(module);
        }
        ended
    }

    fn try_call(
        &mut self,
        module: &Module,
        batch: &Batch<'_>,
        rows: &[u32],
        seed: u64,
        decisions: &mut Decisions,
    ) -> Result<(), Fault> {
        let len = batch.encoded_len(rows);
        if len > self.batch.len as usize {
            self.batch = self.allocate(module, self.batch, len)?;
        }
        let answer_len = rows.len().max(OUT_BYTES);
        if answer_len > self.answer.len as usize {
            self.answer = self.allocate(module, self.answer, answer_len)?;
        }
        batch.encode(rows, seed, self.part_mut(self.batch, len)?);
        let is_filter = module.kind() == Kind::Filter;
        let before = if is_filter { UNDECIDED } else { 0 };
        self.part_mut(self.answer, answer_len)?.fill(before);
        if let Some(cell) = self.store.data().progress {
            // A cell that is not in the memory tells nothing, and does no harm.
            let _ = self.memory.write(&mut self.store, cell as usize, &u32::MAX.to_le_bytes());
        }
        let arguments = (self.batch.at, len as u32, self.answer.at);
        let called = self.call.call(&mut self.store, arguments);
        let called = called.map_err(|error| explain(&self.store, module, &error))?;
        if called < 0 {
            return Err(Fault::Refused(self.reason(called)));
        }
        let answer = Answer {
            memory: self.memory.data(&self.store),
            rows,
            reasons: &self.store.data().reasons,
            kind: module.kind(),
            limits: module.limits(),
        };
        match is_filter {
            true => answer.of_filter(self.answer.at, called as u32, decisions),
            false => answer.of_map(self.answer.at, decisions),
        }
    }

    /// A buffer of at least `len` bytes; the old one is given back.
    fn allocate(&mut self, module: &Module, old: Buffer, len: usize) -> Result<Buffer, Fault> {
        if let (Some(free), true) = (&self.free, old.len > 0) {
            let freed = free.call(&mut self.store, (old.at, old.len, ALIGN));
            freed.map_err(|error| explain(&self.store, module, &error))?;
        }
        let too_long = || Fault::Contract(format!("{len} bytes are more than a module can hold"));
        let len = u32::try_from(len.next_power_of_two()).map_err(|_| too_long())?;
        let given = self.alloc.call(&mut self.store, (len, ALIGN));
        let at = given.map_err(|error| explain(&self.store, module, &error))?;
        if at == 0 || !at.is_multiple_of(ALIGN) {
            return Err(Fault::Contract(format!("`mr_alloc` gave the address {at}")));
        }
        let buffer = Buffer { at, len };
        self.part_mut(buffer, len as usize)?;
        Ok(buffer)
    }

    /// The first bytes of a buffer. Looked up anew each time: the module may have moved nothing,
    /// but its memory may have.
    fn part_mut(&mut self, buffer: Buffer, len: usize) -> Result<&mut [u8], Fault> {
        let at = buffer.at as usize;
        let part = self.memory.data_mut(&mut self.store).get_mut(at..at + len);
        part.ok_or_else(|| {
            let len = buffer.len;
            Fault::Contract(format!("`mr_alloc` gave {len} bytes at {at}, outside of its memory"))
        })
    }

    /// Which record the module says it was at.
    fn progress(&self, records: usize) -> Option<u32> {
        let cell = self.store.data().progress? as usize;
        let bytes = self.memory.data(&self.store).get(cell..cell.checked_add(4)?)?;
        let at = u32::from_le_bytes(bytes.try_into().ok()?);
        ((at as usize) < records).then_some(at)
    }

    fn reason(&self, code: i32) -> String {
        match self.store.data().reasons.last() {
            Some((_, reason)) => reason.clone(),
            None => format!("it gives the code {code} and no reason"),
        }
    }

    /// Passes on what the module logged.
    fn report(&mut self, module: &Module) {
        let name = module.manifest().name.as_str();
        let state = self.store.data_mut();
        for (level, line) in state.lines.drain(..) {
            match level {
                Level::Error => tracing::error!(filter = name, line, "a filter says"),
                Level::Warn => tracing::warn!(filter = name, line, "a filter says"),
                Level::Info => tracing::info!(filter = name, line, "a filter says"),
                Level::Debug => tracing::debug!(filter = name, line, "a filter says"),
            }
        }
        if state.lines_dropped > 0 {
            let lines = state.lines_dropped;
            tracing::warn!(filter = name, lines, "lines of a filter were left out");
        }
    }
}

/// What an error of wasmtime means. What the module logged last as an error, for instance the text
/// of a panic, says more than the trap itself.
fn explain(store: &Store<State>, module: &Module, error: &wasmtime::Error) -> Fault {
    let state = store.data();
    if state.ticks_left == 0 {
        return Fault::Deadline { ticks: module.limits().deadline_ticks };
    }
    let said = state.lines.iter().rev().find(|(level, _)| *level == Level::Error);
    let trap = match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{error:#}"),
    };
    Fault::Trap(match said {
        Some((_, said)) => format!("{trap}: {said}"),
        None => trap,
    })
}
