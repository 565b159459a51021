//! Everything that is wrong with one text.

use millrace_sql_filter::{Dialect, Draft, Expr, Type};

fn type_of(name: &str) -> Option<Type> {
    match name {
        "flag" => Some(Type::Bool),
        "int" => Some(Type::Int),
        "text" => Some(Type::Text),
        "day" => Some(Type::Date),
        _ => None,
    }
}

/// What is between brackets is wrong, each for the reason that is told at its place in the list.
#[track_caller]
fn check(marked: &str, codes: &[&str]) {
    let mut sql = String::new();
    let mut starts = Vec::new();
    let mut spans = Vec::new();
    for char in marked.chars() {
        match char {
            '[' => starts.push(sql.len()),
            ']' => spans.push(starts.pop().expect("an opening bracket")..sql.len()),
            char => sql.push(char),
        }
    }
    spans.sort_by_key(|span| span.start);
    let codes = codes.iter().map(|number| format!("E-SQL-{number}"));
    let expected: Vec<_> = codes.zip(spans).collect();
    let draft = Draft::read(&sql);
    let mut found = draft.check_condition(&|slot| type_of(&draft.columns()[slot].name));
    found.sort_by_key(|mistake| mistake.span.start);
    let found: Vec<_> = found.into_iter().map(|m| (m.code.to_owned(), m.span)).collect();
    assert_eq!(found, expected, "{sql}");
}

#[track_caller]
fn check_columns(sql: &str, expected: &[&str]) {
    let draft = Draft::read(sql);
    let names: Vec<_> = draft.columns().iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, expected, "{sql}");
    assert!(Expr::parse(sql, Dialect::Strict).is_err(), "{sql}");
}

#[test]
fn every_wrong_type_is_told() {
    check("[int = flag] AND LOWER([int]) = 'x'", &["07", "07"]);
    check("[int = flag] OR NOT ([text] AND [day])", &["07", "07", "07"]);
    check("[flag] + [day] > 1", &["07", "07"]);
    check("LOWER([int]) = UPPER([day])", &["07", "07"]);
    check("int IN (1, [flag], 2, ['x'])", &["07", "07"]);
    check("COALESCE(int, [text], 2, [flag]) > 1", &["07", "07"]);
    check("CASE WHEN [int] THEN LOWER([int]) ELSE UPPER([day]) END = 'x'", &["07", "07", "07"]);
    check("CASE int WHEN 1 THEN 'a' WHEN [flag] THEN [2] END = 'a'", &["07", "07"]);
    check("[int] LIKE 'x' AND [int BETWEEN 'a'] AND 'b'", &["07", "07"]);
    check("int BETWEEN 1 AND ['b'] AND DATE([int]) = day", &["07", "07"]);
    check("[LOWER([1]) + 'x']", &["07", "07"]);
}

#[test]
fn a_wrong_type_is_told_once() {
    check("LOWER([int]) = 'x' AND LOWER([int + 1]) = 'x'", &["07", "07"]);
    check("-(1 + [flag]) > 2", &["07"]);
    check("(1 + [flag]) = text", &["07"]);
    check("COALESCE(int, [text]) = flag", &["07"]);
    check("CAST([int] AS DATE) = day", &["07"]);
}

#[test]
fn what_does_not_exist_hides_nothing() {
    check("[LEN](text) > 3 AND [int = flag]", &["08", "07"]);
    check("[LEN](LOWER([int])) > 3", &["08", "07"]);
    check("[LEN](text) = LOWER([int])", &["08", "07"]);
    check("[LEN](text) > 3 OR [SUB](text, 1) = 'x'", &["08", "08"]);
    check("[NOW]() > 3 AND [int = flag]", &["08", "07"]);
    check("[COUNT](*) > 3 AND [int = flag]", &["08", "07"]);
    check("[EXTRACT](YEAR FROM day) > 3 AND [int = flag]", &["08", "07"]);
    check("[EXTRACT](YEAR FROM day) > [;]", &["08"]);
    check("CAST(int AS [NUMBER]) > 1 AND CAST(LOWER([int]) AS [TEXT]) = 'x'", &["08", "07", "08"]);
    check("int = [NULL] AND [int = flag] AND text <> [NULL]", &["10", "07", "10"]);
    check(
        "text CONTAINS [''] AND text LIKE 'x' ESCAPE ['ab'] AND [int = flag]",
        &["09", "09", "07"],
    );
    check("[day] LIKE 'x' ESCAPE ['ab']", &["07", "09"]);
    check_columns("EXTRACT(YEAR FROM day) > int", &[]);
    check_columns("LEN(text) > int", &["text", "int"]);
}

#[test]
fn an_operator_of_another_language_hides_nothing() {
    check("int [=>] 1 AND [int = flag]", &["02", "07"]);
    check("int [==] 1 [&&] text [!=] 'x'", &["02", "02", "02"]);
    check("[int [==] flag]", &["07", "02"]);
    check("int [^] 2 > 1 AND [int = flag]", &["02", "07"]);
    check("text [||] 'x' = 'y' AND [int = flag]", &["02", "07"]);
    check("[!]flag AND [int = flag]", &["02", "07"]);
    check("(int [=>] 1 OR flag) AND int [==] 2", &["02", "02"]);
}

#[test]
fn reading_goes_on_behind_a_mistake() {
    check("int = [=] 1 AND [int = flag]", &["01", "07"]);
    check("int = [AND] text [AMD] flag OR [int = flag]", &["01", "01", "07"]);
    check("[AND] int = 1 OR [OR] int = [1x]", &["01", "01", "05"]);
    check("(int = 1 [text]) AND (int = 1) [;] OR [int = flag]", &["01", "04", "07"]);
    check("(int = [)] AND [int = flag]", &["01", "07"]);
}

#[test]
fn what_a_mistake_leaves_is_not_a_mistake() {
    check("int [AMD] 1", &["01"]);
    check("int [#] 1 OR flag", &["04"]);
    check("int BETWEEN [=] 1 AND 5 AND [int = flag]", &["01", "07"]);
    check("int BETWEEN 1 [;] AND 5", &["04"]);
    check("int IN (1 [2], 3) AND [int = flag]", &["01", "07"]);
    check("int IN (1, [=] 2) AND [int = flag]", &["01", "07"]);
    check("CAST(int [INT]) = 1 AND [int = flag]", &["01", "07"]);
    check("CAST([=] AS INT) = 1 AND [int = flag]", &["01", "07"]);
    check("CASE WHEN int [;] 1 THEN 2 ELSE 3 END = 1 AND [int = flag]", &["04", "07"]);
    check("CASE WHEN flag [THN] 2 END = 1 AND [int = flag]", &["01", "07"]);
    check("CASE flag [THEN] 2 END = 1 AND [int = flag]", &["01", "07"]);
    check("int = 1[)] AND [int = flag]", &["01", "07"]);
    check("int = 1[,] flag AND [int = flag]", &["01", "07"]);
    check("text = ['x AND int = flag]", &["03"]);
    check("[int = flag] AND text = ['x AND int = flag]", &["07", "03"]);
    check("[/* int]", &["03"]);
    check("[int = flag] /* int */ AND [/* int]", &["07", "03"]);
    check("((int = 1) AND [int = flag][]", &["07", "01"]);
    check("([int = flag] AND int IN (1, 2[]", &["07", "01"]);
    check("([int = flag] AND int =[]", &["07", "01"]);
    check("([int = flag] AND LOWER(text) = ['x)]", &["07", "03"]);
}

#[test]
fn columns_beside_a_mistake_are_known() {
    check_columns("a = = b AND c = 1", &["a", "c"]);
    check_columns("a => b && c + ! d OR e", &["a", "b", "c", "e"]);
}
