use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers of readers, used again once nobody looks at them any more.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Kept for the next read: so many, none larger than this.
const SPARE_MAX: usize = 8;
const SPARE_BYTES_MAX: usize = 1 << 20;

impl Buffers {
    /// A buffer of `len` bytes with whatever was in it, filled by `fill` and then shared.
    pub(crate) fn filled<E>(
        self: &Arc<Self>,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Bytes, E> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = Buffer { bytes: bytes.unwrap_or_default(), len, home: Arc::clone(self) };
        if buffer.bytes.len() < len {
            buffer.bytes.resize(len, 0);
        }
        fill(&mut buffer.bytes[..len])?;
        Ok(Bytes::from_owner(buffer))
    }
}

struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_MAX && self.bytes.capacity() <= SPARE_BYTES_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}
