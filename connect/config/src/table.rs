//! The shape of the schema tables: which keys there are, what they take, what they mean.
//!
//! One table serves the reader, the suggestions, the defaults and `REFERENCE.md`. The tables
//! themselves are in [`keys`](crate::keys).

use crate::scalar;

/// The keys of one map.
pub(crate) struct Table {
    /// How messages call the map, for instance `parquet`.
    pub(crate) name: &'static str,
    /// What it is, one sentence.
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field],
    /// Of these exactly one must be there beside the fields, or at most one; see `need`.
    pub(crate) components: Option<&'static Components>,
    /// Keys of the file format that this version does not have yet.
    pub(crate) later: &'static [&'static str],
}

/// One key.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    /// What it means, in a sentence or two, for people.
    pub(crate) doc: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    Required,
    /// Without it, nothing.
    Optional,
    /// Without it, as if this were written.
    Default(&'static str),
}

/// Things of which a map chooses one by its key.
pub(crate) struct Components {
    /// What they are, for instance `sink`.
    pub(crate) noun: &'static str,
    pub(crate) fields: &'static [Field],
    /// Components of the file format that this version does not have yet.
    pub(crate) later: &'static [&'static str],
}

/// What a key takes.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Int {
        min: i64,
        max: i64,
    },
    Number,
    Bool,
    /// One printable ASCII character, or a tab.
    Char,
    Text,
    /// `[a-z][a-z0-9-]*`, at most 48 characters.
    Name,
    TopicName,
    /// An instant in RFC 3339.
    Instant,
    /// A whole number and a unit; `min` and `max` in milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    /// A whole number of bytes and a unit; `min` and `max` in bytes.
    Size {
        min: u64,
        max: u64,
    },
    /// A share of all, such as `10%`.
    Percent,
    /// One of a few texts.
    Choice(&'static [&'static str]),
    /// `none`, or this.
    OrNone(&'static Kind),
    /// An expression.
    Expr,
    List(&'static Kind),
    /// A map whose keys the file chooses: what a key names, and what stands there.
    Map(&'static str, &'static Kind),
    Table(&'static Table),
    OneOf(&'static Components),
    /// Whatever JSON can say.
    Json,
    /// A short form and a long one.
    Either(&'static Kind, &'static Kind),
}

impl Table {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

impl Table {
    /// What must be there, or the first of what may.
    fn example(&self) -> String {
        let required = |field: &&Field| matches!(field.need, Need::Required);
        let mut shown: Vec<&Field> = self.fields.iter().filter(required).collect();
        match (&shown[..], self.components) {
            ([], Some(all)) => return first_of(all),
            ([], None) => shown.extend(self.fields.first()),
            _ => {}
        }
        let shown = shown.into_iter().map(|field| match field.need {
            Need::Default(text) => format!("{}: {text}", field.name),
            _ => format!("{}: {}", field.name, example(field.name, &field.kind)),
        });
        let shown: Vec<String> = shown.collect();
        format!("{{{}}}", shown.join(", "))
    }
}

fn first_of(all: &Components) -> String {
    all.fields.first().map_or("…".into(), |field| format!("{{{}: {{…}}}}", field.name))
}

/// What could stand at a key: what people write there, or any value of its kind.
pub(crate) fn example(name: &str, kind: &Kind) -> String {
    let shown = match (name, kind) {
        ("include", Kind::List(_)) => "[logs/*.jsonl]",
        ("include", _) => "logs/*.jsonl",
        ("keep" | "drop" | "columns" | "partition_by", Kind::List(_)) => "[id, region]",
        ("choice", Kind::List(_)) => "[red, green]",
        ("choice", _) => "red",
        ("given", Kind::List(_)) => "[{body: {id: 1}}]",
        ("to", _) => "./lake",
        ("url", _) => "\"https://shop.example/orders\"",
        ("headers", Kind::Map(..)) => "{x-region: \"{region}\"}",
        ("ca", _) => "ca.pem",
        ("module", _) => "filters/shop.wasm",
        ("pattern", _) => "'^(?<status>[0-9]+) (?<path>.*)$'",
        ("format", _) => "'%d/%b/%Y:%H:%M:%S %z'",
        ("field", _) => "time",
        ("rename", Kind::Map(..)) => "{id: order_id}",
        ("dedupe", Kind::Table(_)) => "{by: body.id, within: 10m}",
        ("by", _) => "body.id",
        ("split" | "path", _) => "body.items",
        ("as", _) => "item",
        ("keep", Kind::Map(..)) => "{order: body.id}",
        ("cast", Kind::Map(..)) => "{amount: double}",
        ("cast", Kind::Table(_)) => "{to: timestamp, format: '%d.%m.%Y %H:%M'}",
        ("set", Kind::Map(..)) => "{day: DATE(born_time)}",
        ("properties", Kind::Map(..)) => "{region: body.region}",
        ("schema", Kind::Map(..)) => "{id: int, amount: double}",
        ("params", Kind::Map(..)) => "{city: Ulm}",
        ("mapping", Kind::Map(..)) => "{path: keyword, agent: text}",
        ("time", Kind::Text) => "time",
        ("types", Kind::Map(..)) => "{status: int}",
        ("fields", Kind::Map(..)) => "{id: {sequence: {}}}",
        ("key" | "tag", Kind::Expr) => "body.region",
        ("filter" | "where", _) => "body.region = 'eu'",
        _ => return kind.example(),
    };
    shown.into()
}

impl Components {
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.fields.iter().map(|field| field.name).collect()
    }
}

impl Kind {
    /// Whether a map without entries is enough.
    pub(crate) fn takes_nothing(&self) -> bool {
        let required = |field: &Field| matches!(field.need, Need::Required);
        matches!(self, Kind::Table(table) if !table.fields.iter().any(required))
    }

    /// As messages say it after "must be".
    pub(crate) fn described(&self) -> String {
        match self {
            Kind::Int { .. } => "a whole number".into(),
            Kind::Number => "a number".into(),
            Kind::Bool => "`true` or `false`".into(),
            Kind::Char => "one character such as `;`".into(),
            Kind::Text => "a text".into(),
            Kind::Name | Kind::TopicName => "a name".into(),
            Kind::Instant => "an instant such as `2026-01-02T03:04:05Z`".into(),
            Kind::Duration { .. } => "a duration such as `10s`".into(),
            Kind::Size { .. } => "a size such as `256MiB`".into(),
            Kind::Percent => "a share such as `10%`".into(),
            Kind::Choice(choices) => list_or(choices),
            Kind::OrNone(kind) => format!("{} or `none`", kind.described()),
            Kind::Expr => "an expression".into(),
            Kind::List(_) => "a list".into(),
            Kind::Map(..) | Kind::Table(_) | Kind::OneOf(_) => "a map".into(),
            Kind::Json => "a value".into(),
            Kind::Either(short, long) => format!("{} or {}", short.described(), long.described()),
        }
    }

    /// A value to show in a help text.
    pub(crate) fn example(&self) -> String {
        match self {
            Kind::Int { min, max } => 8.clamp(*min, *max).to_string(),
            Kind::Number => "0.5".into(),
            Kind::Bool => "true".into(),
            Kind::Char => "\";\"".into(),
            Kind::Instant => "2026-01-02T03:04:05Z".into(),
            Kind::Duration { min, .. } => scalar::show_duration((*min).max(10_000)),
            Kind::Size { min, .. } => scalar::show_size((*min).max(1 << 20)),
            Kind::Percent => "10%".into(),
            Kind::Choice(choices) => choices.first().copied().unwrap_or("…").into(),
            Kind::OrNone(kind) => kind.example(),
            Kind::List(item) => format!("[{}]", item.example()),
            Kind::Either(short, _) => short.example(),
            Kind::Name => "my-pipeline".into(),
            Kind::TopicName => "orders".into(),
            Kind::Text | Kind::Expr | Kind::Json => "…".into(),
            Kind::Table(table) => table.example(),
            Kind::OneOf(all) => first_of(all),
            Kind::Map(..) => "…".into(),
        }
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn list_or(names: &[&str]) -> String {
    list(names, "or")
}

/// `` `a`, `b` and `c` ``
pub(crate) fn list_and(names: &[&str]) -> String {
    list(names, "and")
}

fn list(names: &[&str], word: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} {word} {last}", rest.join(", ")),
    }
}
