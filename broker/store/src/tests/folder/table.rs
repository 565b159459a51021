//! The changes and what has to come of each, if the store had been closed.

use super::{Folder, Outcome};

/// One change to a data directory.
pub(super) struct Case {
    pub(super) what: &'static str,
    pub(super) change: fn(&mut Folder),
    pub(super) outcome: Outcome,
}

const fn case(what: &'static str, change: fn(&mut Folder), outcome: Outcome) -> Case {
    Case { what, change, outcome }
}

const FIRST: &str = "commitlog/00000000000000000000";
const SECOND: &str = "commitlog/00000000000000004096";
const THIRD: &str = "commitlog/00000000000000008192";
const LAST: &str = "commitlog/00000000000000012288";
/// Made ahead of time, and nothing is in it.
const AHEAD: &str = "commitlog/00000000000000016384";
const FAR: &str = "commitlog/00000000000001048576";
const HIGHEST: &str = "commitlog/18446744073709551615";

pub(super) const CASES: &[Case] = &[
    case("the first segment is missing", |f| f.remove(FIRST), Outcome::Refused(FIRST)),
    case("a middle segment is missing", |f| f.remove(SECOND), Outcome::Refused(SECOND)),
    case("the last segment in use is missing", |f| f.remove(LAST), Outcome::Refused(LAST)),
    case(
        "the last segment in use and the one ahead are missing",
        |f| {
            f.remove(LAST);
            f.remove(AHEAD);
        },
        Outcome::Refused(LAST),
    ),
    case("the segment made ahead is missing", |f| f.remove(AHEAD), Outcome::Whole),
    case("all segments are missing", |f| f.remove("commitlog"), Outcome::Refused(FIRST)),
    case(
        "all segments and the checkpoint are missing",
        |f| {
            f.remove("commitlog");
            f.remove("checkpoint");
        },
        Outcome::Refused(FIRST),
    ),
    case(
        "all segments and the format are missing",
        |f| {
            f.remove("commitlog");
            f.remove("format");
        },
        Outcome::Refused("format"),
    ),
    case("two segments are swapped", |f| f.swap(FIRST, SECOND), Outcome::Lost(&[0, 4096])),
    case(
        "a middle and the last segment are swapped",
        |f| f.swap(SECOND, LAST),
        Outcome::Lost(&[4096, 12288]),
    ),
    case(
        "three segments are moved round",
        |f| {
            f.swap(FIRST, SECOND);
            f.swap(SECOND, THIRD);
        },
        Outcome::Lost(&[0, 4096, 8192]),
    ),
    case("one segment is a copy of another", |f| f.copy(FIRST, SECOND), Outcome::Lost(&[4096])),
    case("the segment made ahead is a copy of the first", |f| f.copy(FIRST, AHEAD), Outcome::Whole),
    case("the first segment is empty", |f| f.put(FIRST, b""), Outcome::Refused(FIRST)),
    case("the middle segment is empty", |f| f.put(SECOND, b""), Outcome::Refused(SECOND)),
    case("the last segment is empty", |f| f.put(LAST, b""), Outcome::Refused(LAST)),
    case(
        "the last segment is empty and none is ahead",
        |f| {
            f.put(LAST, b"");
            f.remove(AHEAD);
        },
        Outcome::Refused(LAST),
    ),
    case("the segment made ahead is empty", |f| f.put(AHEAD, b""), Outcome::Whole),
    case(
        "the first segment is cut by a byte",
        |f| f.bytes(FIRST).truncate(4095),
        Outcome::Refused(FIRST),
    ),
    case(
        "a middle segment is cut in half",
        |f| f.bytes(SECOND).truncate(2048),
        Outcome::Refused(SECOND),
    ),
    case(
        "the last segment is cut in half",
        |f| f.bytes(LAST).truncate(2048),
        Outcome::Refused(LAST),
    ),
    case(
        "the last segment is cut in half and none is ahead",
        |f| {
            f.bytes(LAST).truncate(2048);
            f.remove(AHEAD);
        },
        Outcome::Refused(LAST),
    ),
    case(
        "the last segment is cut behind its records",
        |f| {
            f.bytes(LAST).truncate(3000);
            f.remove(AHEAD);
        },
        Outcome::Whole,
    ),
    case(
        "the first segment is longer by a byte",
        |f| f.bytes(FIRST).push(0),
        Outcome::Refused(FIRST),
    ),
    case(
        "a middle segment is twice as long",
        |f| f.bytes(SECOND).resize(8192, 1),
        Outcome::Refused(SECOND),
    ),
    case(
        "the last segment is longer and none is ahead",
        |f| {
            f.bytes(LAST).resize(6000, 0);
            f.remove(AHEAD);
        },
        Outcome::Whole,
    ),
    case("the segment made ahead is longer", |f| f.bytes(AHEAD).resize(6000, 0), Outcome::Whole),
    case("the segment made ahead is full of garbage", |f| f.fill(AHEAD, 0xA5), Outcome::Whole),
    case("a middle segment is full of zeros", |f| f.fill(SECOND, 0), Outcome::Lost(&[4096])),
    case("a middle segment is full of garbage", |f| f.fill(SECOND, 0xA5), Outcome::Lost(&[4096])),
    case(
        "a directory in place of a segment",
        |f| {
            f.remove(SECOND);
            f.make_dir(SECOND);
        },
        Outcome::Refused(SECOND),
    ),
    case(
        "a directory in place of the segment made ahead",
        |f| {
            f.remove(AHEAD);
            f.make_dir(AHEAD);
        },
        Outcome::Refused(AHEAD),
    ),
    case(
        "a segment of the name with .bak",
        |f| f.copy(FIRST, "commitlog/00000000000000000000.bak"),
        Outcome::Whole,
    ),
    case(
        "a segment of the name with one more zero",
        |f| f.copy(SECOND, "commitlog/000000000000000004096"),
        Outcome::Whole,
    ),
    case(
        "a segment of the name without zeros",
        |f| f.copy(SECOND, "commitlog/4096"),
        Outcome::Whole,
    ),
    case(
        "a segment of the name with a plus",
        |f| f.copy(SECOND, "commitlog/+0000000000000004096"),
        Outcome::Whole,
    ),
    case(
        "a segment has become its own .bak",
        |f| f.rename(SECOND, "commitlog/00000000000000004096.bak"),
        Outcome::Refused(SECOND),
    ),
    case(
        "a file with the name of a later segment",
        |f| f.put(FAR, b"hello"),
        Outcome::Refused(FAR),
    ),
    case("an empty file with the name of a later segment", |f| f.put(FAR, b""), Outcome::Whole),
    case(
        "a file with the name of the next segment",
        |f| f.put("commitlog/00000000000000020480", b"hello"),
        Outcome::Whole,
    ),
    case(
        "a file with the highest name there is",
        |f| f.put(HIGHEST, b"hello"),
        Outcome::Refused(HIGHEST),
    ),
    case(
        "the only segment has the highest name there is",
        |f| {
            f.remove("commitlog");
            f.put(HIGHEST, b"hello");
        },
        Outcome::Refused(FIRST),
    ),
    case(
        "a file with a name beyond all numbers",
        |f| f.put("commitlog/99999999999999999999", b"hello"),
        Outcome::Whole,
    ),
    case("a foreign file in commitlog", |f| f.put("commitlog/notes.txt", b"hello"), Outcome::Whole),
    case("a foreign directory in commitlog", |f| f.make_dir("commitlog/notes"), Outcome::Whole),
    case("a foreign file in index", |f| f.put("index/notes.txt", b"hello"), Outcome::Whole),
    case("a foreign directory in index", |f| f.make_dir("index/notes"), Outcome::Whole),
    case("a foreign file in state", |f| f.put("state/notes.txt", b"hello"), Outcome::Whole),
    case("a foreign directory in state", |f| f.make_dir("state/notes"), Outcome::Whole),
    case("a foreign file in torn", |f| f.put("torn/notes.txt", b"hello"), Outcome::Whole),
    case("a foreign directory in torn", |f| f.make_dir("torn/notes"), Outcome::Whole),
    case("a foreign file beside the rest", |f| f.put("notes.txt", b"hello"), Outcome::Whole),
    case(
        "a file in place of commitlog",
        |f| {
            f.remove("commitlog");
            f.put("commitlog", b"hello");
        },
        Outcome::Refused("commitlog"),
    ),
    case(
        "a file in place of index",
        |f| {
            f.remove("index");
            f.put("index", b"hello");
        },
        Outcome::Refused("index"),
    ),
    case(
        "a file in place of state",
        |f| {
            f.remove("state");
            f.put("state", b"hello");
        },
        Outcome::Refused("state"),
    ),
    case("a file in place of torn", |f| f.put("torn", b"hello"), Outcome::Whole),
    case("the format is missing", |f| f.remove("format"), Outcome::Refused("format")),
    case("the format is empty", |f| f.put("format", b""), Outcome::Refused("format")),
    case("the format is garbage", |f| f.put("format", &[0xA5; 100]), Outcome::Refused("format")),
    case("the format is newer", |f| f.put("format", b"millrace 99\n"), Outcome::Refused("format")),
    case(
        "a directory in place of the format",
        |f| {
            f.remove("format");
            f.make_dir("format");
        },
        Outcome::Refused("format"),
    ),
    case("the checkpoint is missing", |f| f.remove("checkpoint"), Outcome::Whole),
    case("the checkpoint is empty", |f| f.put("checkpoint", b""), Outcome::Whole),
    case("the checkpoint is garbage", |f| f.fill("checkpoint", 0xA5), Outcome::Whole),
    case(
        "the first slot of the checkpoint is garbage",
        |f| f.bytes("checkpoint")[..512].fill(0xA5),
        Outcome::Whole,
    ),
    case(
        "the second slot of the checkpoint is garbage",
        |f| f.bytes("checkpoint")[512..].fill(0xA5),
        Outcome::Whole,
    ),
    case(
        "a directory in place of the checkpoint",
        |f| {
            f.remove("checkpoint");
            f.make_dir("checkpoint");
        },
        Outcome::Refused("checkpoint"),
    ),
    case("the lock is missing", |f| f.remove("lock"), Outcome::Whole),
    case(
        "a directory in place of the lock",
        |f| {
            f.remove("lock");
            f.make_dir("lock");
        },
        Outcome::Refused("lock"),
    ),
    case("the first index run is missing", |f| f.remove(&f.nth("index", 0)), Outcome::Whole),
    case("the second index run is missing", |f| f.remove(&f.nth("index", 1)), Outcome::Whole),
    case("all index runs are missing", |f| f.remove("index"), Outcome::Whole),
    case(
        "all index runs and the checkpoint are missing",
        |f| {
            f.remove("index");
            f.remove("checkpoint");
        },
        Outcome::Whole,
    ),
    case("an index run is empty", |f| f.put(&f.nth("index", 0), b""), Outcome::Whole),
    case("an index run is garbage", |f| f.fill(&f.nth("index", 0), 0xA5), Outcome::Whole),
    case(
        "two index runs are swapped",
        |f| f.swap(&f.nth("index", 0), &f.nth("index", 1)),
        Outcome::Whole,
    ),
    case(
        "an index run is there twice",
        |f| f.copy(&f.nth("index", 0), "index/0-4097.run"),
        Outcome::Whole,
    ),
    case(
        "an index run has another name",
        |f| f.rename(&f.nth("index", 0), "index/0-4097.run"),
        Outcome::Whole,
    ),
    case(
        "an index run of another log",
        |f| f.copy(&f.nth("index", 0), "index/1048576-2097152.run"),
        Outcome::Whole,
    ),
    case(
        "a directory with the name of an index run",
        |f| f.make_dir("index/0-4097.run"),
        Outcome::Whole,
    ),
    case("the newest snapshot is missing", |f| f.remove(&f.nth("state", 1)), Outcome::Whole),
    case("all snapshots are missing", |f| f.remove("state"), Outcome::Whole),
    case("the newest snapshot is empty", |f| f.put(&f.nth("state", 1), b""), Outcome::Whole),
    case(
        "both snapshots are garbage",
        |f| {
            f.fill(&f.nth("state", 0), 0xA5);
            f.fill(&f.nth("state", 1), 0xA5);
        },
        Outcome::Whole,
    ),
    case(
        "two snapshots are swapped",
        |f| f.swap(&f.nth("state", 0), &f.nth("state", 1)),
        Outcome::Whole,
    ),
    case(
        "a snapshot is there twice",
        |f| f.copy(&f.nth("state", 1), "state/39.snap"),
        Outcome::Whole,
    ),
    case(
        "a directory with the name of a snapshot",
        |f| f.make_dir("state/99.snap"),
        Outcome::Whole,
    ),
];
