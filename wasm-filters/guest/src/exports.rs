//! What a module's functions are made of, by the macros in `module.rs`. Not for anybody else.
//!
//! A module has one thread, and the host calls one function at a time and waits for it. That is
//! what makes the one instance below sound, and the buffers that outlive a call.

#![expect(unsafe_code, reason = "memory is shared with the host by address")]

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::fmt::Display;
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::batch::Batch;
use crate::out::{Next, Outputs};
use crate::{Out, Params, Record};

const DROP: u8 = 0;
const KEEP: u8 = 1;
const REPLACE: u8 = 2;
const ERROR: u8 = 3;
/// What a function answers that cannot handle the whole batch.
const REFUSED: i32 = -1;

/// The number of the record that the module is at.
#[allow(non_upper_case_globals, reason = "the contract names it so")]
#[unsafe(no_mangle)]
pub static mr_progress: AtomicU32 = AtomicU32::new(0);

/// What a module keeps from one batch to the next; `#[init]` makes one of it.
#[diagnostic::on_unimplemented(
    message = "no function makes a `{Self}`",
    label = "this is the state of the filter",
    note = "it is made by `#[millrace_wasm_guest::init] fn init(params: Params<'_>) -> Result<{Self}>`"
)]
pub trait State: Sized {
    /// The JSON Schema of the parameters.
    const PARAMS: &'static str;

    /// Made of the parameters.
    fn new(params: Params<'_>) -> Result<Self, String>;
}

/// Nothing to keep, and no parameters.
impl State for () {
    const PARAMS: &'static str = "null";

    fn new(_: Params<'_>) -> Result<Self, String> {
        Ok(())
    }
}

/// What a function may answer, with `T` for what it says of a record.
#[diagnostic::on_unimplemented(
    message = "a function for records cannot answer `{Self}`",
    label = "this is not `{T}` and not a `Result` with one",
    note = "it answers `{T}`, or a `Result` with one whose error can be displayed"
)]
pub trait Answer<T> {
    /// The same in one form.
    fn answer(self) -> Result<T, String>;
}

impl<T> Answer<T> for T {
    fn answer(self) -> Result<T, String> {
        Ok(self)
    }
}

impl<T, E: Display> Answer<T> for Result<T, E> {
    fn answer(self) -> Result<T, String> {
        self.map_err(|reason| reason.to_string())
    }
}

/// The state of this module, once it is there, and the buffers that the host reads.
pub struct Loaded<T>(UnsafeCell<Option<Instance<T>>>);

struct Instance<T> {
    state: T,
    outputs: Outputs,
    verdicts: Vec<u8>,
    encoded: Vec<u8>,
}

// SAFETY: there is one thread; see the top of the file.
unsafe impl<T> Sync for Loaded<T> {}

impl<T> Loaded<T> {
    /// Nothing yet.
    #[allow(clippy::new_without_default, reason = "it is for statics")]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// What a map said of the last batch.
    #[cfg(feature = "native")]
    pub(crate) fn verdicts(&mut self) -> &[u8] {
        self.0.get_mut().as_ref().map_or(&[], |instance| &instance.verdicts)
    }

    /// # Safety
    /// No other reference that this gave may be in use.
    #[expect(clippy::mut_from_ref, reason = "that is what the cell is for")]
    unsafe fn get(&self) -> &mut Option<Instance<T>> {
        // SAFETY: the caller says so.
        unsafe { &mut *self.0.get() }
    }
}

/// What the host reads of a module without running it.
pub const fn manifest<T: State>(
    kind: &'static str,
    name: &'static str,
    version: &'static str,
) -> [&'static str; 9] {
    let begin = "{\"abi\":1,\"sdk\":\"rust\",\"name\":\"";
    let kinds = "\",\"kinds\":[\"";
    [begin, name, "\",\"version\":\"", version, kinds, kind, "\"],\"params\":", T::PARAMS, "}"]
}

/// The length of texts.
pub const fn len(texts: &[&str]) -> usize {
    let (mut at, mut len) = (0, 0);
    while at < texts.len() {
        len += texts[at].len();
        at += 1;
    }
    len
}

/// The bytes of texts, as an array for a custom section.
pub const fn joined<const LEN: usize>(texts: &[&str]) -> [u8; LEN] {
    let mut joined = [0; LEN];
    let mut rest = joined.as_mut_slice();
    let mut at = 0;
    while at < texts.len() {
        let (place, behind) = rest.split_at_mut(texts[at].len());
        place.copy_from_slice(texts[at].as_bytes());
        rest = behind;
        at += 1;
    }
    joined
}

/// Memory for the host.
pub fn alloc(len: usize, align: usize) -> *mut u8 {
    match Layout::from_size_align(len.max(1), align) {
        // SAFETY: the layout is not empty.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Takes memory back.
///
/// # Safety
/// It must come from [`alloc`] with the same numbers.
pub unsafe fn free(at: *mut u8, len: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(len.max(1), align) {
        // SAFETY: the caller says so.
        unsafe { std::alloc::dealloc(at, layout) }
    }
}

/// # Safety
/// `params` must be `len` bytes that nobody changes meanwhile.
pub unsafe fn init<T: State>(loaded: &Loaded<T>, params: *const u8, len: usize) -> i32 {
    std::panic::set_hook(Box::new(|info| host::log(1, &info.to_string())));
    // SAFETY: the caller says so.
    let text = unsafe { slice::from_raw_parts(params, len) };
    let text = std::str::from_utf8(text).unwrap_or_default();
    match Params::parse(text).and_then(T::new) {
        Ok(state) => {
            let instance = Instance {
                state,
                outputs: Outputs::default(),
                verdicts: Vec::new(),
                encoded: Vec::new(),
            };
            // SAFETY: nobody else runs.
            unsafe { *loaded.get() = Some(instance) };
            0
        }
        Err(reason) => {
            host::fail(&reason);
            REFUSED
        }
    }
}

/// # Safety
/// `batch` must be `len` bytes that nobody changes meanwhile, and `verdicts` as many as there are
/// records, which nobody reads meanwhile.
pub unsafe fn filter<T>(
    loaded: &Loaded<T>,
    batch: *const u8,
    len: usize,
    verdicts: *mut u8,
    keep: impl Fn(&mut T, &Record<'_>) -> Result<bool, String>,
) -> i32 {
    // SAFETY: nobody else runs, and the caller says so.
    let (instance, bytes) = unsafe { (loaded.get(), slice::from_raw_parts(batch, len)) };
    let (Some(Instance { state, .. }), Some(batch)) = (instance, Batch::parse(bytes)) else {
        return refuse_batch();
    };
    // SAFETY: the caller says so.
    let verdicts = unsafe { slice::from_raw_parts_mut(verdicts, batch.len()) };
    let mut kept = 0;
    for (number, verdict) in verdicts.iter_mut().enumerate() {
        mr_progress.store(number as u32, Ordering::Relaxed);
        let Some(record) = batch.get(number) else {
            return refuse_batch();
        };
        *verdict = match keep(state, &record) {
            Ok(true) => {
                kept += 1;
                KEEP
            }
            Ok(false) => DROP,
            Err(reason) => {
                host::fail(&reason);
                ERROR
            }
        };
    }
    kept
}

/// # Safety
/// `batch` must be `len` bytes that nobody changes meanwhile, and `out` 48 bytes that nobody reads
/// meanwhile.
pub unsafe fn map<T>(
    loaded: &Loaded<T>,
    batch: *const u8,
    len: usize,
    out: *mut u8,
    map: impl Fn(&mut T, &Record<'_>, &mut Out<'_>) -> Result<(), String>,
) -> i32 {
    // SAFETY: nobody else runs, and the caller says so.
    let (instance, bytes) = unsafe { (loaded.get(), slice::from_raw_parts(batch, len)) };
    let (Some(instance), Some(batch)) = (instance, Batch::parse(bytes)) else {
        return refuse_batch();
    };
    let Instance { state, outputs, verdicts, encoded } = instance;
    outputs.clear();
    verdicts.clear();
    for number in 0..batch.len() {
        mr_progress.store(number as u32, Ordering::Relaxed);
        let Some(record) = batch.get(number) else {
            return refuse_batch();
        };
        let answer = map(state, &record, &mut outputs.of(number as u32));
        verdicts.push(match answer {
            Ok(()) => match outputs.settle() {
                Next::Replace => REPLACE,
                Next::Keep => KEEP,
                Next::Drop => DROP,
            },
            Err(reason) => {
                outputs.take_back();
                host::fail(&reason);
                ERROR
            }
        });
    }
    outputs.encode(encoded);
    let words = [
        verdicts.as_ptr() as usize as u32,
        verdicts.len() as u32,
        encoded.as_ptr() as usize as u32,
        outputs.len() as u32,
    ];
    // SAFETY: the caller says so.
    let out = unsafe { slice::from_raw_parts_mut(out, 16) };
    for (place, word) in out.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    0
}

fn refuse_batch() -> i32 {
    host::fail("the batch cannot be read");
    REFUSED
}

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "millrace_v1")]
    unsafe extern "C" {
        #[link_name = "log"]
        fn host_log(level: u32, at: *const u8, len: usize);
        #[link_name = "fail"]
        fn host_fail(at: *const u8, len: usize);
    }

    pub(super) fn log(level: u32, text: &str) {
        // SAFETY: the host reads the text before it comes back.
        unsafe { host_log(level, text.as_ptr(), text.len()) }
    }

    pub(super) fn fail(reason: &str) {
        // SAFETY: the host reads the text before it comes back.
        unsafe { host_fail(reason.as_ptr(), reason.len()) }
    }
}

/// On other machines there is no host, and nobody to tell.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    pub(super) fn log(_level: u32, text: &str) {
        eprintln!("{text}");
    }

    pub(super) fn fail(reason: &str) {
        std::hint::black_box(reason);
    }
}
