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
    /// Those that one filter wants and all of the others keep.
    Narrowed(Box<Filter>, Arc<[Arc<dyn Verdicts>]>),
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
            Filter::Narrowed(wanted, _) => wanted.by_entry(entry),
        }
    }

    /// Whether an index entry alone can decide against its message.
    pub(crate) fn goes_by_entry(&self) -> bool {
        match self {
            Filter::Tags(_) => true,
            Filter::All | Filter::Condition(_) => false,
            Filter::Narrowed(wanted, _) => wanted.goes_by_entry(),
        }
    }

    /// What decides over the content, in this order.
    pub(crate) fn verdicts(&self) -> Vec<Arc<dyn Verdicts>> {
        match self {
            Filter::Condition(verdicts) => vec![Arc::clone(verdicts)],
            Filter::All | Filter::Tags(_) => Vec::new(),
            Filter::Narrowed(wanted, kept_by) => {
                let mut all = wanted.verdicts();
                all.extend(kept_by.iter().map(Arc::clone));
                all
            }
        }
    }
}

/// Decides over a batch of messages at once.
pub trait Verdicts: Debug + Send + Sync {
    /// Clears `keep[i]` for each record that is not wanted. Those that come in with `false` are
    /// unwanted already and need no look. All records are of one queue.
    fn verdicts(&self, batch: &[Record<'_>], keep: &mut [bool]);

    /// Whether deciding may take so long that it has no place where others wait.
    fn takes_long(&self) -> bool {
        false
    }

    /// Whether it can decide at all; otherwise why not, and then it is not asked. What takes long
    /// may take long here, too.
    fn prepare(&self) -> Result<(), String> {
        Ok(())
    }
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

impl Found {
    /// Whether deciding over what was found may take long.
    pub fn takes_long(&self) -> bool {
        self.verdicts.iter().any(|verdicts| verdicts.takes_long())
    }

    /// The parts to be read and decided over one after the other, until anything of one is kept;
    /// each with its place in the plan. There is one if nothing has to be decided; otherwise more
    /// messages were planned than are given, and a part holds no more than are.
    pub fn stretches(&self) -> impl Iterator<Item = (usize, &[Entry])> {
        let entries = self.plan.entries.as_slice();
        let (count_max, bytes_max) = match self.verdicts.is_empty() {
            true => (usize::MAX, u64::MAX),
            false => (self.count_max, self.bytes_max),
        };
        let mut at = 0;
        std::iter::from_fn(move || {
            let begin = at;
            let (mut count, mut bytes) = (0, 0);
            while let Some(entry) = entries.get(at) {
                count += usize::from(entry.size > 0);
                bytes += u64::from(entry.size);
                if count > 1 && (count > count_max || bytes > bytes_max) {
                    break;
                }
                at += 1;
            }
            (begin < at).then(|| (begin, &entries[begin..at]))
        })
    }
}

/// The second step of a pull: drops what nobody wants from the bytes read. A pure function, so any
/// thread can do it.
pub fn finish(verdicts: &[Arc<dyn Verdicts>], runs: Vec<Bytes>) -> Vec<Bytes> {
    if verdicts.is_empty() {
        return runs;
    }
    let of = |run: &Bytes| record::iter(run).filter_map(Result::ok).count();
    let counts: Vec<usize> = runs.iter().map(of).collect();
    let records = runs.iter().flat_map(|run| record::iter(run).filter_map(Result::ok));
    let records: Vec<Record<'_>> = records.collect();
    let mut keep = vec![true; records.len()];
    for verdicts in verdicts {
        verdicts.verdicts(&records, &mut keep);
    }
    let mut kept = Vec::new();
    let mut decided = records.iter().zip(keep);
    for (run, count) in runs.iter().zip(counts) {
        let mut at = 0;
        for (record, keep) in decided.by_ref().take(count) {
            let len = record.as_bytes().len();
            if keep {
                kept.push(run.slice(at..at + len));
            }
            at += len;
        }
    }
    kept
}
