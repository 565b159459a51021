use regex::{CaptureLocations, Regex};

use super::columns::Columns;
use super::spec::pick;
use super::text::{TextColumn, Value};
use super::{DecodeSpecError, Decoded, Decoder, RegexSpec, TimeFormat, code, too_much_text, utf8};
use crate::{Column, DataType, Messages, Reject, Schema, Selection};

/// The body is a line of text that a pattern takes apart.
pub(super) struct RegexDecoder {
    schema: Schema,
    columns: Columns,
    lines: LinePattern,
}

/// The pattern and what is taken from it.
struct LinePattern {
    pattern: Regex,
    found: CaptureLocations,
    null: Option<String>,
    groups: Vec<Group>,
}

/// One wanted group.
struct Group {
    /// Its number in the pattern.
    index: usize,
    column: TextColumn,
}

/// The groups of a pattern in order, with their types.
pub(super) fn schema(spec: &RegexSpec, pattern: &Regex) -> Result<Schema, DecodeSpecError> {
    let names: Vec<_> = pattern.capture_names().flatten().map(str::to_owned).collect();
    if names.is_empty() {
        return Err(DecodeSpecError::NoGroups);
    }
    let time_group = spec.time.as_ref().map(|(group, _)| group);
    for name in spec.types.iter().map(|column| &column.name).chain(time_group) {
        if !names.contains(name) {
            return Err(DecodeSpecError::UnknownGroup { name: name.clone(), known: names });
        }
    }
    let declared = Schema { columns: spec.types.clone() };
    for (index, column) in spec.types.iter().enumerate() {
        if spec.types[..index].iter().any(|earlier| earlier.name == column.name) {
            return Err(DecodeSpecError::Twice { name: column.name.clone() });
        }
    }
    let columns = names.into_iter().map(|name| {
        let declared = declared.column(&name).map(|column| column.data_type);
        let data_type = match (declared, time_group == Some(&name)) {
            (None | Some(DataType::Timestamp), true) => DataType::Timestamp,
            (Some(_), true) => return Err(DecodeSpecError::NotATime { name }),
            (declared, false) => declared.unwrap_or(DataType::String),
        };
        Ok(Column { name, data_type })
    });
    Ok(Schema { columns: columns.collect::<Result<_, _>>()? })
}

impl RegexDecoder {
    pub(super) fn new(spec: &RegexSpec, wanted: &[Column]) -> Result<Self, DecodeSpecError> {
        let pattern = Regex::new(&spec.pattern).map_err(DecodeSpecError::Pattern)?;
        let schema = schema(spec, &pattern)?;
        pick(wanted, &schema)?;
        let mut time = None;
        if let Some((name, format)) = &spec.time {
            let format = TimeFormat::parse(format)
                .map_err(|source| DecodeSpecError::TimeFormat { name: name.clone(), source })?;
            time = Some((name, format));
        }
        let groups = wanted.iter().map(|column| {
            let mut names = pattern.capture_names();
            let index = names.position(|name| name == Some(column.name.as_str()));
            let time = time.as_ref().filter(|(group, _)| **group == column.name);
            Group {
                index: index.expect("`pick` found it in the schema, which is made of the names"),
                column: TextColumn::new(column, time.map(|(_, format)| format.clone())),
            }
        });
        let groups = groups.collect();
        let found = pattern.capture_locations();
        let lines = LinePattern { pattern, found, null: spec.null.clone(), groups };
        Ok(Self { schema, columns: Columns::new(wanted), lines })
    }
}

impl Decoder for RegexDecoder {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded {
        let lines = &mut self.lines;
        super::decode_rows(messages, selection, &mut self.columns, |message, columns| {
            lines.take_apart(message.body, |group, value| value.put(columns, group))
        })
    }

    fn check(&mut self, body: &[u8]) -> Result<(), Reject> {
        self.lines.take_apart(body, |_, _| true)
    }
}

impl LinePattern {
    /// Hands each group that has a value to `put`, which says whether there was room for it.
    fn take_apart(
        &mut self,
        body: &[u8],
        mut put: impl FnMut(usize, Value<'_>) -> bool,
    ) -> Result<(), Reject> {
        let line = utf8(body)?;
        if self.pattern.captures_read(&mut self.found, line).is_none() {
            let error = "the line does not match the pattern".to_owned();
            return Err(Reject { code: code::NO_MATCH, error, field: None });
        }
        for (column, group) in self.groups.iter().enumerate() {
            let Some((start, end)) = self.found.get(group.index) else {
                continue;
            };
            let text = &line[start..end];
            if self.null.as_deref() == Some(text) {
                continue;
            }
            let value = group.column.value(text)?;
            if !put(column, value) {
                return Err(too_much_text(group.column.name()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
