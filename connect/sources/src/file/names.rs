use std::collections::BTreeMap;
use std::io;

use millrace_connect_api::{Position, SourceCursor};
use millrace_disk::{File, Identity};

use crate::checksum::Checksum;

/// Bytes at the start of a file that tell it from others.
pub(super) const HEAD: usize = 1024;

/// The start of a file: its first 1 KiB, or all of it while it is shorter.
#[derive(Clone, Debug)]
pub(super) struct Head {
    bytes: Vec<u8>,
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

/// The names that a file can go by.
///
/// | name             | for                                                                      |
/// |------------------|--------------------------------------------------------------------------|
/// | `i-D-I-B`        | a file of less than 1 KiB: its device, inode and birth, in hexadecimal   |
/// | `h-C`            | a longer one: the FNV-1a checksum of its first 1 KiB, 16 digits          |
/// | `h-C-i-D-I-B`    | a longer one that begins like another file that is there too             |
/// | any of them `-gN`| the Nth time that a file of this name was truncated or begun again       |
#[derive(Debug)]
pub(super) struct Forms {
    short: String,
    long: Option<String>,
    /// The long name is another file's.
    long_taken: bool,
}

impl Forms {
    pub(super) fn new(file: Identity, head: &Head, long_taken: bool) -> Self {
        Self {
            short: format!("i-{:x}-{:x}-{:x}", file.device, file.inode, file.born_ns),
            long: head.checksum().map(|checksum| format!("h-{checksum:016x}")),
            long_taken,
        }
    }

    /// What the file is to be called if it is new.
    fn base(&self) -> String {
        match &self.long {
            None => self.short.clone(),
            Some(long) if self.long_taken => self.both(long),
            Some(long) => long.clone(),
        }
    }

    fn both(&self, long: &str) -> String {
        format!("{long}-{}", self.short)
    }
}

/// What a file's identity is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Inode,
    Head,
    Both,
}

impl Named {
    pub(super) fn of(identity: &str) -> Self {
        match (identity.starts_with("h-"), identity.contains("-i-")) {
            (false, _) => Self::Inode,
            (true, false) => Self::Head,
            (true, true) => Self::Both,
        }
    }
}

/// All identities so far, and where the files that have them were left.
#[derive(Debug)]
pub(super) struct Names(BTreeMap<String, Position>);

/// What is known of a file that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recognised {
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

    /// Finds out where to go on in a file of `size` bytes.
    ///
    /// A file that was left when it was shorter than 1 KiB is known by its short name, and goes on
    /// under its long one. A cursor beyond 1 KiB never has a short name, so an old one cannot
    /// make us skip more than that of a file that was rewritten since.
    pub(super) fn recognise(&mut self, forms: &Forms, size: u64) -> Recognised {
        let seen = match &forms.long {
            None => self.latest(&forms.short),
            Some(long) => self
                .latest(&forms.both(long))
                .or_else(|| if forms.long_taken { None } else { self.latest(long) })
                .or_else(|| {
                    let (_, position) = self.latest(&forms.short)?;
                    (position.offset < HEAD as u64).then(|| (self.free(&forms.base()), position))
                }),
        };
        match seen {
            Some((identity, position)) if position.offset <= size => {
                self.0.insert(identity.clone(), position);
                Recognised { identity, position, as_what: AsWhat::Known }
            }
            seen => Recognised {
                identity: self.take(forms),
                position: Position::default(),
                as_what: if seen.is_some() { AsWhat::Shortened } else { AsWhat::New },
            },
        }
    }

    /// Whether the file was read under its checksum and inode together.
    pub(super) fn knows_apart(&self, forms: &Forms) -> bool {
        forms.long.as_ref().is_some_and(|long| self.latest(&forms.both(long)).is_some())
    }

    /// An identity that no file had yet.
    pub(super) fn take(&mut self, forms: &Forms) -> String {
        let identity = self.free(&forms.base());
        self.0.insert(identity.clone(), Position::default());
        identity
    }

    /// Remembers where a file is left.
    pub(super) fn leave(&mut self, identity: &str, position: Position) {
        self.0.insert(identity.to_owned(), position);
    }

    /// The newest generation of a name.
    fn latest(&self, base: &str) -> Option<(String, Position)> {
        self.0
            .range(base.to_owned()..)
            .take_while(|(identity, _)| identity.starts_with(base))
            .filter_map(|(identity, position)| {
                Some((generation(identity, base)?, identity.clone(), *position))
            })
            .max_by_key(|(generation, ..)| *generation)
            .map(|(_, identity, position)| (identity, position))
    }

    fn free(&self, base: &str) -> String {
        match self.latest(base).and_then(|(identity, _)| generation(&identity, base)) {
            None => base.to_owned(),
            Some(generation) => format!("{base}-g{}", generation.saturating_add(1)),
        }
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
    use super::*;

    const FILE: Identity = Identity { device: 1, inode: 0x2a, born_ns: 255 };

    fn at(offset: u64) -> Position {
        Position { offset, line: offset / 10 }
    }

    fn head(len: usize) -> Head {
        Head::new(vec![b'x'; len])
    }

    #[track_caller]
    fn check(
        cursors: &[(&str, u64)],
        (head_len, size, long_taken): (usize, u64, bool),
        (identity, offset, as_what): (&str, u64, AsWhat),
    ) {
        let long = format!("h-{:016x}", head(HEAD).checksum().unwrap());
        let resume = cursors
            .iter()
            .map(|(identity, offset)| SourceCursor {
                identity: identity.replace("LONG", &long),
                position: at(*offset),
            })
            .collect();
        let forms = Forms::new(FILE, &head(head_len), long_taken);
        let expected = Recognised {
            identity: identity.replace("LONG", &long),
            position: if as_what == AsWhat::Known { at(offset) } else { Position::default() },
            as_what,
        };
        assert_eq!(Names::new(resume).recognise(&forms, size), expected, "{cursors:?}");
    }

    #[test]
    fn a_short_file_goes_by_its_inode() {
        check(&[], (20, 20, false), ("i-1-2a-ff", 0, AsWhat::New));
        check(&[("i-1-2a-ff", 10)], (20, 20, false), ("i-1-2a-ff", 10, AsWhat::Known));
        check(&[("i-1-2a-f", 10)], (20, 20, false), ("i-1-2a-ff", 0, AsWhat::New));
        check(&[("i-1-2a-fff", 10)], (20, 20, false), ("i-1-2a-ff", 0, AsWhat::New));
    }

    #[test]
    fn a_long_file_goes_by_its_head() {
        check(&[], (HEAD, 5000, false), ("LONG", 0, AsWhat::New));
        check(&[("LONG", 4000)], (HEAD, 5000, false), ("LONG", 4000, AsWhat::Known));
        let both = [("LONG", 4000), ("i-1-2a-ff", 900)];
        check(&both, (HEAD, 5000, false), ("LONG", 4000, AsWhat::Known));
    }

    #[test]
    fn a_file_that_grew_is_still_known() {
        check(&[("i-1-2a-ff", 900)], (HEAD, 5000, false), ("LONG", 900, AsWhat::Known));
        check(&[("i-1-2a-ff", 1500)], (HEAD, 5000, false), ("LONG", 0, AsWhat::New));
    }

    #[test]
    fn a_file_that_shrank_is_another_one() {
        check(&[("LONG", 6000)], (HEAD, 5000, false), ("LONG-g1", 0, AsWhat::Shortened));
        check(&[("i-1-2a-ff", 30)], (20, 20, false), ("i-1-2a-ff-g1", 0, AsWhat::Shortened));
        let again = [("LONG", 6000), ("LONG-g9", 5500), ("LONG-g10", 4000)];
        check(&again, (HEAD, 5000, false), ("LONG-g10", 4000, AsWhat::Known));
        check(&again, (HEAD, 2000, false), ("LONG-g11", 0, AsWhat::Shortened));
    }

    #[test]
    fn a_file_that_begins_like_another_has_both_names() {
        check(&[("LONG", 4000)], (HEAD, 5000, true), ("LONG-i-1-2a-ff", 0, AsWhat::New));
        let both = [("LONG", 4000), ("LONG-i-1-2a-ff", 3000)];
        check(&both, (HEAD, 5000, true), ("LONG-i-1-2a-ff", 3000, AsWhat::Known));
        check(&both, (HEAD, 5000, false), ("LONG-i-1-2a-ff", 3000, AsWhat::Known));
    }

    #[test]
    fn of_two_cursors_the_further_one_counts() {
        let twice = [("LONG", 4000), ("LONG", 3000)];
        check(&twice, (HEAD, 5000, false), ("LONG", 4000, AsWhat::Known));
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
