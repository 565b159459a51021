use crate::{FilterTests, FilterVerdict, Report};

fn parse(text: &str) -> Result<FilterTests, Report> {
    FilterTests::parse("my.tests.yaml", text.as_bytes(), &|_| None)
}

/// Code and line of each mistake.
fn mistakes(text: &str) -> Vec<(&'static str, usize)> {
    let report = parse(text).expect_err("a mistake");
    assert!(report.diagnostics.iter().all(|found| !found.help.is_empty()), "{report}");
    report.diagnostics.iter().map(|found| (found.code, found.line)).collect()
}

#[test]
fn verdicts_are_read_with_what_belongs_to_them() {
    let text = "\
module: my.wasm
tests:
  - name: all kinds
    params: {words: [now], most: 5}
    records:
      - {raw: do it now, expect: keep}
      - {body: {a: 1}, key: k, tag: t, props: {region: eu}, expect: drop}
      - {raw: x, expect: replace, with: [y, {z: 2}]}
      - {raw: x, expect: replace}
      - {raw: '{', expect: fail, error: no JSON}
      - {body: text, expect: fail}
";
    let FilterTests { module, tests } = parse(text).unwrap();
    assert_eq!((module.to_str(), tests.len()), (Some("my.wasm"), 1));
    let test = &tests[0];
    assert_eq!(serde_json::to_string(&test.params).unwrap(), r#"{"most":5,"words":["now"]}"#);
    let verdicts: Vec<_> = test.records.iter().map(|record| record.expect.clone()).collect();
    let expected = [
        FilterVerdict::Keep,
        FilterVerdict::Drop,
        FilterVerdict::Replace(Some(vec!["y".into(), r#"{"z":2}"#.into()])),
        FilterVerdict::Replace(None),
        FilterVerdict::Fail(Some("no JSON".into())),
        FilterVerdict::Fail(None),
    ];
    assert_eq!(verdicts, expected);
    let bodies: Vec<_> = test.records.iter().map(|record| &*record.body).collect();
    assert_eq!(bodies, ["do it now", r#"{"a":1}"#, "x", "x", "{", r#""text""#]);
    let second = &test.records[1];
    assert_eq!((second.key.as_deref(), second.tag.as_deref()), (Some("k"), Some("t")));
    assert_eq!(second.properties, [("region".to_owned(), "eu".to_owned())]);
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let text = "\
modul: my.wasm
tests:
  - name: a
    records:
      - {raw: x, expect: kep}
      - {raw: x, expect: keep, with: [y]}
      - {raw: x, expect: drop, error: y}
      - {expect: drop}
  - name: a
    records: [{raw: x, body: y, expect: keep}]
";
    let found = mistakes(text);
    let lines: Vec<usize> = found.iter().map(|(_, line)| *line).collect();
    assert!([1, 5, 6, 7, 8, 9, 10].iter().all(|line| lines.contains(line)), "{found:?}");
    assert_eq!(mistakes("").len(), 1);
}
