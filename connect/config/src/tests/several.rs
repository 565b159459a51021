use super::parse;

/// Parses a file in which each `«…»` marks a mistake and compares codes and places, in the order
/// of the file. The marks are not part of it; an empty one marks where something is missing.
#[track_caller]
fn check(codes: &[&str], marked: &str) {
    let mut expected = Vec::new();
    let mut codes = codes.iter();
    for (number, line) in marked.lines().enumerate() {
        let mut column = 1;
        for char in line.chars() {
            match char {
                '«' => expected.push((*codes.next().expect("a code"), number + 1, column)),
                '»' => {}
                _ => column += 1,
            }
        }
    }
    assert!(codes.next().is_none(), "a code without a mark: {marked}");
    let report = parse(&marked.replace(['«', '»'], "")).expect_err("mistakes");
    let found: Vec<_> = report.diagnostics.iter().map(|d| (d.code, d.line, d.column)).collect();
    assert_eq!(found, expected, "{report}");
    assert!(report.diagnostics.iter().all(|found| !found.help.is_empty()), "{report}");
}

/// The mistakes are in what follows a head that is right.
#[track_caller]
fn check_json(codes: &[&str], marked: &str) {
    let has = |key: &str| marked.starts_with(key) || marked.contains(&format!("\n{key}"));
    let mut head = "version: 1\npipeline: p\n".to_owned();
    for (key, line) in [
        ("topic:", "topic: t\n"),
        ("schema:", "schema: {id: int, ok: bool, region: string, at: timestamp}\n"),
        ("sinks:", "sinks: {lake: {parquet: {to: x}}}\n"),
    ] {
        if !has(key) {
            head.push_str(line);
        }
    }
    check(codes, &format!("{head}{marked}"));
}

#[test]
fn in_one_expression() {
    for (codes, filter) in [
        (&["E-SQL-07", "E-SQL-07"][..], "LOWER(«body.id») = 'x' AND «body.id = body.ok»"),
        (&["E-COL-01", "E-COL-01"], "«body.nope» = 1 AND «body.none» = 2"),
        (&["E-COL-01", "E-COL-01"], "«body.nope» = «body.none»"),
        (&["E-COL-01", "E-SQL-07"], "«body.nope» = 1 AND «body.ok» + 1 > 2"),
        (&["E-SQL-08", "E-SQL-07"], "«LEN»(body.region) > 2 AND «body.ok» + 1 > 2"),
        (&["E-SQL-08", "E-COL-01"], "«LEN»(«body.nope») > 2"),
        (&["E-SQL-08", "E-SQL-08"], "«LEN»(body.region) > CAST(body.id AS «LONG»)"),
        (&["E-SQL-02", "E-COL-01"], "body.id «=>» 1 AND «body.nope» = 2"),
        (&["E-SQL-02", "E-SQL-02"], "body.id «==» 1 «&&» body.ok"),
        (&["E-SQL-01", "E-SQL-07"], "body.id = «=» 1 OR «body.id = body.ok»"),
        (&["E-SQL-01", "E-COL-01"], "(body.id «5») OR «nope» = 1"),
        (&["E-SQL-10", "E-COL-01"], "body.id = «NULL» AND «kind» = 1"),
        (&["E-ENV-02", "E-SQL-07"], "body.region = '«${env:A}»' AND «body.ok» + 1 > 2"),
        (&["E-ENV-02", "E-ENV-02", "E-COL-01"], "body.id > «${env:A}» + «${env:B}» - «body.nope»"),
    ] {
        check_json(codes, &format!("steps:\n  - filter: >-\n      {filter}\n"));
        let elsewhere: Vec<_> = codes.iter().copied().chain(["E-COL-01"]).collect();
        let text = format!("steps:\n  - filter: {filter}\n  - set: {{a: «body.other»}}\n");
        check_json(&elsewhere, &text);
    }
}
