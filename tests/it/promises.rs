//! Promises of ARCHITECTURE.md that are about what code must not do, held against the code.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every source file below a folder that is in the program, not in its tests, with what is left of
/// it without comments.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&root().join(folder).join("src"), &mut found);
    assert!(!found.is_empty(), "{folder} has no source");
    found
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            // A folder of tests has no code, also where the file that names it has.
            if !["tests", "testing"].contains(&&*name) {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&&*name) {
            found.push((path.clone(), code(&fs::read_to_string(&path).unwrap())));
        }
    }
}

/// What stands before the tests of a file, without comments.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..tests].lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where code of these folders has one of these words.
fn uses(folders: &[&str], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (path, code) in folders.iter().flat_map(|folder| sources(folder)) {
        for (number, line) in code.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| has_word(line, word)) {
                let path = path.strip_prefix(root()).unwrap();
                found.push(format!("{}:{}: {word}: {line}", path.display(), number + 1));
            }
        }
    }
    found
}

/// Whether a word is in a line, and not only a part of another one.
fn has_word(line: &str, word: &str) -> bool {
    let is_part =
        |char: Option<char>| char.is_some_and(|char| char.is_alphanumeric() || char == '_');
    line.match_indices(word).any(|(at, _)| {
        !is_part(line[..at].chars().next_back()) && !is_part(line[at + word.len()..].chars().next())
    })
}

/// The packages that a crate depends on outside of its tests.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut found = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[dependencies]" && !line.trim().is_empty() {
            found.push(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

/// Ways to a file that pass by `disk`.
const FILES: [&str; 6] = ["std::fs", "tokio::fs", "fs::File", "OpenOptions", "memmap2", "rustix"];

/// Crates whose files a simulation has to be able to take away.
const ON_DISK: [&str; 8] = [
    "broker/store",
    "broker/engine",
    "connect/sources",
    "connect/runtime",
    "sinks/files",
    "sinks/http",
    "sinks/index",
    "sinks/stdout",
];

#[test]
fn all_files_go_through_disk() {
    let found = uses(&ON_DISK, &FILES);
    assert!(found.is_empty(), "P10: these pass by `disk`:\n{}", found.join("\n"));
    for folder in ON_DISK {
        let around = dependencies(folder).into_iter().filter(|name| FILES.contains(&&**name));
        assert_eq!(around.collect::<Vec<_>>(), Vec::<String>::new(), "P10: {folder}");
    }
    // Whoever looks finds what is there.
    assert!(!uses(&["broker/disk"], &FILES).is_empty());
}

/// Ways to the time, to other threads and to the network.
const OUTSIDE: [&str; 14] = [
    "Instant",
    "SystemTime",
    "std::thread",
    "thread::spawn",
    "thread::sleep",
    "Mutex",
    "Condvar",
    "mpsc",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "async",
    "tokio",
    "mio",
];

#[test]
fn the_engine_has_no_socket_thread_or_clock_and_knows_no_filter_language() {
    let found = uses(&["broker/engine"], &OUTSIDE);
    assert!(found.is_empty(), "P11: the engine reaches outside:\n{}", found.join("\n"));
    // Each of these is data and text; one more has to be looked at.
    let known = ["millrace-types", "millrace-store", "bytes", "serde", "serde_json", "thiserror"];
    let mut others = dependencies("broker/engine");
    others.retain(|name| !known.contains(&&**name) && name != "tracing");
    assert_eq!(others, Vec::<String>::new(), "P11: what are these to the engine?");
    // Whoever looks finds what is there.
    assert!(!uses(&["broker/server"], &OUTSIDE).is_empty());
    assert!(dependencies("broker/server").contains(&"millrace-sql-filter".to_owned()));
}

/// What ARCHITECTURE.md says of it under "Threads".
const UNSAFE: [&str; 3] = [
    "broker/disk/src/mapped_file.rs",
    "broker/server/src/reactor/heap.rs",
    "wasm-filters/guest/src/",
];

#[test]
fn unsafe_code_stands_in_three_places() {
    let mut files = Vec::new();
    for folder in ["broker", "connect", "sinks", "sql-filter", "wasm-filters"] {
        collect(&root().join(folder), &mut files);
    }
    files.retain(|(_, code)| code.lines().any(|line| has_word(line, "unsafe")));
    let files =
        files.iter().map(|(path, _)| path.strip_prefix(root()).unwrap().display().to_string());
    let (known, others): (Vec<_>, Vec<_>) =
        files.partition(|file| UNSAFE.iter().any(|place| file.starts_with(place)));
    assert_eq!(others, Vec::<String>::new());
    assert!(UNSAFE.iter().all(|place| known.iter().any(|file| file.starts_with(place))));
}

#[test]
fn words_are_found_and_parts_of_words_are_not() {
    let code = code(
        "use std::fs; // std::net\nlet x = std::fsync();\n\n#[cfg(test)]\nmod tests {\n use std::fs;",
    );
    let lines: Vec<bool> = code.lines().map(|line| has_word(line, "std::fs")).collect();
    assert_eq!(lines, [true, false]);
    assert!(!has_word(&code, "std::net"));
}
