//! The picture in ARCHITECTURE.md against the manifests: a crate uses another of ours only where
//! the drawing has an arrow, one step or several, and somebody follows each arrow.

mod picture; // what is drawn

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use picture::Picture;

/// A crate of the workspace.
#[derive(Debug)]
struct Member {
    /// Where it is, from the root.
    folder: String,
    package: String,
    /// The packages of ours that it uses. Dev dependencies are left out, because tests may use
    /// anything below them.
    uses: BTreeSet<String>,
}

impl Member {
    fn read(folder: &str) -> Self {
        let manifest = std::fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let mut section = "";
        let mut package = String::new();
        let mut uses = BTreeSet::new();
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
                // The long form: a section for each dependency.
                uses.extend(ours(line.trim_start_matches("[dependencies.")));
            } else if section == "[package]" && line.starts_with("name") {
                package = line.split('"').nth(1).unwrap().to_owned();
            } else if section == "[dependencies]" {
                uses.extend(ours(line));
            }
        }
        Self { folder: folder.to_owned(), package, uses }
    }

    /// What the drawing calls it: its package without the prefix, or all crates of the folder it
    /// is in together.
    fn is_called(&self, name: &str) -> bool {
        let short = self.package.strip_prefix("millrace-").unwrap_or("cli");
        short == name || self.folder.split_once('/').is_some_and(|(above, _)| above == name)
    }
}

/// The package that a line of a manifest names, if it is one of ours.
fn ours(line: &str) -> Option<String> {
    let name = line.split(['.', ' ', '=', ']']).next()?;
    name.starts_with("millrace").then(|| name.to_owned())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn members() -> Vec<Member> {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let members = members.split(',').map(|m| m.trim().trim_matches('"')).filter(|m| !m.is_empty());
    members.map(Member::read).collect()
}

fn architecture() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap()
}

/// Where picture and manifests do not agree.
fn differences(picture: &Picture, members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    let there = members.iter().map(|member| (member.folder.clone(), member.package.clone()));
    let there: BTreeSet<_> = there.collect();
    for (folder, package) in there.symmetric_difference(&picture.packages) {
        found.push(format!("the map and the workspace differ about {package} in {folder}"));
    }
    let any_is =
        |member: &Member, names: &BTreeSet<String>| names.iter().any(|name| member.is_called(name));
    let package = |name: &String| members.iter().find(|member| member.package == *name).unwrap();
    for member in members.iter().filter(|member| member.folder != "tests") {
        let names = picture.arrows.iter().flat_map(|(from, to)| [from, to]);
        let own = names.filter(|name| member.is_called(name));
        let mut allowed: BTreeSet<_> = own.flat_map(|name| picture.reachable(name)).collect();
        if !any_is(member, &picture.alone) {
            allowed.extend(picture.for_all.iter().cloned());
        }
        for used in member.uses.iter().filter(|used| !any_is(package(used), &allowed)) {
            found.push(format!("{} uses {used}, and no arrow leads there", member.package));
        }
    }
    for (from, to) in &picture.arrows {
        let mut users = members.iter().filter(|member| member.is_called(from));
        if !users.any(|user| user.uses.iter().any(|used| package(used).is_called(to))) {
            found.push(format!("there is an arrow from {from} to {to}, and nobody follows it"));
        }
    }
    found
}

#[test]
fn picture_and_manifests_agree() {
    let differences = differences(&Picture::read(&architecture()), &members());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn an_arrow_too_few_and_one_too_many_are_noticed() {
    let (page, members) = (architecture(), members());
    let whole = Picture::read(&page);
    for arrow in &whole.arrows {
        let mut picture = Picture::read(&page);
        picture.arrows.remove(arrow);
        let (from, to) = arrow;
        // Another way may lead there; drawn the other way round it is wrong in any case.
        let other_way = picture.reachable(from).contains(to);
        assert_eq!(differences(&picture, &members).is_empty(), other_way, "{from} to {to}");
        picture.arrows.insert((to.clone(), from.clone()));
        assert!(!differences(&picture, &members).is_empty(), "{to} to {from}");
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
    let architecture = architecture();
    let promises: Vec<_> = architecture
        .lines()
        .filter_map(|line| line.strip_prefix("**P")?.split_once('.'))
        .map(|(number, _)| format!("(P{number})"))
        .collect();
    assert!(promises.len() > 10, "the promises were not found: {promises:?}");
    let mut code = Vec::new();
    ["broker", "connect", "sinks"].iter().for_each(|dir| sources(&root().join(dir), &mut code));
    for promise in promises {
        assert!(code.iter().any(|file| file.contains(&promise)), "{promise} is cited nowhere");
    }
}
