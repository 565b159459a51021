use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use millrace_config::{DedupeSpec, Pipeline};
use millrace_connect_api::{Batch, QueueRef, Reject, RowAt, Selection, Step, StepError};
use millrace_sql_filter::Value;
use tracing::warn;

use super::{View, eval_reject};

/// Takes rows out whose key another row of their queue has, within a window before them.
///
/// Whether that one was taken out itself does not matter. So what becomes of a row depends on the
/// rows in its window alone, and whoever reads these again knows all that this step remembers.
pub(crate) struct Dedupe {
    name: String,
    pipeline: Arc<Pipeline>,
    spec: DedupeSpec,
    /// Keys are remembered by their hashes of 128 bits.
    hashers: [RandomState; 2],
    queues: HashMap<QueueRef, Seen>,
    duplicates: u64,
    has_forgotten: bool,
}

/// The last row of each key in one queue.
#[derive(Default)]
struct Seen {
    rows: HashMap<u128, RowAt>,
    /// The same, oldest first, with the time of each.
    in_order: BTreeMap<RowAt, (u128, i64)>,
}

impl Dedupe {
    pub(crate) fn new(name: String, pipeline: Arc<Pipeline>, spec: DedupeSpec) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        let queues = HashMap::new();
        Self { name, pipeline, spec, hashers, queues, duplicates: 0, has_forgotten: false }
    }

    /// Whether it can run on messages that nobody has decoded.
    pub(crate) fn needs_no_columns(&self) -> bool {
        !self.spec.by.needs_columns()
    }
}

/// The hash of a key; `None` of one that is not there.
fn hash(hashers: &[RandomState; 2], value: &Value<'_>) -> Option<u128> {
    let half = |state: &RandomState| {
        let mut hasher = state.build_hasher();
        match value {
            Value::Null => return None,
            Value::Bool(value) => value.hash(&mut hasher),
            Value::Int(value) => value.hash(&mut hasher),
            // 0 and -0 are one number.
            Value::Double(value) => (value + 0.0).to_bits().hash(&mut hasher),
            Value::Text(text) => text.hash(&mut hasher),
            Value::Timestamp(micros) => micros.hash(&mut hasher),
            Value::Date(days) => days.hash(&mut hasher),
        }
        Some(u128::from(hasher.finish()))
    };
    Some(half(&hashers[0])? << 64 | half(&hashers[1])?)
}

impl Seen {
    /// Takes in the next row; whether its key was there in the window before it.
    fn take(&mut self, spec: &DedupeSpec, key: u128, at: RowAt, time_ms: i64) -> bool {
        let is_in_window = |row: &RowAt, row_ms: i64| {
            let near = spec.offsets.is_none_or(|most| at.offset.since(row.offset) <= most);
            let fresh = spec.within.is_none_or(|within| {
                i128::from(time_ms) - i128::from(row_ms) < within.as_millis() as i128
            });
            near && fresh
        };
        while let Some(oldest) = self.in_order.first_entry() {
            let (hash, row_ms) = *oldest.get();
            if is_in_window(oldest.key(), row_ms) {
                break;
            }
            oldest.remove();
            self.rows.remove(&hash);
        }
        let before = self.rows.insert(key, at);
        let before = before.and_then(|row| self.in_order.remove(&row).map(|(_, ms)| (row, ms)));
        self.in_order.insert(at, (key, time_ms));
        before.is_some_and(|(row, row_ms)| is_in_window(&row, row_ms))
    }

    /// Forgets the key seen longest ago if there are too many; whether that was so.
    fn shrink(&mut self, keys_max: usize) -> bool {
        if self.rows.len() <= keys_max {
            return false;
        }
        if let Some((_, (hash, _))) = self.in_order.pop_first() {
            self.rows.remove(&hash);
        }
        true
    }
}

impl Step for Dedupe {
    fn apply(
        &mut self,
        batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let view = View::new(&batch, &self.spec.by.slots, &self.pipeline.schema)
            .map_err(|reason| StepError::Failed { step: self.name.clone(), reason })?;
        let messages = batch.messages();
        if !self.queues.contains_key(messages.queue()) {
            self.queues.insert(messages.queue().clone(), Seen::default());
        }
        let seen = self.queues.get_mut(messages.queue()).expect("it was just inserted");
        let mut kept = Vec::with_capacity(batch.selection().len());
        for row in batch.selection().iter() {
            let value = match self.spec.by.expr.evaluate(&view.row(row)) {
                Ok(value) => value,
                Err(error) => {
                    rejects.push((row as u32, eval_reject(&self.spec.by.text, &error)));
                    continue;
                }
            };
            // A row without a key is like no other.
            let Some(key) = hash(&self.hashers, &value) else {
                kept.push(row as u32);
                continue;
            };
            let time_ms = messages.get(row).store_at_ms;
            if seen.take(&self.spec, key, messages.row_at(row), time_ms) {
                self.duplicates += 1;
            } else {
                kept.push(row as u32);
            }
            if seen.shrink(self.spec.max_keys) && !std::mem::replace(&mut self.has_forgotten, true)
            {
                let queue = messages.queue();
                warn!(step = %self.name, topic = %queue.topic, queue_id = queue.queue.0,
                    max_keys = self.spec.max_keys, "keys forgotten before their window is over");
            }
        }
        if kept.len() == batch.selection().len() {
            return Ok(batch);
        }
        Ok(batch.with_selection(Selection::Rows(kept.into())))
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("duplicate", self.duplicates)]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn spec(offsets: Option<u64>, within: Option<u64>, max_keys: usize) -> DedupeSpec {
        let text = "version: 1\npipeline: p\ntopic: t\nschema: {a: int}\n\
                    steps: [filter: body.a = 1]\nsinks: {s: {blackhole: {}}}\n";
        let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap();
        let [millrace_config::StepSpec::Filter { condition, .. }] = &pipeline.steps[..] else {
            panic!("a filter")
        };
        DedupeSpec {
            by: condition.clone(),
            offsets,
            within: within.map(Duration::from_millis),
            max_keys,
        }
    }

    /// Which of these rows are duplicates: offset, time and key of each.
    #[track_caller]
    fn check(spec: &DedupeSpec, rows: &[(u64, i64, u128)], expected: &[u64]) {
        let mut seen = Seen::default();
        let mut found = Vec::new();
        for &(offset, time_ms, key) in rows {
            let at = RowAt::whole(millrace_types::QueueOffset(offset));
            if seen.take(spec, key, at, time_ms) {
                found.push(offset);
            }
            seen.shrink(spec.max_keys);
            assert_eq!(seen.rows.len(), seen.in_order.len());
            assert!(seen.rows.len() <= spec.max_keys);
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_window_counts_offsets_or_time_or_both() {
        let rows = [(0, 0, 1), (1, 100, 2), (2, 200, 1), (5, 500, 1), (9, 900, 1), (10, 2000, 1)];
        check(&spec(Some(3), None, 9), &rows, &[2, 5, 10]);
        check(&spec(Some(2), None, 9), &rows, &[2, 10]);
        check(&spec(None, Some(400), 9), &rows, &[2, 5]);
        check(&spec(None, Some(401), 9), &rows, &[2, 5, 9]);
        check(&spec(Some(3), Some(300), 9), &rows, &[2]);
        // A clock that goes back makes no row older than it is.
        check(&spec(None, Some(10), 9), &[(0, 50, 1), (1, 40, 1), (2, 49, 2), (3, 55, 1)], &[1]);
    }

    #[test]
    fn the_keys_seen_longest_ago_are_forgotten_first() {
        let rows = [(0, 0, 1), (1, 0, 2), (2, 0, 1), (3, 0, 3), (4, 0, 1), (5, 0, 2), (6, 0, 3)];
        check(&spec(Some(100), None, 3), &rows, &[2, 4, 5, 6]);
        check(&spec(Some(100), None, 2), &rows, &[2, 4]);
    }

    /// What a step remembers follows from the rows of its window, wherever it began to read.
    #[test]
    fn whoever_reads_the_window_again_remembers_the_same() {
        let mut rng = crate::rng::Rng::new(7);
        for _ in 0..200 {
            let window = 1 + rng.below(30);
            let within = 1 + rng.below(300);
            let keys_max = 1 + rng.below(20) as usize;
            let spec = match rng.below(3) {
                0 => spec(Some(window), None, keys_max),
                1 => spec(None, Some(within), keys_max),
                _ => spec(Some(window), Some(within), keys_max),
            };
            let mut time = 0;
            let rows: Vec<(RowAt, i64, u128)> = (0..200)
                .map(|offset| {
                    time += rng.below(20) as i64;
                    let at = RowAt::whole(millrace_types::QueueOffset(offset));
                    (at, time, u128::from(rng.below(25)))
                })
                .collect();
            let run = |from: usize, judged: usize| {
                let mut seen = Seen::default();
                let mut fates = Vec::new();
                for (at, time, key) in &rows[from..] {
                    fates.push(seen.take(&spec, *key, *at, *time));
                    seen.shrink(keys_max);
                }
                fates.split_off(judged - from)
            };
            let resumed = rng.below(200) as usize;
            let needed = (0..resumed)
                .find(|row| {
                    let near = spec.offsets.is_none_or(|most| (resumed - row) as u64 <= most);
                    let age = rows[resumed].1 - rows[*row].1;
                    near && spec.within.is_none_or(|within| age < within.as_millis() as i64)
                })
                .unwrap_or(resumed);
            assert_eq!(run(needed, resumed), run(0, resumed));
        }
    }
}
