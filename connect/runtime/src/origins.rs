use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Which path each origin has that the pipeline's source read, for whoever looks at a dead letter.
/// Clones share it.
///
/// A message names its origin by identity. The path is known before any message of the origin can
/// be pulled: to the run that appended it because it read the origin, and to a later run because
/// the ledger, or the first message of the origin, says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct OriginPaths(Arc<Mutex<BTreeMap<String, String>>>);

impl OriginPaths {
    /// Remembers the path that an origin has now.
    pub(crate) fn learn(&self, identity: &str, path: &str) {
        if !path.is_empty() {
            self.paths().insert(identity.to_owned(), path.to_owned());
        }
    }

    /// The last path that an origin was known to have.
    pub(crate) fn of(&self, identity: &str) -> Option<String> {
        self.paths().get(identity).cloned()
    }

    fn paths(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().expect("nothing panics while it is held")
    }
}
