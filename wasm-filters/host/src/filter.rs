use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use crate::batch::Batch;
use crate::decisions::{Decisions, Verdict};
use crate::error::{Fault, StartError};
use crate::instance::{Ended, Instance};
use crate::module::Module;
use crate::params;

/// Instances that wait for the next batch; as many as there may be workers at once.
const IDLE_MAX: usize = 8;
/// The most records of one call.
const CALL_RECORDS_MAX: usize = 4096;
/// Deadlines that one batch may take.
const DEADLINES: u32 = 2;

/// A module with its parameters, ready for batches from any thread.
///
/// A record of which the module itself says that it cannot handle it fails at once. Otherwise one
/// fails only if it fails alone, in an instance that has seen no other: whatever one record does to
/// a module, its neighbours get the verdict that they would get without it. So when a call fails,
/// the record at which the module says it was is tried alone, then the others together, and if that
/// fails as well, each one alone.
pub struct Filter {
    module: Arc<Module>,
    params: Map<String, Value>,
    idle: Mutex<Vec<Instance>>,
    /// How many records one call gets: fewer while they take so long that a call is late though no
    /// record is.
    call_records: AtomicUsize,
}

impl Filter {
    /// Starts a module, so that mistakes in parameters come to light before the first record.
    pub fn start(module: Arc<Module>, params: Map<String, Value>) -> Result<Self, StartError> {
        if let Some((name, reason)) = params::mistake(module.manifest(), &params) {
            return Err(StartError::Params { name, reason });
        }
        let filter = Self {
            module,
            params,
            idle: Mutex::default(),
            call_records: AtomicUsize::new(CALL_RECORDS_MAX),
        };
        let instance = filter.fresh_instance(filter.module.limits().deadline_ticks)?;
        filter.put_back(instance);
        Ok(filter)
    }

    /// What it runs.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Decides about records. That takes two deadlines at most, with the starts of fresh instances,
    /// so a batch in which the module is late more than once comes back with records that were not
    /// reached. So does one for which the module puts out more than one call may.
    ///
    /// # Errors
    /// If the module could not be started once more after a fault.
    pub fn run(&self, batch: &Batch<'_>) -> Result<Decisions, StartError> {
        self.run_counted(batch).map(|(decisions, _)| decisions)
    }

    /// Also gives the ticks that the module was seen running at.
    pub(crate) fn run_counted(&self, batch: &Batch<'_>) -> Result<(Decisions, u32), StartError> {
        let ticks = DEADLINES * self.module.limits().deadline_ticks;
        let mut run = Run {
            filter: self,
            batch,
            instance: self.idle_instance(),
            has_decided: false,
            ticks_left: ticks,
            decisions: Decisions::not_reached(batch.records.len()),
        };
        run.all()?;
        let Run { instance, mut decisions, ticks_left, .. } = run;
        if let Some(instance) = instance {
            self.put_back(instance);
        }
        decisions.finish();
        Ok((decisions, ticks - ticks_left))
    }

    /// An instance that waits, which may have seen other records.
    fn idle_instance(&self) -> Option<Instance> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn fresh_instance(&self, ticks: u32) -> Result<Instance, StartError> {
        Instance::start(&self.module, &self.params, ticks).map_err(|fault| {
            let name = self.module.manifest().name.clone();
            match fault {
                // Before the first record there is nothing else that it could refuse.
                Fault::Refused(reason) => StartError::Refused { name, reason },
                Fault::Trap(_) | Fault::Deadline { .. } | Fault::Contract(_) => {
                    StartError::Fault { name, fault }
                }
            }
        })
    }

    fn put_back(&self, instance: Instance) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX && instance.is_slim(&self.module) {
            idle.push(instance);
        }
    }
}

/// One batch on its way through a filter.
struct Run<'a> {
    filter: &'a Filter,
    batch: &'a Batch<'a>,
    instance: Option<Instance>,
    has_decided: bool,
    ticks_left: u32,
    decisions: Decisions,
}

/// Whether there is time for more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    Left,
    Over,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), StartError> {
        let rows: Vec<u32> = (0..self.batch.records.len() as u32).collect();
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (next, after) = rest.split_at(self.next_call(rest));
            rest = after;
            if self.some(next)? == Time::Over {
                break;
            }
        }
        Ok(())
    }

    /// How many of the records that come next go into one call: one at least.
    fn next_call(&self, rows: &[u32]) -> usize {
        let records_max = self.filter.call_records.load(Ordering::Relaxed);
        let bytes_max = self.filter.module.limits().call_bytes_max;
        let mut bytes = 0;
        let fits = |row: &&u32| {
            bytes += self.batch.records[**row as usize].encoded_len();
            bytes <= bytes_max
        };
        rows.iter().take(records_max).take_while(fits).count().max(1)
    }

    /// Decides about the records of one call.
    fn some(&mut self, rows: &[u32]) -> Result<Time, StartError> {
        if let [row] = rows {
            return self.alone(*row);
        }
        let ticks_before = self.ticks_left;
        let (fault, suspect) = match self.call(rows)? {
            Ok(()) => {
                self.call_went_well(rows.len(), ticks_before - self.ticks_left);
                return Ok(Time::Left);
            }
            Err(Ended::OutOfTime) => return Ok(Time::Over),
            Err(Ended::Fault { fault, at }) => (fault, at.map(|at| at as usize)),
        };
        let Some(suspect) = suspect else {
            self.call_was_late(&fault, rows.len());
            return self.each_alone(rows);
        };
        if self.alone(rows[suspect])? == Time::Over {
            return Ok(Time::Over);
        }
        if !self.has_failed(rows[suspect]) {
            self.call_was_late(&fault, rows.len());
        }
        let mut others = rows.to_vec();
        others.remove(suspect);
        match self.call(&others)? {
            Ok(()) => Ok(Time::Left),
            Err(Ended::OutOfTime) => Ok(Time::Over),
            Err(Ended::Fault { .. }) => self.each_alone(&others),
        }
    }

    fn each_alone(&mut self, rows: &[u32]) -> Result<Time, StartError> {
        for row in rows {
            if self.alone(*row)? == Time::Over {
                return Ok(Time::Over);
            }
        }
        Ok(Time::Left)
    }

    /// Decides about one record.
    fn alone(&mut self, row: u32) -> Result<Time, StartError> {
        loop {
            let is_fresh = self.instance.as_ref().is_none_or(Instance::is_fresh);
            match self.call(&[row])? {
                Ok(()) => return Ok(Time::Left),
                // If it fails in an instance that has seen others, that tells nothing about it.
                Err(Ended::Fault { .. }) if !is_fresh => {}
                Err(Ended::Fault { fault, .. }) => {
                    self.fail(row, fault);
                    return Ok(Time::Left);
                }
                Err(Ended::OutOfTime) => {
                    if !self.has_decided {
                        // Whatever took the rest of the time, the next run would come no further.
                        let ticks = self.filter.module.limits().deadline_ticks;
                        self.fail(row, Fault::Deadline { ticks });
                    }
                    return Ok(Time::Over);
                }
            }
        }
    }

    fn fail(&mut self, row: u32, fault: Fault) {
        self.has_decided = true;
        self.decisions.set(row, Verdict::Failed(Box::new(fault)));
    }

    fn has_failed(&self, row: u32) -> bool {
        matches!(self.decisions.verdicts()[row as usize], Verdict::Failed(_))
    }

    /// One call. After a fault the instance is gone, and the next call has a fresh one.
    fn call(&mut self, rows: &[u32]) -> Result<Result<(), Ended>, StartError> {
        let module = &self.filter.module;
        // Copying is not in the ticks, and somebody has to hold what all calls put out.
        if self.has_decided && self.decisions.output_bytes() >= module.limits().output_bytes_max {
            return Ok(Err(Ended::OutOfTime));
        }
        let deadline = module.limits().deadline_ticks;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => {
                let ticks = self.ticks_left.min(deadline);
                if ticks == 0 {
                    return Ok(Err(Ended::OutOfTime));
                }
                match self.filter.fresh_instance(ticks) {
                    Ok(instance) => {
                        self.ticks_left -= ticks - instance.ticks_left();
                        instance
                    }
                    Err(StartError::Fault { fault: Fault::Deadline { .. }, .. })
                        if ticks < deadline =>
                    {
                        self.ticks_left = 0;
                        return Ok(Err(Ended::OutOfTime));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let ticks = self.ticks_left.min(deadline);
        if ticks == 0 {
            self.instance = Some(instance);
            return Ok(Err(Ended::OutOfTime));
        }
        let ended = instance.call(module, self.batch, rows, ticks, &mut self.decisions);
        self.ticks_left -= ticks - instance.ticks_left();
        if ended.is_ok() {
            self.has_decided = true;
            self.instance = Some(instance);
        }
        Ok(ended)
    }

    fn call_was_late(&self, fault: &Fault, records: usize) {
        if matches!(fault, Fault::Deadline { .. }) {
            self.filter.call_records.store((records / 2).max(1), Ordering::Relaxed);
        }
    }

    fn call_went_well(&self, records: usize, ticks: u32) {
        let call_records = self.filter.call_records.load(Ordering::Relaxed);
        if records >= call_records && 4 * ticks <= self.filter.module.limits().deadline_ticks {
            let more = (2 * call_records).min(CALL_RECORDS_MAX);
            self.filter.call_records.store(more, Ordering::Relaxed);
        }
    }
}
