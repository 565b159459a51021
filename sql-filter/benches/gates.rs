//! What a condition over properties may cost: `cargo bench -p millrace-sql-filter --bench gates`.
//!
//! Four typical conditions of the strict dialect over a thousand messages with eight properties, 125
//! bytes of text each, from the bytes of a message to the verdict, as a pipeline's `filter` does it.
//! They are held against a bare scan: the time that it takes, in the same run, to locate every
//! separator in the same bytes, eight at a time, and to do nothing with it. None may take more than
//! six scans. All are measured in turns, and the middle one of many rounds counts. Exit code 1 if a
//! gate is missed.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use millrace_sql_filter::{Dialect, Expr, Row, Truth, Value};
use millrace_types::{Found, Properties, PropertiesBuf, PropertyNames};

const MESSAGES: usize = 1_000;
const ROUNDS: usize = 201;
const CALLS: usize = 20;

const SCANS_MAX: f64 = 6.0;

const CONDITIONS: [&str; 4] = [
    "region = 'eu'",
    "a > 5 AND b = 'abc'",
    "(TAGS IS NOT NULL AND TAGS IN ('TagA', 'TagB')) AND (a IS NOT NULL AND a BETWEEN 0 AND 3)",
    "region = 'eu' AND a > 5 AND b = 'abc' AND c <> 'x' AND price < 100.5 \
     AND TAGS IN ('TagA', 'TagB')",
];

struct Condition {
    expr: Expr,
    names: PropertyNames,
}

impl Condition {
    fn new(sql: &str) -> Self {
        let expr = Expr::parse_condition(sql, Dialect::Strict).expect("it parses");
        let names = PropertyNames::new(expr.columns().iter().map(|column| column.name.as_str()));
        Self { expr, names }
    }

    /// How many messages it holds for.
    fn count(&self, texts: &[Vec<u8>]) -> usize {
        let mut found = Found::default();
        let mut count = 0;
        for text in texts {
            self.names.find(Properties::new(text), &mut found);
            count += usize::from(self.expr.verdict(&Message(&found)) == Ok(Truth::True));
        }
        count
    }
}

struct Message<'f, 'a>(&'f Found<'a>);

impl<'a> Row<'a> for Message<'_, 'a> {
    fn value(&self, slot: usize) -> Value<'a> {
        self.0.get(slot).map_or(Value::Null, Value::text)
    }
}

fn properties(message: usize) -> Vec<u8> {
    let choice = |texts: &[&'static str]| texts[message % texts.len()];
    let mut properties = PropertiesBuf::new();
    properties
        .push("UNIQ_KEY", "7F0000010001A2B3C4D5E6F700012345")
        .push("KEYS", "order-0000012345-customer-0001")
        .push("TAGS", choice(&["TagA", "TagB", "TagC"]))
        .push("region", choice(&["eu", "us", "ap", "eu"]))
        .push("a", &(message % 11).to_string())
        .push("b", choice(&["abc", "abd", "abc", "x"]))
        .push("c", choice(&["x", "y", "z"]))
        .push("price", &format!("{}.25", message % 200));
    properties.into_bytes()
}

fn main() -> ExitCode {
    let texts: Vec<Vec<u8>> = (0..MESSAGES).map(properties).collect();
    for text in &texts {
        let places = (0..text.len()).filter(|at| matches!(text[*at], 1 | 2));
        assert_eq!(separators(text), places.sum(), "the yardstick measures something else");
    }
    let bytes = texts.iter().map(Vec::len).sum::<usize>() / MESSAGES;
    let conditions = CONDITIONS.map(Condition::new);
    let mut scans = Vec::new();
    let mut costs = [const { Vec::new() }; CONDITIONS.len()];
    for _ in 0..ROUNDS {
        scans.push(ns(|| black_box(&texts).iter().map(|text| separators(text)).sum()));
        for (condition, costs) in conditions.iter().zip(&mut costs) {
            costs.push(ns(|| condition.count(black_box(&texts))));
        }
    }
    let scan = median(scans);
    println!(
        "scan  {scan:6.1} ns per message of {bytes} bytes, at most {SCANS_MAX} of them for each"
    );
    let mut all_held = true;
    for (sql, costs) in CONDITIONS.into_iter().zip(costs) {
        let cost = median(costs);
        let times = cost / scan;
        all_held &= times <= SCANS_MAX;
        println!("      {cost:6.1} ns, {times:4.1} scans: {sql}");
    }
    if all_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nanoseconds per message.
fn ns(mut work: impl FnMut() -> usize) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS {
        black_box(work());
    }
    begun.elapsed().as_nanos() as f64 / (CALLS * MESSAGES) as f64
}

fn median(mut costs: Vec<f64>) -> f64 {
    costs.sort_by(f64::total_cmp);
    costs[costs.len() / 2]
}

/// The sum of the places of all separators in a text.
fn separators(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks();
    let mut sum = 0;
    for (number, word) in words.iter().enumerate() {
        let mut found = in_word(u64::from_le_bytes(*word));
        while found != 0 {
            sum += 8 * number + found.trailing_zeros() as usize / 8;
            found &= found - 1;
        }
    }
    let is_separator = |(_, byte): &(usize, &u8)| matches!(byte, 1 | 2);
    let rest_at = text.len() - rest.len();
    sum + rest.iter().enumerate().filter(is_separator).map(|(at, _)| rest_at + at).sum::<usize>()
}

/// The highest bit of each byte that is a separator.
fn in_word(word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = LOW << 7;
    // 1 and 2, and no other byte, become 0 or 1, that is none of the upper seven bits.
    let less_one = (word | HIGH) - LOW;
    let upper = (less_one ^ (!word & HIGH)) & (LOW * 0xfe);
    !(((upper & !HIGH) + !HIGH) | upper) & HIGH
}
