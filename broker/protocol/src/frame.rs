use bytes::{Bytes, BytesMut};

use crate::{Header, HeaderError};

/// The length field and the word that holds the header's kind and length.
const PREFIX_BYTES: usize = 8;

/// How a header is written. An answer uses the kind of its request, because some clients read
/// only the one they write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderKind {
    /// A JSON object; what clients send unless told otherwise. Serialize type 0.
    #[default]
    Json,
    /// RocketMQ's own layout. Serialize type 1.
    Binary,
}

/// What a peer may make us keep in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest frame, its length field included. Java peers close the connection above
    /// 16 MiB, whichever side sends it.
    pub frame_bytes_max: usize,
    /// The longest header.
    pub header_bytes_max: usize,
}

impl Default for Limits {
    /// 16 MiB per frame; 4 MiB per header, because the answer to a large batch names every
    /// message in its header.
    fn default() -> Self {
        Self { frame_bytes_max: 16 << 20, header_bytes_max: 4 << 20 }
    }
}

impl Limits {
    /// For bytes that come from clients: the longest header is then that of a send whose
    /// properties JSON escapes, six bytes for one.
    pub fn for_requests() -> Self {
        Self { header_bytes_max: 256 << 10, ..Self::default() }
    }
}

/// Why bytes cannot be cut into frames. The connection has lost its place and must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More than [`Limits::frame_bytes_max`].
    #[error("a frame of {len} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// Bytes announced.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// More than [`Limits::header_bytes_max`].
    #[error("a header of {len} bytes exceeds the limit of {max} bytes")]
    HeaderTooLarge {
        /// Bytes announced.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The header is longer than its frame, or the frame shorter than its own fields.
    #[error("the lengths in the frame do not fit together")]
    Lengths,
    /// Neither JSON nor binary.
    #[error("unknown serialize type {0}")]
    HeaderKind(u8),
}

/// One frame, borrowed from the bytes it came in.
///
/// | bytes | field                                                     |
/// |-------|-----------------------------------------------------------|
/// | 4     | bytes that follow this field                              |
/// | 1     | serialize type: 0 JSON, 1 binary                          |
/// | 3     | header length                                             |
/// | n     | header                                                    |
/// | rest  | body                                                      |
///
/// Source: `NettyDecoder.java` and `RemotingCommand.java`, Apache RocketMQ 5.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// How `header` is written.
    pub header_kind: HeaderKind,
    /// The header, not looked into yet.
    pub header: &'a [u8],
    /// The body; empty and absent are the same.
    pub body: &'a [u8],
}

/// What lies at the front of a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split<'a> {
    /// A whole frame, and how many bytes it took.
    Frame(Frame<'a>, usize),
    /// The start of a frame: at least this many more bytes are needed.
    Partial(usize),
}

impl<'a> Frame<'a> {
    /// Cuts the first frame off `bytes`. Looks at lengths only.
    pub fn split(bytes: &'a [u8], limits: &Limits) -> Result<Split<'a>, FrameError> {
        let Some((&length, after_length)) = bytes.split_first_chunk::<4>() else {
            return Ok(Split::Partial(PREFIX_BYTES - bytes.len()));
        };
        let length = u32::from_be_bytes(length) as usize;
        if length > limits.frame_bytes_max.saturating_sub(4) {
            return Err(FrameError::TooLarge {
                len: length.saturating_add(4),
                max: limits.frame_bytes_max,
            });
        }
        if length < PREFIX_BYTES - 4 {
            return Err(FrameError::Lengths);
        }
        let Some((&[kind, header_len @ ..], _)) = after_length.split_first_chunk::<4>() else {
            return Ok(Split::Partial(length - after_length.len()));
        };
        let header_kind = match kind {
            0 => HeaderKind::Json,
            1 => HeaderKind::Binary,
            other => return Err(FrameError::HeaderKind(other)),
        };
        let [high, middle, low] = header_len;
        let header_len = u32::from_be_bytes([0, high, middle, low]) as usize;
        if header_len > limits.header_bytes_max {
            return Err(FrameError::HeaderTooLarge {
                len: header_len,
                max: limits.header_bytes_max,
            });
        }
        if header_len > length - 4 {
            return Err(FrameError::Lengths);
        }
        let Some(frame) = after_length.get(4..length) else {
            return Ok(Split::Partial(length - after_length.len()));
        };
        let (header, body) = frame.split_at(header_len);
        Ok(Split::Frame(Self { header_kind, header, body }, length + 4))
    }

    /// Reads the header, leaving its fields as bytes.
    pub fn header(&self) -> Result<Header<'a>, HeaderError> {
        Header::decode(self.header_kind, self.header)
    }
}

/// One frame that owns its bytes; the body can be kept without copying it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameBuf {
    header_kind: HeaderKind,
    header: Bytes,
    body: Bytes,
}

impl FrameBuf {
    /// Takes the first frame out of `buffer`, or nothing if it is not complete yet.
    pub fn split(buffer: &mut BytesMut, limits: &Limits) -> Result<Option<Self>, FrameError> {
        let (header_kind, header_len, total) = match Frame::split(buffer, limits)? {
            Split::Frame(frame, total) => (frame.header_kind, frame.header.len(), total),
            Split::Partial(_) => return Ok(None),
        };
        let mut bytes = buffer.split_to(total).freeze().split_off(PREFIX_BYTES);
        let body = bytes.split_off(header_len);
        Ok(Some(Self { header_kind, header: bytes, body }))
    }

    /// The frame as a view.
    pub fn view(&self) -> Frame<'_> {
        Frame { header_kind: self.header_kind, header: &self.header, body: &self.body }
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body, letting go of the header.
    pub fn into_body(self) -> Bytes {
        self.body
    }
}

#[cfg(test)]
mod tests;
