//! The source beside a module, as native code over the same batches.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use millrace_wasm_host::Verdict;
use serde_json::{Map, Value};

/// What a filter of the guest crate measures itself with, and where it looks for what to measure.
const FEATURE: &str = "millrace-wasm-guest/native";
const TEST: &str = "__millrace_native";
const DIR: &str = "MILLRACE_NATIVE";

/// The batches and their costs, in a directory of their own that goes with this.
pub(super) struct Native(PathBuf);

impl Native {
    /// Has the filter whose source lies beside the module run over the batches, by their number of
    /// records. Otherwise the reason why nothing can be compared.
    pub(super) fn measure(
        module: &Path,
        params: &Map<String, Value>,
        batches: &[(usize, Vec<u8>)],
    ) -> Result<Self, String> {
        let project = match module.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        if !project.join("Cargo.toml").is_file() {
            return Err("no source of the module lies beside it".to_owned());
        }
        let dir = std::env::temp_dir().join(format!("millrace-bench-{}", std::process::id()));
        // Only what it has made itself is removed in the end.
        fs::create_dir(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let here = Self(dir);
        let given = || -> std::io::Result<()> {
            fs::write(here.0.join("params"), serde_json::to_vec(params)?)?;
            batches.iter().try_for_each(|(size, batch)| fs::write(here.file(*size, "batch"), batch))
        };
        given().map_err(|error| format!("cannot write {}: {error}", here.0.display()))?;
        let ran = Command::new("cargo")
            .args(["test", "--quiet", "--release", "--lib", "--features", FEATURE, "--", TEST])
            .current_dir(project)
            .env(DIR, &here.0)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start cargo: {error}"))?;
        if !ran.status.success() {
            // What was compiled tells on one, what was run on the other.
            eprint!(
                "{}{}",
                String::from_utf8_lossy(&ran.stdout),
                String::from_utf8_lossy(&ran.stderr)
            );
            return Err("its source does not run as native code; cargo says why".to_owned());
        }
        match batches.iter().all(|(size, _)| here.file(*size, "costs").is_file()) {
            true => Ok(here),
            false => Err("its source has no filter of this version of the guest crate".to_owned()),
        }
    }

    /// Nanoseconds per record in batches of a size, if the source says of them what the module does.
    pub(super) fn cost(&self, size: usize, verdicts: &[Verdict]) -> Result<f64, String> {
        let read = |end| fs::read(self.file(size, end)).map_err(|error| error.to_string());
        if read("verdicts")? != verdicts.iter().map(byte).collect::<Vec<u8>>() {
            return Err("its source gives other verdicts; `millrace filter build`".to_owned());
        }
        let text = String::from_utf8(read("costs")?).map_err(|error| error.to_string())?;
        text.parse().map_err(|error| format!("`{text}`: {error}"))
    }

    fn file(&self, size: usize, end: &str) -> PathBuf {
        self.0.join(format!("{size}.{end}"))
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A verdict as a module writes it.
fn byte(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Drop => 0,
        Verdict::Keep => 1,
        Verdict::Replace => 2,
        Verdict::Failed(_) | Verdict::NotReached => 3,
    }
}
