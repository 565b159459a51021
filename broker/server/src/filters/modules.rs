use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use millrace_disk::{Access, Disk};
use millrace_wasm_host::{Host, Kind, Module, ModuleHash};
use tracing::warn;

/// The modules of attached filters: files called after the hash of what is in them, so that none is
/// ever changed.
pub(super) struct Modules {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Its clock ticks all the time, which a broker without filters need not hear.
    host: LazyLock<Arc<Host>, MakeHost>,
}

/// How modules are run.
pub(crate) type MakeHost = Box<dyn FnOnce() -> Arc<Host> + Send>;

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableModule {
    #[error("{0}")]
    Unfit(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

const SUFFIX: &str = ".wasm";
/// What is being written.
const DRAFT: &str = "draft";

impl Modules {
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path, host: MakeHost) -> Self {
        Self { disk, dir: dir.to_owned(), host: LazyLock::new(host) }
    }

    /// Checks and compiles a module.
    pub(super) fn compile(&self, bytes: &[u8]) -> Result<Arc<Module>, UnusableModule> {
        let unfit = |reason: String| UnusableModule::Unfit(reason);
        let module = self.host.load(bytes).map_err(|error| unfit(error.to_string()))?;
        match module.kind() {
            Kind::Filter => Ok(module),
            Kind::Map | Kind::FlatMap | Kind::Aggregate => Err(unfit(
                "the module puts other records in the place of those it gets; in a broker a filter \
                 only keeps or drops messages, so it must be of kind `filter`"
                    .to_owned(),
            )),
        }
    }

    /// Reads a module back, and compiles it.
    pub(super) fn load(&self, hash: &str) -> Result<Arc<Module>, UnusableModule> {
        let bytes = self.read(hash)?;
        if ModuleHash::of(&bytes).to_string() != hash {
            let path = self.path(hash);
            let reason = format!("{} is damaged: it has another hash", path.display());
            return Err(UnusableModule::Unfit(reason));
        }
        self.compile(&bytes)
    }

    fn read(&self, hash: &str) -> io::Result<Vec<u8>> {
        let of = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path(hash).display()))
        };
        let file = self.disk.open(&self.path(hash), Access::Read).map_err(of)?;
        // What is longer than a module may be has another hash anyway.
        let len = file.size()?.min(1 + self.host.limits().module_bytes_max as u64) as usize;
        let (mut bytes, mut filled) = (vec![0; len], 0);
        while filled < len {
            match file.read_at(&mut bytes[filled..], filled as u64).map_err(of)? {
                0 => return Err(of(io::ErrorKind::UnexpectedEof.into())),
                read => filled += read,
            }
        }
        Ok(bytes)
    }

    /// Keeps a module, durably. It is there whole or not at all.
    pub(super) fn keep(&self, hash: &str, bytes: &[u8]) -> Result<(), UnusableModule> {
        // One that is there may be damaged, and this one is not.
        if self.read(hash).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        self.disk.create_dir_durably(&self.dir)?;
        let draft = self.dir.join(DRAFT);
        if self.disk.exists(&draft)? {
            self.disk.remove(&draft)?;
        }
        let file = self.disk.create(&draft)?;
        file.write_at(&[IoSlice::new(bytes)], 0)?;
        file.sync()?;
        self.disk.replace(&draft, &self.path(hash))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(())
    }

    /// Removes a module that no filter has any more. One that stays after a crash goes with the next
    /// start.
    pub(super) fn remove(&self, hash: &str) {
        self.host.forget_unused();
        let path = self.path(hash);
        if let Err(error) = self.disk.remove(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(path = %path.display(), error = %error, "a module that nobody uses stays");
        }
    }

    /// Removes what no filter has, and what was never finished.
    pub(super) fn sweep(&self, used: &BTreeSet<String>) {
        // Mostly there is no such directory.
        let Ok(entries) = self.disk.list(&self.dir) else {
            return;
        };
        for entry in entries.into_iter().filter(|entry| !entry.is_dir) {
            let hash = entry.name.strip_suffix(SUFFIX);
            let is_ours = entry.name == DRAFT || hash.is_some_and(|hash| hash.len() == 64);
            if is_ours && !hash.is_some_and(|hash| used.contains(hash)) {
                let path = self.dir.join(&entry.name);
                if let Err(error) = self.disk.remove(&path) {
                    warn!(path = %path.display(), error = %error, "a module that nobody uses stays");
                }
            }
        }
    }

    fn path(&self, hash: &str) -> PathBuf {
        self.dir.join(format!("{hash}{SUFFIX}"))
    }
}

impl std::fmt::Debug for Modules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Modules").field(&self.dir).finish()
    }
}
