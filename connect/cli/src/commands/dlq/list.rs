use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::Broker;
use millrace_runtime::dlq::{self, Fate, Letter, Whose};
use serde_json::{Value, json};

use super::{letters, told};
use crate::exit::{Exit, Failure};
use crate::figures::count;
use crate::moments::moment;
use crate::output::Answer;
use crate::table::table;

/// Letters of one code.
#[derive(Debug, Default)]
struct Counted {
    open: u64,
    replayed: u64,
    dropped: u64,
    oldest_at_ms: i64,
    newest_at_ms: i64,
}

/// What stands for the code of a letter that has none.
const NO_CODE: &str = "without a code";

pub(super) async fn list(broker: &Arc<dyn Broker>, fail_if_any: bool) -> Result<Answer, Failure> {
    let mut rows = Vec::new();
    let mut results = Vec::new();
    let mut all = Counted::default();
    for whose in dlq::all(broker).await? {
        let mut codes: BTreeMap<String, Counted> = BTreeMap::new();
        dlq::read(broker, &whose, &mut |letter| {
            let code = letter.code().unwrap_or(NO_CODE).to_owned();
            codes.entry(code).or_default().add(&letter);
        })
        .await?;
        if codes.is_empty() {
            continue;
        }
        rows.extend(codes.iter().map(|(code, counted)| row(&whose, code, counted)));
        let sum = codes.values().fold(Counted::default(), Counted::and);
        results.push(result(&whose, &codes, &sum)?);
        all = all.and(&sum);
    }
    let summary = format!("{}, {} open", letters(all.letters()), count(all.open));
    let text = match rows.is_empty() {
        true => format!("{summary}\n"),
        false => table(HEADING, &rows),
    };
    let exit = if fail_if_any && all.open > 0 { Exit::No } else { Exit::Done };
    let result = json!({ "letters": all.letters(), "open": all.open, "of": results });
    Ok(Answer { exit, summary, text, result })
}

const HEADING: [&str; 7] = ["of", "code", "open", "replayed", "dropped", "oldest", "newest"];

impl Counted {
    fn letters(&self) -> u64 {
        self.open + self.replayed + self.dropped
    }

    fn add(&mut self, letter: &Letter<'_>) {
        if self.letters() == 0 {
            self.oldest_at_ms = letter.stored_at_ms;
        }
        self.newest_at_ms = letter.stored_at_ms;
        match letter.fate {
            Fate::Open | Fate::Unsettled => self.open += 1,
            Fate::Replayed => self.replayed += 1,
            Fate::Dropped => self.dropped += 1,
        }
    }

    fn and(self, other: &Self) -> Self {
        let oldest_at_ms = match self.letters() {
            0 => other.oldest_at_ms,
            _ => self.oldest_at_ms.min(other.oldest_at_ms),
        };
        Self {
            open: self.open + other.open,
            replayed: self.replayed + other.replayed,
            dropped: self.dropped + other.dropped,
            oldest_at_ms,
            newest_at_ms: self.newest_at_ms.max(other.newest_at_ms),
        }
    }
}

fn row(whose: &Whose, code: &str, counted: &Counted) -> [String; 7] {
    let Counted { open, replayed, dropped, oldest_at_ms, newest_at_ms } = counted;
    let [open, replayed, dropped] = [open, replayed, dropped].map(|letters| count(*letters));
    let [oldest, newest] = [oldest_at_ms, newest_at_ms].map(|at| moment(*at));
    [told(whose), code.to_owned(), open, replayed, dropped, oldest, newest]
}

fn result(
    whose: &Whose,
    codes: &BTreeMap<String, Counted>,
    sum: &Counted,
) -> Result<Value, Failure> {
    let by_code: BTreeMap<&String, Value> =
        codes.iter().map(|(code, counted)| (code, numbers(counted))).collect();
    let mut result = numbers(sum);
    result["pipeline"] = json!(whose.pipeline);
    result["sink"] = json!(whose.sink);
    result["topic"] = json!(whose.topic()?.as_str());
    result["codes"] = json!(by_code);
    Ok(result)
}

fn numbers(counted: &Counted) -> Value {
    let Counted { open, replayed, dropped, oldest_at_ms, newest_at_ms } = counted;
    json!({
        "open": open,
        "replayed": replayed,
        "dropped": dropped,
        "oldest_at_ms": oldest_at_ms,
        "newest_at_ms": newest_at_ms,
    })
}
