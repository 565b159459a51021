use super::parse;
use crate::explain;

/// A file with these steps and this `where` of its sink, on a topic that promotes one property of
/// each type.
fn file(steps: &str, where_: &str) -> String {
    format!(
        "version: 1\n\
         pipeline: p\n\
         topic: {{name: t, properties: {{s: body.s, i: body.i, d: body.d, b: body.b}}}}\n\
         schema: {{s: string, i: int, d: double, b: bool}}\n\
         steps: [{steps}]\n\
         sinks: {{lake: {{where: \"{where_}\", parquet: {{to: out}}}}}}\n"
    )
}

/// The warnings of a file without mistakes, each as its code and the text that it points at.
#[track_caller]
fn check_file(text: &str, expected: &[(&str, &str)]) {
    let pipeline = parse(text).unwrap_or_else(|report| panic!("{report}"));
    let told = pipeline.warnings.iter().map(|warning| {
        assert!(warning.is_warning() && explain(warning.code).is_some(), "{warning}");
        let pointed: String =
            warning.source_line.chars().skip(warning.column - 1).take(warning.len).collect();
        (warning.code, pointed)
    });
    let told: Vec<(&str, String)> = told.collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(code, at)| (*code, at.as_str())).collect();
    assert_eq!(told, expected, "{text}");
}

/// Of one condition as a `filter` step and as the `where` of a sink, which are the same.
#[track_caller]
fn check(condition: &str, expected: &[(&str, &str)]) {
    check_file(&file(&format!("filter: \"{condition}\""), "queue < 4"), expected);
    check_file(&file("", condition), expected);
}

#[test]
fn a_condition_over_properties_is_held_against_a_subscription() {
    check("s = 'x' AND i > 10", &[("W-SQL-03", "i > 10")]);
    check("NOT s = 'x' OR s LIKE 'y%'", &[("W-SQL-02", "NOT s = 'x'"), ("W-SQL-01", "LIKE")]);
    check("props.other = s", &[("W-SQL-04", "props.other = s")]);
    check("b", &[("W-SQL-03", "b")]);
}

#[test]
fn what_a_property_holds_is_what_it_is_promoted_from() {
    check("i >= 10.5 AND d < 2.5 AND b = FALSE AND s = 'x'", &[]);
    check("s > 2.5", &[("W-SQL-03", "s > 2.5")]);
    check("props.other > 2.5", &[("W-SQL-03", "props.other > 2.5")]);
    // Promoted from a number, and read as a text here.
    check("props.i = '10'", &[]);
    check("props.i > 10.5", &[]);
}

#[test]
fn what_can_be_no_subscription_is_not_warned_of() {
    check("NOT body.s = 'x' AND body.i > 10", &[]);
    check("NOT s = 'x' AND body.i > 10", &[]);
    check("NOT tag = 'x'", &[]);
    check("offset > 10 AND i > 10", &[]);
    check("TRUE", &[]);
    // A subscription has no such thing as a verdict for what is unknown.
    let kept = |verdict: &str| format!("filter: {{where: i > 10, on_unknown: {verdict}}}");
    check_file(&file(&kept("keep"), "TRUE"), &[]);
    check_file(&file(&kept("dlq"), "TRUE"), &[]);
    check_file(&file(&kept("reject"), "TRUE"), &[("W-SQL-03", "i > 10")]);
    // A module may change properties.
    let steps = "filter: i > 10, wasm: {module: m.wasm}, filter: d > 10".replace(", ", "}, {");
    check_file(&file(&format!("{{{steps}}}"), "d > 5"), &[("W-SQL-03", "i > 10")]);
    // Neither is a column that takes the name of a property of another pipeline.
    check_file(&file("set: {day: body.s}", "NOT day = 'x'"), &[]);
}

#[test]
fn mistakes_and_warnings_are_told_together() {
    let text = file("filter: i > 10", "s = 'x'").replace("to: out", "to: out, rows: 1");
    let report = parse(&text).unwrap_err();
    assert_eq!((report.diagnostics.len(), report.warnings.len()), (1, 1), "{report}");
    let shown = report.to_string();
    assert!(shown.starts_with("warning[W-SQL-03]: "), "{shown}");
    assert!(shown.contains("\nerror[E-KEY-01]: "), "{shown}");
    assert!(shown.contains("\np.yaml: 1 error and 1 warning. Explain one with"), "{shown}");
}
