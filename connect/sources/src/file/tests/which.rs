use super::super::*;
use super::support::*;

#[test]
fn a_missing_file_is_named() {
    on_both_disks(async |writer| {
        for missing in ["none.log", "none-*.log", "none/**/x"] {
            writer.append("there.log", "");
            let error = writer.try_open(writer.once(&["there.log", missing]), &[]).err();
            let Some(SourceError::Missing(text)) = error else { panic!("{error:?}") };
            assert!(text.contains(&writer.path(missing)), "{text}");
        }
    });
}

#[test]
fn without_once_a_missing_file_is_waited_for() {
    on_both_disks(async |writer| {
        let mut reader = writer.open(writer.options(&["a", "b/*.log"]), &[]);
        assert_eq!(reader.bodies().await, [""; 0]);
        writer.append("a", "one\n");
        writer.disk.create_dir_all(writer.path("b").as_ref()).unwrap();
        writer.append("b/x.log", "two\n");
        assert_eq!(reader.bodies().await, ["one", "two"]);
    });
}

#[test]
fn files_come_oldest_first() {
    on_both_disks(async |writer| {
        for name in ["c", "a", "b"] {
            writer.append(name, format!("{name} one\n{name} two"));
        }
        let mut reader = writer.open(writer.once(&["[a-c]"]), &[]);
        assert_eq!(reader.bodies().await, ["c one", "c two", "a one", "a two", "b one", "b two"]);
        assert!(matches!(reader.source.poll().await, Ok(Polled::End)));
    });
}

#[test]
fn a_file_found_twice_is_read_once() {
    on_both_disks(async |writer| {
        writer.append("a", "one\n");
        let mut reader = writer.open(writer.once(&["a", "*", "./a"]), &[]);
        assert_eq!(reader.bodies().await, ["one"]);
    });
}

#[test]
fn with_once_equal_files_are_all_read() {
    on_both_disks(async |writer| {
        for name in ["a", "b", "c"] {
            writer.append(name, lines(0..100));
        }
        let mut reader = writer.open(writer.once(&["*"]), &[]);
        let records = reader.records().await;
        assert_eq!(records.len(), 300);
        let mut identities: Vec<_> = records.iter().map(|record| &record.identity).collect();
        identities.dedup();
        assert_eq!(identities.len(), 3);

        // Whatever was read of each, the rest of it comes and nothing else.
        for count in 0..300 {
            let cursors: Vec<_> = records[..count]
                .iter()
                .map(|record| SourceCursor {
                    identity: record.identity.clone(),
                    path: String::new(),
                    position: record.next,
                    standing: Standing::Open,
                })
                .collect();
            let rest = writer.open(writer.once(&["*"]), &cursors).records().await;
            assert_eq!(rest, records[count..]);
        }
    });
}

#[test]
fn equal_files_read_with_once_are_still_two_without() {
    on_both_disks(async |writer| {
        writer.append("a", lines(0..100));
        writer.append("b", lines(0..100));
        let mut reader = writer.open(writer.once(&["*"]), &[]);
        assert_eq!(reader.bodies().await.len(), 200);
        writer.append("b", "more\n");
        let mut reader = writer.open(writer.options(&["*"]), &reader.cursors());
        assert_eq!(reader.bodies().await, ["more"]);
    });
}

#[test]
fn without_once_a_copy_is_skipped() {
    on_both_disks(async |writer| {
        writer.append("a", lines(0..100));
        writer.copy("a", "b");
        let mut reader = writer.open(writer.options(&["*"]), &[]);
        assert_eq!(reader.bodies().await, numbered(0..100));
        writer.append("b", lines(100..200));
        assert_eq!(reader.bodies().await, [""; 0]);
        writer.append("a", lines(300..400));
        let came = reader.bodies_for(Duration::from_secs(3)).await;
        assert_eq!(came, [numbered(300..400), numbered(0..200)].concat());
    });
}

#[test]
fn more_files_than_may_be_open_are_read_all() {
    in_simulated_time(async {
        let writer = Writer::simulated();
        for number in 0..OPEN_MAX as u32 + 50 {
            writer.append(&format!("{number:04}"), lines(number * 60..(number + 1) * 60));
        }
        let all = numbered(0..(OPEN_MAX as u32 + 50) * 60);
        assert_eq!(writer.open(writer.once(&["*"]), &[]).bodies().await, all);

        let mut reader = writer.open(writer.options(&["*"]), &[]);
        assert_eq!(reader.bodies().await, all);
        assert!(reader.source.open_handles() <= OPEN_MAX);
        writer.append("0000", "more\n");
        writer.append("0300", "and more\n");
        assert_eq!(reader.bodies().await, ["more", "and more"]);
        assert!(reader.source.open_handles() <= OPEN_MAX);
    });
}

#[test]
fn compressed_files_are_refused_by_name_and_skipped_in_patterns() {
    on_both_disks(async |writer| {
        writer.append("a", "one\n");
        writer.append("a.gz", [0x1f, 0x8b, 8, 0, 0, 0, b'\n']);
        assert_eq!(writer.open(writer.once(&["*"]), &[]).bodies().await, ["one"]);
        let error = writer.try_open(writer.once(&["a.gz"]), &[]).err();
        let Some(SourceError::Unsuitable { path, reason }) = error else { panic!("{error:?}") };
        assert_eq!(path, writer.path("a.gz"));
        assert!(reason.contains("gzip"), "{reason}");
    });
}

#[test]
fn a_directory_is_no_file() {
    on_both_disks(async |writer| {
        writer.append("a", "one\n");
        writer.disk.create_dir_all(writer.path("b").as_ref()).unwrap();
        assert_eq!(writer.open(writer.once(&["*"]), &[]).bodies().await, ["one"]);
        for options in [writer.once(&["b"]), writer.options(&["b"])] {
            let error = writer.try_open(options, &[]).err();
            let Some(SourceError::Unsuitable { path, .. }) = error else { panic!("{error:?}") };
            assert_eq!(path, writer.path("b"));
        }
        let error = writer.try_open(writer.once(&["a/below"]), &[]).err();
        assert!(matches!(error, Some(SourceError::Missing(_))), "{error:?}");
    });
}
