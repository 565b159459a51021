//! What is wanted of a body, and which keys its objects usually have.

use std::collections::{HashMap, HashSet};

use super::super::{DROPPED_NAMES_MAX, DecodeSpecError, Dropped};
use super::walk::DEPTH_MAX;
use crate::{Column, DataType};

/// The wanted fields as a tree of objects, and every key that turned up in them.
///
/// Rows mostly have the same keys in the same order. So each key remembers which one came after
/// it last time; if that is the next one again, finding it takes one comparison. It also remembers
/// in which object it was last seen, which makes a duplicate cost nothing to find.
#[derive(Debug)]
pub(super) struct Shape {
    /// First the objects with wanted fields, the root before all; then, for each level, one for
    /// all objects of that level that are skipped. No object is entered twice at the same time,
    /// because one within another is at another path or at another level.
    objects: Vec<Object>,
    skipped_from: usize,
    names: Vec<String>,
    /// Keys that were dropped for the first time, in order: (object, key).
    dropped: Vec<(u32, u32)>,
    dropped_unknown: u64,
}

/// One object of the tree.
#[derive(Debug, Default)]
struct Object {
    /// `user.` for the object at `user`; empty for the root.
    prefix: String,
    keys: Vec<Key>,
    index: HashMap<Box<[u8]>, u32>,
    /// The key that came first last time.
    first: u32,
    /// How often an object was entered here.
    entered: u64,
}

#[derive(Debug)]
struct Key {
    text: Box<[u8]>,
    /// How it usually stands in a body behind the opening quote, `id":`; empty for a key that
    /// needs escapes, which is never found this way.
    usual: Box<[u8]>,
    /// Its first eight bytes, and which of them count.
    head: u64,
    head_mask: u64,
    target: Target,
    /// The key that came next last time.
    next: u32,
    /// The value of `entered` when it was last seen.
    seen: u64,
    /// How often its value was dropped.
    dropped: u64,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// It goes into this column.
    Column(usize, DataType),
    /// It must be an object, of which something is wanted.
    Object(usize),
    /// Nobody wants it.
    Skip,
}

/// An object that is being read.
#[derive(Debug)]
pub(super) struct Visit {
    object: usize,
    entered: u64,
    /// The key that was read last.
    last: u32,
    /// The key that usually comes next.
    usual: u32,
    /// Keys that found no room in the shape.
    others: Option<HashSet<Vec<u8>>>,
}

/// A key occurs twice; its path.
#[derive(Debug)]
pub(super) struct Duplicate(pub(super) String);

const NONE: u32 = u32::MAX;

/// Keys remembered per object. Objects with more are maps from data to data, and gain nothing.
const KEYS_MAX: usize = 512;

impl Shape {
    pub(super) fn new(wanted: &[Column]) -> Result<Self, DecodeSpecError> {
        let mut shape = Self {
            objects: vec![Object::default()],
            skipped_from: 0,
            names: wanted.iter().map(|column| column.name.clone()).collect(),
            dropped: Vec::new(),
            dropped_unknown: 0,
        };
        for (index, column) in wanted.iter().enumerate() {
            shape.want(wanted, index, column)?;
        }
        shape.skipped_from = shape.objects.len();
        shape.objects.resize_with(shape.skipped_from + DEPTH_MAX + 1, Object::default);
        Ok(shape)
    }

    fn want(
        &mut self,
        wanted: &[Column],
        index: usize,
        column: &Column,
    ) -> Result<(), DecodeSpecError> {
        let path = &column.name;
        let mut object = 0;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if part.is_empty() {
                return Err(DecodeSpecError::EmptyPath { name: path.clone() });
            }
            let known = self.objects[object].index.get(part.as_bytes()).copied();
            let known = known.map(|key| self.objects[object].keys[key as usize].target);
            let last = parts.peek().is_none();
            object = match known {
                Some(Target::Object(inner)) if !last => inner,
                None if !last => {
                    let inner = self.objects.len();
                    let prefix = format!("{}{part}.", self.objects[object].prefix);
                    self.objects.push(Object { prefix, ..Object::default() });
                    self.objects[object].add(part.as_bytes(), Target::Object(inner));
                    inner
                }
                None => {
                    let target = Target::Column(index, column.data_type);
                    self.objects[object].add(part.as_bytes(), target);
                    return Ok(());
                }
                Some(_) => return Err(nested(wanted, path)),
            };
        }
        Ok(())
    }

    /// Where an object that nobody wants is read, by its level; the outermost is 1.
    pub(super) fn skipped(&self, depth: usize) -> usize {
        self.skipped_from + depth
    }

    /// Whether anything is wanted at all.
    pub(super) fn wants_columns(&self) -> bool {
        !self.names.is_empty()
    }

    /// The name of a column.
    pub(super) fn name(&self, column: usize) -> &str {
        &self.names[column]
    }

    /// The path of an object, without a dot at its end.
    pub(super) fn path(&self, object: usize) -> &str {
        self.objects[object].prefix.trim_end_matches('.')
    }

    /// Begins an object.
    #[inline]
    pub(super) fn enter(&mut self, object: usize) -> Visit {
        let known = &mut self.objects[object];
        known.entered += 1;
        Visit { object, entered: known.entered, last: NONE, usual: known.first, others: None }
    }

    /// If the key that usually comes here does, from `at` behind its opening quote: its target,
    /// and where its value begins.
    #[inline]
    pub(super) fn usual_key(
        &mut self,
        visit: &mut Visit,
        bytes: &[u8],
        at: usize,
    ) -> Option<(Target, usize)> {
        let key = self.objects[visit.object].keys.get(visit.usual as usize)?;
        let head = bytes.get(at..at + 8)?;
        let head = u64::from_le_bytes(head.try_into().expect("eight bytes"));
        let end = at + key.usual.len();
        if head & key.head_mask != key.head
            || key.usual.len() > 8 && bytes.get(at + 8..end) != Some(&key.usual[8..])
        {
            return None;
        }
        // A key that was here already is left to `key`, which reports it. So is one that cannot
        // be found this way.
        if key.seen == visit.entered || key.usual.is_empty() {
            return None;
        }
        Some((self.found(visit, visit.usual), end))
    }

    /// The target of any key. `unescaped` is its text.
    pub(super) fn key(&mut self, visit: &mut Visit, unescaped: &[u8]) -> Result<Target, Duplicate> {
        let in_tree = visit.object < self.skipped_from;
        let object = &mut self.objects[visit.object];
        let index = match object.index.get(unescaped) {
            Some(index) => *index,
            None if object.keys.len() < KEYS_MAX && std::str::from_utf8(unescaped).is_ok() => {
                object.add(unescaped, Target::Skip)
            }
            None => {
                let others = visit.others.get_or_insert_default();
                if !others.insert(unescaped.to_vec()) {
                    return Err(object.duplicate(unescaped));
                }
                self.dropped_unknown += u64::from(in_tree);
                return Ok(Target::Skip);
            }
        };
        if object.keys[index as usize].seen == visit.entered {
            return Err(object.duplicate(unescaped));
        }
        match visit.last {
            NONE => object.first = index,
            last => object.keys[last as usize].next = index,
        }
        Ok(self.found(visit, index))
    }

    #[inline]
    fn found(&mut self, visit: &mut Visit, index: u32) -> Target {
        let key = &mut self.objects[visit.object].keys[index as usize];
        key.seen = visit.entered;
        visit.last = index;
        visit.usual = key.next;
        let target = key.target;
        if matches!(target, Target::Skip) && visit.object < self.skipped_from {
            key.dropped += 1;
            if key.dropped == 1 {
                self.dropped.push((visit.object as u32, index));
            }
        }
        target
    }

    pub(super) fn dropped(&self) -> Dropped {
        let dropped = self.dropped.iter().map(|(object, key)| {
            let object = &self.objects[*object as usize];
            let key = &object.keys[*key as usize];
            (object.path_of(&key.text), key.dropped)
        });
        let fields = self.dropped_unknown + dropped.clone().map(|(_, count)| count).sum::<u64>();
        Dropped { fields, names: dropped.take(DROPPED_NAMES_MAX).collect() }
    }
}

impl Object {
    fn add(&mut self, text: &[u8], target: Target) -> u32 {
        let index = self.keys.len() as u32;
        let plain = text.iter().all(|byte| *byte >= 0x20 && !b"\"\\".contains(byte));
        let usual = if plain { [text, b"\":"].concat() } else { Vec::new() };
        let mut head = [0; 8];
        let mut head_mask = [0; 8];
        for (at, byte) in usual.iter().take(8).enumerate() {
            (head[at], head_mask[at]) = (*byte, 0xFF);
        }
        self.keys.push(Key {
            text: text.into(),
            usual: usual.into(),
            head: u64::from_le_bytes(head),
            head_mask: u64::from_le_bytes(head_mask),
            target,
            next: NONE,
            seen: 0,
            dropped: 0,
        });
        self.index.insert(text.into(), index);
        index
    }

    fn duplicate(&self, text: &[u8]) -> Duplicate {
        Duplicate(self.path_of(text))
    }

    fn path_of(&self, text: &[u8]) -> String {
        format!("{}{}", self.prefix, String::from_utf8_lossy(text))
    }
}

/// The error for a path that lies inside another one, or around it.
fn nested(wanted: &[Column], path: &str) -> DecodeSpecError {
    let inside = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('.'))
    };
    let others = wanted.iter().map(|column| column.name.as_str());
    let mut pairs =
        others.map(|other| if other.len() < path.len() { (other, path) } else { (path, other) });
    let (outer, inner) = pairs.find(|(outer, inner)| inside(outer, inner)).unwrap_or((path, path));
    DecodeSpecError::Nested { outer: outer.to_owned(), inner: inner.to_owned() }
}
