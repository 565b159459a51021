//! Filters in WebAssembly that are attached to groups and topics.
//!
//! What is attached to what is a setting in the engine, so it is in the log (P6); the modules lie
//! beside the log, by their hash. A pull of a client gets its subscription's filter narrowed by
//! those that cover it; the judges' threads run them. Start reading at [`Filters::narrow`].

mod attached; // one filter, and what it has done
mod breaker; // when a module is left alone for a while
mod modules; // the files, and what they compile to
mod place; // what a filter is attached to

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use millrace_disk::Disk;
use millrace_engine::{
    Answer as Answered, Caller, Filter, Principal, Refusal, Request, Space, Verdicts,
};
use millrace_protocol::{AttachFilter, AttachedFilter, FilterPlace, Refused, ResponseCode};
use millrace_types::PhysicalOffset;
use tracing::{info, warn};

use crate::core::{Needs, Shared};
pub(crate) use attached::Attached;
use attached::{OnFailure, Terms};
pub(crate) use modules::MakeHost;
use modules::{Modules, UnusableModule};
use place::Place;

/// The filters of a broker.
pub(crate) struct Filters {
    shared: Arc<Shared>,
    modules: Arc<Modules>,
    all: RwLock<BTreeMap<Place, Arc<Attached>>>,
    /// Modules that a filter had which is gone, and where the log says so.
    retired: Mutex<Vec<(String, PhysicalOffset)>>,
}

/// So many filters a broker has at most: each may hold some 40 MiB while it waits for messages.
pub(crate) const FILTERS_MAX: usize = 100;

/// Why a filter is not attached, or not taken away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    #[error("{0}")]
    Illegal(String),
    #[error("no filter is attached to {0}")]
    NoSuchFilter(Place),
    #[error("a broker has at most {FILTERS_MAX} filters")]
    TooMany,
    #[error("the module cannot be kept: {0}")]
    NotKept(std::io::Error),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the broker is closed")]
    Closed,
}

impl Filters {
    /// The filters that the engine's state names. Modules that none of them has are removed.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        shared: Arc<Shared>,
        host: MakeHost,
    ) -> Self {
        let modules = Arc::new(Modules::new(disk, &dir.join("filters"), host));
        let settings = shared.step(Needs::Policy, |step| {
            let all = step.engine.settings(Space::Filter);
            all.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>()
        });
        let mut all = BTreeMap::new();
        for (key, value) in settings.unwrap_or_default() {
            match (Place::from_key(&key), Terms::parse(&value)) {
                (Some(place), Ok(terms)) => {
                    let attached = Attached::waiting(place.clone(), terms, &shared.clock, &modules);
                    all.insert(place, Arc::new(attached));
                }
                // Of a later version; it is left as it is.
                _ => warn!(key, "the state of a filter is passed over"),
            }
        }
        let filters = Self { shared, modules, all: RwLock::new(all), retired: Mutex::default() };
        filters.modules.sweep(&filters.hashes());
        filters
    }

    /// What a group is given of a topic: of what its subscription wants, that which is kept by all
    /// filters that cover it. What has failed comes again unfiltered, because it was kept before.
    pub(crate) fn narrow(&self, wanted: Filter, group: &str, topic: &str) -> Filter {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        if all.is_empty() {
            return wanted;
        }
        let covering = all.iter().filter(|(place, _)| place.covers(group, topic));
        let kept_by: Arc<[_]> =
            covering.map(|(_, attached)| Arc::clone(attached) as Arc<dyn Verdicts>).collect();
        if kept_by.is_empty() { wanted } else { Filter::Narrowed(Box::new(wanted), kept_by) }
    }

    /// Reads and compiles all modules, so that the first pulls need not wait for it.
    pub(crate) fn prepare(&self) {
        for attached in self.attached() {
            // Whatever is wrong with it is logged, and told to whoever pulls.
            let _ = attached.prepare();
        }
    }

    /// All filters, and what they have done.
    pub(crate) fn list(&self) -> Vec<AttachedFilter> {
        self.attached().iter().map(|attached| attached.describe()).collect()
    }

    /// All filters.
    pub(crate) fn attached(&self) -> Vec<Arc<Attached>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values().map(Arc::clone).collect()
    }

    /// Attaches a filter, in the place of the one that was there. Compiles, and waits for the disk.
    pub(crate) fn attach(
        &self,
        caller: &Caller,
        request: &AttachFilter<'_>,
    ) -> Result<AttachedFilter, FilterError> {
        let place = Place::of(&request.place).map_err(FilterError::Illegal)?;
        let params = serde_json::from_str(&request.terms.params).map_err(|error| {
            FilterError::Illegal(format!("the parameters are no JSON object: {error}"))
        })?;
        let on_failure = OnFailure::parse(&request.terms.on_failure).ok_or_else(|| {
            let known = "what becomes of messages that it fails at is `deliver` or `drop`";
            FilterError::Illegal(known.to_owned())
        })?;
        {
            let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= FILTERS_MAX && !all.contains_key(&place) {
                return Err(FilterError::TooMany);
            }
        }
        let module = self.modules.compile(request.module)?;
        let terms = Terms {
            sha256: module.hash().to_string(),
            name: module.manifest().name.clone(),
            version: module.manifest().version.clone(),
            params,
            on_failure,
            attached_at_ms: self.shared.now().wall_ms,
        };
        let setting = terms.to_text();
        let attached =
            Attached::started(place.clone(), terms, &self.shared.clock, &self.modules, module)?;
        self.modules.keep(&attached.terms().sha256, request.module)?;
        self.put(caller, &place, Some(&setting))?;
        let told = place.to_string();
        let attached = self.install(place, attached)?;
        let Terms { sha256, name, version, .. } = attached.terms();
        info!(place = told, filter = name, version, sha256, "filter attached");
        Ok(attached.describe())
    }

    /// Has a filter decide that the engine keeps, unless its topic was deleted since then.
    fn install(&self, place: Place, attached: Attached) -> Result<Arc<Attached>, FilterError> {
        let attached = Arc::new(attached);
        let before = {
            let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
            all.insert(place.clone(), Arc::clone(&attached))
        };
        self.retire(before);
        self.shared.ask_again(|group, topic| place.covers(group, topic));
        // Asked only now: a topic that is deleted from here on takes it away from here, too.
        let key = place.to_key();
        let is_kept = self.shared.step(Needs::Policy, |step| {
            step.engine.settings(Space::Filter).any(|(kept, _)| kept == key)
        });
        if is_kept.ok_or(FilterError::Closed)? {
            return Ok(attached);
        }
        let gone = self.all.write().unwrap_or_else(PoisonError::into_inner).remove(&place);
        self.retire(gone);
        Err(FilterError::NoSuchFilter(place))
    }

    /// Takes a filter away. Waits for the disk.
    pub(crate) fn detach(
        &self,
        caller: &Caller,
        request: &FilterPlace<'_>,
    ) -> Result<(), FilterError> {
        let place = Place::of(request).map_err(FilterError::Illegal)?;
        let is_there =
            || self.all.read().unwrap_or_else(PoisonError::into_inner).contains_key(&place);
        if !is_there() {
            return Err(FilterError::NoSuchFilter(place));
        }
        self.put(caller, &place, None)?;
        let before = self.all.write().unwrap_or_else(PoisonError::into_inner).remove(&place);
        info!(place = %place, "filter detached");
        self.retire(before);
        self.shared.ask_again(|group, topic| place.covers(group, topic));
        Ok(())
    }

    /// Takes away what was attached to a topic that is deleted. The engine's state says so already.
    pub(crate) fn forget_topic(&self, topic: &str) {
        let gone: Vec<_> = {
            let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
            all.extract_if(.., |place, _| place.topic() == Some(topic)).collect()
        };
        let appended = self.shared.marks.appended();
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, attached) in gone {
            info!(place = %place, "filter detached, because its topic is deleted");
            retired.push((attached.terms().sha256.clone(), appended));
        }
    }

    /// Has the engine keep what is attached to a place, and waits until that is stored.
    fn put(
        &self,
        caller: &Caller,
        place: &Place,
        setting: Option<&str>,
    ) -> Result<(), FilterError> {
        let key = place.to_key();
        let answer = self.shared.ask(Needs::Durable, |step, ticket, connection| {
            let caller = Caller { connection, peer: caller.peer, principal: Principal::Internal };
            let put = Request::PutSetting { space: Space::Filter, key: &key, value: setting };
            step.engine.handle(step.now, &caller, ticket, put, step.out);
        });
        let answer = answer.ok_or(FilterError::Closed)?.receiver.blocking_recv();
        match answer.map_err(|_| FilterError::Closed)? {
            Answered::Refused(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// The module of a filter that is gone may go, too, once the log says for ever that it is gone,
    /// and nobody else has it.
    fn retire(&self, before: Option<Arc<Attached>>) {
        let marks = &self.shared.marks;
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        retired.extend(before.map(|before| (before.terms().sha256.clone(), marks.appended())));
        let durable = marks.durable();
        let used = self.hashes();
        for (hash, _) in retired.extract_if(.., |(_, gone_at)| *gone_at <= durable) {
            if !used.contains(&hash) {
                self.modules.remove(&hash);
            }
        }
    }

    fn hashes(&self) -> BTreeSet<String> {
        self.attached().iter().map(|attached| attached.terms().sha256.clone()).collect()
    }
}

impl fmt::Debug for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filters").field(&self.modules).finish()
    }
}

impl From<UnusableModule> for FilterError {
    fn from(error: UnusableModule) -> Self {
        match error {
            UnusableModule::Unfit(reason) => Self::Illegal(reason),
            UnusableModule::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
                Self::Refused(Refusal::DiskFull(error.to_string()))
            }
            UnusableModule::Io(error) => Self::NotKept(error),
        }
    }
}

impl FilterError {
    /// What the tool is told that asked.
    pub(crate) fn refused(&self) -> Refused {
        let code = match self {
            Self::Illegal(_) => ResponseCode::INVALID_PARAMETER,
            Self::NoSuchFilter(_) => ResponseCode::QUERY_NOT_FOUND,
            Self::TooMany | Self::NotKept(_) | Self::Closed => ResponseCode::SYSTEM_ERROR,
            Self::Refused(Refusal::DiskFull(_)) => ResponseCode::MR_DISK_FULL,
            Self::Refused(Refusal::IllegalMessage(_)) => ResponseCode::MESSAGE_ILLEGAL,
            Self::Refused(_) => ResponseCode::SYSTEM_ERROR,
        };
        Refused::new(code, self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use millrace_disk::SimDisk;
    use millrace_wasm_host::{Host, Limits};

    use super::*;
    use crate::core::{Core, CoreConfig};
    use crate::flushing::Flushing;

    #[test]
    fn a_filter_whose_topic_was_deleted_meanwhile_is_not_attached() {
        let disk = Arc::new(SimDisk::new(1));
        let config = CoreConfig { flushing: Flushing::Manual, ..CoreConfig::default() };
        let (core, _) = Core::open(Arc::clone(&disk) as _, Path::new("/data"), config).unwrap();
        let host: MakeHost = Box::new(|| Arc::new(Host::new(Limits::default())));
        let filters = Filters::open(disk, Path::new("/data"), Arc::clone(core.shared()), host);
        let asked = FilterPlace { group: None, topic: Some("t".into()) };
        let place = Place::of(&asked).unwrap();
        let terms = Terms {
            sha256: "00".into(),
            name: "n".into(),
            version: "1.0.0".into(),
            params: serde_json::Map::new(),
            on_failure: OnFailure::Drop,
            attached_at_ms: 0,
        };
        let shared = &filters.shared;
        let attached = Attached::waiting(place.clone(), terms, &shared.clock, &filters.modules);
        // The engine knows of no such filter, as after the topic is gone.
        let error = filters.install(place, attached).err();
        assert!(matches!(error, Some(FilterError::NoSuchFilter(_))), "{error:?}");
        assert!(filters.attached().is_empty());
    }
}
