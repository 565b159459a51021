use std::io;
use std::sync::Arc;

use memchr::memchr;
use millrace_disk::File;

/// The longest header, bytes. It goes with every record, and brokers take no more than 32 KiB of
/// properties with a message.
const HEADER_MAX: usize = 8 << 10;

/// Some programs begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The first line of a file of this size, without its end and without a byte order mark, or why it
/// can be no header. None while there is no end of it; `is_whole` says that none will come.
pub(super) fn read(
    file: &dyn File,
    size: u64,
    is_whole: bool,
) -> io::Result<Option<Result<Arc<str>, String>>> {
    let most = BYTE_ORDER_MARK.len() + HEADER_MAX + "\r\n".len();
    let mut bytes = vec![0; most.min(usize::try_from(size).unwrap_or(most))];
    let read = file.read_at(&mut bytes, 0)?;
    let bytes = &bytes[..read];
    let line = match memchr(b'\n', bytes) {
        Some(end) => &bytes[..end],
        None if is_whole || bytes.len() == most => bytes,
        None => return Ok(None),
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(header(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))))
}

fn header(line: &[u8]) -> Result<Arc<str>, String> {
    if line.len() > HEADER_MAX {
        return Err(format!("it takes more than {HEADER_MAX} bytes"));
    }
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("it is not UTF-8 at byte {}", error.valid_up_to()))?;
    // Properties cannot hold two of these characters, and names of columns have none of them.
    match text.find(|char: char| char.is_ascii_control() && char != '\t') {
        Some(at) => Err(format!("it has a control character at byte {at}")),
        None => Ok(text.into()),
    }
}
