use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millrace_config::{Pipeline, Resolved, SinkSpec, StepSpec, WasmSpec};
use millrace_disk::{Access, Disk};
use millrace_wasm_host::{Filter, Host, Kind, Limits, LoadError, Module, StartError};

use crate::error::RunError;
use crate::steps::{Place, Wasm};
use crate::stop::Stop;

/// The modules of a pipeline's `wasm` steps, read and compiled before the first record.
#[derive(Clone, Default)]
pub struct Filters {
    /// Of the steps before all sinks, by number.
    shared: Arc<BTreeMap<usize, Arc<Module>>>,
    /// Of the steps of one sink each, by sink and number.
    own: Arc<BTreeMap<(String, usize), Arc<Module>>>,
    place: Place,
    stop: Stop,
}

/// Where a step stands: `steps[2]`, or `errors steps[0]` for one of the sink `errors` alone.
#[derive(Clone, Copy)]
pub(crate) struct StepAt<'a> {
    pub(crate) sink: Option<&'a str>,
    pub(crate) number: usize,
}

impl fmt::Display for StepAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sink) = self.sink {
            write!(f, "{sink} ")?;
        }
        write!(f, "steps[{}]", self.number)
    }
}

/// A module of a pipeline cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {source}", .module.display())]
pub struct FilterError {
    /// The module's file.
    pub module: PathBuf,
    /// Where the pipeline file names it, or the parameter that is wrong, in bytes.
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
    /// It may be good earlier.
    #[error(
        "it replaces messages, so it must stand before `set` and all that reads columns; here a \
         `{0}` comes before it"
    )]
    BehindColumns(&'static str),
    /// It may be good before all sinks.
    #[error(
        "it is a flat map, and stands in the `steps` of the sink `{0}`: all sinks count the same rows"
    )]
    OfOneSink(String),
}

impl FilterError {
    fn new(spec: &WasmSpec, source: FilterFault) -> Self {
        let at = match &source {
            FilterFault::Start(StartError::Params { name, .. }) => spec.at(name),
            // The module's own words, which usually name it.
            FilterFault::Start(StartError::Refused { reason, .. }) => {
                let mut names = reason.split('`').skip(1).step_by(2);
                spec.at(names.find(|name| spec.params.contains_key(*name)).unwrap_or_default())
            }
            _ => &spec.module_at,
        };
        Self { module: spec.module.clone(), at: at.clone(), source }
    }
}

impl Filters {
    /// Reads and compiles the modules of a pipeline, and starts each once, so that mistakes come
    /// to light before the first record: all of them.
    pub fn load(pipeline: &Pipeline, disk: &dyn Disk) -> Result<Self, Vec<FilterError>> {
        let mut loader = Loader { disk, host: None, errors: Vec::new() };
        let shared = loader.all(wasm(&pipeline.steps));
        let of_sink = |sink: &SinkSpec| {
            let modules = loader.all(wasm(&sink.steps));
            for (step, spec) in wasm(&sink.steps) {
                if modules.get(&step).is_some_and(|module| module.kind() == Kind::FlatMap) {
                    let fault = FilterFault::OfOneSink(sink.name.clone());
                    loader.errors.push(FilterError::new(spec, fault));
                }
            }
            let name = sink.name.clone();
            modules.into_iter().map(move |(step, module)| ((name.clone(), step), module))
        };
        let own: BTreeMap<(String, usize), Arc<Module>> =
            pipeline.sinks.iter().flat_map(of_sink).collect();
        let mut errors = loader.errors;
        // One step may do that, wherever a `split` stands.
        let has_split = pipeline.steps.iter().any(|step| matches!(step, StepSpec::Split(_)));
        let is_flat_map = |step| {
            let module: Option<&Arc<Module>> = shared.get(&step);
            module.is_some_and(|module| module.kind() == Kind::FlatMap)
        };
        let flat_maps = wasm(&pipeline.steps).filter(|(step, _)| is_flat_map(*step));
        let flat_maps: Vec<&WasmSpec> = flat_maps.map(|(_, spec)| spec).collect();
        let whole = pipeline.sinks.iter().find(|sink| !sink.kind.takes_pieces());
        if let (Some(sink), Some(spec)) = (whole, flat_maps.first()) {
            errors.push(FilterError::new(spec, FilterFault::NotApart(sink.name.clone())));
        }
        let too_many = flat_maps.into_iter().skip(usize::from(!has_split));
        errors.extend(too_many.map(|spec| FilterError::new(spec, FilterFault::Twice)));
        let mut behind = None;
        behind_columns(&pipeline.steps, &mut behind, |step| shared.get(&step), &mut errors);
        for sink in &pipeline.sinks {
            let reads = sink.where_.as_ref().is_some_and(Resolved::needs_columns);
            let mut behind = behind.or(reads.then_some("where"));
            let module = |step| own.get(&(sink.name.clone(), step));
            behind_columns(&sink.steps, &mut behind, module, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self { shared: Arc::new(shared), own: Arc::new(own), ..Self::default() })
    }

    /// One module, of a step of one sink alone.
    #[cfg(test)]
    pub(crate) fn of_sink(sink: &str, number: usize, module: Arc<Module>) -> Self {
        let own = BTreeMap::from([((sink.to_owned(), number), module)]);
        Self { own: Arc::new(own), ..Self::default() }
    }

    /// The same modules on the thread that polls the run, so that a simulation goes the same way each
    /// time. Everything else waits for them there.
    #[must_use]
    pub fn on_one_thread(&self) -> Self {
        Self { place: Place::Here, ..self.clone() }
    }

    /// The same modules in steps that a stop ends.
    pub(crate) fn until(&self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self.clone() }
    }

    /// Where chains of these steps run.
    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// What [`Filters::load`] would find wrong with the modules of some steps.
    pub fn check(specs: &[WasmSpec], disk: &dyn Disk) -> Vec<FilterError> {
        let mut loader = Loader { disk, host: None, errors: Vec::new() };
        loader.all(specs.iter().enumerate());
        loader.errors
    }

    /// A step for one sink. `bytes_max` is what it may make of one batch.
    pub(crate) fn step(
        &self,
        at: StepAt<'_>,
        spec: &WasmSpec,
        bytes_max: u64,
    ) -> Result<Wasm, RunError> {
        let module = match at.sink {
            None => self.shared.get(&at.number),
            Some(sink) => self.own.get(&(sink.to_owned(), at.number)),
        };
        let module = module
            .ok_or_else(|| RunError::Setup(format!("the module of {at} wasm was not loaded")))?;
        let manifest = module.manifest();
        let hash = module.hash().to_string();
        let (filter, version) = (&manifest.name, &manifest.version);
        let name = format!("{at} wasm {filter} {version} {}", &hash[..12]);
        let filter = Filter::start(Arc::clone(module), spec.params.clone())
            .map_err(|error| RunError::Setup(format!("{name}: {error}")))?;
        Ok(Wasm::new(name, filter, bytes_max, self.stop.clone()))
    }

    /// The modules before a sink that may change what is in a message, in the order of the steps.
    pub(crate) fn maps<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        sink: &'a SinkSpec,
    ) -> impl Iterator<Item = (&'a WasmSpec, &'a Module)> {
        let shared = wasm(&pipeline.steps).map(|(step, spec)| (spec, self.shared.get(&step)));
        let own = wasm(&sink.steps);
        let own = own.map(|(step, spec)| (spec, self.own.get(&(sink.name.clone(), step))));
        shared.chain(own).filter_map(|(spec, module)| {
            let module = module.filter(|module| module.kind() != Kind::Filter)?;
            Some((spec, &**module))
        })
    }

    /// Whether some step may make several rows of one message.
    pub fn take_apart(&self, pipeline: &Pipeline) -> bool {
        pipeline.steps.iter().any(|step| matches!(step, StepSpec::Split(_)))
            || self.shared.values().any(|module| module.kind() == Kind::FlatMap)
    }

    /// The pipeline with a fingerprint that says which modules it runs.
    pub(crate) fn seal(&self, pipeline: Arc<Pipeline>) -> Arc<Pipeline> {
        if self.shared.is_empty() && self.own.is_empty() {
            return pipeline;
        }
        let mut sealed = Pipeline::clone(&pipeline);
        for module in self.shared.values().chain(self.own.values()) {
            let part = module.hash().prefix();
            sealed.fingerprint = sealed.fingerprint.rotate_left(1) ^ part;
        }
        Arc::new(sealed)
    }
}

/// Refuses modules that replace messages behind what needs columns of these: what `behind` names,
/// or one of the steps, which it names from then on.
fn behind_columns<'a>(
    steps: &[StepSpec],
    behind: &mut Option<&'static str>,
    module: impl Fn(usize) -> Option<&'a Arc<Module>>,
    errors: &mut Vec<FilterError>,
) {
    for (number, step) in steps.iter().enumerate() {
        *behind = behind.or(step.with_columns());
        if let (StepSpec::Wasm(spec), Some(before)) = (step, *behind)
            && module(number).is_some_and(|module| module.kind() != Kind::Filter)
        {
            errors.push(FilterError::new(spec, FilterFault::BehindColumns(before)));
        }
    }
}

/// The `wasm` steps among some, with their numbers.
fn wasm(steps: &[StepSpec]) -> impl Iterator<Item = (usize, &WasmSpec)> {
    steps.iter().enumerate().filter_map(|(step, spec)| match spec {
        StepSpec::Wasm(spec) => Some((step, spec)),
        _ => None,
    })
}

/// Loads modules and collects what is wrong with them.
struct Loader<'a> {
    disk: &'a dyn Disk,
    /// Made for the first module.
    host: Option<Host>,
    errors: Vec<FilterError>,
}

impl Loader<'_> {
    /// Those that can be used, by the number of their steps.
    fn all<'a>(
        &mut self,
        specs: impl Iterator<Item = (usize, &'a WasmSpec)>,
    ) -> BTreeMap<usize, Arc<Module>> {
        let mut modules = BTreeMap::new();
        for (step, spec) in specs {
            let host = self.host.get_or_insert_with(|| Host::new(Limits::default()));
            match load(host, spec, self.disk) {
                Ok(module) => drop(modules.insert(step, module)),
                Err(source) => self.errors.push(FilterError::new(spec, source)),
            }
        }
        modules
    }
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
