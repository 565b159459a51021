mod field; // one value
mod json; // text and numbers as JSON
mod random; // numbers from a seed, a record and a field

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_connect_api::{
    Chunk, Origin, Polled, Position, Source, SourceCursor, SourceError, Span,
};

use crate::checksum::Checksum;
use field::Field;

pub use field::FieldGen;

/// A chunk ends after so many bytes even if it has fewer records than asked for.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Which records a [`GenerateSource`] makes up.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateOptions {
    /// How many.
    pub count: u64,
    /// Other seeds give other records.
    pub seed: u64,
    /// The fields of each record, in order.
    pub fields: Vec<(String, FieldGen)>,
    /// Numbers of records, from 0, that are cut off in the middle, so that they are no JSON.
    pub corrupt_at: Vec<u64>,
    /// Records given at a time, at least one.
    pub chunk_records: usize,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { count: 0, seed: 0, fields: Vec::new(), corrupt_at: Vec::new(), chunk_records: 1000 }
    }
}

/// Makes up JSON objects, one for each record number.
///
/// A record depends on the seed, the fields and its number and on nothing else, so two runs give
/// the same bytes and a run can go on anywhere. Offset and line of a [`Position`] are both the
/// record's number.
///
/// The origin is named `generate-` and a checksum of seed, fields and cut records. `count` and
/// `chunk_records` are left out of it, because they change no record: who raises the count and
/// starts again gets the additional ones.
#[derive(Debug)]
pub struct GenerateSource {
    origin: Arc<Origin>,
    seed: u64,
    count: u64,
    chunk_records: usize,
    fields: Vec<Field>,
    /// Sorted.
    corrupt_at: Vec<u64>,
    next: u64,
    /// Bytes of the last chunk, to make room for as many in the next.
    usual: usize,
}

impl GenerateSource {
    /// Prepares to go on after what `resume` says has been given.
    pub fn open(options: GenerateOptions, resume: Vec<SourceCursor>) -> Result<Self, SourceError> {
        let GenerateOptions { count, seed, fields, mut corrupt_at, chunk_records } = options;
        corrupt_at.sort_unstable();
        corrupt_at.dedup();
        let identity = identity(seed, &fields, &corrupt_at);
        let next = resume
            .iter()
            .filter(|cursor| cursor.identity == identity)
            .map(|cursor| cursor.position.offset)
            .max()
            .unwrap_or(0);
        let path = format!("generate seed {seed}");
        Ok(Self {
            origin: Arc::new(Origin { identity, path, header: None }),
            seed,
            count,
            chunk_records: chunk_records.max(1),
            fields: fields.into_iter().map(|(name, kind)| Field::new(&name, kind)).collect(),
            corrupt_at,
            next,
            usual: 0,
        })
    }

    fn chunk(&mut self) -> Chunk {
        let left = usize::try_from(self.count - self.next).unwrap_or(usize::MAX);
        let wanted = self.chunk_records.min(left);
        let mut data = Vec::with_capacity(self.usual + self.usual / 8);
        let mut records = Vec::with_capacity(wanted.min(CHUNK_BYTES / 16));
        while records.len() < wanted && data.len() < CHUNK_BYTES {
            let at = data.len();
            self.write_record(&mut data);
            let (position, next) = (place(self.next), place(self.next + 1));
            records.push(Span { at: at as u32, len: (data.len() - at) as u32, position, next });
            self.next += 1;
        }
        self.usual = data.len();
        Chunk { origin: Arc::clone(&self.origin), data: Bytes::from(data), records }
    }

    fn write_record(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.push(b'{');
        for (index, field) in self.fields.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            field.write(self.seed, self.next, index as u64, out);
        }
        out.push(b'}');
        if self.corrupt_at.binary_search(&self.next).is_ok() {
            out.truncate(at + (out.len() - at) / 2);
        }
    }
}

#[async_trait]
impl Source for GenerateSource {
    async fn poll(&mut self) -> Result<Polled, SourceError> {
        if self.next >= self.count {
            return Ok(Polled::End);
        }
        // Making up records never waits, so let others have a turn before.
        tokio::task::yield_now().await;
        Ok(Polled::Chunk(self.chunk()))
    }
}

fn place(record: u64) -> Position {
    Position { offset: record, line: record }
}

fn identity(seed: u64, fields: &[(String, FieldGen)], corrupt_at: &[u64]) -> String {
    let mut checksum = Checksum::new();
    checksum.add_u64(seed).add_u64(fields.len() as u64);
    for (name, kind) in fields {
        checksum.add_text(name);
        kind.add_to(&mut checksum);
    }
    for record in corrupt_at {
        checksum.add_u64(*record);
    }
    format!("generate-{:016x}", checksum.value())
}

#[cfg(test)]
mod tests;
