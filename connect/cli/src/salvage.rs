//! `millrace inspect --salvage`: everything that verifies, as lines of JSON.
//!
//! Lines, and not another data directory: where messages are missing, a new log would have to
//! invent offsets, and every group's place would silently mean another message. A line keeps
//! the offsets it had, can be read by any tool, and sent again by a pipeline.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use millrace_store::InspectedRecord;
use millrace_types::record::Verified;
use serde_json::{Map, Value, json};

use crate::causes::io_failure;
use crate::exit::Failure;

/// The file being written. The first failure is kept and told at the end.
pub(crate) struct Salvage {
    path: PathBuf,
    out: BufWriter<File>,
    written: u64,
    failed: Option<io::Error>,
}

impl Salvage {
    /// Makes the file; one that is there already is left alone.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = file.map_err(|error| failure(path, &error))?;
        let out = BufWriter::with_capacity(1 << 20, file);
        Ok(Self { path: path.into(), out, written: 0, failed: None })
    }

    /// Writes one record.
    pub(crate) fn take(&mut self, record: &InspectedRecord<'_>) {
        if self.failed.is_some() {
            return;
        }
        let mut line = line(record).to_string();
        line.push('\n');
        match self.out.write_all(line.as_bytes()) {
            Ok(()) => self.written += 1,
            Err(error) => self.failed = Some(error),
        }
    }

    /// Makes the file durable and says how many records it holds.
    pub(crate) fn finish(mut self) -> Result<u64, Failure> {
        let ended = match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush().and_then(|()| self.out.get_ref().sync_all()),
        };
        ended.map(|()| self.written).map_err(|error| failure(&self.path, &error))
    }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let told = io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()));
    io_failure(&told)
}

fn line(inspected: &InspectedRecord<'_>) -> Value {
    let record = &inspected.record;
    let properties: Map<String, Value> =
        record.properties().iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut line = json!({
        "topic": record.topic(),
        "queue": record.queue_id().0,
        "queue_offset": record.queue_offset().0,
        "physical_offset": record.physical_offset().0,
        "flag": record.flag(),
        "sys_flag": record.sys_flag(),
        "born_at_ms": record.born_at_ms(),
        "born_host": record.born_host().to_string(),
        "store_at_ms": record.store_at_ms(),
        "reconsume_times": record.reconsume_times(),
        "properties": properties,
        "verified": match inspected.verified {
            Verified::Whole => "whole",
            Verified::BodyOnly => "body",
        },
    });
    put_body(&mut line, record.body());
    line
}

/// Adds a body to a line about its message: as text if it is UTF-8, else in base64.
pub(crate) fn put_body(line: &mut Value, body: &[u8]) {
    match std::str::from_utf8(body) {
        Ok(text) => line["body"] = json!(text),
        Err(_) => line["body_base64"] = json!(base64(body)),
    }
}

/// Base64 with padding, RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for n in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * n)) as usize & 63];
            out.push(if n <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }
}
