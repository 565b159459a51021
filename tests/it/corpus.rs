//! The corpus of every fuzz target, through the code that the fuzzer drives.

#[allow(
    unreachable_pub,
    unused_imports,
    dead_code,
    reason = "a library for the fuzzer, which also needs a place to start from, and a module here"
)]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

#[test]
fn every_target_bears_its_corpus() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let packed = std::fs::read(dir.join(format!("{name}.pack"))).expect("a packed corpus");
        let inputs = targets::unpack(&packed);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for (n, input) in inputs.iter().enumerate() {
            let lived = std::panic::catch_unwind(|| target(input));
            assert!(lived.is_ok(), "{name}, input {n}: {input:?}");
        }
    }
}
