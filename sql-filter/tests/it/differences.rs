//! Where RocketMQ's dialect decides otherwise than the strict one, and where it does not.

use std::collections::BTreeMap;

use millrace_sql_filter::{
    Dialect, Difference, Draft, Expr, Property, Truth, Type, Value, differences,
};
use proptest::prelude::*;

use crate::row::Named;

/// Properties by the columns of the tests: `i` holds whole numbers, `d` others, `b` truth values,
/// `t` instants, `y` days, and every other name a text.
fn property(column: &str) -> Property {
    let name = column.strip_prefix("props.").unwrap_or(column).to_owned();
    let of = |text: &str| match text.as_bytes().first() {
        Some(b'i') => Type::Int,
        Some(b'd') => Type::Double,
        Some(b'b') => Type::Bool,
        Some(b't') => Type::Timestamp,
        Some(b'y') => Type::Date,
        _ => Type::Text,
    };
    let read_as = if name == column { of(&name) } else { Type::Text };
    Property { holds: of(&name), read_as, name }
}

/// Whether a pipeline file takes it with these columns.
fn fits(sql: &str) -> bool {
    let draft = Draft::read(sql);
    let types: Vec<Type> =
        draft.columns().iter().map(|column| property(&column.name).read_as).collect();
    draft.check_condition(&|slot| types.get(slot).copied()).is_empty()
}

fn told(sql: &str) -> Vec<Difference> {
    let columns: Vec<String> =
        Draft::read(sql).columns().iter().map(|column| column.name.clone()).collect();
    differences(sql, &|slot| property(&columns[slot]))
}

const ZERO: &str = "it knows no zero with a point; compare with a number beside it, such as `0.5`";

/// Each difference as code, text and help.
#[track_caller]
fn check(sql: &str, expected: &[(&str, &str, &str)]) {
    let told = told(sql);
    let found: Vec<_> =
        told.iter().map(|it| (it.code, &sql[it.span.clone()], it.help.as_str())).collect();
    assert_eq!(found, expected, "{sql}: {told:#?}");
}

#[track_caller]
fn check_alike(sql: &str) {
    assert_eq!(told(sql), [], "{sql}");
}

#[track_caller]
fn check_message(sql: &str, expected: &str) {
    let told = told(sql);
    assert!(told.iter().any(|it| it.message.contains(expected)), "{sql}: {told:#?}");
}

#[test]
fn what_both_dialects_say_alike() {
    for sql in [
        "region = 'eu'",
        "region <> 'eu' AND NOT (region = 'us')",
        "region IN ('eu', 'us') OR region IS NULL",
        "region NOT IN ('eu')",
        "region CONTAINS 'e' AND region NOT STARTSWITH 'x'",
        "props.region = 'eu'",
        "\"region\" = 'eu'",
        "i > 10.0 AND i < 2e9",
        "i BETWEEN 1.5 AND 3.5",
        "d >= 0.5",
        "d > 3000000000.5",
        "i > 3000000000",
        "b = TRUE OR b = FALSE",
        "NOT (b = FALSE)",
        "a IS NOT NULL AND c IS NOT NULL AND a = c",
        "a IS NOT NULL AND NOT (a CONTAINS 'x')",
        "(region = 'eu') -- as it is",
        "region = 'eu' /* in the middle */ AND i > 1.0",
        "TRUE AND region = 'eu'",
    ] {
        check_alike(sql);
    }
}

#[test]
fn what_rocketmq_has_no_word_for() {
    let unsaid = |text: &'static str, help| ("W-SQL-01", text, help);
    let promote = "let `topic` promote the result as a property";
    check("a LIKE 'x%'", &[unsaid("LIKE", "it has CONTAINS, STARTSWITH and ENDSWITH")]);
    check(
        "a NOT LIKE 'x%' ESCAPE '!'",
        &[unsaid("LIKE", "it has CONTAINS, STARTSWITH and ENDSWITH")],
    );
    check("i + 1 = 2", &[unsaid("+", promote)]);
    check("a = 'x' AND LOWER(c) = 'y'", &[unsaid("LOWER", promote)]);
    let odd = "its names are letters, digits, `_` and `$`, and no words of its own";
    check("props.a.c = 'x'", &[unsaid("props.a.c", odd)]);
    check("props.\"order id\" = 'x'", &[unsaid("props.\"order id\"", odd)]);
    check("props.in = 'x'", &[unsaid("props.in", odd)]);
    check("d > 0.0", &[unsaid("0.0", ZERO)]);
    let shape = "whole numbers begin with no 0, and others have a point or an exponent";
    check("i = 017", &[unsaid("017", shape)]);
    check("i = 0x1F OR i = 1_000", &[unsaid("0x1F", shape), unsaid("1_000", shape)]);
    check_message(
        "i IN (1, 2)",
        "a subscription cannot say this: expected a text in single quotes",
    );
    check_message("a > 'x'", "only numbers and properties can be compared like this");
    check_message("i BETWEEN 10 AND 1", "the lower bound is above the upper bound");
    check_message("t > '2026-01-02'", "only numbers and properties can be compared like this");
}

#[test]
fn not_binds_otherwise() {
    let not = |text: &'static str, help: &'static str| ("W-SQL-02", text, help);
    check("NOT a = 'x'", &[not("NOT a = 'x'", "write `NOT (a = 'x')`")]);
    check("NOT a IS NULL", &[not("NOT a IS NULL", "write `NOT (a IS NULL)`")]);
    check("NOT (a) = 'x'", &[not("NOT (a) = 'x'", "write `NOT ((a) = 'x')`")]);
    check("NOT (a) = ('x')", &[not("NOT (a) = ('x')", "write `NOT ((a) = ('x'))`")]);
    check(
        "c = 'y' AND NOT a CONTAINS 'x'",
        &[
            not("NOT a CONTAINS 'x'", "write `NOT (a CONTAINS 'x')`"),
            ("W-SQL-04", "a CONTAINS 'x'", "write `a IS NOT NULL AND …` before it"),
        ],
    );
    // Where `a` is missing, the other part is not TRUE.
    check(
        "a = 'y' AND NOT a CONTAINS 'x'",
        &[not("NOT a CONTAINS 'x'", "write `NOT (a CONTAINS 'x')`")],
    );
    check_alike("NOT (a = 'x' OR a = 'y')");
}

#[test]
fn values_that_are_read_otherwise() {
    let value = |text: &'static str, help: &'static str| ("W-SQL-03", text, help);
    check("i > 10", &[value("i > 10", "write `i > 10.0`")]);
    check_message("i > 10", "where `i` is `3000000000`, this is TRUE here and an error there");
    check("d <= 10", &[value("d <= 10", "write `d <= 10.0`")]);
    check_message("d > 10", "where `d` is `10.5`, this is TRUE here and an error there");
    let promote = "compare a property that `topic` promotes from a number with a number that has a \
                   point, and a text with a text";
    check("i > 0", &[value("i > 0", ZERO)]);
    check("d BETWEEN 0 AND 9", &[value("d BETWEEN 0 AND 9", ZERO)]);
    check("a > 0", &[value("a > 0", promote)]);
    check("a > 10", &[value("a > 10", promote)]);
    check("a > 10.5", &[value("a > 10.5", promote)]);
    check("d BETWEEN 1 AND 9", &[value("d BETWEEN 1 AND 9", "write `d BETWEEN 1.0 AND 9.0`")]);
    check(
        "i NOT BETWEEN 1 AND 9",
        &[value("i NOT BETWEEN 1 AND 9", "write `i NOT BETWEEN 1.0 AND 9.0`")],
    );
    check("b", &[value("b", "write `b = TRUE`")]);
    check("TRUE = b", &[value("TRUE = b", "write `b = TRUE`")]);
    check("t = '2026-01-02'", &[value("t = '2026-01-02'", promote)]);
    check("d = '5'", &[value("d = '5'", promote)]);
    check_alike("i = '5'");
    check("i = '5.0'", &[value("i = '5.0'", promote)]);
}

#[test]
fn missing_properties() {
    let missing = |text: &'static str, help: &'static str| ("W-SQL-04", text, help);
    check("a = c", &[missing("a = c", "write `a IS NOT NULL AND c IS NOT NULL AND …` before it")]);
    check_message(
        "a = c",
        "where `a` is missing and `c` is missing, this is unknown here and TRUE there",
    );
    check("a <> c", &[missing("a <> c", "write `c IS NOT NULL AND …` before it")]);
    check("'x' <> a", &[missing("'x' <> a", "write `a IS NOT NULL AND …` before it")]);
    check(
        "props.a <> props.c",
        &[missing("props.a <> props.c", "write `props.c IS NOT NULL AND …` before it")],
    );
    check_alike("'x' = a");
    check(
        "NOT (a CONTAINS 'x')",
        &[missing("(a CONTAINS 'x')", "write `a IS NOT NULL AND …` before it")],
    );
}

#[test]
fn an_error_counts_where_it_takes_a_message_away() {
    // Where `a` is no number one dialect has no verdict and the other an error: nobody gets it.
    check_alike("i = 10 AND a = 'x'");
    check_alike("a = 'x' AND i BETWEEN 1 AND 9");
    check_alike("i = 3000000000 AND a = 'x'");
    // Beside an OR the error takes away what the other side lets through.
    check(
        "props.d = 3000000000 OR a = 'x'",
        &[("W-SQL-03", "props.d = 3000000000", "write `props.d = 3000000000.0`")],
    );
    check_alike("a = 'x' OR i = 3000000000");
}

#[test]
fn what_is_no_condition_has_no_differences() {
    check_alike("a = ");
    check_alike("");
}

#[test]
fn many_parts_take_no_long_time() {
    let sql = vec!["a = 'x' AND i > 1.0"; 150].join(" OR ");
    check_alike(&sql);
    let sql = vec!["i > 1"; 1000].join(" OR ");
    assert_eq!(told(&sql).len(), 20);
    // Each differs, and none of them makes a difference.
    check_alike(&vec!["i = 1"; 300].join(" AND "));
}

/// From here on not every whole number is a double.
const EXACT: i64 = 1 << 53;

/// Texts that a property of a type can have: of a text any, else those of values.
fn value(of: Type) -> BoxedStrategy<Value<'static>> {
    let near = prop_oneof![
        -12_i64..12,
        Just(3_000_000_000),
        (EXACT..EXACT + 8),
        any::<i32>().prop_map(i64::from),
        any::<i64>()
    ];
    match of {
        Type::Int => near.prop_map(Value::Int).boxed(),
        Type::Double => prop_oneof![
            (-24_i32..24).prop_map(|halves| f64::from(halves) / 2.0),
            Just(-0.0),
            (EXACT..EXACT + 8).prop_map(|int| int as f64),
            any::<f64>().prop_filter("it is a number", |double| double.is_finite()),
        ]
        .prop_map(Value::Double)
        .boxed(),
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Timestamp => prop_oneof![Just(1_767_312_000_000_000), -1_000_000_i64..1_000_000_000]
            .prop_map(Value::Timestamp)
            .boxed(),
        Type::Date => prop_oneof![Just(20_455), -9_i32..9].prop_map(Value::Date).boxed(),
        Type::Text => prop_oneof![
            prop::sample::select(vec![
                "x",
                "y",
                "X",
                "xy",
                "yx",
                "",
                "true",
                "FALSE",
                "NaN",
                "Infinity",
                "0x1p3",
                "1e999",
                "2026-01-02",
                "abc",
                "007",
                " 5",
                "5 ",
                "\u{1}5",
                "3000000000",
                "-0.0",
            ])
            .prop_map(str::to_owned),
            "[+-]?[0-9]{1,2}(\\.[05])?[dfL]?",
            (-12_i64..12).prop_map(|int| int.to_string()),
        ]
        .prop_map(|text| Value::Text(text.into()))
        .boxed(),
    }
}

const COLUMNS: [&str; 9] = ["a", "c", "i", "i2", "d", "b", "t", "y", "props.d"];

/// A value, or nothing, for each property of the columns.
fn row() -> impl Strategy<Value = BTreeMap<String, Value<'static>>> {
    let cells = ["a", "c", "i", "i2", "d", "b", "t", "y"].map(|name| {
        let name = name.to_owned();
        let there = value(property(&name).holds);
        prop_oneof![4 => there.prop_map(Some), 1 => Just(None)]
            .prop_map(move |value| value.map(|value| (name.clone(), value)))
    });
    Vec::from(cells).prop_map(|cells| cells.into_iter().flatten().collect())
}

fn part() -> impl Strategy<Value = String> {
    let column = || prop::sample::select(Vec::from(COLUMNS));
    let number = || {
        prop_oneof![
            Just("0"),
            Just("1"),
            Just("5"),
            Just("-3"),
            Just("2.5"),
            Just("5.0"),
            Just("-1.5"),
            Just("3000000000"),
            Just("0.0"),
            Just("9007199254740993"),
            Just("017"),
            Just("1e1"),
        ]
    };
    let text =
        || prop::sample::select(vec!["'x'", "'y'", "'5'", "'5.0'", "'true'", "'2026-01-02'", "''"]);
    let operator = || prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    let negation = || prop::sample::select(vec!["", "NOT "]);
    let any = || prop_oneof![2 => column().boxed(), 3 => number().boxed(), 2 => text().boxed(), 1 => Just("TRUE").boxed(), 1 => Just("FALSE").boxed()];
    prop_oneof![
        6 => (column(), operator(), any()).prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        1 => (any(), operator(), column()).prop_map(|(left, sign, right)| format!("{left} {sign} {right}")),
        1 => (column(), negation(), number(), number()).prop_map(|(value, not, low, high)| format!("{value} {not}BETWEEN {low} AND {high}")),
        1 => (column(), negation(), text(), text()).prop_map(|(value, not, one, two)| format!("{value} {not}IN ({one}, {two})")),
        2 => (column(), negation(), prop::sample::select(vec!["CONTAINS", "STARTSWITH", "ENDSWITH", "LIKE"]), text())
            .prop_map(|(value, not, word, text)| format!("{value} {not}{word} {text}")),
        2 => (column(), negation()).prop_map(|(value, not)| format!("{value} IS {not}NULL")),
        1 => column().prop_map(str::to_owned),
        1 => Just("TRUE".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    part().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} AND {right}")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) OR {right}")),
            inner.clone().prop_map(|inner| format!("NOT ({inner})")),
            inner.clone().prop_map(|inner| format!("NOT {inner}")),
            inner.prop_map(|inner| format!("({inner})")),
        ]
    })
}

/// Whether the strict dialect accepts a row.
fn accepts_here(expr: &Expr, row: &BTreeMap<String, Value<'static>>) -> bool {
    let columns = expr.columns().iter().map(|column| {
        let property = property(&column.name);
        let value = row.get(&property.name).cloned().unwrap_or(Value::Null);
        let value = match (property.read_as, value) {
            (Type::Text, value) if value != Value::Null => Value::Text(value.to_string().into()),
            (_, value) => value,
        };
        (column.name.as_str(), value)
    });
    expr.verdict(&Named::new(expr, &columns.collect::<Vec<_>>())) == Ok(Truth::True)
}

/// Whether a subscription does, which knows properties only and only texts. `None` if it cannot be
/// made.
fn accepts_there(sql: &str, row: &BTreeMap<String, Value<'static>>) -> Option<bool> {
    let expr = Expr::parse_condition(&sql.replace("props.", ""), Dialect::RocketMq).ok()?;
    if expr.ignored().is_some() {
        return None;
    }
    let columns =
        row.iter().map(|(name, value)| (name.as_str(), Value::Text(value.to_string().into())));
    Some(expr.verdict(&Named::new(&expr, &columns.collect::<Vec<_>>())) == Ok(Truth::True))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 600, ..ProptestConfig::default() })]

    /// What this file is about. Of a quarter of these conditions nothing is told.
    #[test]
    fn without_a_difference_both_dialects_accept_the_same_rows(
        sql in condition(),
        rows in prop::collection::vec(row(), 30),
    ) {
        let Ok(expr) = Expr::parse_condition(&sql, Dialect::Strict) else { return Ok(()) };
        if !fits(&sql) || !told(&sql).is_empty() {
            return Ok(());
        }
        for row in rows {
            prop_assert_eq!(Some(accepts_here(&expr, &row)), accepts_there(&sql, &row), "{} on {:?}", sql, row);
        }
    }

    #[test]
    fn any_words_have_differences_within_the_text(sql in crate::properties::words()) {
        for it in told(&sql) {
            prop_assert!(sql.get(it.span.clone()).is_some(), "{} has no {:?}", sql, it.span);
            prop_assert!(!it.message.is_empty() && !it.help.is_empty());
        }
    }
}
