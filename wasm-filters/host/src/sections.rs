//! What can be known of a module before it is compiled: sizes, and the manifest.

use crate::error::LoadError;
use crate::limits::Limits;

/// Name of the custom section that holds the manifest.
pub(crate) const MANIFEST: &str = "millrace.filter";

const CUSTOM: u8 = 0;
const CODE: u8 = 10;

/// Walks the sections of a module, holds them against the limits and gives the manifest's bytes.
/// Whether the rest is a valid module is the compiler's business.
pub(crate) fn scan<'a>(module: &'a [u8], limits: &Limits) -> Result<Option<&'a [u8]>, LoadError> {
    let Some(sections) = module.strip_prefix(b"\0asm\x01\0\0\0") else {
        return Err(not_a_module(match module.get(..8) {
            Some([0, b'a', b's', b'm', _, _, 1, _]) => "it is a component, not a core module",
            Some([0, b'a', b's', b'm', ..]) => "it is of another version of WebAssembly",
            _ => "it does not begin as one",
        }));
    };
    let mut rest = Bytes(sections);
    let mut manifest = None;
    while let Some(id) = rest.byte() {
        let len = rest.number().ok_or_else(cut_off)?;
        let section = rest.take(len).ok_or_else(cut_off)?;
        match id {
            CUSTOM => {
                let mut section = Bytes(section);
                let name = section.number().and_then(|len| section.take(len));
                if name == Some(MANIFEST.as_bytes()) {
                    manifest = Some(section.0);
                }
            }
            CODE => check_code(section, limits)?,
            _ => {}
        }
    }
    Ok(manifest)
}

fn check_code(section: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let mut rest = Bytes(section);
    let count = rest.number().ok_or_else(cut_off)?;
    if count > limits.functions_max {
        return Err(LoadError::TooManyFunctions { count, max: limits.functions_max });
    }
    for number in 0..count {
        let len = rest.number().ok_or_else(cut_off)?;
        let body = rest.take(len).ok_or_else(cut_off)?;
        if body.len() > limits.function_bytes_max {
            let max = limits.function_bytes_max;
            return Err(LoadError::FunctionTooLong { number, len: body.len(), max });
        }
    }
    Ok(())
}

fn not_a_module(reason: &str) -> LoadError {
    LoadError::NotAModule { reason: reason.to_owned() }
}

fn cut_off() -> LoadError {
    not_a_module("it is cut off")
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// A `u32` in LEB128.
    fn number(&mut self) -> Option<u32> {
        let mut number = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    fn take(&mut self, len: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len as usize)?;
        self.0 = rest;
        Some(taken)
    }
}
