//! The codes of mistakes, and what there is to say about each.

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal;)*) => {
        $($(#[doc = $doc])* pub(crate) const $name: &str = $code;)*

        const ALL: &[(&str, &str)] = &[$(($code, concat!($($doc, "\n"),*))),*];
    };
}

/// What there is to say about a code, in a paragraph; `None` for a code that no pipeline file
/// can have. This is what `millrace explain` prints.
pub fn explain(code: &str) -> Option<String> {
    let (_, text) = ALL.iter().chain(SQL).find(|(known, _)| known.eq_ignore_ascii_case(code))?;
    Some(text.lines().map(str::trim).collect::<Vec<_>>().join("\n"))
}

/// Every code that a pipeline file can have, in order.
pub fn codes() -> impl Iterator<Item = &'static str> {
    ALL.iter().chain(SQL).map(|&(code, _)| code)
}

codes! {
    /// The file is not YAML, or not the part of YAML that pipeline files use: one document of
    /// maps, lists and texts in UTF-8, at most 1 MiB long and 64 levels deep. Inside `{…}` and
    /// `[…]` a value with `${…}` needs quotes, because YAML would read its braces as a map.
    YAML_SYNTAX = "E-YAML-01";
    /// The same key comes twice in one map. Which one is meant cannot be known, so none is taken.
    YAML_DUPLICATE = "E-YAML-02";
    /// The file uses anchors, aliases or tags. A pipeline file is read by people, one line at a
    /// time; these make a line depend on one far away, and a short text can grow without bound.
    YAML_FEATURE = "E-YAML-03";

    /// A key that does not exist at this place. Keys are never ignored, because a misspelled one
    /// would leave its setting at the default without a word. For notes, use keys that begin
    /// with `x-`.
    KEY_UNKNOWN = "E-KEY-01";
    /// No source, step, sink or the like has this name. The name of a component is the key under
    /// which its settings stand: `parquet: {to: lake}`.
    KEY_COMPONENT = "E-KEY-02";
    /// A key that must be there is missing, or a map that must say one component says none.
    KEY_MISSING = "E-KEY-03";
    /// Two settings that exclude each other, such as two sinks under one name.
    KEY_CONFLICT = "E-KEY-04";

    /// A value of the wrong kind, such as a text where a whole number belongs.
    TYPE_VALUE = "E-TYPE-01";
    /// A text that is not one of the few that are possible here.
    TYPE_CHOICE = "E-TYPE-02";
    /// An expression whose result does not fit its place: a filter that is not a condition, or a
    /// column whose type cannot be told.
    TYPE_EXPRESSION = "E-TYPE-03";

    /// Durations are a whole number and a unit: `100ms`, `10s`, `5m`, `2h`, `7d`. A bare number
    /// would be seconds to one reader and milliseconds to another.
    UNIT_DURATION = "E-UNIT-01";
    /// Sizes are a whole number and a unit: `B`, `kB`, `MB`, `GB`, `TB` count in thousands, `KiB`,
    /// `MiB`, `GiB`, `TiB` in steps of 1,024.
    UNIT_SIZE = "E-UNIT-02";

    /// A number, duration, size or list outside its limits.
    RANGE = "E-RANGE-01";

    /// A name with characters that are not allowed, or too long. Names of pipelines and sinks
    /// become parts of topic and group names, file names and metrics.
    NAME_SHAPE = "E-NAME-01";
    /// A name that already means something else.
    NAME_TAKEN = "E-NAME-02";

    /// The file asks for an environment variable that is not set and has no default.
    ENV_UNSET = "E-ENV-01";
    /// A `${…}` that cannot be read, or at a place where it is not allowed. Values of the
    /// environment are put into texts after the file is parsed, so they never add a key. They
    /// are not put into expressions, where a value with a quote in it would change the meaning.
    ENV_FORM = "E-ENV-02";
    /// Secrets are not available in this version.
    SECRET = "E-SECRET-01";

    /// A column that nothing defines. Columns of the body are written `body.name` in expressions;
    /// properties of the topic and columns of `set` steps are written as they are; any property
    /// of a message is `props.name`.
    COLUMN_UNKNOWN = "E-COL-01";
    /// A bare name that is both a property of the topic and a column of a `set` step.
    COLUMN_AMBIGUOUS = "E-COL-02";
    /// A column that would stand twice in a file, or that is listed twice.
    COLUMN_TWICE = "E-COL-03";

    /// The columns of the body are not known, or are given twice: JSON needs a `schema`, and the
    /// other ways to decode say their columns themselves.
    SCHEMA = "E-SCHEMA-01";

    /// A pattern that is not a regular expression, or has no named groups: `(?<name>…)`. Each
    /// named group is a column. The place shown is that of the fault within the pattern. There is
    /// no look-around and there are no back-references, so that whatever the pattern, the time a
    /// line takes grows no faster than its length. Also a time format that cannot be read.
    REGEX = "E-REGEX-01";

    /// The pipeline demands more of a sink than it can give: after a crash a record may come to it
    /// again.
    DELIVERY = "E-DELIVERY-01";

    /// A destination or an input that cannot be one.
    PATH = "E-PATH-01";

    /// A brace in a text with `{column}` that belongs to no column: `{{` and `}}` are braces.
    TEMPLATE = "E-TEMPLATE-01";
}

/// The codes of `millrace-sql-filter`, which finds these mistakes and, with `W-`, differences.
const SQL: &[(&str, &str)] = &[
    ("E-SQL-01", "An expression goes on in a way it cannot, or ends too early."),
    ("E-SQL-02", "An operator of another language, such as `=>` for `>=` or `==` for `=`."),
    ("E-SQL-03", "A text, a quoted name or a comment in an expression has no end."),
    ("E-SQL-04", "A character that belongs to no word and no sign of an expression."),
    ("E-SQL-05", "A number that cannot be read, or does not fit into 64 bits."),
    ("E-SQL-06", "An expression that is too long or too deeply nested."),
    ("E-SQL-07", "An operator or a function on values whose types do not go together."),
    ("E-SQL-08", "A function or a type that does not exist in expressions."),
    ("E-SQL-09", "A search text or an escape character that makes no sense."),
    ("E-SQL-10", "`NULL` beside a comparison operator, which is never true: use `IS NULL`."),
    (
        "W-SQL-01",
        "A warning: a condition that reads nothing but properties, and that a subscription cannot \
         have. RocketMQ's dialect knows no LIKE, no arithmetic, no CASE and no functions, no names \
         with dots or quotes, IN of texts only, and numbers without a leading zero; some of it \
         RocketMQ does not read at all, and the rest it ignores from there on. The pipeline itself \
         does what the condition says. Promote the result as a property of the topic if consumers \
         are to filter by it.",
    ),
    (
        "W-SQL-02",
        "A warning: a NOT before a comparison. `NOT a = 1` is `NOT (a = 1)` in a pipeline file and \
         `(NOT a) = 1` in a subscription of RocketMQ. With parentheses both read it alike.",
    ),
    (
        "W-SQL-03",
        "A warning: a subscription of RocketMQ would let other messages through, for instance the \
         one that the warning names. There every property is a text, and the other side of a \
         comparison decides how it is read: a whole number makes it a whole number of 32 bits, so \
         that `10.5` and `3000000000` are errors and their messages are not delivered; a number \
         with a point makes it a double of Java, among which are `NaN`, `6d` and `0x1p3`; a text \
         compares letter by letter. A property alone is never true. What a property can hold \
         follows from the type of what `topic` promotes; others hold any text.",
    ),
    (
        "W-SQL-04",
        "A warning: a subscription of RocketMQ would let other messages through where a property is \
         missing. Here such a comparison is unknown, which no NOT makes true. There two missing \
         properties are equal, a missing one on the right differs from everything, and CONTAINS, \
         STARTSWITH and ENDSWITH are false. `IS NOT NULL` before it makes both alike.",
    ),
];
