use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use millrace_connect_api::{Batch, Cut, DataType, FileSink};
use millrace_disk::SimDisk;

use super::files::{NEVER, round_trip, table};
use super::rig::*;
use crate::{CsvFormat, FilesOptions, FilesSink, Format, Metadata, Rotate, TextCompression};

const JSONL: Format = Format::Jsonl(TextCompression::None);

fn every_type() -> (FilesOptions, Batch) {
    let micros = vec![Some(1_431_857_103_250_001), None, Some(-1_000_000), Some(0)];
    let doubles = vec![Some(0.1), None, Some(f64::NAN), Some(-1e300)];
    let texts = vec![Some("ä\"\\\u{1}\n,"), None, Some(""), Some("null")];
    let times = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
    let days = Date32Array::from(vec![Some(16572), None, Some(-1), Some(0)]);
    let bools = BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]);
    let ints = Int64Array::from(vec![Some(i64::MIN), None, Some(7), Some(i64::MAX)]);
    table(vec![
        ("b", DataType::Bool, Arc::new(bools) as ArrayRef),
        ("user.id", DataType::Int, Arc::new(ints)),
        ("d", DataType::Double, Arc::new(Float64Array::from(doubles))),
        ("s", DataType::String, Arc::new(StringArray::from(texts))),
        ("t", DataType::Timestamp, Arc::new(times)),
        ("day", DataType::Date, Arc::new(days)),
    ])
}

#[test]
fn every_type_has_its_form_in_json() {
    let (options, batch) = every_type();
    let file = round_trip(FilesOptions { format: JSONL, ..options }, &batch);
    assert_eq!(file.name, "pipe-0000000001.jsonl");
    let expected = concat!(
        r#"{"b":true,"user.id":-9223372036854775808,"d":0.1,"s":"ä\"\\\u0001\n,","#,
        r#""t":"2015-05-17T10:05:03.250001Z","day":"2015-05-17"}"#,
        "\n",
        r#"{"b":null,"user.id":null,"d":null,"s":null,"t":null,"day":null}"#,
        "\n",
        r#"{"b":false,"user.id":7,"d":null,"s":"","t":"1969-12-31T23:59:59Z","day":"1969-12-31"}"#,
        "\n",
        r#"{"b":true,"user.id":9223372036854775807,"d":-1.0e300,"s":"null","#,
        r#""t":"1970-01-01T00:00:00Z","day":"1970-01-01"}"#,
        "\n",
    );
    assert_eq!(file.text(), expected);
}

#[track_caller]
fn check_csv(format: CsvFormat, expected: &str) {
    let (options, batch) = every_type();
    let file = round_trip(FilesOptions { format: Format::Csv(format), ..options }, &batch);
    assert_eq!(file.name, "pipe-0000000001.csv");
    assert_eq!(file.text(), expected);
}

#[test]
fn every_type_has_its_form_in_csv() {
    check_csv(
        CsvFormat::default(),
        concat!(
            "b,user.id,d,s,t,day\n",
            "true,-9223372036854775808,0.1,\"ä\"\"\\\u{1}\n,\",2015-05-17T10:05:03.250001Z,",
            "2015-05-17\n",
            ",,,,,\n",
            "false,7,NaN,,1969-12-31T23:59:59Z,1969-12-31\n",
            "true,9223372036854775807,-1e300,null,1970-01-01T00:00:00Z,1970-01-01\n",
        ),
    );
    check_csv(
        CsvFormat {
            header: false,
            delimiter: b'\t',
            quote: b'\'',
            null: "\\N".to_owned(),
            ..CsvFormat::default()
        },
        concat!(
            "true\t-9223372036854775808\t0.1\t'ä\"\\\u{1}\n,'\t2015-05-17T10:05:03.250001Z\t",
            "2015-05-17\n",
            "\\N\t\\N\t\\N\t\\N\t\\N\t\\N\n",
            "false\t7\tNaN\t\t1969-12-31T23:59:59Z\t1969-12-31\n",
            "true\t9223372036854775807\t-1e300\tnull\t1970-01-01T00:00:00Z\t1970-01-01\n",
        ),
    );
}

#[test]
fn a_csv_file_names_its_columns_once() {
    let numbers = Int64Array::from_iter_values(0..5_000);
    let (options, batch) = table(vec![("i", DataType::Int, Arc::new(numbers))]);
    let format = Format::Csv(CsvFormat::default());
    let file = round_trip(FilesOptions { format, ..options }, &batch);
    let expected = (0..5_000).map(|n| n.to_string());
    let expected: Vec<_> = std::iter::once("i".to_owned()).chain(expected).collect();
    assert!(file.text().lines().eq(expected));
}

/// An empty line would be no row to some readers.
#[test]
fn a_lone_column_without_a_value_is_a_row() {
    let numbers = Int64Array::from(vec![Some(1), None, Some(2)]);
    let (options, batch) = table(vec![("i", DataType::Int, Arc::new(numbers))]);
    let format = Format::Csv(CsvFormat::default());
    let file = round_trip(FilesOptions { format, ..options }, &batch);
    assert_eq!(file.text(), "i\n1\n\"\"\n2\n");
}

#[test]
fn marks_that_take_no_line_apart_are_refused() {
    let check = |format: CsvFormat, option: &str| {
        let disk = Arc::new(SimDisk::new(1));
        let options = FilesOptions { format: Format::Csv(format), ..options() };
        let opened = FilesSink::open(disk, options, Default::default(), 1);
        let told = opened.err().map(|error| error.to_string());
        let expected = format!("with this `{option}` the fields of a line could not be told apart");
        assert_eq!(told, Some(expected));
    };
    check(CsvFormat { delimiter: b'\n', ..CsvFormat::default() }, "delimiter");
    check(CsvFormat { delimiter: b'"', ..CsvFormat::default() }, "quote");
    check(CsvFormat { null: "-,-".to_owned(), ..CsvFormat::default() }, "null");
}

#[test]
fn a_line_says_where_its_row_comes_from() {
    let disk = SimDisk::new(1);
    let options = FilesOptions { format: JSONL, metadata: Metadata::All, ..options() };
    let mut sink = open(&disk, options);
    ready(sink.write(&batch(3, 40, &[row("a")]), at(0))).unwrap();
    let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
    ready(sink.publish(&plan.parts[0])).unwrap();
    let file = visible(&disk, "/lake/events").remove(0);
    assert_eq!(file.name, "p=a/pipe-0000000001.jsonl");
    let expected = concat!(
        r#"{"v":3000040,"_queue":3,"_offset":40,"_store_time":"2015-05-17T10:05:03.040Z","#,
        r#""_broker":"b","_topic":"t"}"#,
        "\n",
    );
    assert_eq!(file.text(), expected);
}

#[test]
fn compressed_files_say_the_same() {
    let numbers = Int64Array::from_iter_values(0..9_000);
    let (options, batch) = table(vec![("i", DataType::Int, Arc::new(numbers))]);
    let file = |compression| {
        let format = Format::Jsonl(compression);
        round_trip(FilesOptions { format, ..options.clone() }, &batch)
    };
    let plain = file(TextCompression::None);
    assert_eq!(plain.text().lines().count(), 9_000);
    for (compression, name) in [
        (TextCompression::Gzip, "pipe-0000000001.jsonl.gz"),
        (TextCompression::Zstd, "pipe-0000000001.jsonl.zst"),
    ] {
        let packed = file(compression);
        assert_eq!(packed.name, name);
        assert!(packed.bytes.len() * 2 < plain.bytes.len(), "{name}: {}", packed.bytes.len());
        assert!(packed.text() == plain.text(), "{name}");
    }
}

#[test]
fn a_file_of_text_is_closed_at_its_size() {
    let rotate = Rotate { bytes: Some(100_000), ..NEVER };
    let mut sink = open(&SimDisk::new(1), FilesOptions { rotate, format: JSONL, ..options() });
    sink.workshop.chunk_rows = 100;
    ready(sink.write(&batch(0, 0, &vec![row("a"); 6_000]), at(0))).unwrap();
    let plan = ready(sink.plan(at(0), Cut::Due)).unwrap();
    assert!(plan.parts.len() > 2, "{} parts", plan.parts.len());
    for part in plan.parts {
        assert!((100_000..115_000).contains(&part.bytes), "{} bytes", part.bytes);
    }
}

/// Only what is compressed at once depends on it.
#[test]
fn too_little_memory_changes_no_line() {
    let file = |memory_bytes_max| {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(200); 1_000]));
        let (options, _) = table(vec![("s", DataType::String, Arc::clone(&texts))]);
        let format = Format::Jsonl(TextCompression::Zstd);
        let disk = SimDisk::new(1);
        let mut sink = open(&disk, FilesOptions { format, memory_bytes_max, ..options });
        for n in 0..5 {
            let batch = batch(0, n * 1_000, &vec![row("a"); 1_000]);
            let batch = batch.with_column("s".into(), Arc::clone(&texts));
            ready(sink.write(&batch, at(0))).unwrap();
        }
        let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
        plan.parts.iter().for_each(|part| {
            ready(sink.publish(part)).unwrap();
        });
        visible(&disk, "/lake/events")
    };
    let ([little], [much]) = (&file(100_000)[..], &file(128 << 20)[..]) else { panic!("one file") };
    assert_ne!(little.bytes, much.bytes);
    assert_eq!(little.text().lines().count(), 5_000);
    assert!(little.text() == much.text());
}
