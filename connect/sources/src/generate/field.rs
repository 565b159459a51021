use super::json;
use super::random::Random;
use crate::checksum::Checksum;

/// Ranks of a Zipf distribution at most; their table takes 8 bytes each.
const RANKS_MAX: u64 = 1 << 20;

/// Digits after the point at most.
const DECIMALS_MAX: u32 = 15;

/// How the values of one field come about.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldGen {
    /// The record's number plus `start`.
    Sequence {
        /// The value in record 0.
        start: i64,
    },
    /// One of some texts, each as likely as the others; null if there are none.
    Choice(Vec<String>),
    /// A whole number.
    Int {
        /// The least value.
        min: i64,
        /// The greatest value, included.
        max: i64,
    },
    /// A number with a fixed count of digits after the point.
    Double {
        /// The least value.
        min: f64,
        /// The greatest value, included.
        max: f64,
        /// Digits after the point, up to 15.
        decimals: u32,
    },
    /// A moment as RFC 3339 text in UTC with microseconds; each record is later than the one
    /// before.
    Time {
        /// The moment of record 0, in microseconds since 1970.
        start_us: i64,
        /// From one record to the next, in microseconds.
        step_us: i64,
    },
    /// English words.
    Text {
        /// How many.
        words: usize,
    },
    /// Text that looks like a random UUID, version 4.
    Uuid,
    /// A whole number from 1 to `n`, where `k` is `k^s` times less likely than 1.
    Zipf {
        /// The greatest value, up to 2^20.
        n: u64,
        /// How steep it is; 0 makes all values equally likely.
        s: f64,
    },
}

impl FieldGen {
    /// Adds all that makes the values what they are.
    pub(super) fn add_to(&self, checksum: &mut Checksum) {
        match self {
            Self::Sequence { start } => checksum.add_u64(1).add_u64(*start as u64),
            Self::Choice(texts) => {
                checksum.add_u64(2).add_u64(texts.len() as u64);
                texts.iter().fold(checksum, |checksum, text| checksum.add_text(text))
            }
            Self::Int { min, max } => checksum.add_u64(3).add_u64(*min as u64).add_u64(*max as u64),
            Self::Double { min, max, decimals } => checksum
                .add_u64(4)
                .add_u64(min.to_bits())
                .add_u64(max.to_bits())
                .add_u64(u64::from(*decimals)),
            Self::Time { start_us, step_us } => {
                checksum.add_u64(5).add_u64(*start_us as u64).add_u64(*step_us as u64)
            }
            Self::Text { words } => checksum.add_u64(6).add_u64(*words as u64),
            Self::Uuid => checksum.add_u64(7),
            Self::Zipf { n, s } => checksum.add_u64(8).add_u64(*n).add_u64(s.to_bits()),
        };
    }
}

/// A field ready to be written.
#[derive(Debug)]
pub(super) struct Field {
    /// The name as JSON, with the colon.
    name: Vec<u8>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Sequence(i64),
    /// As JSON.
    Choice(Vec<Vec<u8>>),
    /// Whole numbers of which so many digits are after the point.
    Number {
        min: i64,
        max: i64,
        decimals: u32,
    },
    Time {
        start_us: i64,
        step_us: i64,
    },
    Text(usize),
    Uuid,
    /// The weight of each rank and all before it.
    Zipf(Vec<f64>),
}

impl Field {
    pub(super) fn new(name: &str, kind: FieldGen) -> Self {
        let values = match kind {
            FieldGen::Sequence { start } => Values::Sequence(start),
            FieldGen::Choice(texts) if texts.is_empty() => Values::Choice(vec![b"null".to_vec()]),
            FieldGen::Choice(texts) => Values::Choice(
                texts.iter().map(|text| written(|out| json::text(text, out))).collect(),
            ),
            FieldGen::Int { min, max } => Values::Number { min, max, decimals: 0 },
            FieldGen::Double { min, max, decimals } => {
                let decimals = decimals.min(DECIMALS_MAX);
                let scale = 10_f64.powi(decimals as i32);
                // `as` keeps what is too large within bounds.
                let (min, max) = ((min * scale).round() as i64, (max * scale).round() as i64);
                Values::Number { min, max, decimals }
            }
            FieldGen::Time { start_us, step_us } => Values::Time { start_us, step_us },
            FieldGen::Text { words } => Values::Text(words),
            FieldGen::Uuid => Values::Uuid,
            FieldGen::Zipf { n, s } => Values::Zipf(weights(n, s)),
        };
        let mut name = written(|out| json::text(name, out));
        name.push(b':');
        Self { name, values }
    }

    /// Writes name and value; `index` is the field's place in the record.
    pub(super) fn write(&self, seed: u64, record: u64, index: u64, out: &mut Vec<u8>) {
        let mut random = Random::new(seed, record, index);
        out.extend_from_slice(&self.name);
        match &self.values {
            Values::Sequence(start) => json::signed(start.wrapping_add(record as i64), out),
            Values::Choice(texts) => {
                out.extend_from_slice(&texts[random.below(texts.len() as u64) as usize]);
            }
            Values::Number { min, max, decimals } => {
                json::decimal(random.between(*min, *max), *decimals, out);
            }
            Values::Time { start_us, step_us } => {
                let since = step_us.saturating_mul(i64::try_from(record).unwrap_or(i64::MAX));
                json::time(start_us.saturating_add(since), out);
            }
            Values::Text(words) => {
                out.push(b'"');
                for word in 0..*words {
                    if word > 0 {
                        out.push(b' ');
                    }
                    let pick = random.below(WORDS.len() as u64) as usize;
                    out.extend_from_slice(WORDS[pick].as_bytes());
                }
                out.push(b'"');
            }
            Values::Uuid => uuid(random.next(), random.next(), out),
            Values::Zipf(weights) => {
                let total = weights.last().copied().unwrap_or(1.0);
                let at = random.unit() * total;
                let rank = weights.partition_point(|weight| *weight <= at);
                json::unsigned(rank.min(weights.len().saturating_sub(1)) as u64 + 1, 1, out);
            }
        }
    }
}

fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn weights(n: u64, s: f64) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=n.clamp(1, RANKS_MAX))
        .map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        })
        .collect()
}

fn uuid(high: u64, low: u64, out: &mut Vec<u8>) {
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    let (high, low) = (high.to_be_bytes(), low.to_be_bytes());
    out.push(b'"');
    for part in [&high[..4], &high[4..6], &high[6..], &low[..2]] {
        json::hex(part, out);
        out.push(b'-');
    }
    json::hex(&low[2..], out);
    out.push(b'"');
}

const WORDS: [&str; 64] = [
    "able", "amber", "anchor", "apple", "autumn", "barn", "basket", "bell", "birch", "bread",
    "bridge", "brook", "candle", "cedar", "chalk", "cloud", "copper", "corner", "daisy", "dawn",
    "door", "drum", "early", "ember", "fable", "fern", "field", "flint", "flour", "garden",
    "ginger", "grain", "harbour", "hazel", "hill", "honey", "island", "ivory", "jacket", "kettle",
    "ladder", "lantern", "maple", "meadow", "mill", "mirror", "needle", "north", "oak", "orchard",
    "paper", "pebble", "quiet", "rain", "river", "saddle", "silver", "stone", "thread", "timber",
    "valley", "water", "wheel", "winter",
];
