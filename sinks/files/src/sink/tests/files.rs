use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow_select::concat::concat_batches;
use millrace_connect_api::{
    Batch, Cut, DataType, FileSink, Piece, PieceBody, Plan, Resume, Schema, SinkError,
};
use millrace_disk::SimDisk;
use millrace_types::QueueOffset;
use parquet::basic::{Compression as Codec, Encoding, LogicalType, TimeUnit};

use super::rig::*;
use crate::{
    BatchError, Compression, FilesOptions, FilesSink, Format, Metadata, ParquetFormat, Rotate,
    RowGroup, TextCompression,
};

pub(super) const NEVER: Rotate = Rotate { rows: None, bytes: None, every_ms: None, idle_ms: None };

fn compressed(compression: Compression) -> Format {
    Format::Parquet(ParquetFormat { compression, ..ParquetFormat::default() })
}

fn rotated(rotate: Rotate) -> FilesOptions {
    FilesOptions { rotate, ..options() }
}

/// Writes rows of queue 0, from offset `from` on.
fn write(sink: &mut FilesSink, from: u64, partitions: &[&str], ms: u64) {
    let rows: Vec<_> = partitions.iter().map(|partition| row(partition)).collect();
    ready(sink.write(&batch(0, from, &rows), at(ms))).expect("a disk without faults");
}

/// What a plan closes, as `partition: rows`, in the order of the plan.
fn plan(sink: &mut FilesSink, ms: u64, cut: Cut) -> (Vec<String>, Plan) {
    let plan = ready(sink.plan(at(ms), cut)).expect("a disk without faults");
    let parts = plan.parts.iter().map(|part| format!("{}: {}", part.partition, part.rows));
    (parts.collect(), plan)
}

/// Writes one batch into one file and reads that file.
pub(super) fn round_trip(options: FilesOptions, batch: &Batch) -> Visible {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options);
    ready(sink.write(batch, at(0))).expect("a disk without faults");
    let (_, plan) = plan(&mut sink, 0, Cut::All);
    ready(sink.publish(&plan.parts[0])).expect("a disk without faults");
    visible(&disk, "/lake/events").remove(0)
}

/// Options for a file of these columns, and a batch that has them.
pub(super) fn table(columns: Vec<(&str, DataType, ArrayRef)>) -> (FilesOptions, Batch) {
    let schema = columns.iter().map(|(name, data_type, _)| column(name, *data_type)).collect();
    let mut batch = batch(0, 0, &vec![row("a"); columns[0].2.len()]);
    for (name, _, array) in columns {
        batch = batch.with_column(name.into(), array);
    }
    let columns = Schema { columns: schema };
    (FilesOptions::new("/lake/events", columns, "pipe", parquet()), batch)
}

#[test]
fn every_type_comes_back_with_its_nulls() {
    let times = TimestampMicrosecondArray::from(vec![Some(1_431_857_103_250_001), None, Some(-1)]);
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("b", DataType::Bool, Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
        ("i", DataType::Int, Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(7)]))),
        ("d", DataType::Double, Arc::new(Float64Array::from(vec![Some(0.1), None, Some(-0.0)]))),
        ("s", DataType::String, Arc::new(StringArray::from(vec![Some("ä"), None, Some("")]))),
        ("t", DataType::Timestamp, Arc::new(times.with_timezone("UTC"))),
        ("day", DataType::Date, Arc::new(Date32Array::from(vec![Some(16572), None, Some(-1)]))),
        ("user.id", DataType::Int, Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ];
    let arrays: Vec<_> = columns.iter().map(|(_, _, array)| Arc::clone(array)).collect();
    let (options, batch) = table(columns);
    let file = round_trip(options, &batch).parquet();
    assert_eq!(file.rows.len(), 1);
    assert_eq!(file.rows[0].columns(), arrays);
    let schema = file.rows[0].schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["b", "i", "d", "s", "t", "day", "user.id"]);

    let stored = file.metadata.file_metadata().schema_descr();
    let utc_micros = LogicalType::timestamp(true, TimeUnit::MICROS);
    assert_eq!(stored.column(4).logical_type_ref(), Some(&utc_micros));
}

#[test]
fn a_file_says_which_rows_it_has() {
    let disk = SimDisk::new(1);
    let mut sink = FilesSink::open(
        Arc::new(disk.clone()),
        FilesOptions { metadata: Metadata::All, ..options() },
        Resume { next: [(queue_ref(1), QueueOffset(40))].into(), ahead: Default::default() },
        12,
    )
    .expect("good options");
    ready(sink.write(&batch(1, 40, &[row("a"), row("b"), row("a"), row("b")]), at(0))).unwrap();
    let (parts, plan) = plan(&mut sink, 0, Cut::All);
    assert_eq!(parts, ["p=a: 2", "p=b: 2"]);
    let part = &plan.parts[0];
    assert_eq!(part.name, "p=a/pipe-0000000012.parquet");
    assert_eq!(part.staged, "p=a/.pipe-0000000012.parquet.0.part");
    ready(sink.publish(part)).unwrap();
    let file = visible(&disk, "/lake/events").remove(0);

    let bytes = disk.file_bytes(format!("/lake/events/{}", part.name)).expect("it is published");
    assert_eq!((bytes.len() as u64, crc32fast::hash(&bytes)), (part.bytes, part.checksum));
    let origins = file.origins();
    let file = file.parquet();
    let metadata = file.metadata.file_metadata();
    assert!(metadata.created_by().is_some_and(|name| name.starts_with("millrace version ")));
    let pairs = metadata.key_value_metadata().expect("metadata").iter();
    let pairs: Vec<_> = pairs.map(|pair| (&*pair.key, pair.value.as_deref().unwrap())).collect();
    let ranges = r#"[{"broker":"b","topic":"t","queue":1,"from":40,"to":44}]"#;
    let expected =
        [("millrace.pipeline", "pipe"), ("millrace.part", "12"), ("millrace.ranges", ranges)];
    assert_eq!(pairs, expected);

    let rows = &file.rows[0];
    assert!(rows.column_by_name("p").is_none(), "the partition is in the path");
    assert_eq!(origins, [(1, 40, 1_000_040), (1, 42, 1_000_042)]);
    let column = |name| rows.column_by_name(name).expect("a metadata column");
    assert_eq!(column("_broker").as_string::<i32>().value(0), "b");
    assert_eq!(column("_topic").as_string::<i32>().value(1), "t");
    let times = column("_store_time").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values()[..], [1_431_857_103_040_000, 1_431_857_103_042_000]);
}

#[test]
fn a_file_is_full_at_exactly_so_many_rows() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, rotated(Rotate { rows: Some(10), ..NEVER }));
    write(&mut sink, 0, &["a"; 25], 0);
    let (parts, first) = plan(&mut sink, 0, Cut::Due);
    assert_eq!(parts, ["p=a: 10", "p=a: 10"]);
    let to: Vec<_> = first.parts.iter().map(|part| part.ranges[0].to.0).collect();
    assert_eq!(to, [10, 20]);
    assert_eq!(first.resume.next[&queue_ref(0)], QueueOffset(20));
    write(&mut sink, 25, &["a"; 4], 0);
    assert_eq!(plan(&mut sink, 0, Cut::Due).0, [""; 0]);
    write(&mut sink, 29, &["b", "a"], 0);
    let (parts, second) = plan(&mut sink, 0, Cut::Due);
    assert_eq!(parts, ["p=a: 10"]);
    assert_eq!(second.resume.next[&queue_ref(0)], QueueOffset(29));
    assert_eq!(second.resume.ahead["p=a"][&queue_ref(0)], QueueOffset(31));
}

#[test]
fn a_file_is_closed_so_long_after_its_first_or_last_row() {
    let check = |rotate, due_at| {
        let mut sink = open(&SimDisk::new(1), rotated(rotate));
        write(&mut sink, 0, &["a"], 1000);
        write(&mut sink, 1, &["a"], 1050);
        assert_eq!(plan(&mut sink, due_at - 1, Cut::Due).0, [""; 0]);
        assert_eq!(plan(&mut sink, due_at, Cut::Due).0, ["p=a: 2"]);
        assert_eq!(plan(&mut sink, due_at, Cut::All).0, [""; 0]);
    };
    check(Rotate { every_ms: Some(100), ..NEVER }, 1100);
    check(Rotate { idle_ms: Some(100), ..NEVER }, 1150);
}

#[test]
fn a_file_is_closed_near_its_size() {
    let options = FilesOptions {
        format: compressed(Compression::None),
        ..rotated(Rotate { bytes: Some(300_000), ..NEVER })
    };
    let mut sink = open(&SimDisk::new(1), options);
    for n in 0..60 {
        write(&mut sink, n * 1000, &["a"; 1000], 0);
    }
    let (parts, plan) = plan(&mut sink, 0, Cut::Due);
    assert!(parts.len() > 2, "{parts:?}");
    for part in plan.parts {
        assert!((270_000..360_000).contains(&part.bytes), "{} bytes", part.bytes);
    }
}

#[test]
fn handles_are_given_back_and_files_go_on() {
    let disk = SimDisk::new(1);
    let options = FilesOptions {
        columns: Schema {
            columns: vec![column("v", DataType::Int), column("s", DataType::String)],
        },
        max_open: 2,
        format: Format::Parquet(ParquetFormat {
            compression: Compression::None,
            row_group: RowGroup { rows: 10, ..RowGroup::default() },
        }),
        ..rotated(NEVER)
    };
    let mut sink = open(&disk, options);
    sink.workshop.chunk_rows = 10;
    // Row groups of 300 kB, each of which is written when the next one begins.
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(30_000); 25]));
    let steps: [(&str, &[&str]); 4] =
        [("a", &["p=a"]), ("b", &["p=a", "p=b"]), ("c", &["p=b", "p=c"]), ("a", &["p=a", "p=c"])];
    for (n, (partition, expected)) in (0..).zip(steps) {
        let batch = batch(0, n * 25, &vec![row(partition); 25]);
        let batch = batch.with_column("s".into(), Arc::clone(&texts));
        ready(sink.write(&batch, at(n))).expect("a disk without faults");
        let held = sink.open.values().filter(|part| part.holds_file());
        let held: Vec<_> = held.map(|part| part.partition.to_string()).collect();
        assert_eq!(held, expected);
    }
    let (parts, plan) = plan(&mut sink, 4, Cut::All);
    assert_eq!(parts, ["p=a: 50", "p=b: 25", "p=c: 25"]);
    plan.parts.iter().for_each(|part| {
        ready(sink.publish(part)).expect("a disk without faults");
    });
    let files = visible(&disk, "/lake/events");
    assert_eq!(files.iter().map(|file| file.origins().len()).collect::<Vec<_>>(), [50, 25, 25]);
}

#[test]
fn too_much_memory_ends_row_groups_early_and_no_file() {
    let memory = |memory_bytes_max, partitions: &[&str]| {
        let disk = SimDisk::new(1);
        let options = FilesOptions { memory_bytes_max, ..rotated(NEVER) };
        let mut sink = open(&disk, options);
        let rows: Vec<_> = partitions.iter().copied().cycle().take(60_000).collect();
        for n in 0..5 {
            write(&mut sink, n * 60_000, &rows, 0);
            let memory: u64 = sink.open.values().map(|part| part.memory_bytes()).sum();
            assert!(memory <= memory_bytes_max, "{memory} bytes");
        }
        let (_, plan) = plan(&mut sink, 0, Cut::All);
        plan.parts.iter().for_each(|part| {
            ready(sink.publish(part)).expect("no faults");
        });
        let files = visible(&disk, "/lake/events");
        assert_eq!(files.iter().map(|file| file.origins().len()).sum::<usize>(), 300_000);
        files.iter().map(|file| file.parquet().metadata.num_row_groups()).collect::<Vec<_>>()
    };
    assert_eq!(memory(128 << 20, &["a"]), [1]);
    assert!(memory(5 << 20, &["a"])[0] > 1);
    let two = memory(5 << 20, &["a", "b"]);
    assert!(two.len() == 2 && two.iter().all(|groups| *groups > 1), "{two:?}");
}

#[test]
fn far_too_many_partitions_are_closed_early() {
    let options = FilesOptions { memory_bytes_max: 100_000, ..rotated(NEVER) };
    let mut sink = open(&SimDisk::new(1), options);
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    write(&mut sink, 0, &names.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    let (parts, _) = plan(&mut sink, 0, Cut::Due);
    assert!((10..50).contains(&parts.len()), "{} parts", parts.len());
}

#[test]
fn row_groups_have_so_many_rows() {
    let (options, batch) =
        table(vec![("i", DataType::Int, Arc::new(Int64Array::from_iter_values(0..10_000)))]);
    let row_group = RowGroup { rows: 3_000, ..RowGroup::default() };
    let format = Format::Parquet(ParquetFormat { row_group, ..ParquetFormat::default() });
    let file = round_trip(FilesOptions { format, ..options }, &batch).parquet();
    let rows: Vec<_> = file.metadata.row_groups().iter().map(|group| group.num_rows()).collect();
    assert_eq!(rows, [3_000, 3_000, 3_000, 1_000]);
}

#[test]
fn columns_have_a_dictionary_only_where_values_come_again() {
    let texts = |text: &dyn Fn(u64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..5_000).map(text)))
    };
    let (options, batch) = table(vec![
        ("often", DataType::String, texts(&|n| format!("{}", n % 7))),
        ("once", DataType::String, texts(&|n| format!("{n}"))),
    ]);
    let codecs = [
        (Compression::None, Codec::UNCOMPRESSED),
        (Compression::Snappy, Codec::SNAPPY),
        (Compression::Zstd(1), Codec::ZSTD(Default::default())),
    ];
    for (compression, codec) in codecs {
        let options = FilesOptions { format: compressed(compression), ..options.clone() };
        let file = round_trip(options, &batch).parquet();
        let group = file.metadata.row_group(0);
        let has_dictionary = |column| {
            let mut encodings = group.column(column).encodings();
            encodings.any(|encoding| encoding == Encoding::RLE_DICTIONARY)
        };
        assert!(has_dictionary(0));
        assert!(!has_dictionary(1));
        assert_eq!(group.column(0).compression(), codec);
        assert_eq!(group.column(0).statistics().and_then(|s| s.min_bytes_opt()), Some(&b"0"[..]));
    }
}

/// The same rows give the same bytes, however they were cut into batches and whatever other
/// partitions came between them.
#[test]
fn the_same_rows_give_the_same_bytes() {
    let file = |format: &Format, sizes: &[usize], others: bool| {
        let disk = SimDisk::new(1);
        let mut sink = open(&disk, FilesOptions { format: format.clone(), ..rotated(NEVER) });
        let rows = (0..9_000).map(|n| if n % 3 == 2 { row("b") } else { row("a") });
        let rows: Vec<_> = rows
            .map(|row| Row { selected: others || row.partition == Some("a".into()), ..row })
            .collect();
        let mut from = 0;
        for size in sizes.iter().cycle() {
            let to = rows.len().min(from + size);
            ready(sink.write(&batch(0, from as u64, &rows[from..to]), at(from as u64))).unwrap();
            from = to;
            if from == rows.len() {
                break;
            }
        }
        let (_, plan) = plan(&mut sink, 0, Cut::All);
        disk.file_bytes(format!("/lake/events/{}", plan.parts[0].staged)).expect("it is staged")
    };
    for format in [parquet(), Format::Jsonl(TextCompression::Zstd)] {
        let whole = file(&format, &[9_000], false);
        assert!(file(&format, &[1], false) == whole);
        assert!(file(&format, &[7, 3000, 1], true) == whole);
        assert!(file(&format, &[2048], true) == whole);
        assert!(file(&format, &[5000], true) == whole);
    }
}

/// Long rows make smaller chunks, and those, too, depend on the rows alone.
#[test]
fn the_same_long_rows_give_the_same_bytes() {
    let text = |n: usize| "x".repeat(n * 7919 % 60_000);
    let file = |size: usize, select: &dyn Fn(usize) -> bool| {
        let columns = Schema { columns: vec![column("s", DataType::String)] };
        let disk = SimDisk::new(1);
        let options = FilesOptions::new("/lake/events", columns, "pipe", parquet());
        let mut sink = open(&disk, options);
        for from in (0..600).step_by(size) {
            let numbers = from..600.min(from + size);
            let texts = StringArray::from_iter_values(numbers.clone().map(text));
            let rows = numbers.map(|n| Row { selected: select(n), ..row("a") });
            let batch = batch(0, from as u64, &rows.collect::<Vec<_>>());
            let batch = batch.with_column("s".into(), Arc::new(texts));
            ready(sink.write(&batch, at(0))).expect("a disk without faults");
        }
        let (_, plan) = plan(&mut sink, 0, Cut::All);
        disk.file_bytes(format!("/lake/events/{}", plan.parts[0].staged)).expect("it is staged")
    };
    let all = |_| true;
    let whole = file(600, &all);
    assert!(file(1, &all) == whole);
    assert!(file(77, &all) == whole);
    let odd = |n| n % 2 == 1;
    assert!(file(600, &odd) == file(7, &odd));
}

/// A whole chunk of a batch is encoded where it lies, anything else is copied first.
#[test]
fn rows_are_the_same_copied_or_not() {
    let values = Int64Array::from_iter((0..9_000).map(|n| (n % 5 > 0).then_some(n)));
    let (options, batch) = table(vec![("i", DataType::Int, Arc::new(values.clone()))]);
    let file = round_trip(options, &batch).parquet();
    let rows = concat_batches(&file.rows[0].schema(), &file.rows).expect("batches of one file");
    assert_eq!(rows.column(0).to_data(), values.to_data());
}

#[test]
fn filtered_rows_move_the_position_and_open_rows_hold_it() {
    let mut sink = open(&SimDisk::new(1), rotated(NEVER));
    let filtered = Row { selected: false, ..row("a") };
    ready(sink.write(&batch(0, 0, &[filtered.clone(), filtered.clone()]), at(0))).unwrap();
    let (_, first) = plan(&mut sink, 0, Cut::Due);
    assert_eq!(first.resume.next[&queue_ref(0)], QueueOffset(2));
    ready(sink.write(&batch(0, 2, &[filtered.clone(), row("a"), filtered]), at(0))).unwrap();
    let (_, second) = plan(&mut sink, 0, Cut::Due);
    assert_eq!(second.resume.next[&queue_ref(0)], QueueOffset(3));
    let (_, third) = plan(&mut sink, 0, Cut::All);
    assert_eq!(third.resume.next[&queue_ref(0)], QueueOffset(5));
    assert_eq!(third.parts[0].ranges[0].from, QueueOffset(3));
}

#[test]
fn a_row_without_a_possible_directory_is_rejected() {
    let mut sink = open(&SimDisk::new(1), rotated(NEVER));
    let long = "x".repeat(300);
    let batch = batch(0, 0, &[row("a"), row(&long)]);
    let written = ready(sink.write(&batch, at(0))).unwrap();
    assert_eq!(written.rows, 1);
    let [(1, reject)] = &written.rejected[..] else { panic!("{:?}", written.rejected) };
    assert_eq!((reject.code, reject.field.as_deref()), ("E-PATH-02", Some("p")));
}

#[track_caller]
fn check_broken<T>(result: Result<T, SinkError>, expected: &str) {
    match result.map(drop) {
        Err(SinkError::Broken(cause)) => assert_eq!(cause.to_string(), expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_that_is_not_the_next_is_refused() {
    let mut sink = open(&SimDisk::new(1), rotated(NEVER));
    write(&mut sink, 5, &["a", "a"], 0);
    let again = ready(sink.write(&batch(0, 5, &[row("a")]), at(0)));
    let expected = "the batch of queue b/t/0 begins at 5, but the last one ended at 7";
    check_broken(again, expected);
    check_broken(ready(sink.plan(at(0), Cut::All)), &BatchError::FailedBefore.to_string());
}

#[test]
fn a_batch_without_the_columns_is_refused() {
    let (options, _) = table(vec![("i", DataType::Int, Arc::new(Int64Array::from(vec![1])))]);
    let mut sink = open(&SimDisk::new(1), options.clone());
    let batch = batch(0, 0, &[row("a")]);
    check_broken(ready(sink.write(&batch, at(0))), "the rows have no column `i`");
    let batch = batch.with_column("i".into(), Arc::new(StringArray::from(vec!["1"])));
    let mut sink = open(&SimDisk::new(1), options);
    check_broken(ready(sink.write(&batch, at(0))), "the column `i` is of type Utf8, not Int64");
}

#[test]
fn options_that_cannot_work_are_refused() {
    let check = |options: FilesOptions, expected: &str| {
        let disk = Arc::new(SimDisk::new(1));
        let opened = FilesSink::open(disk, options, Resume::default(), 1);
        assert_eq!(opened.err().map(|error| error.to_string()).as_deref(), Some(expected));
    };
    let columns = |names: &[&str]| {
        let columns = names.iter().map(|name| column(name, DataType::Int)).collect();
        FilesOptions { columns: Schema { columns }, ..options() }
    };
    check(columns(&["a", "a"]), "the column `a` is there twice");
    check(columns(&["_offset"]), "`_offset` is a metadata column and cannot be one of the rows");
    check(
        FilesOptions { metadata: Metadata::None, ..columns(&["p"]) },
        "no column is left for the file itself",
    );
    check(
        FilesOptions { name_prefix: "../x".to_owned(), ..options() },
        "`../x` cannot begin a file name: only letters, digits, `-` and `_` can",
    );
    check(rotated(Rotate { rows: Some(0), ..NEVER }), "`rotate.rows` cannot be 0");
    check(
        FilesOptions { format: compressed(Compression::Zstd(23)), ..options() },
        "zstd has levels 1 to 22, not 23",
    );
}

/// Offsets tell what is in a file, so the rows of a message that go into one partition stay
/// together, whatever the rotation says.
#[test]
fn rows_of_one_message_are_in_one_file() {
    let disk = SimDisk::new(1);
    let rotate = Rotate { rows: Some(3), ..NEVER };
    let mut sink = open(&disk, FilesOptions { pieces: true, ..rotated(rotate) });
    // Rows of four messages: 2, 1, 5 and 2 of partition `a`, and one of `b` among the 5.
    let pieces = [(0, "aa"), (1, "a"), (2, "aabaaa"), (3, "aa")];
    let pieces = pieces.iter().flat_map(|(message, partitions)| {
        let of =
            |(index, partition): (usize, char)| (*message, index as u32, partition.to_string());
        partitions.chars().enumerate().map(of).collect::<Vec<_>>()
    });
    let pieces: Vec<(usize, u32, String)> = pieces.collect();
    let whole = batch(0, 10, &vec![row("a"); 4]);
    let made = whole.messages().in_pieces(
        Default::default(),
        pieces.iter().map(|(row, index, _)| Piece {
            row: *row,
            index: Some(*index),
            body: PieceBody::Same,
            properties: None,
        }),
    );
    let partitions: StringArray = pieces.iter().map(|(_, _, name)| Some(name)).collect();
    let values = Int64Array::from_iter_values(0..pieces.len() as i64);
    let batch = Batch::new(Arc::new(made))
        .with_column("p".into(), Arc::new(partitions))
        .with_column("v".into(), Arc::new(values));
    ready(sink.write(&batch, at(0))).unwrap();
    let (parts, plan) = plan(&mut sink, 0, Cut::All);
    assert_eq!(parts, ["p=a: 3", "p=a: 5", "p=a: 2", "p=b: 1"]);
    let ranges = plan.parts.iter().map(|part| (part.ranges[0].from.0, part.ranges[0].to.0));
    assert_eq!(ranges.collect::<Vec<_>>(), [(10, 12), (12, 13), (13, 14), (10, 14)]);
    for part in &plan.parts {
        ready(sink.publish(part)).unwrap();
    }
    let mut rows: Vec<(u64, i64)> = Vec::new();
    for file in visible(&disk, "/lake/events") {
        for rows_of_file in file.parquet().rows {
            let column = |name: &str| rows_of_file.column_by_name(name).unwrap();
            let (offsets, indexes) = (column("_offset"), column("_index"));
            let (offsets, indexes) = (
                offsets.as_primitive::<arrow_array::types::Int64Type>(),
                indexes.as_primitive::<arrow_array::types::Int64Type>(),
            );
            rows.extend(
                (0..rows_of_file.num_rows())
                    .map(|row| (offsets.value(row) as u64, indexes.value(row))),
            );
        }
    }
    rows.sort();
    let expected: Vec<(u64, i64)> =
        pieces.iter().map(|(row, index, _)| (10 + *row as u64, i64::from(*index))).collect();
    assert_eq!(rows, expected);
}
