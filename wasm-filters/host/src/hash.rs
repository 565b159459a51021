use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 of a module: its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleHash([u8; 32]);

impl ModuleHash {
    /// Of these bytes.
    pub fn of(module: &[u8]) -> Self {
        Self(Sha256::digest(module).into())
    }

    /// Its first eight bytes, where a number is wanted.
    pub fn prefix(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("there are 32"))
    }
}

impl fmt::Display for ModuleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
