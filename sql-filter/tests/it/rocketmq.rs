//! RocketMQ's dialect, rule by rule.

use millrace_sql_filter::{Dialect, Expr};

use crate::row::Fate::{self, Failed, False, Refused, True, Unknown};
use crate::row::{fate, texts};

#[track_caller]
fn check(sql: &str, properties: &[(&str, &str)], expected: Fate) {
    let found = fate(sql, Dialect::RocketMq, &texts(properties));
    assert_eq!(found, expected, "{sql} on {properties:?}");
}

#[test]
fn literals_and_names() {
    check("TRUE", &[], True);
    check("NULL", &[], Unknown);
    check("3", &[], Refused);
    check("'x'", &[], Refused);
    check("-a", &[], Refused);
    check("p = 10L", &[("p", "10")], True);
    check("p = 10l AND q = 1", &[("p", "10"), ("q", "2")], False);
    check("p > .5", &[("p", "0.6")], True);
    check("p > 5.", &[("p", "5.5")], True);
    check("p > 1e+3", &[("p", "1001")], True);
    check("p > 0.0", &[], Refused);
    check("p > 1e400", &[], Refused);
    check("p = 9223372036854775808", &[], Refused);
    check("p = 007 AND b = 1", &[("p", "0")], True);
    check("$p_1 = 'x'", &[("$p_1", "x")], True);
    check("P = 'x'", &[("p", "x")], Unknown);
    check("between = 1", &[], Refused);
    check("like = 'x'", &[("like", "x")], True);
    check("城 = 1", &[], Refused);
    check("p = '城'", &[("p", "城")], True);
    check("p = 'it''s'", &[("p", "it's")], True);
    check("p = ''''", &[("p", "'")], True);
}

#[test]
fn what_follows_the_condition_is_ignored() {
    check("p = 1 garbage", &[("p", "1")], True);
    check("p = 1)", &[("p", "1")], True);
    check("p + 1 = 2", &[("p", "1")], False);
    check("p LIKE 'x%'", &[("p", "xyz")], False);
    check("p = 1 garbage ; more", &[("p", "1")], True);
    check("p = 1 ; more", &[], Refused);
    check("p != 1", &[], Refused);
    check("p = \"x\"", &[], Refused);
    check("p.q = 1", &[], Refused);
    check("p NOT LIKE 'x'", &[], Refused);
    check("p = 'x'' ", &[], Refused);
}

#[test]
fn the_ignored_end_is_known() {
    let ignored = |sql: &str| {
        let expr = Expr::parse(sql, Dialect::RocketMq).expect("it parses");
        expr.ignored().map(|span| sql[span].to_owned())
    };
    assert_eq!(ignored("a = 1 AMD b = 2").as_deref(), Some("AMD b = 2"));
    assert_eq!(ignored("a = 1 -- note\n"), None);
    assert_eq!(ignored("a = 1 -- note").as_deref(), Some("-- note"));
    assert_eq!(ignored(" a = 1 "), None);
}

#[test]
fn comments() {
    check("p = /* one */ 1", &[("p", "1")], True);
    check("p = 1 -- AND nothing", &[("p", "1")], True);
    check("p = 1 -- and\r\n AND q = 2", &[("p", "1"), ("q", "3")], False);
    check("p = --5", &[("p", "5")], True);
    check("p = 1 /* open", &[], Refused);
}

#[test]
fn precedence() {
    check("NOT p = 1", &[("p", "2")], False);
    check("NOT (p = 1)", &[("p", "2")], True);
    check("NOT p > 1", &[], Refused);
    check("NOT p IN ('1')", &[], Refused);
    check("NOT p IS NULL", &[], True);
    check("p = 1 OR q = 2 AND r = 3", &[("p", "1")], True);
    check("(p = 1 OR q = 2) AND r = 3", &[("p", "1")], Unknown);
    check("p = 3 = TRUE", &[("p", "3")], True);
    check("p IS NULL IS NULL", &[], False);
    check("p > 1 > 0", &[], Refused);
}

#[test]
fn ordering() {
    check("p > 10", &[("p", "11")], True);
    check("p > 10", &[("p", "10.5")], Failed);
    check("p > 10.5", &[("p", "11")], True);
    check("p > 10", &[("p", "3000000000")], Failed);
    check("p > 3000000000", &[("p", "4000000000")], True);
    check("p >= 10", &[("p", "+10")], True);
    check("p > 10", &[("p", " 11")], Failed);
    check("p > 10.5", &[("p", " 11 ")], True);
    check("p > 10", &[], Unknown);
    check("10 < p", &[("p", "11")], True);
    check("p > q", &[("p", "10"), ("q", "9.5")], True);
    check("p > q", &[("p", "x"), ("q", "y")], Failed);
    check("p > q", &[("p", "x")], Unknown);
    check("p > 5.5", &[("p", "NaN")], True);
    check("p < 5.5", &[("p", "-Infinity")], True);
    check("p > 5.5", &[("p", "0x1p3")], True);
    check("p > 5.5", &[("p", "6d")], True);
    check("p > q", &[("p", "0.0"), ("q", "-0.0")], True);
    check("1 < 2", &[], True);
    check("1 < 1.5", &[], True);
    check("p > 'x'", &[], Refused);
    check("p > TRUE", &[], Refused);
    check("p > NULL", &[], Refused);
    check("p > (q = 1)", &[], Refused);
    check("-p = 5", &[("p", "-5")], Unknown);
    check("p > -5", &[("p", "-3")], True);
    check("p > - -3", &[("p", "4")], True);
}

#[test]
fn equality() {
    check("p = 'x'", &[("p", "x")], True);
    check("p = 'x'", &[], Unknown);
    check("'x' = p", &[], False);
    check("'x' <> p", &[], True);
    check("p = q", &[], True);
    check("p <> q", &[], False);
    check("p = q", &[("p", "1")], False);
    check("p = q", &[("q", "1")], Unknown);
    check("p = q", &[("p", "1"), ("q", "1.0")], False);
    check("p = 3", &[("p", "3.0")], Failed);
    check("p = 3.0", &[("p", "3")], True);
    check("p <> 3", &[("p", "x")], Failed);
    check("ok = TRUE", &[("ok", "TrUe")], True);
    check("ok = FALSE", &[("ok", "no")], True);
    check("TRUE = ok", &[("ok", "true")], Failed);
    check("TRUE = 3", &[], Refused);
    check("3 = TRUE", &[], False);
    check("p = NULL", &[], Refused);
    check("1 = 1.0", &[], True);
    check("3000000000 = 3e9", &[], True);
    check("(p = 1) = 1", &[("p", "1")], False);
}

#[test]
fn a_property_is_no_condition() {
    check("ok", &[("ok", "true")], False);
    check("NOT ok", &[("ok", "true")], True);
    check("ok", &[], Unknown);
    check("ok AND TRUE", &[("ok", "true")], False);
    check("NOT (ok OR FALSE)", &[("ok", "true")], True);
}

#[test]
fn errors_are_not_three_valued() {
    check("p > 3 OR q = 'x'", &[("p", "abc"), ("q", "x")], Failed);
    check("q = 'x' OR p > 3", &[("p", "abc"), ("q", "x")], True);
    check("q = 'y' AND p > 3", &[("p", "abc"), ("q", "x")], False);
    check("m > 1 OR q = 'x'", &[("q", "x")], True);
    check("m > 1 AND q = 'y'", &[("q", "x")], False);
}

#[test]
fn between() {
    check("p BETWEEN 10 AND 20", &[("p", "20")], True);
    check("p NOT BETWEEN 10 AND 20", &[("p", "15")], False);
    check("p NOT BETWEEN 10 AND 20", &[("p", "21")], True);
    check("p NOT BETWEEN 10 AND 20", &[], Unknown);
    check("p BETWEEN 20 AND 10", &[], Refused);
    check("p BETWEEN 2.5 AND 2", &[], Refused);
    check("p BETWEEN 3000000000 AND 2", &[], Refused);
    check("p NOT BETWEEN 20 AND 10", &[("p", "15")], True);
    check("p BETWEEN -5 AND -10", &[("p", "-7")], False);
    check("p BETWEEN lo AND hi", &[("p", "5"), ("lo", "1"), ("hi", "9")], True);
    check("p BETWEEN lo AND 3", &[("p", "5")], False);
    check("p BETWEEN lo AND 9", &[("p", "5")], Unknown);
    check("p BETWEEN 6 AND hi", &[("p", "5"), ("hi", "x")], False);
    check("p NOT BETWEEN 6 AND hi", &[("p", "5"), ("hi", "x")], True);
    check("p BETWEEN 1 AND hi", &[("p", "5"), ("hi", "x")], Failed);
    check("p BETWEEN 'a' AND 'b'", &[], Refused);
    check("'a' BETWEEN 1 AND 2", &[], Refused);
    check("1 BETWEEN 1 AND 2", &[], True);
    check("p BETWEEN NULL AND 1", &[], Refused);
    check("p BETWEEN 1 OR 2", &[], Refused);
}

#[test]
fn membership() {
    check("p IN ('x', 'y')", &[("p", "y")], True);
    check("p NOT IN ('x', 'y')", &[("p", "z")], True);
    check("p NOT IN ('x', 'y')", &[], Unknown);
    check("(p) IN ('x')", &[("p", "x")], True);
    check("'x' IN ('x')", &[], Refused);
    check("p IN (1)", &[], Refused);
    check("p IN ()", &[], Refused);
    check("p IN ('x',)", &[], Refused);
    check("p IN ('x'", &[], Refused);
}

#[test]
fn search() {
    check("p CONTAINS 'mq'", &[("p", "rocketmq 5")], True);
    check("p NOT CONTAINS 'mq'", &[], False);
    check("NOT (p CONTAINS 'mq')", &[], True);
    check("p CONTAINS ''", &[("p", "x")], False);
    check("p NOT CONTAINS ''", &[("p", "x")], False);
    check("p StartsWith 'ro'", &[("p", "rocketmq")], True);
    check("p NOT STARTSWITH 'ro'", &[("p", "kafka")], True);
    check("p ENDSWITH 'mq'", &[("p", "rocketmq")], True);
    check("5 CONTAINS '5'", &[], False);
    check("NOT p CONTAINS 'x'", &[("p", "x")], False);
    check("p CONTAINS q", &[], Refused);
    check("p CONTAINS 5", &[], Refused);
}

#[test]
fn null() {
    check("p IS NULL", &[], True);
    check("p IS NOT NULL", &[("p", "")], True);
    check("1 IS NULL", &[], False);
    check("NULL IS NULL", &[], True);
    check("NOT NULL", &[], Unknown);
    check("p IS TRUE", &[], Refused);
    check("p IS NULL NOT", &[], True);
    check("p IS NULL > 5", &[], True);
}

#[test]
fn errors_point_at_what_is_wrong() {
    for (sql, code, span) in [
        ("a != 3", "E-SQL-02", 2..4),
        ("a = 3 && b", "E-SQL-02", 6..8),
        ("a = 'x", "E-SQL-03", 4..6),
        ("a = 1 # x", "E-SQL-04", 6..7),
        ("a > 0.0", "E-SQL-05", 4..7),
        ("a > 'x'", "E-SQL-07", 4..7),
        ("5", "E-SQL-07", 0..1),
        ("a BETWEEN 20 AND 10", "E-SQL-07", 10..19),
        ("a = NULL", "E-SQL-10", 0..8),
        ("a = ", "E-SQL-01", 4..4),
        ("", "E-SQL-01", 0..0),
        ("a IN (1)", "E-SQL-01", 6..7),
    ] {
        let error = Expr::parse(sql, Dialect::RocketMq).expect_err(sql);
        assert_eq!((error.code, error.span.clone()), (code, span), "{sql}: {error}");
    }
}
