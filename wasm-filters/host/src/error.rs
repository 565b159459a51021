/// A module that cannot be used, whatever the records.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It was not read.
    #[error("the module has {len} bytes; at most {max} are read")]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// It was not compiled.
    #[error("the module has {count} functions; at most {max} are compiled")]
    TooManyFunctions {
        /// How many.
        count: u32,
        /// The limit.
        max: u32,
    },
    /// It was not compiled.
    #[error("function {number} of the module has {len} bytes; at most {max} are compiled")]
    FunctionTooLong {
        /// Which one, counted from 0 without imports.
        number: u32,
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// Something else.
    #[error("this is not a WebAssembly module: {reason}")]
    NotAModule {
        /// What it is instead.
        reason: String,
    },
    /// The section is not there.
    #[error(
        "the module has no manifest; it must carry one in a custom section called `{section}`",
        section = crate::sections::MANIFEST
    )]
    NoManifest,
    /// The section is not what it should be.
    #[error("the module's manifest cannot be used: {reason}")]
    Manifest {
        /// Why.
        reason: String,
    },
    /// Made for another host.
    #[error(
        "the module is made for version {found} of the filter ABI, and this is version {known}"
    )]
    Version {
        /// What it says.
        found: u32,
        /// What there is.
        known: u32,
    },
    /// Made for a later version.
    #[error("{what} are not available in this version")]
    Unsupported {
        /// What it asks for.
        what: &'static str,
    },
    /// The contract asks for them.
    #[error("the module does not export {}", listed(.missing))]
    Exports {
        /// All that are missing or are something else: the name, and what it must be.
        missing: Vec<(&'static str, &'static str)>,
    },
    /// There is no such thing here.
    #[error(
        "the module imports `{module}` `{name}`, which a filter does not get; it gets `log` and \
         `fail` of `millrace_v1`, and an empty WASI"
    )]
    Import {
        /// From where.
        module: String,
        /// What.
        name: String,
    },
    /// Not valid, or it needs what is switched off, for instance threads.
    #[error("the module cannot be compiled: {reason}")]
    Compile {
        /// What the compiler says.
        reason: String,
    },
}

/// A module that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// They do not fit the manifest.
    #[error("{reason}")]
    Params {
        /// The first one that does not fit or is not there.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It says that it cannot use them.
    #[error("the filter `{name}` refuses its parameters: {reason}")]
    Refused {
        /// The filter.
        name: String,
        /// What it says.
        reason: String,
    },
    /// Before it saw a record.
    #[error("the filter `{name}` cannot be started: {fault}")]
    Fault {
        /// The filter.
        name: String,
        /// What happened.
        fault: Fault,
    },
}

/// Why a module could not handle a record, or could not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It stopped in the middle: a panic, an access outside of its memory, a division by zero.
    #[error("the filter trapped: {0}")]
    Trap(String),
    /// It did not come back in time.
    #[error("the filter trapped: it did not end within {ticks} ticks")]
    Deadline {
        /// The limit.
        ticks: u32,
    },
    /// What it answered makes no sense.
    #[error("the filter broke the contract: {0}")]
    Contract(String),
    /// It says that it cannot handle this.
    #[error("the filter refuses the record: {0}")]
    Refused(String),
}

fn listed(exports: &[(&str, &str)]) -> String {
    let exports = exports.iter().map(|(name, expected)| format!("`{name}` as {expected}"));
    exports.collect::<Vec<_>>().join(", ")
}

impl LoadError {
    /// What the author of the module can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            LoadError::NoManifest => {
                "in Rust no function has `#[filter]`, `#[map]` or `#[flat_map]`, which make the \
                 manifest; in other languages see the contract of filters, version 1 (`mr_abi_v1`)"
            }
            LoadError::Manifest { .. } | LoadError::Version { .. } => {
                "the contract of filters, version 1 (`mr_abi_v1`), says what the manifest has"
            }
            LoadError::NotAModule { .. } => "name a file that `millrace filter build` made",
            _ => "the contract of filters, version 1 (`mr_abi_v1`), says what a module has",
        }
    }

    pub(crate) fn compile(error: &wasmtime::Error) -> Self {
        LoadError::Compile { reason: format!("{error:#}") }
    }
}
