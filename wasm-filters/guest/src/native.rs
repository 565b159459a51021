//! A filter as native code over the batches that a module gets: what `millrace filter bench` compares
//! the module with. That hands over the parameters and the batches in a directory, runs the test that
//! calls this, and finds costs and verdicts in the directory.

#![expect(unsafe_code, reason = "a module's functions take addresses")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::exports::{self, Loaded, State};
use crate::{Out, Record};

/// The variable that names the directory.
const DIR: &str = "MILLRACE_NATIVE";

/// As many records as one measurement goes through at least, and how many measurements there are.
const RECORDS: usize = 4_000;
const ROUNDS: usize = 25;
/// A filter that is slow enough is measured fewer times, but once.
const ROUNDS_TIME: Duration = Duration::from_secs(5);

/// Measures a filter.
pub fn filter<T: State>(keep: impl Fn(&mut T, &Record<'_>) -> Result<bool, String>) {
    measure::<T>(|loaded, batch, verdicts| {
        // SAFETY: both slices are there until the call ends, and `verdicts` has a byte for each
        // record.
        unsafe {
            exports::filter(loaded, batch.as_ptr(), batch.len(), verdicts.as_mut_ptr(), &keep);
        }
    });
}

/// Measures a map.
pub fn map<T: State>(map: impl Fn(&mut T, &Record<'_>, &mut Out<'_>) -> Result<(), String>) {
    measure::<T>(|loaded, batch, verdicts| {
        let mut out = [0; 48];
        // SAFETY: both are there until the call ends.
        unsafe {
            exports::map(loaded, batch.as_ptr(), batch.len(), out.as_mut_ptr(), &map);
        }
        verdicts.copy_from_slice(loaded.verdicts());
    });
}

/// Runs over each `NAME.batch`, and writes `NAME.verdicts` and `NAME.costs`: nanoseconds per record,
/// the middle one of all measurements.
fn measure<T: State>(run: impl Fn(&mut Loaded<T>, &[u8], &mut [u8])) {
    let dir = env::var_os(DIR).map(PathBuf::from).expect("`millrace filter bench` runs this");
    let mut loaded = Loaded::new();
    let params = read(&dir.join("params"));
    // SAFETY: the text is there until the call ends.
    let started = unsafe { exports::init(&loaded, params.as_ptr(), params.len()) };
    assert_eq!(started, 0, "the parameters are refused");
    for entry in fs::read_dir(&dir).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.extension().is_none_or(|end| end != "batch") {
            continue;
        }
        let batch = read(&path);
        let records = batch[8..12].try_into().map_or(0, u32::from_le_bytes) as usize;
        let mut verdicts = vec![0; records];
        let calls = RECORDS.div_ceil(records);
        let mut costs = Vec::new();
        let start = Instant::now();
        // The first one finds nothing in the caches.
        for round in 0..=ROUNDS {
            let begun = Instant::now();
            for _ in 0..calls {
                run(&mut loaded, &batch, &mut verdicts);
            }
            costs.push(begun.elapsed().as_nanos() as f64 / (calls * records) as f64);
            if round > 0 && start.elapsed() > ROUNDS_TIME {
                break;
            }
        }
        costs.remove(0);
        costs.sort_by(f64::total_cmp);
        write(&path.with_extension("verdicts"), &verdicts);
        write(&path.with_extension("costs"), costs[costs.len() / 2].to_string().as_bytes());
    }
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
