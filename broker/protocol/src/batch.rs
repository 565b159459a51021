use crate::json::BodyError;
use crate::wire::{Reader, push_bytes32};

/// Bytes of an item besides its body and properties.
const ITEM_FIXED_BYTES: usize = 22;

/// One message of a producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchItem<'a> {
    /// The producer's own flag.
    pub flag: i32,
    /// The payload.
    pub body: &'a [u8],
    /// Encoded as in a record.
    pub properties: &'a [u8],
}

/// The items of a batch, in order. Ends with an error at the first bytes that are not an item.
///
/// | bytes | field                    |
/// |-------|--------------------------|
/// | 4     | size, counts itself      |
/// | 4     | magic, 0                 |
/// | 4     | body CRC, 0              |
/// | 4     | flag                     |
/// | 4 + n | body                     |
/// | 2 + n | properties               |
///
/// Source: `MessageDecoder.encodeMessage`, Apache RocketMQ 5.3.
pub fn batch_items(body: &[u8]) -> impl Iterator<Item = Result<BatchItem<'_>, BodyError>> {
    let mut reader = Reader::new(body);
    std::iter::from_fn(move || {
        if reader.is_empty() {
            return None;
        }
        let item = read_item(&mut reader);
        if item.is_none() {
            reader = Reader::new(&[]);
        }
        Some(item.ok_or(BodyError::Lengths))
    })
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Option<BatchItem<'a>> {
    let size = reader.u32()? as usize;
    let mut fields = Reader::new(reader.take(size.checked_sub(4)?)?);
    let (_magic, _crc) = (fields.u32()?, fields.u32()?);
    let flag = fields.i32()?;
    let body = fields.bytes32()?;
    let properties_len = usize::try_from(fields.i16()?).ok()?;
    let properties = fields.take(properties_len)?;
    fields.is_empty().then_some(BatchItem { flag, body, properties })
}

/// Appends one item.
///
/// # Panics
///
/// If the properties are longer than 32,767 bytes, which no record can hold.
pub fn push_batch_item(item: &BatchItem<'_>, out: &mut Vec<u8>) {
    let properties_len = i16::try_from(item.properties.len()).expect("properties fit a record");
    let size = ITEM_FIXED_BYTES + item.body.len() + item.properties.len();
    let size = u32::try_from(size).expect("a batch is far below 4 GiB");
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&item.flag.to_be_bytes());
    push_bytes32(out, item.body);
    out.extend_from_slice(&properties_len.to_be_bytes());
    out.extend_from_slice(item.properties);
}

#[cfg(test)]
mod tests;
