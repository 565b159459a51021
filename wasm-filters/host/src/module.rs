use std::sync::Arc;

use wasmtime::{Engine, ExternType, FuncType, InstancePre, Linker, ValType};

use crate::error::LoadError;
use crate::hash::ModuleHash;
use crate::imports;
use crate::limits::Limits;
use crate::manifest::{Kind, Manifest};
use crate::sections;
use crate::state::State;
use crate::ticker::Ticker;

/// A module that was checked and compiled.
pub struct Module {
    hash: ModuleHash,
    manifest: Manifest,
    kind: Kind,
    linked: InstancePre<State>,
    limits: Arc<Limits>,
    /// Keeps its deadline: without a clock it might run for ever.
    _ticker: Option<Arc<Ticker>>,
}

impl Module {
    pub(crate) fn compile(
        engine: &Engine,
        bytes: &[u8],
        hash: ModuleHash,
        limits: &Arc<Limits>,
        ticker: Option<&Arc<Ticker>>,
    ) -> Result<Self, LoadError> {
        let manifest = sections::scan(bytes, limits)?.ok_or(LoadError::NoManifest)?;
        let manifest = Manifest::parse(manifest)?;
        let kind = manifest.kind()?;
        let module =
            wasmtime::Module::new(engine, bytes).map_err(|error| LoadError::compile(&error))?;
        check_exports(&module, kind)?;
        let mut linker = Linker::new(engine);
        imports::link(&mut linker, &module)?;
        let linked = linker.instantiate_pre(&module).map_err(|error| LoadError::compile(&error))?;
        Ok(Self {
            hash,
            manifest,
            kind,
            linked,
            limits: Arc::clone(limits),
            _ticker: ticker.cloned(),
        })
    }

    /// Its identity.
    pub fn hash(&self) -> ModuleHash {
        self.hash
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it does with a record.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn linked(&self) -> &InstancePre<State> {
        &self.linked
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// The functions of the contract: parameters, whether there is a result (all are `i32`), whether a
/// module may do without, and the same in words.
const FUNCTIONS: [(&str, usize, bool, bool, &str); 7] = [
    ("mr_abi_v1", 0, false, false, "a function without parameters and result"),
    ("mr_alloc", 2, true, false, "a function (len: i32, align: i32) -> i32"),
    ("mr_free", 3, false, true, "a function (ptr: i32, len: i32, align: i32)"),
    ("mr_init", 2, true, true, "a function (params: i32, len: i32) -> i32"),
    ("_initialize", 0, false, true, "a function without parameters and result"),
    ("mr_filter", 3, true, true, "a function (batch: i32, len: i32, verdicts: i32) -> i32"),
    ("mr_map", 3, true, true, "a function (batch: i32, len: i32, out: i32) -> i32"),
];

fn check_exports(module: &wasmtime::Module, kind: Kind) -> Result<(), LoadError> {
    let mut missing = Vec::new();
    for (name, params, has_result, optional, expected) in FUNCTIONS {
        let fits = |function: &FuncType| {
            let is_i32 = |value: ValType| matches!(value, ValType::I32);
            function.params().len() == params
                && function.results().len() == usize::from(has_result)
                && function.params().all(is_i32)
                && function.results().all(is_i32)
        };
        match module.get_export(name) {
            Some(ExternType::Func(function)) if fits(&function) => {}
            None if optional && name != kind.export() => {}
            _ => missing.push((name, expected)),
        }
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(memory)) if !memory.is_64() && !memory.is_shared() => {}
        _ => missing.push(("memory", "a memory of its own")),
    }
    match module.get_export("mr_progress") {
        None => {}
        Some(ExternType::Global(global)) if matches!(global.content(), ValType::I32) => {}
        Some(_) => missing.push(("mr_progress", "a global of type i32")),
    }
    if missing.is_empty() { Ok(()) } else { Err(LoadError::Exports { missing }) }
}
