//! The rows of a batch by partition.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use millrace_connect_api::Reject;

use crate::hive;

/// Sorts rows into partitions. The name of each partition is made once and kept.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    columns: Vec<ColumnKeys>,
    /// By the numbers of a row's values, one for each column: the number of its partition.
    numbers: HashMap<Box<[u32]>, u32>,
    partitions: Vec<Partition>,
    /// Values may differ and have one name, as null and empty text do.
    by_name: HashMap<Arc<str>, u32>,
    /// By partition: the rows of the batch at hand.
    rows: Vec<Vec<u32>>,
}

/// The values of one column, numbered in the order in which they were first seen.
#[derive(Debug)]
struct ColumnKeys {
    name: String,
    texts: HashMap<Box<str>, u32>,
    bits: HashMap<u64, u32>,
    null: Option<u32>,
    /// By number: `name=value`, or `None` if that is too long.
    segments: Vec<Option<String>>,
}

/// The name of a partition, or the column whose value is too long for one.
type Partition = Result<Arc<str>, String>;

/// The selected rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By partition, in the order in which the partitions come in the batch.
    pub(crate) rows: Vec<(Arc<str>, Vec<u32>)>,
    /// Rows that have no partition.
    pub(crate) rejected: Vec<(u32, Reject)>,
}

/// Partitions kept from batch to batch. Beyond it all are forgotten and made anew.
const PARTITIONS_MAX: usize = 16_384;

/// The code of a row whose partition cannot be a directory.
const TOO_LONG: &str = "E-PATH-02";

impl Grouping {
    pub(crate) fn new(partition_by: &[String]) -> Self {
        let columns = partition_by.iter().map(|name| ColumnKeys::new(name)).collect();
        Self { columns, ..Self::default() }
    }

    /// Sorts rows by the values of the columns to partition by.
    pub(crate) fn group(&mut self, columns: &[ArrayRef], selected: Vec<u32>) -> Groups {
        if self.columns.is_empty() {
            let rows = if selected.is_empty() { vec![] } else { vec![("".into(), selected)] };
            return Groups { rows, rejected: Vec::new() };
        }
        if self.numbers.len() > PARTITIONS_MAX {
            let names: Vec<_> = self.columns.drain(..).map(|column| column.name).collect();
            *self = Self::new(&names);
        }
        let numbers: Vec<Vec<u32>> = self
            .columns
            .iter_mut()
            .zip(columns)
            .map(|(keys, column)| keys.number(column, &selected))
            .collect();

        let mut in_order = Vec::new();
        let mut key = vec![0; numbers.len()];
        let mut last: Option<u32> = None;
        for (at, row) in selected.into_iter().enumerate() {
            let mut changed = last.is_none();
            for (value, numbers) in key.iter_mut().zip(&numbers) {
                changed |= *value != numbers[at];
                *value = numbers[at];
            }
            let partition = match last {
                Some(partition) if !changed => partition,
                _ => self.partition(&key),
            };
            last = Some(partition);
            let rows = &mut self.rows[partition as usize];
            if rows.is_empty() {
                in_order.push(partition);
            }
            rows.push(row);
        }

        let mut groups = Groups::default();
        for number in in_order {
            let rows = std::mem::take(&mut self.rows[number as usize]);
            match &self.partitions[number as usize] {
                Ok(partition) => groups.rows.push((Arc::clone(partition), rows)),
                Err(column) => {
                    let reject = too_long(column);
                    groups.rejected.extend(rows.into_iter().map(|row| (row, reject.clone())));
                }
            }
        }
        groups.rejected.sort_unstable_by_key(|(row, _)| *row);
        groups
    }

    /// The number of a partition, by the numbers of its values.
    fn partition(&mut self, key: &[u32]) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            return *number;
        }
        let name = self.name(key);
        let known = name.as_ref().ok().and_then(|name| self.by_name.get(name).copied());
        let number = known.unwrap_or_else(|| {
            let number = self.partitions.len() as u32;
            if let Ok(name) = &name {
                self.by_name.insert(Arc::clone(name), number);
            }
            self.partitions.push(name);
            self.rows.push(Vec::new());
            number
        });
        self.numbers.insert(key.into(), number);
        number
    }

    fn name(&self, key: &[u32]) -> Partition {
        let mut name = String::new();
        for (column, number) in self.columns.iter().zip(key) {
            match &column.segments[*number as usize] {
                Some(segment) if name.len() + segment.len() < hive::PARTITION_BYTES_MAX => {
                    name.push_str(if name.is_empty() { "" } else { "/" });
                    name.push_str(segment);
                }
                _ => return Err(column.name.clone()),
            }
        }
        Ok(name.into())
    }
}

impl ColumnKeys {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            texts: HashMap::new(),
            bits: HashMap::new(),
            null: None,
            segments: Vec::new(),
        }
    }

    /// The number of each row's value.
    fn number(&mut self, column: &ArrayRef, rows: &[u32]) -> Vec<u32> {
        let Self { name, texts, bits: known_bits, null, segments } = self;
        let mut add = |value: Option<&str>| {
            segments.push(hive::segment(name, value));
            (segments.len() - 1) as u32
        };
        if let Some(column) = column.as_string_opt::<i32>() {
            let value = |row| column.is_valid(row).then(|| column.value(row));
            number_runs(rows, value, |_, value| match value {
                None => *null.get_or_insert_with(|| add(None)),
                Some(text) => match texts.get(text) {
                    Some(number) => *number,
                    None => *texts.entry(text.into()).or_insert(add(Some(text))),
                },
            })
        } else {
            let bits = bits_of(column);
            let value = |row| column.is_valid(row).then(|| bits(row));
            number_runs(rows, value, |row, value| match value {
                None => *null.get_or_insert_with(|| add(None)),
                Some(bits) => {
                    *known_bits.entry(bits).or_insert_with(|| add(Some(&text_of(column, row))))
                }
            })
        }
    }
}

/// Numbers values, asking only where one differs from the one before it.
fn number_runs<V: Copy + PartialEq>(
    rows: &[u32],
    value: impl Fn(usize) -> Option<V>,
    mut number: impl FnMut(usize, Option<V>) -> u32,
) -> Vec<u32> {
    let mut last: Option<(Option<V>, u32)> = None;
    let numbers = rows.iter().map(|row| {
        let row = *row as usize;
        let value = value(row);
        let number = match last {
            Some((last, number)) if last == value => number,
            _ => number(row, value),
        };
        last = Some((value, number));
        number
    });
    numbers.collect()
}

/// What tells one value of a column from another.
fn bits_of(column: &ArrayRef) -> Box<dyn Fn(usize) -> u64 + '_> {
    match column.data_type() {
        DataType::Boolean => {
            let column = column.as_boolean();
            Box::new(|row| u64::from(column.value(row)))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().values();
            Box::new(|row| values[row].to_bits())
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().values();
            Box::new(|row| values[row] as u64)
        }
        DataType::Timestamp(..) => {
            let values = column.as_primitive::<TimestampMicrosecondType>().values();
            Box::new(|row| values[row] as u64)
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>().values();
            Box::new(|row| values[row] as u64)
        }
        other => unreachable!("no column of a pipeline is of type {other}"),
    }
}

/// A value as it stands in a path; times as SQL writes them.
fn text_of(column: &ArrayRef, row: usize) -> String {
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Timestamp(..) => {
            let column = column.as_primitive::<TimestampMicrosecondType>();
            let time = column.value_as_datetime(row).map(|time| time.to_string());
            time.unwrap_or_else(|| column.value(row).to_string())
        }
        DataType::Date32 => {
            let column = column.as_primitive::<Date32Type>();
            let date = column.value_as_date(row).map(|date| date.to_string());
            date.unwrap_or_else(|| column.value(row).to_string())
        }
        other => unreachable!("no column of a pipeline is of type {other}"),
    }
}

fn too_long(column: &str) -> Reject {
    Reject {
        code: TOO_LONG,
        error: "the value is too long to be the name of a directory".to_owned(),
        field: Some(column.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[track_caller]
    fn check(
        grouping: &mut Grouping,
        columns: &[ArrayRef],
        rows: &[u32],
        expected: &[(&str, &[u32])],
    ) {
        let groups = grouping.group(columns, rows.to_vec());
        let found: Vec<_> = groups.rows.iter().map(|(name, rows)| (&**name, &rows[..])).collect();
        assert_eq!(found, expected);
        assert_eq!(groups.rejected, []);
    }

    fn grouping(names: &[&str]) -> Grouping {
        Grouping::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_sorted_by_their_values() {
        let days: ArrayRef =
            Arc::new(Date32Array::from(vec![Some(16572), Some(16573), None, Some(16572)]));
        let regions: ArrayRef = Arc::new(StringArray::from(vec!["eu", "eu", "us", "us"]));
        let both = [Arc::clone(&days), Arc::clone(&regions)];
        let mut by_both = grouping(&["day", "region"]);
        for _ in 0..2 {
            check(
                &mut by_both,
                &both,
                &[0, 1, 2, 3],
                &[
                    ("day=2015-05-17/region=eu", &[0]),
                    ("day=2015-05-18/region=eu", &[1]),
                    ("day=__HIVE_DEFAULT_PARTITION__/region=us", &[2]),
                    ("day=2015-05-17/region=us", &[3]),
                ],
            );
        }
        check(&mut by_both, &both, &[3], &[("day=2015-05-17/region=us", &[3])]);
        check(&mut by_both, &both, &[], &[]);
        check(
            &mut grouping(&["region"]),
            &[regions],
            &[0, 1, 3],
            &[("region=eu", &[0, 1]), ("region=us", &[3])],
        );
        check(&mut grouping(&[]), &[], &[1, 3], &[("", &[1, 3])]);
    }

    #[test]
    fn values_of_one_name_are_one_partition() {
        let texts: ArrayRef =
            Arc::new(StringArray::from(vec![None, Some(""), None, Some("a"), Some("")]));
        check(
            &mut grouping(&["t"]),
            &[texts],
            &[0, 1, 2, 3, 4],
            &[("t=__HIVE_DEFAULT_PARTITION__", &[0, 1, 2, 4]), ("t=a", &[3])],
        );
    }

    #[test]
    fn times_are_written_in_utc() {
        let micros = vec![0, 1_431_857_103_250_000];
        let times: ArrayRef =
            Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"));
        check(
            &mut grouping(&["at"]),
            &[times],
            &[0, 1],
            &[("at=1970-01-01%2000%3A00%3A00", &[0]), ("at=2015-05-17%2010%3A05%3A03.250", &[1])],
        );
    }

    #[test]
    fn a_value_too_long_for_a_directory_is_refused() {
        let long = "x".repeat(300);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", &long, "a"]));
        let groups = grouping(&["t"]).group(&[texts], vec![0, 1, 2]);
        assert_eq!(groups.rows, [("t=a".into(), vec![0, 2])]);
        assert_eq!(groups.rejected, [(1, too_long("t"))]);

        let names: Vec<_> = ('a'..='e').map(|name| name.to_string()).collect();
        let wide: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(250)]));
        let groups = Grouping::new(&names).group(&vec![wide; 5], vec![0]);
        assert_eq!(groups.rejected, [(0, too_long("e"))]);
    }
}
