//! What is too long, too deep or too large, and what just fits.

use millrace_sql_filter::{
    DEPTH_MAX, Dialect, Draft, Expr, NESTING_MAX, TEXT_BYTES_MAX, TOKENS_MAX, Type, Value,
};

use crate::row::{Fate, Named, fate};

const DIALECTS: [Dialect; 2] = [Dialect::Strict, Dialect::RocketMq];

#[track_caller]
fn check_refused(sql: &str, dialect: Dialect) {
    let error = Expr::parse(sql, dialect).expect_err("it is beyond a limit");
    assert_eq!(error.code, "E-SQL-06", "{error}");
    assert!(error.span.end <= sql.len());
}

#[test]
fn a_hundred_thousand_parentheses_are_too_many() {
    for dialect in DIALECTS {
        check_refused(&"(".repeat(100_000), dialect);
        check_refused(&"(".repeat(60_000), dialect);
        check_refused(&"(".repeat(4_000), dialect);
        check_refused(&format!("{}a{}", "NOT ".repeat(4_000), " = 1"), dialect);
        check_refused(&format!("a = {}1", "- ".repeat(4_000)), dialect);
    }
    check_refused(&"CASE WHEN ".repeat(2_000), Dialect::Strict);
    check_refused(&"LOWER(".repeat(2_000), Dialect::Strict);
    check_refused(&"a IN (".repeat(1_000), Dialect::Strict);
}

#[test]
fn the_deepest_nesting_is_parsed_and_evaluated() {
    for dialect in DIALECTS {
        let sql = format!("{}a = '1'{}", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
        assert_eq!(fate(&sql, dialect, &[("a", Value::text("1"))]), Fate::True);
        check_refused(&format!("({sql})"), dialect);
    }
    let sql = format!("{}a{} = 'x'", "LOWER(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    assert_eq!(fate(&sql, Dialect::Strict, &[("a", Value::text("X"))]), Fate::True);
}

/// The most stack per parenthesis: every level of precedence waits for its right side.
#[test]
fn the_deepest_nesting_with_all_operators_fits_the_stack() {
    for (dialect, level) in [
        (Dialect::RocketMq, "a = '1' AND 1 = 2 OR b = '1' AND TRUE = ("),
        (Dialect::Strict, "a = '1' AND 1 = 2 OR b = '1' AND TRUE = 1 < 1 + 1 * ("),
        (Dialect::Strict, "CASE WHEN a = '2' OR TRUE AND TRUE = 1 < 1 + 1 * ("),
    ] {
        for levels in [20, NESTING_MAX, NESTING_MAX + 1] {
            let sql = format!("{}TRUE{}", level.repeat(levels), ")".repeat(levels));
            let _ = fate(&sql, dialect, &[("a", Value::text("1")), ("b", Value::text("1"))]);
        }
    }
    let level = "b <> '1' OR a = '1' AND TRUE = (";
    let sql = format!("{}TRUE{}", level.repeat(60), ")".repeat(60));
    for (a, expected) in [("1", Fate::True), ("2", Fate::False)] {
        let values = [("a", Value::text(a)), ("b", Value::text("1"))];
        for dialect in DIALECTS {
            assert_eq!(fate(&sql, dialect, &values), expected, "{dialect:?}");
        }
    }
}

#[test]
fn long_chains_of_left_associative_operators_are_bounded() {
    let sum = |terms: usize| format!("{} = {terms}", vec!["a"; terms].join(" + "));
    let one = [("a", Value::Int(1))];
    assert_eq!(fate(&sum(DEPTH_MAX - 1), Dialect::Strict, &one), Fate::True);
    check_refused(&sum(DEPTH_MAX), Dialect::Strict);
    let chain = |links: usize| format!("a = '1'{}", " = TRUE".repeat(links));
    for dialect in DIALECTS {
        let one = [("a", Value::text("1"))];
        assert_eq!(fate(&chain(DEPTH_MAX - 2), dialect, &one), Fate::True);
        check_refused(&chain(DEPTH_MAX), dialect);
    }
}

#[test]
fn chains_of_and_and_or_may_be_long() {
    for dialect in DIALECTS {
        for word in [" AND ", " OR "] {
            let sql = vec!["a = '1'"; TOKENS_MAX / 4 - 1].join(word);
            assert_eq!(fate(&sql, dialect, &[("a", Value::text("1"))]), Fate::True);
        }
    }
}

#[test]
fn length_and_words_are_bounded() {
    for dialect in DIALECTS {
        check_refused(&vec!["a = 1"; TOKENS_MAX / 4 + 1].join(" OR "), dialect);
        let long = format!("a = '{}'", "x".repeat(TEXT_BYTES_MAX));
        check_refused(&long, dialect);
        let fits = format!("a = '{}'", "x".repeat(TEXT_BYTES_MAX - 6));
        assert_eq!(fate(&fits, dialect, &[("a", Value::text("x"))]), Fate::False);
        check_refused(&"é".repeat(TEXT_BYTES_MAX), dialect);
    }
}

/// Trees that would take exponential time or memory if anything looked at an operand twice.
#[test]
fn nested_operands_are_visited_once() {
    let depth = NESTING_MAX / 2;
    let nested =
        |open: &str, close: &str| format!("{}a{}", open.repeat(depth), close.repeat(depth));
    for sql in [
        nested("b IN (", ")"),
        nested("(", " IN (1, 2, 3))"),
        nested("(", " NOT BETWEEN b AND 2)"),
        nested("(", " BETWEEN (1) AND (2))"),
        nested("CASE (", ") WHEN 1 THEN 2 WHEN 2 THEN 3 END"),
        nested("COALESCE(", ", b)"),
        nested("(", " + b)"),
    ] {
        let expr = Expr::parse(&sql, Dialect::Strict).unwrap_or_else(|error| panic!("{error}"));
        let _ = Draft::read(&sql).check_value(&|_| None);
        let _ = Draft::read(&sql).check_value(&|_| Some(Type::Int));
        let _ = expr.evaluate(&Named::new(&expr, &[("a", Value::Int(1)), ("b", Value::Int(2))]));
        let _ = expr.clone();
    }
    let sql = format!("{}a{}", "-(".repeat(50), " BETWEEN 1 AND 2)".repeat(50));
    let _ = Expr::parse(&sql, Dialect::RocketMq);
}

#[test]
fn a_list_of_a_thousand_values() {
    let texts: Vec<String> = (0..1000).map(|number| format!("'v{number}'")).collect();
    let sql = format!("a IN ({})", texts.join(", "));
    for dialect in DIALECTS {
        for (text, expected) in [("v0", true), ("v999", true), ("v1000", false), ("", false)] {
            assert_eq!(fate(&sql, dialect, &[("a", Value::text(text))]), expected.into());
        }
    }
    let numbers: Vec<String> = (0..1000).map(|number| (number * 7).to_string()).collect();
    let sql = format!("a IN ({})", numbers.join(", "));
    for (value, expected) in [
        (Value::Int(6993), true),
        (Value::Int(1), false),
        (Value::Double(14.0), true),
        (Value::Double(14.5), false),
        (Value::text("21"), true),
        (Value::text("22.0"), false),
    ] {
        assert_eq!(fate(&sql, Dialect::Strict, &[("a", value)]), expected.into());
    }
}
