use regex::Regex;

use super::csv::CsvDecoder;
use super::json::JsonDecoder;
use super::lines::LineDecoder;
use super::regex::RegexDecoder;
use super::{Decoder, TimeFormatError};
use crate::{Column, DataType, Schema};

/// What the bodies of a topic are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeSpec {
    /// One JSON object per body.
    Json,
    /// The body is a line of text; one column `line`.
    Lines,
    /// The body is a line of text that a pattern takes apart.
    Regex(RegexSpec),
    /// The body is a line of CSV.
    Csv(CsvSpec),
}

/// How lines of CSV are read: RFC 4180, and a line break never stands between quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSpec {
    /// The columns, in the order of the values of a line that comes without a header.
    pub columns: Vec<Column>,
    /// What stands between values.
    pub delimiter: u8,
    /// What stands around a value that has a delimiter or a quote in it. A quote in it is written
    /// twice.
    pub quote: u8,
    /// What stands for "no value" where there are no quotes around it.
    pub null: String,
}

/// How a pattern takes a line apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegexSpec {
    /// A pattern with named groups; each is a column. It may match anywhere in the line, so one
    /// that describes the whole line begins with `^` and ends with `$`.
    pub pattern: String,
    /// Groups that are not text.
    pub types: Vec<Column>,
    /// The format of a timestamp group: `(group, strftime format)`.
    pub time: Option<(String, String)>,
    /// The text that means "no value", for instance `-`.
    pub null: Option<String>,
}

/// Why there can be no decoder for a description.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DecodeSpecError {
    /// The pattern does not compile.
    #[error("the pattern is not a regular expression")]
    Pattern(#[source] regex::Error),
    /// Without named groups there is nothing to take.
    #[error("the pattern has no named group, such as `(?<status>[0-9]+)`")]
    NoGroups,
    /// `types` or `time` speak of a group that is not there.
    #[error("the pattern has no group `{name}`")]
    UnknownGroup {
        /// The name.
        name: String,
        /// The groups there are.
        known: Vec<String>,
    },
    /// The time group is declared as something that is no time.
    #[error("`{name}` has a time format, so it cannot be of another type than `timestamp`")]
    NotATime {
        /// The group.
        name: String,
    },
    /// The time format cannot be read.
    #[error("the time format of `{name}` cannot be used")]
    TimeFormat {
        /// The group.
        name: String,
        /// Why not.
        source: TimeFormatError,
    },
    /// A column is wanted that the bodies do not have.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// The name.
        name: String,
        /// The columns there are.
        known: Vec<String>,
    },
    /// A column is wanted with another type than it has.
    #[error("the column `{name}` is not of the wanted type")]
    WrongType {
        /// The name.
        name: String,
        /// The type it has.
        known: DataType,
    },
    /// A column is wanted twice, or declared twice.
    #[error("the column `{name}` is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A path such as `user.` or an empty name.
    #[error("`{name}` is not a path: a part of it is empty")]
    EmptyPath {
        /// The name.
        name: String,
    },
    /// `user` and `user.id` cannot both be columns: a value is an object or it is not.
    #[error("`{inner}` lies inside `{outer}`, so they cannot both be columns")]
    Nested {
        /// The shorter path.
        outer: String,
        /// The longer path.
        inner: String,
    },
}

impl DecodeSpec {
    /// A decoder for the columns wanted, in that order.
    ///
    /// From JSON any column can be wanted; the name is the path of the field, with a dot between
    /// its parts. From a pattern the groups can be wanted, from lines the column `line`, from CSV
    /// the columns of the description, each with the type that [`DecodeSpec::known_schema`] gives them. Bodies are judged by what is wanted:
    /// a field that is not wanted may hold anything.
    pub fn decoder(&self, wanted: &[Column]) -> Result<Box<dyn Decoder>, DecodeSpecError> {
        for (index, column) in wanted.iter().enumerate() {
            if wanted[..index].iter().any(|earlier| earlier.name == column.name) {
                return Err(DecodeSpecError::Twice { name: column.name.clone() });
            }
        }
        Ok(match self {
            DecodeSpec::Json => Box::new(JsonDecoder::new(wanted)?),
            DecodeSpec::Lines => Box::new(LineDecoder::new(wanted)?),
            DecodeSpec::Regex(spec) => Box::new(RegexDecoder::new(spec, wanted)?),
            DecodeSpec::Csv(spec) => Box::new(CsvDecoder::new(spec, wanted)?),
        })
    }

    /// The columns the bodies have whatever is wanted: `line`, the groups of the pattern in
    /// order, or those of the CSV. `None` for JSON, and for a pattern that does not compile.
    pub fn known_schema(&self) -> Option<Schema> {
        match self {
            DecodeSpec::Json => None,
            DecodeSpec::Lines => Some(super::lines::schema()),
            DecodeSpec::Csv(spec) => Some(Schema { columns: spec.columns.clone() }),
            DecodeSpec::Regex(spec) => {
                let pattern = Regex::new(&spec.pattern).ok()?;
                super::regex::schema(spec, &pattern).ok()
            }
        }
    }
}

/// Checks that each wanted column is one of `known`, and says which.
pub(super) fn pick(wanted: &[Column], known: &Schema) -> Result<Vec<usize>, DecodeSpecError> {
    let pick_one = |column: &Column| {
        let at = known.columns.iter().position(|other| other.name == column.name);
        let at = at.ok_or_else(|| DecodeSpecError::UnknownColumn {
            name: column.name.clone(),
            known: known.columns.iter().map(|other| other.name.clone()).collect(),
        })?;
        match known.columns[at].data_type {
            data_type if data_type == column.data_type => Ok(at),
            known => Err(DecodeSpecError::WrongType { name: column.name.clone(), known }),
        }
    };
    wanted.iter().map(pick_one).collect()
}
