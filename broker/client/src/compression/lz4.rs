use lz4_flex::block::{DecompressError, decompress_into, decompress_into_with_dict};
use twox_hash::XxHash32;

use super::Fault;

/// A frame begins with it.
const MAGIC: [u8; 4] = 0x184D_2204_u32.to_le_bytes();
/// The bit of a block's length that says that the block is as it was.
const STORED: u32 = 1 << 31;
/// So far back the blocks of a frame refer to those before them.
const WINDOW_BYTES: usize = 64 << 10;
/// No byte of a block becomes more than this.
const RATIO_MAX: usize = 255;

/// What a frame says of itself at its begin.
///
/// | bytes | what                                                                                  |
/// |-------|---------------------------------------------------------------------------------------|
/// | 4     | the magic number                                                                      |
/// | 1     | version (2 bits, 1), blocks are independent, blocks have checksums, content has a     |
/// |       | length, content has a checksum, reserved, there is a dictionary                       |
/// | 1     | reserved, the largest block (3 bits: 4 to 7 are 64 KiB, 256 KiB, 1 MiB, 4 MiB),       |
/// |       | reserved (4 bits)                                                                     |
/// | 0, 8  | length of the content, little-endian                                                  |
/// | 1     | second byte of the XXH32 of all from the version on                                   |
///
/// Then come blocks, each with its length (4 bytes) and perhaps its checksum behind it, and a block
/// of length 0. Source: the LZ4 frame format, 1.6.
struct Head {
    linked: bool,
    block_checksums: bool,
    content_bytes: Option<u64>,
    content_checksum: bool,
    block_bytes_max: usize,
}

/// Decompresses one frame after the other. (In RocketMQ, `Lz4Compressor`, whose frames have
/// independent blocks of up to 4 MiB and no checksum but that of their head.)
pub(super) fn decompress(mut frames: &[u8], bytes_max: usize) -> Result<Vec<u8>, Fault> {
    let mut content = Vec::new();
    while !frames.is_empty() {
        decompress_frame(&mut frames, &mut content, bytes_max)?;
    }
    Ok(content)
}

fn decompress_frame(
    from: &mut &[u8],
    content: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), Fault> {
    let head = Head::read(from)?;
    let begin = content.len();
    loop {
        let len = word(from)?;
        if len == 0 {
            break;
        }
        let block = take(from, (len & !STORED) as usize)?;
        if block.len() > head.block_bytes_max {
            return Err(Fault::Malformed);
        }
        if head.block_checksums {
            check(block, word(from)?)?;
        }
        if len & STORED == 0 {
            head.decompress(block, content, begin, bytes_max)?;
        } else if block.len() > bytes_max - content.len() {
            return Err(Fault::TooLarge);
        } else {
            content.extend_from_slice(block);
        }
    }
    let content = &content[begin..];
    if head.content_bytes.is_some_and(|bytes| bytes != content.len() as u64) {
        return Err(Fault::Malformed);
    }
    if head.content_checksum { check(content, word(from)?) } else { Ok(()) }
}

impl Head {
    fn read(from: &mut &[u8]) -> Result<Self, Fault> {
        if take(from, MAGIC.len())? != MAGIC {
            return Err(Fault::Malformed);
        }
        let all = *from;
        let [flags, sizes] = array(from)?;
        // Nobody has a dictionary to give.
        if flags & 0b1100_0011 != 0b0100_0000 || sizes & 0b1000_1111 != 0 {
            return Err(Fault::Malformed);
        }
        let block_bytes_max = match sizes >> 4 {
            size @ 4..=7 => 1 << (8 + 2 * size),
            _ => return Err(Fault::Malformed),
        };
        let content_bytes = match flags & 0b1000 {
            0 => None,
            _ => Some(u64::from_le_bytes(array(from)?)),
        };
        let checked = &all[..all.len() - from.len()];
        let [checksum] = array(from)?;
        if XxHash32::oneshot(0, checked).to_le_bytes()[1] != checksum {
            return Err(Fault::Malformed);
        }
        Ok(Self {
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_bytes,
            content_checksum: flags & 0b100 != 0,
            block_bytes_max,
        })
    }

    /// Decompresses a block of a frame whose content begins at `begin`.
    fn decompress(
        &self,
        block: &[u8],
        content: &mut Vec<u8>,
        begin: usize,
        bytes_max: usize,
    ) -> Result<(), Fault> {
        let end = content.len();
        // A small block must not cost what a large one may.
        let most = block.len().saturating_mul(RATIO_MAX).min(self.block_bytes_max);
        let room = most.min(bytes_max - end);
        content.resize(end + room, 0);
        let (before, to) = content.split_at_mut(end);
        let decompressed = if self.linked {
            let window = &before[begin.max(end.saturating_sub(WINDOW_BYTES))..];
            decompress_into_with_dict(block, to, window)
        } else {
            decompress_into(block, to)
        };
        match decompressed {
            Ok(len) => {
                content.truncate(end + len);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if room < most => Err(Fault::TooLarge),
            Err(_) => Err(Fault::Malformed),
        }
    }
}

fn check(bytes: &[u8], checksum: u32) -> Result<(), Fault> {
    if XxHash32::oneshot(0, bytes) == checksum { Ok(()) } else { Err(Fault::Malformed) }
}

fn word(from: &mut &[u8]) -> Result<u32, Fault> {
    array(from).map(u32::from_le_bytes)
}

fn array<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (taken, rest) = from.split_first_chunk().ok_or(Fault::Malformed)?;
    *from = rest;
    Ok(*taken)
}

fn take<'a>(from: &mut &'a [u8], len: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = from.split_at_checked(len).ok_or(Fault::Malformed)?;
    *from = rest;
    Ok(taken)
}
