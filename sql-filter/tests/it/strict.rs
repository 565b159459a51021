//! The strict dialect, rule by rule.

use millrace_sql_filter::{Dialect, EvalError, Expr, Value, time};

use crate::row::Fate::{self, Failed, False, Refused, True, Unknown};
use crate::row::{Named, fate, texts};

/// Properties of a message are texts.
#[track_caller]
fn check(sql: &str, properties: &[(&str, &str)], expected: Fate) {
    let found = fate(sql, Dialect::Strict, &texts(properties));
    assert_eq!(found, expected, "{sql} on {properties:?}");
}

#[track_caller]
fn check_typed(sql: &str, values: &[(&str, Value<'_>)], expected: Fate) {
    assert_eq!(fate(sql, Dialect::Strict, values), expected, "{sql} on {values:?}");
}

#[track_caller]
fn check_value(sql: &str, values: &[(&str, Value<'_>)], expected: Value<'_>) {
    let expr = Expr::parse(sql, Dialect::Strict).unwrap_or_else(|error| panic!("{sql}: {error}"));
    let found = expr.evaluate(&Named::new(&expr, values));
    assert_eq!(found, Ok(expected), "{sql} on {values:?}");
}

#[track_caller]
fn failure(sql: &str, values: &[(&str, Value<'_>)]) -> EvalError {
    let expr = Expr::parse(sql, Dialect::Strict).unwrap_or_else(|error| panic!("{sql}: {error}"));
    expr.evaluate(&Named::new(&expr, values)).expect_err(sql)
}

const VALUE: &str = "a value is a column, a number or a text in single quotes";
const QUOTE: &str = "delete it, or put it into single quotes if it is part of a text";

/// The part of the text between the brackets is what the error points at.
#[track_caller]
fn check_error(marked: &str, code: &str, message: &str, help: &str) {
    let sql = marked.replace(['[', ']'], "");
    let start = marked.find('[').expect("the start is marked");
    let end = marked.find(']').expect("the end is marked") - 1;
    let error = Expr::parse(&sql, Dialect::Strict).expect_err(&sql);
    assert_eq!(
        (error.code, error.span, error.message.as_str(), error.help.as_str()),
        (code, start..end, message, help),
        "{sql}"
    );
}

fn instant(text: &str) -> Value<'static> {
    Value::Timestamp(time::parse_timestamp(text).expect("an instant"))
}

fn day(text: &str) -> Value<'static> {
    Value::Date(time::parse_date(text).expect("a day"))
}

#[test]
fn literals() {
    check("TRUE", &[], True);
    check("false", &[], False);
    check("NULL", &[], Unknown);
    check("1 = 1.0", &[], True);
    check("0x10 = 16", &[], True);
    check("010 = 8", &[], True);
    check("1e3 = 1000", &[], True);
    check("-9223372036854775808 < -9223372036854775807", &[], True);
    check("9223372036854775808 > 0", &[], Refused);
    check("a = 0.0", &[("a", "0")], True);
    check("a = 'it''s'", &[("a", "it's")], True);
    check("a = ''", &[("a", "")], True);
    check("a = '杭州'", &[("a", "杭州")], True);
    check("a = 1 -- the end", &[("a", "1")], True);
    check("a /* here */ = /* ** */ 1", &[("a", "1")], True);
    check("a = /* '*/ 1", &[("a", "1")], True);
    check("a = -- one\n 1", &[("a", "1")], True);
}

#[test]
fn names() {
    check("body.user.id = 7", &[("body.user.id", "7")], True);
    check("props.region = 'eu'", &[("props.region", "eu")], True);
    check("body.end = 1 AND body.case = 2", &[("body.end", "1"), ("body.case", "2")], True);
    check("body.\"order id\" = 1", &[("body.order id", "1")], True);
    check("\"a.test\" = 'x'", &[("a.test", "x")], True);
    check("\"say \"\"hi\"\"\" = 'x'", &[("say \"hi\"", "x")], True);
    check("\"end\" = 1", &[("end", "1")], True);
    check("$a_1 = 1", &[("$a_1", "1")], True);
    check("城市 = 'x'", &[("城市", "x")], True);
    check("Region = 'x'", &[("region", "x")], Unknown);
    check(
        "date = 1 AND lower = 2 AND cast = 3",
        &[("date", "1"), ("lower", "2"), ("cast", "3")],
        True,
    );
    check("now = 1", &[("now", "1")], True);
    check("1a = 1", &[], Refused);
    check("a. = 1", &[], Refused);
    check(".a = 1", &[], Refused);
    check("end = 1", &[], Refused);
    check("like = 1", &[], Refused);
}

#[test]
fn columns_are_listed_once_in_order() {
    let sql = "b.x = 1 AND a > \"b\".x OR LOWER(c) = 'c' AND a < 2";
    let expr = Expr::parse(sql, Dialect::Strict).expect("it parses");
    let names: Vec<_> = expr.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["b.x", "a", "c"]);
    assert_eq!(&sql[expr.columns()[1].span.clone()], "a");
    assert_eq!(expr.columns()[2].span, 31..32);
}

#[test]
fn logic() {
    for (left, left_is) in [("TRUE", True), ("FALSE", False), ("n", Unknown)] {
        for (right, right_is) in [("TRUE", True), ("FALSE", False), ("n", Unknown)] {
            let and = match (left_is, right_is) {
                (False, _) | (_, False) => False,
                (True, True) => True,
                _ => Unknown,
            };
            let or = match (left_is, right_is) {
                (True, _) | (_, True) => True,
                (False, False) => False,
                _ => Unknown,
            };
            check(&format!("{left} AND {right}"), &[], and);
            check(&format!("{left} OR {right}"), &[], or);
        }
    }
    check("NOT TRUE", &[], False);
    check("NOT n", &[], Unknown);
    check("NOT NOT TRUE", &[], True);
}

#[test]
fn precedence() {
    check("TRUE OR TRUE AND FALSE", &[], True);
    check("(TRUE OR TRUE) AND FALSE", &[], False);
    check("NOT FALSE AND FALSE", &[], False);
    check("NOT a = 1", &[("a", "2")], True);
    check("NOT a > 1", &[("a", "5")], False);
    check("NOT a IN ('1')", &[("a", "2")], True);
    check("NOT a BETWEEN 1 AND 2", &[("a", "5")], True);
    check("NOT a IS NULL", &[], False);
    check("a > 1 = b > 1", &[("a", "5"), ("b", "0")], False);
    check("a = 3 = TRUE", &[("a", "3")], True);
    check("a = 1 IS NOT NULL", &[("a", "1")], True);
    check("1 + 2 * 3 = 7", &[], True);
    check("(1 + 2) * 3 = 9", &[], True);
    check("10 - 2 - 3 = 5", &[], True);
    check("2 * 3 % 4 = 2", &[], True);
    check("-2 * -3 = 6", &[], True);
    check("a BETWEEN 1 + 1 AND 2 * 2 AND TRUE", &[("a", "3")], True);
    check("a = NOT b", &[], Refused);
}

#[test]
fn comparison_of_numbers() {
    check("price > 10", &[("price", "11")], True);
    check("price > 10", &[("price", "10.5")], True);
    check("price = 3", &[("price", "3.0")], True);
    check("price >= 10", &[("price", "+10")], True);
    check("price > 10", &[("price", " 11 ")], True);
    check("price > 10", &[("price", "3000000000")], True);
    check("price > 10", &[("price", "abc")], Unknown);
    check("price <> 10", &[("price", "abc")], Unknown);
    check("price > 10", &[("price", "")], Unknown);
    check("price > 10", &[("price", "NaN")], Unknown);
    check("price > 10", &[("price", "11L")], Unknown);
    check("price > 10", &[], Unknown);
    check("10 < price", &[("price", "11")], True);
    check("10 <= price AND 10 >= price", &[("price", "10")], True);
    check_typed("a = 9007199254740993", &[("a", Value::Double(9_007_199_254_740_992.0))], False);
    check("a = 9007199254740993", &[("a", "9007199254740992")], False);
    check_typed("a < b", &[("a", Value::Int(1)), ("b", Value::Double(1.5))], True);
    check_typed("a = a", &[("a", Value::Double(f64::NAN))], Unknown);
    check("a = 1.5e0", &[("a", "1.50")], True);
}

#[test]
fn comparison_of_texts() {
    check("region = 'hz'", &[("region", "hz")], True);
    check("region = 'hz'", &[("region", "HZ")], False);
    check("region <> 'hz'", &[("region", "sh")], True);
    check("region <> 'hz'", &[], Unknown);
    check("'hz' <> region", &[], Unknown);
    check("'hz' = region", &[("region", "hz")], True);
    check("a = b", &[("a", "3"), ("b", "3")], True);
    check("a = b", &[("a", "3"), ("b", "3.0")], False);
    check("a = b", &[], Unknown);
    check("a <> b", &[("a", "3")], Unknown);
    check("a > b", &[("a", "10"), ("b", "9.5")], True);
    check("a > b", &[("a", "x"), ("b", "y")], Unknown);
    check("day >= '2026-01-01'", &[("day", "2026-02-01")], True);
    check("'m' > name", &[("name", "anna")], True);
    check("'a' < 'b'", &[], True);
    check("a = '5'", &[("a", "5.0")], False);
}

#[test]
fn comparison_of_unlike_types() {
    check("'hello' = 19.0", &[], False);
    check("'hello' <> 19.0", &[], False);
    check("'12' = 12", &[], True);
    check_typed("a > 'x'", &[("a", Value::Int(5))], False);
    check_typed("a = '5'", &[("a", Value::Int(5))], True);
    check_typed("a = 5", &[("a", Value::Bool(true))], False);
    check_typed("a <> 5", &[("a", Value::Bool(true))], False);
    check_typed("a = b", &[("a", Value::Int(5)), ("b", day("2026-01-01"))], False);
    check("TRUE > 0", &[], Refused);
    check("1 < a < 3", &[], Refused);
    check("a = NULL", &[], Refused);
    check("NULL <> a", &[], Refused);
}

#[test]
fn comparison_of_booleans() {
    check("ok = TRUE", &[("ok", "true")], True);
    check("ok = true", &[("ok", "TRUE")], True);
    check("TRUE = ok", &[("ok", "true")], True);
    check("ok = FALSE", &[("ok", "no")], Unknown);
    check("ok <> TRUE", &[("ok", "false")], True);
    check_typed("ok = TRUE", &[("ok", Value::Bool(true))], True);
    check_typed("ok = 'true'", &[("ok", Value::Bool(true))], True);
    check("ok", &[("ok", "true")], True);
    check("NOT ok", &[("ok", "False")], True);
    check("ok", &[("ok", "yes")], Unknown);
    check_typed("ok", &[("ok", Value::Bool(false))], False);
    check_typed("ok", &[("ok", Value::Int(1))], Unknown);
}

#[test]
fn comparison_of_times() {
    let at = [("t", instant("2026-01-02T03:04:05Z")), ("d", day("2026-01-02"))];
    check_typed("t >= '2026-01-02'", &at, True);
    check_typed("t < '2026-01-02 03:04:06'", &at, True);
    check_typed("t = '2026-01-02T04:04:05+01:00'", &at, True);
    check_typed("d = '2026-01-02'", &at, True);
    check_typed("d < t", &at, True);
    check_typed("d = DATE(t)", &at, True);
    check_typed("t > 'yesterday'", &at, False);
    check_typed("t > 5", &at, False);
    check_typed("t > s", &[at[0].clone(), ("s", Value::text("2026-01-01"))], True);
    check_typed("t > s", &[at[0].clone(), ("s", Value::text("soon"))], Unknown);
    check_typed("t BETWEEN '2026-01-01' AND '2026-02-01'", &at, True);
    check_typed("d IN ('2026-01-01', '2026-01-02')", &at, True);
    check_typed("d > t", &[("d", Value::Date(i32::MAX)), ("t", Value::Timestamp(i64::MAX))], True);
}

#[test]
fn null() {
    check("a IS NULL", &[], True);
    check("a IS NULL", &[("a", "")], False);
    check("a IS NOT NULL", &[("a", "")], True);
    check("a IS NOT NULL", &[], False);
    check("NULL IS NULL", &[], True);
    check("5 IS NOT NULL", &[], True);
    check("a + 1 IS NULL", &[], True);
    check("(a > 1) IS NULL", &[], True);
    check("a IS 5", &[], Refused);
    check("a IS NULL > 5", &[], Refused);
    check("a IS NULL NOT", &[], Refused);
    check("a IS NULL = TRUE", &[], True);
}

#[test]
fn between() {
    check("a BETWEEN 10 AND 20", &[("a", "20")], True);
    check("a BETWEEN 10 AND 20", &[("a", "20.01")], False);
    check("a NOT BETWEEN 10 AND 20", &[("a", "9")], True);
    check("a NOT BETWEEN 10 AND 20", &[("a", "15")], False);
    check("a NOT BETWEEN 10 AND 20", &[], Unknown);
    check("a BETWEEN 20 AND 10", &[("a", "15")], False);
    check("a NOT BETWEEN 20 AND 10", &[("a", "15")], True);
    check("a BETWEEN lo AND hi", &[("a", "5"), ("lo", "1"), ("hi", "9")], True);
    check("5 BETWEEN lo AND 4", &[], False);
    check("5 BETWEEN lo AND 6", &[], Unknown);
    check("5 BETWEEN 6 AND hi", &[], False);
    check("5 NOT BETWEEN 6 AND hi", &[], True);
    check("a BETWEEN 'a' AND 'f'", &[("a", "dog")], True);
    check("14 NOT BETWEEN 'x' AND 'y'", &[], True);
    check("a BETWEEN 1", &[], Refused);
    check("a BETWEEN 1 OR 2", &[], Refused);
}

#[test]
fn membership() {
    check("a IN ('x', 'y')", &[("a", "y")], True);
    check("a IN ('x', 'y')", &[("a", "Y")], False);
    check("a NOT IN ('x', 'y')", &[("a", "z")], True);
    check("a NOT IN ('x', 'y')", &[], Unknown);
    check("a IN (1, 2)", &[("a", "2")], True);
    check("a IN (1, 2)", &[("a", "2.0")], True);
    check("a IN (1, 2)", &[("a", "x")], Unknown);
    check("a NOT IN (1, 2)", &[("a", "x")], Unknown);
    check("a IN (1, 'x')", &[("a", "x")], True);
    check("a IN (1.5, 2)", &[("a", "1.5")], True);
    check("a IN (1 + 1, b)", &[("a", "2")], True);
    check("a IN (1 + 1, b)", &[("a", "3")], Unknown);
    check("a IN (1 + 1, b)", &[("a", "3"), ("b", "3")], True);
    check("(a) IN ('x')", &[("a", "x")], True);
    check("'x' IN ('x')", &[], True);
    check("5 IN ('5', 'x')", &[], True);
    check("5 IN ('6', 'x')", &[], False);
    check("5 NOT IN ('6', 'x')", &[], False);
    check("5 NOT IN ('6', 'x', n)", &[], Unknown);
    check("TRUE IN (FALSE, TRUE)", &[], True);
    check("TRUE IN ('true')", &[], True);
    check_typed("a IN ('true', 'x')", &[("a", Value::Bool(true))], True);
    check_typed("a IN (1, 2)", &[("a", Value::Double(f64::NAN))], Unknown);
    check_typed("a IN (1, 2)", &[("a", Value::Bool(true))], False);
    check("a IN ()", &[], Refused);
    check("a IN (1,)", &[], Refused);
    check("a IN (1", &[], Refused);
    check("a IN 1", &[], Refused);
}

#[test]
fn like() {
    check("a LIKE 'x%'", &[("a", "xyz")], True);
    check("a LIKE '_y_'", &[("a", "xyz")], True);
    check("a NOT LIKE '%q%'", &[("a", "xyz")], True);
    check("a NOT LIKE '%y%'", &[("a", "xyz")], False);
    check("a LIKE 'x%'", &[], Unknown);
    check("a NOT LIKE 'x%'", &[], Unknown);
    check("a LIKE '100!%' ESCAPE '!'", &[("a", "100%")], True);
    check("a LIKE '100!%' ESCAPE '!'", &[("a", "1000")], False);
    check("a LIKE ''", &[("a", "")], True);
    check("a LIKE 'a.c'", &[("a", "abc")], False);
    check("a LIKE '%b%'", &[("a", "a\nb\n")], True);
    check_typed("a LIKE '5%'", &[("a", Value::Int(55))], Unknown);
    check("LOWER(a) LIKE 'x%'", &[("a", "XY")], True);
    check("a LIKE b", &[], Refused);
    check("a LIKE 5", &[], Refused);
    check("a LIKE 'x' ESCAPE 'ab'", &[], Refused);
    check("a LIKE 'x' ESCAPE ''", &[], Refused);
    check("a NOT 'x'", &[], Refused);
}

#[test]
fn search() {
    check("a CONTAINS 'mq'", &[("a", "rocketmq 5")], True);
    check("a CONTAINS 'MQ'", &[("a", "rocketmq")], False);
    check("a NOT CONTAINS 'mq'", &[("a", "kafka")], True);
    check("a NOT CONTAINS 'mq'", &[], Unknown);
    check("a STARTSWITH 'ro'", &[("a", "rocketmq")], True);
    check("a NOT STARTSWITH 'ro'", &[("a", "rocketmq")], False);
    check("a ENDSWITH 'mq'", &[("a", "rocketmq")], True);
    check("a contains '%'", &[("a", "100%")], True);
    check_typed("a CONTAINS '5'", &[("a", Value::Int(55))], Unknown);
    check("a CONTAINS ''", &[], Refused);
    check("a CONTAINS b", &[], Refused);
}

#[test]
fn arithmetic() {
    check_value("1 + 2", &[], Value::Int(3));
    check_value("17 / 4", &[], Value::Double(4.25));
    check_value("4 / 2", &[], Value::Double(2.0));
    check_value("17 % 5", &[], Value::Int(2));
    check_value("-17 % 5", &[], Value::Int(-2));
    check_value("7.5 % 2", &[], Value::Double(1.5));
    check_value("2 * 1.5", &[], Value::Double(3.0));
    check_value("a - b", &[("a", Value::text("5")), ("b", Value::text("1.5"))], Value::Double(3.5));
    check_value("a + b", &[("a", Value::text("5")), ("b", Value::text("6"))], Value::Int(11));
    check_value("a + 1", &[], Value::Null);
    check_value("-a", &[("a", Value::text("5"))], Value::Int(-5));
    check_value("-(1.5)", &[], Value::Double(-1.5));
    check_value("- -5", &[], Value::Int(5));
    check_value("+a", &[("a", Value::Int(5))], Value::Int(5));
    check("a * 2 > 10", &[("a", "6")], True);
    check("10 / a > 1 AND a <> 0", &[("a", "0")], Failed);
    check("a <> 0 AND 10 / a > 1", &[("a", "0")], False);
    check("a = 1 OR 10 / 0 > 1", &[("a", "1")], True);
    check("a + 1 > 0", &[("a", "x")], Failed);
    check("3 + 5", &[], Refused);
    check("TRUE AND 3 + 5", &[], Refused);
}

#[test]
fn arithmetic_fails_rather_than_lies() {
    let max = [("a", Value::Int(i64::MAX)), ("b", Value::Int(i64::MIN))];
    for sql in ["a + 1", "b - 1", "a * 2", "-b"] {
        assert!(matches!(failure(sql, &max), EvalError::OutOfRange { .. }), "{sql}");
    }
    check_value("b % -1", &max, Value::Int(0));
    assert!(matches!(failure("1e308 * 10", &[]), EvalError::OutOfRange { operation: "*" }));
    assert_eq!(failure("1 / 0", &[]), EvalError::DivisionByZero);
    assert_eq!(failure("1 % 0.0", &[]), EvalError::DivisionByZero);
    let error = failure("a + 1", &[("a", Value::text("abc"))]);
    assert_eq!(error.to_string(), "`+` needs numbers, found the text `abc`");
    assert!(matches!(failure("a + 1", &[("a", Value::Bool(true))]), EvalError::NotANumber { .. }));
    let long = "x".repeat(1000);
    assert!(failure("a + 1", &[("a", Value::text(&long))]).to_string().len() < 100);
}

#[test]
fn joined_texts() {
    let anna = [("name", Value::text("Anna")), ("n", Value::Int(7))];
    check_value("name + '!'", &anna, Value::text("Anna!"));
    check_value("'No. ' + n", &anna, Value::text("No. 7"));
    check_value("n + '5'", &anna, Value::text("75"));
    check_value("LOWER(name) + '-' + n", &anna, Value::text("anna-7"));
    check_value("CAST(n AS STRING) + n", &anna, Value::text("77"));
    check_value("missing + '!'", &anna, Value::Null);
    check("name + '!' = 'Anna!'", &[("name", "Anna")], True);
}

#[test]
fn case() {
    let grade = "CASE WHEN a >= 90 THEN 'A' WHEN a >= 50 THEN 'B' ELSE 'C' END";
    for (value, expected) in [(95, "A"), (50, "B"), (3, "C")] {
        check_value(grade, &[("a", Value::Int(value))], Value::text(expected));
    }
    check_value(grade, &[], Value::text("C"));
    check_value("CASE WHEN a > 1 THEN 1 END", &[], Value::Null);
    check_value(
        "CASE a WHEN 1 THEN 'one' WHEN '2' THEN 'two' END",
        &[("a", Value::Int(2))],
        Value::text("two"),
    );
    check_value("CASE a WHEN NULL THEN 1 ELSE 2 END", &[], Value::Int(2));
    check_value("CASE WHEN TRUE THEN 1 ELSE 1 / 0 END", &[], Value::Int(1));
    check("CASE WHEN a = 1 THEN b = 2 ELSE FALSE END", &[("a", "1"), ("b", "2")], True);
    check("CASE END", &[], Refused);
    check("CASE WHEN TRUE THEN TRUE", &[], Refused);
    check("CASE WHEN TRUE ELSE TRUE END", &[], Refused);
    check("CASE WHEN 1 THEN TRUE END", &[], Refused);
}

#[test]
fn functions() {
    check_value("COALESCE(a, b, 'none')", &[("b", Value::text("x"))], Value::text("x"));
    check_value("COALESCE(a, b, 'none')", &[], Value::text("none"));
    check_value("COALESCE(NULL)", &[], Value::Null);
    check_value("COALESCE(1, 1 / 0)", &[], Value::Int(1));
    check_value("LOWER(a)", &[("a", Value::text("ÄBC"))], Value::text("äbc"));
    check_value("upper(a)", &[("a", Value::text("straße"))], Value::text("STRASSE"));
    check_value("LOWER(a)", &[("a", Value::text("abc"))], Value::text("abc"));
    check_value("LOWER(a)", &[], Value::Null);
    check_value("DATE(a)", &[("a", instant("2026-01-02T23:59:59Z"))], day("2026-01-02"));
    check_value("DATE(a)", &[("a", instant("1969-12-31 23:00"))], day("1969-12-31"));
    check_value("DATE(a)", &[("a", Value::text("2026-01-02 10:00"))], day("2026-01-02"));
    check_value("DATE(a)", &[("a", day("2026-01-02"))], day("2026-01-02"));
    check_value(
        "DATE(CAST(a AS TIMESTAMP))",
        &[("a", Value::text("2026-01-02T01:00:00+02:00"))],
        day("2026-01-01"),
    );
    assert!(matches!(failure("LOWER(a)", &[("a", Value::Int(5))]), EvalError::Unsuitable { .. }));
    assert!(matches!(failure("DATE(a)", &[("a", Value::Int(5))]), EvalError::Unsuitable { .. }));
    check("LENGTH(a) = 1", &[], Refused);
    check("COALESCE() = 1", &[], Refused);
    check("LOWER(a, b) = 'x'", &[], Refused);
    check("LOWER = 'x'", &[("LOWER", "x")], True);
}

#[test]
fn casts() {
    let text = |text: &'static str| [("a", Value::text(text))];
    check_value("CAST(a AS INT)", &text("42"), Value::Int(42));
    check_value("CAST(a AS BIGINT)", &text(" 42.0 "), Value::Int(42));
    check_value("CAST(a AS INT)", &[("a", Value::Double(-3.9))], Value::Int(-3));
    check_value("CAST(a AS INT)", &[("a", Value::Bool(true))], Value::Int(1));
    check_value("CAST(a AS DOUBLE)", &text("1e3"), Value::Double(1000.0));
    check_value("CAST(a AS DOUBLE)", &[("a", Value::Int(2))], Value::Double(2.0));
    check_value("CAST(a AS STRING)", &[("a", Value::Int(2))], Value::text("2"));
    check_value("CAST(a AS STRING)", &[("a", Value::Double(2.0))], Value::text("2.0"));
    check_value("CAST(a AS STRING)", &[("a", Value::Bool(true))], Value::text("true"));
    check_value(
        "CAST(a AS STRING)",
        &[("a", instant("2026-01-02 03:04"))],
        Value::text("2026-01-02T03:04:00Z"),
    );
    check_value("CAST(a AS STRING)", &[("a", day("2026-01-02"))], Value::text("2026-01-02"));
    check_value("CAST(a AS BOOLEAN)", &text("True"), Value::Bool(true));
    check_value("CAST(a AS BOOLEAN)", &[("a", Value::Int(0))], Value::Bool(false));
    check_value("CAST(a AS timestamp)", &text("2001/01/10 18:20"), instant("2001-01-10 18:20"));
    check_value("CAST(a AS TIMESTAMP)", &[("a", day("2026-01-02"))], instant("2026-01-02"));
    check_value("CAST(a AS DATE)", &text("2026-01-02"), day("2026-01-02"));
    check_value("CAST(a AS DATE)", &[("a", instant("2026-01-02 10:00"))], day("2026-01-02"));
    for of in ["INT", "BIGINT", "DOUBLE", "STRING", "BOOLEAN", "TIMESTAMP", "DATE"] {
        check_value(&format!("CAST(a AS {of})"), &[], Value::Null);
    }
    for (value, of) in [
        (Value::text("4.2"), "INT"),
        (Value::text("x"), "INT"),
        (Value::Double(1e300), "INT"),
        (Value::Double(f64::NAN), "INT"),
        (Value::text(""), "DOUBLE"),
        (Value::text("yes"), "BOOLEAN"),
        (Value::Int(2), "BOOLEAN"),
        (Value::text("soon"), "TIMESTAMP"),
        (Value::Int(1_700_000_000), "TIMESTAMP"),
        (Value::Date(i32::MAX), "TIMESTAMP"),
        (Value::text("2026-02-30"), "DATE"),
        (Value::Bool(true), "DATE"),
        (Value::Date(0), "INT"),
    ] {
        let error = failure(&format!("CAST(a AS {of})"), &[("a", value)]);
        assert!(matches!(error, EvalError::Cast { .. }), "{error}");
    }
    let error = failure("CAST(a AS INT)", &text("12 apples"));
    assert_eq!(error.to_string(), "the text `12 apples` is not a whole number: it is no number");
}

#[test]
fn errors_point_at_what_is_wrong() {
    check_error(
        "type = 'purchase' AND amount [=>] 10",
        "E-SQL-02",
        "`=>` is not an operator",
        "did you mean `>=`?",
    );
    check_error("a [!=] 1", "E-SQL-02", "`!=` is not an operator", "did you mean `<>`?");
    check_error("a [==] 1", "E-SQL-02", "`==` is not an operator", "did you mean `=`?");
    check_error("a = 1 [&&] b", "E-SQL-02", "`&&` is not an operator", "did you mean `AND`?");
    check_error(
        "a = 1 [AMD] b",
        "E-SQL-01",
        "`AMD` does not continue the expression",
        "did you mean `AND`?",
    );
    check_error(
        "a [LIK] 'x'",
        "E-SQL-01",
        "`LIK` does not continue the expression",
        "did you mean `LIKE`?",
    );
    check_error(
        "a = 1[)]",
        "E-SQL-01",
        "`)` does not continue the expression",
        "no parenthesis is open here",
    );
    check_error("a =[]", "E-SQL-01", "expected a value, but the expression ends", VALUE);
    check_error("[]", "E-SQL-01", "expected a value, but the expression ends", VALUE);
    check_error("(a = 1[]", "E-SQL-01", "expected `)`, but the expression ends", "write `)` here");
    check_error("a = ['x]", "E-SQL-03", "this text has no end", "it ends with `'`");
    check_error("a [/* x]", "E-SQL-03", "this comment has no end", "it ends with `*/`");
    check_error("a = 1 [;] b", "E-SQL-04", "`;` does not belong in an expression", QUOTE);
    check_error(
        "[FOO](a)",
        "E-SQL-08",
        "there is no function `FOO`",
        "there are CAST, COALESCE, DATE, LOWER and UPPER",
    );
    check_error(
        "a CONTAINS ['']",
        "E-SQL-09",
        "every text contains the empty text",
        "write `IS NOT NULL` to ask whether there is a text",
    );
    check_error(
        "a = [NULL]",
        "E-SQL-10",
        "nothing compares with NULL",
        "write `IS NULL` or `IS NOT NULL`",
    );
    check_error(
        "[TRUE > 0]",
        "E-SQL-07",
        "a Boolean is neither less nor greater than anything",
        "use `=` or `<>`",
    );
    check_error(
        "城 = '杭' [杭]",
        "E-SQL-01",
        "`杭` does not continue the expression",
        "is an operator missing before it, `AND` or `OR`?",
    );
}
