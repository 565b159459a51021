//! Evaluation of typical subscriptions over a thousand messages of eight properties.
//!
//! The rows hold their values already, in the order of the expression's columns, so this is the
//! cost of evaluation alone.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use millrace_sql_filter::{Dialect, Expr, Row, Truth, Value};

const MESSAGES: usize = 1000;

const EXPRESSIONS: [&str; 4] = [
    "region = 'eu'",
    "a > 5 AND b = 'abc'",
    "(TAGS IS NOT NULL AND TAGS IN ('TagA', 'TagB')) AND (a IS NOT NULL AND a BETWEEN 0 AND 3)",
    "region = 'eu' AND a > 5 AND b = 'abc' AND c <> 'x' AND price < 100.5 AND TAGS IN ('TagA', 'TagB')",
];

fn main() {
    divan::main();
}

/// One property of the message with this number.
fn property(name: &str, message: usize) -> String {
    let choice = |texts: &[&str]| texts[message % texts.len()].to_owned();
    match name {
        "region" => choice(&["eu", "us", "ap", "eu"]),
        "TAGS" => choice(&["TagA", "TagB", "TagC"]),
        "a" => (message % 11).to_string(),
        "b" => choice(&["abc", "abd", "abc", "x"]),
        "c" => choice(&["x", "y", "z"]),
        "price" => format!("{}.25", message % 200),
        other => panic!("no property {other}"),
    }
}

struct Message<'a>(&'a [String]);

impl<'a> Row<'a> for Message<'a> {
    fn value(&self, slot: usize) -> Value<'a> {
        Value::text(&self.0[slot])
    }
}

fn evaluate(bencher: Bencher<'_, '_>, sql: &str, dialect: Dialect) {
    let expr = Expr::parse(sql, dialect).expect("it parses");
    let message = |number| -> Vec<String> {
        expr.columns().iter().map(|column| property(&column.name, number)).collect()
    };
    let messages: Vec<_> = (0..MESSAGES).map(message).collect();
    bencher.counter(ItemsCount::new(MESSAGES)).bench(|| {
        let matches = |message: &&Vec<String>| {
            expr.verdict(&Message(black_box(message))).is_ok_and(|verdict| verdict == Truth::True)
        };
        messages.iter().filter(matches).count()
    });
}

#[divan::bench(args = EXPRESSIONS)]
fn strict(bencher: Bencher<'_, '_>, sql: &str) {
    evaluate(bencher, sql, Dialect::Strict);
}

#[divan::bench(args = EXPRESSIONS)]
fn rocketmq(bencher: Bencher<'_, '_>, sql: &str) {
    evaluate(bencher, sql, Dialect::RocketMq);
}

#[divan::bench(args = EXPRESSIONS)]
fn parse_strict(sql: &str) -> Expr {
    Expr::parse(black_box(sql), Dialect::Strict).expect("it parses")
}

#[divan::bench(args = EXPRESSIONS)]
fn parse_rocketmq(sql: &str) -> Expr {
    Expr::parse(black_box(sql), Dialect::RocketMq).expect("it parses")
}
