use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::LoadError;
use crate::params;

/// The version of the contract between host and module.
pub(crate) const ABI: u32 = 1;

/// What a module says about itself, in the custom section `millrace.filter`, as JSON.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Manifest {
    /// Version of the contract; 1.
    pub abi: u32,
    /// What people call the filter.
    pub name: String,
    /// Its own version, for people.
    pub version: String,
    /// What it does.
    pub kinds: Vec<Kind>,
    /// What it was made with, for people.
    #[serde(default)]
    pub sdk: String,
    /// A JSON Schema of its parameters, of which `type`, `properties`, `required` and
    /// `additionalProperties` count.
    #[serde(default)]
    pub params: Option<Map<String, Value>>,
    /// Whether what it does with a record depends on earlier ones.
    #[serde(default)]
    pub stateful: bool,
}

/// What a module does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Keeps it or drops it.
    Filter,
    /// Keeps it, drops it or puts one other in its place.
    Map,
    /// Puts any number of others in its place.
    FlatMap,
    /// Sums records up. No version of this crate runs such a module yet.
    Aggregate,
}

/// The longest name and version, bytes.
const NAME_BYTES_MAX: usize = 64;

impl Manifest {
    /// Reads the section's bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        let refuse = |reason: String| LoadError::Manifest { reason };
        // What has another version may have another form.
        #[derive(Deserialize)]
        struct Version {
            abi: u32,
        }
        let no_json = |error: serde_json::Error| {
            refuse(params::no_json(bytes).unwrap_or_else(|| error.to_string()))
        };
        let Version { abi } = serde_json::from_slice(bytes).map_err(no_json)?;
        if abi != ABI {
            return Err(LoadError::Version { found: abi, known: ABI });
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| refuse(error.to_string()))?;
        for (field, text) in [("name", &manifest.name), ("version", &manifest.version)] {
            if text.is_empty() || text.len() > NAME_BYTES_MAX || text.chars().any(char::is_control)
            {
                return Err(refuse(format!("`{field}` is not a short text")));
            }
        }
        if let Some(reason) = manifest.params.as_ref().and_then(params::unusable) {
            return Err(refuse(reason));
        }
        Ok(manifest)
    }

    /// The one thing that the module does.
    pub(crate) fn kind(&self) -> Result<Kind, LoadError> {
        if self.stateful {
            return Err(LoadError::Unsupported { what: "stateful modules" });
        }
        match self.kinds[..] {
            [Kind::Aggregate] => {
                Err(LoadError::Unsupported { what: "modules of kind `aggregate`" })
            }
            [kind] => Ok(kind),
            _ => Err(LoadError::Manifest { reason: "`kinds` must name exactly one".to_owned() }),
        }
    }
}

impl Kind {
    /// The function that a module of this kind exports.
    pub fn export(self) -> &'static str {
        match self {
            Kind::Filter => "mr_filter",
            Kind::Map | Kind::FlatMap => "mr_map",
            Kind::Aggregate => "mr_aggregate",
        }
    }
}
