use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use memchr::memchr;
use millrace_connect_api::{Position, SourceCursor};
use millrace_disk::{File, Identity};

use crate::checksum::Checksum;

/// Bytes at the start of a file that tell it from others.
pub(super) const HEAD: usize = 1024;

/// The start of a file: its first 1 KiB, or all of it while it is shorter.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    /// Of all of it, once it is complete.
    checksum: Option<u64>,
}

impl Head {
    /// Reads the head of a file of which `size` bytes are to be looked at.
    pub(super) fn read(file: &dyn File, size: u64) -> io::Result<Self> {
        let mut bytes = vec![0; HEAD.min(usize::try_from(size).unwrap_or(HEAD))];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(Self::new(bytes))
    }

    fn new(bytes: Vec<u8>) -> Self {
        let checksum = (bytes.len() == HEAD).then(|| Checksum::new().add(&bytes).value());
        Self { bytes, checksum }
    }

    /// The checksum of the first 1 KiB, once there is so much.
    pub(super) fn checksum(&self) -> Option<u64> {
        self.checksum
    }

    /// What a file that begins like this is named by, if no other does.
    pub(super) fn names_by(&self) -> Named {
        match (self.checksum, self.first_line()) {
            (Some(_), _) => Named::Head,
            (None, Some(_)) => Named::InodeAndLine,
            (None, None) => Named::Inode,
        }
    }

    /// The first line with its end, once it has one.
    fn first_line(&self) -> Option<&[u8]> {
        memchr(b'\n', &self.bytes).map(|end| &self.bytes[..=end])
    }

    /// Whether a file that had the head `older` can have this one now without a change in its
    /// first `len` bytes.
    pub(super) fn agrees(&self, older: &Self, len: u64) -> bool {
        let len = usize::try_from(len).map_or(older.bytes.len(), |len| len.min(older.bytes.len()));
        self.bytes.starts_with(&older.bytes[..len])
    }

    /// The name of the compression the file begins with, if it does.
    pub(super) fn compression(&self) -> Option<&'static str> {
        match self.bytes.get(..4)? {
            [0x1f, 0x8b, 0x08, _] => Some("gzip"),
            [0x28, 0xb5, 0x2f, 0xfd] => Some("zstd"),
            [0xfd, b'7', b'z', b'X'] => Some("xz"),
            _ => None,
        }
    }
}

/// What a file's identity is made from.
///
/// | identity       | made from                                                                  |
/// |----------------|----------------------------------------------------------------------------|
/// | `i-D-I-B`      | device, inode and birth, in hexadecimal                                    |
/// | `i-D-I-B-L`    | the same and the checksum of the first line, 16 digits                     |
/// | `h-C`          | the checksum of the first 1 KiB, 16 digits                                 |
/// | `h-C-i-D-I-B`  | the same and device, inode and birth                                       |
/// | any, then `-gN`| the same; it is the N-th file after the first one that would be named so   |
///
/// Checksums are FNV-1a of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    /// A file whose first line is not complete.
    Inode,
    /// A file of less than 1 KiB. Without the line, a file that is truncated and written anew
    /// while nobody looks would be taken for what it was before.
    InodeAndLine,
    /// A file of 1 KiB or more.
    Head,
    /// One that begins like another one that is there too.
    HeadAndInode,
}

/// The identities that a file can have, from what it is like now.
#[derive(Debug)]
pub(super) struct Forms {
    inode: String,
    /// And how long the line is.
    line: Option<(String, u64)>,
    head: Option<String>,
    both: Option<String>,
    /// `head` is another file's.
    head_taken: bool,
}

impl Forms {
    pub(super) fn new(file: Identity, head: &Head, head_taken: bool) -> Self {
        let inode = format!("i-{:x}-{:x}-{:x}", file.device, file.inode, file.born_ns);
        let line = head.first_line().map(|line| {
            let checksum = Checksum::new().add(line).value();
            (format!("{inode}-{checksum:016x}"), line.len() as u64)
        });
        let head = head.checksum().map(|checksum| format!("h-{checksum:016x}"));
        let both = head.as_ref().map(|head| format!("{head}-{inode}"));
        Self { inode, line, head, both, head_taken }
    }

    /// What the file is to be called if it is new.
    fn best(&self) -> (Named, &str) {
        match (&self.head, &self.both, &self.line) {
            (_, Some(both), _) if self.head_taken => (Named::HeadAndInode, both),
            (Some(head), ..) => (Named::Head, head),
            (None, _, Some((line, _))) => (Named::InodeAndLine, line),
            (None, _, None) => (Named::Inode, &self.inode),
        }
    }
}

/// All identities so far, and where the files that have them were left.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Position>);

/// A file's identity and where to go on in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recognised {
    pub(super) named: Named,
    pub(super) identity: String,
    pub(super) position: Position,
    pub(super) as_what: AsWhat,
}

/// How a file was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AsWhat {
    /// Never seen.
    New,
    /// One that was partly read.
    Known,
    /// One that was read further than it is long now, so its bytes are others.
    Shortened,
}

impl Names {
    pub(super) fn new(resume: Vec<SourceCursor>) -> Self {
        let mut names = Self(BTreeMap::new());
        for cursor in resume {
            let position = names.0.entry(cursor.identity).or_default();
            *position = cursor.position.max(*position);
        }
        names
    }

    /// Finds out where to go on in a file of `size` bytes, and under which name.
    ///
    /// A file that has grown since is still called what it was when it was left: the runtime may
    /// know the last record by that name only, and get it again to see that it has it.
    pub(super) fn recognise(&mut self, forms: &Forms, size: u64) -> Recognised {
        match self.seen(forms) {
            Some(seen) if seen.position.offset <= size => seen,
            Some(_) => self.name(forms, Position::default(), AsWhat::Shortened),
            None => self.name(forms, Position::default(), AsWhat::New),
        }
    }

    /// The file that this one is, or was until it was written anew.
    pub(super) fn seen(&self, forms: &Forms) -> Option<Recognised> {
        let (named, best) = forms.best();
        let by_both = || Some((Named::HeadAndInode, self.latest(forms.both.as_ref()?)?));
        let by_best = || Some((named, self.latest(best)?));
        let by_line = || Some((Named::InodeAndLine, self.latest(&forms.line.as_ref()?.0)?));
        let seen = by_both().or_else(by_best).or_else(by_line).or_else(|| self.by_inode(forms));
        seen.map(|(named, (identity, position))| Recognised {
            named,
            identity,
            position,
            as_what: AsWhat::Known,
        })
    }

    /// The identities that were this file's while it was shorter.
    pub(super) fn lesser(&self, forms: &Forms) -> impl Iterator<Item = String> {
        let line = forms.line.as_ref().and_then(|(line, _)| self.latest(line));
        let inode = self.by_inode(forms).map(|(_, inode)| inode);
        line.into_iter().chain(inode).map(|(identity, _)| identity)
    }

    /// Where the file of this identity was left.
    pub(super) fn place(&self, identity: &str) -> Position {
        self.0.get(identity).copied().unwrap_or_default()
    }

    /// Whether a file that would be named so too came after the one of this identity.
    pub(super) fn is_superseded(&self, identity: &str) -> bool {
        let (base, number) = match identity.rsplit_once("-g") {
            Some((base, number)) => (base, number.parse().unwrap_or(0)),
            None => (identity, 0),
        };
        let latest = self.latest(base).and_then(|(latest, _)| generation(&latest, base));
        latest.is_some_and(|latest| latest > number)
    }

    /// What was read of a file before its first line was complete, and so not more than that
    /// line, or the head without it. Further cursors are another file's that had the inode.
    fn by_inode(&self, forms: &Forms) -> Option<(Named, (String, Position))> {
        let longest = match (&forms.line, &forms.head) {
            (Some((_, len)), _) => *len,
            (None, Some(_)) => HEAD as u64 - 1,
            (None, None) => u64::MAX,
        };
        let (identity, position) = self.latest(&forms.inode)?;
        (position.offset <= longest).then_some((Named::Inode, (identity, position)))
    }

    /// Whether the file was read under its head and inode together.
    pub(super) fn knows_apart(&self, forms: &Forms) -> bool {
        forms.both.as_ref().is_some_and(|both| self.latest(both).is_some())
    }

    /// Gives a file an identity that none had yet.
    pub(super) fn name(
        &mut self,
        forms: &Forms,
        position: Position,
        as_what: AsWhat,
    ) -> Recognised {
        let (named, best) = forms.best();
        let identity = match self.latest(best).and_then(|(identity, _)| generation(&identity, best))
        {
            None => best.to_owned(),
            Some(generation) => format!("{best}-g{}", generation.saturating_add(1)),
        };
        self.leave(&identity, position);
        Recognised { named, identity, position, as_what }
    }

    /// Remembers where a file is left.
    pub(super) fn leave(&mut self, identity: &str, position: Position) {
        self.0.insert(identity.to_owned(), position);
    }

    /// The newest generation of a name.
    fn latest(&self, base: &str) -> Option<(String, Position)> {
        self.0
            .range::<str, _>((Bound::Included(base), Bound::Unbounded))
            .take_while(|(identity, _)| identity.starts_with(base))
            .filter_map(|(identity, position)| {
                Some((generation(identity, base)?, identity.clone(), *position))
            })
            .max_by_key(|(generation, ..)| *generation)
            .map(|(_, identity, position)| (identity, position))
    }
}

/// Which generation of `base` an identity is, if it is one.
fn generation(identity: &str, base: &str) -> Option<u64> {
    match identity.strip_prefix(base)? {
        "" => Some(0),
        suffix => suffix.strip_prefix("-g")?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use millrace_connect_api::Standing;

    use super::*;

    const FILE: Identity = Identity { device: 1, inode: 0x2a, born_ns: 255 };

    fn at(offset: u64) -> Position {
        Position { offset, line: offset / 10 }
    }

    /// What a file is like that begins so and is so long, while `LONG` and `LINE` stand for the
    /// identities that it has by its head and its first line.
    #[track_caller]
    fn check(
        cursors: &[(&str, u64)],
        (start, size, head_taken): (&str, u64, bool),
        (expected, offset, as_what): (&str, u64, AsWhat),
    ) {
        let mut bytes = start.as_bytes().to_vec();
        bytes.resize(HEAD.min(size as usize), b'x');
        let forms = Forms::new(FILE, &Head::new(bytes), head_taken);
        let long = forms.head.as_deref().unwrap_or("none");
        let line = forms.line.as_ref().map_or("none", |(line, _)| line);
        let full = |identity: &str| identity.replace("LONG", long).replace("LINE", line);
        let resume = cursors
            .iter()
            .map(|(identity, offset)| SourceCursor {
                identity: full(identity),
                path: String::new(),
                position: at(*offset),
                standing: Standing::Open,
            })
            .collect();
        let found = Names::new(resume).recognise(&forms, size);
        assert_eq!(
            (&found.identity[..], found.position, found.as_what),
            (&full(expected)[..], at(offset), as_what),
            "{start:?} with {cursors:?}"
        );
    }

    use AsWhat::{Known, New, Shortened};

    #[test]
    fn a_file_without_a_line_goes_by_its_inode() {
        check(&[], ("", 20, false), ("i-1-2a-ff", 0, New));
        check(&[("i-1-2a-ff", 10)], ("", 20, false), ("i-1-2a-ff", 10, Known));
        check(&[("i-1-2a-f", 10)], ("", 20, false), ("i-1-2a-ff", 0, New));
        check(&[("i-1-2a-fff", 10)], ("", 20, false), ("i-1-2a-ff", 0, New));
        check(&[("i-1-2a-ff", 30)], ("", 20, false), ("i-1-2a-ff-g1", 0, Shortened));
    }

    #[test]
    fn a_short_file_goes_by_its_inode_and_first_line() {
        check(&[], ("one\n", 20, false), ("LINE", 0, New));
        check(&[("LINE", 10)], ("one\n", 20, false), ("LINE", 10, Known));
        check(&[("LINE", 10)], ("one\ntwo\n", 20, false), ("LINE", 10, Known));
        check(&[("LINE", 30)], ("one\n", 20, false), ("LINE-g1", 0, Shortened));
        check(&[("i-1-2a-ff-0123456789abcdef", 10)], ("one\n", 20, false), ("LINE", 0, New));
    }

    #[test]
    fn a_long_file_goes_by_its_head() {
        check(&[], ("", 5000, false), ("LONG", 0, New));
        check(&[("LONG", 4000)], ("", 5000, false), ("LONG", 4000, Known));
        let both = [("LONG", 4000), ("LINE", 900), ("i-1-2a-ff", 2)];
        check(&both, ("one\n", 5000, false), ("LONG", 4000, Known));
    }

    #[test]
    fn a_file_that_grew_is_still_known() {
        check(&[("i-1-2a-ff", 3)], ("one\n", 20, false), ("i-1-2a-ff", 3, Known));
        check(&[("i-1-2a-ff", 3)], ("one\n", 5000, false), ("i-1-2a-ff", 3, Known));
        check(&[("i-1-2a-ff", 900)], ("", 5000, false), ("i-1-2a-ff", 900, Known));
        check(&[("LINE", 900)], ("one\n", 5000, false), ("LINE", 900, Known));
        check(&[("LINE", 900)], ("one\n", 5000, true), ("LINE", 900, Known));
        check(&[("LINE", 3000)], ("one\n", 5000, false), ("LINE", 3000, Known));
    }

    #[test]
    fn no_file_grew_that_was_read_further_than_it_can_have_been() {
        check(&[("i-1-2a-ff", 5)], ("one\n", 20, false), ("LINE", 0, New));
        check(&[("i-1-2a-ff", 5)], ("one\n", 5000, false), ("LONG", 0, New));
        check(&[("i-1-2a-ff", 1024)], ("", 5000, false), ("LONG", 0, New));
    }

    #[test]
    fn a_file_that_shrank_is_another_one() {
        check(&[("LONG", 6000)], ("", 5000, false), ("LONG-g1", 0, Shortened));
        let again = [("LONG", 6000), ("LONG-g9", 5500), ("LONG-g10", 4000)];
        check(&again, ("", 5000, false), ("LONG-g10", 4000, Known));
        check(&again, ("", 2000, false), ("LONG-g11", 0, Shortened));
    }

    #[test]
    fn a_file_that_begins_like_another_has_both_names() {
        check(&[("LONG", 4000)], ("", 5000, true), ("LONG-i-1-2a-ff", 0, New));
        let both = [("LONG", 4000), ("LONG-i-1-2a-ff", 3000)];
        check(&both, ("", 5000, true), ("LONG-i-1-2a-ff", 3000, Known));
        check(&both, ("", 5000, false), ("LONG-i-1-2a-ff", 3000, Known));
    }

    #[test]
    fn of_two_cursors_the_further_one_counts() {
        check(&[("LONG", 4000), ("LONG", 3000)], ("", 5000, false), ("LONG", 4000, Known));
    }

    #[test]
    fn compressed_files_are_told_by_their_first_bytes() {
        let of = |bytes: &[u8]| Head::new(bytes.to_vec()).compression();
        assert_eq!(of(&[0x1f, 0x8b, 8, 0, 0]), Some("gzip"));
        assert_eq!(of(&[0x28, 0xb5, 0x2f, 0xfd]), Some("zstd"));
        assert_eq!(of(b"{\"a\":1}\n"), None);
        assert_eq!(of(b"a"), None);
    }
}
