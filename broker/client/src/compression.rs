//! Bodies that producers compressed.

use bytes::Bytes;
use millrace_types::record::sys_flag;

/// The level that Java's producers use.
const LEVEL: u8 = 5;
/// A broker takes 4 MiB; what is larger than this was not meant to be a message.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The three bits of the system flag that name the format. None of them: zlib, by old clients.
const TYPE_MASK: u32 = 0x700;
const TYPE_LZ4: u32 = 0x100;
const TYPE_ZSTD: u32 = 0x200;
const TYPE_ZLIB: u32 = 0x300;

/// The flag of a body that [`compress`] made.
pub(crate) const ZLIB_FLAG: u32 = sys_flag::COMPRESSED | TYPE_ZLIB;

/// Compresses with zlib, which every client reads.
pub(crate) fn compress(body: &[u8]) -> Vec<u8> {
    miniz_oxide::deflate::compress_to_vec_zlib(body, LEVEL)
}

/// The body as the producer meant it; why not, if that cannot be said.
pub(crate) fn decompress(body: &Bytes, flag: u32) -> Result<Bytes, &'static str> {
    decompress_within(body, flag, BODY_BYTES_MAX)
}

fn decompress_within(body: &Bytes, flag: u32, bytes_max: usize) -> Result<Bytes, &'static str> {
    if flag & sys_flag::COMPRESSED == 0 {
        return Ok(body.clone());
    }
    match flag & TYPE_MASK {
        0 | TYPE_ZLIB => {
            let inflated = miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(body, bytes_max);
            inflated.map(Bytes::from).map_err(|_| "the body is not what zlib makes, or too large")
        }
        TYPE_LZ4 => Err("the body is compressed with LZ4, which this program does not read"),
        TYPE_ZSTD => Err("the body is compressed with zstd, which this program does not read"),
        _ => Err("the body is compressed in a way that has no name"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let body = Bytes::from(b"millrace ".repeat(1000));
        let small = Bytes::from(compress(&body));
        assert!(small.len() < 200);
        assert_eq!(decompress(&small, ZLIB_FLAG).unwrap(), body);
        // Old clients name no format.
        assert_eq!(decompress(&small, sys_flag::COMPRESSED).unwrap(), body);
        // Without the flag it is what it is.
        assert_eq!(decompress(&small, 0).unwrap(), small);
    }

    #[test]
    fn a_bomb_or_garbage_is_an_error() {
        let bomb = Bytes::from(compress(&[0; 10_001]));
        assert!(decompress_within(&bomb, ZLIB_FLAG, 10_000).is_err());
        assert!(decompress_within(&bomb, ZLIB_FLAG, 10_001).is_ok());
        assert!(decompress(&Bytes::from_static(b"??"), ZLIB_FLAG).is_err());
        let other = sys_flag::COMPRESSED | TYPE_LZ4;
        assert!(decompress(&Bytes::from_static(b"??"), other).unwrap_err().contains("LZ4"));
    }
}
