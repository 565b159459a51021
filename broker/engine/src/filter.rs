use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use millrace_store::Entry;
use millrace_types::TagsCode;
use millrace_types::record::{self, Record};

use crate::answer::Found;

/// Which messages a pull wants.
#[derive(Clone, Debug)]
pub enum Filter {
    /// All.
    All,
    /// Those whose tag hashes to one of these codes. Clients compare the tags themselves again.
    Tags(Arc<[TagsCode]>),
    /// Those that a condition over their content accepts.
    Condition(Arc<dyn Verdicts>),
}

impl Filter {
    /// Reads a tag expression such as `TagA || TagB`; `*` or nothing means all.
    pub fn tags(expression: &str) -> Self {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Self::All;
        }
        let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty());
        Self::Tags(tags.map(TagsCode::of).collect())
    }

    /// What the index entry alone decides.
    pub(crate) fn by_entry(&self, entry: &Entry) -> bool {
        match self {
            Filter::Tags(codes) => codes.contains(&entry.tags_code),
            Filter::All | Filter::Condition(_) => true,
        }
    }

    pub(crate) fn verdicts(&self) -> Option<Arc<dyn Verdicts>> {
        match self {
            Filter::Condition(verdicts) => Some(Arc::clone(verdicts)),
            Filter::All | Filter::Tags(_) => None,
        }
    }
}

/// Decides over a batch of messages at once.
pub trait Verdicts: Debug + Send + Sync {
    /// Sets `keep[i]` for each wanted record; it comes in with one `false` per record.
    fn verdicts(&self, batch: &[Record<'_>], keep: &mut [bool]);
}

/// Makes conditions from a subscription's expression. The shell supplies it, so that the engine
/// depends on no filter language.
pub trait Conditions: Debug + Send + Sync {
    /// Understands an expression of a kind such as `SQL92`, or says what is wrong with it.
    fn compile(&self, kind: &str, expression: &str) -> Result<Arc<dyn Verdicts>, String>;
}

/// Knows no kind of condition.
#[derive(Debug)]
pub struct NoConditions;

impl Conditions for NoConditions {
    fn compile(&self, kind: &str, _expression: &str) -> Result<Arc<dyn Verdicts>, String> {
        Err(format!("expression type {kind} is not supported"))
    }
}

/// The second step of a pull: drops what the condition does not want from the bytes read.
/// A pure function, so any thread can do it.
pub fn finish(found: &Found, runs: Vec<Bytes>) -> Vec<Bytes> {
    let Some(verdicts) = &found.verdicts else {
        return runs;
    };
    let mut kept = Vec::new();
    for run in runs {
        let records: Vec<Record<'_>> = record::iter(&run).filter_map(Result::ok).collect();
        let mut keep = vec![false; records.len()];
        verdicts.verdicts(&records, &mut keep);
        let mut at = 0;
        for (record, keep) in records.iter().zip(keep) {
            let len = record.as_bytes().len();
            if keep {
                kept.push(run.slice(at..at + len));
            }
            at += len;
        }
    }
    kept
}
