use std::io;
use std::path::{Component, Path, PathBuf};

use millrace_connect_api::SourceError;
use millrace_disk::{Disk, Entry};

/// Directories below one another that `**` goes down, so that a link to a directory above ends.
const DEPTH_MAX: usize = 32;

/// A path, or a pattern for paths.
///
/// `*` is any run of characters within a name, `?` one character, `[a-z]` one of some and `[!a-z]`
/// one of all others; `**` as a whole name is any number of directories, or everything below if it
/// comes last. As in a shell, a leading dot is matched only by a dot. To match a `*`, write `[*]`.
#[derive(Debug)]
pub(super) struct Pattern {
    text: String,
    root: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Names(Vec<char>),
    AnyDirectories,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Self {
        let root = PathBuf::from(if text.starts_with('/') { "/" } else { "" });
        let mut parts: Vec<Part> = text
            .split('/')
            .filter(|name| !name.is_empty() && *name != ".")
            .map(|name| match name {
                "**" => Part::AnyDirectories,
                _ if name.contains(['*', '?', '[']) => Part::Names(name.chars().collect()),
                _ => Part::Name(name.to_owned()),
            })
            .collect();
        if parts.last() == Some(&Part::AnyDirectories) {
            parts.push(Part::Names(vec!['*']));
        }
        parts.dedup_by(|next, part| *next == Part::AnyDirectories && next == part);
        Self { text: text.to_owned(), root, parts }
    }

    /// The pattern as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it names one file, there or not.
    pub(super) fn is_path(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Name(_)))
    }

    /// Whether it would find this path if a file were there.
    pub(super) fn matches(&self, path: &Path) -> bool {
        let names: Option<Vec<&str>> = path
            .components()
            .filter(|component| !matches!(component, Component::RootDir | Component::CurDir))
            .map(|component| component.as_os_str().to_str())
            .collect();
        path.has_root() == self.root.has_root()
            && names.is_some_and(|names| parts_match(&self.parts, &names))
    }

    /// Adds the paths that match. A path whose last name is no pattern is added without looking
    /// whether there is such a file.
    pub(super) fn find(
        &self,
        disk: &dyn Disk,
        found: &mut Vec<PathBuf>,
    ) -> Result<(), SourceError> {
        walk(disk, &self.root, &self.parts, 0, found)
    }
}

fn walk(
    disk: &dyn Disk,
    dir: &Path,
    parts: &[Part],
    depth: usize,
    found: &mut Vec<PathBuf>,
) -> Result<(), SourceError> {
    let Some((part, below)) = parts.split_first() else { return Ok(()) };
    match part {
        Part::Name(name) if below.is_empty() => found.push(dir.join(name)),
        Part::Name(name) => walk(disk, &dir.join(name), below, depth, found)?,
        Part::Names(pattern) => {
            for entry in list(disk, dir)? {
                let wanted = entry.is_dir != below.is_empty();
                if wanted && name_matches(pattern, &entry.name) {
                    let path = dir.join(&entry.name);
                    if below.is_empty() {
                        found.push(path);
                    } else {
                        walk(disk, &path, below, depth, found)?;
                    }
                }
            }
        }
        Part::AnyDirectories => {
            walk(disk, dir, below, depth, found)?;
            if depth < DEPTH_MAX {
                for entry in list(disk, dir)? {
                    if entry.is_dir && !entry.name.starts_with('.') {
                        walk(disk, &dir.join(&entry.name), parts, depth + 1, found)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn parts_match(parts: &[Part], names: &[&str]) -> bool {
    let (Some((part, below)), Some((name, rest))) = (parts.split_first(), names.split_first())
    else {
        return parts.is_empty() && names.is_empty();
    };
    match part {
        Part::Name(wanted) => wanted == name && parts_match(below, rest),
        Part::Names(pattern) => name_matches(pattern, name) && parts_match(below, rest),
        Part::AnyDirectories => {
            parts_match(below, names) || !name.starts_with('.') && parts_match(parts, rest)
        }
    }
}

/// The entries of a directory; none if it is not there or no directory.
fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<Entry>, SourceError> {
    let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    match disk.list(listed) {
        Ok(entries) => Ok(entries),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(source) => Err(SourceError::Io { path: listed.display().to_string(), source }),
    }
}

/// Whether a name matches a pattern without `/`.
///
/// Only the last `*` is ever taken back, which is enough because a later one can stand for all
/// that an earlier one could; so the time is at most the product of the two lengths.
fn name_matches(pattern: &[char], name: &str) -> bool {
    if name.starts_with('.') && pattern.first() != Some(&'.') {
        return false;
    }
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        match name.get(n) {
            None if p == pattern.len() => return true,
            None => return false,
            Some(&letter) => match one(&pattern[p..], letter) {
                Some(len) => (p, n) = (p + len, n + 1),
                None => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
            },
        }
    }
}

/// The length of the pattern's first element if it matches the letter. An open `[` without its
/// `]` is itself.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match class(pattern, letter) {
            Some((len, matches)) => matches.then_some(len),
            None => (letter == '[').then_some(1),
        },
        plain => (*plain == letter).then_some(1),
    }
}

/// The length of a class such as `[!a-z_]`, and whether it has the letter.
fn class(pattern: &[char], letter: char) -> Option<(usize, bool)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = if negated { 2 } else { 1 };
    // A `]` in the first place is a member.
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let members = &pattern[first..end];
    let mut at = 0;
    let mut has = false;
    while let Some(&low) = members.get(at) {
        match (members.get(at + 1), members.get(at + 2)) {
            (Some('-'), Some(&high)) => {
                has |= (low..=high).contains(&letter);
                at += 3;
            }
            _ => {
                has |= low == letter;
                at += 1;
            }
        }
    }
    Some((end + 1, has != negated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, name: &str, expected: bool) {
        let letters: Vec<char> = pattern.chars().collect();
        assert_eq!(name_matches(&letters, name), expected, "{pattern} on {name}");
    }

    #[test]
    fn stars_and_question_marks() {
        check("*.log", "app.log", true);
        check("*.log", "app.log.1", false);
        check("app.log*", "app.log", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("*a*a*a*b", &"a".repeat(200), false);
        check("app.?", "app.é", true);
        check("app.?", "app.", false);
        check("**", "app", true);
        check("", "", true);
    }

    #[test]
    fn classes() {
        check("app.[0-9]", "app.7", true);
        check("app.[0-9]", "app.x", false);
        check("app.[!0-9]", "app.x", true);
        check("app.[^0-9]", "app.3", false);
        check("[]x]y", "]y", true);
        check("[a-]", "-", true);
        check("[*]", "*", true);
        check("[*]", "a", false);
        check("[open", "[open", true);
        check("[", "[", true);
    }

    #[test]
    fn a_hidden_file_needs_a_dot() {
        check("*", ".hidden", false);
        check("?hidden", ".hidden", false);
        check(".*", ".hidden", true);
    }

    #[track_caller]
    fn check_tree(pattern: &str, expected: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a.log", "x/a.log", "x/b.txt", "x/y/a.log", "z/y/c.log", ".h/a.log"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("z/up")).unwrap();

        let pattern = Pattern::parse(&format!("{}/{pattern}", dir.path().display()));
        let mut found = Vec::new();
        pattern.find(&millrace_disk::RealDisk::new(), &mut found).unwrap();
        let mut found: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned())
            .filter(|path| !path.contains("up/"))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{}", pattern.text());
        for path in ["a.log", "x/a.log", "x/b.txt", "x/y/a.log", "z/y/c.log", ".h/a.log"] {
            let matches = pattern.matches(&dir.path().join(path));
            assert_eq!(matches, expected.contains(&path), "{path} on {}", pattern.text());
        }
    }

    #[test]
    fn a_relative_path_matches_as_it_is_found() {
        let pattern = Pattern::parse("./logs/*.log");
        assert!(pattern.matches(Path::new("logs/a.log")));
        assert!(!pattern.matches(Path::new("/logs/a.log")));
        assert!(!pattern.matches(Path::new("logs/a.log/b.log")));
        assert!(Pattern::parse("../a.log").matches(Path::new("../a.log")));
    }

    #[test]
    fn directories() {
        check_tree("*.log", &["a.log"]);
        check_tree("*/*.log", &["x/a.log"]);
        check_tree("x/*", &["x/a.log", "x/b.txt"]);
        check_tree("**/*.log", &["a.log", "x/a.log", "x/y/a.log", "z/y/c.log"]);
        check_tree("x/**", &["x/a.log", "x/b.txt", "x/y/a.log"]);
        check_tree("**/y/*", &["x/y/a.log", "z/y/c.log"]);
        check_tree("**/**/y/*.log", &["x/y/a.log", "z/y/c.log"]);
        check_tree("nowhere/*", &[]);
        check_tree("a.log/*", &[]);
        check_tree("x/q", &["x/q"]);
    }
}
