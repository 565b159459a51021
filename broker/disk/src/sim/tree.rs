use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::seed::Seed;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir(u64),
}

/// The directories: the names that processes see, the durable ones, and the changes in between.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    dirs: BTreeMap<u64, Dir>,
    mentions: Mentions,
    next_dir: u64,
    next_move: u64,
}

#[derive(Clone, Debug, Default)]
struct Dir {
    live: Names,
    durable: Names,
    /// Since the last sync of this directory, in order.
    pending: Vec<Change>,
}

type Names = BTreeMap<String, Node>;

/// What becomes of some names of one directory, all at once.
#[derive(Clone, Debug)]
struct Change {
    sets: Vec<Set>,
    /// Half of a move between two directories; the other half is in the other one.
    half: Option<Half>,
}

/// What a name stands for from now on.
type Set = (String, Option<Node>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Half {
    number: u64,
    other: u64,
}

const ROOT: u64 = 0;

const REACHABLE: &str = "directories go only in a power cut, and only those that no name reaches";

/// The longest name that Linux file systems take, bytes.
const NAME_BYTES_MAX: usize = 255;

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            dirs: BTreeMap::from([(ROOT, Dir::default())]),
            mentions: Mentions::default(),
            next_dir: ROOT + 1,
            next_move: 0,
        }
    }

    pub(super) fn find(&self, path: &Path) -> Result<Node, Errno> {
        let mut node = Node::Dir(ROOT);
        for name in names(path)? {
            let Node::Dir(dir) = node else {
                return Err(Errno::NOTDIR);
            };
            node = *self.dirs[&dir].live.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(node)
    }

    pub(super) fn find_dir(&self, path: &Path) -> Result<u64, Errno> {
        match self.find(path)? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    /// The directory that has, or could have, the last name of a path, and that name.
    pub(super) fn place(&self, path: &Path) -> Result<(u64, String), Errno> {
        let mut names = names(path)?;
        let name = names.pop().ok_or(Errno::EXIST)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Errno::NAMETOOLONG);
        }
        let dir = self.find_dir(&names.iter().collect::<PathBuf>())?;
        Ok((dir, name.to_owned()))
    }

    pub(super) fn get(&self, dir: u64, name: &str) -> Option<Node> {
        self.dirs[&dir].live.get(name).copied()
    }

    pub(super) fn list(&self, dir: u64) -> impl Iterator<Item = (&String, Node)> {
        self.dirs[&dir].live.iter().map(|(name, node)| (name, *node))
    }

    pub(super) fn is_mentioned(&self, file: u64) -> bool {
        self.mentions.counts.contains_key(&file)
    }

    /// The files that nothing mentions any more, since this was last asked.
    pub(super) fn take_orphans(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.mentions.orphans)
    }

    pub(super) fn create_dir(&mut self, dir: u64, name: String) {
        let node = Node::Dir(self.next_dir);
        self.dirs.insert(self.next_dir, Dir::default());
        self.next_dir += 1;
        self.set(dir, name, Some(node));
    }

    /// Changes what one name stands for.
    pub(super) fn set(&mut self, dir: u64, name: String, node: Option<Node>) {
        self.change(dir, Change { sets: vec![(name, node)], half: None });
    }

    /// Moves a node, over what is at its new place.
    pub(super) fn move_to(&mut self, from: (u64, String), to: (u64, String), node: Node) {
        let taken = (from.1, None);
        let given = (to.1, Some(node));
        if from.0 == to.0 {
            self.change(from.0, Change { sets: vec![taken, given], half: None });
            return;
        }
        let number = self.next_move;
        self.next_move += 1;
        let half = |other| Some(Half { number, other });
        self.change(from.0, Change { sets: vec![taken], half: half(to.0) });
        self.change(to.0, Change { sets: vec![given], half: half(from.0) });
    }

    fn change(&mut self, dir: u64, change: Change) {
        let dir = self.dirs.get_mut(&dir).expect(REACHABLE);
        for (name, node) in &change.sets {
            // Once as live and once as pending.
            self.mentions.add(*node, 2);
            let before = put(&mut dir.live, name, *node);
            self.mentions.remove(before);
        }
        dir.pending.push(change);
    }

    /// Makes the names of a directory durable. A move from or to another directory is durable
    /// there too, with what was done there before it: no crash sees half a move.
    pub(super) fn sync(&mut self, dir: u64) {
        self.sync_first(dir, self.dirs[&dir].pending.len());
    }

    fn sync_first(&mut self, dir: u64, count: usize) {
        let mut halves = Vec::new();
        let dir = self.dirs.get_mut(&dir).expect(REACHABLE);
        for change in dir.pending.drain(..count) {
            for (name, node) in change.sets {
                // Its mention as pending becomes the one as durable.
                let before = put(&mut dir.durable, &name, node);
                self.mentions.remove(before);
            }
            halves.extend(change.half);
        }
        for Half { number, other } in halves {
            let pending = &self.dirs[&other].pending;
            let found = pending.iter().position(|c| c.half.is_some_and(|h| h.number == number));
            if let Some(position) = found {
                self.sync_first(other, position + 1);
            }
        }
    }

    /// Power fails: in each directory the first few pending changes survive.
    pub(super) fn power_cut(&mut self, seed: &mut Seed) {
        let mut kept: BTreeMap<u64, usize> = BTreeMap::new();
        for (id, dir) in self.dirs.iter().filter(|(_, dir)| !dir.pending.is_empty()) {
            let count = dir.pending.len();
            let keep = match seed.below(4) {
                0 => 0,
                1 => count,
                _ => seed.below(count as u64 + 1) as usize,
            };
            kept.insert(*id, keep);
        }
        self.drop_half_moves(&mut kept);
        for (id, keep) in kept {
            let dir = self.dirs.get_mut(&id).expect(REACHABLE);
            for change in dir.pending.drain(..).take(keep) {
                for (name, node) in change.sets {
                    put(&mut dir.durable, &name, node);
                }
            }
            dir.live = dir.durable.clone();
        }
        self.forget_unreachable();
    }

    /// Shortens what is kept until both halves of every move are, or neither.
    fn drop_half_moves(&self, kept: &mut BTreeMap<u64, usize>) {
        loop {
            let mut halves: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
            for (id, keep) in &*kept {
                let pending = &self.dirs[id].pending[..*keep];
                for (position, change) in pending.iter().enumerate() {
                    let Some(half) = change.half else { continue };
                    if halves.remove(&half.number).is_none() {
                        halves.insert(half.number, (*id, position));
                    }
                }
            }
            if halves.is_empty() {
                return;
            }
            for (dir, position) in halves.into_values() {
                let keep = kept.get_mut(&dir).expect("only what is kept has halves");
                *keep = position.min(*keep);
            }
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut todo = vec![ROOT];
        self.mentions = Mentions::default();
        while let Some(dir) = todo.pop() {
            for node in self.dirs[&dir].live.values() {
                match node {
                    // Once as live and once as durable.
                    Node::File(_) => self.mentions.add(Some(*node), 2),
                    Node::Dir(dir) => {
                        reached.insert(*dir);
                        todo.push(*dir);
                    }
                }
            }
        }
        self.dirs.retain(|id, _| reached.contains(id));
    }

    /// Everything that has a name, sorted, a directory before what is in it.
    pub(super) fn walk(&self) -> Vec<(PathBuf, Node)> {
        let mut found = Vec::new();
        self.walk_into(ROOT, Path::new("/"), &mut found);
        found
    }

    fn walk_into(&self, dir: u64, path: &Path, found: &mut Vec<(PathBuf, Node)>) {
        for (name, node) in &self.dirs[&dir].live {
            let path = path.join(name);
            found.push((path.clone(), *node));
            if let Node::Dir(dir) = node {
                self.walk_into(*dir, &path, found);
            }
        }
    }

    /// The pending changes of a directory, for people.
    pub(super) fn describe(&self, dir: u64) -> String {
        let pending = &self.dirs[&dir].pending;
        let mut text = format!("{} durable names", self.dirs[&dir].durable.len());
        for change in pending {
            for (name, node) in &change.sets {
                text += if node.is_some() { ", +" } else { ", -" };
                text += name;
            }
        }
        text
    }
}

/// The names from the root down, `.` and `..` resolved as text.
fn names(path: &Path) -> Result<Vec<&str>, Errno> {
    let mut names = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name.to_str().ok_or(Errno::ILSEQ)?),
            Component::ParentDir => drop(names.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}

fn put(names: &mut Names, name: &str, node: Option<Node>) -> Option<Node> {
    match node {
        Some(node) => names.insert(name.to_owned(), node),
        None => names.remove(name),
    }
}

/// How often each file is named in all directories, live, durable and pending together.
#[derive(Clone, Debug, Default)]
struct Mentions {
    counts: BTreeMap<u64, u64>,
    /// Files that lost their last mention since somebody asked.
    orphans: Vec<u64>,
}

impl Mentions {
    fn add(&mut self, node: Option<Node>, times: u64) {
        if let Some(Node::File(file)) = node {
            *self.counts.entry(file).or_default() += times;
        }
    }

    fn remove(&mut self, node: Option<Node>) {
        if let Some(Node::File(file)) = node
            && let Some(count) = self.counts.get_mut(&file)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&file);
                self.orphans.push(file);
            }
        }
    }
}
