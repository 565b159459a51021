use proptest::prelude::*;

use super::super::*;
use super::support::*;

const LONG: Duration = Duration::from_secs(120);

#[test]
fn create_mode_gives_the_end_of_the_old_file_before_the_new_one() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));

        writer.rename("app.log", "app.log.1");
        writer.append("app.log.1", lines(100..110));
        writer.append("app.log", lines(110..300));
        assert_eq!(reader.bodies().await, numbered(100..300));

        // The writer has still not noticed.
        writer.append("app.log.1", "late\n");
        assert_eq!(reader.bodies_for(LONG).await, ["late"]);
        writer.append("app.log", lines(300..301));
        assert_eq!(reader.bodies().await, numbered(300..301));
    });
}

#[test]
fn a_writer_may_notice_late_that_its_file_was_rotated() {
    on_both_disks(async |writer| {
        writer.append("app.log", "one\n");
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        assert_eq!(reader.bodies_for(LONG).await, ["one"]);
        writer.rename("app.log", "app.log.1");
        assert_eq!(reader.bodies_for(Duration::from_secs(50)).await, [""; 0]);
        writer.append("app.log.1", "two\n");
        assert_eq!(reader.bodies_for(Duration::from_secs(50)).await, ["two"]);
        writer.append("app.log.1", "three\n");
        assert_eq!(reader.bodies_for(LONG).await, ["three"]);
    });
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_closed_when_quiet() {
    on_both_disks(async |writer| {
        writer.append("app.log", "one\n");
        let mut reader = writer.open(writer.options(&["*.log"]), &[]);
        writer.append("app.log", "two\nthr");
        writer.remove("app.log");
        assert_eq!(reader.bodies_for(LONG).await, ["one", "two", "thr"]);
        assert!(reader.source.tails.is_empty());
    });
}

#[test]
fn a_renamed_file_that_still_matches_is_not_read_again() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        writer.append("short.log", "one\n");
        let mut reader = writer.open(writer.options(&["*.log*"]), &[]);
        assert_eq!(reader.bodies().await.len(), 101);

        writer.rename("app.log", "app.log.1");
        writer.rename("short.log", "short.log.1");
        writer.append("app.log.1", lines(100..101));
        writer.append("app.log", lines(200..300));
        let records = reader.records().await;
        assert_eq!((&records[0].name[..], records.len()), ("app.log.1", 101));

        let mut reader = writer.open(writer.options(&["*.log*"]), &reader.cursors());
        assert_eq!(reader.bodies().await, [""; 0]);
    });
}

#[test]
fn files_renamed_while_nobody_looks_are_known_again() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["*.log*"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));
        let cursors = reader.cursors();

        writer.rename("app.log", "app.log.1");
        writer.append("app.log.1", lines(100..150));
        writer.append("app.log", lines(150..160));
        let mut reader = writer.open(writer.options(&["*.log*"]), &cursors);
        assert_eq!(reader.bodies().await, numbered(100..160));
    });
}

#[test]
fn a_truncated_file_is_read_from_its_start_under_another_name() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..10));
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        let before = reader.records().await;
        let mut identities = vec![before[0].identity.clone()];
        // The same lines again, then others.
        for first in [0, 0, 20] {
            writer.truncate("app.log", 0);
            assert_eq!(reader.bodies().await, [""; 0]);
            writer.append("app.log", lines(first..first + 5));
            let after = reader.records().await;
            assert_eq!(after.len(), 5);
            assert_eq!(after[0].position, Position::default());
            identities.push(after[0].identity.clone());
        }
        assert_eq!(identities[1], format!("{}-g1", identities[0]));
        assert_eq!(identities[2], format!("{}-g2", identities[0]));
        assert!(!identities[3].starts_with(&identities[0]));

        let mut reader = writer.open(writer.options(&["app.log"]), &reader.cursors());
        assert_eq!(reader.bodies().await, [""; 0]);
        writer.append("app.log", lines(25..26));
        assert_eq!(reader.bodies().await, numbered(25..26));
    });
}

/// A head of 1 KiB cannot tell these apart, and a first line cannot either.
#[test]
fn a_long_file_with_the_same_start_again_gets_another_name() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        let before = reader.records().await;
        writer.truncate("app.log", 0);
        writer.append("app.log", lines(0..60));
        let after = reader.records().await;
        assert_eq!(after[0].identity, format!("{}-g1", before[0].identity));
        assert_eq!(after.len(), 60);
    });
}

#[test]
fn a_file_truncated_while_nobody_looks_is_read_from_its_start() {
    on_both_disks(async |writer| {
        writer.append("short", lines(0..10));
        writer.append("long", lines(0..100));
        let mut reader = writer.open(writer.options(&["*"]), &[]);
        assert_eq!(reader.bodies().await.len(), 110);
        writer.truncate("short", 100);
        writer.truncate("long", 0);
        writer.append("long", lines(1000..1200));
        let mut reader = writer.open(writer.options(&["*"]), &reader.cursors());
        let records = reader.records().await;
        assert_eq!(records.iter().filter(|record| record.name == "short").count(), 5);
        assert_eq!(records.iter().filter(|record| record.name == "long").count(), 200);
    });
}

#[test]
fn a_file_written_anew_and_longer_is_read_from_its_start() {
    on_both_disks(async |writer| {
        for size in [10, 100] {
            let name = &format!("app-{size}");
            writer.append(name, lines(0..size));
            let mut reader = writer.open(writer.options(&[name]), &[]);
            assert_eq!(reader.bodies().await, numbered(0..size));
            writer.truncate(name, 0);
            writer.append(name, lines(1000..1300));
            assert_eq!(reader.bodies().await, numbered(1000..1300));
        }
    });
}

#[test]
fn a_file_written_anew_and_just_as_long_is_read_from_its_start() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));
        writer.truncate("app.log", 0);
        writer.append("app.log", lines(100..200));
        assert_eq!(reader.bodies().await, numbered(100..200));
    });
}

#[test]
fn an_unfinished_line_may_be_taken_back() {
    on_both_disks(async |writer| {
        writer.append("app.log", "one\nprogress 10%");
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        assert_eq!(reader.bodies().await, ["one"]);
        writer.truncate("app.log", 4);
        writer.append("app.log", "done\n");
        assert_eq!(reader.bodies().await, ["done"]);
    });
}

#[test]
fn copytruncate_loses_only_what_its_copy_lost() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["app.log*"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));

        // The copy is there a while before the file is truncated.
        writer.append("app.log", lines(100..120));
        writer.copy("app.log", "app.log.1");
        assert_eq!(reader.bodies().await, numbered(100..120));
        writer.truncate("app.log", 0);
        writer.append("app.log", lines(120..130));
        assert_eq!(reader.bodies_for(LONG).await, numbered(120..130));

        // Written after the last look, and found only in the copy.
        writer.append("app.log", lines(130..200));
        reader.bodies().await;
        writer.append("app.log", lines(200..220));
        writer.rename("app.log.1", "app.log.2");
        writer.copy("app.log", "app.log.1");
        writer.truncate("app.log", 0);
        writer.append("app.log", lines(220..225));
        let mut came = reader.bodies_for(LONG).await;
        came.sort();
        assert_eq!(came, numbered(200..225));

        let mut reader = writer.open(writer.options(&["app.log*"]), &reader.cursors());
        assert_eq!(reader.bodies_for(LONG).await, [""; 0]);
    });
}

#[test]
fn a_copy_that_replaces_its_original_is_read_on() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..100));
        let mut reader = writer.open(writer.options(&["app.log"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));
        writer.copy("app.log", "edited");
        writer.append("edited", lines(100..110));
        writer.rename("edited", "app.log");
        assert_eq!(reader.bodies_for(Duration::from_secs(5)).await, numbered(100..110));
        writer.append("app.log", lines(110..120));
        assert_eq!(reader.bodies().await, numbered(110..120));
    });
}

#[test]
fn files_that_begin_alike_are_told_apart() {
    on_both_disks(async |writer| {
        let banner = "=".repeat(1500) + "\n";
        writer.append("app.log", banner.clone() + &lines(0..10));
        let mut reader = writer.open(writer.options(&["app.log*"]), &[]);
        assert_eq!(reader.bodies().await.len(), 11);
        writer.rename("app.log", "app.log.1");
        writer.append("app.log", banner.clone() + &lines(10..30));
        assert_eq!(reader.bodies().await[1..], numbered(10..30));

        let mut reader = writer.open(writer.options(&["app.log*"]), &reader.cursors());
        writer.append("app.log", lines(30..31));
        assert_eq!(reader.bodies_for(LONG).await, numbered(30..31));
    });
}

#[test]
fn a_link_that_leads_elsewhere_is_another_file() {
    in_simulated_time(async {
        let writer = Writer::real();
        let link = |to: &str| {
            let (next, path) = (writer.path("next"), writer.path("current.log"));
            std::os::unix::fs::symlink(writer.path(to), &next).unwrap();
            std::fs::rename(next, path).unwrap();
        };
        writer.append("a", "a one\n");
        link("a");
        let mut reader = writer.open(writer.options(&["current.log"]), &[]);
        assert_eq!(reader.bodies().await, ["a one"]);
        writer.append("a", "a two\n");
        writer.append("b", "b one\n");
        link("b");
        assert_eq!(reader.bodies().await, ["a two", "b one"]);
        writer.append("a", "a late\n");
        assert_eq!(reader.bodies_for(LONG).await, ["a late"]);
    });
}

#[test]
fn offsets_beyond_4_gib_are_exact() {
    in_simulated_time(async {
        let writer = Writer::real();
        writer.append("app.log", "");
        writer.truncate("app.log", 5 << 30);
        let options = FileOptions { start_at_end: true, ..writer.options(&["app.log"]) };
        let mut reader = writer.open(options, &[]);
        writer.append("app.log", "one\ntwo\n");
        let records = reader.records().await;
        assert_eq!(records[1].body, Ok("two".into()));
        assert_eq!(records[1].position, Position { offset: (5 << 30) + 4, line: 1 });
    });
}

#[test]
fn a_number_used_again_is_another_file() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        writer.append("app.log", "one\n");
        let cursors = {
            let mut reader = writer.open(writer.options(&["app.log"]), &[]);
            assert_eq!(reader.bodies().await, ["one"]);
            reader.cursors()
        };
        writer.remove("app.log");
        writer.disk.sync_dir(writer.dir.as_ref()).unwrap();
        writer.append("app.log", "two\nthree\n");
        let mut reader = writer.open(writer.options(&["app.log"]), &cursors);
        let records = reader.records().await;
        assert_eq!(records.len(), 2);
        let inode = |identity: &str| identity.split('-').nth(2).unwrap().to_owned();
        assert_eq!(inode(&records[0].identity), inode(&cursors[0].identity), "test needs reuse");
    });
}

#[test]
fn a_file_growing_past_1_kib_keeps_its_place() {
    on_both_disks(async |writer| {
        writer.append("app.log", lines(0..40));
        let mut reader = writer.open(writer.options(&["*"]), &[]);
        let short = reader.records().await;
        assert!(short[0].identity.starts_with("i-"), "{short:?}");

        // Started again only after it has grown, and, apart from that, never stopped.
        writer.append("app.log", lines(40..100));
        let mut restarted = writer.open(writer.options(&["*"]), &reader.cursors());
        assert_eq!(restarted.bodies().await, numbered(40..100));
        let long = reader.records().await;
        assert_eq!(long.len(), 60);
        assert!(long.iter().all(|record| record.identity.starts_with("h-")));
        assert_eq!(long[0].position, short[39].next);

        for cursors in [restarted.cursors(), reader.cursors()] {
            writer.open(writer.options(&["*"]), &cursors);
            let mut reader = writer.open(writer.options(&["*"]), &cursors);
            assert_eq!(reader.bodies().await, [""; 0]);
        }
    });
}

/// Something that happens to logs.
#[derive(Clone, Debug)]
enum Event {
    Write(u32),
    Rotate,
    /// Read, for as long as something comes.
    Read,
    Restart,
    Crash,
    /// Read for a long time.
    Wait,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (1_u32..150).prop_map(Event::Write),
        2 => Just(Event::Rotate),
        4 => Just(Event::Read),
        1 => Just(Event::Restart),
        1 => Just(Event::Crash),
        1 => Just(Event::Wait),
    ];
    proptest::collection::vec(event, 1..40)
}

/// How logs are rotated.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Create,
    /// The same, and only the newest log is asked for.
    CreateAlone,
    CopyTruncate,
}

/// A log that is rotated, and a source to which some looks and reads fail.
struct Life {
    writer: Writer,
    options: FileOptions,
    fail_every: u64,
    reader: Reader,
    written: u32,
    /// The number of the newest log's first line.
    newest_from: u32,
    came: Vec<String>,
}

impl Life {
    fn new(mode: Mode, read_chunk: usize, fail_every: u64) -> Self {
        let writer = Writer::simulated();
        let include = if mode == Mode::CreateAlone { "app.log" } else { "app.log*" };
        let options = FileOptions { read_chunk, ..writer.options(&[include]) };
        let reader = writer.flaky(fail_every).open_at_last(&options, &[]);
        let came = Vec::new();
        Self { writer, options, fail_every, reader, written: 0, newest_from: 0, came }
    }

    async fn on(mut self, event: Event, mode: Mode) -> Self {
        match event {
            Event::Write(count) => {
                let more = self.written + count;
                self.writer.append("app.log", lines(self.written..more));
                self.written = more;
            }
            Event::Rotate if mode == Mode::Create => self.shift(0),
            // A log of which nothing was read is not known, and not looked for.
            Event::Rotate if mode == Mode::CreateAlone => {
                if self.came.contains(&numbered(self.newest_from..self.newest_from + 1)[0]) {
                    self.shift(0);
                    self.newest_from = self.written;
                }
            }
            // A copy of a file that was never seen with 1 KiB is another file to us.
            Event::Rotate if self.writer.size("app.log") >= 1024 => {
                self.came.extend(self.reader.bodies().await);
                self.writer.append("app.log", lines(self.written..self.written + 5));
                self.written += 5;
                self.shift(1);
                self.writer.copy("app.log", "app.log.1");
                self.writer.truncate("app.log", 0);
            }
            Event::Rotate => {}
            Event::Read => self.came.extend(self.reader.bodies().await),
            Event::Restart => {
                let flaky = self.writer.flaky(self.fail_every);
                self.reader = flaky.open_after_stop(&self.options, &self.reader);
            }
            Event::Crash => {
                let flaky = self.writer.flaky(self.fail_every);
                self.reader = flaky.open_after_crash(&self.options, self.reader);
            }
            Event::Wait => {
                let time = Duration::from_secs(120);
                self.came.extend(self.reader.bodies_for(time).await);
            }
        }
        self
    }

    /// Renames `app.log.1` to `app.log.2` and so on, from number `first`; 0 is `app.log`.
    fn shift(&self, first: u32) {
        let name = |number| match number {
            0 => "app.log".to_owned(),
            number => format!("app.log.{number}"),
        };
        let free = (first..).find(|number| !self.writer.exists(&name(*number))).unwrap();
        for number in (first..free).rev() {
            self.writer.rename(&name(number), &name(number + 1));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rotated_logs_give_every_line_once(
        mode in prop_oneof![
            Just(Mode::Create), Just(Mode::CreateAlone), Just(Mode::CopyTruncate),
        ],
        events in events(),
        read_chunk in 20_usize..5000,
        fail_every in 2_u64..200,
    ) {
        in_simulated_time(async {
            let mut life = Life::new(mode, read_chunk, fail_every);
            for event in events {
                life = life.on(event, mode).await;
            }
            life = life.on(Event::Wait, mode).await;
            life.came.sort();
            assert_eq!(life.came, numbered(0..life.written));
        });
    }
}
