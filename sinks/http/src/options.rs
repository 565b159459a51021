use millrace_connect_api::Column;

/// What a sink does.
#[derive(Clone)]
pub struct HttpOptions {
    /// The pipeline, for keys.
    pub pipeline: String,
    /// The sink, for keys.
    pub sink: String,
    /// Where requests go. Its scheme and its host have no column in them.
    pub url: Template,
    /// For instance `POST`.
    pub method: &'static str,
    /// Names in lower case, and values.
    pub headers: Vec<(String, Template)>,
    /// What a request has in it.
    pub body: Body,
    /// The columns of a row in order.
    pub columns: Vec<Column>,
    /// What an answer of success says.
    pub answering: Answering,
    /// How many requests are under way at once.
    pub in_flight: usize,
}

/// What a request has in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// One row, a JSON object.
    Single,
    /// Rows, each a JSON object on a line of its own.
    Lines,
    /// Rows in a JSON array.
    Array,
    /// One message, byte for byte.
    Raw,
}

/// What an answer of success says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// That all is delivered.
    Status,
    /// Which items are not, in its body.
    Items,
}

/// A text with values of columns in it.
#[derive(Clone)]
pub struct Template(pub Vec<Piece>);

/// A piece of a [`Template`].
#[derive(Clone)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// The value of the column of this name.
    Column(String),
}

impl Body {
    /// Whether a request has one message.
    pub fn is_single(self) -> bool {
        matches!(self, Body::Single | Body::Raw)
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Body::Single | Body::Array => "application/json",
            Body::Lines => "application/x-ndjson",
            Body::Raw => "application/octet-stream",
        }
    }
}

impl Template {
    /// Values that are the same in every request and may be secrets, so that no message shows them.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &self.0[..] {
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }
}
