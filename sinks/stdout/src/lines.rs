use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::{RecordBatch, UInt32Array};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{ArrowError, Field, Schema as ArrowSchema, SchemaRef};
use arrow_select::take::take_record_batch;
use millrace_connect_api::{Batch, Column, Schema, Selection, utc_as_offset};

use crate::at_once::Rows;

/// Writes each row as a JSON object on a line of its own, and at once.
pub struct Lines<W> {
    out: W,
    columns: Vec<Column>,
    schema: SchemaRef,
}

/// Rows could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The batch does not have this column.
    #[error("the rows have no column `{name}`")]
    MissingColumn {
        /// Its name.
        name: String,
    },
    /// The rows cannot be put into JSON.
    #[error("cannot encode the rows: {0}")]
    Encode(#[from] ArrowError),
    /// Nobody takes the lines.
    #[error("cannot write lines: {0}")]
    Write(#[from] io::Error),
}

impl<W: Write> Lines<W> {
    /// Lines with these columns.
    pub fn new(out: W, Schema { columns }: Schema) -> Self {
        let field = |column: &Column| Field::new(&column.name, column.data_type.to_arrow(), true);
        let schema = Arc::new(ArrowSchema::new(columns.iter().map(field).collect::<Vec<_>>()));
        Self { out, columns, schema }
    }
}

impl<W: Write + Send> Rows for Lines<W> {
    type Error = LinesError;

    fn write(&mut self, batch: &Batch) -> Result<(), LinesError> {
        if batch.selection().is_empty() {
            return Ok(());
        }
        let column = |column: &Column| {
            let missing = || LinesError::MissingColumn { name: column.name.clone() };
            batch.column(&column.name).cloned().ok_or_else(missing)
        };
        let columns = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        let rows = match batch.selection() {
            Selection::All(_) => rows,
            Selection::Rows(selected) => {
                take_record_batch(&rows, &UInt32Array::from(selected.to_vec()))?
            }
        };
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut lines = builder.build::<_, LineDelimited>(Vec::new());
        lines.write(&utc_as_offset(&rows))?;
        lines.finish()?;
        self.out.write_all(&lines.into_inner())?;
        Ok(self.out.flush()?)
    }
}
