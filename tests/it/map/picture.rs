use std::collections::{BTreeMap, BTreeSet};

/// What the section "The map" of ARCHITECTURE.md says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picture {
    /// Each folder and its package.
    pub(super) packages: BTreeSet<(String, String)>,
    /// Who is drawn to use whom.
    pub(super) arrows: BTreeSet<(String, String)>,
    /// Whom everybody may use without an arrow.
    pub(super) for_all: BTreeSet<String>,
    /// Who uses nobody without an arrow, not even those.
    pub(super) alone: BTreeSet<String>,
}

impl Picture {
    /// Reads the page. The first block lists folders and packages, the second is the drawing, and
    /// the sentence behind it says what is not drawn.
    pub(super) fn read(page: &str) -> Self {
        let section = page.split("\n## The map\n").nth(1).expect("the page has a map");
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut blocks =
            section.split("```text\n").skip(1).filter_map(|rest| rest.split_once("```"));
        let (folders, _) = blocks.next().expect("the map begins with the folders");
        let (drawing, rest) = blocks.next().expect("the map has a drawing");
        let packages = folders.lines().map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            words.next().zip(words.next()).expect("a folder and its package")
        });
        let (for_all, alone) = rest
            .split_once("Everybody may use ")
            .and_then(|(_, rules)| rules.split_once(';'))
            .and_then(|(all, rest)| Some((all, rest.split_once(" use nobody")?.0)))
            .expect("the map says what is not drawn");
        Self {
            packages: packages.collect(),
            arrows: arrows(drawing),
            for_all: in_ticks(for_all),
            alone: in_ticks(alone),
        }
    }

    /// Everybody to whom the arrows lead from a name, one step or several.
    pub(super) fn reachable(&self, from: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            for (_, to) in self.arrows.iter().filter(|(from, _)| from == next) {
                if reached.insert(to.clone()) {
                    open.push(to);
                }
            }
        }
        reached
    }
}

fn in_ticks(text: &str) -> BTreeSet<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The arrows of a drawing.
///
/// A name, `──►` and the names behind it, with commas between them, are arrows; the last of these
/// names may go on in the same way. `├──►` and `└──►` begin at the name above them, to which a line
/// of `│` and `├` leads up.
fn arrows(drawing: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    // By column: whose line goes on below.
    let mut lines: BTreeMap<usize, String> = BTreeMap::new();
    for text in drawing.lines() {
        let mut below = BTreeMap::new();
        // Who the next name is drawn to be used by, and the name before.
        let (mut from, mut last): (Option<String>, Option<String>) = (None, None);
        let characters: Vec<char> = text.chars().collect();
        let mut column = 0;
        while let Some(&character) = characters.get(column) {
            let above = || lines.get(&column).cloned().unwrap_or_else(|| hangs(column, text));
            match character {
                ' ' | '─' => {}
                ',' => assert!(from.is_some(), "a comma without an arrow: {text}"),
                '►' => from = Some(last.take().unwrap_or_else(|| hangs(column, text))),
                '│' => {
                    below.insert(column, above());
                    (from, last) = (None, None);
                }
                '├' | '└' => {
                    (from, last) = (None, Some(above()));
                    if character == '├' {
                        below.insert(column, above());
                    }
                }
                _ => {
                    let is_name = |c: &&char| c.is_ascii_lowercase() || **c == '-';
                    let name: String = characters[column..].iter().take_while(is_name).collect();
                    assert!(!name.is_empty(), "`{character}` in the drawing: {text}");
                    // Two blanks or more, and it has nothing to do with what stands before it.
                    let is_apart = column >= 2 && characters[column - 2..column] == [' ', ' '];
                    if is_apart {
                        from = None;
                    }
                    if let Some(from) = &from {
                        found.insert((from.clone(), name.clone()));
                    }
                    below.extend((column..column + name.len()).map(|at| (at, name.clone())));
                    column += name.len() - 1;
                    last = Some(name);
                }
            }
            column += 1;
        }
        lines = below;
    }
    found
}

fn hangs(column: usize, text: &str) -> String {
    panic!("in column {column} something hangs in the air: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(drawing: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|&(from, to)| (from.to_owned(), to.to_owned()));
        assert_eq!(arrows(drawing), expected.collect(), "{drawing}");
    }

    #[test]
    fn a_drawing_is_read_as_a_person_reads_it() {
        check("a ──► b-c ──► d", &[("a", "b-c"), ("b-c", "d")]);
        check("a ──► b, c      d ──► e", &[("a", "b"), ("a", "c"), ("d", "e")]);
        check(
            "one ──► two ──► five\n │        ├────► six\n ├────► three\n └────► four",
            &[("one", "two"), ("two", "five"), ("two", "six"), ("one", "three"), ("one", "four")],
        );
        check("a      b ──► c\n└────► d", &[("b", "c"), ("a", "d")]);
    }

    #[test]
    #[should_panic(expected = "hangs in the air")]
    fn a_branch_needs_a_stem() {
        arrows("abc ──► d\n      └────► e");
    }
}
