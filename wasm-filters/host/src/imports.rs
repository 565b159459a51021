//! What a module is given: two functions of ours, and a WASI in which nothing is.

use wasmtime::{Caller, ExternType, FuncType, Linker, Memory, Val, ValType};

use crate::error::LoadError;
use crate::state::{Level, State, TEXT_BYTES_MAX};

const OURS: &str = "millrace_v1";
const WASI: &str = "wasi_snapshot_preview1";

/// WASI's numbers for "fine", "bad address", "bad argument" and "no such function".
const SUCCESS: i32 = 0;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;

/// Gives the linker everything that the module imports, or says what it cannot have.
pub(crate) fn link(linker: &mut Linker<State>, module: &wasmtime::Module) -> Result<(), LoadError> {
    let linked = ours(linker).and_then(|()| wasi(linker));
    linked.map_err(|error| LoadError::compile(&error))?;
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        match import.ty() {
            ExternType::Func(_) if is_linked(from, name) => {}
            ExternType::Func(function) if from == WASI && answers_number(&function) => {
                let absent = |_: Caller<'_, State>, _: &[Val], results: &mut [Val]| {
                    results[0] = Val::I32(NOSYS);
                    Ok(())
                };
                let linked = linker.func_new(from, name, function, absent);
                linked.map_err(|error| LoadError::compile(&error))?;
            }
            _ => {
                return Err(LoadError::Import { module: from.to_owned(), name: name.to_owned() });
            }
        }
    }
    Ok(())
}

fn is_linked(from: &str, name: &str) -> bool {
    match from {
        OURS => matches!(name, "log" | "fail"),
        WASI => WASI_FUNCTIONS.contains(&name),
        _ => false,
    }
}

fn answers_number(function: &FuncType) -> bool {
    let mut results = function.results();
    matches!((results.next(), results.next()), (Some(ValType::I32), None))
}

fn ours(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.func_wrap(
        OURS,
        "log",
        |mut caller: Caller<'_, State>, level: i32, at: i32, len: i32| {
            let level = match level {
                ..=1 => Level::Error,
                2 => Level::Warn,
                3 => Level::Info,
                _ => Level::Debug,
            };
            let Some((text, state)) = text_and_state(&mut caller, at, len) else {
                return Err(wasmtime::Error::msg(
                    "`log` was given an address outside of the memory",
                ));
            };
            state.log(level, text);
            Ok(())
        },
    )?;
    linker.func_wrap(OURS, "fail", |mut caller: Caller<'_, State>, at: i32, len: i32| {
        let Some(memory) = memory(&mut caller) else {
            return Ok(());
        };
        let (bytes, state) = memory.data_and_store_mut(&mut caller);
        let record = state.progress.and_then(|cell| read_u32(bytes, cell));
        let Some(text) = slice(bytes, at, len) else {
            return Err(wasmtime::Error::msg("`fail` was given an address outside of the memory"));
        };
        state.give_reason(record, text);
        Ok(())
    })?;
    Ok(())
}

const WASI_FUNCTIONS: [&str; 9] = [
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_time_get",
    "random_get",
    "fd_write",
    "sched_yield",
    "proc_exit",
];

fn wasi(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    for get in ["args_get", "environ_get"] {
        linker.func_wrap(WASI, get, |_: i32, _: i32| SUCCESS)?;
    }
    for sizes in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(
            WASI,
            sizes,
            |mut caller: Caller<'_, State>, count: i32, bytes: i32| {
                let zero = 0u32.to_le_bytes();
                write(&mut caller, count, &zero).max(write(&mut caller, bytes, &zero))
            },
        )?;
    }
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, State>, _: i32, _: i64, out: i32| {
            let nanos = caller.data().now_ms.saturating_mul(1_000_000);
            write(&mut caller, out, &nanos.to_le_bytes())
        },
    )?;
    linker.func_wrap(WASI, "random_get", random)?;
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker.func_wrap(WASI, "sched_yield", || SUCCESS)?;
    linker.func_wrap(WASI, "proc_exit", |code: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg(format!("the module ended itself with code {code}")))
    })?;
    Ok(())
}

/// Numbers that are the same each time a record is handled.
fn random(mut caller: Caller<'_, State>, at: i32, len: i32) -> i32 {
    // No tick counts while the host works, so that must not take long. Browsers refuse more, too.
    const BYTES_MAX: usize = 64 << 10;
    let Some(memory) = memory(&mut caller) else {
        return FAULT;
    };
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let Some(range) = range(bytes.len(), at, len) else {
        return FAULT;
    };
    if range.len() > BYTES_MAX {
        return INVAL;
    }
    for byte in &mut bytes[range] {
        // SplitMix64, of which the highest byte is used.
        state.seed = state.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state.seed ^ (state.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        *byte = (mixed >> 56) as u8;
    }
    SUCCESS
}

/// Whatever is written to a file goes to the log.
fn fd_write(
    mut caller: Caller<'_, State>,
    _file: i32,
    parts: i32,
    count: i32,
    written: i32,
) -> i32 {
    const PARTS_MAX: u32 = 64;
    let Some(memory) = memory(&mut caller) else {
        return FAULT;
    };
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let mut total = 0u32;
    for number in 0..(count as u32).min(PARTS_MAX) {
        let part = (parts as u32).checked_add(number * 8);
        let at = part.and_then(|part| read_u32(bytes, part));
        let len = part.and_then(|part| read_u32(bytes, part.checked_add(4)?));
        let (Some(at), Some(len)) = (at, len) else {
            return FAULT;
        };
        let Some(text) = slice(bytes, at as i32, len as i32) else {
            return FAULT;
        };
        // No more of it would be in the log, and no tick counts while the host looks at it.
        let text = &text[..text.len().min(TEXT_BYTES_MAX)];
        if !text.iter().all(u8::is_ascii_whitespace) {
            state.log(Level::Info, text);
        }
        total = total.saturating_add(len);
    }
    write(&mut caller, written, &total.to_le_bytes())
}

/// The instance's memory, also while its start function runs.
fn memory(caller: &mut Caller<'_, State>) -> Option<Memory> {
    match caller.data().memory {
        Some(memory) => Some(memory),
        None => caller.get_export("memory")?.into_memory(),
    }
}

fn text_and_state<'a>(
    caller: &'a mut Caller<'_, State>,
    at: i32,
    len: i32,
) -> Option<(&'a [u8], &'a mut State)> {
    let memory = memory(caller)?;
    let (bytes, state) = memory.data_and_store_mut(caller);
    Some((slice(bytes, at, len)?, state))
}

fn write(caller: &mut Caller<'_, State>, at: i32, value: &[u8]) -> i32 {
    let Some(memory) = memory(caller) else {
        return FAULT;
    };
    match memory.write(caller, at as u32 as usize, value) {
        Ok(()) => SUCCESS,
        Err(_) => FAULT,
    }
}

fn range(memory_len: usize, at: i32, len: i32) -> Option<std::ops::Range<usize>> {
    let (at, len) = (at as u32 as usize, len as u32 as usize);
    let end = at.checked_add(len).filter(|end| *end <= memory_len)?;
    Some(at..end)
}

/// A piece of a module's memory, by what the module takes for an address and a length.
fn slice(memory: &[u8], at: i32, len: i32) -> Option<&[u8]> {
    Some(&memory[range(memory.len(), at, len)?])
}

fn read_u32(memory: &[u8], at: u32) -> Option<u32> {
    let bytes = slice(memory, at as i32, 4)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}
