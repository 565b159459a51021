use std::path::PathBuf;

use serde_json::{Map, Value};

/// Tests of a module in WebAssembly, beside the module.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTests {
    /// The module's file, relative to that of the tests.
    pub module: PathBuf,
    /// The tests, in order.
    pub tests: Vec<FilterTest>,
}

/// Records, and the verdict that a module has to give on each.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterTest {
    /// What it is about; no other test of the file has it.
    pub name: String,
    /// What the module is told.
    pub params: Map<String, Value>,
    /// The records, in order.
    pub records: Vec<FilterRecord>,
}

/// A record, and the verdict on it.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterRecord {
    /// Its body.
    pub body: String,
    /// Its key.
    pub key: Option<String>,
    /// Its tag.
    pub tag: Option<String>,
    /// Its other properties.
    pub properties: Vec<(String, String)>,
    /// The verdict.
    pub expect: FilterVerdict,
}

/// What a module has to say about a record.
#[derive(Clone, Debug, PartialEq)]
pub enum FilterVerdict {
    /// It goes on.
    Keep,
    /// It does not.
    Drop,
    /// Others take its place; with these bodies, if they are given.
    Replace(Option<Vec<String>>),
    /// The module fails at it; with this in the reason, if it is given.
    Fail(Option<String>),
}

/// Messages, and what has to come of them.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    /// What it is about; no other test of the file has it.
    pub name: String,
    /// The messages, in order.
    pub given: Vec<GivenMessage>,
    /// What has to come of them, by sink or source.
    pub expect: Vec<Expected>,
}

/// One message, or as many as a file has lines.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenMessage {
    /// What it says.
    pub given: Given,
    /// Its key; never with a source, which has its own way to it.
    pub key: Option<String>,
    /// Its tag; never with a source.
    pub tag: Option<String>,
    /// Its properties; never with a source.
    pub properties: Vec<(String, String)>,
}

/// What a message of a test says.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// A JSON body.
    Body(Value),
    /// A body in the bytes of this text, one line.
    Raw(String),
    /// The lines of a file, relative to the current directory.
    File(PathBuf),
}

/// What has to come of messages at one sink, or at the source. `None` may be anything.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    /// The sink, or `source`.
    pub part: String,
    /// The rows of all files.
    pub rows: Option<ExpectedRows>,
    /// Patterns of file names below the directory of the sink.
    pub files: Option<Vec<String>>,
    /// The requests, in any order: so many, or these, with these keys and maybe more.
    pub requests: Option<ExpectedRows>,
    /// How many messages filters took out.
    pub filtered: Option<u64>,
    /// The dead letters; none if they are not named.
    pub letters: Option<ExpectedLetters>,
}

/// Rows that are expected.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedRows {
    /// So many.
    Count(u64),
    /// These, in any order, with these columns and maybe more.
    These(Vec<Map<String, Value>>),
}

/// Dead letters that are expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedLetters {
    /// So many.
    Count(u64),
    /// These, in any order.
    These(Vec<ExpectedLetter>),
}

/// A dead letter that is expected. `None` may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedLetter {
    /// Its code.
    pub code: Option<String>,
    /// The field that it is about.
    pub field: Option<String>,
    /// Which of the rows of its message it is about.
    pub index: Option<u64>,
    /// A part of its error.
    pub error: Option<String>,
    /// Its body.
    pub body: Option<String>,
}
