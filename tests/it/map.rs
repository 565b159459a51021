//! The picture in ARCHITECTURE.md against the manifests: a crate uses another of ours only where
//! the map has an arrow, one step or several.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The arrows. `types` lies at the end of every path and needs none.
const ARROWS: [(&str, &[&str]); 14] = [
    ("server", &["engine", "sql-filter", "namesrv", "client"]),
    ("engine", &["store"]),
    ("store", &["disk"]),
    ("client", &["transport", "disk"]),
    ("transport", &["protocol"]),
    ("namesrv", &[]),
    ("protocol", &[]),
    ("cli", &["runtime", "sources", "sink-files", "server"]),
    ("runtime", &["client", "config", "connect-api"]),
    ("config", &["sql-filter", "connect-api"]),
    ("sources", &["connect-api", "client", "disk"]),
    ("sink-files", &["connect-api", "disk"]),
    ("connect-api", &[]),
    ("types", &[]),
];
/// Crates that use no crate of ours.
const ALONE: [&str; 4] = ["disk", "sql-filter", "wasm-host", "wasm-guest"];

/// The workspace's own crates and what they use of each other, without the prefix; dev
/// dependencies are left out, because tests may use anything below them.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let members = members.split(',').map(|m| m.trim().trim_matches('"')).filter(|m| !m.is_empty());
    members.map(|member| read(&root.join(member))).collect()
}

fn read(dir: &Path) -> (String, BTreeSet<String>) {
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml")).unwrap();
    let mut section = "";
    let mut name = String::new();
    let mut uses = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        } else if section == "[package]" && line.starts_with("name") {
            name = short(line.split('"').nth(1).unwrap());
        } else if section == "[dependencies]" && line.starts_with("millrace") {
            uses.insert(short(line.split(['.', ' ', '=']).next().unwrap()));
        }
    }
    (name, uses)
}

fn short(package: &str) -> String {
    package.strip_prefix("millrace-").unwrap_or("cli").to_owned()
}

/// Everything that can be reached from a crate along the arrows.
fn reachable(from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::from(["types".to_owned()]);
    let mut open = vec![from.to_owned()];
    while let Some(next) = open.pop() {
        let arrows = ARROWS.iter().find(|(name, _)| *name == next).map_or(&[][..], |(_, to)| to);
        open.extend(
            arrows.iter().filter(|to| reached.insert((**to).to_owned())).map(|to| (*to).into()),
        );
    }
    reached
}

#[test]
fn crates_follow_the_arrows() {
    let used = used();
    assert!(used.len() > ARROWS.len(), "members were not found: {used:?}");
    for (name, uses) in &used {
        if name == "tests" {
            continue;
        }
        let allowed =
            if ALONE.contains(&name.as_str()) { BTreeSet::new() } else { reachable(name) };
        let stray: Vec<_> = uses.difference(&allowed).collect();
        assert!(stray.is_empty(), "{name} uses {stray:?}, and the map has no such arrow");
    }
}

/// All Rust sources below a folder.
fn sources(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_promise_is_cited_in_the_code_that_keeps_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let promises: Vec<_> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("**P")?.split_once('.'))
        .map(|(number, _)| format!("(P{number})"))
        .collect();
    assert!(promises.len() > 10, "the promises were not found: {promises:?}");
    let mut code = Vec::new();
    ["broker", "connect", "sinks"].iter().for_each(|dir| sources(&root.join(dir), &mut code));
    for promise in promises {
        assert!(code.iter().any(|file| file.contains(&promise)), "{promise} is cited nowhere");
    }
}

#[test]
fn the_picture_names_every_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let picture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    for name in used().keys().filter(|name| *name != "cli") {
        let package = format!("millrace-{name}");
        assert!(picture.contains(&package), "ARCHITECTURE.md does not mention {package}");
    }
}
