//! Bodies that producers compressed.

use std::borrow::Cow;
use std::io::Read;

use millrace_types::record::sys_flag;
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use zstd::stream::read::Decoder;

mod lz4; // frames of LZ4

/// The level that Java's producers use.
const LEVEL: u8 = 5;
/// A broker takes 4 MiB; what is larger than this was not meant to be a message.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The flag of a body that [`compress`] made.
pub(crate) const ZLIB_FLAG: u32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZLIB;
/// The bits of the system flag that tell whether a body is compressed, and how.
pub(crate) const FLAGS: u32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_MASK;

/// Compresses with zlib, which every client reads.
pub(crate) fn compress(body: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(body, LEVEL)
}

/// The body as the producer meant it, by the record's system flag; why not, if that cannot be said.
pub fn decompress(body: &[u8], flag: u32) -> Result<Cow<'_, [u8]>, &'static str> {
    decompress_within(body, flag, BODY_BYTES_MAX)
}

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// It would become more than it may.
    TooLarge,
    /// It is something else, or not all of it.
    Malformed,
}

fn decompress_within(
    body: &[u8],
    flag: u32,
    bytes_max: usize,
) -> Result<Cow<'_, [u8]>, &'static str> {
    // Nobody compresses nothing, and Java's clients do not look into an empty body.
    if flag & sys_flag::COMPRESSED == 0 || body.is_empty() {
        return Ok(Cow::Borrowed(body));
    }
    let (decompressed, malformed) = match flag & sys_flag::COMPRESSION_MASK {
        // Old clients name no format.
        0 | sys_flag::COMPRESSION_ZLIB => {
            (zlib(body, bytes_max), "the body is not what zlib makes")
        }
        sys_flag::COMPRESSION_LZ4 => {
            (lz4::decompress(body, bytes_max), "the body is not what LZ4 makes")
        }
        sys_flag::COMPRESSION_ZSTD => (zstd(body, bytes_max), "the body is not what zstd makes"),
        _ => return Err("the body is compressed in a way that has no name"),
    };
    decompressed.map(Cow::Owned).map_err(|fault| match fault {
        Fault::TooLarge => "the body takes more than 64 MiB once it is decompressed",
        Fault::Malformed => malformed,
    })
}

fn zlib(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    decompress_to_vec_zlib_with_limit(body, bytes_max).map_err(|error| match error.status {
        TINFLStatus::HasMoreOutput => Fault::TooLarge,
        _ => Fault::Malformed,
    })
}

/// Frames tell their length if they want to, so it is read as it comes.
fn zstd(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut decoder = Decoder::with_buffer(body).map_err(|_| Fault::Malformed)?;
    // A window is memory, too; Java's levels take 8 MiB of it at most.
    decoder.window_log_max(26).map_err(|_| Fault::Malformed)?;
    let mut decompressed = Vec::new();
    let one_too_many = bytes_max as u64 + 1;
    decoder.take(one_too_many).read_to_end(&mut decompressed).map_err(|_| Fault::Malformed)?;
    if decompressed.len() > bytes_max { Err(Fault::TooLarge) } else { Ok(decompressed) }
}

#[cfg(test)]
mod tests;
