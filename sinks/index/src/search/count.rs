use std::collections::HashMap;

use tantivy::collector::{Collector, SegmentCollector};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DocId, Score, SegmentOrdinal, SegmentReader};

use super::mistake::{self, QueryError};
use crate::mapping::{FieldKind, Mapping};

/// Counts documents by the value of a field.
pub(super) struct CountBy {
    name: String,
    kind: FieldKind,
}

/// The same, within one segment.
pub(super) struct SegmentCount {
    values: Values,
    counts: HashMap<Option<u64>, u64>,
}

enum Values {
    Keyword(Option<StrColumn>),
    Int(Column<i64>),
    Bool(Column<bool>),
}

type Counts = HashMap<Option<String>, u64>;

/// Counts by a field, if that is one whose values can be counted.
pub(super) fn by(mapping: &Mapping, name: &str) -> Result<CountBy, QueryError> {
    let counts =
        |kind: FieldKind| matches!(kind, FieldKind::Keyword | FieldKind::Int | FieldKind::Bool);
    let kind = mistake::known(mapping, name, "count by")?;
    match counts(kind) {
        true => Ok(CountBy { name: name.to_owned(), kind }),
        false => Err(mistake::unsuited(mapping, name, "count by", counts)),
    }
}

impl Collector for CountBy {
    type Fruit = Vec<(Option<String>, u64)>;
    type Child = SegmentCount;

    fn for_segment(
        &self,
        _segment: SegmentOrdinal,
        reader: &SegmentReader,
    ) -> tantivy::Result<SegmentCount> {
        let fields = reader.fast_fields();
        let values = match self.kind {
            FieldKind::Int => Values::Int(fields.i64(&self.name)?),
            FieldKind::Bool => Values::Bool(fields.bool(&self.name)?),
            _ => Values::Keyword(fields.str(&self.name)?),
        };
        Ok(SegmentCount { values, counts: HashMap::new() })
    }

    fn requires_scoring(&self) -> bool {
        false
    }

    fn merge_fruits(&self, segments: Vec<tantivy::Result<Counts>>) -> tantivy::Result<Self::Fruit> {
        let mut all = Counts::new();
        for counts in segments {
            for (value, count) in counts? {
                *all.entry(value).or_default() += count;
            }
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|(value, count), (other, more)| more.cmp(count).then(value.cmp(other)));
        Ok(all)
    }
}

impl SegmentCollector for SegmentCount {
    type Fruit = tantivy::Result<Counts>;

    fn collect(&mut self, document: DocId, _score: Score) {
        let value = match &self.values {
            Values::Keyword(values) => {
                values.as_ref().and_then(|values| values.ords().first(document))
            }
            Values::Int(values) => values.first(document).map(i64::cast_unsigned),
            Values::Bool(values) => values.first(document).map(u64::from),
        };
        *self.counts.entry(value).or_default() += 1;
    }

    fn harvest(self) -> Self::Fruit {
        let Self { values, counts } = self;
        let told = |value: u64| -> tantivy::Result<String> {
            match &values {
                Values::Int(_) => Ok(value.cast_signed().to_string()),
                Values::Bool(_) => Ok((value != 0).to_string()),
                Values::Keyword(values) => {
                    let mut text = String::new();
                    if let Some(values) = values {
                        values.ord_to_str(value, &mut text)?;
                    }
                    Ok(text)
                }
            }
        };
        let counts = counts.into_iter();
        counts.map(|(value, count)| Ok((value.map(told).transpose()?, count))).collect()
    }
}
