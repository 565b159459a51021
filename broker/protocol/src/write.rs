use crate::header::{ONEWAY, RESPONSE, VERSION};
use crate::json::push_text;
use crate::wire::push_decimal;
use crate::{FieldWriter, HeaderKind, Language, RequestCode};

/// Remarks are for people; one that quotes a peer's input must not fill a header.
const REMARK_BYTES_MAX: usize = 4096;
const HEADER_BYTES_MAX: usize = (1 << 24) - 1;

/// The part of a header that does not depend on the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// How to write it.
    pub kind: HeaderKind,
    /// The request's code, or the response's.
    pub code: i32,
    /// Which language to claim; ours is [`Language::RUST`].
    pub language: Language,
    /// Which version to claim; ours is [`VERSION`].
    pub version: i32,
    /// Correlates a response with its request.
    pub opaque: i32,
    /// The raw flag.
    pub flag: i32,
    /// An error text; empty for none. Cut after 4 KiB.
    pub remark: &'a str,
}

impl<'a> Head<'a> {
    /// The head of a request from us.
    pub fn request(kind: HeaderKind, code: RequestCode, opaque: i32, mode: CallMode) -> Self {
        let flag = match mode {
            CallMode::Answered => 0,
            CallMode::Oneway => ONEWAY,
        };
        Self {
            kind,
            code: code.0,
            language: Language::RUST,
            version: VERSION,
            opaque,
            flag,
            remark: "",
        }
    }

    /// The head of an answer from us.
    pub fn answer(kind: HeaderKind, code: i32, opaque: i32, remark: &'a str) -> Self {
        let language = Language::RUST;
        Self { kind, code, language, version: VERSION, opaque, flag: RESPONSE, remark }
    }
}

/// Whether a request wants an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallMode {
    /// Exactly one.
    Answered,
    /// None, not even an error.
    Oneway,
}

/// A frame being appended to a buffer: first the header, then the body, then the lengths.
///
/// ```text
/// let frame = FrameWriter::begin(out, &head, |fields| fields.int("offset", 5));
/// frame.out().extend_from_slice(body);
/// frame.finish();
/// ```
#[must_use = "the frame's lengths are written by `finish`"]
pub struct FrameWriter<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
}

impl<'o> FrameWriter<'o> {
    /// Writes the header.
    pub fn begin(
        out: &'o mut Vec<u8>,
        head: &Head<'_>,
        fields: impl FnOnce(&mut FieldWriter<'_>),
    ) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; 8]);
        let kind = match head.kind {
            HeaderKind::Json => {
                json_header(out, head, fields);
                0
            }
            HeaderKind::Binary => {
                binary_header(out, head, fields);
                1
            }
        };
        let len = out.len() - start - 8;
        // Everything a header echoes came in a frame that was itself bounded.
        assert!(len <= HEADER_BYTES_MAX, "a header of {len} bytes");
        let word = (kind << 24) | len as u32;
        out[start + 4..start + 8].copy_from_slice(&word.to_be_bytes());
        Self { out, start }
    }

    /// Where the body goes.
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Ends the frame after a body that was appended to [`FrameWriter::out`], or after none.
    pub fn finish(self) {
        self.finish_with(0);
    }

    /// Ends the frame, counting `body_len` bytes that the caller sends after the buffer.
    pub fn finish_with(self, body_len: usize) {
        let len = self.out.len() - self.start - 4 + body_len;
        let len = u32::try_from(len).expect("the caller bounds bodies far below 4 GiB");
        self.out[self.start..self.start + 4].copy_from_slice(&len.to_be_bytes());
    }
}

/// Members in the order Java writes them.
fn json_header(out: &mut Vec<u8>, head: &Head<'_>, fields: impl FnOnce(&mut FieldWriter<'_>)) {
    out.extend_from_slice(b"{\"code\":");
    push_decimal(out, i64::from(head.code));
    // Java takes the fields of a send's answer for granted, so they are written even if empty.
    out.extend_from_slice(b",\"extFields\":{");
    fields(&mut FieldWriter::new(out, HeaderKind::Json));
    out.extend_from_slice(b"},\"flag\":");
    push_decimal(out, i64::from(head.flag));
    out.extend_from_slice(b",\"language\":\"");
    out.extend_from_slice(head.language.name().as_bytes());
    out.extend_from_slice(b"\",\"opaque\":");
    push_decimal(out, i64::from(head.opaque));
    if !head.remark.is_empty() {
        out.extend_from_slice(b",\"remark\":");
        push_text(out, cut(head.remark));
    }
    out.extend_from_slice(b",\"version\":");
    push_decimal(out, i64::from(head.version));
    out.push(b'}');
}

fn binary_header(out: &mut Vec<u8>, head: &Head<'_>, fields: impl FnOnce(&mut FieldWriter<'_>)) {
    // The layout has 16 bits for these two; RocketMQ truncates as well.
    out.extend_from_slice(&(head.code as i16).to_be_bytes());
    out.push(head.language.0);
    out.extend_from_slice(&(head.version as i16).to_be_bytes());
    out.extend_from_slice(&head.opaque.to_be_bytes());
    out.extend_from_slice(&head.flag.to_be_bytes());
    crate::wire::push_bytes32(out, cut(head.remark).as_bytes());
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    fields(&mut FieldWriter::new(out, HeaderKind::Binary));
    let len = u32::try_from(out.len() - at - 4).expect("a header is below 16 MiB");
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

fn cut(remark: &str) -> &str {
    &remark[..remark.floor_char_boundary(REMARK_BYTES_MAX)]
}

/// A request that can be written.
pub trait Call {
    /// Its code.
    fn code(&self) -> RequestCode;

    /// Its header fields.
    fn fields(&self, to: &mut FieldWriter<'_>);

    /// Its body; none unless said otherwise.
    fn body(&self, _out: &mut Vec<u8>) {}

    /// Appends the whole frame.
    fn write(&self, kind: HeaderKind, opaque: i32, mode: CallMode, out: &mut Vec<u8>) {
        let head = Head::request(kind, self.code(), opaque, mode);
        let mut frame = FrameWriter::begin(out, &head, |to| self.fields(to));
        self.body(frame.out());
        frame.finish();
    }
}

#[cfg(test)]
mod tests;
