use Need::{Default, Optional, Required};

use super::{key, table};
use crate::table::{Components, Kind, Need, Table};

pub(crate) static TEST: Table = table(
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
        key(
            "requests",
            Kind::Either(&ANY_COUNT, &Kind::List(&Kind::Json)),
            Optional,
            "How many requests an `http` sink makes, or which, in any order. One has to have the \
             keys given here, of `method`, `url`, `headers` and `body`; its headers may be more. \
             Nothing is sent.",
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
    later: &["docs", "schema", "snapshot"],
};

const ANY_COUNT: Kind = Kind::Int { min: 0, max: i64::MAX };

pub(crate) static EXPECTED_LETTER: Table = table(
    "dlq",
    "A dead letter.",
    &[
        key("code", Kind::Text, Optional, "Its code."),
        key("field", Kind::Text, Optional, "The field that it is about."),
        key(
            "index",
            ANY_COUNT,
            Optional,
            "Which of the rows that steps make of its message it is about, from 0 on.",
        ),
        key("error", Kind::Text, Optional, "A part of its error."),
        key("body", Kind::Text, Optional, "Its body."),
    ],
);
