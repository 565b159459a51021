use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_config::{Pipeline, StepSpec, WasmSpec};
use millrace_disk::{Access, Disk};
use millrace_wasm_host::{Filter, Host, Kind, Limits, LoadError, Module, StartError};

use crate::error::RunError;
use crate::steps::Wasm;

/// The modules of a pipeline's `wasm` steps by the step's number, read and compiled before the first
/// record.
#[derive(Clone, Default)]
pub struct Filters(Arc<BTreeMap<usize, Arc<Module>>>);

/// A module of a pipeline cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {source}", .module.display())]
pub struct FilterError {
    /// The module's file.
    pub module: PathBuf,
    /// Where the pipeline file names it, in bytes.
    pub at: Range<usize>,
    /// Why not.
    pub source: FilterFault,
}

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterFault {
    /// It cannot be read.
    #[error("{0}")]
    Unread(#[from] io::Error),
    /// It is no filter for this version, or breaks a limit.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not take its parameters, or fails at once.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It may be good elsewhere.
    #[error(
        "it is a flat map, and another step makes several rows of a message already: a pipeline \
         does that once"
    )]
    Twice,
    /// It may be good before other sinks.
    #[error("it is a flat map, and the sink `{0}` cannot tell several rows of one message apart")]
    NotApart(String),
}

impl FilterError {
    fn new(spec: &WasmSpec, source: FilterFault) -> Self {
        Self { module: spec.module.clone(), at: spec.module_at.clone(), source }
    }
}

impl Filters {
    /// Reads and compiles the modules of a pipeline, and starts each once, so that mistakes come
    /// to light before the first record: all of them.
    pub fn load(pipeline: &Pipeline, disk: &dyn Disk) -> Result<Self, Vec<FilterError>> {
        let specs = pipeline.steps.iter().enumerate().filter_map(|(step, spec)| match spec {
            StepSpec::Wasm(spec) => Some((step, spec)),
            _ => None,
        });
        let (modules, mut errors) = modules(specs, disk);
        // One step may do that, wherever a `split` stands.
        let has_split = pipeline.steps.iter().any(|step| matches!(step, StepSpec::Split(_)));
        let flat_maps = pipeline.steps.iter().enumerate().filter_map(|(step, spec)| match spec {
            StepSpec::Wasm(spec) => {
                let is_one = modules.get(&step).is_some_and(|one| one.kind() == Kind::FlatMap);
                is_one.then_some(spec)
            }
            _ => None,
        });
        let flat_maps: Vec<&WasmSpec> = flat_maps.collect();
        let whole = pipeline.sinks.iter().find(|sink| !sink.kind.takes_pieces());
        if let (Some(sink), Some(spec)) = (whole, flat_maps.first()) {
            errors.push(FilterError::new(spec, FilterFault::NotApart(sink.name.clone())));
        }
        let too_many = flat_maps.into_iter().skip(usize::from(!has_split));
        errors.extend(too_many.map(|spec| FilterError::new(spec, FilterFault::Twice)));
        if errors.is_empty() { Ok(Self(Arc::new(modules))) } else { Err(errors) }
    }

    /// What [`Filters::load`] would find wrong with the modules of some steps.
    pub fn check(specs: &[WasmSpec], disk: &dyn Disk) -> Vec<FilterError> {
        modules(specs.iter().enumerate(), disk).1
    }

    /// The step of this number, for one sink. `bytes_max` is what it may make of one batch.
    pub(crate) fn step(
        &self,
        number: usize,
        spec: &WasmSpec,
        bytes_max: u64,
    ) -> Result<Wasm, RunError> {
        let module = self.0.get(&number).ok_or_else(|| {
            RunError::Setup(format!("the module of steps[{number}] wasm was not loaded"))
        })?;
        let manifest = module.manifest();
        let hash = module.hash().to_string();
        let (filter, version) = (&manifest.name, &manifest.version);
        let name = format!("steps[{number}] wasm {filter} {version} {}", &hash[..12]);
        let filter = Filter::start(Arc::clone(module), spec.params.clone())
            .map_err(|error| RunError::Setup(format!("{name}: {error}")))?;
        Ok(Wasm::new(name, filter, bytes_max))
    }

    /// The modules that may change what is in a message, in the order of the steps.
    pub(crate) fn maps<'a>(
        &'a self,
        pipeline: &'a Pipeline,
    ) -> impl Iterator<Item = (&'a WasmSpec, &'a Module)> {
        self.0.iter().filter_map(|(number, module)| match pipeline.steps.get(*number) {
            Some(StepSpec::Wasm(spec)) if module.kind() != Kind::Filter => Some((spec, &**module)),
            _ => None,
        })
    }

    /// Whether some step may make several rows of one message.
    pub fn take_apart(&self, pipeline: &Pipeline) -> bool {
        pipeline.steps.iter().any(|step| matches!(step, StepSpec::Split(_)))
            || self.0.values().any(|module| module.kind() == Kind::FlatMap)
    }

    /// The pipeline with a fingerprint that says which modules it runs.
    pub(crate) fn seal(&self, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        if self.0.is_empty() {
            return pipeline;
        }
        let mut sealed = Pipeline::clone(&pipeline);
        for module in self.0.values() {
            let part = module.hash().prefix();
            sealed.fingerprint = sealed.fingerprint.rotate_left(1) ^ part;
        }
        Arc::new(sealed)
    }
}

fn modules<'a>(
    specs: impl Iterator<Item = (usize, &'a WasmSpec)>,
    disk: &dyn Disk,
) -> (BTreeMap<usize, Arc<Module>>, Vec<FilterError>) {
    let mut host = None;
    let mut modules = BTreeMap::new();
    let mut errors = Vec::new();
    for (step, spec) in specs {
        let host = host.get_or_insert_with(|| Host::new(Limits::default()));
        match load(host, spec, disk) {
            Ok(module) => drop(modules.insert(step, module)),
            Err(source) => {
                errors.push(FilterError::new(spec, source));
            }
        }
    }
    (modules, errors)
}

fn load(host: &Host, spec: &WasmSpec, disk: &dyn Disk) -> Result<Arc<Module>, FilterFault> {
    let bytes = read(&spec.module, disk, host.limits().module_bytes_max)?;
    let module = host.load(&bytes)?;
    Filter::start(Arc::clone(&module), spec.params.clone())?;
    Ok(module)
}

/// A module's bytes; one that is too long is not read.
fn read(path: &Path, disk: &dyn Disk, bytes_max: usize) -> Result<Vec<u8>, FilterFault> {
    let file = disk.open(path, Access::Read)?;
    let len = usize::try_from(file.size()?).unwrap_or(usize::MAX);
    if len > bytes_max {
        return Err(LoadError::TooLong { len, max: bytes_max }.into());
    }
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
