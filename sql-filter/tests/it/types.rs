//! Types of expressions from the types of their columns.

use millrace_sql_filter::{Dialect, Draft, Expr, Type};

/// Columns named after their types; `any` has none.
fn type_of(name: &str) -> Option<Type> {
    match name {
        "flag" => Some(Type::Bool),
        "int" => Some(Type::Int),
        "double" => Some(Type::Double),
        "text" => Some(Type::Text),
        "instant" => Some(Type::Timestamp),
        "day" => Some(Type::Date),
        "any" => None,
        other => panic!("no column {other}"),
    }
}

#[track_caller]
fn check(sql: &str, expected: Option<Type>) {
    let draft = Draft::read(sql);
    let found = draft.check_value(&|slot| type_of(&draft.columns()[slot].name));
    assert_eq!(found, (expected, Vec::new()), "{sql}");
    assert!(draft.into_expr().is_ok(), "{sql}");
}

/// The part of the text between the brackets is what the mistake points at.
#[track_caller]
fn check_error(marked: &str) {
    let sql = marked.replace(['[', ']'], "");
    let start = marked.find('[').expect("the start is marked");
    let end = marked.find(']').expect("the end is marked") - 1;
    let draft = Draft::read(&sql);
    let found = draft.check_condition(&|slot| type_of(&draft.columns()[slot].name));
    let found: Vec<_> = found.into_iter().map(|mistake| (mistake.code, mistake.span)).collect();
    assert_eq!(found, [("E-SQL-07", start..end)], "{sql}");
    assert!(Expr::parse(&sql, Dialect::Strict).is_ok(), "{sql}");
}

#[test]
fn results() {
    check("int + int", Some(Type::Int));
    check("int * double", Some(Type::Double));
    check("int / int", Some(Type::Double));
    check("int % 5", Some(Type::Int));
    check("text + 1.5", Some(Type::Double));
    check("text + 1", None);
    check("any + 1", None);
    check("any + 1.5", Some(Type::Double));
    check("-int", Some(Type::Int));
    check("-text", None);
    check("+double", Some(Type::Double));
    check("text + '!'", Some(Type::Text));
    check("int + '!'", Some(Type::Text));
    check("LOWER(text)", Some(Type::Text));
    check("UPPER(any)", Some(Type::Text));
    check("CAST(text AS TIMESTAMP)", Some(Type::Timestamp));
    check("CAST(any AS INT)", Some(Type::Int));
    check("CAST(int AS DOUBLE)", Some(Type::Double));
    check("CAST(any AS STRING)", Some(Type::Text));
    check("CAST(any AS BOOLEAN)", Some(Type::Bool));
    check("CAST(instant AS DATE)", Some(Type::Date));
    check("DATE(instant)", Some(Type::Date));
    check("DATE(any)", Some(Type::Date));
    check("COALESCE(int, 0)", Some(Type::Int));
    check("COALESCE(int, 0.5)", Some(Type::Double));
    check("COALESCE(any, 0)", None);
    check("COALESCE(NULL, text)", Some(Type::Text));
    check("CASE WHEN flag THEN 1 END", Some(Type::Int));
    check("CASE WHEN flag THEN 1 ELSE NULL END", Some(Type::Int));
    check("CASE int WHEN 1 THEN 'a' ELSE text END", Some(Type::Text));
    check("CASE any WHEN 1 THEN any ELSE text END", None);
    check("NULL", None);
    check("any", None);
    check("int > 5", Some(Type::Bool));
    check("int IS NULL", Some(Type::Bool));
    check("flag = TRUE AND text LIKE 'x%' OR day IN ('2026-01-01')", Some(Type::Bool));
    check("instant >= '2026-01-01' AND day < instant", Some(Type::Bool));
    check("text > 5 AND text = TRUE AND text < instant", Some(Type::Bool));
    check("int = '12'", Some(Type::Bool));
}

#[test]
fn what_does_not_fit() {
    check_error("[int]");
    check_error("[text]");
    check_error("NOT [double]");
    check_error("flag AND [text]");
    check_error("[int = flag]");
    check_error("[int > instant]");
    check_error("[flag > TRUE]");
    check_error("flag AND [int = 'twelve']");
    check_error("[day = 'tomorrow']");
    check_error("[flag = 'yes']");
    check_error("[int] LIKE '1%'");
    check_error("[instant] CONTAINS '2026'");
    check_error("int IN (1, [TRUE])");
    check_error("int IN (1, ['x'])");
    check_error("[int IN (TRUE], FALSE)");
    check_error("[int BETWEEN 'a'] AND 'b'");
    check_error("int + [flag] > 1");
    check_error("-[day] > 1");
    check_error("LOWER([int]) = 'x'");
    check_error("CAST([int] AS TIMESTAMP) = instant");
    check_error("DATE([double]) = day");
    check_error("COALESCE(int, [text]) = 1");
    check_error("CASE WHEN [int] THEN TRUE END");
    check_error("[CASE int WHEN 1 THEN 'a' END]");
}

#[test]
fn what_is_wrong_for_every_row_is_a_syntax_error() {
    for sql in ["TRUE > 0", "TRUE = 0", "1 AND TRUE", "NOT 'x'", "LOWER(5)", "5 LIKE 'x'", "-TRUE"]
    {
        let error = Expr::parse(sql, Dialect::Strict).expect_err(sql);
        assert_eq!(error.code, "E-SQL-07", "{sql}");
    }
    for sql in ["3", "'x'", "a + 1", "DATE(a)"] {
        assert!(Expr::parse(sql, Dialect::Strict).is_ok(), "{sql}");
        let error = Expr::parse_condition(sql, Dialect::Strict).expect_err(sql);
        assert_eq!((error.code, error.span), ("E-SQL-07", 0..sql.len()), "{sql}");
    }
}
