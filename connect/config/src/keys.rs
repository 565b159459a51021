//! The schema tables: every key of a pipeline file.

mod filter_tests; // of tests of modules
mod sinks; // of sinks
mod test_cases; // of tests

use crate::table::{Components, Field, Kind, Need, Table};
use Need::{Default, Optional, Required};

pub(crate) use filter_tests::*;
pub(crate) use sinks::*;
pub(crate) use test_cases::*;

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
pub(crate) const TYPES: &[&str] = &["bool", "int", "double", "string", "timestamp", "date", "json"];

/// What a `cast` step makes: all of these but `json`.
const CAST_TYPES: &[&str] = TYPES.split_at(TYPES.len() - 1).0;

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
            "The columns of the body and their types. Required for JSON, where a dot in a name reads \
             a nested field, as in `user.id: string`, and for CSV. `json` takes any value as it is \
             written, for a field of an index; elsewhere it is a text. The other ways to decode say \
             their columns themselves.",
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
        key(
            "csv",
            Kind::Table(&CSV_LINES),
            Optional,
            "A line of CSV, read strictly into the columns of `schema`.",
        ),
    ],
    later: &["avro", "protobuf", "raw"],
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

pub(crate) static CSV_LINES: Table = table(
    "csv",
    "Lines of CSV (RFC 4180), each one a row: a value with a line break in it is not read. Times are \
     in RFC 3339; read others as `string` and `cast` them.",
    &[
        key(
            "header",
            Kind::Bool,
            Default("true"),
            "Whether the first line of each file names its columns, in any order; others than those \
             of `schema` are passed over. It goes with every message as the property `file.header`. \
             Without it, values are in the order of `schema`.",
        ),
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
            "What stands around a value that has a delimiter or a quote in it. A quote in it is \
             written twice.",
        ),
        key(
            "null",
            Kind::Text,
            Optional,
            "The text that stands for no value unless it is quoted. Without it, nothing does: \
             `a,,b` has no second value, and that of `a,\"\",b` is an empty text.",
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
             Without it, queues take turns: each origin (a file) begins in the queue that follows \
             from its identity (`file.id`), and goes on in the next one after every 256 KiB.",
        ),
        key("tag", Kind::Expr, Optional, "The tag of a message, by which consumers can filter."),
        key(
            "properties",
            Kind::Map("property", &Kind::Expr),
            Optional,
            "Properties of a message, by which consumers can filter with SQL92. Steps read them \
             under the same name; `validate` warns where a condition over them would let other \
             messages through as a subscription.",
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
            "Gives columns values, top to bottom; a later line sees the earlier ones. The name of a \
             column of the body is free only once a step has dropped or renamed that column.",
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
             steps read it without `body.`. All of them are renamed at once, so two may swap their \
             names.",
        ),
        key(
            "cast",
            Kind::Map("column", &Kind::Either(&Kind::Choice(CAST_TYPES), &Kind::Table(&CAST))),
            Optional,
            "Columns of the body or of a `set` step, each with the type that it has from here on, \
             under its old name. What a type cannot hold exactly is a dead letter `E-CAST-01`.",
        ),
        key(
            "sample",
            Kind::Number,
            Optional,
            "Keeps this share of the messages, from 0 to 1: the same ones however often they are \
             read. Of several on the way to a sink each chooses for itself.",
        ),
        key(
            "split",
            Kind::Either(&Kind::Text, &Kind::Table(&SPLIT)),
            Optional,
            "Makes a row of each element of an array: `split: body.items`, or `split: body` if the \
             body itself is the array. `schema` says the columns of the rows. It comes before every \
             step that reads columns, and once.",
        ),
        key(
            "dedupe",
            Kind::Table(&DEDUPE),
            Optional,
            "Takes rows out whose key came shortly before in the same queue, and counts them. Once \
             in a pipeline.",
        ),
        key("wasm", Kind::Table(&WASM), Optional, "A filter or a map in WebAssembly."),
    ],
    later: &["flatten", "lookup", "aggregate"],
};

pub(crate) static CAST: Table = table(
    "cast",
    "The long form of a cast.",
    &[
        key("to", Kind::Choice(CAST_TYPES), Required, "The type."),
        key(
            "format",
            Kind::Text,
            Optional,
            "How a time is written, in the notation of strftime, for instance `%d.%m.%Y` or `%s` for \
             seconds since 1970. Only for a `string` or an `int` that becomes a `timestamp` or a \
             `date`; without it, times are written as in RFC 3339.",
        ),
        key(
            "null",
            Kind::Text,
            Optional,
            "The text that stands for no value, often `\"-\"` or `\"\"`. Only for a `string`.",
        ),
    ],
);

pub(crate) static SPLIT: Table = table(
    "split",
    "The long form of a split. Of an empty array comes no row, and the message counts as filtered. \
     An element that cannot be a row is a dead letter alone.",
    &[
        key(
            "path",
            Kind::Text,
            Required,
            "The array: a field such as `body.items`, or `body` for the body itself.",
        ),
        key(
            "keep",
            Kind::Map("field", &Kind::Text),
            Optional,
            "What each row has of the message: names in the row, each with the field of the message \
             that it is, for instance `{order: body.id}`. The message has to be an object then.",
        ),
        key(
            "as",
            Kind::Text,
            Optional,
            "The field of the row that is the element, for elements that are no objects, or have \
             fields whose names the row has already. Without it the fields of the element are those \
             of the row.",
        ),
        key(
            "max",
            Kind::Int { min: 1, max: 1_000_000 },
            Default("10000"),
            "The most elements of a message. One with more is a dead letter as a whole.",
        ),
        key(
            "on_missing",
            Kind::Choice(&["dlq", "reject"]),
            Default("dlq"),
            "What becomes of a message that has nothing, or null, where the array should be: a dead \
             letter, or, with `reject`, it counts as filtered.",
        ),
    ],
);

pub(crate) static DEDUPE: Table = table(
    "dedupe",
    "Which rows are duplicates: those with a key that an earlier row of the same queue has, within \
     the window before them, whether that one is a duplicate itself or not. So a key that keeps \
     coming goes on once, until it pauses for longer than the window. What counts is the log, so \
     the same rows go on however often they are read and whatever crashes: a start reads the window \
     again, and the broker keeps it. Let the `key` of the topic follow from the same field, so that \
     duplicates lie in one queue. A dead letter that is replayed is no duplicate.",
    &[
        key("by", Kind::Expr, Required, "The key. A row for which it is NULL goes on."),
        key(
            "within",
            Kind::Duration { min: 1, max: 366 * DAY },
            Optional,
            "The window as time, by when the broker stored the messages.",
        ),
        key(
            "offsets",
            Kind::Int { min: 1, max: 1_000_000_000 },
            Optional,
            "The window as so many queue offsets. With `within` as well, both have to hold.",
        ),
        key(
            "max_keys",
            Kind::Int { min: 1, max: 100_000_000 },
            Default("200000"),
            "The most keys remembered for each queue, some 150 bytes each, whatever their length. \
             Beyond it those seen longest ago are forgotten, which a warning tells; also then the \
             same rows go on however often they are read.",
        ),
    ],
);

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
