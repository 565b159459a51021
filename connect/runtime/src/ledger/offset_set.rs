use std::collections::BTreeMap;

use millrace_types::QueueOffset;
use serde::{Deserialize, Serialize};

/// Offsets of one queue. In JSON the ranges that they form, ascending: `[[0,3],[7,8]]`, without
/// their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub struct OffsetSet(BTreeMap<u64, u64>);

impl OffsetSet {
    /// Whether none is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are in it.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|(from, to)| to - from).sum()
    }

    /// Whether this one is in it.
    pub fn contains(&self, offset: QueueOffset) -> bool {
        self.0.range(..=offset.0).next_back().is_some_and(|(_, to)| offset.0 < *to)
    }

    /// Adds all of another one.
    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(from, to)| self.add_range(*from, *to));
    }

    fn add_range(&mut self, mut from: u64, mut to: u64) {
        if from >= to {
            return;
        }
        if let Some((before, end)) = self.0.range(..from).next_back()
            && *end >= from
        {
            from = *before;
        }
        while let Some((&next, &end)) = self.0.range(from..=to).next() {
            self.0.remove(&next);
            to = to.max(end);
        }
        self.0.insert(from, to);
    }
}

impl FromIterator<QueueOffset> for OffsetSet {
    fn from_iter<I: IntoIterator<Item = QueueOffset>>(offsets: I) -> Self {
        let mut set = Self::default();
        offsets.into_iter().for_each(|offset| set.add_range(offset.0, offset.0 + 1));
        set
    }
}

impl From<Vec<(u64, u64)>> for OffsetSet {
    fn from(ranges: Vec<(u64, u64)>) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|(from, to)| set.add_range(from, to));
        set
    }
}

impl From<OffsetSet> for Vec<(u64, u64)> {
    fn from(set: OffsetSet) -> Self {
        set.0.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_set_is_what_was_added() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let (mut set, mut model) = (OffsetSet::default(), BTreeSet::new());
            for _ in 0..rng.below(20) {
                let from = rng.below(40);
                let to = from + rng.below(6);
                set.add(&OffsetSet::from(vec![(from, to)]));
                model.extend(from..to);
            }
            for offset in 0..50 {
                let expected = model.contains(&offset);
                assert_eq!(set.contains(QueueOffset(offset)), expected, "seed {seed}: {offset}");
            }
            assert_eq!(set.len(), model.len() as u64, "seed {seed}");
            // The ranges are as few as they can be, so equal sets are the same bytes.
            let one_by_one: OffsetSet = model.into_iter().map(QueueOffset).collect();
            assert_eq!(set, one_by_one, "seed {seed}");
            let json = serde_json::to_string(&set).unwrap();
            assert_eq!(serde_json::from_str::<OffsetSet>(&json).unwrap(), set, "seed {seed}");
        }
    }

    #[test]
    fn ranges_that_nobody_wrote_do_no_harm() {
        let read: OffsetSet = serde_json::from_str("[[9,3],[5,7],[0,6]]").unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), "[[0,7]]");
    }
}
