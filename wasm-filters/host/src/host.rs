use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::{Config, Engine, OptLevel};

use crate::error::LoadError;
use crate::hash::ModuleHash;
use crate::limits::Limits;
use crate::module::Module;
use crate::ticker::Ticker;

/// Compiles modules, and measures their time for as long as one of them is there. It keeps what it
/// compiled; who loads one module after the other lets it forget those that are not used any more.
pub struct Host {
    engine: Engine,
    limits: Arc<Limits>,
    modules: Mutex<BTreeMap<ModuleHash, Arc<Module>>>,
    ticker: Option<Arc<Ticker>>,
}

impl Host {
    /// A host whose ticks come from a thread of its own.
    pub fn new(limits: Limits) -> Self {
        let mut host = Self::without_clock(limits);
        host.ticker = Some(Arc::new(Ticker::start(&host.engine, host.limits.tick)));
        host
    }

    /// A host whose ticks are calls of [`Host::tick`], so that a test can replay a run.
    ///
    /// # Panics
    /// If this machine cannot run compiled modules.
    pub fn without_clock(limits: Limits) -> Self {
        let engine = Engine::new(&config()).expect("the settings suit every machine we build for");
        Self { engine, limits: Arc::new(limits), modules: Mutex::default(), ticker: None }
    }

    /// Lets the time of running modules go on by one tick.
    pub fn tick(&self) {
        self.engine.increment_epoch();
    }

    /// What modules may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Checks and compiles a module, or finds it among those that were compiled before. It may
    /// take seconds for a large one, so it has no place where records flow.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Module>, LoadError> {
        let (len, max) = (bytes.len(), self.limits.module_bytes_max);
        if len > max {
            return Err(LoadError::TooLong { len, max });
        }
        let hash = ModuleHash::of(bytes);
        let modules = || self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules().get(&hash) {
            return Ok(Arc::clone(module));
        }
        let ticker = self.ticker.as_ref();
        let module = Module::compile(&self.engine, bytes, hash, &self.limits, ticker)?;
        // Two at once may have compiled the same one; the first one counts.
        Ok(Arc::clone(modules().entry(hash).or_insert_with(|| Arc::new(module))))
    }

    /// Forgets the modules that nobody else has.
    pub fn forget_unused(&self) {
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.retain(|_, module| Arc::strong_count(module) > 1);
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_backtrace_max_frames(None)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false);
    config
}
