use Need::{Optional, Required};

use super::{key, table};
use crate::table::{Components, Kind, Need, Table};

pub(crate) static FILTER_TESTS: Table = table(
    "a table of tests",
    "What a module in WebAssembly has to say about which records.",
    &[
        key("module", Kind::Text, Required, "The file, relative to this one."),
        key("tests", Kind::List(&Kind::Table(&FILTER_TEST)), Required, "The tests, in order."),
    ],
);

static FILTER_TEST: Table = table(
    "a test",
    "Records that the module sees at once, and again one by one, after it was told its parameters.",
    &[
        key("name", Kind::Text, Required, "What the test is about."),
        key(
            "params",
            Kind::Map("parameter", &Kind::Json),
            Optional,
            "What the module is told, as in a pipeline file.",
        ),
        key("records", Kind::List(&Kind::Table(&RECORD)), Required, "The records."),
    ],
);

/// What a module can say about a record.
pub(crate) const VERDICTS: &[&str] = &["keep", "drop", "replace", "fail"];

static RECORD: Table = Table {
    name: "a record",
    doc: "A record, and the verdict on it.",
    fields: &[
        key("expect", Kind::Choice(VERDICTS), Required, "What the module says."),
        key("key", Kind::Text, Optional, "Its key."),
        key("tag", Kind::Text, Optional, "Its tag."),
        key("props", Kind::Map("property", &Kind::Text), Optional, "Its properties."),
        key(
            "with",
            Kind::List(&Kind::Json),
            Optional,
            "The bodies that take its place, in order; only where it is replaced.",
        ),
        key("error", Kind::Text, Optional, "A part of the reason; only where the module fails."),
    ],
    components: Some(&BODIES),
    later: &[],
};

static BODIES: Components = Components {
    noun: "body",
    fields: &[
        key("body", Kind::Json, Optional, "A JSON body."),
        key("raw", Kind::Text, Optional, "A body as it stands here."),
    ],
    later: &[],
};
