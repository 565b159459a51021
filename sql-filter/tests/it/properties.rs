//! Random texts and trees: nothing panics, and what is printed means what it meant.

use millrace_sql_filter::{Dialect, Draft, Expr, Truth, Type, Value, time};
use proptest::prelude::*;

use crate::row::Named;

const DIALECTS: [Dialect; 2] = [Dialect::Strict, Dialect::RocketMq];

/// Parses, checks and evaluates, whatever comes out.
fn exercise(sql: &str, values: &[Value<'_>]) {
    let draft = Draft::read(sql);
    for column in draft.columns() {
        assert!(sql.get(column.span.clone()).is_some());
    }
    for of in [None, Some(Type::Int), Some(Type::Text), Some(Type::Bool), Some(Type::Date)] {
        let (found, mistakes) = draft.check_value(&|_| of);
        assert!(mistakes.iter().all(|mistake| sql.get(mistake.span.clone()).is_some()), "{sql:?}");
        if of.is_none() && mistakes.is_empty() {
            assert!(Expr::parse(sql, Dialect::Strict).is_ok(), "{sql:?} is {found:?}");
        }
    }
    for dialect in DIALECTS {
        let expr = match Expr::parse(sql, dialect) {
            Ok(expr) => expr,
            Err(error) => {
                assert!(sql.get(error.span.clone()).is_some(), "{sql:?} has no {:?}", error.span);
                assert!(!error.message.is_empty() && error.code.starts_with("E-SQL-"));
                continue;
            }
        };
        for column in expr.columns() {
            assert!(sql.get(column.span.clone()).is_some());
        }
        for value in values {
            let names = expr.columns().iter().map(|column| (column.name.as_str(), value.clone()));
            let row = Named::new(&expr, &names.collect::<Vec<_>>());
            let verdict = expr.verdict(&row);
            let value = expr.evaluate(&row);
            match (verdict, value) {
                (Ok(Truth::True), Ok(value)) => assert_ne!(value, Value::Bool(false)),
                (Ok(Truth::False), Ok(value)) => assert_ne!(value, Value::Bool(true)),
                (Ok(Truth::Unknown), Ok(value)) => assert!(!matches!(value, Value::Bool(_))),
                (Err(error), value) => assert_eq!(value, Err(error)),
                (Ok(verdict), Err(error)) => panic!("{verdict:?} but {error}"),
            }
        }
    }
}

fn values() -> impl Strategy<Value = Vec<Value<'static>>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-3_i64..3).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Double),
        prop_oneof![
            Just(String::new()),
            "[ -~]{0,8}".boxed(),
            "-?[0-9]{1,20}(\\.[0-9]{1,3})?(e[0-9]{1,3})?".boxed(),
            "[0-9]{4}-[0-9]{2}-[0-9]{2}".boxed(),
            Just("true".to_owned()),
        ]
        .prop_map(|text| Value::Text(text.into())),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i32>().prop_map(Value::Date),
    ];
    prop::collection::vec(value, 1..4)
}

/// Words and signs of both dialects, so that many sequences of them parse.
pub(crate) fn words() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "a",
        "b.c",
        "\"q r\"",
        "1",
        "0",
        "2.5",
        ".5",
        "1e3",
        "0x1F",
        "007",
        "9223372036854775808",
        "'x'",
        "''",
        "'5'",
        "'it''s'",
        "'2026-01-02'",
        "TRUE",
        "FALSE",
        "NULL",
        "(",
        ")",
        "(",
        ")",
        ",",
        "+",
        "-",
        "*",
        "/",
        "%",
        "=",
        "<>",
        "<",
        "<=",
        ">",
        ">=",
        "=>",
        "AND",
        "OR",
        "NOT",
        "IS NULL",
        "IS NOT NULL",
        "BETWEEN",
        "IN (",
        "LIKE '%x_'",
        "ESCAPE '!'",
        "CONTAINS 'x'",
        "STARTSWITH 'x'",
        "ENDSWITH 'x'",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "CAST(",
        "AS INT)",
        "AS TIMESTAMP)",
        "COALESCE(",
        "LOWER(",
        "UPPER(",
        "DATE(",
        "-- c\n",
        "/* c */",
        "é",
        ";",
    ];
    prop::collection::vec(prop::sample::select(WORDS), 0..24).prop_map(|words| words.join(" "))
}

/// A value or condition over the columns `a`, `b` and `c`, fully parenthesised and with as few
/// parentheses as the precedence table asks for.
#[derive(Clone, Debug)]
struct Printed {
    full: String,
    bare: String,
    /// How tightly the bare form binds, by the levels of the README.
    level: u8,
}

fn leaf(text: impl Into<String>) -> Printed {
    let text = text.into();
    Printed { full: text.clone(), bare: text, level: 9 }
}

impl Printed {
    fn at(&self, level: u8) -> String {
        if self.level >= level { self.bare.clone() } else { format!("({})", self.bare) }
    }

    /// Left-associative, like every infix operator.
    fn infix(left: &Self, operator: &str, right: &Self, level: u8) -> Self {
        Self {
            full: format!("({} {operator} {})", left.full, right.full),
            bare: format!("{} {operator} {}", left.at(level), right.at(level + 1)),
            level,
        }
    }
}

fn number() -> impl Strategy<Value = Printed> {
    let leaves = prop_oneof![
        prop::sample::select(vec!["a", "b", "c", "1", "2", "3.5", "CAST(a AS INT)"]).prop_map(leaf),
    ];
    leaves.prop_recursive(4, 16, 2, |inner| {
        let signs = prop::sample::select(vec![("+", 6), ("-", 6), ("*", 7), ("/", 7), ("%", 7)]);
        prop_oneof![
            (inner.clone(), signs, inner.clone()).prop_map(|(left, (sign, level), right)| {
                Printed::infix(&left, sign, &right, level)
            }),
            inner.prop_map(|operand| Printed {
                full: format!("(- {})", operand.full),
                bare: format!("- {}", operand.at(8)),
                level: 8,
            }),
        ]
    })
}

fn condition() -> impl Strategy<Value = Printed> {
    let comparison = (number(), prop::sample::select(vec!["=", "<>", "<", ">="]), number())
        .prop_map(|(left, operator, right)| {
            let level = if matches!(operator, "=" | "<>") { 4 } else { 5 };
            Printed::infix(&left, operator, &right, level)
        });
    let between =
        (number(), number(), number(), any::<bool>()).prop_map(|(value, low, high, not)| {
            let word = if not { "NOT BETWEEN" } else { "BETWEEN" };
            Printed {
                full: format!("({} {word} {} AND {})", value.full, low.full, high.full),
                bare: format!("{} {word} {} AND {}", value.at(5), low.at(6), high.at(6)),
                level: 5,
            }
        });
    let null = number().prop_map(|value| Printed {
        full: format!("({} IS NULL)", value.full),
        bare: format!("{} IS NULL", value.at(4)),
        level: 4,
    });
    prop_oneof![comparison, between, null].prop_recursive(4, 24, 2, |inner| {
        let words = prop::sample::select(vec![("OR", 1), ("AND", 2)]);
        prop_oneof![
            (inner.clone(), words, inner.clone()).prop_map(|(left, (word, level), right)| {
                Printed::infix(&left, word, &right, level)
            }),
            inner.prop_map(|operand| Printed {
                full: format!("(NOT {})", operand.full),
                bare: format!("NOT {}", operand.at(3)),
                level: 3,
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), values in values()) {
        exercise(&String::from_utf8_lossy(&bytes), &values);
    }

    #[test]
    fn random_characters_never_panic(text in "\\PC{0,60}", values in values()) {
        exercise(&text, &values);
    }

    #[test]
    fn random_words_never_panic(sql in words(), values in values()) {
        exercise(&sql, &values);
    }

    #[test]
    fn precedence_is_as_the_table_says(
        condition in condition(),
        row in prop::array::uniform3(prop_oneof![Just(None), (-2_i64..4).prop_map(Some)]),
    ) {
        let parse = |sql: &str| {
            Expr::parse_condition(sql, Dialect::Strict).unwrap_or_else(|error| panic!("{sql}: {error}"))
        };
        let names = ["a", "b", "c"];
        let values: Vec<_> = names
            .into_iter()
            .zip(row.map(|value| value.map_or(Value::Null, Value::Int)))
            .collect();
        let (full, bare) = (parse(&condition.full), parse(&condition.bare));
        prop_assert_eq!(
            full.verdict(&Named::new(&full, &values)),
            bare.verdict(&Named::new(&bare, &values)),
            "{} and {}", condition.full, condition.bare
        );
    }

    #[test]
    fn a_negated_condition_gives_the_negated_verdict(condition in condition(), a in -2_i64..4) {
        let sql = condition.full;
        let values = [("a", Value::Int(a)), ("b", Value::Int(1))];
        let expr = Expr::parse(&sql, Dialect::Strict).expect("it parses");
        let not = Expr::parse(&format!("NOT {sql}"), Dialect::Strict).expect("it parses");
        let verdict = expr.verdict(&Named::new(&expr, &values));
        prop_assert_eq!(not.verdict(&Named::new(&not, &values)), verdict.map(Truth::negated));
    }

    #[test]
    fn a_timestamp_survives_its_text(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
        prop_assert_eq!(time::parse_timestamp(&time::format_timestamp(micros)), Some(micros));
        let days = time::date_of(micros);
        prop_assert_eq!(time::parse_date(&time::format_date(days)), Some(days));
    }

    #[test]
    fn like_agrees_with_a_naive_matcher(pattern in "[ab%_]{0,8}", text in "[ab]{0,8}") {
        fn naive(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern, text) {
                ([], text) => text.is_empty(),
                ([b'%', rest @ ..], text) => {
                    (0..=text.len()).any(|skipped| naive(rest, &text[skipped..]))
                }
                ([b'_', rest @ ..], [_, text @ ..]) => naive(rest, text),
                ([wanted, rest @ ..], [char, text @ ..]) => wanted == char && naive(rest, text),
                _ => false,
            }
        }
        let expr = Expr::parse(&format!("a LIKE '{pattern}'"), Dialect::Strict).expect("it parses");
        let row = Named::new(&expr, &[("a", Value::text(&text))]);
        let expected = Truth::from(naive(pattern.as_bytes(), text.as_bytes()));
        prop_assert_eq!(expr.verdict(&row), Ok(expected));
    }

    #[test]
    fn in_agrees_with_a_chain_of_comparisons(
        elements in prop::collection::vec(
            prop::sample::select(vec!["1", "2", "-3", "2.5", "'1'", "'x'", "'2.5'", "b", "1 + 1"]),
            1..6,
        ),
        value in values(),
        b in values(),
    ) {
        let list = elements.join(", ");
        let chain: Vec<_> = elements.iter().map(|element| format!("a = {element}")).collect();
        let within = Expr::parse(&format!("a IN ({list})"), Dialect::Strict).expect("it parses");
        let chain = Expr::parse(&chain.join(" OR "), Dialect::Strict).expect("it parses");
        let values = [("a", value[0].clone()), ("b", b[0].clone())];
        prop_assert_eq!(
            within.verdict(&Named::new(&within, &values)),
            chain.verdict(&Named::new(&chain, &values))
        );
    }
}
