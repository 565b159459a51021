use std::sync::Arc;

use millrace_client::Broker;
use millrace_runtime::dlq::{self, Condition, Drops, Fate, Whose};
use serde_json::json;

use super::{at_once, letters, no_letters, told};
use crate::exit::{Exit, Failure, codes};
use crate::output::Answer;
use crate::running::identity;

pub(super) async fn discard(
    broker: &Arc<dyn Broker>,
    whose: &Whose,
    condition: Option<&Condition>,
    yes: bool,
) -> Result<Answer, Failure> {
    if !yes {
        let mut open = 0;
        let exist = dlq::read(broker, whose, &mut |letter| {
            let is_meant = condition.is_none_or(|condition| condition.holds(&letter));
            open += u64::from(letter.fate == Fate::Open && is_meant);
        })
        .await?;
        if !exist {
            return Err(no_letters(whose));
        }
        let message = format!("{} of {} would be dropped", letters(open), told(whose));
        return Err(Failure::new(Exit::Input, codes::ARGUMENT, message)
            .hint("say --yes if that is what you want"));
    }
    let (worker, _) = identity();
    let drops = dlq::drop_letters(broker, whose, condition, &worker).await;
    let drops = drops.map_err(|error| at_once(error, whose))?;
    let Drops { dropped, unsettled } = drops.ok_or_else(|| no_letters(whose))?;
    let mut line = format!("{} of {} dropped", letters(dropped), told(whose));
    if unsettled > 0 {
        let left = letters(unsettled);
        line += &format!(", {left} left because a replay of them did not finish: replay again");
    }
    let result = json!({
        "pipeline": whose.pipeline,
        "sink": whose.sink,
        "dropped": dropped,
        "unsettled": unsettled,
    });
    Ok(Answer::line(Exit::Done, line, result))
}
