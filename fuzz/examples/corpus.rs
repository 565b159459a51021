//! Keeps the corpus of each target in one file, `fuzz/corpus/<target>.pack`.
//!
//! `corpus unpack DIR` writes it, and the inputs that a fuzzer starts from, into a directory for each
//! target; `corpus pack DIR` does the reverse, smallest inputs first, up to a limit for each target.

use std::path::{Path, PathBuf};

const PACK_BYTES_MAX: usize = 40 << 10;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [verb, dir] = arguments.as_slice() else {
        panic!("corpus pack|unpack DIR");
    };
    let packs = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, _) in millrace_fuzz::TARGETS {
        let (dir, pack) = (PathBuf::from(dir).join(target), packs.join(format!("{target}.pack")));
        match verb.as_str() {
            "unpack" => unpack(target, &pack, &dir)?,
            "pack" => std::fs::write(pack, packed(&dir)?)?,
            other => panic!("{other} is neither pack nor unpack"),
        }
    }
    Ok(())
}

fn unpack(target: &str, pack: &Path, dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let packed = if pack.exists() { std::fs::read(pack)? } else { Vec::new() };
    let inputs = millrace_fuzz::unpack(&packed).into_iter().map(<[u8]>::to_vec);
    for (n, input) in inputs.chain(millrace_fuzz::seeds(target)).enumerate() {
        std::fs::write(dir.join(format!("{n:05}")), input)?;
    }
    Ok(())
}

fn packed(dir: &Path) -> std::io::Result<Vec<u8>> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        inputs.push(std::fs::read(entry?.path())?);
    }
    inputs.sort_by_key(|input| (input.len(), input.clone()));
    let mut out = Vec::new();
    for input in inputs {
        if out.len() + 4 + input.len() > PACK_BYTES_MAX {
            break;
        }
        out.extend_from_slice(&(input.len() as u32).to_be_bytes());
        out.extend_from_slice(&input);
    }
    Ok(out)
}
