use Need::{Default, Optional, Required};

use super::{COUNT, DAY, GIB, KIB, MIB, SECOND, STEPS, key, table};
use crate::table::{Components, Field, Kind, Need, Table};

pub(crate) static SINK: Table = Table {
    name: "a sink",
    doc: "What every sink has, beside the one component that says what it writes.",
    fields: &[
        key("where", Kind::Expr, Optional, "A condition for the rows of this sink alone."),
        key(
            "steps",
            Kind::List(&Kind::OneOf(&STEPS)),
            Optional,
            "What happens to the rows of this sink alone, behind `where`. What looks at more than one \
             row, or makes several of one, stands in the pipeline's `steps`: `split`, `dedupe`, and \
             modules that are flat maps. A module that replaces messages stands before all that \
             reads columns, also before a `where` that does.",
        ),
        key(
            "delivery",
            Kind::Choice(&["exactly_once", "at_least_once"]),
            Default("exactly_once"),
            "What the pipeline demands. It is a requirement, not a mode: a sink always does the \
             best it can, which for `http`, `stdout` and `blackhole` is `at_least_once`.",
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

static RETRY: Table = Table {
    name: "retry",
    doc: "How often a sink tries again what does not work now and may work later. Each pause is \
          twice as long as the one before, less up to a half by chance, so that sinks which failed \
          together do not come back together.",
    fields: &[
        key("initial", Kind::Duration { min: 1, max: DAY }, Default("100ms"), "The first pause."),
        key("max", Kind::Duration { min: 1, max: DAY }, Default("10s"), "The longest pause."),
        key(
            "max_elapsed",
            Kind::OrNone(&Kind::Duration { min: 1, max: 366 * DAY }),
            Default("none"),
            "After this time what an `http` sink could not deliver becomes what `then` says, and a \
             sink of files stops the pipeline. Without it, neither, however long it takes.",
        ),
    ],
    components: None,
    later: &["factor", "jitter"],
};

pub(crate) static ON_ERROR: Table = Table {
    name: "on_error",
    doc: "What becomes of records that the sink will never accept.",
    fields: &[
        key(
            "then",
            Kind::Choice(&["dlq", "stop"]),
            Default("dlq"),
            "`dlq` makes the record a dead letter and goes on; `stop` stops the sink before it.",
        ),
        key(
            "retry",
            Kind::Table(&RETRY),
            Optional,
            "How often a sink tries again what does not work now.",
        ),
        key("dlq", Kind::Table(&ON_ERROR_DLQ), Optional, "How many dead letters are too many."),
    ],
    components: None,
    later: &[],
};

static ON_ERROR_DLQ: Table = Table {
    name: "dlq",
    doc: "How many dead letters are too many.",
    fields: &[key(
        "max_ratio",
        Kind::Percent,
        Default("10%"),
        "The sink stops once more than this share of the last 1,000 records became dead letters, \
         and there were at least 100: then the pipeline is probably wrong, and would turn the \
         whole topic into letters. `100%` never stops it.",
    )],
    components: None,
    later: &["over", "topic"],
};

pub(crate) static SINKS: Components = Components {
    noun: "sink",
    fields: &[
        key("parquet", Kind::Table(&PARQUET), Optional, "Parquet files."),
        key("jsonl", Kind::Table(&JSONL), Optional, "Files with a JSON object on each line."),
        key("csv", Kind::Table(&CSV), Optional, "Files with the values of a row on each line."),
        key("http", Kind::Table(&HTTP), Optional, "Requests to an HTTP server."),
        key("index", Kind::Table(&INDEX), Optional, "A search index, for `millrace search`."),
        key("stdout", Kind::Table(&STDOUT), Optional, "Lines of JSON on standard output."),
        key("blackhole", Kind::Table(&BLACKHOLE), Optional, "Nothing: rows are counted."),
    ],
    later: &[
        "arrow",
        "elasticsearch",
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
    "Columns about the message itself: `offsets` adds `_queue`, `_offset` and `_store_time`, and \
     `_index` where steps make several rows of a message; `all` adds `_broker` and `_topic` as well.",
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

/// The names of [`FieldKind`](crate::FieldKind), in its order.
pub(crate) const FIELD_KINDS: &[&str] = &["text", "keyword", "number", "timestamp", "bool", "json"];

pub(crate) static INDEX: Table = Table {
    name: "index",
    doc: "Writes a search index. A document is known by the queue and the offset of its message, so \
          what is read again replaces and never doubles.",
    fields: &[
        TO,
        key(
            "mapping",
            Kind::Map("column", &Kind::Choice(FIELD_KINDS)),
            Optional,
            "The columns of the documents, in order, and what can be asked about each: `text` is \
             found by its words, `keyword` as a whole, `json` is a text that is a JSON object, and \
             its fields are asked for as `column.field`. Without it, all columns: strings are \
             `text`, the others what their type says.",
        ),
        key(
            "time",
            Kind::Text,
            Optional,
            "The column of timestamps that says how old a document is, for `--from`, `--to` and \
             `keep`. Without it, the first of the mapping, or when the broker stored the message.",
        ),
        key(
            "keep",
            Kind::OrNone(&Kind::Duration { min: SECOND, max: 36_600 * DAY }),
            Default("none"),
            "Documents that are older go. They go by the part, so some stay for up to as long as \
             their part covers.",
        ),
        key(
            "rotate",
            Kind::Table(&INDEX_ROTATE),
            Optional,
            "When documents become visible to searches.",
        ),
    ],
    components: None,
    later: &["columns", "tokenizer", "boost", "metadata"],
};

pub(crate) static INDEX_ROTATE: Table = table(
    "rotate",
    "When documents become visible to searches: whatever comes first. Memory makes them visible in \
     any case.",
    &[
        key("rows", Kind::OrNone(&COUNT), Default("none"), "This many documents."),
        key(
            "every",
            Kind::OrNone(&Kind::Duration { min: 100, max: 366 * DAY }),
            Default("10s"),
            "This long after the first document.",
        ),
    ],
);

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

pub(crate) static HTTP: Table = Table {
    name: "http",
    doc: "Sends rows to an HTTP server. Every request says in the header `Idempotency-Key` which \
          messages it is of, the same after a crash, so that the server can leave out what it has.",
    fields: &[
        key(
            "url",
            Kind::Text,
            Required,
            "Where requests go. `{column}` behind the host is the value of a column, \
             percent-encoded; `{{` and `}}` are braces.",
        ),
        key("method", Kind::Choice(METHODS), Default("POST"), "How."),
        key(
            "headers",
            Kind::Map("header", &Kind::Text),
            Optional,
            "Headers of each request, with `{column}` as in `url`. One whose column has no value is \
             left out.",
        ),
        key(
            "body",
            Kind::Choice(&["single", "ndjson", "json_array", "raw"]),
            Default("single"),
            "What is in a request: `single` one row as a JSON object, `ndjson` rows on lines of \
             their own, `json_array` rows in a list, `raw` one message byte for byte.",
        ),
        key(
            "columns",
            Kind::List(&Kind::Text),
            Optional,
            "The columns of a row, in order. Without it, all: those of the body, then those of \
             `set` steps. Not with `raw`.",
        ),
        key(
            "batch",
            Kind::Table(&HTTP_BATCH),
            Optional,
            "How large requests become; only with `ndjson` and `json_array`.",
        ),
        key(
            "answer",
            Kind::Choice(&["status", "items"]),
            Default("status"),
            "What an answer of success says: `status` that everything is delivered; `items` which \
             items are not, as `{\"failed\": [{\"item\": 0, \"status\": 422, \"error\": \"why\"}]}`.",
        ),
        key(
            "in_flight",
            Kind::Int { min: 1, max: 256 },
            Default("4"),
            "How many requests are under way at once. Those of one queue, or of one URL with \
             `ndjson` and `json_array`, follow one another all the same.",
        ),
        key(
            "timeout",
            Kind::Duration { min: 1, max: DAY },
            Default("30s"),
            "How long a request may take, from the connection to the end of the answer.",
        ),
        key(
            "max_response",
            Kind::Size { min: KIB, max: GIB },
            Default("1MiB"),
            "How much of an answer is read.",
        ),
        key(
            "tls",
            Kind::Table(&HTTP_TLS),
            Optional,
            "Whom to trust with `https`, beside the authorities of the system.",
        ),
    ],
    components: None,
    later: &[
        "content_type",
        "success",
        "retry_on",
        "dlq_on",
        "idempotency_key",
        "compression",
        "redirects",
        "allow_private_networks",
        "auth",
        "proxy",
    ],
};

pub(crate) const METHODS: &[&str] = &["POST", "PUT", "PATCH"];

static HTTP_BATCH: Table = table(
    "batch",
    "When a request with several rows is sent: whatever comes first.",
    &[
        key("rows", Kind::Int { min: 1, max: 100_000 }, Default("2000"), "So many rows."),
        key("bytes", Kind::Size { min: KIB, max: 16 * MIB }, Default("5MiB"), "So many bytes."),
        key(
            "every",
            Kind::Duration { min: 1, max: DAY },
            Default("1s"),
            "So long after the first row.",
        ),
    ],
);

static HTTP_TLS: Table = Table {
    name: "tls",
    doc: "Whom to trust with `https`.",
    fields: &[key(
        "ca",
        Kind::Text,
        Required,
        "A file with certificates of authorities in PEM, trusted beside those of the system.",
    )],
    components: None,
    later: &["cert", "key", "verify", "server_name"],
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
            "This many bytes or more, looked at after every 2,048 rows of the file, or fewer with \
             4 MiB of text. Small files of Parquet become smaller, because pages that are being \
             filled count as they are before they are compressed.",
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
