use super::*;

const LZ4_FLAG: u32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_LZ4;
const ZSTD_FLAG: u32 = sys_flag::COMPRESSED | sys_flag::COMPRESSION_ZSTD;

/// How [`java`] names the formats.
const FORMATS: [(&str, u32); 3] = [("lz4", LZ4_FLAG), ("zstd", ZSTD_FLAG), ("zlib", ZLIB_FLAG)];

/// A body as Apache's client has compressed it: `java/README.md` tells how they were made.
fn java(name: &str) -> Vec<u8> {
    let path = format!("{}/src/compression/java/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).unwrap()
}

/// The bodies that are there in each format, by name.
fn bodies() -> [(&'static str, Vec<u8>); 3] {
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (state >> 16) as u8
    };
    [
        ("text", b"millrace ".repeat(1000)),
        // Nothing can be left out of it, so that it is stored as it is.
        ("noise", (0..1000).map(|_| noise()).collect()),
        // Two blocks of LZ4, which are of 4 MiB at most.
        ("large", (0..5_usize << 20).map(|at| (at >> 14) as u8).collect()),
    ]
}

#[test]
fn what_was_compressed_comes_back() {
    let body = b"millrace ".repeat(1000);
    let small = compress(&body);
    assert!(small.len() < 200);
    assert_eq!(decompress(&small, ZLIB_FLAG).unwrap(), body);
    // Old clients name no format.
    assert_eq!(decompress(&small, sys_flag::COMPRESSED).unwrap(), body);
    // Without the flag it is what it is.
    assert_eq!(decompress(&small, 0).unwrap(), small);
    for (_, flag) in FORMATS {
        assert_eq!(decompress(b"", flag).unwrap(), &b""[..]);
    }
}

#[test]
fn what_java_compressed_is_read() {
    for (name, body) in bodies() {
        for (format, flag) in FORMATS {
            let stored = java(&format!("{format}-{name}"));
            let decompressed = decompress(&stored, flag);
            assert!(decompressed.as_deref() == Ok(&body[..]), "{name} by {format}");
        }
    }
}

#[test]
fn what_is_cut_off_or_damaged_is_never_taken_for_a_body() {
    for (format, flag) in FORMATS {
        for name in ["text", "noise"] {
            let whole = java(&format!("{format}-{name}"));
            for len in 1..whole.len() {
                let error = decompress(&whole[..len], flag).unwrap_err();
                assert!(
                    error.contains("is not what"),
                    "{len} bytes of {name} by {format}: {error}"
                );
            }
            // Whatever is flipped, it ends without a panic.
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << (at % 8);
                let _ = decompress_within(&damaged, flag, 1 << 20);
            }
        }
    }
    for (format, flag) in FORMATS {
        let error = decompress(b"??", flag).unwrap_err();
        assert!(error.to_lowercase().contains(format), "{error}");
    }
    let nameless = sys_flag::COMPRESSED | 0x400;
    assert!(decompress(b"??", nameless).unwrap_err().contains("no name"));
}

#[test]
fn a_bomb_is_an_error() {
    let large = &bodies()[2].1;
    let bombs = FORMATS.map(|(format, flag)| (java(&format!("{format}-large")), flag));
    for (bomb, flag) in bombs {
        assert!(bomb.len() * 100 < large.len(), "{}", bomb.len());
        let error = decompress_within(&bomb, flag, large.len() - 1).unwrap_err();
        assert!(error.contains("64 MiB"), "{error}");
        assert!(decompress_within(&bomb, flag, large.len()).is_ok(), "{flag:#x}");
        // One within what is left of the first block.
        assert!(decompress_within(&bomb, flag, 1000).unwrap_err().contains("64 MiB"));
    }
    // A block that is stored as it is.
    let (stored, flag) = (java("lz4-noise"), LZ4_FLAG);
    assert!(decompress_within(&stored, flag, 999).unwrap_err().contains("64 MiB"));
    assert!(decompress_within(&stored, flag, 1000).is_ok());
}

/// Frames as other programs write them: in blocks that refer to one another, with checksums of
/// blocks and of the content, with the content's length, and one after the other.
#[test]
fn frames_of_lz4_of_every_kind_are_read() {
    let lines: String = (0..100).map(|n| format!("{n}\n")).collect();
    let lines = lines.repeat(400).into_bytes();
    for name in ["cli-linked", "cli-checked", "cli-sized"] {
        let frame = java(name);
        assert!(decompress(&frame, LZ4_FLAG).as_deref() == Ok(&lines[..]), "{name}");
        let twice = [&frame[..], &frame[..]].concat();
        let decompressed = decompress(&twice, LZ4_FLAG).unwrap();
        assert!(decompressed == [&lines[..], &lines[..]].concat(), "{name} twice");
    }
    // Each of its checksums is looked at.
    let frame = java("cli-checked");
    for at in [frame.len() - 1, frame.len() - 9, 6] {
        let mut damaged = frame.clone();
        damaged[at] ^= 1;
        assert!(decompress(&damaged, LZ4_FLAG).is_err(), "byte {at}");
    }
}
