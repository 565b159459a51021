use std::path::Path;

use millrace_disk::Access;

use super::super::*;
use super::support::*;

const LONG: Duration = Duration::from_secs(120);

/// What the runtime is to know of the files in the end.
fn standings(reader: &Reader) -> Vec<Standing> {
    reader.cursors().into_iter().map(|cursor| cursor.standing).collect()
}

/// A log of which everything was read.
async fn all_read(writer: &Writer) -> (FileOptions, Reader) {
    let options = writer.options(&["app.log"]);
    writer.append("app.log", lines(0..100));
    let mut reader = writer.open(options.clone(), &[]);
    assert_eq!(reader.bodies().await, numbered(0..100));
    (options, reader)
}

#[test]
fn a_log_that_was_rotated_meanwhile_is_read_to_its_end_first() {
    on_both_disks(async |writer| {
        for (count, crashes) in [(100, false), (100, true), (10, false), (10, true)] {
            let name = &format!("app-{count}-{crashes}.log");
            let options = writer.options(&[name]);
            writer.append(name, lines(0..count));
            let mut reader = writer.open(options.clone(), &[]);
            assert_eq!(reader.bodies().await, numbered(0..count));

            writer.append(name, lines(count..200));
            writer.rename(name, &format!("{name}.1"));
            writer.append(name, lines(200..300));
            let mut reader = match crashes {
                false => writer.open_after_stop(&options, &reader),
                true => writer.open_after_crash(&options, reader),
            };
            assert_eq!(reader.bodies().await, numbered(count..300), "{name}");
        }
    });
}

#[test]
fn a_rotated_log_is_followed_until_it_is_quiet_and_then_left() {
    on_both_disks(async |writer| {
        let (options, reader) = all_read(&writer).await;
        writer.rename("app.log", "app.log.1");

        let mut reader = writer.open_after_stop(&options, &reader);
        writer.append("app.log.1", "late\n");
        assert_eq!(reader.bodies_for(Duration::from_secs(50)).await, ["late"]);
        writer.rename("app.log.1", "app.log.2");
        writer.append("app.log.2", "very late\n");
        assert_eq!(reader.bodies_for(LONG).await, ["very late"]);
        assert_eq!(standings(&reader), [Standing::Left]);
        assert!(reader.source.tails.is_empty());

        writer.append("app.log.2", "too late\n");
        let mut reader = writer.open_after_stop(&options, &reader);
        assert_eq!(reader.bodies().await, [""; 0]);
    });
}

#[test]
fn a_log_that_was_compressed_meanwhile_is_missed_once() {
    on_both_disks(async |writer| {
        let (options, reader) = all_read(&writer).await;
        writer.append("app.log.1.gz", [0x1f, 0x8b, 8, 0, 0, 0, b'\n']);
        writer.remove("app.log");

        let mut reader = writer.open_after_stop(&options, &reader);
        let missed = |reader: &Reader| {
            reader.source.ready.iter().filter(|it| matches!(it, Polled::Standing(..))).count()
        };
        assert_eq!(missed(&reader), 1);
        assert_eq!(reader.bodies().await, [""; 0]);
        assert_eq!(standings(&reader), [Standing::Left]);
        let again = writer.open_after_stop(&options, &reader);
        assert_eq!(missed(&again), 0);
    });
}

#[test]
fn a_file_that_was_left_is_not_missed_under_what_it_was_called_while_short() {
    on_both_disks(async |writer| {
        let options = writer.options(&["app.log"]);
        writer.append("app.log", lines(0..10));
        let mut reader = writer.open(options.clone(), &[]);
        assert_eq!(reader.bodies().await, numbered(0..10));
        writer.append("app.log", lines(10..100));
        assert_eq!(reader.bodies_for(LONG).await, numbered(10..100));
        assert_eq!(reader.cursors().len(), 2);
        writer.rename("app.log", "app.log.1");
        assert_eq!(reader.bodies_for(LONG).await, [""; 0]);
        assert_eq!(standings(&reader), [Standing::Left; 2]);
    });
}

#[test]
fn a_file_that_comes_back_is_expected_again() {
    on_both_disks(async |writer| {
        let (options, mut reader) = all_read(&writer).await;
        writer.rename("app.log", "app.log.1");
        reader.bodies_for(LONG).await;
        assert_eq!(standings(&reader), [Standing::Left]);
        writer.rename("app.log.1", "app.log");
        let mut reader = writer.open_after_stop(&options, &reader);
        assert_eq!(reader.bodies().await, [""; 0]);
        assert_eq!(standings(&reader), [Standing::Open]);
    });
}

#[test]
fn another_file_with_its_number_is_not_read() {
    in_simulated_time(async {
        for count in [10, 100] {
            let writer = Writer::simulated();
            let number = |name: &str| {
                let path = writer.path(name);
                writer.disk.open(Path::new(&path), Access::Read).unwrap().identity().unwrap().inode
            };
            let options = writer.options(&["app.log"]);
            writer.append("app.log", lines(0..count));
            let before = number("app.log");
            let cursors = {
                let mut reader = writer.open(options.clone(), &[]);
                assert_eq!(reader.bodies().await, numbered(0..count));
                reader.cursors()
            };
            writer.remove("app.log");
            writer.disk.sync_dir(writer.dir.as_ref()).unwrap();
            writer.append("app.log.1", lines(1000..1200));
            assert_eq!(number("app.log.1"), before, "test needs reuse");

            let mut reader = writer.open(options, &cursors);
            assert_eq!(reader.bodies().await, [""; 0]);
            assert_eq!(standings(&reader), [Standing::Left]);
        }
    });
}

#[test]
fn what_the_patterns_no_longer_ask_for_is_neither_read_nor_missed() {
    on_both_disks(async |writer| {
        writer.append("a.log", lines(0..100));
        writer.append("b.log", lines(100..200));
        let mut reader = writer.open(writer.options(&["*.log"]), &[]);
        assert_eq!(reader.bodies().await.len(), 200);
        writer.append("b.log", lines(200..201));
        writer.rename("b.log", "b.log.1");

        let mut reader = writer.open_after_stop(&writer.options(&["a.log"]), &reader);
        assert_eq!(reader.bodies().await, [""; 0]);
        assert_eq!(standings(&reader), [Standing::Open; 2]);
        let mut reader = writer.open_after_stop(&writer.options(&["*.log"]), &reader);
        assert_eq!(reader.bodies().await, numbered(200..201));
    });
}

#[test]
fn with_once_a_file_that_was_read_may_go_and_may_be_moved() {
    on_both_disks(async |writer| {
        let options = writer.once(&["*.log"]);
        writer.append("a.log", lines(0..100));
        writer.append("b.log", lines(100..200));
        writer.append("c.log", "one\n");
        let mut reader = writer.open(options.clone(), &[]);
        assert_eq!(reader.bodies().await.len(), 201);
        writer.remove("a.log");
        writer.append("b.log", lines(200..210));
        writer.rename("b.log", "b.log.1");
        writer.append("b.log", lines(210..220));

        let mut reader = writer.open_after_stop(&options, &reader);
        assert_eq!(reader.bodies().await, numbered(200..220));
        assert_eq!(standings(&reader), [Standing::Ended; 4]);
    });
}

#[test]
fn of_copies_the_longest_is_read_and_of_others_none() {
    on_both_disks(async |writer| {
        let banner = "=".repeat(1500) + "\n";
        for (name, is_copy) in [("a.log", true), ("b.log", false)] {
            let options = writer.options(&[name]);
            let of = |part: &str| format!("{name}.{part}");
            writer.append(name, banner.clone() + name + "\n" + &lines(0..100));
            let mut reader = writer.open(options.clone(), &[]);
            assert_eq!(reader.bodies().await.len(), 102);
            writer.rename(name, &of("2"));
            if is_copy {
                writer.copy(&of("2"), &of("1"));
            } else {
                writer.append(&of("1"), banner.clone() + &lines(500..900));
            }
            writer.append(&of("2"), lines(100..150));

            let mut reader = writer.open_after_stop(&options, &reader);
            let expected = if is_copy { numbered(100..150) } else { Vec::new() };
            assert_eq!(reader.bodies().await, expected, "{name}");
            // The next round is not to find files that begin alike.
            writer.remove(&of("1"));
            writer.remove(&of("2"));
        }
    });
}

#[test]
fn of_many_rotated_logs_all_ends_come() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        let count = OPEN_MAX as u32 + 50;
        let name = |number: u32| format!("{number:04}.log");
        let options = writer.options(&["*.log"]);
        for number in 0..count {
            writer.append(&name(number), lines(number * 100..number * 100 + 60));
        }
        let mut reader = writer.open(options.clone(), &[]);
        assert_eq!(reader.bodies().await.len(), count as usize * 60);
        for number in 0..count {
            writer.append(&name(number), lines(number * 100 + 60..number * 100 + 100));
            writer.rename(&name(number), &format!("{}.1", name(number)));
        }
        let mut reader = writer.open_after_stop(&options, &reader);
        let ends = (0..count).flat_map(|number| numbered(number * 100 + 60..number * 100 + 100));
        assert_eq!(reader.bodies().await, ends.collect::<Vec<_>>());
        assert!(reader.source.open_handles() <= OPEN_MAX);
        assert_eq!(reader.bodies_for(LONG).await, [""; 0]);
        assert!(standings(&reader).iter().all(|standing| *standing == Standing::Left));
    });
}

#[test]
fn a_file_to_which_a_link_led_is_read_to_its_end() {
    in_simulated_time(async {
        let writer = Writer::real();
        let link = |to: &str| {
            let (next, path) = (writer.path("next"), writer.path("current.log"));
            std::os::unix::fs::symlink(to, &next).unwrap();
            std::fs::rename(next, path).unwrap();
        };
        let options = writer.options(&["current.log"]);
        writer.append("a", "a one\n");
        link("a");
        let mut reader = writer.open(options.clone(), &[]);
        assert_eq!(reader.bodies().await, ["a one"]);
        writer.append("a", "a two\n");
        writer.append("b", "b one\n");
        link("b");
        // It leads nowhere, and that is nobody's concern.
        std::os::unix::fs::symlink("nowhere", writer.path("dangling")).unwrap();
        let mut reader = writer.open_after_stop(&options, &reader);
        assert_eq!(reader.bodies().await, ["a two", "b one"]);
    });
}
