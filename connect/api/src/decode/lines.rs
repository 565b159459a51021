use super::columns::Columns;
use super::spec::pick;
use super::{DecodeSpecError, Decoded, Decoder, utf8};
use crate::{Column, DataType, Messages, Reject, Schema, Selection};

/// The body is a line of text.
pub(super) struct LineDecoder {
    schema: Schema,
    columns: Columns,
    wanted: bool,
}

/// What lines have: one column.
pub(super) fn schema() -> Schema {
    let line = Column { name: "line".to_owned(), data_type: DataType::String };
    Schema { columns: vec![line] }
}

impl LineDecoder {
    pub(super) fn new(wanted: &[Column]) -> Result<Self, DecodeSpecError> {
        let schema = schema();
        let picked = pick(wanted, &schema)?;
        Ok(Self { schema, columns: Columns::new(wanted), wanted: !picked.is_empty() })
    }
}

impl Decoder for LineDecoder {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn decode(&mut self, messages: &Messages, selection: &Selection) -> Decoded {
        let (columns, wanted) = (&mut self.columns, self.wanted);
        super::decode_rows(messages, selection, columns, |message, columns| {
            let line = utf8(message.body)?;
            if wanted && !columns.text(0, |bytes| bytes.extend_from_slice(line.as_bytes())) {
                return Err(super::too_much_text("line"));
            }
            Ok(())
        })
    }

    fn check(&mut self, body: &[u8]) -> Result<(), Reject> {
        utf8(body).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_messages::{columns, messages, rows};
    use super::super::{DecodeSpec, code};
    use super::*;

    #[test]
    fn a_line_is_a_row() {
        let wanted = columns(&[("line", DataType::String)]);
        let mut decoder = DecodeSpec::Lines.decoder(&wanted).expect("the one column");
        let lines: [&[u8]; 4] = [b"one", b"", b"\xff", "drei – 三".as_bytes()];
        let decoded = decoder.decode(&messages(&lines), &Selection::All(4));
        assert_eq!(rows(&decoded), ["one", "", "E-DECODE-07 -", "drei – 三"]);
        assert_eq!(decoder.check(b"\xff").unwrap_err().code, code::NOT_UTF8);
        assert_eq!(decoder.check(b"fine"), Ok(()));
    }

    #[test]
    fn there_is_only_one_column() {
        assert_eq!(DecodeSpec::Lines.known_schema(), Some(schema()));
        let error =
            |name, data_type| DecodeSpec::Lines.decoder(&columns(&[(name, data_type)])).err();
        assert!(matches!(
            error("text", DataType::String),
            Some(DecodeSpecError::UnknownColumn { .. })
        ));
        assert!(matches!(error("line", DataType::Int), Some(DecodeSpecError::WrongType { .. })));
    }
}
