//! `millrace search`: what is in a search index.

use std::io::{self, ErrorKind, IsTerminal};
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use millrace_connect_api::decode::parse_timestamp;
use millrace_disk::RealDisk;
use millrace_sink_index::{Asked, Found, Hit, Order, QueryError, Search, Shown, Value, is_index};
use millrace_sql_filter::time::format_timestamp;
use serde_json::{Map, json};

use crate::causes::index_failure;
use crate::exit::{Exit, Failure, codes};
use crate::figures::{count, counted};
use crate::output::Answer;
use crate::plain;
use crate::table::table;

/// Search an index that an `index` sink writes, also while it does.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct SearchIndex {
    /// The directory of the index: `to` of the sink.
    index: PathBuf,
    /// What to find; `*` is everything.
    query: String,
    /// Only documents of this time or later, such as 2026-01-02T03:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    from: Option<i64>,
    /// Only documents before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_instant)]
    to: Option<i64>,
    /// How many documents to show, 10 if it is not said, or how many values with --count-by, all if
    /// it is not said. All that match are counted in any case.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Sort by a field instead of showing the best matches first; FIELD:desc for the greatest first.
    #[arg(long, value_name = "FIELD[:desc]", value_parser = parse_sort)]
    sort: Option<(String, Descending)>,
    /// Count the documents by the values of a field, and show those numbers instead of documents.
    #[arg(long, value_name = "FIELD")]
    count_by: Option<String>,
    /// Print how many match, and nothing else.
    #[arg(long, conflicts_with_all = ["count_by", "json"])]
    count: bool,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// For those who look for it here.
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "SINK", value_parser = refuse_rebuild)]
    rebuild: Option<String>,
}

const AFTER_HELP: &str = "\
Words must all be there; `OR`, `NOT` (or `-`) and brackets say otherwise: `a OR b c` is
`a OR (b AND c)`, and `NOT a` all that is not `a`. `field:word` looks in one field,
`field:\"two words\"` for a phrase, or for the whole of a keyword. `status:[400 TO 499]` is a range,
`{…}` leaves its ends out, and `status:>=400` has one end. `field:*` has any value.
`_queue:\"broker-a/orders/0\" _offset:17` is the document of one message.

Examples:
  millrace search out/index 'path:\"/index.html\" status:>=400' --sort time:desc
  millrace search out/index 'agent:firefox' --from 2026-01-02T03:00:00Z --to 2026-01-02T04:00:00Z
  millrace search out/index '*' --count-by status";

/// How many documents are shown if nobody says.
const HITS: usize = 10;

type Descending = bool;

impl SearchIndex {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let disk = RealDisk::new();
        self.expect_index(&disk)?;
        let search = Search::open(&disk, &self.index)
            .map_err(|error| index_failure(&error).caused_by(&error))?;
        let shows_hits = !self.count && self.count_by.is_none();
        let asked = Asked {
            query: self.query.clone(),
            from: self.from,
            to: self.to,
            limit: if shows_hits { self.limit.unwrap_or(HITS) } else { 0 },
            sort: self.sort.clone().map(|(field, descending)| {
                (field, if descending { Order::Descending } else { Order::Ascending })
            }),
            count_by: self.count_by.clone(),
        };
        let found = search.ask(&asked).map_err(|error| self.failure(&error))?;
        let documents = counted(search.documents(), "document");
        let summary = format!("{} of {documents} match", count(found.total));
        let text = self.text(&found, &summary);
        let mut result = json!({
            "total": found.total,
            "documents": search.documents(),
            "parts": search.library().parts(),
            "bytes": search.library().bytes(),
            "hits": found.hits.iter().map(hit_json).collect::<Vec<_>>(),
        });
        if self.count_by.is_some() {
            let one =
                |(value, count): &(Option<String>, u64)| json!({"value": value, "count": count});
            result["values"] = json!(found.counts.len());
            result["counts"] = self.counts(&found).iter().map(one).collect();
        }
        Ok(Answer { exit: Exit::Done, summary, text, result })
    }

    fn expect_index(&self, disk: &RealDisk) -> Result<(), Failure> {
        let hint = "name the directory that an `index` sink has as `to`: its documents are in files \
                    that end in `.part`, and `millrace run` writes the first after its first commit";
        let error = match is_index(disk, &self.index) {
            Ok(true) => return Ok(()),
            Ok(false) => {
                let message = format!("{} is no search index", self.index.display());
                return Err(Failure::new(Exit::Input, codes::FILE, message).hint(hint));
            }
            Err(error) => error,
        };
        let exit = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Exit::Input,
            _ => Exit::Environment,
        };
        Err(Failure::new(exit, codes::FILE, error.to_string()).hint(hint).caused_by(&error))
    }

    fn text(&self, found: &Found, summary: &str) -> String {
        if self.count {
            return format!("{}\n", found.total);
        }
        if self.count_by.is_some() {
            let name = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".into());
            let counts = self.counts(found);
            let rows = counts.iter().map(|(value, number)| [name(value), count(*number)]);
            let rows: Vec<_> = rows.collect();
            let field = self.count_by.as_deref().unwrap_or_default();
            let mut text = table([field, "documents"], &rows);
            let more = (found.counts.len() - counts.len()) as u64;
            if more > 0 {
                text += &format!("{} more with a greater --limit\n", counted(more, "value"));
            }
            return text;
        }
        let colored = io::stdout().is_terminal();
        let mut text: String = found.hits.iter().map(|hit| shown(hit, colored)).collect();
        let more = found.total - found.hits.len() as u64;
        text += summary;
        if more > 0 && !found.hits.is_empty() {
            text += &format!("; {} more with a greater --limit", count(more));
        }
        text.push('\n');
        text
    }

    /// The counts to show.
    fn counts<'f>(&self, found: &'f Found) -> &'f [(Option<String>, u64)] {
        let shown = self.limit.unwrap_or(usize::MAX).min(found.counts.len());
        &found.counts[..shown]
    }

    fn failure(&self, error: &QueryError) -> Failure {
        let (at, message, help) = match error {
            QueryError::Index(error) => return index_failure(error).caused_by(error),
            QueryError::Wrong { at, message, help } => (at, message, help),
        };
        let message = match at {
            Some(at) => format!("the query, {}: {message}", place(&self.query, at)),
            None => message.clone(),
        };
        Failure::new(Exit::Input, codes::QUERY, message).hint(help.as_str())
    }
}

/// Where in a query, and what stands there.
fn place(query: &str, at: &Range<usize>) -> String {
    let column = query.get(..at.start).map_or(1, |before| before.chars().count() + 1);
    match query.get(at.clone()).filter(|text| !text.is_empty()) {
        Some(text) => format!("column {column}, `{text}`"),
        None => format!("column {column}"),
    }
}

fn parse_instant(text: &str) -> Result<i64, String> {
    parse_timestamp(text).map_err(|error| format!("as a time it is {error}"))
}

fn refuse_rebuild(_: &str) -> Result<String, String> {
    Err("an index is written again from its topic: `millrace run FILE --rebuild SINK`".into())
}

fn parse_sort(text: &str) -> Result<(String, Descending), String> {
    let (field, descending) = match text.rsplit_once(':') {
        Some((field, "desc")) => (field, true),
        Some((field, "asc")) => (field, false),
        _ => (text, false),
    };
    if field.is_empty() {
        Err("it names no field".into())
    } else {
        Ok((field.to_owned(), descending))
    }
}

/// A document for a person: its place, then a line for each field.
fn shown(hit: &Hit, colored: bool) -> String {
    let mut text = format!("{} {}\n", hit.queue, hit.offset);
    let width = hit.fields.iter().map(|field| field.name.chars().count()).max().unwrap_or(0);
    for field in &hit.fields {
        let value = match (&field.value, colored) {
            (Value::Text(text), true) => highlighted(text, &field.matched),
            _ => unlit(field),
        };
        text += &format!("  {:width$}  {value}\n", field.name);
    }
    text
}

fn unlit(field: &Shown) -> String {
    match &field.value {
        Value::Text(text) => plain::line(text).into_owned(),
        Value::Int(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Timestamp(micros) => format_timestamp(*micros),
        Value::Json(value) => plain::line(&value.to_string()).into_owned(),
    }
}

/// A text with what was asked for in bold.
fn highlighted(text: &str, matched: &[Range<usize>]) -> String {
    let (mut shown, mut done) = (String::new(), 0);
    for range in matched {
        let (Some(before), Some(found)) = (text.get(done..range.start), text.get(range.clone()))
        else {
            continue;
        };
        let (before, found) = (plain::line(before), plain::line(found));
        shown += &format!("{before}\x1b[1;31m{found}\x1b[0m");
        done = range.end;
    }
    shown + &plain::line(text.get(done..).unwrap_or_default())
}

fn hit_json(hit: &Hit) -> serde_json::Value {
    let field = |field: &Shown| {
        let value = match &field.value {
            Value::Text(text) => json!(text),
            Value::Int(number) => json!(number),
            Value::Double(number) => json!(number),
            Value::Bool(value) => json!(value),
            Value::Timestamp(micros) => json!(format_timestamp(*micros)),
            Value::Json(value) => value.clone(),
        };
        (field.name.clone(), value)
    };
    let document: Map<String, serde_json::Value> = hit.fields.iter().map(field).collect();
    let store_time = format_timestamp(hit.store_time);
    json!({
        "queue": hit.queue,
        "offset": hit.offset,
        "store_time": store_time,
        "document": document,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_bold_and_nothing_else_is_a_control() {
        let bold = highlighted("a \x1bfox, Fox", &[3..6, 8..11]);
        assert_eq!(bold, "a \\u{1b}\x1b[1;31mfox\x1b[0m, \x1b[1;31mFox\x1b[0m");
        assert_eq!(highlighted("ab", &[]), "ab");
    }

    #[test]
    fn a_sort_is_a_field_and_maybe_a_direction() {
        assert_eq!(parse_sort("time"), Ok(("time".into(), false)));
        assert_eq!(parse_sort("time:desc"), Ok(("time".into(), true)));
        assert_eq!(parse_sort("time:asc"), Ok(("time".into(), false)));
        assert_eq!(parse_sort("a:b"), Ok(("a:b".into(), false)));
        assert!(parse_sort(":desc").is_err());
    }

    #[test]
    fn a_place_counts_characters() {
        assert_eq!(place("é status:x", &(3..9)), "column 3, `status`");
        assert_eq!(place("a b", &(3..3)), "column 4");
    }
}
