use millrace_connect_api::{Column, DataType};

use super::names::{Scope, known};
use crate::code;
use crate::parse;
use crate::read::{Entry, Reader};
use crate::suggest::nearest;
use crate::text::Span;

/// The columns that a file can have.
pub(super) struct Available {
    pub(super) columns: Vec<(String, Option<DataType>)>,
    /// Those that can be suggested.
    names: Vec<String>,
    /// There may be others; a mistake elsewhere hides them.
    pub(super) open: bool,
}

impl Available {
    /// Those of this point of the pipeline.
    pub(super) fn of(scope: &Scope) -> Self {
        let (columns, open) = scope.file_columns();
        let names = columns.iter().map(|(name, _)| name);
        let names = names.filter(|name| scope.is_legal(name)).cloned().collect();
        Self { columns, names, open }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Column> {
        self.columns.iter().map(|(name, data_type)| column(name, *data_type)).collect()
    }

    /// A column by its name, with or without `body.`.
    pub(super) fn find(&self, written: &str) -> Option<&(String, Option<DataType>)> {
        self.columns.iter().find(|(name, _)| *name == written).or_else(|| {
            let name = written.strip_prefix("body.")?;
            self.columns.iter().find(|(known, _)| known == name)
        })
    }

    /// Reports a column that is not there.
    pub(super) fn refuse(&self, reader: &mut Reader<'_>, written: &str, span: &Span) {
        let names = || self.names.iter().map(String::as_str);
        let near = nearest(written, names()).map(str::to_owned);
        let message = format!("unknown column `{written}`");
        reader.error(code::COLUMN_UNKNOWN, span, message, known(near, names()));
    }
}

/// A column of unknown type stands for one with a mistake, and then there will be no pipeline.
fn column(name: &str, data_type: Option<DataType>) -> Column {
    Column { name: name.to_owned(), data_type: data_type.unwrap_or(DataType::String) }
}

/// The column that a key or an item names; a mistake is reported.
pub(super) fn named(
    reader: &mut Reader<'_>,
    written: &str,
    span: &Span,
    available: &Available,
) -> Option<Column> {
    match available.find(written) {
        Some((name, data_type)) => Some(column(name, *data_type)),
        None if available.open => {
            Some(column(written.strip_prefix("body.").unwrap_or(written), None))
        }
        None => {
            available.refuse(reader, written, span);
            None
        }
    }
}

/// The columns of a list that there are.
pub(super) struct Listed {
    pub(super) columns: Vec<Column>,
    /// There is no mistake in the list.
    pub(super) whole: bool,
}

/// Reads a list of columns.
pub(super) fn columns(reader: &mut Reader<'_>, entry: &Entry<'_>, available: &Available) -> Listed {
    let Some(items) = reader.items(entry) else {
        return Listed { columns: Vec::new(), whole: false };
    };
    let mut columns: Vec<Column> = Vec::new();
    for item in &items {
        let Some(written) = reader.scalar(item, parse::text) else {
            continue;
        };
        let span = &item.node.span;
        let found = available.find(&written);
        let name = match found {
            Some((name, _)) => name,
            None => written.strip_prefix("body.").unwrap_or(&written),
        };
        match found {
            _ if columns.iter().any(|column| column.name == name) => {
                let message = format!("`{written}` is listed twice");
                reader.error(code::COLUMN_TWICE, span, message, "delete one of the two");
            }
            Some((name, data_type)) => columns.push(column(name, *data_type)),
            None if available.open => columns.push(column(name, None)),
            None => available.refuse(reader, &written, span),
        }
    }
    Listed { whole: columns.len() == items.len(), columns }
}
