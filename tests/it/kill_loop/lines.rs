//! The input: an access log, repeated, and what must become of each line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

pub(super) struct Input {
    pub(super) path: PathBuf,
    /// Byte offset of every line.
    pub(super) lines: BTreeSet<u64>,
    /// Byte offset of every line whose status is 400 or more.
    pub(super) rows: BTreeSet<u64>,
    /// Of those, the ones that no crawler asked for.
    pub(super) people: BTreeSet<u64>,
}

impl Input {
    /// Writes `copies` times the log that ACCESS_LOG names, or 10,000 made-up lines without it.
    pub(super) fn write(path: &Path, copies: u64) -> Self {
        let log = match std::env::var_os("ACCESS_LOG") {
            Some(log) => std::fs::read_to_string(log).expect("ACCESS_LOG names a readable file"),
            None => made_up(),
        };
        let text = log.repeat(copies as usize);
        let mut at = 0;
        let (mut lines, mut rows, mut people) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for line in text.split_inclusive('\n') {
            lines.insert(at);
            if status(line) >= 400 {
                rows.insert(at);
                if !is_crawler(line) {
                    people.insert(at);
                }
            }
            at += line.len() as u64;
        }
        std::fs::write(path, text).expect("the input is written");
        assert!(!people.is_empty() && people.len() < rows.len(), "a log without crawlers");
        Self { path: path.into(), lines, rows, people }
    }
}

/// What `drop-crawlers` finds in the last thing between quotes.
fn is_crawler(line: &str) -> bool {
    let agent = line.trim_end().trim_end_matches('"').rsplit('"').next().unwrap_or_default();
    let agent = agent.to_lowercase();
    ["bot", "crawl", "spider", "slurp", "curl/", "wget/"].iter().any(|known| agent.contains(known))
}

/// The number after the request, which is the first thing between quotes.
fn status(line: &str) -> u32 {
    let request = line.find('"').expect("a request") + 1;
    let mut escaped = false;
    let end = line[request..].find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    });
    let rest = &line[request + end.expect("the request ends") + 1..];
    rest.split_whitespace().next().and_then(|status| status.parse().ok()).expect("a status")
}

fn made_up() -> String {
    let mut text = String::new();
    for n in 0..10_000u32 {
        let status = if n % 45 == 7 { 404 + n % 3 } else { 200 };
        let (day, hour, minute, second) = (17 + n / 2_500, n / 104 % 24, n / 2 % 60, n * 7 % 60);
        writeln!(
            text,
            "10.0.{}.{} - - [{day}/May/2026:{hour:02}:{minute:02}:{second:02} +0000] \
             \"GET /pages/{n} HTTP/1.1\" {status} {} \"-\" \"{}/{}\"",
            n % 250,
            n % 199,
            n * 31 % 90_000,
            if n % 10 == 7 { "Bot" } else { "agent" },
            n % 17
        )
        .expect("a string takes everything");
    }
    text
}
