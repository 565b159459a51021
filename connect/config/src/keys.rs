//! The schema tables: every key of a pipeline file.

use crate::table::{Components, Field, Kind, Need, Table};
use Need::{Default, Optional, Required};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;

const fn key(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Field {
    Field { name, kind, need, doc }
}

const fn table(name: &'static str, doc: &'static str, fields: &'static [Field]) -> Table {
    Table { name, doc, fields, components: None, later: &[] }
}

/// The names of [`DataType`](millrace_connect_api::DataType), for tables and messages.
pub(crate) const TYPES: &[&str] = &["bool", "int", "double", "string", "timestamp", "date"];

const COUNT: Kind = Kind::Int { min: 1, max: i64::MAX };
const ANY_INT: Kind = Kind::Int { min: i64::MIN, max: i64::MAX };

/// The whole file.
pub(crate) static PIPELINE: Table = Table {
    name: "a pipeline file",
    doc: "The keys at the top level.",
    fields: &[
        key("version", Kind::Int { min: 1, max: 1 }, Required, "The file format. Always 1."),
        key(
            "pipeline",
            Kind::Name,
            Required,
            "Identity of the pipeline: of its progress, its dead letters and its metrics. Another \
             name is another pipeline, which starts from the beginning.",
        ),
        key(
            "source",
            Kind::OneOf(&SOURCES),
            Optional,
            "What fills the topic. Leave it out if producers do; bodies are JSON then.",
        ),
        key(
            "topic",
            Kind::Either(&Kind::TopicName, &Kind::Table(&TOPIC)),
            Required,
            "The topic between the source and the sinks: its name, or a map.",
        ),
        key(
            "schema",
            Kind::Map("column", &Kind::Choice(TYPES)),
            Optional,
            "The columns of the body and their types. Required for JSON; a dot in a name reads a \
             nested field, as in `user.id: string`. The other ways to decode say their columns \
             themselves.",
        ),
        key(
            "steps",
            Kind::List(&Kind::OneOf(&STEPS)),
            Optional,
            "What happens to every message before the sinks, in order.",
        ),
        key("sinks", Kind::Map("sink", &Kind::Table(&SINK)), Required, "Where the rows go."),
        key("limits", Kind::Table(&LIMITS), Optional, "What the pipeline may use."),
        key(
            "tests",
            Kind::List(&Kind::Table(&TEST)),
            Optional,
            "What has to come of which messages. `millrace test` tries it, and nothing else is \
             changed by it.",
        ),
    ],
    components: None,
    later: &["materialize", "retention", "include"],
};

static LIMITS: Table = Table {
    name: "limits",
    doc: "What the pipeline may use.",
    fields: &[key(
        "memory",
        Kind::Size { min: 16 * MIB, max: 1024 * GIB },
        Default("256MiB"),
        "Decoded data in memory at once. Raise it if a sink with many partitions closes files too \
         early.",
    )],
    components: None,
    later: &[
        "rows_per_s",
        "bytes_per_s",
        "wasm_memory",
        "wasm_deadline",
        "message_size",
        "decompressed",
    ],
};

pub(crate) static SOURCES: Components = Components {
    noun: "source",
    fields: &[
        key("file", Kind::Table(&FILE), Optional, "Lines of files, each one a message."),
        key("generate", Kind::Table(&GENERATE), Optional, "Made-up records, the same every time."),
    ],
    later: &["http_server", "http_poll", "rocketmq", "kafka", "s3", "mqtt"],
};

pub(crate) static FILE: Table = Table {
    name: "file",
    doc: "Reads lines of files, follows them as they grow and rotate.",
    fields: &[
        key(
            "include",
            Kind::List(&Kind::Text),
            Required,
            "Paths and globs, relative to the current directory.",
        ),
        key("decode", Kind::OneOf(&DECODES), Required, "What a line is."),
        key(
            "once",
            Kind::Bool,
            Default("false"),
            "End when everything that is there has been read, instead of waiting for more.",
        ),
        key(
            "start",
            Kind::Choice(&["beginning", "end"]),
            Default("beginning"),
            "Where a file begins that has never been read. `end` skips what is already there.",
        ),
        key(
            "read_chunk",
            Kind::Size { min: 4 * KIB, max: 64 * MIB },
            Default("256KiB"),
            "Bytes read at a time.",
        ),
        key(
            "max_line",
            Kind::Size { min: 1, max: 4 * MIB },
            Default("1MiB"),
            "The longest line; a longer one becomes a dead letter.",
        ),
        key(
            "partial_line",
            Kind::Duration { min: 0, max: DAY },
            Default("5s"),
            "How long a last line without its end may stay as it is before it is taken as it is.",
        ),
        key(
            "scan_every",
            Kind::Duration { min: 10, max: DAY },
            Default("1s"),
            "How often to look for new files.",
        ),
    ],
    components: None,
    later: &[
        "exclude",
        "ignore_older",
        "identity",
        "multiline",
        "compression",
        "encoding",
        "after",
        "oldest_first",
        "max_open",
        "limit",
        "batch",
        "on_error",
    ],
};

pub(crate) static DECODES: Components = Components {
    noun: "way to decode",
    fields: &[
        key(
            "json",
            Kind::Table(&JSON),
            Optional,
            "One JSON object per message, read strictly into the columns of `schema`.",
        ),
        key("lines", Kind::Table(&LINES), Optional, "The text as it is, in the column `line`."),
        key(
            "regex",
            Kind::Table(&REGEX),
            Optional,
            "A text that a pattern takes apart; each named group is a column.",
        ),
    ],
    later: &["csv", "avro", "protobuf", "raw"],
};

pub(crate) static JSON: Table = table("json", "No keys yet: write `json: {}`.", &[]);

pub(crate) static LINES: Table = table("lines", "No keys yet: write `lines: {}`.", &[]);

pub(crate) static REGEX: Table = table(
    "regex",
    "A pattern with named groups.",
    &[
        key(
            "pattern",
            Kind::Text,
            Required,
            "A regular expression with groups such as `(?<status>[0-9]+)`. It may match anywhere, \
             so begin it with `^` and end it with `$` if it describes the whole line. A line that \
             does not match becomes a dead letter.",
        ),
        key(
            "types",
            Kind::Map("group", &Kind::Choice(TYPES)),
            Optional,
            "The types of groups that are not `string`.",
        ),
        key("time", Kind::Table(&REGEX_TIME), Optional, "A group that is a time in some format."),
        key("null", Kind::Text, Optional, "The text that stands for no value, often `\"-\"`."),
    ],
);

pub(crate) static REGEX_TIME: Table = table(
    "time",
    "A group that is a time; its column is a `timestamp`.",
    &[
        key("field", Kind::Text, Required, "The group."),
        key(
            "format",
            Kind::Text,
            Required,
            "Its format in the notation of strftime, for instance `%d/%b/%Y:%H:%M:%S %z`.",
        ),
    ],
);

pub(crate) static GENERATE: Table = Table {
    name: "generate",
    doc: "Makes JSON objects up. Two runs with the same settings give the same bytes.",
    fields: &[
        key("count", COUNT, Required, "How many records."),
        key(
            "seed",
            Kind::Int { min: 0, max: i64::MAX },
            Default("0"),
            "Another seed, other records.",
        ),
        key(
            "fields",
            Kind::Map("field", &Kind::OneOf(&GENERATORS)),
            Required,
            "The fields of each object, in order.",
        ),
        key("corrupt", Kind::Table(&CORRUPT), Optional, "Records to break on purpose."),
        key("decode", Kind::OneOf(&DECODES), Default("{json: {}}"), "What a record is read as."),
    ],
    components: None,
    later: &["rate", "limit", "batch", "on_error"],
};

static CORRUPT: Table = table(
    "corrupt",
    "Records to break on purpose, to see what becomes of them.",
    &[key(
        "at",
        Kind::List(&COUNT),
        Required,
        "Which records are cut off in the middle; the first record is 1.",
    )],
);

pub(crate) static GENERATORS: Components = Components {
    noun: "generator",
    fields: &[
        key(
            "sequence",
            Kind::Table(&SEQUENCE),
            Optional,
            "Whole numbers, each one more than the last.",
        ),
        key("uuid", Kind::Table(&UUID), Optional, "A text in the form of a UUID."),
        key("choice", Kind::List(&Kind::Text), Optional, "One of these texts, each as likely."),
        key("int", Kind::Table(&INT), Optional, "A whole number."),
        key("double", Kind::Table(&DOUBLE), Optional, "A number with decimals."),
        key("zipf", Kind::Table(&ZIPF), Optional, "A whole number, small ones more likely."),
        key("time", Kind::Table(&TIME), Optional, "Instants in even steps, as RFC 3339."),
        key("text", Kind::Table(&TEXT), Optional, "Some words."),
    ],
    later: &[],
};

static ZIPF: Table = table(
    "zipf",
    "Whole numbers of which small ones are common and large ones rare, as in most real data.",
    &[
        key("n", Kind::Int { min: 1, max: 1 << 20 }, Required, "The largest. The smallest is 1."),
        key(
            "s",
            Kind::Number,
            Default("1"),
            "How steep it is: the number k is k^s times less likely than 1.",
        ),
    ],
);

static SEQUENCE: Table = table(
    "sequence",
    "Whole numbers, each one more than the last.",
    &[key("start", ANY_INT, Default("1"), "The first record's.")],
);

static UUID: Table = table("uuid", "No keys: write `uuid: {}`.", &[]);

static INT: Table = table(
    "int",
    "A whole number, both ends included.",
    &[
        key("min", ANY_INT, Default("0"), "The smallest."),
        key("max", ANY_INT, Required, "The largest."),
    ],
);

static DOUBLE: Table = table(
    "double",
    "A number with decimals, both ends included.",
    &[
        key("min", Kind::Number, Default("0"), "The smallest."),
        key("max", Kind::Number, Required, "The largest."),
        key("decimals", Kind::Int { min: 0, max: 9 }, Default("2"), "Digits behind the point."),
    ],
);

static TIME: Table = table(
    "time",
    "Instants in even steps.",
    &[
        key("start", Kind::Instant, Required, "The first record's."),
        key(
            "step",
            Kind::Duration { min: 0, max: 366 * DAY },
            Required,
            "Added from record to record.",
        ),
    ],
);

static TEXT: Table = table(
    "text",
    "Some words.",
    &[key("words", Kind::Int { min: 1, max: 1000 }, Default("3"), "How many.")],
);

pub(crate) static TOPIC: Table = Table {
    name: "topic",
    doc: "The topic between the source and the sinks. Expressions here read the body only.",
    fields: &[
        key("name", Kind::TopicName, Required, "Its name."),
        key(
            "queues",
            Kind::Int { min: 1, max: 1024 },
            Default("4"),
            "How many queues it gets when it is created. An existing topic keeps what it has.",
        ),
        key(
            "key",
            Kind::Expr,
            Optional,
            "What the queue of a message follows from, so that messages of one key stay in order. \
             Without it, queues take turns.",
        ),
        key("tag", Kind::Expr, Optional, "The tag of a message, by which consumers can filter."),
        key(
            "properties",
            Kind::Map("property", &Kind::Expr),
            Optional,
            "Properties of a message, by which consumers can filter with SQL92. Steps read them \
             under the same name.",
        ),
    ],
    components: None,
    later: &["check", "delay", "retention"],
};

pub(crate) static STEPS: Components = Components {
    noun: "step",
    fields: &[
        key(
            "filter",
            Kind::Either(&Kind::Expr, &Kind::Table(&FILTER)),
            Optional,
            "Keeps the rows for which a condition is true.",
        ),
        key(
            "set",
            Kind::Map("column", &Kind::Expr),
            Optional,
            "Gives columns values, top to bottom; a later line sees the earlier ones.",
        ),
        key(
            "drop",
            Kind::List(&Kind::Text),
            Optional,
            "Columns that are not there from here on: neither for later steps nor in files.",
        ),
        key("keep", Kind::List(&Kind::Text), Optional, "The only columns that stay."),
        key(
            "rename",
            Kind::Map("column", &Kind::Text),
            Optional,
            "Columns of the body or of a `set` step, each with its new name, under which later \
             steps read it without `body.`.",
        ),
        key(
            "sample",
            Kind::Number,
            Optional,
            "Keeps this share of the messages, from 0 to 1: the same ones however often they are \
             read.",
        ),
        key("wasm", Kind::Table(&WASM), Optional, "A filter or a map in WebAssembly."),
    ],
    later: &["cast", "flatten", "split", "dedupe", "lookup", "aggregate"],
};

pub(crate) static WASM: Table = table(
    "wasm",
    "A module that says which messages go on, or puts others in their place. It sees messages as \
     the topic has them, with whatever an earlier `wasm` step made of them. One that replaces \
     messages comes before `set` and before filters that read the body.",
    &[
        key("module", Kind::Text, Required, "The file, relative to the current directory."),
        key(
            "params",
            Kind::Map("parameter", &Kind::Json),
            Optional,
            "What the module is told once, as it stands here: `5` is a number, `\"5\"` a text.",
        ),
    ],
);

pub(crate) static FILTER: Table = table(
    "filter",
    "The long form of a filter.",
    &[
        key("where", Kind::Expr, Required, "The condition."),
        key(
            "on_unknown",
            Kind::Choice(&["reject", "keep", "dlq"]),
            Default("reject"),
            "What becomes of a row for which the condition is neither true nor false, because a \
             value is missing: `dlq` makes it a dead letter.",
        ),
    ],
);

pub(crate) static SINK: Table = Table {
    name: "a sink",
    doc: "What every sink has, beside the one component that says what it writes.",
    fields: &[
        key("where", Kind::Expr, Optional, "A condition for the rows of this sink alone."),
        key(
            "delivery",
            Kind::Choice(&["exactly_once", "at_least_once"]),
            Default("exactly_once"),
            "What the pipeline demands. It is a requirement, not a mode: a sink always does the \
             best it can, which for `stdout` and `blackhole` is `at_least_once`.",
        ),
        key(
            "on_error",
            Kind::Table(&ON_ERROR),
            Optional,
            "What becomes of records that the sink will never accept.",
        ),
    ],
    components: Some(&SINKS),
    later: &[
        "steps",
        "start",
        "batch",
        "ordering",
        "parallelism",
        "in_flight",
        "drift",
        "limit",
        "timeout",
        "tls",
        "auth",
        "proxy",
    ],
};

pub(crate) static ON_ERROR: Table = Table {
    name: "on_error",
    doc: "What becomes of records that the sink will never accept.",
    fields: &[key(
        "then",
        Kind::Choice(&["dlq", "stop"]),
        Default("dlq"),
        "`dlq` makes the record a dead letter and goes on; `stop` stops the sink before it.",
    )],
    components: None,
    later: &["retry", "dlq"],
};

pub(crate) static SINKS: Components = Components {
    noun: "sink",
    fields: &[
        key("parquet", Kind::Table(&PARQUET), Optional, "Parquet files."),
        key("jsonl", Kind::Table(&JSONL), Optional, "Files with a JSON object on each line."),
        key("csv", Kind::Table(&CSV), Optional, "Files with the values of a row on each line."),
        key("stdout", Kind::Table(&STDOUT), Optional, "Lines of JSON on standard output."),
        key("blackhole", Kind::Table(&BLACKHOLE), Optional, "Nothing: rows are counted."),
    ],
    later: &[
        "arrow",
        "http",
        "elasticsearch",
        "index",
        "rocketmq",
        "kafka",
        "postgres",
        "mysql",
        "clickhouse",
        "cassandra",
        "delta",
        "iceberg",
        "hdfs",
    ],
};

const TO: Field = key("to", Kind::Text, Required, "The directory, relative to the current one.");
const PARTITION_BY: Field = key(
    "partition_by",
    Kind::List(&Kind::Text),
    Default("[]"),
    "Columns whose values make directories such as `day=2026-01-02`, outermost first. They are in \
     the path and not in the file.",
);
const COLUMNS: Field = key(
    "columns",
    Kind::List(&Kind::Text),
    Optional,
    "The columns of the files, in order. Without it, all: those of the body, then those of `set` \
     steps.",
);
const ROTATE_AT: Field = key("rotate", Kind::Table(&ROTATE), Optional, "When a file is closed.");
const METADATA: Field = key(
    "metadata",
    Kind::Choice(&["none", "offsets", "all"]),
    Default("none"),
    "Columns about the message itself: `offsets` adds `_queue`, `_offset` and `_store_time`; `all` \
     adds `_broker` and `_topic` as well.",
);
const MAX_OPEN: Field = key(
    "max_open",
    Kind::Int { min: 1, max: 4096 },
    Default("64"),
    "How many file handles are held at once. A file whose handle was given back goes on with its \
     next row; none is completed early for it.",
);
const TEXT_COMPRESSION: Field = key(
    "compression",
    Kind::Choice(&["none", "gzip", "zstd"]),
    Default("none"),
    "How files are compressed. Their names end in `.gz` or `.zst` then.",
);

pub(crate) static PARQUET: Table = Table {
    name: "parquet",
    doc: "Writes Parquet files. A file appears under its name when it is complete, and never \
          changes again.",
    fields: &[
        TO,
        PARTITION_BY,
        COLUMNS,
        ROTATE_AT,
        key(
            "compression",
            Kind::Either(&Kind::Choice(&["zstd", "snappy", "none"]), &Kind::Table(&ZSTD)),
            Default("zstd"),
            "How pages are compressed. `zstd` is level 3.",
        ),
        METADATA,
        key("row_group", Kind::Table(&ROW_GROUP), Optional, "How large row groups become."),
        MAX_OPEN,
    ],
    components: None,
    later: &[
        "infer",
        "name",
        "empty",
        "success_file",
        "manifest",
        "page",
        "dictionary",
        "statistics",
        "bloom",
        "sort_by",
        "timestamp_unit",
        "encryption",
    ],
};

pub(crate) static JSONL: Table = Table {
    name: "jsonl",
    doc: "Writes files with a JSON object on each line. A file appears under its name when it is \
          complete, and never changes again.",
    fields: &[TO, PARTITION_BY, COLUMNS, ROTATE_AT, TEXT_COMPRESSION, METADATA, MAX_OPEN],
    components: None,
    later: &["infer", "name", "empty", "success_file", "manifest"],
};

pub(crate) static CSV: Table = Table {
    name: "csv",
    doc: "Writes files with the values of a row on each line (RFC 4180). A file appears under its \
          name when it is complete, and never changes again.",
    fields: &[
        TO,
        PARTITION_BY,
        COLUMNS,
        ROTATE_AT,
        TEXT_COMPRESSION,
        key("header", Kind::Bool, Default("true"), "Whether the first line names the columns."),
        key(
            "delimiter",
            Kind::Char,
            Default(","),
            "What stands between values; `\"\\t\"` is a tab.",
        ),
        key(
            "quote",
            Kind::Char,
            Default("\""),
            "What stands around a value that has a delimiter, a quote or a line break in it. A quote \
             in it is written twice.",
        ),
        key(
            "null",
            Kind::Text,
            Optional,
            "What is written where there is no value. Without it nothing, as for an empty text.",
        ),
        METADATA,
        MAX_OPEN,
    ],
    components: None,
    later: &["infer", "name", "empty", "success_file", "manifest", "line_end"],
};

pub(crate) static STDOUT: Table = Table {
    name: "stdout",
    doc: "Prints each row as a JSON object on a line of its own. After a crash some come again.",
    fields: &[key(
        "columns",
        Kind::List(&Kind::Text),
        Optional,
        "The columns of the lines, in order. Without it, all: those of the body, then those of \
         `set` steps.",
    )],
    components: None,
    later: &["metadata"],
};

pub(crate) static BLACKHOLE: Table = table(
    "blackhole",
    "No keys: write `blackhole: {}`. Bodies are decoded as far as steps read them.",
    &[],
);

pub(crate) static ROTATE: Table = table(
    "rotate",
    "When a file is closed: whatever comes first.",
    &[
        key("rows", Kind::OrNone(&COUNT), Default("none"), "This many rows."),
        key(
            "size",
            Kind::OrNone(&Kind::Size { min: KIB, max: 64 * GIB }),
            Default("256MiB"),
            "This many bytes.",
        ),
        key(
            "every",
            Kind::OrNone(&Kind::Duration { min: 100, max: 366 * DAY }),
            Default("10m"),
            "This long after the first row.",
        ),
        key(
            "idle",
            Kind::OrNone(&Kind::Duration { min: 100, max: 366 * DAY }),
            Default("none"),
            "This long after the latest row.",
        ),
    ],
);

pub(crate) static ZSTD: Table = table(
    "compression",
    "Zstandard at a chosen level.",
    &[key(
        "zstd",
        Kind::Int { min: 1, max: 22 },
        Required,
        "The level: 1 is the fastest, 22 the smallest.",
    )],
);

pub(crate) static ROW_GROUP: Table = table(
    "row_group",
    "How large row groups become: whatever comes first.",
    &[
        key("rows", COUNT, Default("1048576"), "This many rows."),
        key(
            "bytes",
            Kind::Size { min: 64 * KIB, max: 4 * GIB },
            Default("128MiB"),
            "This many bytes.",
        ),
    ],
);

static TEST: Table = table(
    "a test",
    "Messages, and what has to come of them. The whole pipeline runs, on a broker and a disk in \
     memory; only the source gives what is written here instead of what it would read.",
    &[
        key("name", Kind::Text, Required, "What the test is about."),
        key("given", Kind::List(&Kind::Table(&GIVEN)), Required, "The messages, in order."),
        key(
            "expect",
            Kind::Map("sink", &Kind::Table(&EXPECTED)),
            Required,
            "What has to come of them, by sink; `source` is for what the source refuses. What is \
             not named here may be anything, except that there must be no other dead letters.",
        ),
    ],
);

static GIVEN: Table = Table {
    name: "a message",
    doc: "One message, or several. Without a source it goes to the topic as it is; with one it \
          takes the way of what the source reads.",
    fields: &[
        key("key", Kind::Text, Optional, "Its key; only without a source."),
        key("tag", Kind::Text, Optional, "Its tag; only without a source."),
        key(
            "props",
            Kind::Map("property", &Kind::Text),
            Optional,
            "Its properties; only without a source.",
        ),
    ],
    components: Some(&GIVENS),
    later: &["queue", "at"],
};

static GIVENS: Components = Components {
    noun: "message",
    fields: &[
        key("body", Kind::Json, Optional, "A JSON body."),
        key("raw", Kind::Text, Optional, "A body as it stands here, one line."),
        key(
            "file",
            Kind::Text,
            Optional,
            "A file, relative to the current directory: a message for \
             each of its lines.",
        ),
    ],
    later: &[],
};

static EXPECTED: Table = Table {
    name: "expect",
    doc: "What has to come of the messages at one sink.",
    fields: &[
        key(
            "rows",
            Kind::Either(&ANY_COUNT, &Kind::List(&Kind::Json)),
            Optional,
            "How many rows there are in all files, or the rows, in any order. A row has to have \
             the columns given here; it may have more. Columns of the path count.",
        ),
        key(
            "files",
            Kind::List(&Kind::Text),
            Optional,
            "Patterns for the paths of the files below the directory of the sink, with `*` for \
             what is between two slashes: each fits some file, and each file fits one.",
        ),
        key("filtered", ANY_COUNT, Optional, "How many messages filters took out."),
        key(
            "dlq",
            Kind::Either(&ANY_COUNT, &Kind::List(&Kind::Table(&EXPECTED_LETTER))),
            Default("0"),
            "How many dead letters there are, or which, in any order.",
        ),
    ],
    components: None,
    later: &["docs", "requests", "schema", "snapshot"],
};

const ANY_COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };

pub(crate) static EXPECTED_LETTER: Table = table(
    "dlq",
    "A dead letter.",
    &[
        key("code", Kind::Text, Optional, "Its code."),
        key("field", Kind::Text, Optional, "The field that it is about."),
        key("error", Kind::Text, Optional, "A part of its error."),
        key("body", Kind::Text, Optional, "Its body."),
    ],
);
