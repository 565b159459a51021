use std::collections::BTreeMap;
use std::sync::Arc;

use millrace_client::Broker;
use millrace_runtime::dlq::{self, Letter, Whose};
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
    letters: u64,
    oldest_at_ms: i64,
    newest_at_ms: i64,
}

/// What stands for the code of a letter that has none.
const NO_CODE: &str = "without a code";

pub(super) async fn list(broker: &Arc<dyn Broker>, fail_if_any: bool) -> Result<Answer, Failure> {
    let mut rows = Vec::new();
    let mut results = Vec::new();
    let mut total = 0;
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
        total += codes.values().map(|counted| counted.letters).sum::<u64>();
        results.push(result(&whose, &codes)?);
    }
    let summary = letters(total);
    let text = match rows.is_empty() {
        true => format!("{summary}\n"),
        false => table(["of", "code", "letters", "oldest", "newest"], &rows),
    };
    let exit = if fail_if_any && total > 0 { Exit::No } else { Exit::Done };
    Ok(Answer { exit, summary, text, result: json!({ "letters": total, "of": results }) })
}

impl Counted {
    fn add(&mut self, letter: &Letter<'_>) {
        if self.letters == 0 {
            self.oldest_at_ms = letter.stored_at_ms;
        }
        self.newest_at_ms = letter.stored_at_ms;
        self.letters += 1;
    }
}

fn row(whose: &Whose, code: &str, counted: &Counted) -> [String; 5] {
    let Counted { letters, oldest_at_ms, newest_at_ms } = counted;
    [told(whose), code.to_owned(), count(*letters), moment(*oldest_at_ms), moment(*newest_at_ms)]
}

fn result(whose: &Whose, codes: &BTreeMap<String, Counted>) -> Result<Value, Failure> {
    let by_code: BTreeMap<&String, Value> =
        codes.iter().map(|(code, counted)| (code, json!({ "letters": counted.letters }))).collect();
    Ok(json!({
        "pipeline": whose.pipeline,
        "sink": whose.sink,
        "topic": whose.topic()?.as_str(),
        "letters": codes.values().map(|counted| counted.letters).sum::<u64>(),
        "codes": by_code,
        "oldest_at_ms": codes.values().map(|counted| counted.oldest_at_ms).min(),
        "newest_at_ms": codes.values().map(|counted| counted.newest_at_ms).max(),
    }))
}
