use std::ops::Range;
use std::sync::Arc;

use millrace_config::{OnMissing, SplitSpec};
use millrace_connect_api::decode::{Array, Elements, Taken};
use millrace_connect_api::{
    Batch, Messages, Piece, PieceBody, Reject, RejectCode, Selection, Step, StepError,
};

/// There is no array where one should be.
const NO_ARRAY: RejectCode = "E-SPLIT-01";
/// An array would become more rows, or more bytes, than it may.
const TOO_MUCH: RejectCode = "E-SPLIT-02";
/// An element that cannot be a row.
const ELEMENT: RejectCode = "E-SPLIT-03";

/// Bytes that the rows of one message may take together: each has a copy of what it keeps.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Makes a row of each element of an array.
pub(crate) struct Split {
    name: String,
    spec: SplitSpec,
    elements: Elements,
    /// What comes before each kept value: its key as JSON, and a colon.
    keys: Vec<String>,
    /// The same for the element, if it has a name.
    element_key: Option<String>,
    bytes_max: usize,
    message_bytes_max: usize,
    made: u64,
    empty: u64,
    missing: u64,
}

/// What becomes of a batch.
#[derive(Default)]
struct Made {
    pieces: Vec<Piece>,
    /// Of these, the ones that go on.
    kept: Vec<u32>,
    bytes: Vec<u8>,
}

impl Split {
    /// `bytes_max` is what it may make of one batch.
    pub(crate) fn new(name: String, spec: &SplitSpec, bytes_max: u64) -> Self {
        let key = |name: &str| format!("{}:", serde_json::Value::from(name));
        let kept = spec.keep.iter().map(|kept| &kept.path[..]);
        let bytes_max = bytes_max.min(Messages::CHANGED_BYTES_MAX) as usize;
        Self {
            name,
            elements: Elements::new(&spec.path, kept, spec.max),
            keys: spec.keep.iter().map(|kept| key(&kept.name)).collect(),
            element_key: spec.as_.as_deref().map(key),
            spec: spec.clone(),
            bytes_max,
            message_bytes_max: MESSAGE_BYTES_MAX.min(bytes_max),
            made: 0,
            empty: 0,
            missing: 0,
        }
    }

    /// Takes one message apart; answers why that cannot be.
    fn split(
        &mut self,
        row: usize,
        body: &[u8],
        made: &mut Made,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<(), Reject> {
        let Taken { array, fields } = self.elements.find(body)?;
        let elements = match array {
            Array::Elements(elements) => elements,
            Array::Missing if self.spec.on_missing == OnMissing::Reject => {
                self.missing += 1;
                return Ok(());
            }
            Array::Missing => return Err(self.no_array("there is none")),
            Array::Other(at) => {
                let found = match body[at] {
                    b'{' => "there is an object",
                    b'"' => "there is a string",
                    b't' | b'f' => "there is a bool",
                    _ => "there is a number",
                };
                return Err(self.no_array(found));
            }
            Array::TooMany(count) => {
                let max = self.spec.max;
                return Err(too_much(format!("{count} elements, and `max` is {max}")));
            }
        };
        if elements.is_empty() {
            self.empty += 1;
            return Ok(());
        }
        let head = self.head(body, &fields);
        let each = head.len() + self.element_key.as_ref().map_or(0, String::len) + 2;
        let bytes = elements.iter().map(|element| each + element.len()).sum::<usize>();
        if !self.is_plain() && bytes > self.message_bytes_max {
            let max = self.message_bytes_max;
            return Err(too_much(format!(
                "{} rows of {bytes} bytes together, and at most {max} bytes are made of a message",
                elements.len()
            )));
        }
        self.made += elements.len() as u64 - 1;
        for (index, element) in elements.into_iter().enumerate() {
            let number = made.pieces.len() as u32;
            let is_row = self.element_key.is_some() || body[element.start] == b'{';
            let body = match is_row {
                true => self.body(body, element, &head, made),
                false => {
                    let error = format!("element {index} is no object, and `as` gives it no name");
                    rejects.push((number, Reject { code: ELEMENT, error, field: None }));
                    PieceBody::Within(element)
                }
            };
            if is_row {
                made.kept.push(number);
            }
            made.pieces.push(Piece { row, index: Some(index as u32), body, properties: None });
        }
        Ok(())
    }

    /// Whether the element alone is the row, so that nothing is copied.
    fn is_plain(&self) -> bool {
        self.keys.is_empty() && self.element_key.is_none()
    }

    /// The members that all rows of a message have, each with a comma behind it.
    fn head(&self, body: &[u8], fields: &[Option<Range<usize>>]) -> Vec<u8> {
        let mut head = Vec::new();
        for (key, value) in self.keys.iter().zip(fields) {
            if let Some(value) = value {
                head.extend_from_slice(key.as_bytes());
                head.extend_from_slice(&body[value.clone()]);
                head.push(b',');
            }
        }
        head
    }

    fn body(&self, body: &[u8], element: Range<usize>, head: &[u8], made: &mut Made) -> PieceBody {
        if self.is_plain() {
            return PieceBody::Within(element);
        }
        let begin = made.bytes.len();
        made.bytes.push(b'{');
        match &self.element_key {
            Some(key) => {
                made.bytes.extend_from_slice(head);
                made.bytes.extend_from_slice(key.as_bytes());
                made.bytes.extend_from_slice(&body[element]);
                made.bytes.push(b'}');
            }
            None => {
                let members = &body[element.start + 1..element.end];
                let is_empty = members.trim_ascii_start().starts_with(b"}");
                // The last comma stands before no member then.
                let head = if is_empty { head.strip_suffix(b",").unwrap_or(head) } else { head };
                made.bytes.extend_from_slice(head);
                made.bytes.extend_from_slice(members);
            }
        }
        PieceBody::New(begin..made.bytes.len())
    }

    fn no_array(&self, found: &str) -> Reject {
        let path = self.spec.path.join(".");
        let place = if path.is_empty() { "the body".to_owned() } else { format!("`body.{path}`") };
        let error = format!("{place} should be an array, and {found}");
        Reject { code: NO_ARRAY, error, field: Some(path).filter(|path| !path.is_empty()) }
    }
}

fn too_much(what: String) -> Reject {
    Reject { code: TOO_MUCH, error: format!("the array would become {what}"), field: None }
}

impl Step for Split {
    fn apply(
        &mut self,
        batch: Batch,
        rejects: &mut Vec<(u32, Reject)>,
    ) -> Result<Batch, StepError> {
        let messages = batch.messages();
        let mut made = Made::default();
        for row in batch.selection().iter() {
            if let Err(reject) = self.split(row, messages.get(row).body, &mut made, rejects) {
                rejects.push((made.pieces.len() as u32, reject));
                let (body, properties) = (PieceBody::Same, None);
                made.pieces.push(Piece { row, index: None, body, properties });
            }
            if made.bytes.len() > self.bytes_max {
                let reason = format!(
                    "it makes more than {} bytes of one batch; keep less of each message, or raise \
                     `limits.memory`",
                    self.bytes_max
                );
                return Err(StepError::Failed { step: self.name.clone(), reason });
            }
        }
        let pieces = messages.in_pieces(made.bytes.into(), made.pieces);
        let selection = Selection::Rows(made.kept.into());
        Ok(Batch::new(Arc::new(pieces)).with_selection(selection))
    }

    fn made(&self) -> u64 {
        self.made
    }

    fn filtered(&self) -> Vec<(&'static str, u64)> {
        vec![("empty", self.empty), ("missing", self.missing)]
    }
}
