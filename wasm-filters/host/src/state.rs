use wasmtime::{Memory, StoreLimits, StoreLimitsBuilder};

use crate::limits::Limits;

/// The longest text that is taken from a module: a line of its log, the reason of a failure.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 10;
/// The most lines that one call may log, and the most reasons it may give.
const LINES_MAX: usize = 20;
const REASONS_MAX: usize = 1_000;

/// What the host remembers of an instance while it runs.
pub(crate) struct State {
    pub(crate) limits: StoreLimits,
    pub(crate) memory: Option<Memory>,
    /// Address of the cell in which the module says which record it is at.
    pub(crate) progress: Option<u32>,
    /// Ticks that the running call may still take.
    pub(crate) ticks_left: u32,
    /// Why records were refused: the record's number, where the module says it, and the reason.
    pub(crate) reasons: Vec<(Option<u32>, String)>,
    pub(crate) lines: Vec<(Level, String)>,
    pub(crate) lines_dropped: u64,
    /// What the module takes for the time, milliseconds since the Unix epoch, and for chance.
    pub(crate) now_ms: i64,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl State {
    pub(crate) fn new(limits: &Limits, ticks: u32) -> Self {
        let store = StoreLimitsBuilder::new()
            .memory_size(limits.memory_bytes_max)
            .table_elements(limits.table_elements_max)
            .instances(1)
            .memories(1)
            .tables(4)
            .build();
        Self {
            limits: store,
            memory: None,
            progress: None,
            ticks_left: ticks,
            reasons: Vec::new(),
            lines: Vec::new(),
            lines_dropped: 0,
            now_ms: 0,
            seed: 0,
        }
    }

    /// Forgets what the last call said.
    pub(crate) fn begin_call(&mut self, ticks: u32, now_ms: i64, seed: u64) {
        self.ticks_left = ticks;
        self.reasons.clear();
        self.lines.clear();
        self.lines_dropped = 0;
        self.now_ms = now_ms;
        self.seed = seed;
    }

    pub(crate) fn log(&mut self, level: Level, text: &[u8]) {
        if self.lines.len() < LINES_MAX {
            self.lines.push((level, shortened(text)));
        } else {
            self.lines_dropped += 1;
        }
    }

    pub(crate) fn give_reason(&mut self, record: Option<u32>, text: &[u8]) {
        if self.reasons.len() < REASONS_MAX {
            self.reasons.push((record, shortened(text)));
        }
    }
}

/// A text of a module for people: whatever is no UTF-8 or a control character is replaced, and
/// what is too long is cut.
pub(crate) fn shortened(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
    text.trim().replace(char::is_control, " ")
}
